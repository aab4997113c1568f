"""Training steps and decoding of CoLA, BaS-Net and CO2-Net against plain loops like their authors', in one process.

The loops hold what published code does: convolutions over [B,D,T], whole sorts for the top k, SciPy morphology on the
host, one pair at a time, one class, threshold and run at a time. Both sides start from the same weights with dropout
off, and must agree on every loss before anything is timed. Times are medians of processor time, in turn.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_hosts_b.py --hosts cola basnet co2net --batch 4 --repeats 3
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.decoding import PooledDecoder, ThresholdDecoder
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.build import build_model
from wtal_bench.recipes import read_tree
from wtal_bench.structures import VideoMeta
from wtal_bench.testing import random_batch

TINY = "--batch 6 --length 30 --width 8 --classes 3 --repeats 1 --snippets 20"
"""What the test suite runs, so that this file cannot rot."""


# ---- training steps as published ----


def conv(x: Tensor, p: dict[str, Tensor], name: str, taps: int = 3) -> Tensor:
    """A temporal convolution over [B,D,T]."""
    weight = p[f"{name}.weight"]
    weight = weight.unsqueeze(-1) if weight.dim() == 2 else weight
    return F.conv1d(x, weight, p.get(f"{name}.bias"), padding=taps // 2)


def sorted_mean(x: Tensor, k: int) -> Tensor:
    """[B,T,C] -> [B,C] by a whole sort."""
    return x.sort(dim=1, descending=True).values[:, :k].mean(dim=1)


def softmax_bce(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy(logits.softmax(dim=1), target / target.sum(dim=1, keepdim=True))


def cola(p: dict[str, Tensor], x: Tensor, labels: Tensor) -> Tensor:
    """CoLA's step up to its loss."""
    embedding = F.relu(conv(x.permute(0, 2, 1), p, "backbone.embed.conv")).permute(0, 2, 1)
    cas = F.relu(conv(embedding.permute(0, 2, 1), p, "heads.classifier.cls.conv", 1)).permute(0, 2, 1)
    length = x.shape[1]
    easy, hard = max(1, length // 5), max(1, length // 20)
    actionness = cas.sum(dim=2)

    def rows(score: Tensor, k: int) -> Tensor:
        index = score.sort(dim=1, descending=True, stable=True).indices[:, :k]
        return embedding.gather(1, index.unsqueeze(2).expand(-1, -1, embedding.shape[2]))

    host = actionness.detach().cpu().numpy()
    above = host > np.median(host, axis=1, keepdims=True)

    def each(rule: Callable[..., np.ndarray], width: int) -> np.ndarray:
        return np.array([rule(row, np.ones(width)) for row in above])

    inner = each(ndimage.binary_erosion, 3) & ~each(ndimage.binary_erosion, 6)
    outer = each(ndimage.binary_dilation, 6) & ~each(ndimage.binary_dilation, 3)
    ea, eb = rows(actionness, easy), rows(actionness.max(dim=1, keepdim=True).values - actionness, easy)
    ha, hb = (rows(actionness * torch.from_numpy(ring), hard) for ring in (inner, outer))

    def contrast(query: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        query, positive = F.normalize(query.mean(1), dim=1), F.normalize(positive.mean(1), dim=1)
        negative = F.normalize(negative.permute(0, 2, 1), dim=1)
        near = torch.einsum("nc,nc->n", query, positive).unsqueeze(-1)
        far = torch.einsum("nc,nck->nk", query, negative)
        logits = torch.cat([near, far], dim=1) / 0.07
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))

    snico = contrast(ha, ea, eb) + contrast(hb, eb, ea)
    return softmax_bce(sorted_mean(cas, easy), labels) + 0.01 * snico


def basnet(p: dict[str, Tensor], x: Tensor, labels: Tensor) -> Tensor:
    """BaS-Net's step up to its loss: two calls of the whole trunk."""
    x = x.permute(0, 2, 1)
    k = max(1, x.shape[2] // 8)
    hidden = F.leaky_relu(conv(x, p, "backbone.filter1", 1), 0.01)
    weights = torch.sigmoid(conv(hidden, p, "backbone.filter2", 1))

    def trunk(features: Tensor) -> Tensor:
        made = F.leaky_relu(conv(features, p, "backbone.conv1"), 0.01)
        made = F.leaky_relu(conv(made, p, "backbone.conv2"), 0.01)
        return conv(made, p, "heads.cls.cls", 1).permute(0, 2, 1)

    base, suppressed = sorted_mean(trunk(x), k), sorted_mean(trunk(weights * x), k)
    losses = softmax_bce(base, F.pad(labels, (0, 1), value=1.0)) + softmax_bce(suppressed, F.pad(labels, (0, 1)))
    return losses + 1e-4 * weights.squeeze(1).sum(dim=1).mean()


def co2net(p: dict[str, Tensor], x: Tensor, labels: Tensor) -> Tensor:
    """CO2-Net's step up to its loss: one pair of videos at a time."""
    rgb, flow = x.permute(0, 2, 1).chunk(2, dim=1)

    def act(value: Tensor) -> Tensor:
        return F.leaky_relu(value, 0.2)

    def gate(name: str, main: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        summary = act(conv(F.adaptive_avg_pool1d(main, 1), p, f"backbone.{name}.summary"))
        made = torch.sigmoid(summary * act(conv(other, p, f"backbone.{name}.local.conv"))) * main
        hidden = act(conv(act(conv(made, p, f"backbone.{name}.att1.conv")), p, f"backbone.{name}.att2.conv"))
        return made, torch.sigmoid(conv(hidden, p, f"backbone.{name}.att3", 1))

    made_rgb, att_rgb = gate("rgb", rgb, flow)
    made_flow, att_flow = gate("flow", flow, rgb)
    attention = ((att_rgb + att_flow) / 2).permute(0, 2, 1)
    embedding = act(conv(torch.cat([made_rgb, made_flow], dim=1), p, "backbone.fusion", 1))
    cas = conv(act(conv(embedding, p, "heads.classifier.cls1.conv")), p, "heads.classifier.cls2", 1).permute(0, 2, 1)
    embedding = embedding.permute(0, 2, 1)
    lowest = cas.min(dim=2, keepdim=True).values
    suppressed = attention * (cas - lowest) + lowest
    k = max(1, x.shape[1] // 7)

    def mil(scores: Tensor, target: Tensor) -> Tensor:
        target = target / (target.sum(dim=1, keepdim=True) + 1e-4)
        logits = scores.topk(k, dim=1).values.mean(dim=1)
        return -(target * F.log_softmax(logits, dim=1)).sum(dim=1).mean()

    total, count = 0.0, 0.0
    for first in (0, 2, 4):
        pair = []
        for row in (first, first + 1):
            share = F.softmax(suppressed[row], dim=0)
            high = embedding[row].T @ share
            pair.append((high, embedding[row].T @ (1 - share) / (len(share) - 1)))
        (h1, l1), (h2, l2) = pair
        d, d1, d2 = (1 - (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)) for a, b in ((h1, h2), (h1, l2), (h2, l1)))
        shared = F.pad(labels[first] * labels[first + 1], (0, 1))
        total = total + 0.5 * ((F.relu(d - d1 + 0.5) + F.relu(d - d2 + 0.5)) * shared).sum()
        count = count + shared.sum()
    att_rgb, att_flow = att_rgb.permute(0, 2, 1), att_flow.permute(0, 2, 1)
    mutual = 0.5 * F.mse_loss(att_rgb, att_flow.detach()) + 0.5 * F.mse_loss(att_flow, att_rgb.detach())
    three = (attention, att_rgb, att_flow)
    background = cas.softmax(dim=2)[..., -1:]
    norm = sum(a.mean() for a in three) / 3
    guide = sum((1 - a - background).abs().mean() for a in three) / 3
    return (
        mil(cas, F.pad(labels, (0, 1), value=1.0))
        + mil(suppressed, F.pad(labels, (0, 1)))
        + total / count
        + mutual
        + 0.8 * norm
        + 0.8 * guide
    )


STEPS: dict[str, Callable[[dict[str, Tensor], Tensor, Tensor], Tensor]] = dict(cola=cola, basnet=basnet, co2net=co2net)
LENGTHS = dict(cola=750, basnet=750, co2net=500)


def sized(name: str, width: int, classes: int) -> dict:
    """The shipped model at another width, dropout off."""
    model = read_tree(f"{name}_thumos")["model"]
    model["backbone"] |= dict(in_channels=width, channels=width)
    heads = model["heads"]
    head = heads["cls" if name == "basnet" else "classifier"]
    head |= dict(channels=width, num_classes=classes, dropout=0.0)
    if name == "cola":
        heads["mining"]["dropout"] = 0.0
    elif name == "basnet":
        model["backbone"]["filter_channels"] = max(1, width // 4)
        heads["base"]["dropout"] = 0.0
    else:
        model["backbone"] |= dict(hidden=max(1, width // 4), dropout=0.0)
    return model


def bench_step(name: str, args: argparse.Namespace) -> None:
    """Compare losses and gradients of both sides, then time a step of each with Adam."""
    torch.manual_seed(0)
    length = args.length or LENGTHS[name]
    model = build_model(sized(name, args.width, args.classes)).train()
    batch: Batch = random_batch([length] * args.batch, width=args.width, classes=args.classes)
    batch.features, batch.labels = batch.features.float(), batch.labels.float()
    if name == "co2net":
        batch.labels[1::2] = batch.labels[::2]
        batch.pairs, batch.pair_same = torch.arange(6).reshape(3, 2), torch.ones(3)
    p = {key: value.detach().clone().requires_grad_() for key, value in model.state_dict().items()}
    sides = {
        "ours": (model.parameters(), lambda: model.losses(batch)["total"]),
        "loop": (p.values(), lambda: STEPS[name](p, batch.features, batch.labels)),
    }
    optimizers = {
        side: torch.optim.Adam(parameters, lr=1e-4, weight_decay=5e-4) for side, (parameters, _) in sides.items()
    }

    def step(side: str) -> Tensor:
        optimizers[side].zero_grad()
        loss = sides[side][1]()
        loss.backward()
        optimizers[side].step()
        return loss.detach()

    torch.testing.assert_close(step("ours"), step("loop"), rtol=1e-4, atol=1e-5)
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(args.repeats):  # in turn, so that a drifting machine meets both
        for side in sides:
            began = time.process_time()
            step(side)
            times[side].append(time.process_time() - began)
    ours, loop = (statistics.median(times[side]) for side in ("ours", "loop"))
    size = f"B={args.batch} T={length} D=E={args.width} C={args.classes}"
    print(f"{name} step, {size}: ours {ours:.3f} s, loop {loop:.3f} s, ratio {ours / loop:.2f}")


# ---- decoding as published ----


def regions(on: np.ndarray) -> list[list[int]]:
    """Runs of consecutive samples, as lists of indices."""
    where = np.flatnonzero(on)
    return [part.tolist() for part in np.split(where, np.flatnonzero(np.diff(where) != 1) + 1)] if len(where) else []


def run_rows(decoder: ThresholdDecoder, outputs: dict, meta: VideoMeta) -> list[list[float]]:
    """Candidates (class, score, start, end in samples), class by class, threshold by threshold, run by run."""
    rows = []
    kept, runs_on, scored_on = decoder.curves(outputs, meta)
    scores = decoder.class_scores(outputs)
    contrast = decoder.contrast
    for column, label in enumerate(kept):
        found_on = runs_on[:, min(column, runs_on.shape[1] - 1)]
        for threshold in decoder.thresholds.levels(runs_on):
            on = found_on >= threshold if decoder.runs["above"] == ">=" else found_on > threshold
            on = on & (found_on > 0) if decoder.runs["positive"] else on
            curve = found_on if scored_on is None else scored_on[:, column]
            curve = np.where(curve < threshold, 0, curve) if decoder.zero_below else curve
            for run in regions(on):
                if len(run) < decoder.runs["min_length"]:
                    continue
                flank = contrast.outer * len(run)
                left = list(range(int(max(0, run[0] - flank)), run[0]))
                right = list(range(run[-1] + 1, min(len(curve) - 1, int(run[-1] + flank)) + 1))
                outer = np.mean(curve[left + right]) if left + right else 0.0
                video = 1.0 if contrast.video_score_binary else scores[label]
                score = np.mean(curve[run]) - outer + contrast.video_score * video
                rows.append([label, score, run[0], run[-1] + 1])
    return rows


def hard_nms(rows: np.ndarray, iou: float) -> np.ndarray:
    """Greedy suppression of one class, +1 on lengths and overlaps."""
    order, kept = np.argsort(rows[:, 1], kind="stable")[::-1], []
    start, end, length = rows[:, 2], rows[:, 3], rows[:, 3] - rows[:, 2] + 1
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        inter = np.maximum(0, np.minimum(end[best], end[order]) - np.maximum(start[best], start[order]) + 1)
        order = order[inter / (length[best] + length[order] - inter) < iou]
    return rows[kept]


def soft_nms(rows: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian suppression of one class, one segment at a time."""
    rows, done = rows.copy(), []
    while len(rows):
        best = int(np.argmax(rows[:, 1]))
        rows[[0, best]] = rows[[best, 0]]
        top, rows = rows[0], rows[1:]
        done.append(top)
        inter = np.maximum(0, np.minimum(top[3], rows[:, 3]) - np.maximum(top[2], rows[:, 2]) + 1)
        overlap = inter / (top[3] - top[2] + 1 + rows[:, 3] - rows[:, 2] + 1 - inter)
        rows[:, 1] *= np.exp(-(overlap**2) / sigma)
    return np.array(done).reshape(-1, 4)


def decode_loop(decoder: ThresholdDecoder | PooledDecoder, outputs: dict, meta: VideoMeta) -> np.ndarray:
    """The decoder's detections by loops: rows (class, score, start, end)."""
    passes = [one for one, _ in decoder.passes.values()] if isinstance(decoder, PooledDecoder) else [decoder]
    rows = np.array([row for one in passes for row in run_rows(one, outputs, meta)]).reshape(-1, 4)
    samples = len(passes[0].curves(outputs, meta)[1])
    step = meta.stride * meta.num_snippets / (samples * meta.fps)
    if decoder.nms.kind == "gaussian":
        kept = [soft_nms(rows[rows[:, 0] == label], decoder.nms.sigma) for label in np.unique(rows[:, 0])]
        return np.concatenate(kept) * [1, 1, step, step]
    rows = rows * [1, 1, step, step]
    return np.concatenate([hard_nms(rows[rows[:, 0] == label], decoder.nms.iou) for label in np.unique(rows[:, 0])])


def bench_decoding(name: str, args: argparse.Namespace) -> None:
    """Compare the detections of both sides on one video with several classes, then time them."""
    rng = np.random.default_rng(0)
    config = read_tree(f"{name}_thumos")["model"]["postprocessor"]
    kind = {"PooledDecoder": PooledDecoder, "ThresholdDecoder": ThresholdDecoder}[config.pop("type")]
    shared = config["shared"] if kind is PooledDecoder else config
    shared |= dict(num_classes=args.classes, class_threshold=0.0)
    decoder = kind(**config, clamp="none")
    kernel = np.exp(-0.5 * (np.arange(-10, 11) / 4) ** 2)
    noise = rng.normal(size=(args.classes + 1, args.snippets + 20))
    cas = 3 * np.stack([np.convolve(row, kernel / kernel.sum(), "valid") for row in noise], axis=1)
    outputs = {
        "cas": np.maximum(cas[:, :-1], 0) if name == "cola" else cas,
        "attention": 1 / (1 + np.exp(-4 * cas[:, 0])),
        "video_logits": rng.normal(size=args.classes + (name != "cola")),
    }
    outputs |= {"actionness": outputs["cas"].sum(axis=1), "tag_logits": outputs["video_logits"]}
    video = VideoMeta("v", args.snippets * 0.64, fps=25.0, stride=16, num_snippets=args.snippets)
    ours, loop = decoder(outputs, video).rows()[:, [0, 3, 1, 2]], decode_loop(decoder, outputs, video)
    assert ours.shape == loop.shape
    ours, loop = (rows[np.lexsort(np.round(rows, 9).T[::-1])] for rows in (ours, loop))
    np.testing.assert_allclose(ours, loop, rtol=0, atol=1e-9)
    times = []
    for run in (lambda: decoder(outputs, video), lambda: decode_loop(decoder, outputs, video)):
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--batch", type=int, default=16, help="videos a step (default 16; at least 6 for co2net)")
    parser.add_argument("--length", type=int, help="snippets a video (default: the host's own, 750 or 500)")
    parser.add_argument("--width", type=int, default=2048, help="D and E (default 2048)")
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
