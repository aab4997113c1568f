"""`wtal-bench make-synthetic`: generate the embedded benchmark, or stand-in features for real annotations."""

from __future__ import annotations

import argparse

from wtal_bench.data.locate import ANNOTATIONS, FEATURES
from wtal_bench.data.store import FeatureStore
from wtal_bench.data.synthetic.build import generate
from wtal_bench.data.synthetic.profiles import PROFILES
from wtal_bench.data.synthetic.standin import stand_in
from wtal_bench.errors import DataError
from wtal_bench.options import number_in

SUMMARY = "generate synthetic features and annotations"
EXAMPLE = """wtal-bench make-synthetic --profile demo --world 0
  wtal-bench make-synthetic --annotations data/thumos14.json --dim 64 --out data/thumos14-stand-in"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    sizes = ", ".join(
        f"{name} ({sum(profile.videos.values())} videos, 2 x {profile.dim})" for name, profile in PROFILES.items()
    )
    parser.add_argument("--profile", help=f"{sizes}; default: demo")
    parser.add_argument(
        "--world",
        type=int,
        default=0,
        help="seed of everything random (default: %(default)s)",
    )
    parser.add_argument("--out", metavar="DIR", help="folder to write (default: the cache, see WTAL_CACHE)")
    real = parser.add_argument_group("stand-in features for real annotations")
    real.add_argument("--annotations", metavar="FILE", help="annotation file to draw features for; needs --out")
    real.add_argument(
        "--dim", type=number_in("[1, 65536]", whole=True), help="columns of each of the two streams (default: 64)"
    )
    real.add_argument("--fps", type=number_in("[0.01, 1000]"), help="frame rate to pretend (default: the file's own)")
    real.add_argument(
        "--limit", type=number_in("[1, inf)", whole=True), help="only the first LIMIT videos of every subset"
    )


def run(args: argparse.Namespace) -> int:
    """Generate; print the folder and what is in it."""
    if args.annotations is None:
        for name in ("dim", "fps", "limit"):
            if getattr(args, name) is not None:
                raise DataError(f"--{name} belongs to --annotations; a profile fixes it. Drop --{name}.")
        folder = generate(args.profile or "demo", args.world, args.out)
    else:
        if args.profile is not None:
            raise DataError("--profile and --annotations exclude each other: give one of them.")
        if args.out is None:
            raise DataError("--annotations needs --out DIR: stand-in features are not cached.")
        dim = 64 if args.dim is None else args.dim
        folder = stand_in(args.annotations, args.out, dim, world=args.world, fps=args.fps, limit=args.limit)
    store = FeatureStore.open(folder / FEATURES)
    print(
        f"{folder}: {FEATURES}/ with {len(store)} videos, {int(store.lengths.sum())} snippets x {store.width} columns "
        f"(SYNTHETIC, {store.manifest_hash[:12]}), and {ANNOTATIONS}"
    )
    return 0
