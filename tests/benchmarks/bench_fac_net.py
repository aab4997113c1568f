"""FAC-Net's two costs against plain versions in the same process: a training step, and decoding a video.

Training: one optimiser step of a mini-batch of ten videos of different lengths, one stream. The plain version is the
published procedure: loop over the videos, one forward and backward each, gradients summed, then one Adam step. Ours
is one padded, masked forward of the whole mini-batch.

Decoding: candidates of all classes and thresholds of one video and NMS. The plain version loops over classes,
thresholds and proposals.

Both versions are checked to give the same numbers before they are timed. Ratios above 1 mean ours is faster.

Example:
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_fac_net.py --threads 1
    python tests/benchmarks/bench_fac_net.py --device cuda --repeats 50
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.paired import note
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.modeling.build import build_model

TINY = "--repeats 1 --width 32 --classes 3 --lengths 7 12 --snippets 20"
"""What the test suite runs, so that this file cannot rot."""

LENGTHS = (48, 126, 180, 235, 260, 300, 357, 420, 480, 594)
CONTRAST = dict(outer=0.25, weight=0.6, ring="inside", overhang=1)


def model_config(width: int, channels: int, classes: int, dropout: float) -> dict:
    """One stream of FAC-Net, as in configs/fac_net_thumos.py."""
    cross_entropy = "VideoCrossEntropy"
    return dict(
        type="Localizer",
        backbone=dict(
            type="fac_net.Trunk",
            in_channels=width,
            channels=channels,
            num_classes=classes,
            dropout=dropout,
            embedding=False,
        ),
        heads=dict(
            cw=dict(type="fac_net.ClassWise", writes="cw_logits"),
            ca=dict(type="fac_net.ClassAgnostic"),
            mil=dict(type="fac_net.MultipleInstance", writes="mil_logits"),
        ),
        losses=dict(
            cw=dict(type=cross_entropy, reads="cw_logits", weight=1.0),
            ca=dict(type=cross_entropy, weight=0.1),
            mil=dict(type=cross_entropy, reads="mil_logits", target="tags_and_background", weight=0.1),
        ),
        postprocessor=None,
    )


class PlainVideo(nn.Module):
    """The network on one unpadded video, written straight from the equations."""

    def __init__(self, width: int, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, width), nn.Linear(width, channels)
        self.action_centers = nn.Parameter(torch.empty(classes + 1, channels))
        self.fg_center = nn.Parameter(torch.empty(1, channels))
        self.dropout = dropout

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """[1,T,F], [1,C] -> total loss."""
        x = F.dropout(F.relu(self.fc1(features)), self.dropout, self.training)
        x = F.dropout(F.relu(self.fc2(x)), self.dropout, self.training)
        x_unit = x / x.norm(dim=-1, keepdim=True)
        centers = self.action_centers / self.action_centers.norm(dim=-1, keepdim=True)
        foreground = self.fg_center / self.fg_center.norm(dim=-1, keepdim=True)
        s_a, s_f = 5.0 * x_unit @ centers.T, 5.0 * (x_unit @ foreground.T).squeeze(-1)
        cw, ca, mil = [], [], []
        for tau in (1.0, 2.0, 5.0):
            a_a, a_f = torch.softmax(tau * s_a, dim=1), torch.softmax(tau * s_f, dim=1)
            f_a, f_f = torch.einsum("ntc,ntd->ncd", a_a, x), torch.einsum("nt,ntd->nd", a_f, x)
            cw.append((f_a / f_a.norm(dim=-1, keepdim=True) @ foreground.T).squeeze(-1))
            ca.append(f_f / f_f.norm(dim=-1, keepdim=True) @ centers.T)
            mil.append((a_a * s_a).sum(dim=1))
        logits = [10.0 * torch.stack(cw).mean(0), 10.0 * torch.stack(ca).mean(0), 2.0 * torch.stack(mil).mean(0)]
        total = 0.0
        for branch, weight, background in zip(logits, (1.0, 0.1, 0.1), (0.0, 0.0, 1.0)):
            target = F.pad(labels, (0, 1), value=background)
            target = target / (target.sum(dim=1, keepdim=True) + 1e-8)
            total = total - weight * (target * torch.log(torch.softmax(branch, dim=1))).sum(dim=1).mean()
        return total


def adam(parameters) -> torch.optim.Optimizer:
    """The published optimiser."""
    return torch.optim.Adam(parameters, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.005)


def make_batch(videos: list[Tensor], labels: Tensor) -> Batch:
    """Pad videos [T,F] into one batch."""
    lengths = torch.tensor([len(v) for v in videos])
    longest = int(lengths.max())
    mask = torch.arange(longest) < lengths[:, None]
    return Batch(
        features=torch.stack([F.pad(v, (0, 0, 0, longest - len(v))) for v in videos]),
        mask=mask,
        labels=labels,
        index=torch.arange(len(videos)),
        meta=tuple(VideoMeta(str(i), len(v) * 0.64, 25.0, 16, len(v)) for i, v in enumerate(videos)),
        snippet_index=torch.where(mask, torch.arange(longest, dtype=torch.float64), 0.0),
    )


def timed(run: Callable[[], object], device: str) -> tuple[float, float]:
    """Wall and CPU seconds of one call, the device's queue included."""
    if device == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(title: str, plain: Callable[[], object], ours: Callable[[], object], repeats: int, device: str) -> float:
    """Time both in turns, print the medians, return the ratio (CPU seconds on the CPU: the machine may be shared)."""
    for run in (plain, ours, plain, ours):
        run()
    rounds = [(timed(plain, device), timed(ours, device)) for _ in range(repeats)]
    clock = 0 if device == "cuda" else 1
    plain_s, ours_s = (statistics.median(pair[side][clock] for pair in rounds) for side in (0, 1))
    walls = [statistics.median(pair[side][0] for pair in rounds) for side in (0, 1)]
    per_round = sorted(pair[0][clock] / pair[1][clock] for pair in rounds)
    print(
        f"{title}\n  plain {plain_s * 1e3:.2f} ms   ours {ours_s * 1e3:.2f} ms   ratio {plain_s / ours_s:.2f}"
        f"   ({'wall' if clock == 0 else 'CPU'} seconds, medians of {repeats}; ratios of single rounds "
        f"{per_round[0]:.2f} .. {per_round[-1]:.2f}; wall ratio {walls[0] / walls[1]:.2f})"
    )
    note(f"FAC-Net, {title}", "plain version", ours_s, plain_s)
    return plain_s / ours_s


def bench_training(args: argparse.Namespace) -> float:
    """Training step of the ten videos."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    videos = [torch.randn(t, args.width, generator=generator).relu().to(args.device) for t in args.lengths]
    labels = F.one_hot(torch.arange(len(videos)) % args.classes, args.classes).float().to(args.device)
    model = build_model(model_config(args.width, args.width, args.classes, args.dropout)).to(args.device)
    plain = PlainVideo(args.width, args.width, args.classes, args.dropout).to(args.device)
    plain.fc1, plain.fc2 = nn.Linear(args.width, args.width), nn.Linear(args.width, args.width)
    plain.to(args.device)
    state = model.state_dict()
    plain.load_state_dict({name: state[ours].clone() for name, ours in PARAMETERS.items()})
    batch = make_batch([v.cpu() for v in videos], labels.cpu()).to(args.device)
    model.grad_reduction = "sum"
    optimizers = adam(plain.parameters()), adam(model.parameters())

    def plain_step(step: bool = True) -> None:
        optimizers[0].zero_grad()
        for i, video in enumerate(videos):
            plain(video[None], labels[i : i + 1]).backward()
        if step:
            optimizers[0].step()

    def our_step(step: bool = True) -> None:
        optimizers[1].zero_grad()
        model.parse_losses(model(batch))[0].backward()
        if step:
            optimizers[1].step()

    check_gradients(model, plain, lambda: (plain_step(False), our_step(False)))
    title = (
        f"training step, {len(videos)} videos, T={','.join(map(str, args.lengths))}, F=D={args.width}, C={args.classes}"
    )
    return compare(f"{title}, dropout {args.dropout}", plain_step, our_step, args.repeats, args.device)


PARAMETERS = {
    "fc1.weight": "backbone.embed.fc1.weight",
    "fc1.bias": "backbone.embed.fc1.bias",
    "fc2.weight": "backbone.embed.fc2.weight",
    "fc2.bias": "backbone.embed.fc2.bias",
    "action_centers": "backbone.action_centers",
    "fg_center": "backbone.fg_center",
}


def check_gradients(model: nn.Module, plain: nn.Module, both: Callable[[], object]) -> None:
    """Refuse to time two versions that do not give the same summed gradient (dropout off)."""
    model.eval(), plain.eval()
    both()
    ours, theirs = dict(model.named_parameters()), dict(plain.named_parameters())
    for name, own in PARAMETERS.items():
        torch.testing.assert_close(ours[own].grad, theirs[name].grad, rtol=1e-3, atol=1e-5)
    model.train(), plain.train()


def plain_decode(cas: np.ndarray, scores: np.ndarray, thresholds: np.ndarray) -> list[tuple]:
    """Loop over classes, thresholds and runs; greedy NMS over the weaker segment's own length."""
    rows = []
    for c in np.flatnonzero(scores >= 0.1):
        column, found = cas[:, c], []
        for threshold in thresholds:
            above = np.flatnonzero(column > threshold)
            for run in np.split(above, np.flatnonzero(np.diff(above) > 1) + 1):
                if len(run) < 3:
                    continue
                s, e = run[0], run[-1] + 1
                left, right = max(0, int(s - 0.25 * (e - s))), min(len(column) - 1, int(e + 0.25 * (e - s) + 1))
                outer = np.concatenate([column[left:s], column[e + 1 : right]])
                score = column[s : e + 1].mean() - 0.6 * (outer.mean() if len(outer) else 0.0)
                found.append((s, e + 1, score))
        order = list(np.argsort([f[2] for f in found], kind="stable"))
        while order:
            best = found[order.pop()]
            rows.append((c, *best))
            order = [i for i in order if _own_overlap(best, found[i]) <= 0.2]
    return rows


def _own_overlap(best: tuple, other: tuple) -> float:
    inter = max(0, min(best[1], other[1]) - max(best[0], other[0]) + 1)
    return inter / (other[1] - other[0] + 1)


def bench_decoding(args: argparse.Namespace) -> float:
    """Decode one video of T snippets, all classes kept."""
    from wtal_bench.decoding import ThresholdDecoder

    rng = np.random.default_rng(0)
    logits = rng.standard_normal((args.snippets + 8, args.classes + 1))
    cas = 4.0 * np.stack([np.convolve(column, np.ones(9) / 9, "valid") for column in logits.T], axis=1)
    softmax = np.exp(cas) / np.exp(cas).sum(axis=1, keepdims=True)
    scores = np.full(args.classes + 1, 0.5)
    decoder = ThresholdDecoder(
        num_classes=args.classes,
        scores_activation="none",
        curve="cas",
        thresholds=dict(arange=(0.03, 0.055, 0.005)),
        min_length=3,
        contrast=CONTRAST,
        end_overhang=1,
        time="snippet",
        nms=dict(iou=0.2, overlap="self", offset=1.0, drop=">"),
        nms_units="samples",
        clamp="none",
    )
    meta = VideoMeta("v", args.snippets * 0.64, 25.0, 16, args.snippets)
    outputs = {"cas": softmax, "video_logits": scores}
    thresholds = np.arange(0.03, 0.055, 0.005)
    ours = decoder(outputs, meta).rows()
    theirs = np.array(plain_decode(softmax, scores[: args.classes], thresholds))
    theirs[:, 1:3] *= 0.64
    np.testing.assert_allclose(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)], rtol=1e-12)
    found = len(decoder.candidates(outputs, meta))
    return compare(
        f"decoding, T={args.snippets}, {args.classes} classes kept, {found} candidates, {len(ours)} detections",
        lambda: plain_decode(softmax, scores[: args.classes], thresholds),
        lambda: decoder(outputs, meta),
        args.repeats,
        "cpu",
    )


def main() -> None:
    """Run both benchmarks and print what they ran on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (decoding is numpy)")
    parser.add_argument("--threads", type=int, default=1, help="torch CPU threads")
    parser.add_argument("--repeats", type=int, default=9, help="timed rounds after two warm-up rounds")
    parser.add_argument("--width", type=int, default=1024, help="F and D")
    parser.add_argument("--classes", type=int, default=20, help="C")
    parser.add_argument("--dropout", type=float, default=0.5, help="after both ReLUs")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="snippets of the videos")
    parser.add_argument("--snippets", type=int, default=300, help="snippets of the decoded video")
    parser.add_argument("--only", choices=("training", "decoding"), help="run one of the two")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    where = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
    print(f"torch {torch.__version__}, numpy {np.__version__}, {where}, {args.threads} thread(s)")
    if args.only != "decoding":
        bench_training(args)
    if args.only != "training":
        bench_decoding(args)


if __name__ == "__main__":
    main()
