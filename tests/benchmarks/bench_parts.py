"""Processor time and memory of scoring detections in parts, as they grow: official rule, ten thresholds.

    python -m tests.benchmarks.bench_parts --millions 1 10

Parts of Parquet (or `--suffix .json.gz`) are written once; a fresh process each scores 1 M of them, 10 M, ... What
100 M would take is the slope times 100: time grows by parts, memory by videos and instances. `--whole` also scores
them joined, in another process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from wtal_bench.evaluation import (
    DetectionParts,
    DetectionTable,
    GroundTruth,
    evaluate_parts,
    get_preset,
    write_detections,
)
from wtal_bench.structures import Detections

TINY = "--millions 0.0004 --part 0.0001 --suffix .json.gz --whole"
"""What the test suite runs, so that this file cannot rot."""

CLASSES = tuple(f"class {number}" for number in range(20))
ROWS, INSTANCES = 100, 5
"""Detections and instances of a video."""
TIOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


def main() -> None:
    """Measure and print a line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10], help="detections (default: %(default)s)")
    parser.add_argument("--part", type=float, default=0.5, help="millions of a part (default: %(default)s)")
    parser.add_argument("--suffix", default=".parquet", help="of the parts (default: %(default)s)")
    parser.add_argument("--whole", action="store_true", help="also score all of them joined")
    parser.add_argument("--folder", help="where the test data lie while it runs (default: a temporary folder)")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(Path(args.measure[0]), args.measure[1] == "whole")))
        return
    print("detections      parts   processor seconds   microseconds each   peak MiB   mAP")
    for millions in args.millions:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            parts = write(Path(folder), int(millions * 1e6), int(args.part * 1e6), args.suffix)
            for how in ("parts", "whole") if args.whole else ("parts",):
                words = [sys.executable, __file__, "--measure", folder, how]
                found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
                each = found["seconds"] / millions
                print(
                    f"{millions:8.4g} M {parts if how == 'parts' else 1:8} {found['seconds']:19.2f} {each:19.3f} "
                    f"{found['peak']:10.0f}   {found['mAP']!r}"
                )


def write(folder: Path, count: int, part: int, suffix: str) -> int:
    """Write the parts and return how many they are."""
    videos, number = max(1, count // ROWS), 0
    for first in range(0, videos, max(1, part // ROWS)):
        chunk = {f"v{at:08d}": detections(at) for at in range(first, min(videos, first + max(1, part // ROWS)))}
        write_detections(folder / f"part-{number:05d}{suffix}", chunk, CLASSES, "bench")
        number += 1
    (folder / "videos").write_text(str(videos))
    return number


def segments(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    """Random segments of the two classes a video shows, on a scale where some of them meet."""
    random = np.random.default_rng(seed)
    start = random.uniform(0, 100, rows)
    return start, start + random.uniform(2, 30, rows), (seed + random.integers(0, 2, rows)) % len(CLASSES), random


def detections(video: int) -> Detections:
    """Those of one video."""
    start, end, label, random = segments(2 * video, ROWS)
    return Detections(start, end, label, random.standard_normal(ROWS).round(4))


def measure(folder: Path, whole: bool) -> dict[str, float]:
    """Score the parts, or all of them joined."""
    videos = int((folder / "videos").read_text())
    columns = [segments(2 * video + 1, INSTANCES)[:3] for video in range(videos)]
    start, end, label = (np.concatenate(column) for column in zip(*columns))
    where = np.repeat(np.arange(videos), INSTANCES)
    truth = GroundTruth(CLASSES, tuple(f"v{at:08d}" for at in range(videos)), where, label, start, end)
    preset = get_preset("activitynet")
    begin = time.process_time()
    parts = DetectionParts.open(folder, CLASSES)
    if whole:
        result = preset.evaluate(joined(list(parts.tables())), truth, TIOUS)
    else:
        result = evaluate_parts(parts.tables, truth, TIOUS, [preset])["activitynet"]
    seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak": peak, "mAP": result.average}


def joined(tables: list[DetectionTable]) -> DetectionTable:
    """All parts in one table."""
    names = tuple(name for table in tables for name in table.videos)
    first = np.cumsum([0, *(len(table.videos) for table in tables)])
    video = np.concatenate([table.video + begin for table, begin in zip(tables, first)])
    columns = [
        np.concatenate([getattr(table, name) for table in tables]) for name in ("label", "start", "end", "score")
    ]
    return DetectionTable(names, video, *columns)


if __name__ == "__main__":
    main()
