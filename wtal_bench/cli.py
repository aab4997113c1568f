"""`wtal-bench VERB ...`: one door to everything. `tools/*.py` are thin doors to the same verbs.

Every verb is a module of `wtal_bench.commands`, imported when it is used: verbs that need no torch never load it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from wtal_bench import __version__, lean
from wtal_bench.errors import WtalError, did_you_mean

lean.leave_out()  # before a verb, or a worker process that imports this module as its parent did, imports mmengine

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


BUG = 3
"""Exit status of a failure that nobody foresaw."""

TRACEBACK = "--traceback"
"""Taken by every verb: show the Python traceback of a failure, for developers."""

_LESS = "Take fewer or shorter videos, a smaller batch (train.batch_size, test.batch_size) or another machine."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status (0 done, 1 a check failed, 2 bad input, 3 our bug, 130 interrupted)."""
    _print_anything()
    argv = list(sys.argv[1:] if argv is None else argv)
    traced = TRACEBACK in argv
    argv = [word for word in argv if word != TRACEBACK]
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
        if traced:
            traceback.print_exc()
        print(f"wtal-bench {verb}: {_short(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nwtal-bench {verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _drop_output()
        return 0
    except MemoryError:
        print(f"wtal-bench {verb}: there is not enough memory for this. {_LESS}", file=sys.stderr)
        return 2
    except Exception as error:
        if isinstance(error, OSError) and (error.filename is not None or error.errno in DISK):
            print(f"wtal-bench {verb}: {_refused_by_system(error)}", file=sys.stderr)
            _drop_output()
            return 2
        told = _fault(error)
        if told:
            print(f"{traceback.format_exc() if traced else ''}wtal-bench {verb}: {_short(told)}", file=sys.stderr)
            return 2
        print(traceback.format_exc() if traced else report(error, verb), file=sys.stderr)
        return BUG


def _fault(error: Exception) -> str:
    """Which component of a plugin failed, or ""; torch is not loaded to ask: without a model there is none."""
    faults = sys.modules.get("wtal_bench.modeling.faults")
    return faults.fault(error) if faults else ""


def report(error: Exception, verb: str) -> str:
    """What a person reads, and can send, when the harness fails in a way nobody foresaw."""
    frames = traceback.extract_tb(error.__traceback__)
    package = os.path.dirname(os.path.abspath(__file__))
    own = [frame for frame in frames if os.path.abspath(frame.filename).startswith(package)] or frames
    where = f"{os.path.relpath(own[-1].filename, os.path.dirname(package))}:{own[-1].lineno}" if own else "nowhere"
    system = f"wtal-bench {__version__}, Python {sys.version.split()[0]}, {sys.platform}"
    return (
        f"wtal-bench {verb}: this is a bug of the harness, not of your input.\n"
        f"  what   {type(error).__name__}: {_short(str(error), 300)}\n"
        f"  where  {where} ({system})\n"
        f"  send   these lines, the command and, if you can, its input, as an issue of the project; the same command "
        f"with {TRACEBACK} shows the whole way there"
    )


def _refused_by_system(error: OSError) -> str:
    """What the operating system does not let anybody do."""
    what = "cannot write" if error.errno in DISK else "cannot use"
    return f"{what} {_short(str(error.filename or 'a file'), 300)}: {error.strerror or error}."


def _short(text: str, limit: int = 4000) -> str:
    """A text of bearable length: an error may quote a value that is a whole file."""
    return text if len(text) <= limit else f"{text[: limit // 2]} [...] {text[-limit // 2 :]}"


def _print_anything() -> None:
    """Let a console that knows fewer letters show the rest as \\u escapes, instead of failing after hours of work."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # a test's or a notebook's
            stream.reconfigure(errors="backslashreplace")


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


def _summary(name: str) -> str:
    """A verb's SUMMARY, read off its source: importing all verbs takes ten times as long as everything else here."""
    source = Path(__file__).with_name("commands") / f"{name.rpartition('.')[2]}.py"
    with contextlib.suppress(OSError):  # a package without sources
        found = re.search(r'^SUMMARY = ("[^"\\]*")$', source.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found[1][1:-1]
    return importlib.import_module(name).SUMMARY


def _overview() -> str:
    rows = []
    for verb, name in VERBS.items():
        rows.append(f"  {verb:18} {_summary(name)}")
    return (
        "usage: wtal-bench VERB ...   (wtal-bench VERB --help shows each)\n\n"
        "weakly supervised temporal action localization: train, test and compare methods under one protocol\n\n"
        + "\n".join(rows)
        + "\n\nexample:\n  wtal-bench train cola_synthetic"
    )
