"""The verb `infer`: detections for videos nobody annotated."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wtal_bench.options import number_in
from wtal_bench.recipes import describe

SUMMARY = "Detect actions in videos, or features, of your own: no annotations, no launcher, CPU is enough."
EXAMPLE = """wtal-bench infer ecm_thumos last.pth my_video.npy --fps 25 --stride 16 --out found.json
  wtal-bench infer my_config.py my_run/last.pth new_video.mp4 --out new_video.vtt --plot pictures"""


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
        "goes on after a kill, and shares the work with others like it that see the folder",
    )
    parser.add_argument("--part-format", default=".json.gz", help="of parts: .json.gz (default), .json or .parquet")
    parser.add_argument("--plot", help="folder for one picture a video: curves, detections, attention")
    parser.add_argument("--plot-format", default="png", help="png (default), pdf or svg")


def run(args: argparse.Namespace) -> int:
    """Load, detect, write."""
    from wtal_bench.data.importers.files import Options
    from wtal_bench.data.notes import printed
    from wtal_bench.report.figures import check_format
    from wtal_bench.running.config import load_config
    from wtal_bench.running.exports import check_suffix, export
    from wtal_bench.running.infer import detect
    from wtal_bench.running.infer_parts import PartWriter
    from wtal_bench.running.inputs import Rates, build_extractor

    if args.part_videos is None:
        check_suffix(args.out)
    kind = check_format(args.plot_format, "--plot-format")
    crop = int(args.crop) if args.crop.isdecimal() else args.crop
    config = load_config(args.config)
    print(f"config {describe(config.path)}")
    version, writers = f"{config.method} {Path(args.checkpoint).name}", []

    def parts(classes: tuple[str, ...]) -> PartWriter:
        made_by = [args.checkpoint, str(args.min_score)]
        writers.append(PartWriter(Path(args.out), args.part_videos, args.part_format, classes, version, made_by))
        return writers[0]

    classes, found, notes = detect(
        config,
        Path(args.checkpoint),
        args.features,
        rates=Rates(args.fps, args.stride, args.duration),
        options=Options(args.pattern, tuple(args.keys), args.transposed, crop),
        extractor=lambda: build_extractor(args.extractor, args.extractor_options),
        plot=None if args.plot is None else lambda name: Path(args.plot) / f"{name}.{kind}",
        min_score=args.min_score,
        parts=None if args.part_videos is None else parts,
    )
    print("\n".join(printed(notes)), file=sys.stderr)
    if writers:
        print(f"written {len(writers[0].written)} parts; {writers[0].there} are in {args.out}")
        return 0
    for video, rows in found.items():
        print(f"{video}: {len(rows)} detections")
        for at in rows.score.argsort()[::-1][:5]:
            print(f"  {rows.start[at]:8.2f} - {rows.end[at]:8.2f} s  {classes[rows.label[at]]}  {rows.score[at]:.4f}")
    for path in export(args.out, found, classes, version):
        print(f"written {path}")
    return 0
