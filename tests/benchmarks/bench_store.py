#!/usr/bin/env python
"""How fast does the feature store fill mini-batches? Against a plain loop of one `np.load` a video.

Every way makes the same padded float32 batches of the same videos; the plain loop reads one .npy file a video, picks
the rows and stacks them, as most published code does. Figures are of a warm page cache: bytes of the finished
features per second, best of several passes.

Example: OMP_NUM_THREADS=1 python tests/benchmarks/bench_store.py --videos 64 --snippets 750 --width 2048 --batch 16
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from wtal_bench.data.gather import gather
from wtal_bench.data.sampling import Sampling, build_sampling
from wtal_bench.data.store import FeatureStore, StoredVideo, write_store

TINY = "--many 3 --videos 2 --snippets 9 --length 5 --width 8 --batch 2 --passes 1"
"""What the test suite runs, so that this file cannot rot."""

SAMPLINGS = ("whole", "uniform", "random_segments", "linear")


def main() -> None:
    """Make a store, time every way of reading it, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=64, help="videos in the store (default: %(default)s)")
    parser.add_argument("--snippets", type=int, default=750, help="snippets of the median video (default: %(default)s)")
    parser.add_argument("--length", type=int, default=750, help="snippets sampled a video (default: %(default)s)")
    parser.add_argument("--width", type=int, default=2048, help="feature columns (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="videos in a mini-batch (default: %(default)s)")
    parser.add_argument(
        "--passes", type=int, default=5, help="passes over the store, best counts (default: %(default)s)"
    )
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="stored precision")
    parser.add_argument(
        "--many", type=int, default=100_000, help="videos of the store that is opened (default: %(default)s)"
    )
    parser.add_argument("--folder", help="where the test data lie while it runs (default: a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        lengths = write(Path(folder), args)
        size = Path(folder, "store", "features.npy").stat().st_size / 1e9
        print(f"{args.videos} videos of {lengths.min()} .. {lengths.max()} snippets x {args.width} columns, "
              f"{args.dtype}, {size:.2f} GB; batches of {args.batch}; torch {torch.__version__}, "
              f"{torch.get_num_threads()} threads")  # fmt: skip
        report_opening(Path(folder), args)
        for name in SAMPLINGS:
            report(name, build_sampling(name, length=args.length), Path(folder), args)


def write(folder: Path, args: argparse.Namespace) -> np.ndarray:
    """Write the same random videos as a store and as one .npy file each; return their lengths."""
    generator = np.random.default_rng(0)
    lengths = np.maximum(1, generator.lognormal(np.log(args.snippets), 0.3, args.videos)).astype(int)
    plain = folder / "plain"
    plain.mkdir()

    def videos() -> Iterator[StoredVideo]:
        for video, length in enumerate(lengths):
            data = generator.standard_normal((length, args.width), dtype=np.float32).astype(args.dtype)
            np.save(plain / f"v{video}.npy", data)
            yield StoredVideo(f"v{video}", data, duration=float(length * 0.64), fps=25.0)

    manifest = {"name": "bench", "extractor": "random numbers", "stride": 16, "synthetic": True}
    half = args.width // 2
    streams = {"rgb": [0, half], "flow": [half, args.width]}
    write_store(folder / "store", videos(), manifest={**manifest, "streams": streams}, dtype=args.dtype)
    return lengths


def report_opening(folder: Path, args: argparse.Namespace) -> None:
    """Time opening, and checking, a store of many tiny videos: its index is what grows."""
    row = np.ones((1, 2), dtype=np.float32)
    manifest = {"name": "many", "extractor": "ones", "stride": 16, "synthetic": True}
    videos = (StoredVideo(f"video_{at:09d}", row, duration=0.64, fps=25.0) for at in range(args.many))
    write_store(folder / "many", videos, manifest={**manifest, "streams": {"rgb": [0, 1], "flow": [1, 2]}})
    times = []
    for _ in range(args.passes):
        started = time.process_time()
        FeatureStore.open(folder / "many")
        times.append(time.process_time() - started)
    print(f"  opening a store of {args.many} videos: {min(times):.3f} s of the processor")


def report(name: str, sampling: Sampling, folder: Path, args: argparse.Namespace) -> None:
    """Time the ways of reading with one sampling and print a line each."""
    ways: dict[str, Callable[[list[int], int], torch.Tensor]] = {"plain np.load loop": plain_loop(folder, sampling)}
    for title, resident in (("map", None), ("RAM", "ram"), ("GPU resident", "cuda")):
        if resident == "cuda" and not torch.cuda.is_available():
            continue
        ways[title] = gathering(FeatureStore.open(folder / "store", resident=resident), sampling)
    first = list(range(min(args.batch, args.videos)))
    wanted = ways["plain np.load loop"](first, 0)
    base = None
    for title, make in ways.items():
        torch.testing.assert_close(make(first, 0).cpu(), wanted)
        rate = measure(make, args)
        base = base or rate
        print(f"  {name:16} {title:20} {rate:7.2f} GB/s   {rate / base:6.2f} x plain")
    if not torch.cuda.is_available():
        print(f"  {name:16} GPU resident         skipped: no CUDA device here")


def plain_loop(folder: Path, sampling: Sampling) -> Callable[[list[int], int], torch.Tensor]:
    """Return the plain way: open, read, pick, stack."""

    def make(videos: list[int], epoch: int) -> torch.Tensor:
        rows = []
        for video in videos:
            data = np.load(folder / "plain" / f"v{video}.npy")
            positions = sampling.draw(len(data), seed=0, epoch=epoch, video=f"v{video}")
            low = np.floor(positions).astype(int)
            picked = data[low].astype(np.float32)
            if positions.dtype == np.float64:
                high = data[np.minimum(low + 1, len(data) - 1)].astype(np.float32)
                picked += (positions - low)[:, None].astype(np.float32) * (high - picked)
            rows.append(picked)
        batch = np.zeros((len(rows), max(map(len, rows)), rows[0].shape[1]), np.float32)
        for place, picked in zip(batch, rows):
            place[: len(picked)] = picked
        return torch.from_numpy(batch)

    return make


def gathering(store: FeatureStore, sampling: Sampling) -> Callable[[list[int], int], torch.Tensor]:
    """Return the store's way."""
    return lambda videos, epoch: gather(store, videos, sampling, seed=0, epoch=epoch).features


def measure(make: Callable[[list[int], int], torch.Tensor], args: argparse.Namespace) -> float:
    """Return the best rate of some passes over all videos, in GB of finished features a second."""
    best = 0.0
    for epoch in range(args.passes):
        order = np.random.default_rng(epoch).permutation(args.videos)
        started, made = time.perf_counter(), 0
        for at in range(0, args.videos, args.batch):
            features = make(order[at : at + args.batch].tolist(), epoch)
            made += features.numel() * features.element_size()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = max(best, made / (time.perf_counter() - started) / 1e9)
    return best


if __name__ == "__main__":
    main()
