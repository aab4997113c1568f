"""The `leaderboard` verb: file rows, rebuild the tables, prove them current, score them again."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from wtal_bench.data.note import Note
from wtal_bench.data.notes import printed
from wtal_bench.errors import RecordError, listing
from wtal_bench.evaluation import refuse_unread
from wtal_bench.leaderboard.build import build, check, find_folder
from wtal_bench.leaderboard.shelf import recover
from wtal_bench.leaderboard.validate import SELECTIONS, SUPERVISIONS, unranked_reason

SUMMARY = "File rows on the leaderboard, rebuild its tables, check and re-score them."
EXAMPLE = """\
wtal-bench leaderboard add work_dirs/ecm_thumos/seed0/record/ecm-s0-1a2b3c4d.json
  wtal-bench leaderboard add detections.json.gz --protocol thumos14/v1 --method P-MIL --selection last
  wtal-bench leaderboard add my_run/record/*.json --folder my_leaderboard      # your own data
  wtal-bench leaderboard build
  wtal-bench leaderboard --check --verify"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    _common(parser)
    parser.add_argument(
        "--check", action="store_true", help="fail (exit 1) if a table is not current or a file belongs to no record"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every file and score all stored detections again, whatever the cache remembers and whatever files "
        "look unchanged by size and times (exit 1 if not equal)",
    )
    actions = parser.add_subparsers(dest="action", metavar="{add,build}")
    make = actions.add_parser("build", help="regenerate README.md, leaderboard.csv and index.html")
    _common(make, inherit=True)
    make.add_argument("--check", action="store_true", default=argparse.SUPPRESS, help="write nothing; fail if stale")
    make.add_argument(
        "--demote", action="store_true", help="take the rank from rows that had one and whose annotations are not here"
    )
    make.add_argument("--verify", action="store_true", default=argparse.SUPPRESS, help="score everything again")
    add = actions.add_parser(
        "add",
        help="file a measured record (a run's .json) or somebody's detections",
        description="File a run's record, or score a detection file and file it as an external row; then rebuild.",
        epilog=f"example:\n  {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common(add, inherit=True)
    add.add_argument("files", nargs="+", metavar="FILE", help="records of runs, or one detection file with --protocol")
    add.add_argument("--protocol", help="the protocol that scores a detection file, such as thumos14/v1")
    add.add_argument("--method", help="the method's name (external rows)")
    add.add_argument("--variant", default="", help="which form of the method (external rows)")
    add.add_argument(
        "--selection",
        choices=SELECTIONS,
        help="how its checkpoint was picked (default: best_on_test, the usual case; such rows are not ranked)",
    )
    add.add_argument("--supervision", choices=SUPERVISIONS, default="weak", help="what its training saw")
    add.add_argument("--extractor", default="", help="its features, in words")
    add.add_argument("--url", help="where the detections come from")
    add.add_argument("--replace", action="store_true", help="take the place of a filed row that this one repeats")
    add.add_argument("--no-build", action="store_true", help="leave the tables as they are")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 1 when a check failed."""
    folder = find_folder(args.folder)
    recover(folder / "records")
    if args.action == "add":
        return _add(folder, args)
    if args.action is None and not (args.check or args.verify):
        raise RecordError("nothing to do: give add or build, or --check and --verify (see --help).")
    failed = False
    if args.check:
        failed |= _check(folder, args.annotations)
    elif args.action == "build":
        print("\n".join(f"wrote {path}" for path in build(folder, args.annotations, args.demote)))
    if args.verify:
        failed |= _verify(folder, args.annotations)
    return int(failed)


def file_record(path: str | Path, folder: str | Path | None = None, annotations: str | Path | None = None) -> str:
    """File a run's record on the leaderboard, rebuild it, and say what happened.

    Raises:
        RecordError: the record breaks a rule or repeats a filed one.
    """
    target = find_folder(folder)
    _refuse_own(path, folder)
    text = _file_measured(target, path, annotations, replace=False)
    build(target, [annotations] if annotations else ())
    return f"{text}\nrebuilt {target}"


def _common(parser: argparse.ArgumentParser, inherit: bool = False) -> None:
    default = {"default": argparse.SUPPRESS} if inherit else {}
    parser.add_argument(
        "--folder", help="the leaderboard's folder (default: ./leaderboard, else the checkout's)", **default
    )
    parser.add_argument(
        "--annotations",
        action="append",
        metavar="FILE",
        help="annotation file to score with (default: found as `evaluate` finds it)",
        **(default or {"default": []}),
    )


def _add(folder: Path, args: argparse.Namespace) -> int:
    annotations = args.annotations[-1] if args.annotations else None
    external = any((args.protocol, args.method, args.selection, args.url))
    if external and len(args.files) > 1:
        raise RecordError(f"{len(args.files)} files for one external row: give one detection file at a time.")
    filed = 0
    try:
        for path in args.files:
            if external:
                print(_file_external(folder, path, args, annotations))
            else:
                refuse_unread(Path(path))
                _refuse_own(path, args.folder)
                print(_file_measured(folder, path, annotations, args.replace))
            filed += 1
    finally:
        # a file that is refused must not leave the tables behind those that were filed before it
        if filed and not args.no_build:
            build(folder, args.annotations)
            print(f"rebuilt {folder}")
    return 0


def _refuse_own(path: str | Path, folder: str | Path | None) -> None:
    """Rows of somebody's own data stand on a leaderboard that was named for it."""
    from wtal_bench.leaderboard.record import is_unscored, read_record
    from wtal_bench.protocols import is_own

    if folder is not None or Path(path).suffix == ".gz":
        return
    record = read_record(path)
    protocol = record.get("protocol")
    if is_unscored(record):
        return  # no leaderboard takes it, and why is said where it is read
    if isinstance(protocol, dict) and is_own(protocol.get("name")):
        raise RecordError(
            f"{path} is of your own data ({protocol['name']}), which is ranked beside nobody else's. File it on a "
            "leaderboard of your own: --folder my_leaderboard."
        )


def _file_measured(folder: Path, path: str | Path, annotations: str | Path | None, replace: bool) -> str:
    from wtal_bench.leaderboard.filing import file_measured
    from wtal_bench.leaderboard.record import read_record

    if Path(path).suffix == ".gz" or {"videos", "results"} & set(read_record(path)):
        raise RecordError(
            f"{path} holds detections, not a record. To file them as an external row, say by which protocol they are "
            "scored and whose they are: --protocol thumos14/v1 --method NAME."
        )
    filed, verdict = file_measured(folder / "records", path, annotations, replace=replace)
    record = read_record(filed)
    reason = unranked_reason(record) or ("" if verdict.state == "same" else "not scored again")
    notes = record.get("data", {}).get("notes", [])
    lines = [f"filed {filed}", *printed(Note(note["code"], note["text"]) for note in notes)]
    lines.append("its detections give its numbers" if verdict.state == "same" else f"{verdict.state}: {verdict.why}")
    return "\n".join(lines + ([f"shown, but not ranked: {reason}"] if reason else []))


def _file_external(folder: Path, path: str | Path, args: argparse.Namespace, annotations: str | Path | None) -> str:
    from wtal_bench.leaderboard.filing import file_external
    from wtal_bench.leaderboard.own import keep_annotations
    from wtal_bench.leaderboard.record import read_record
    from wtal_bench.protocols import is_own, open_protocol

    missing = [name for name in ("protocol", "method") if not getattr(args, name)]
    if missing:
        raise RecordError(
            f"an external row needs {' and '.join(f'--{name}' for name in missing)}: by which protocol it is scored, "
            "and whose it is."
        )
    notes = []
    if args.selection is None:
        args.selection = "best_on_test"
        notes.append("without --selection the checkpoint counts as picked on the test set")
    terms = {
        name: getattr(args, name) for name in ("method", "variant", "selection", "supervision", "extractor", "url")
    }
    if is_own(args.protocol) and args.folder is None:
        raise RecordError("rows of your own data stand on a leaderboard of your own: --folder my_leaderboard.")
    protocol, truth = open_protocol(args.protocol, annotations)
    filed, found = file_external(folder / "records", path, protocol, terms, annotations, replace=args.replace)
    if protocol.made_by_annotations:
        keep_annotations(folder, truth)
    if reason := unranked_reason(read_record(filed)):
        notes.append(f"shown, but not ranked: {reason}")
    return "\n".join([f"filed {filed}", *printed(found), *(f"note: {note}" for note in notes)])


def _check(folder: Path, annotations: list[str]) -> bool:
    strays, complaints = check(folder, annotations)
    for complaint in [*strays, *complaints]:
        print(complaint, file=sys.stderr)
    if complaints:
        print(f"run `wtal-bench leaderboard build --folder {folder}` and commit the result", file=sys.stderr)
    elif not strays:
        print(f"{folder} is current")
    return bool(complaints or strays)


def _verify(folder: Path, annotations: list[str]) -> bool:
    from wtal_bench.leaderboard.filing import verify

    found = list(verify(folder / "records", annotations))
    for item in found:
        if item.state != "same":
            print(f"{item.state}: {item.record}: {item.why}", file=sys.stderr)
        if item.lacks:
            print(f"{item.record} has no column {listing(item.lacks)}; `leaderboard build` adds it", file=sys.stderr)
    count = Counter(item.state for item in found)
    print(
        f"{len(found)} records: {count['same']} scored again with equal numbers, {count['differs']} differ, "
        f"{count['not verified']} not verified"
    )
    return count["differs"] > 0
