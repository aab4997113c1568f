#!/usr/bin/env python
"""How fast are synthetic videos made?

Against a plain version of the same drawing, which runs the slow noise in a loop over moments. Both draw the same random
numbers and their features are compared. Whole data sets are written to disk as a user's first run does.

Example: OMP_NUM_THREADS=1 python tests/benchmarks/bench_synthetic.py --profile demo
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wtal_bench.data.synthetic import clips, generate, synthetic_annotations
from wtal_bench.data.synthetic.profiles import PROFILES, Profile, draw_features, draw_world

TINY = "--profile tiny --videos 1"
"""What the test suite runs, so that this file cannot rot."""


def plain_noise(draws: np.ndarray, memory: float) -> np.ndarray:
    """The recursion as it is written down."""
    noise = draws * np.sqrt(1 - memory**2)
    noise[0] = draws[0]
    for row in range(1, len(noise)):
        noise[row] += memory * noise[row - 1]
    return noise


def compare(profile: Profile, videos: int) -> None:
    """Time both ways of drawing some training videos and compare what they drew."""
    world = draw_world(profile, 0)
    seconds, drawn = {}, {}
    for name, noise in (("ours", clips.slow_noise), ("plain", plain_noise)):
        with mock.patch.object(clips, "slow_noise", noise):
            started = time.perf_counter()
            drawn[name] = [draw_features(world, profile, 0, "train", index) for index in range(videos)]
            seconds[name] = time.perf_counter() - started
    for ours, plain in zip(drawn["ours"], drawn["plain"]):
        np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-10)
    snippets = sum(map(len, drawn["ours"]))
    print(
        f"drawing {videos} videos, {snippets} snippets x {2 * profile.dim}: ours {seconds['ours']:.3f} s "
        f"({1e3 * seconds['ours'] / snippets:.3f} ms a snippet), plain {seconds['plain']:.3f} s, "
        f"ratio {seconds['plain'] / seconds['ours']:.1f}; equal to 1e-10"
    )


def whole(profile: Profile, folder: Path) -> None:
    """Time the annotations alone, a data set written to disk, and finding it again."""
    marks = [time.perf_counter()]
    synthetic_annotations(profile, 0)
    marks.append(time.perf_counter())
    generate(profile, 0, folder / profile.name)
    marks.append(time.perf_counter())
    generate(profile, 0, folder / profile.name)
    marks.append(time.perf_counter())
    alone, written, found = np.diff(marks)
    size = sum(path.stat().st_size for path in (folder / profile.name).rglob("*") if path.is_file())
    print(
        f"whole of {profile.name}: annotations alone {alone:.2f} s, written {written:.2f} s ({size / 1e6:.0f} MB), "
        f"found again and verified {found:.2f} s"
    )


def main() -> None:
    """Measure one profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=list(PROFILES), default="demo", help="what is made (default: %(default)s)")
    parser.add_argument("--videos", type=int, default=20, help="videos both ways draw (default: %(default)s)")
    parser.add_argument("--folder", help="where the test data lie while it runs (default: a temporary folder)")
    args = parser.parse_args()
    profile = PROFILES[args.profile]
    print(f"profile {profile.name}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}, numpy {np.__version__}")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        compare(profile, args.videos)
        whole(profile, Path(folder))


if __name__ == "__main__":
    main()
