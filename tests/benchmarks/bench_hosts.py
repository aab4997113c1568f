"""Training steps and decoding of STPN, BM, W-TALC and UM against plain loops like their authors', in one process.

The loops hold what published code does: padded rows computed like real ones, convolutions over [B,D,T], every video's
loss by itself, one class, threshold and run at a time. Both sides start from the same weights with dropout off and must
agree on the loss, the gradients and the detections before anything is timed. Times are medians of processor time, taken
in turns; a ratio above 1 means that ours is faster.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_hosts.py --hosts stpn wtalc um --repeats 5
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from scipy.interpolate import interp1d
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional as F

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

SIZES = {"stpn": (6, 400, 1024), "bm": (32, 400, 1024), "wtalc": (10, 750, 2048), "um": (16, 750, 2048)}
"""Published videos a step, snippets and columns (of one stream, or of both)."""


# ---- training steps as published ----


def two_streams(step: Callable[..., Tensor]) -> Callable[[dict[str, Tensor], Batch], Tensor]:
    """A step of each stream, on its own columns."""

    def both(p: dict[str, Tensor], batch: Batch) -> Tensor:
        width = batch.features.shape[2] // 2
        columns = {"rgb": batch.features[:, :, :width], "flow": batch.features[:, :, width:]}
        return sum(step(p, f"members.{name}.heads", x, batch.labels) for name, x in columns.items())

    return both


def attention_of(p: dict[str, Tensor], heads: str, x: Tensor) -> Tensor:
    """[B,T,1] two layers and a sigmoid."""
    hidden = F.relu(F.linear(x, p[f"{heads}.attention.fc1.weight"], p[f"{heads}.attention.fc1.bias"]))
    return torch.sigmoid(F.linear(hidden, p[f"{heads}.attention.fc2.weight"], p[f"{heads}.attention.fc2.bias"]))


@two_streams
def stpn(p: dict[str, Tensor], heads: str, x: Tensor, labels: Tensor) -> Tensor:
    """STPN's step up to its loss."""
    attention = attention_of(p, heads, x)
    pooled = (attention * x).mean(dim=1)
    logits = F.linear(pooled, p[f"{heads}.classifier.cls.weight"], p[f"{heads}.classifier.cls.bias"])
    return F.binary_cross_entropy_with_logits(logits, labels) + 1e-4 * attention.sum(dim=(1, 2)).mean()


@two_streams
def bm(p: dict[str, Tensor], heads: str, x: Tensor, labels: Tensor) -> Tensor:
    """BM's step up to its loss; the guide is smoothed video by video on the host."""
    weight, bias = p[f"{heads}.classifier.cls.weight"], p[f"{heads}.classifier.cls.bias"]
    attention = attention_of(p, heads, x)
    x_fg = (attention * x).sum(dim=1) / (attention.sum(dim=1) + 1)
    x_bg = ((1 - attention) * x).sum(dim=1) / ((1 - attention).sum(dim=1) + 1e-6)
    target = labels / labels.sum(dim=1, keepdim=True)
    fg = -(F.pad(target, (0, 1)) * F.log_softmax(F.linear(x_fg, weight, bias), dim=1)).sum(dim=1).mean()
    bg = -F.log_softmax(F.linear(x_bg, weight, bias), dim=1)[:, -1].mean()
    scores = F.softmax(F.linear(x.detach(), weight.detach()), dim=2).cpu().numpy()
    guide = []
    for row, tags in enumerate(labels):
        smooth = torch.from_numpy(gaussian_filter1d(scores[row], 1.0, axis=0, mode="reflect", truncate=4.0))
        high = smooth[:, :-1][:, tags > 0].max(dim=1).values
        own = attention[row, :, 0]
        guide.append((own - high).abs().mean() + (own - (1 - smooth[:, -1])).abs().mean())

    def gap(value: Tensor, near: str, far: str) -> Tensor:
        weights = [p[f"{heads}.clusters.{name}.weight"] for name in (near, far)]
        biases = [p[f"{heads}.clusters.{name}.bias"] for name in (near, far)]
        return F.linear(value, weights[0], biases[0]) - F.linear(value, weights[1], biases[1])

    cluster = F.softplus(-gap(x_fg, "fg", "bg")).mean() + F.softplus(-gap(x_bg, "bg", "fg")).mean()
    return fg + 0.03 * bg + 0.1 * torch.stack(guide).mean() + 0.3 * cluster


def wtalc(p: dict[str, Tensor], batch: Batch) -> Tensor:
    """W-TALC's step up to its loss: the padded batch through the network, then one video and one pair at a time."""
    lengths = batch.lengths.tolist()
    x = F.relu(F.linear(batch.features, p["backbone.fc1.weight"], p["backbone.fc1.bias"]))
    logits = F.linear(x, p["heads.classifier.cls.weight"], p["heads.classifier.cls.bias"])
    pooled = [logits[row, :n].topk(-(-n // 8), dim=0).values.mean(dim=0) for row, n in enumerate(lengths)]
    target = batch.labels / batch.labels.sum(dim=1, keepdim=True)
    mil = -(target * F.log_softmax(torch.stack(pooled), dim=1)).sum(dim=1).mean()
    total, count = 0.0, 0.0
    for pair in batch.pairs.tolist():
        parts = []
        for row in pair:
            n = lengths[row]
            share = F.softmax(logits[row, :n], dim=0)
            parts.append((x[row, :n].T @ share, x[row, :n].T @ (1 - share) / (n - 1)))
        (h1, l1), (h2, l2) = parts
        d, d1, d2 = (1 - (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)) for a, b in ((h1, h2), (h1, l2), (h2, l1)))
        shared = batch.labels[pair[0]] * batch.labels[pair[1]]
        total = total + 0.5 * ((F.relu(d - d1 + 0.5) + F.relu(d - d2 + 0.5)) * shared).sum()
        count = count + shared.sum()
    return 0.5 * mil + 0.5 * total / count


def um(p: dict[str, Tensor], batch: Batch) -> Tensor:
    """UM's step up to its loss, nothing dropped."""
    weight, bias = p["backbone.embed.conv.weight"], p["backbone.embed.conv.bias"]
    x = F.relu(F.conv1d(batch.features.permute(0, 2, 1), weight, bias, padding=1))
    cas = F.conv1d(x, p["heads.classifier.cls.weight"].unsqueeze(-1)).permute(0, 2, 1)
    x = x.permute(0, 2, 1)
    act, bkg = max(1, x.shape[1] // 9), max(1, x.shape[1] // 4)
    norm = x.norm(p=2, dim=2)

    def rows(score: Tensor, count: int) -> Tensor:
        return score.sort(dim=1, descending=True, stable=True).indices[:, :count].unsqueeze(2)

    chosen, away = rows(norm, act), rows(norm.max(dim=1, keepdim=True).values - norm, bkg)
    action = x.gather(1, chosen.expand(-1, -1, x.shape[2])).mean(dim=1)
    background = x.gather(1, away.expand(-1, -1, x.shape[2])).mean(dim=1)
    top = cas.sort(dim=1, descending=True).values[:, :act].mean(dim=1)
    low = cas.gather(1, away.expand(-1, -1, cas.shape[2])).mean(dim=1)
    target = batch.labels / batch.labels.sum(dim=1, keepdim=True)
    cls = F.binary_cross_entropy(top.softmax(dim=1), target)
    be = F.binary_cross_entropy(low.softmax(dim=1), torch.full_like(target, 1 / target.shape[1]))
    length = (F.relu(100 - action.norm(dim=1)) + background.norm(dim=1)) ** 2
    return cls + be + 5e-4 * length.mean()


STEPS: dict[str, Callable[[dict[str, Tensor], Batch], Tensor]] = dict(stpn=stpn, bm=bm, wtalc=wtalc, um=um)


def sized(name: str, width: int, classes: int) -> dict[str, Any]:
    """The shipped model at another width, dropout off. `width` is of one stream where there are two."""
    model = read_tree(f"{name}_thumos")["model"]
    member = model.get("member", model)
    heads = member["heads"]
    heads["classifier"] |= dict(channels=width, num_classes=classes)
    if "member" in model:
        model["streams"] = dict(rgb=(0, width), flow=(width, 2 * width))
        heads["attention"]["channels"] = width
        if name == "bm":
            heads["clusters"]["channels"] = width
        return model
    member["backbone"] |= dict(in_channels=width, channels=width, dropout=0.0)
    if name == "um":
        heads["classifier"]["dropout"] = heads["selection"]["dropout"] = 0.0
    return model


def batch_for(name: str, batch: int, length: int, columns: int, classes: int) -> Batch:
    """Videos of one length, or of many up to `length` where the method pads them."""
    lengths = (
        np.linspace(max(2, length // 6), length, batch).astype(int).tolist() if name == "wtalc" else [length] * batch
    )
    made = random_batch(lengths, width=columns, classes=classes)
    made.features, made.labels = made.features.float(), made.labels.float()
    if name == "wtalc":
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
    streams = 2 if name in ("stpn", "bm") else 1
    batch = batch_for(name, size, length, streams * width, args.classes)
    p = {key: value.detach().clone().requires_grad_() for key, value in model.state_dict().items()}
    sides = {
        "ours": (list(model.parameters()), lambda: model.losses(batch)["total"]),
        "loop": (list(p.values()), lambda: STEPS[name](p, batch)),
    }
    optimizers = {
        side: torch.optim.Adam(parameters, lr=1e-6, weight_decay=5e-4) for side, (parameters, _) in sides.items()
    }

    def step(side: str) -> Tensor:
        optimizers[side].zero_grad()
        loss = sides[side][1]()
        loss.backward()
        optimizers[side].step()
        return loss.detach()

    torch.testing.assert_close(step("ours"), step("loop"), rtol=1e-4, atol=1e-5)
    same_gradients(model, p)
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(args.repeats):  # in turns, so that a drifting machine meets both
        for side in sides:
            began = time.process_time()
            step(side)
            times[side].append(time.process_time() - began)
    ours, loop = (statistics.median(times[side]) for side in ("ours", "loop"))
    shape = f"B={size} T={length} D={streams}x{width} C={args.classes}"
    print(f"{name} step, {shape}: ours {ours:.3f} s, loop {loop:.3f} s, ratio {loop / ours:.2f}")


def same_gradients(model: Model, p: dict[str, Tensor]) -> None:
    """Refuse to time two sides that do not learn the same."""
    for name, parameter in model.named_parameters():
        largest = p[name].grad.abs().max().item()
        torch.testing.assert_close(parameter.grad, p[name].grad, rtol=0, atol=1e-3 * largest + 1e-7, msg=name)


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
                rows.append([label, score + contrast.video_score * scores[label], run[0], run[-1] + 1])
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


def passes_of(decoder: Any) -> list[ThresholdDecoder]:
    """The decoder itself, or its passes."""
    passes = getattr(decoder, "passes", {"": decoder}).values()
    return [one[0] if isinstance(one, tuple) else one for one in passes]


def decode_loop(decoder: Any, outputs: dict, meta: VideoMeta, name: str) -> np.ndarray:
    """The decoder's detections by loops: rows (class, score, start, end)."""
    parts = [run_rows(one, outputs, name) for one in passes_of(decoder)]
    rows = np.array([row for part, _ in parts for row in part]).reshape(-1, 4)
    rows = rows * [1, 1, *[meta.stride * meta.num_snippets / (parts[0][1] * meta.fps)] * 2]
    if decoder.nms is None:
        return rows
    return np.concatenate([hard_nms(rows[rows[:, 0] == label], decoder.nms) for label in np.unique(rows[:, 0])])


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


def curves_for(decoder: Any, snippets: int, classes: int) -> dict[str, np.ndarray]:
    """Smooth random fields of one video for whatever a decoder reads."""
    rng = np.random.default_rng(0)
    kernel = np.exp(-0.5 * (np.arange(-10, 11) / 4) ** 2)

    def smooth(columns: int) -> np.ndarray:
        noise = rng.normal(size=(columns, snippets + 20))
        return 3 * np.stack([np.convolve(row, kernel / kernel.sum(), "valid") for row in noise], axis=1)

    made = {}
    for field in decoder.requires:
        kind = field.rpartition(".")[2]
        if kind == "attention":
            made[field] = 1 / (1 + np.exp(-4 * smooth(1)[:, 0]))
        elif kind == "cas":
            made[field] = smooth(classes + isinstance(decoder, TwoStreamDecoder))
        else:
            made[field] = rng.normal(size=classes + isinstance(decoder, TwoStreamDecoder))
    return made


def bench_decoding(name: str, args: argparse.Namespace) -> None:
    """Compare the detections of both sides on one video, then time them, in a process that a network ran in."""
    block = torch.ones(7_000_000)  # once 28 MB were freed, the C library keeps what either side frees: no page faults
    del block
    decoder = decoder_for(name, args.classes)
    outputs = curves_for(decoder, args.snippets, args.classes)
    for one in passes_of(decoder):  # half of the classes are decoded
        one.class_threshold = float(np.median(one.class_scores(outputs)))
    video = VideoMeta("v", args.snippets * 0.64, fps=25.0, stride=16, num_snippets=args.snippets)
    ours, loop = decoder(outputs, video).rows()[:, [0, 3, 1, 2]], decode_loop(decoder, outputs, video, name)
    assert ours.shape == loop.shape, (ours.shape, loop.shape)
    ours, loop = (rows[np.lexsort(np.round(rows, 9).T[::-1])] for rows in (ours, loop))
    np.testing.assert_allclose(ours, loop, rtol=0, atol=1e-9)
    times = []
    for run in (lambda: decoder(outputs, video), lambda: decode_loop(decoder, outputs, video, name)):
        own = []
        for _ in range(max(3, args.repeats)):
            began = time.process_time()
            run()
            own.append(time.process_time() - began)
        times.append(1e3 * min(own))
    print(
        f"{name} decoding, T={args.snippets}, {args.classes} classes, {len(ours)} detections: ours {times[0]:.1f} ms, "
        f"loop {times[1]:.0f} ms, {times[1] / times[0]:.1f}x"
    )


def main() -> None:
    """Run what is asked for and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--batch", type=int, help="videos a step (default: the host's own; at least 6 for wtalc)")
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
