"""The verb `infer`: detections for features of videos nobody annotated."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wtal_bench.options import number_in
from wtal_bench.recipes import describe

SUMMARY = "Detect actions in feature files of your own videos: no annotations, no launcher, CPU is enough."
EXAMPLE = "python tools/infer.py configs/ecm_thumos.py last.pth my_video.npy --fps 25 --stride 16 --out detections.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", help="the config the checkpoint was trained with")
    parser.add_argument("checkpoint", help="checkpoint (.pth)")
    parser.add_argument(
        "features",
        nargs="+",
        help=".npy files [T,D], one a video (its name is the video's id); memory "
        "grows with T, ten hours take 1 to 3 GiB (the README has a table by method)",
    )
    parser.add_argument(
        "--fps",
        type=float,
        required=True,
        help="frames a second of the video the features came from",
    )
    parser.add_argument("--stride", type=float, required=True, help="frames between two snippets")
    parser.add_argument("--duration", type=float, help="seconds (one file; default: snippets * stride / fps)")
    parser.add_argument("--out", default="detections.json", help="detections file to write (default: %(default)s)")
    parser.add_argument(
        "--min-score",
        type=number_in("(-inf, inf)"),
        default=float("-inf"),
        help="leave out detections below this score",
    )
    parser.add_argument("--plot", help="folder for one picture a video: class curves and detections")


def run(args: argparse.Namespace) -> int:
    """Load, detect, write."""
    from wtal_bench.data.notes import printed
    from wtal_bench.evaluation import write_detections
    from wtal_bench.running.config import load_config
    from wtal_bench.running.infer import detect

    config = load_config(args.config)
    print(f"config {describe(config.path)}")
    classes, found, notes = detect(
        config,
        Path(args.checkpoint),
        [Path(path) for path in args.features],
        fps=args.fps,
        stride=args.stride,
        duration=args.duration,
        plot=None if args.plot is None else Path(args.plot),
    )
    print("\n".join(printed(notes)), file=sys.stderr)
    kept = {video: rows.take(rows.score >= args.min_score) for video, rows in found.items()}
    write_detections(args.out, kept, classes, f"{config.method} {Path(args.checkpoint).name}")
    for video, rows in kept.items():
        print(f"{video}: {len(rows)} detections")
        for at in rows.score.argsort()[::-1][:5]:
            print(f"  {rows.start[at]:8.2f} - {rows.end[at]:8.2f} s  {classes[rows.label[at]]}  {rows.score[at]:.4f}")
    print(f"written {args.out}")
    return 0
