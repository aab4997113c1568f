"""The verb `infer`: detections for videos nobody annotated."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wtal_bench.engines.choose import add_arguments
from wtal_bench.errors import ConfigError, WtalError
from wtal_bench.options import number_in
from wtal_bench.recipes import describe

if TYPE_CHECKING:
    from wtal_bench.data.note import Note
    from wtal_bench.engines.engine import Engine
    from wtal_bench.running.infer_jobs import Inference

SUMMARY = "Detect actions in videos, or features, of your own: no annotations, no launcher, CPU is enough."
EXAMPLE = """wtal-bench infer ecm_thumos last.pth my_video.npy --fps 25 --stride 16 --out found.json
  wtal-bench infer my_config.py my_run/last.pth new_video.mp4 --out new_video.vtt --plot pictures
  wtal-bench infer my_config.py my_run/last.pth my_store --part-videos 1000 --out found --jobs 2"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", help="the config the checkpoint was trained with")
    parser.add_argument("checkpoint", help="checkpoint (.pth)")
    parser.add_argument(
        "features",
        nargs="+",
        help="feature files or folders as `import-features` takes them, a feature store, or videos (mp4, mkv, ...; the "
        "extra 'video'); a file's name is the video's id; memory grows with T, ten hours take 1 to 3 GiB (the README "
        "has a table by method)",
    )
    parser.add_argument("--fps", type=float, help="frames a second the features were made at (default: as in training)")
    parser.add_argument("--stride", type=float, help="frames between two snippets (default: as in training)")
    parser.add_argument("--duration", type=float, help="seconds (one video; default: snippets * stride / fps)")
    parser.add_argument("--pattern", default="", help="how names of feature files are made: '{id}_{stream}.npy', ...")
    parser.add_argument("--keys", nargs="+", default=[], help="arrays of a file to join, in column order")
    parser.add_argument("--crop", default="mean", help="of ten crops: mean (default) or the number of one")
    parser.add_argument("--transposed", action="store_true", default=None, help="[D,T] files (told by several)")
    parser.add_argument("--extractor", default="EfficientNetLite0", metavar="NAME", help="for videos: see `extract`")
    parser.add_argument("--extractor-options", nargs="+", default=[], metavar="KEY=VALUE", help="e.g. window=8")
    parser.add_argument(
        "--out",
        default="detections.json",
        help=".json, .json.gz, .activitynet.json, .csv, .vtt (subtitles) or .eaf (ELAN; the extra 'elan') to write "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--min-score",
        type=number_in("(-inf, inf)"),
        default=float("-inf"),
        help="leave out detections below this score, of the pictures too",
    )
    parser.add_argument(
        "--part-videos",
        type=number_in("[1, inf)", whole=True),
        metavar="N",
        help="for many videos: --out is a folder of parts of N videos each, which `evaluate` takes; the same command "
        "goes on after a kill, and shares the work with others like it that see the folder; workers share it with "
        "--jobs or --engine",
    )
    parser.add_argument("--part-format", default=".json.gz", help="of parts: .json.gz (default), .json or .parquet")
    add_arguments(parser, "workers", "none, it must be said")
    parser.add_argument("--plot", help="folder for one picture a video: curves, detections, attention")
    parser.add_argument("--plot-format", default="png", help="png (default), pdf or svg")


def run(args: argparse.Namespace) -> int:
    """Load, detect, write; or have workers do it."""
    from wtal_bench.data.importers.files import Options
    from wtal_bench.data.notes import printed
    from wtal_bench.engines.choose import engine_of
    from wtal_bench.report.figures import check_format
    from wtal_bench.running.config import load_config
    from wtal_bench.running.exports import check_suffix, export
    from wtal_bench.running.infer_jobs import Inference
    from wtal_bench.running.infer_parts import PartsProgress
    from wtal_bench.running.inputs import Rates

    engine = engine_of(args)
    if args.part_videos is None:
        check_suffix(args.out)
    crop = int(args.crop) if args.crop.isdecimal() else args.crop
    asked = Inference(
        config=load_config(args.config),
        checkpoint=Path(args.checkpoint),
        sources=tuple(args.features),
        rates=Rates(args.fps, args.stride, args.duration),
        options=Options(args.pattern, tuple(args.keys), args.transposed, crop),
        extractor=args.extractor,
        extractor_options=tuple(args.extractor_options),
        min_score=args.min_score,
        plot=None if args.plot is None else Path(args.plot),
        plot_format=check_format(args.plot_format, "--plot-format"),
        out=Path(args.out),
        part_videos=args.part_videos,
        part_format=args.part_format,
    )
    print(f"config {describe(asked.config.path)}")
    if args.jobs is not None or args.engine not in (None, "here"):
        return _by_workers(args, asked, engine)
    writer = asked.writer()
    classes, found, notes = asked.detect(writer)
    print("\n".join(printed(notes)), file=sys.stderr)
    if writer is not None:
        there = PartsProgress(writer.paths).there
        print(f"written {len(writer.written)} parts; {there} are in {args.out}")
        return 0
    for video, rows in found.items():
        print(f"{video}: {len(rows)} detections")
        for at in rows.score.argsort()[::-1][:5]:
            print(f"  {rows.start[at]:8.2f} - {rows.end[at]:8.2f} s  {classes[rows.label[at]]}  {rows.score[at]:.4f}")
    for path in export(args.out, found, classes, asked.version):
        print(f"written {path}")
    return 0


def _by_workers(args: argparse.Namespace, asked: Inference, engine: Engine) -> int:
    """Have the parts that are missing made by an engine's workers.

    Raises:
        WtalError: parts are missing in the end.
    """
    from wtal_bench.data.notes import printed
    from wtal_bench.running.infer_jobs import PartsJob
    from wtal_bench.running.infer_parts import PartsProgress

    writer = asked.writer()
    if writer is None:
        raise ConfigError("workers share the parts of a folder: say with --part-videos N, of how many videos each is.")
    if args.jobs is None and args.engine != "local":
        raise ConfigError(f"--engine {args.engine}: say with --jobs N how many workers share the parts.")
    progress = engine.board.headline = PartsProgress(writer.agree(asked.inputs()))
    before = progress.missing
    print(f"{progress()}; {engine.describe}", flush=True)
    notes: dict[Note, None] = {}
    problems: dict[str, None] = {}
    for outcome in engine.run([PartsJob(asked, number) for number in range(min(engine.jobs, before))]):
        problems |= {outcome.problem: None} if outcome.problem else {}
        notes |= dict.fromkeys(outcome.result or ())
    print("\n".join(printed(notes)), file=sys.stderr)
    if left := progress.missing:
        shown = "".join(f"\n  {problem}" for problem in problems)
        raise WtalError(f"{left} of {len(writer.paths)} parts were not made, the others are kept:{shown}")
    print(f"written {before} parts; {progress.there} are in {args.out}")
    return 0
