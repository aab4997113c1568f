"""`wtal-bench report`: a page about one run, or several beside each other."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from urllib.parse import quote

from wtal_bench.errors import ConfigError, DataError
from wtal_bench.files import write_text

SUMMARY = "write one self-contained page about a run, or several: scores, curves, errors, time lines of videos"
EXAMPLE = """wtal-bench report work_dirs/ecm_synthetic/RUN
  wtal-bench report RUN_A RUN_B RUN_C --out compared.html --videos my_videos/"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("runs", nargs="+", help="runs' folders, or record files (without their training curves)")
    parser.add_argument("--out", help="page to write (default: report.html in the run's folder, or here for several)")
    parser.add_argument("--annotations", help="annotation file (default: where the protocol or the run says it lies)")
    parser.add_argument("--videos", metavar="DIR", help="folder of the video files, played beside their time lines")


def run(args: argparse.Namespace) -> int:
    """Gather, spell, write."""
    from wtal_bench.report.content import gather
    from wtal_bench.report.page import to_html

    paths = [Path(text) for text in args.runs]
    out = _out(args.out, paths)
    runs = [gather(path, Path(args.annotations) if args.annotations else None) for path in paths]
    if len({run["facts"]["protocol"] for run in runs}) > 1:
        names = ", ".join(f"{run['label']}: {run['facts']['protocol']}" for run in runs)
        raise ConfigError(f"a report shows runs of one protocol, their numbers do not compare otherwise; got {names}.")
    _tell_apart(runs)
    films = (
        _films(Path(args.videos), out, {video["id"] for run in runs for video in run["videos"]}) if args.videos else {}
    )
    write_text(out, to_html(runs, films))
    print(f"written {out}")
    return 0


def _out(given: str | None, paths: list[Path]) -> Path:
    if given is not None:
        out = Path(given)
        if out.suffix.lower() not in (".html", ".htm"):
            raise ConfigError(f"--out {given}: a report is a page; give it a name that ends in .html.")
        return out
    return paths[0] / "report.html" if len(paths) == 1 and paths[0].is_dir() else Path("report.html")


def _tell_apart(runs: list[dict]) -> None:
    """Runs of one method and seed get their folder's name, so that no two have one label."""
    labels = [run["label"] for run in runs]
    for run in runs:
        if labels.count(run["label"]) > 1:
            run["label"] += f" ({run['path']})"


def _films(folder: Path, out: Path, wanted: set[str]) -> dict[str, str]:
    if not folder.is_dir():
        raise DataError(f"--videos {folder}: there is no such folder.")
    found = {path.stem: path for path in sorted(folder.rglob("*")) if path.stem in wanted and path.is_file()}
    if not found:
        raise DataError(f"--videos {folder}: holds none of the videos of the report, e.g. {min(wanted)!r}.")
    base = out.resolve().parent
    return {name: quote(os.path.relpath(path.resolve(), base).replace(os.sep, "/")) for name, path in found.items()}
