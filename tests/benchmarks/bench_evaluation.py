"""How much faster detection mAP is than loops of the official rule, in one process, with equal results.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_evaluation.py --thumos ../shared/data/thumos14.json \
        --thumos-detections ../shared/detections/thumos14_pmil_base_test.json.gz
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.paired import note
from wtal_bench.data.annotations import Annotations
from wtal_bench.evaluation import DetectionTable, GroundTruth, evaluate, read_detections

TINY = (
    "--thumos {annotations} --thumos-detections {detections} --activitynet {annotations}"
    " --activitynet-detections {detections} --pandas --repeats 1 --large 100"
)
"""What the test suite runs, so that this file cannot rot."""

SHARED = Path(__file__).resolve().parents[3] / "shared"
SEVEN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
TEN = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

Truth = Mapping[str, Sequence[tuple[str, float, float]]]
Found = Mapping[str, Sequence[tuple[str, float, float, float]]]


def plain_loop(truth: Truth, found: Found, tious: Sequence[float]) -> dict[str, list[float]]:
    """The official rule in plain Python, one threshold at a time, as the repositories' own loops go."""
    by_class, detections = _by_class(truth, found)
    return {
        label: [_plain_class(videos, detections[label], [tiou])[0] for tiou in tious]
        for label, videos in by_class.items()
    }


def shared_overlap_loop(truth: Truth, found: Found, tious: Sequence[float]) -> dict[str, list[float]]:
    """The same loop, tuned: every tIoU is computed and sorted once for all thresholds."""
    by_class, detections = _by_class(truth, found)
    return {label: _plain_class(videos, detections[label], tious) for label, videos in by_class.items()}


def _by_class(truth: Truth, found: Found) -> tuple[dict, dict]:
    by_class: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for video, rows in truth.items():
        for label, start, end in rows:
            by_class.setdefault(label, {}).setdefault(video, []).append((start, end))
    detections: dict[str, list[tuple[float, str, float, float]]] = {label: [] for label in by_class}
    for video, rows in found.items():
        for label, start, end, score in rows:
            if label in detections:
                detections[label].append((score, video, start, end))
    return by_class, detections


def temporal_iou(start: float, end: float, low: float, high: float) -> float:
    """tIoU of two segments; two of no length overlap if they are the same instant."""
    shared = max(min(high, end) - max(low, start), 0.0)
    union = (high - low) + (end - start) - shared
    return shared / union if union else float(start == low)


def _plain_class(
    videos: dict[str, list[tuple[float, float]]], rows: list[tuple[float, str, float, float]], tious: Sequence[float]
) -> list[float]:
    last_first = rows[::-1]  # sorting is stable: of equal scores the last in the input ranks first
    ranked = sorted(last_first, key=lambda row: row[0], reverse=True)
    taken: list[set[tuple[str, int]]] = [set() for _ in tious]
    hits: list[list[bool]] = [[] for _ in tious]
    for _, video, start, end in ranked:
        overlaps = [
            (temporal_iou(start, end, low, high), index) for index, (low, high) in enumerate(videos.get(video, ()))
        ]
        overlaps.sort(reverse=True)
        for place, tiou in enumerate(tious):
            hit = False
            for overlap, index in overlaps:
                if overlap < tiou:
                    break
                if (video, index) not in taken[place]:
                    taken[place].add((video, index))
                    hit = True
                    break
            hits[place].append(hit)
    instances = sum(map(len, videos.values()))
    return [_plain_ap(flags, instances) for flags in hits]


def _plain_ap(flags: list[bool], instances: int) -> float:
    precision, recall, found = [0.0], [0.0], 0
    for rank, flag in enumerate(flags, 1):
        found += flag
        precision.append(found / rank)
        recall.append(found / instances)
    precision.append(0.0)
    recall.append(1.0)
    for index in range(len(precision) - 2, -1, -1):
        precision[index] = max(precision[index], precision[index + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def pandas_loop(truth: Truth, found: Found, tious: Sequence[float]) -> dict[str, list[float]]:
    """The official rule over data frames, as evaluation scripts write it: group by video, iterate over rows."""
    names = ["video", "label", "start", "end"]
    annotated = pd.DataFrame([(video, *row) for video, rows in truth.items() for row in rows], columns=names)
    detected = pd.DataFrame([(video, *row) for video, rows in found.items() for row in rows], columns=[*names, "score"])
    result = {}
    for label, instances in annotated.groupby("label", sort=False):
        rows = detected[detected["label"] == label].reset_index(drop=True)
        result[label] = _pandas_class(instances.reset_index(drop=True), rows, tious)
    return result


def _pandas_class(instances: pd.DataFrame, rows: pd.DataFrame, tious: Sequence[float]) -> list[float]:
    order = rows["score"].to_numpy().argsort(kind="stable")[::-1]
    rows = rows.loc[order].reset_index(drop=True)
    groups = instances.groupby("video")
    taken = np.full((len(tious), len(instances)), -1)
    hits = np.zeros((len(tious), len(rows)), dtype=bool)
    for place, row in rows.iterrows():
        if row["video"] not in groups.groups:
            continue
        group = groups.get_group(row["video"])
        shared = (np.minimum(group["end"], row["end"]) - np.maximum(group["start"], row["start"])).clip(lower=0)
        union = (group["end"] - group["start"]) + (row["end"] - row["start"]) - shared
        overlap = (shared / union).to_numpy()
        for threshold, tiou in enumerate(tious):
            for index in overlap.argsort(kind="stable")[::-1]:
                if overlap[index] < tiou:
                    break
                instance = group.index[index]
                if taken[threshold, instance] < 0:
                    taken[threshold, instance] = place
                    hits[threshold, place] = True
                    break
    return [_plain_ap(flags.tolist(), len(instances)) for flags in hits]


def ours(truth: Truth, found: Found, tious: Sequence[float]) -> dict[str, list[float]]:
    """From the same Python tuples, tables included."""
    ground_truth = GroundTruth.from_rows(truth)
    result = evaluate(DetectionTable.from_rows(found, ground_truth.classes), ground_truth, tious)
    return dict(zip(result.classes, result.ap.tolist()))


def best_of(repeats: int, call: Callable[[], object]) -> tuple[float, object]:
    """Shortest processor time of several calls, and the last result."""
    times, value = [], None
    for _ in range(repeats):
        gc.collect()
        begin = time.process_time()
        value = call()
        times.append(time.process_time() - begin)
    return min(times), value


def repeated(rows: Mapping[str, list], times: int) -> dict[str, list]:
    """The videos several times, under new ids."""
    return {f"{video}#{copy}": list(part) for copy in range(times) for video, part in rows.items()}


def largest_gap(first: Mapping[str, list[float]], second: Mapping[str, list[float]]) -> float:
    """Largest difference between two tables of AP."""
    return max(abs(a - b) for label in first for a, b in zip(first[label], second[label], strict=True))


def read_set(annotations: Path, detections: Path, subset: str) -> tuple[dict[str, list], dict[str, list]]:
    """Ground truth and detections as Python tuples."""
    file = Annotations.load(annotations)
    names = file.classes
    truth = {
        video: [(names[s.label], s.start, s.end) for s in entry.segments]
        for video, entry in file.videos.items()
        if entry.subset == subset
    }
    found = {
        video: [(names[int(label)], start, end, score) for label, start, end, score in part.rows().tolist()]
        for video, part in read_detections(detections, names).videos.items()
    }
    return truth, found


def compare(
    name: str, truth: dict[str, list], found: dict[str, list], tious: Sequence[float], args: argparse.Namespace
) -> None:
    """Print the times of one set."""
    few, repeats = min(2, args.repeats), args.repeats
    count = sum(map(len, found.values()))
    print(f"{name}: {count} detections, {sum(map(len, truth.values()))} instances, {len(tious)} thresholds")
    fast, values = best_of(repeats, lambda: ours(truth, found, tious))
    plain, expected = best_of(few, lambda: plain_loop(truth, found, tious))
    gap = largest_gap(values, expected)
    print(
        f"  from tuples {1e3 * fast:.1f} ms; plain loop {plain:.2f} s: {plain / fast:.0f}x (largest AP gap {gap:.1e})"
    )
    work = f"scoring {name} ({count} detections)"
    note(work, "official rule in plain Python", fast, plain)
    tuned, _ = best_of(few, lambda: shared_overlap_loop(truth, found, tious))
    print(f"  plain loop with every tIoU computed once for all thresholds {tuned:.2f} s: {tuned / fast:.0f}x")
    ground_truth = GroundTruth.from_rows(truth)
    table = DetectionTable.from_rows(found, ground_truth.classes)
    columns, _ = best_of(repeats, lambda: evaluate(table, ground_truth, tious))
    print(f"  from columns {1e3 * columns:.1f} ms: {plain / columns:.0f}x the plain loop")
    if args.pandas:
        slow, expected = best_of(1, lambda: pandas_loop(truth, found, tious))
        print(f"  pandas loop {slow:.2f} s: {slow / fast:.0f}x (largest AP gap {largest_gap(values, expected):.1e})")
        note(work, "official rule over data frames", fast, slow)
    many_truth, many_found = repeated(truth, 10), repeated(found, 10)
    ten, _ = best_of(few, lambda: ours(many_truth, many_found, tious))
    print(f"  ten times the videos: {1e3 * ten:.0f} ms, {ten / fast:.1f} times as long")


def score_alone(kind: str, detections: int, repeats: int) -> dict[str, float]:
    """Score random detections in a process of its own, so that the peak is the peak of this alone; the fastest of some.

    What the system takes to hand out fresh pages varies by half of the whole.
    """
    command = [sys.executable, __file__, "--only", kind, "--large", str(detections)]
    calls = (subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(repeats))
    return min(map(json.loads, calls), key=lambda found: found["seconds"])


def report_large(detections: int, repeats: int) -> None:
    """Many detections over many videos, ten times fewer of them, and a class whose instances all overlap."""
    for kind, count in (("many", detections), ("crowded", min(20_000, detections))):
        few, all_of_them = (score_alone(kind, rows, repeats) for rows in (max(1, count // 10), count))
        print(
            f"{kind}, {count} detections: {all_of_them['seconds']:.2f} s of processor time, "
            f"{all_of_them['peak_GiB']:.2f} GiB at most; a tenth of them {few['seconds']:.3f} s, "
            f"{all_of_them['seconds'] / few['seconds']:.1f} times as long"
        )
        for found in (few, all_of_them):
            note(f"scoring {found['detections']} detections, {kind}, {found['peak_GiB']:.2f} GiB", "", found["seconds"])


def crowded(detections: int) -> tuple[DetectionTable, GroundTruth]:
    """One video and one class of a thousand instances that all overlap: 1000 pairs a detection."""
    random = np.random.default_rng(0)
    start, found = random.uniform(0, 100, 1000), random.uniform(0, 100, detections)
    none, nothing = np.zeros(1000, dtype=np.int32), np.zeros(detections, dtype=np.int32)
    truth = GroundTruth(("class0",), ("video0",), none, none, start, start + random.uniform(50, 150, 1000))
    ends = found + random.uniform(50, 150, detections)
    return DetectionTable(("video0",), nothing, nothing, found, ends, random.random(detections)), truth


def many(detections: int) -> tuple[DetectionTable, GroundTruth]:
    """2000 videos with 15 instances of one of 20 classes each."""
    random = np.random.default_rng(0)
    videos, classes, per_video = 2000, 20, 15
    names = tuple(f"video{index}" for index in range(videos))
    start = random.uniform(0, 200, videos * per_video)
    truth = GroundTruth(
        tuple(f"class{index}" for index in range(classes)),
        names,
        np.repeat(np.arange(videos), per_video),
        np.repeat(random.integers(0, classes, videos), per_video),
        start,
        start + random.exponential(4, len(start)),
    )
    start = random.uniform(0, 200, detections)
    table = DetectionTable(
        names,
        random.integers(0, videos, detections).astype(np.int32),
        random.integers(0, classes, detections).astype(np.int32),
        start,
        start + random.exponential(4, detections),
        random.random(detections),
    )
    return table, truth


def large(kind: str, detections: int) -> None:
    """Score random detections in this process and print time and peak memory."""
    table, truth = {"many": many, "crowded": crowded}[kind](detections)
    begin = time.process_time()
    result = evaluate(table, truth, SEVEN)
    spent = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"detections": detections, "seconds": spent, "peak_GiB": peak, "average": result.average}))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--thumos", type=Path, default=SHARED / "data/thumos14.json")
    parser.add_argument("--thumos-detections", type=Path, default=SHARED / "detections/thumos14_pmil_base_test.json.gz")
    parser.add_argument("--activitynet", type=Path, default=SHARED / "data/activitynet1.3.json")
    parser.add_argument("--activitynet-detections", type=Path, default=SHARED / "detections/activitynet1.3_sample.json")
    parser.add_argument("--repeats", type=int, default=9, help="calls a figure is the best of (loops: at most 2)")
    parser.add_argument("--pandas", action="store_true", help="also time the loop over data frames (minutes)")
    parser.add_argument("--large", type=int, default=10_000_000, help="detections of the memory test, 0 = none")
    parser.add_argument("--only", choices=("many", "crowded"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        large(args.only, args.large)
        return
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}, best processor time")
    for name, truth_file, found_file, subset, tious in (
        ("THUMOS14, P-MIL detections", args.thumos, args.thumos_detections, "test", SEVEN),
        ("ActivityNet 1.3, toolkit sample", args.activitynet, args.activitynet_detections, "val", TEN),
    ):
        if not (truth_file.exists() and found_file.exists()):
            print(f"{name}: skipped, {truth_file} or {found_file} is not here")
            continue
        compare(name, *read_set(truth_file, found_file, subset), tious, args)
    if args.large:
        report_large(args.large, min(5, args.repeats))


if __name__ == "__main__":
    main()
