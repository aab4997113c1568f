"""`wtal-bench extract`: features of one's own videos, without a download."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from wtal_bench.errors import ConfigError

SUMMARY = "extract features of videos (mp4, mkv, avi, ...) into a feature store"
EXAMPLE = """wtal-bench extract videos/ --out data/own/features
  wtal-bench extract match.mp4 --out data/own/features --extractor VideoMAE \\
      --extractor-options weights=MCG-NJU/videomae-base-finetuned-kinetics --device cuda"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("videos", nargs="+", help="video files, and folders of them; a file's name is the video's id")
    parser.add_argument("--out", required=True, help="folder the store is written to; called again, it goes on")
    parser.add_argument(
        "--extractor",
        default="EfficientNetLite0",
        metavar="NAME",
        help="EfficientNetLite0 (default; appearance alone, weights are in its package), VideoMAE, or a plugin's "
        "(`wtal-bench list --kind extractor`)",
    )
    parser.add_argument(
        "--extractor-options", nargs="+", default=[], metavar="KEY=VALUE", help="e.g. pictures=4 or weights=FOLDER"
    )
    parser.add_argument("--fps", type=float, default=25.0, help="frames a second to decode at (default: %(default)s)")
    parser.add_argument("--stride", type=int, default=16, help="frames between two snippets (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="snippets computed at once (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="default: %(default)s")
    parser.add_argument("--name", help="name of the feature set (default: the name of the --out folder)")
    parser.add_argument("--skip-broken", action="store_true", help="leave out videos that cannot be read")
    parser.add_argument("--overwrite", action="store_true", help="replace a store that is there")


def run(args: argparse.Namespace) -> int:
    """Extract; print what was done and what could not be read."""
    from wtal_bench.extraction.decode import find_videos
    from wtal_bench.extraction.extract import extract_features
    from wtal_bench.running.inputs import build_extractor

    paths = find_videos([Path(video) for video in args.videos])
    report = extract_features(
        paths,
        Path(args.out),
        build_extractor(args.extractor, args.extractor_options),
        fps=args.fps,
        stride=args.stride,
        batch=args.batch,
        device=check_device(args.device),
        dtype=args.dtype,
        name=args.name,
        overwrite=args.overwrite,
        leave_out_broken=args.skip_broken,
    )
    for note in (*report.notes, *report.failed.values()):
        print(note, file=sys.stderr)
    if report.reused:
        print(f"{report.reused} videos were done already")
    if report.seconds:
        share = report.waited / max(report.spent, 1e-9)
        print(
            f"{report.seconds:.1f} s of video in {report.spent:.1f} s ({report.seconds / report.spent:.1f} x real "
            f"time), {share:.0%} of it waiting for decoding"
        )
    if report.store is None:
        print(
            f"{len(report.failed)} of {len(paths)} videos could not be read: nothing was written. The others are kept: "
            "mend these and call again, or leave them out with --skip-broken.",
            file=sys.stderr,
        )
        return 2
    store = report.store
    print(f"{store.folder}: {len(store)} videos, {store.lengths.sum()} snippets, manifest hash {store.manifest_hash}")
    print(f"next: wtal-bench check-data {shlex.quote(str(store.folder))}")
    return 0


def check_device(name: str) -> str:
    """The name of a device that is there.

    Raises:
        ConfigError: no such device.
    """
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {name}: {str(error).splitlines()[0]} Use cpu, or cuda where there is one."
        ) from error
    return name
