"""`wtal-bench VERB ...`: one door to everything. `tools/*.py` are thin doors to the same verbs.

Every verb is a module of `wtal_bench.commands`, imported when it is used: verbs that need no torch never load it.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from wtal_bench import __version__
from wtal_bench.errors import WtalError, did_you_mean

VERBS: dict[str, str] = {
    verb: f"wtal_bench.commands.{verb.replace('-', '_')}"
    for verb in (
        "train",
        "test",
        "infer",
        "picture",
        "report",
        "sweep",
        "evaluate",
        "compare",
        "leaderboard",
        "list",
        "new-plugin",
        "check-data",
        "probe",
        "extract",
        "import-features",
        "import-annotations",
        "make-synthetic",
        "compose",
        "completion",
    )
}
"""Verb -> module, in the order of `--help`."""

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk that takes no more: nothing a program can mend, and no bug of ours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status (0 done, 1 a check failed, 2 bad input, 130 interrupted)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"wtal-bench {__version__}")
        return 0
    verb, *rest = argv
    if verb not in VERBS:
        print(f"wtal-bench: no verb {verb!r}.{did_you_mean(verb, VERBS)}\n\n{_overview()}", file=sys.stderr)
        return 2
    module = importlib.import_module(VERBS[verb])
    arguments = _parser(verb, module).parse_args(rest)
    try:
        status = module.run(arguments)
        sys.stdout.flush()  # a closed pipe or a full disk shows here, not while the interpreter shuts down
        return status
    except WtalError as error:
        print(f"wtal-bench {verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nwtal-bench {verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _drop_output()
        return 0
    except OSError as error:
        if error.errno not in DISK:
            raise
        print(f"wtal-bench {verb}: cannot write {error.filename or 'a file'}: {error.strerror}.", file=sys.stderr)
        _drop_output()
        return 2


def _drop_output() -> None:
    """Forget what standard output does not take: Python would try again, and complain, on its way out."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(verb: str, module: ModuleType) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"wtal-bench {verb}",
        description=module.SUMMARY,
        epilog=f"example:\n  {module.EXAMPLE.strip()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.configure(parser)
    return parser


def _overview() -> str:
    rows = []
    for verb, name in VERBS.items():
        rows.append(f"  {verb:18} {importlib.import_module(name).SUMMARY}")
    return (
        "usage: wtal-bench VERB ...   (wtal-bench VERB --help shows each)\n\n"
        "weakly supervised temporal action localization: train, test and compare methods under one protocol\n\n"
        + "\n".join(rows)
        + "\n\nexample:\n  wtal-bench train configs/cola_synthetic.py"
    )
