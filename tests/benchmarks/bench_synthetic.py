#!/usr/bin/env python
"""How fast are synthetic videos made, and does any plain number give them away?

Speed: against a plain version of the same drawing, which mixes the prototypes at every instant in full width before
it averages them into snippets, and runs the slow noise in a loop over snippets. Both draw the same random numbers and
their features are compared. Whole data sets are written to disk as a user's first run does.

Probes (`--probes`): mAP, mean over tIoU 0.1 to 0.7, of the bounds and of every plain number a snippet as activation
sequence with true video labels. Every plain number should stay near the slow random bound.

Example: OMP_NUM_THREADS=1 python tests/benchmarks/bench_synthetic.py --profile demo --probes --worlds 3
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.data.synthetic_probes import probe_scores
from wtal_bench.data.synthetic import appearance, generate, synthetic_annotations
from wtal_bench.data.synthetic.profiles import PROFILES, Profile, draw_features, draw_world

TINY = "--profile tiny --videos 1 --probes --worlds 1"
"""What the test suite runs, so that this file cannot rot."""


class PlainWorld(appearance.World):
    """Mixes prototypes instant by instant."""

    def _clean(self, weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
        snippets = weights.reshape(-1, appearance.SUBSAMPLES, len(rows))
        return np.stack([np.mean([instant @ rows for instant in snippet], axis=0) for snippet in snippets])


def plain_noise(draws: np.ndarray, memory: float) -> np.ndarray:
    """The recursion as it is written down."""
    noise = draws * np.sqrt(1 - memory**2)
    noise[0] = draws[0]
    for row in range(1, len(noise)):
        noise[row] += memory * noise[row - 1]
    return noise


def compare(profile: Profile, videos: int) -> None:
    """Time both ways of drawing some training videos and compare what they drew."""
    fast = draw_world(profile, 0)
    with mock.patch("wtal_bench.data.synthetic.profiles.World", PlainWorld):
        slow = draw_world(profile, 0)
    seconds, drawn = {}, {}
    for name, world, noise in (("ours", fast, appearance._slow_noise), ("plain", slow, plain_noise)):
        with mock.patch.object(appearance, "_slow_noise", noise):
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


def probes(profile: Profile, worlds: int, folder: Path) -> None:
    """Print bounds and probes of the test split of some worlds."""
    tests = replace(profile, videos={"test": profile.videos["test"]})
    scores = [probe_scores(generate(tests, world, folder / f"probes{world}")) for world in range(worlds)]
    print(f"{'mAP in %, world':16}" + "".join(f"{world:7}" for world in range(worlds)))
    for name in scores[0]:
        print(f"{name:16}" + "".join(f"{100 * score[name]:7.1f}" for score in scores))


def main() -> None:
    """Measure one profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=list(PROFILES), default="demo", help="what is made (default: %(default)s)")
    parser.add_argument("--videos", type=int, default=20, help="videos both ways draw (default: %(default)s)")
    parser.add_argument("--probes", action="store_true", help="also score the shortcut probes")
    parser.add_argument("--worlds", type=int, default=3, help="worlds to probe (default: %(default)s)")
    parser.add_argument("--folder", help="where the test data lie while it runs (default: a temporary folder)")
    args = parser.parse_args()
    profile = PROFILES[args.profile]
    print(f"profile {profile.name}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}, numpy {np.__version__}")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        compare(profile, args.videos)
        whole(profile, Path(folder))
        if args.probes:
            probes(profile, args.worlds, Path(folder))


if __name__ == "__main__":
    main()
