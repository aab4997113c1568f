"""What a sharded store costs as it grows: import, opening, a whole pass, random gathers, memory.

    python -m tests.benchmarks.bench_shards --videos 1000 10000 100000

Small float16 videos are written as one .npy each, copied with `cp -r`, and imported into shards. Then processes of
their own read the files with `np.load` and the store with this project's code: a pass over all videos in order, or
gathers of 16 random videos into a padded float32 batch; first cold (the pages of every file dropped), then warm.
Memory is what the process holds beyond the files it maps (RssAnon), less what it held before it opened anything.
All lies in a folder that is removed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from wtal_bench.data.gather import gather
from wtal_bench.data.importers.features import import_features
from wtal_bench.data.importers.files import Options, feature_files
from wtal_bench.data.store import FeatureStore

TINY = "--videos 12 --width 4 --shard 0.001 --gathers 2 --repeats 1"
"""What the test suite runs, so that this file cannot rot."""

BATCH = 16
SETTINGS = {"name": "bench", "extractor": "random numbers", "fps": 25.0, "stride": 16, "dtype": "float16"}


def main() -> None:
    """Measure every size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="+", default=[1000, 10_000], help="default: %(default)s")
    parser.add_argument("--width", type=int, default=128, help="columns (default: %(default)s)")
    parser.add_argument("--shard", type=float, default=64, help="MB of a shard (default: %(default)s)")
    parser.add_argument("--gathers", type=int, default=200, help="batches drawn (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes of the import (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of copy and import, in turns (default: %(default)s)")
    parser.add_argument("--folder", help="where the test data lie while it runs (default: a temporary folder)")
    args = parser.parse_args()
    print(f"width {args.width}, shards of {args.shard} MB, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for videos in args.videos:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            grown(Path(folder), videos, args)


def grown(folder: Path, videos: int, args: argparse.Namespace) -> None:
    """Measure one size."""
    write(folder / "files", videos, args.width)
    copied, imported = zip(*(copy_and_import(folder, args) for _ in range(args.repeats)))
    ratio = statistics.median(one / other for one, other in zip(copied, imported))
    size = sum(entry.stat().st_size for entry in os.scandir(folder / "files"))
    shards = len(FeatureStore.open(folder / "store").shards)
    print(f"{videos} videos, {size / 1e6:.0f} MB in {shards} shards")
    print(
        f"  import {statistics.median(imported):8.2f} s, {ratio:5.2f} of cp -r's speed (median of {args.repeats} pairs)"
    )
    for state in ("cold", "warm"):
        for task in ("pass", "gather"):
            found = {what: apart(folder, what, task, state, args) for what in ("store", "files")}
            for key in ("open", task, "memory"):
                unit = {"gather": "ms", "memory": "MB"}.get(key, "s")
                ours, theirs = found["store"][key], found["files"][key]
                if key != "open" or task == "pass":
                    print(f"  {state} {task:6} {key:6} {ours:9.3f} {unit:2}   a file a video {theirs:9.3f} {unit}")


def apart(folder: Path, what: str, task: str, state: str, args: argparse.Namespace) -> dict[str, float]:
    """Measure in a process of its own."""
    if state == "cold":
        drop(folder / what)
    # a fork has everything imported and nothing opened
    way = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    with ProcessPoolExecutor(1, multiprocessing.get_context(way)) as process:
        return process.submit(measure, what, task, str(folder), args.gathers, args.width).result()


def write(folder: Path, videos: int, width: int) -> None:
    """One .npy file a video, 20 to 60 snippets each."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    pool = rng.standard_normal((4096, width), dtype=np.float32).astype(np.float16)
    for number in range(videos):
        length, first = int(rng.integers(20, 61)), int(rng.integers(0, 4000))
        np.save(folder / f"v{number:07d}.npy", pool[first : first + length])


def copy_and_import(folder: Path, args: argparse.Namespace) -> tuple[float, float]:
    """Seconds that `cp -r` and an import take; the store of the last import stays."""
    os.sync()
    start = time.perf_counter()
    subprocess.run(["cp", "-r", folder / "files", folder / "copy"], check=True)
    copied = time.perf_counter() - start
    shutil.rmtree(folder / "copy")
    os.sync()
    start = time.perf_counter()
    source = feature_files([str(folder / "files")], Options())
    size = int(args.shard * 1e6)
    import_features(source, folder / "store", **SETTINGS, shard_size=size, jobs=args.jobs, overwrite=True)
    return copied, time.perf_counter() - start


def drop(folder: Path) -> None:
    """Have the system forget the pages of every file."""
    os.sync()
    for path in filter(Path.is_file, folder.rglob("*")):
        handle = os.open(path, os.O_RDONLY)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def measure(what: str, task: str, folder: str, gathers: int, width: int) -> dict[str, float]:
    """Open one of the two, and pass over it or gather from it."""
    before = anonymous()
    start = time.perf_counter()
    videos, read, batch = (of_files if what == "files" else of_store)(Path(folder) / what)
    found = {"open": time.perf_counter() - start}
    if task == "gather":
        spent = []
        for draw in np.random.default_rng(1).integers(0, videos, (gathers, BATCH)):
            start = time.perf_counter()
            batch(draw)
            spent.append(time.perf_counter() - start)
        found[task] = 1e3 * statistics.median(spent)
    else:
        place = np.empty((64, width), np.float16)
        start = time.perf_counter()
        for at in range(videos):
            video = read(at)
            place[: len(video)] = video
        found[task] = time.perf_counter() - start
    return {**found, "memory": (anonymous() - before) / 1e6}


def of_files(folder: Path) -> tuple[int, Callable, Callable]:
    """A file a video: np.load and padding, as published code does."""
    names = sorted(entry.path for entry in os.scandir(folder))

    def batch(draw: np.ndarray) -> np.ndarray:
        videos = [np.load(names[at]) for at in draw]
        padded = np.zeros((len(videos), max(map(len, videos)), videos[0].shape[1]), np.float32)
        for row, video in zip(padded, videos):
            row[: len(video)] = video
        return padded

    return len(names), lambda at: np.load(names[at]), batch


def of_store(folder: Path) -> tuple[int, Callable, Callable]:
    """The store, with all its checks at opening."""
    store = FeatureStore.open(folder)
    return len(store), store.video, lambda draw: gather(store, draw, "whole").features


def anonymous() -> float:
    """Bytes of memory this process holds beyond files."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux
        return float("nan")
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), float("nan"))


if __name__ == "__main__":
    main()
