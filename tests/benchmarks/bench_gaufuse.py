"""GauFuse's and RSKP's costs against plain versions in the same process: labels, fusion, and a training step.

Labels and fusion run on real detections (P-MIL's for the 200 training videos of THUMOS14; `--detections`): candidates
of every video and class are fused at temperature 0.02, and one linear program a class gives the label. The plain
versions are the published procedures: a loop over candidates that picks, gathers and averages, and one full-size
`scipy.optimize.linprog` (variables = snippets) a class with SciPy's present default method. That method is not the one
the authors used, which SciPy no longer has; where a program has no unique optimum, the labels differ, the costs do not.

`--only truncation` says how often the last bit of a fused time decides a label, on the same detections.

The step is one optimiser step of RSKP on ten videos of different lengths (mean 300) with the memory branch. The plain
version loops over the videos, one forward and backward each, and inverts a T x T matrix for every walk.

What both versions give is compared before they are timed. Ratios above 1 mean ours is faster.

Example:
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_gaufuse.py --threads 1
    python tests/benchmarks/bench_gaufuse.py --only step --device cuda --repeats 20
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import __version__ as scipy_version
from scipy.optimize import linprog
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.paired import note
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.modeling.build import build_model
from wtal_bench.running.config import load_config
from wtal_plugins.gaufuse.fusion import Fusion
from wtal_plugins.gaufuse.linpro import SELECTIONS, LinPro, Problem
from wtal_plugins.gaufuse.snippet_classes import last_bit

TINY = "--annotations {annotations} --detections {detections} --width 8 --channels 8 --lengths 7 12 --repeats 1"
"""What the test suite runs, so that this file cannot rot."""

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("WTAL_GOLDEN") or REPOSITORY.parent / "shared" / "golden").parent
GRID = 25 / 16
TEMPERATURES = (0.02, 0.002, 0.0016)
"""Of the fusion when the authors' code makes labels."""
LENGTHS = (60, 110, 150, 200, 250, 290, 340, 400, 510, 690)


# ---- real candidates ----


def real_candidates(detections: Path, annotations: Path, positive: bool) -> list[tuple[str, int, np.ndarray]]:
    """(video, snippets, [n,4] start, end, confidence, inner) of every video and class; positions in snippets."""
    videos = json.loads(annotations.read_text())["videos"]
    opener = gzip.open if detections.suffix == ".gz" else open
    with opener(detections, "rt") as stream:
        found = json.load(stream)["videos"]
    sets = []
    for video, rows in found.items():
        snippets = round(videos[video]["duration"] * GRID)
        for label in sorted({row["label"] for row in rows}):
            own = [(r["start"], r["end"], r["score"]) for r in rows if r["label"] == label]
            start, end, score = np.array([row for row in own if row[2] > 0 or not positive]).reshape(-1, 3).T
            columns = (np.round(start * GRID), np.round(end * GRID), score, np.maximum(score, 0.001))
            if len(score):
                sets.append((video, snippets, np.stack(columns, axis=1)))
    return sets


def plain_fusion(rows: np.ndarray, temperature: float, overlap: float = 0.25) -> np.ndarray:
    """One class: pick the best, gather the others, average, repeat."""
    left, fused = rows, []
    while len(left):
        best = left[np.argsort(left[:, 2], kind="stable")[-1]]
        inter = np.maximum(0, np.minimum(left[:, 1], best[1]) - np.maximum(left[:, 0], best[0]) + 1)
        member = inter / (left[:, 1] - left[:, 0] + 1) > overlap
        member |= (left == best).all(axis=1)
        weight = np.exp((left[member, 3] - left[member, 3].max()) / temperature)
        fused.append((weight[:, None] * left[member, :3]).sum(axis=0) / weight.sum())
        left = left[~member]
    return np.array(fused).reshape(-1, 3)


def plain_label(problem: Problem) -> np.ndarray | None:
    """One class: W written row by row, one variable a snippet."""
    W = np.zeros((len(problem), problem.snippets))
    for row, start, end in zip(W, problem.start.astype(int), problem.end.astype(int)):
        reach = 0.0785 * (end - start) ** 0.9
        row[start:end] = 1
        row[max(0, int(start - reach)) : start] = -1
        row[end : min(problem.snippets - 1, int(end + reach + 1))] = -1
    found = linprog(np.ones(problem.snippets), A_eq=W, b_eq=problem.confidence, bounds=(0, 1))
    return found.x if found.status == 0 else None


def measure_labels(args: argparse.Namespace) -> None:
    """Fusion and labels of all videos in one call each, against the loops."""
    sets = real_candidates(args.detections, args.annotations, positive=not args.all)
    rows = np.concatenate([rows for _, _, rows in sets])
    group = np.repeat(np.arange(len(sets)), [len(rows) for _, _, rows in sets])
    fusion = Fusion(temperature=args.temperature)
    fused = fusion(*rows.T, group)
    ours = np.stack([fused.start, fused.end, fused.confidence], axis=1)
    theirs = [plain_fusion(rows, args.temperature) for _, _, rows in sets]
    error = max(np.abs(ours[group[fused.picked] == i] - one).max() if len(one) else 0.0 for i, one in enumerate(theirs))
    print(f"{len(sets)} sets of candidates, {len(rows)} candidates -> {len(ours)} instances")
    report(
        "fusion",
        timed(lambda: fusion(*rows.T, group), args.repeats),
        timed(lambda: [plain_fusion(rows, args.temperature) for _, _, rows in sets], args.repeats),
        f"largest difference {error:.1e} snippets",
    )

    problems = [Problem(snippets, *one.T) for (_, snippets, _), one in zip(sets, theirs)]
    sizes = np.array([(p.snippets, len(p)) for p in problems])
    print(f"programs: snippets mean {sizes[:, 0].mean():.0f}, at most {sizes[:, 0].max()}; instances "
          f"mean {sizes[:, 1].mean():.1f}, at most {sizes[:, 1].max()}")  # fmt: skip
    plain = [plain_label(problem) for problem in problems]
    full_size = timed(lambda: [plain_label(problem) for problem in problems], args.repeats)
    for selection in SELECTIONS:
        solver = LinPro(selection, snap=False)
        solutions = solver(problems)
        gap = max(
            abs(s.objective - full.sum()) for s, full in zip(solutions, plain) if full is not None and not s.status
        )
        agree = sum((s.status == 0) == (full is not None) for s, full in zip(solutions, plain))
        note = f"solved {sum(s.status == 0 for s in solutions)}, status agrees on {agree}, objectives to {gap:.1e}"
        report(f"labels, {selection}", timed(lambda s=solver: s(problems), args.repeats), full_size, note)
    one_by_one = [
        (timed(lambda p=p: LinPro(snap=False)([p]), 1), timed(lambda p=p: plain_label(p), 1)) for p in problems
    ]
    mine, full = (max(range(len(problems)), key=lambda i, j=j: one_by_one[i][j]) for j in (0, 1))
    for name, worst in (("ours", mine), ("full size", full)):
        times = [f"{1000 * t:.1f} ms" for t in one_by_one[worst]]
        print(f"  worst video for {name}: {sets[worst][0]}, alone: ours {times[0]}, full size {times[1]}")


def measure_truncation(args: argparse.Namespace) -> None:
    """How often the last bit of a fused time decides a label, and what that does to the label and its loss.

    Labels of truncated times (`snap=False`, the authors' code) against those of times within 1e-6 of a whole snippet
    put on it. Under equal predictions of all columns the loss is the label's sum; its gradient is the label itself.
    """
    sets = real_candidates(args.detections, args.annotations, positive=not args.all)
    group = np.repeat(np.arange(len(sets)), [len(rows) for _, _, rows in sets])
    rows = np.concatenate([rows for _, _, rows in sets])
    generations = []
    for temperature in TEMPERATURES:
        fused = Fusion(temperature=temperature)(*rows.T, group)
        cell = group[fused.picked]
        problems = [
            Problem(snippets, *(column[cell == i] for column in (fused.start, fused.end, fused.confidence)))
            for i, (_, snippets, _) in enumerate(sets)
        ]
        near, below = np.array([last_bit(problem) for problem in problems]).sum(axis=0)
        snapped, literal = ([s.label for s in LinPro(snap=snap)(problems)] for snap in (True, False))
        generations.append((snapped, literal))
        print(f"temperature {temperature:g}: {len(sets)} labels, {near} with a time on a whole snippet, {below} with "
              f"one an ulp below it; {_compared(snapped, literal)}")  # fmt: skip
    (first, first_literal), (second, second_literal) = generations[:2]
    deltas = [b - a for a, b in zip(first, second)]
    literals = [b - a for a, b in zip(first_literal, second_literal)]
    print(f"second minus first: {_compared(deltas, literals)}")


def _compared(ours: list[np.ndarray], literal: list[np.ndarray]) -> str:
    gaps = [np.abs(a - b) for a, b in zip(ours, literal)]
    differ = [i for i, gap in enumerate(gaps) if gap.max() > 1e-7]
    peaks = [gaps[i].max() / max(np.abs(ours[i]).max(), np.abs(literal[i]).max()) for i in differ]
    size = sum(np.abs(a).sum() for a in ours)
    loss = abs(sum(b.sum() - a.sum() for a, b in zip(ours, literal))) / size
    return (
        f"{len(differ)} differ, by {np.median(peaks):.2f} of the peak (median); the loss of all labels under equal "
        f"predictions changes by {100 * loss:.1f} %, its gradient by {100 * sum(g.sum() for g in gaps) / size:.1f} %"
    )


# ---- a training step ----


def rskp(width: int, channels: int, dropout: float, device: str) -> nn.Module:
    """RSKP as in configs/rskp_thumos.py, its memory filled and in use."""
    torch.manual_seed(0)
    config = load_config(REPOSITORY / "configs" / "rskp_thumos.py").model
    config["backbone"] |= dict(in_channels=width, channels=channels, dropout=dropout)
    for head in config["heads"].values():
        head["channels"] = channels
    config["heads"]["memory"]["start"] = 0
    config["losses"]["fore_r"]["weight"], config["losses"]["back_r"]["weight"] = 0.5, 0.1
    config["losses"]["spl"]["weight"] = 0.5
    model = build_model(config, "benchmark").to(device)
    memory = model.heads["memory"]
    memory.bank.copy_(torch.rand_like(memory.bank))
    memory.bank_scores.uniform_(0.0, 1e-3)
    return model.train()


class PlainStep:
    """The published procedure on the same parameters: a loop over videos and a T x T inverse for every walk."""

    def __init__(self, model: nn.Module, dropout: float) -> None:
        self.model, self.dropout = model, dropout
        self.embed, heads = model.backbone.embed, model.heads
        self.classes, self.foreground = heads["classifier"].ac_center, heads["classifier"].fg_center
        self.mu = heads["propagation"].mu
        self.bank, self.scores = heads["memory"].bank.clone(), heads["memory"].bank_scores.clone()

    @staticmethod
    def unit(x: Tensor) -> Tensor:
        return x / (x.norm(dim=-1, keepdim=True) + 1e-9)

    def assign(self, x: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.softmax(5 * self.unit(vectors) @ self.unit(x).T, dim=0)
        return z, z / (z.sum(dim=1, keepdim=True) + 1e-9)

    def walk(self, x: Tensor, vectors: Tensor) -> Tensor:
        z, zn = self.assign(x, vectors)
        step = torch.eye(len(x), dtype=x.dtype, device=x.device) - 0.25 * z.T @ zn
        return 0.5 * torch.linalg.inv(step) @ (0.5 * z.T @ vectors + x)

    def head(self, x: Tensor) -> tuple[Tensor, ...]:
        logits = 20 * self.unit(x) @ self.unit(self.classes).T
        attention = torch.sigmoid(20 * self.unit(x) @ self.unit(self.foreground).T)
        own = torch.sigmoid(logits)
        agnostic = (attention.T @ x) / (attention.sum() + 1e-5)
        classwise = (own.T @ x) / (own.sum(dim=0).unsqueeze(1) + 1e-5)
        video = 20 * self.unit(agnostic) @ self.unit(self.classes).T
        return logits, attention[:, 0], video[0], 20 * (self.unit(classwise) * self.unit(self.classes)).sum(dim=1)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        x = F.dropout(F.relu(self.embed(features)), self.dropout)
        mu = self.mu
        for _ in range(2):
            mu = self.assign(x, mu)[1] @ x
        slots = labels.nonzero().flatten()
        branches = [self.head(x), self.head(self.walk(x, mu)), self.head(self.walk(x, self.bank[slots].flatten(0, 1)))]
        total = x.new_zeros(())
        for (_, _, agnostic, classwise), weight in zip(branches, (1.0, 1.0, 0.5)):
            for logits, background, share in ((agnostic, 0.0, 1.0), (classwise, 1.0, 0.2)):
                target = F.pad(labels, (0, 1), value=background)
                nce = -(target / (target.sum() + 1e-8) * F.log_softmax(logits, dim=0)).sum()
                total = total + weight * share * nce
        ranked = branches[0][1].sort().values
        k = max(len(x) // 8, 1)
        total = total + 0.1 * (ranked[:k].mean() - ranked[-k:].mean())
        teacher = (0.8 * branches[1][0] + 0.2 * branches[2][0]).detach()
        student = F.log_softmax(branches[0][0] / 0.2, dim=1)
        self.store(slots, mu)
        return total - 0.5 * (torch.softmax(teacher / 0.2, dim=1) * student).sum(dim=1).mean()

    @torch.no_grad()
    def store(self, slots: Tensor, mu: Tensor) -> None:
        scores = torch.softmax(20 * self.unit(mu) @ self.unit(self.classes).T, dim=1)
        for slot in slots.tolist():
            joined = torch.cat([self.scores[slot], scores[:, slot]])
            best = joined.topk(self.bank.shape[1]).indices
            self.bank[slot] = torch.cat([self.bank[slot], mu])[best]
            self.scores[slot] = joined[best]


def videos(lengths: Sequence[int], width: int, device: str) -> Batch:
    """Padded videos of these lengths with one or two tags."""
    generator = torch.Generator().manual_seed(1)
    longest = max(lengths)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    features = torch.rand(len(lengths), longest, width, generator=generator) * mask.unsqueeze(-1)
    labels = torch.zeros(len(lengths), 20)
    for row in range(len(lengths)):
        labels[row, row % 5] = 1
        labels[row, (row * 7) % 20] = 1
    meta = tuple(VideoMeta(str(i), n * 0.64, 25.0, 16, n) for i, n in enumerate(lengths))
    batch = Batch(
        features, mask, labels, torch.arange(len(lengths)), meta, torch.arange(longest).expand(len(lengths), -1)
    )
    return batch.to(device)


def gradients(model: nn.Module, loss: Callable[[], None]) -> dict[str, Tensor]:
    """Gradients after one pass."""
    model.zero_grad(set_to_none=True)
    loss()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def measure_step(args: argparse.Namespace) -> None:
    """One optimiser step on some videos."""
    batch = videos(args.lengths, args.width, args.device)
    rows = [batch.features[i, :n].contiguous() for i, n in enumerate(args.lengths)]

    def ours(model: nn.Module) -> None:
        (model.losses(batch)["total"] * len(batch)).backward()

    def plain(step: PlainStep) -> None:
        for features, labels in zip(rows, batch.labels):
            step.loss(features, labels).backward()

    check = rskp(args.width, args.channels, 0.0, args.device)
    step = PlainStep(check, 0.0)
    theirs = gradients(check, lambda: plain(step))
    found = gradients(check, lambda: ours(check))
    size = max(float(g.norm()) for g in theirs.values())
    error = max(float((found[n] - g).norm()) for n, g in theirs.items()) / size

    model = rskp(args.width, args.channels, 0.6, args.device)
    step = PlainStep(model, 0.6)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-5, betas=(0.9, 0.99), weight_decay=5e-4)

    def whole(loss: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss()
            optimizer.step()
            if args.device == "cuda":
                torch.cuda.synchronize()

        return run

    report(
        f"RSKP step, {len(rows)} videos, mean T {np.mean(args.lengths):.0f}, D {args.channels}, {args.device}",
        timed(whole(lambda: ours(model)), args.repeats),
        timed(whole(lambda: plain(step)), args.repeats),
        f"gradients agree to {error:.1e} of the largest",
    )


# ---- timing ----


def timed(run: Callable[[], object], repeats: int) -> float:
    """Median seconds, after one run to warm up."""
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def report(what: str, ours: float, plain: float, remark: str) -> None:
    """Print one comparison."""
    print(f"{what}: ours {1000 * ours:.1f} ms, plain {1000 * plain:.1f} ms, ratio {plain / ours:.2f}  ({remark})")
    note(what, "published procedure", ours, plain)


def main() -> None:
    """Run the benchmarks asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("labels", "step", "truncation"), help="run one of the three")
    parser.add_argument("--detections", type=Path, default=SHARED / "detections" / "thumos14_pmil_base_train.json.gz")
    parser.add_argument("--annotations", type=Path, default=SHARED / "data" / "thumos14.json")
    parser.add_argument("--all", action="store_true", help="keep candidates of score 0 and below")
    parser.add_argument("--temperature", type=float, default=0.02, help="of the fusion (default 0.02)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--width", type=int, default=2048, help="features (default 2048)")
    parser.add_argument("--channels", type=int, default=2048, help="D (default 2048)")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="snippets of the videos of a step")
    parser.add_argument("--threads", type=int, default=None, help="torch threads; set OMP_NUM_THREADS as well")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    print(
        f"python {platform.python_version()}, numpy {np.__version__}, scipy {scipy_version}, torch {torch.__version__},"
        f" {torch.get_num_threads()} threads, median of {args.repeats}"
    )
    measures = {"labels": measure_labels, "truncation": measure_truncation, "step": measure_step}
    for name in [args.only] if args.only else measures:
        measures[name](args)


if __name__ == "__main__":
    main()
