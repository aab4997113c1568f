"""Training steps and decoding of the hosts of other papers against plain loops like their authors', in one process.

The steps are those of `host_steps`; decoding goes one class, threshold and run at a time. Both sides start from the
same weights with dropout off and must agree on the loss, the gradients and the detections before anything is timed.
Times are medians of processor time, taken in turns; a ratio above 1 means that ours is faster.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_hosts.py --hosts stpn wtalc um --repeats 5
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.interpolate import interp1d
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.host_steps import STEPS
from tests.benchmarks.paired import note, paired
from wtal_bench.decoding import PooledDecoder, ThresholdDecoder
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.model import Model
from wtal_bench.recipes import read_tree
from wtal_bench.structures import VideoMeta
from wtal_bench.testing import random_batch
from wtal_plugins.bm.decoder import StreamPass, TwoStreamDecoder

TINY = "--batch 6 --length 30 --width 8 --classes 3 --repeats 1 --snippets 20"
"""What the test suite runs, so that this file cannot rot."""

SIZES = dict(
    stpn=(6, 400, 1024),
    bm=(32, 400, 1024),
    wtalc=(10, 750, 2048),
    um=(16, 750, 2048),
    cola=(16, 750, 2048),
    basnet=(16, 750, 2048),
    co2net=(10, 500, 2048),
)
"""Published videos a step, snippets and columns (of one stream, or of both)."""

TWO_STREAMS, PAIRED = ("stpn", "bm"), ("wtalc", "co2net")
BACKGROUND = ("bm", "basnet", "co2net")
"""Hosts with a background column."""


def sized(name: str, width: int, classes: int) -> dict[str, Any]:
    """The shipped model at another width, dropout off. `width` is of one stream where there are two."""
    model = read_tree(f"{name}_thumos")["model"]
    member = model.get("member", model)
    backbone, heads = member["backbone"], member["heads"]
    heads["cls" if name == "basnet" else "classifier"] |= dict(channels=width, num_classes=classes)
    for part in (backbone, *heads.values()):
        part |= {key: 0.0 for key in part if key == "dropout"}
    if name in TWO_STREAMS:
        model["streams"] = dict(rgb=(0, width), flow=(width, 2 * width))
        heads["attention"]["channels"] = width
        if name == "bm":
            heads["clusters"]["channels"] = width
        return model
    backbone |= dict(in_channels=width, channels=width)
    for key in ("filter_channels", "hidden"):
        if key in backbone:
            backbone[key] = max(1, width // 4)
    return model


def batch_for(name: str, batch: int, length: int, columns: int, classes: int) -> Batch:
    """Videos of one length, or of many up to `length` where the method pads them; three pairs where it pairs them."""
    lengths = (
        np.linspace(max(2, length // 6), length, batch).astype(int).tolist() if name == "wtalc" else [length] * batch
    )
    made = random_batch(lengths, width=columns, classes=classes)
    made.features, made.labels = made.features.float(), made.labels.float()
    if name in PAIRED:
        made.labels[1:6:2] = made.labels[0:6:2]
        made.pairs, made.pair_same = torch.arange(6).reshape(3, 2), torch.ones(3)
    return made


def bench_step(name: str, args: argparse.Namespace) -> None:
    """Compare loss and gradients of both sides, then time a step of each with Adam."""
    torch.manual_seed(0)
    size, length, width = (
        own or published for own, published in zip((args.batch, args.length, args.width), SIZES[name])
    )
    model = build_model(sized(name, width, args.classes)).train()
    streams = 2 if name in TWO_STREAMS else 1
    batch = batch_for(name, size, length, streams * width, args.classes)
    same_step(name, model, batch)
    p = parameters_of(model)
    sides = {
        "ours": (list(model.parameters()), lambda: model.losses(batch)["total"]),
        "loop": (list(p.values()), lambda: STEPS[name](p, batch)),
    }
    optimizers = {
        side: torch.optim.Adam(parameters, lr=1e-6, weight_decay=5e-4) for side, (parameters, _) in sides.items()
    }

    def step(side: str) -> None:
        optimizers[side].zero_grad()
        sides[side][1]().backward()
        optimizers[side].step()

    for side in sides:
        step(side)
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(args.repeats):  # in turns, so that a drifting machine meets both
        for side in sides:
            began = time.process_time()
            step(side)
            times[side].append(time.process_time() - began)
    ours, loop = (statistics.median(times[side]) for side in ("ours", "loop"))
    shape = f"B={size} T={length} D={streams}x{width} C={args.classes}"
    ratio = statistics.median(two / one for one, two in zip(times["ours"], times["loop"]))
    print(f"{name} step, {shape}: ours {ours:.3f} s, loop {loop:.3f} s, ratio {ratio:.2f}")
    note(f"{name}, training step, {shape}", "loop like the authors'", ours, loop, ratio)


def parameters_of(model: Model) -> dict[str, Tensor]:
    """A copy of the weights, by name, that learns by itself."""
    return {key: value.detach().clone().requires_grad_() for key, value in model.state_dict().items()}


def same_step(name: str, model: Model, batch: Batch) -> None:
    """Refuse to time two sides that do not learn the same.

    In float64: where a snippet is among the top k by the last bit of a float32, the two sides pick different ones.
    """
    model, batch = copy.deepcopy(model).double(), replace(batch)
    batch.features, batch.labels = batch.features.double(), batch.labels.double()
    p = parameters_of(model)
    ours, loop = model.losses(batch)["total"], STEPS[name](p, batch)
    torch.testing.assert_close(ours, loop, rtol=1e-9, atol=1e-9)
    ours.backward()
    loop.backward()
    for key, parameter in model.named_parameters():
        largest = p[key].grad.abs().max().item()
        torch.testing.assert_close(parameter.grad, p[key].grad, rtol=0, atol=1e-9 * largest + 1e-12, msg=key)


# ---- decoding as published ----


def regions(on: np.ndarray, name: str) -> Iterator[np.ndarray]:
    """The samples of every run, as the host's authors look for them."""
    if name == "wtalc":  # differences of a padded curve, element by element
        padded = np.concatenate([np.zeros(1), on.astype("float32"), np.zeros(1)])
        steps = [padded[at] - padded[at - 1] for at in range(1, len(padded))]
        first = [at for at, step in enumerate(steps) if step == 1]
        last = [at for at, step in enumerate(steps) if step == -1]
        yield from (np.arange(*span) for span in zip(first, last))
        return
    where = np.flatnonzero(on)
    if len(where):
        yield from np.split(where, np.flatnonzero(np.diff(where) != 1) + 1)


def fine(curve: np.ndarray, factor: int | None) -> np.ndarray:
    """[T] or [T,C] -> [factor*T] or [factor*T,C], the tail extrapolated."""
    if factor in (None, 1):
        return curve
    made = interp1d(np.arange(len(curve)), curve, kind="linear", axis=0, fill_value="extrapolate")
    return made(np.arange(len(curve) * factor) / factor)


def curves_of(decoder: ThresholdDecoder, outputs: dict) -> tuple[np.ndarray, np.ndarray | None]:
    """What is thresholded and what is scored, of every class: [N,C] or [N]."""
    classes = decoder.num_classes
    runs_on = fine(decoder.curve.evaluate(outputs, classes, "v", float), decoder.upsample)
    if isinstance(decoder, StreamPass):
        attention = fine(outputs[decoder.attention], decoder.upsample)
        runs_on = decoder.mix * runs_on + (1 - decoder.mix) * attention[:, None] ** 2
    if decoder.score_curve is None:
        return runs_on, None
    return runs_on, fine(decoder.score_curve.evaluate(outputs, classes, "v", float), decoder.upsample)


def beside(contrast: Any, run: np.ndarray, samples: int) -> tuple[list[int], list[int]]:
    """The samples left and right of a run."""
    if contrast.ring == "one_more":
        flank = len(run) // 4 + 1
        return list(range(max(0, run[0] - flank), run[0])), list(range(run[-1] + 1, min(samples, run[-1] + 1 + flank)))
    flank = contrast.outer * len(run)
    right = range(run[-1] + 1, int(min(samples - 1, run[-1] + flank)) + 1)
    return list(range(int(max(0, run[0] - flank)), run[0])), list(right)


def run_rows(decoder: ThresholdDecoder, outputs: dict, name: str) -> tuple[list[list[float]], int]:
    """Candidates (class, score, start, end in samples), class by class, threshold by threshold, run by run; N."""
    rows, contrast = [], decoder.contrast
    runs_on, scored_on = curves_of(decoder, outputs)
    scores = decoder.class_scores(outputs)
    for label in decoder.kept_classes(scores):
        found_on = runs_on if runs_on.ndim == 1 else runs_on[:, label]
        for threshold in decoder.thresholds.levels(found_on[:, None]).ravel():
            on = found_on >= threshold if decoder.runs["above"] == ">=" else found_on > threshold
            on = on & (found_on > 0) if decoder.runs["positive"] else on
            curve = found_on if scored_on is None else scored_on[:, label]
            curve = np.where(curve < threshold, 0, curve) if decoder.zero_below else curve
            for run in regions(on, name):
                if len(run) < decoder.runs["min_length"]:
                    continue
                score = np.max(curve[run]) if contrast.inside == "max" else np.mean(curve[run])
                if contrast.outer is not None:
                    left, right = beside(contrast, run, len(curve))
                    sides = [left, right] if contrast.sides == "separate" else [left + right]
                    score -= contrast.weight * sum(np.mean(curve[side]) if side else 0.0 for side in sides)
                video = 1.0 if contrast.video_score_binary else scores[label]
                rows.append([label, score + contrast.video_score * video, run[0], run[-1] + 1])
    return rows, len(runs_on)


def hard_nms(rows: np.ndarray, rule: Any) -> np.ndarray:
    """Greedy suppression of one class, one kept segment at a time."""
    order, kept = np.argsort(rows[:, 1], kind="stable")[::-1], []
    start, end, length = rows[:, 2], rows[:, 3], rows[:, 3] - rows[:, 2] + rule.offset
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        inter = np.maximum(0, np.minimum(end[best], end[order]) - np.maximum(start[best], start[order]) + rule.offset)
        overlap = inter / (length[best] + length[order] - inter)
        order = order[overlap <= rule.iou if rule.drop == ">" else overlap < rule.iou]
    return rows[kept]


def soft_nms(rows: np.ndarray, rule: Any) -> np.ndarray:
    """Gaussian suppression of one class, one segment at a time."""
    rows, done = rows.copy(), []
    while len(rows):
        best = int(np.argmax(rows[:, 1]))
        rows[[0, best]] = rows[[best, 0]]
        top, rows = rows[0], rows[1:]
        done.append(top)
        inter = np.maximum(0, np.minimum(top[3], rows[:, 3]) - np.maximum(top[2], rows[:, 2]) + rule.offset)
        overlap = inter / (top[3] - top[2] + rows[:, 3] - rows[:, 2] + 2 * rule.offset - inter)
        rows[:, 1] *= np.exp(-(overlap**2) / rule.sigma)
    return np.array(done).reshape(-1, 4)


def passes_of(decoder: Any) -> list[ThresholdDecoder]:
    """The decoder itself, or its passes."""
    passes = getattr(decoder, "passes", {"": decoder}).values()
    return [one[0] if isinstance(one, tuple) else one for one in passes]


def decode_loop(decoder: Any, outputs: dict, meta: VideoMeta, name: str) -> np.ndarray:
    """The decoder's detections by loops: rows (class, score, start, end)."""
    parts = [run_rows(one, outputs, name) for one in passes_of(decoder)]
    rows = np.array([row for part, _ in parts for row in part]).reshape(-1, 4)
    seconds = [1, 1, *[meta.stride * meta.num_snippets / (parts[0][1] * meta.fps)] * 2]
    if decoder.nms is None:
        return rows * seconds
    soft = decoder.nms.kind == "gaussian"  # that one counts in samples
    rows, suppress = (rows, soft_nms) if soft else (rows * seconds, hard_nms)
    kept = [suppress(rows[rows[:, 0] == label], decoder.nms) for label in np.unique(rows[:, 0])]
    return np.concatenate(kept) * (seconds if soft else 1)


DECODERS = {kind.__name__: kind for kind in (PooledDecoder, ThresholdDecoder)} | {
    "bm.TwoStreamDecoder": TwoStreamDecoder
}


def decoder_for(name: str, classes: int) -> Any:
    """The shipped decoder for `classes` classes."""
    config = read_tree(f"{name}_thumos")["model"]["postprocessor"]
    kind = DECODERS[config.pop("type")]
    settings = config["shared"] if kind is PooledDecoder else config
    settings["num_classes"] = classes
    return kind(**config, clamp="none")


def curves_for(decoder: Any, name: str, snippets: int, classes: int) -> dict[str, np.ndarray]:
    """Smooth random fields of one video for whatever a decoder reads."""
    rng = np.random.default_rng(0)
    kernel = np.exp(-0.5 * (np.arange(-10, 11) / 4) ** 2)
    columns = classes + (name in BACKGROUND)

    def smooth(count: int) -> np.ndarray:
        noise = rng.normal(size=(count, snippets + 20))
        return 3 * np.stack([np.convolve(row, kernel / kernel.sum(), "valid") for row in noise], axis=1)

    made = {}
    for field in decoder.requires:
        kind = field.rpartition(".")[2]
        if kind == "attention":
            made[field] = 1 / (1 + np.exp(-4 * smooth(1)[:, 0]))
        elif kind == "cas":
            made[field] = np.maximum(smooth(columns), 0) if name == "cola" else smooth(columns)
        elif kind != "actionness":
            made[field] = rng.normal(size=columns)
    if "actionness" in decoder.requires:
        made["actionness"] = made["cas"].sum(axis=1)
    return made


def bench_decoding(name: str, args: argparse.Namespace) -> None:
    """Compare the detections of both sides on one video, then time them, in a process that a network ran in."""
    block = torch.ones(7_000_000)  # once 28 MB were freed, the C library keeps what either side frees: no page faults
    del block
    decoder = decoder_for(name, args.classes)
    outputs = curves_for(decoder, name, args.snippets, args.classes)
    for one in passes_of(decoder):  # half of the classes are decoded
        one.class_threshold = float(np.median(one.class_scores(outputs)))
    video = VideoMeta("v", args.snippets * 0.64, fps=25.0, stride=16, num_snippets=args.snippets)
    ours, loop = decoder(outputs, video).rows()[:, [0, 3, 1, 2]], decode_loop(decoder, outputs, video, name)
    assert ours.shape == loop.shape, (ours.shape, loop.shape)
    ours, loop = (rows[np.lexsort(np.round(rows, 9).T[::-1])] for rows in (ours, loop))
    np.testing.assert_allclose(ours, loop, rtol=0, atol=1e-9)
    took = paired(
        lambda: decoder(outputs, video),
        lambda: decode_loop(decoder, outputs, video, name),
        max(15, args.repeats),
    )
    shape = f"T={args.snippets}, {args.classes} classes, {len(ours)} detections"
    print(f"{name} decoding, {shape}: {took.text(peer='loop')}")
    took.note(f"{name}, decoding a video, {shape}", "loop like the authors'")


def main() -> None:
    """Run what is asked for and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--batch", type=int, help="videos a step (default: the host's own; 6 at least for pairs)")
    parser.add_argument("--length", type=int, help="snippets a video (default: the host's own)")
    parser.add_argument("--width", type=int, help="D of a stream, or of both (default: the host's own)")
    parser.add_argument("--classes", type=int, default=20, help="(default 20)")
    parser.add_argument("--snippets", type=int, default=300, help="T of the decoded video (default 300)")
    parser.add_argument("--repeats", type=int, default=3, help="steps the median is of (default 3)")
    parser.add_argument("--only", choices=("step", "decoding"))
    args = parser.parse_args()
    for name in args.hosts:
        if args.only != "decoding":
            bench_step(name, args)
        if args.only != "step":
            bench_decoding(name, args)


if __name__ == "__main__":
    main()
