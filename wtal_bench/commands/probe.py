"""`wtal-bench probe`: how hard a data set is, and how its features vary; or those of a folder of trimmed clips."""

from __future__ import annotations

import argparse
from pathlib import Path

from wtal_bench.data.composed.clips import TABLE, ClipSet, named_streams
from wtal_bench.data.synthetic.profiles import check_world
from wtal_bench.errors import DataError
from wtal_bench.files import write_json
from wtal_bench.probing import probe, table
from wtal_bench.probing.levels import Seen, drawn_like, levels

SUMMARY = "measure how hard a data set is: bounds, shortcuts, linear scores, how its features vary"
EXAMPLE = """wtal-bench probe data/composed/ucf101
  wtal-bench probe data/composed/ucf101 my_world --subset val --json probes.json
  wtal-bench probe ucf101_clips --streams rgb flow --dim 64 --step 0.28 --drawn 1"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="a data set: features/ and annotations.json")
    parser.add_argument("--subset", default="test", help="the videos that are scored (default: %(default)s)")
    parser.add_argument(
        "--train-subset", default="train", help="the videos that linear scores learn from (default: %(default)s)"
    )
    parser.add_argument("--features", metavar="DIR", help="the feature store, if it lies elsewhere")
    parser.add_argument("--annotations", metavar="FILE", help="the annotation file, if it lies elsewhere")
    parser.add_argument("--json", metavar="FILE", help="write every figure here as well")
    clips = parser.add_argument_group("a folder of trimmed clips (clips.csv, as `wtal-bench compose` reads it)")
    clips.add_argument("--streams", nargs="+", metavar="NAME[=FILE]", help="its streams (default: all there)")
    clips.add_argument("--dim", type=int, help="means over runs of neighbouring columns (default: all columns)")
    clips.add_argument("--drawn", type=int, metavar="WORLD", help="beside it, the like of clips of a synthetic world")
    clips.add_argument("--step", type=float, help="seconds between two moments of a clip; --drawn needs it")


def run(args: argparse.Namespace) -> int:
    """Print the figures of every folder side by side."""
    if any((Path(folder) / TABLE).is_file() for folder in args.folders):
        return _probe_clips(args)
    given = [name for name in ("streams", "dim", "drawn", "step") if getattr(args, name) is not None]
    if given:
        raise DataError(f"--{given[0]} is for a folder of trimmed clips, with {TABLE}; {args.folders[0]} holds none.")
    if len(args.folders) > 1 and (args.features or args.annotations):
        raise DataError("--features and --annotations are of one data set; give one folder with them.")
    where = {"features": args.features, "annotations": args.annotations}
    names = _short(args.folders)
    reports = {
        name: probe(folder, args.subset, train_subset=args.train_subset, **where)
        for name, folder in zip(names, args.folders)
    }
    print(table(reports))
    for name, report in reports.items():
        print(
            f"{name}: the largest plain number is {report.loudest}, of {len(report.plain)}; the training videos would "
            f"have chosen {report.chosen}"
        )
    if args.json:
        write_json(args.json, {name: report.as_dict() for name, report in reports.items()})
    return 0


def _probe_clips(args: argparse.Namespace) -> int:
    """Print how the clips of one folder vary."""
    if len(args.folders) > 1:
        raise DataError("give one folder of clips at a time.")
    if args.drawn is not None and not (args.step and args.step > 0):
        raise DataError(
            "--drawn needs --step SECONDS, the time between two moments of a clip: drawn clips have a pace."
        )
    clips = ClipSet(args.folders[0], named_streams(args.streams) if args.streams else None, dim=args.dim)
    seen = [Seen(clip.label, clip.group, parts) for clip, parts in clips.read_each(clips.clips)]
    found = {"clips": levels(seen, clips.streams)}
    if args.drawn is not None:
        if len(clips.streams) != 2:
            raise DataError(
                f"drawn clips have two streams, these have {len(clips.streams)}; choose two with --streams."
            )
        found["drawn"] = levels(drawn_like(seen, check_world(args.drawn), args.step), clips.streams)
    width = max(map(len, found["clips"]))
    print(" " * width + "".join(f"{name:>10}" for name in found))
    for figure in found["clips"]:
        print(f"{figure:{width}}" + "".join(f"{part.get(figure, float('nan')):10.3f}" for part in found.values()))
    if args.json:
        write_json(args.json, found)
    return 0


def _short(folders: list[str]) -> list[str]:
    """The folders' last names, as far as these tell them apart."""
    names = [Path(folder).resolve().name for folder in folders]
    if len(set(folders)) != len(folders):
        raise DataError("a folder is given twice; give every data set once.")
    return names if len(set(names)) == len(names) else folders
