"""Decoding and NMS against plain per-class numpy loops, in one process, results checked equal.

The loops use numpy on one class, one threshold and one run at a time, on slices (published test code is often slower:
it addresses samples by lists of indices). Times are the best of
several repeats of processor time; run with OMP_NUM_THREADS=1 for one core.

Example:
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_decoding.py --snippets 300 --classes 20 --repeats 20
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.paired import note
from wtal_bench.decoding import NMS, Contrast, ThresholdDecoder
from wtal_bench.structures import VideoMeta

TINY = "--snippets 20 --classes 2 --proposals 5 --chain 40 --repeats 1"
"""What the test suite runs, so that this file cannot rot."""

DECODERS = {
    "snippet grid, 5 thresholds, own-length NMS": {
        "thresholds": {"arange": (0.03, 0.055, 0.005)},
        "min_length": 3,
        "contrast": {"ring": "inside", "overhang": 1, "weight": 0.6},
        "end_overhang": 1,
        "nms": {"iou": 0.2, "overlap": "self", "offset": 1.0, "drop": ">"},
        "nms_units": "samples",
    },
    "snippet grid, 20 thresholds, own-length NMS": {
        "thresholds": {"arange": (0.001, 0.04, 0.002)},
        "min_length": 2,
        "contrast": {"outer": 0.0785, "power": 0.9, "ring": "inside", "overhang": 1},
        "end_overhang": 1,
        "nms": {"iou": 0.25, "overlap": "self", "offset": 1.0, "drop": ">"},
        "nms_units": "samples",
    },
    "up-sampled 24 times, 10 thresholds, IoU NMS": {
        "thresholds": {"arange": (0, 0.25, 0.025)},
        "upsample": 24,
        "normalize": "rectified",
        "above": ">=",
        "positive": True,
        "zero_below": True,
        "contrast": {"video_score": 0.2},
        "nms": {"iou": 0.7, "offset": 1.0},
    },
}


def best(run: Callable[[], object], repeats: int) -> float:
    """Milliseconds of processor time of the fastest of several calls."""
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    return min(times) * 1e3


def nms_rows(rule: NMS, start: np.ndarray, end: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Greedy NMS of one class, one numpy row operation a kept segment."""
    length, order, kept = end - start + rule.offset, np.argsort(score, kind="stable")[::-1], []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        inter = np.maximum(0, np.minimum(end[best], end[order]) - np.maximum(start[best], start[order]) + rule.offset)
        whole = length[order] if rule.overlap == "self" else length[best] + length[order] - inter
        overlap = inter / whole
        order = order[overlap < rule.iou] if rule.drop == ">=" else order[overlap <= rule.iou]
    return np.array(kept, dtype=np.int64)


def decode_loop(decoder: ThresholdDecoder, outputs: dict, meta: VideoMeta) -> np.ndarray:
    """The decoder's detections, class by class, threshold by threshold, run by run: rows (class, start, end, score)."""
    contrast, rows = decoder.contrast, []
    kept, curves, _ = decoder.curves(outputs, meta)
    scores = decoder.video_scores(outputs)
    step = meta.stride * meta.num_snippets / (len(curves) * meta.fps)
    for column, label in enumerate(kept):
        found = []
        for threshold in decoder.thresholds.grid:
            curve = curves[:, column]
            on = curve >= threshold if decoder.runs["above"] == ">=" else curve > threshold
            if decoder.runs["positive"]:
                on &= curve > 0
            if decoder.zero_below:
                curve = np.where(curve < threshold, 0, curve)
            edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]])))
            for start, end in zip(edges[::2].tolist(), edges[1::2].tolist()):
                if end - start >= decoder.runs["min_length"]:
                    score = run_score(contrast, curve, start, end) + contrast.video_score * scores[label]
                    found.append((start, end + decoder.end_overhang, score))
        if not found:
            continue
        start, end, score = np.array(found).T
        if decoder.nms_units == "seconds":
            start, end = start * step, end * step
        chosen = nms_rows(decoder.nms, start, end, score)
        unit = 1 if decoder.nms_units == "seconds" else step
        rows += [(label, start[i] * unit, end[i] * unit, score[i]) for i in chosen]
    return np.array(rows).reshape(-1, 4)


def run_score(contrast: Contrast, curve: np.ndarray, start: int, end: int) -> float:
    """Inside mean minus weighted outside mean of one run."""
    samples, flank = len(curve), contrast.outer * (end - start) ** contrast.power
    inside = np.mean(curve[start : min(end + contrast.overhang, samples)])
    if contrast.ring == "inside":
        right = curve[end + 1 : max(end + 1, min(samples - 1, int(end + flank + 1)))]
    else:
        right = curve[end : min(samples, int(end - 1 + flank) + 1)]
    outside = np.concatenate([curve[max(0, int(start - flank)) : start], right])
    return inside - contrast.weight * (np.mean(outside) if len(outside) else 0.0)


def smooth_curves(rng: np.random.Generator, snippets: int, columns: int) -> np.ndarray:
    """Smoothed random logits, softmax over the columns: [snippets, columns] that sum to 1."""
    noise = rng.normal(size=(snippets + 20, columns))
    kernel = np.exp(-0.5 * (np.arange(-10, 11) / 4) ** 2)
    logits = 6 * np.stack([np.convolve(n, kernel / kernel.sum(), "valid") for n in noise.T], axis=1)
    share = np.exp(logits)
    return share / share.sum(axis=1, keepdims=True)


def compare(name: str, ours: Callable[[], object], loop: Callable[[], object], repeats: int) -> None:
    """Print both times and their ratio."""
    fast, slow = best(ours, repeats), best(loop, max(3, repeats // 4))
    print(f"  {name}: {fast:.2f} ms, loop {slow:.1f} ms, {slow / fast:.1f}x")
    note(name, "numpy loop over classes, thresholds and runs", fast / 1e3, slow / 1e3)


def bench_decoders(args: argparse.Namespace, rng: np.random.Generator) -> None:
    """Time every decoder of `DECODERS` on one video."""
    cas = smooth_curves(rng, args.snippets, args.classes + 1)
    outputs = {"cas": cas, "video_logits": np.ones(args.classes)}
    meta = VideoMeta("v", args.snippets * 0.64 + 1, fps=25.0, stride=16, num_snippets=args.snippets)
    print(f"decoding one video, T={args.snippets}, {args.classes} classes kept")
    for name, spec in DECODERS.items():
        decoder = ThresholdDecoder(num_classes=args.classes, scores_activation="none", clamp="none", **spec)
        ours, loop = partial(decoder, outputs, meta), partial(decode_loop, decoder, outputs, meta)
        np.testing.assert_allclose(ours().rows(), loop(), rtol=0, atol=1e-12)
        compare(f"{name} ({len(decoder.candidates(outputs, meta))} candidates)", ours, loop, args.repeats)


def nms_loop(rule: NMS, start: np.ndarray, end: np.ndarray, score: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Greedy NMS, one class at a time."""
    rows = (np.flatnonzero(group == g) for g in range(group.max() + 1))
    return np.concatenate([r[nms_rows(rule, start[r], end[r], score[r])] for r in rows])


def bench_nms(args: argparse.Namespace, rng: np.random.Generator) -> None:
    """Time hard and soft NMS on random segments."""
    print(f"NMS, {args.classes} classes x N random segments of 1..30 s in 200 s")
    rules = {
        "IoU 0.5, +1": NMS(iou=0.5, offset=1.0),
        "IoU 0.7, +1": NMS(iou=0.7, offset=1.0),
        "own length 0.2, +1": NMS(iou=0.2, overlap="self", offset=1.0, drop=">"),
    }
    for count in args.proposals:
        start = rng.uniform(0, 200, args.classes * count)
        columns = (start, start + rng.uniform(1, 30, len(start)), rng.random(len(start)))
        columns += (np.repeat(np.arange(args.classes), count),)
        for name, rule in rules.items():
            np.testing.assert_array_equal(rule(*columns)[0], nms_loop(rule, *columns))
            compare(
                f"NMS, N={count} x {args.classes} classes, {name}",
                partial(rule, *columns),
                partial(nms_loop, rule, *columns),
                args.repeats,
            )
        soft = NMS(kind="gaussian", sigma=0.3, offset=1.0)
        took = best(partial(soft, *columns), 3)
        print(f"  N={count}, soft Gaussian: {took:.1f} ms")
        note(f"soft NMS, N={count} x {args.classes} classes", "", took / 1e3)


def bench_chain(args: argparse.Namespace) -> None:
    """Time a chain in which each segment suppresses the next, which no round can decide in parallel."""
    for count in (args.chain, 2 * args.chain):
        start = np.arange(count) * 0.5
        columns = (start, start + 1.0, np.linspace(1, 0, count))
        rule = NMS(iou=1 / 3)
        assert len(rule(*columns)[0]) == -(-count // 2)
        took = best(partial(rule, *columns), args.repeats)
        print(f"  chain of {count} conflicts: {took:.2f} ms")
        note(f"NMS of a chain of {count} conflicts", "", took / 1e3)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snippets", type=int, default=300, help="T of the decoded video (default 300)")
    parser.add_argument("--classes", type=int, default=20, help="classes kept (default 20)")
    parser.add_argument("--proposals", type=int, nargs="+", default=[100, 200, 500, 1000], help="N per class for NMS")
    parser.add_argument("--chain", type=int, default=16000, help="segments in a chain of conflicts (default 16000)")
    parser.add_argument("--repeats", type=int, default=20, help="calls a figure is the best of (default 20)")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    # one large array freed teaches malloc to keep memory, as in any process that has read a feature file
    np.ones(3 << 20)
    print(f"numpy {np.__version__}, best of {args.repeats}, processor time")
    bench_decoders(args, rng)
    bench_nms(args, rng)
    bench_chain(args)


if __name__ == "__main__":
    main()
