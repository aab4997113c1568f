"""FTCL's dynamic programs against plain loops over cells, and training steps against their convolutions alone.

Recursions: B pairs, forward and backward. The plain version is a loop over pairs and cells with autograd, its table a
list of lists. For LCS once on given cosines, and once with the cosines of J embedding rows of D columns. Both versions
are checked to give the same numbers and gradients before they are timed.

Steps: one Adam step of ACM-Net and of FTCL (pairs of videos) at published size, dropout on, against forward and
backward of the same convolution on the same mini-batch. Ratios are plain / ours for recursions, step / convolution for
steps.

Example:
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_ftcl.py --threads 1
    python tests/benchmarks/bench_ftcl.py --device cuda --precision bf16 --repeats 20
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.paired import note
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.modeling.build import build_model
from wtal_bench.running.config import load_config
from wtal_plugins.ftcl.recursions import common_length, edit_similarity
from wtal_plugins.ftcl.sequences import cosine_matrix

TINY = "--pairs 2 --top 5 --proposal 2 --width 8 --length 12 --videos 2 --repeats 1 --step-repeats 1"
"""What the test suite runs, so that this file cannot rot."""

TAU, GAMMA = 0.92, 10.0


def loop_edit(mu: Tensor, g: Tensor) -> Tensor:
    """S(M,N) of every pair, cell by cell."""
    last = []
    for gain, step in zip(mu, g):
        rows, columns = gain.shape
        table = [[gain.new_zeros(()) for _ in range(columns + 1)] for _ in range(rows + 1)]
        for i in range(rows):
            for j in range(columns):
                ways = torch.stack([table[i][j], step[i, j] + table[i][j + 1], step[i, j] + table[i + 1][j]])
                table[i + 1][j + 1] = gain[i, j] + torch.logsumexp(ways * GAMMA, 0) / GAMMA
        last.append(table[rows][columns])
    return torch.stack(last)


def loop_common(c: Tensor) -> Tensor:
    """R(M,N) of every pair, cell by cell."""
    last = []
    for similarity in c:
        rows, columns = similarity.shape
        table = [[similarity.new_zeros(()) for _ in range(columns + 1)] for _ in range(rows + 1)]
        for i in range(rows):
            for j in range(columns):
                if similarity[i, j] > TAU:
                    table[i + 1][j + 1] = table[i][j] + similarity[i, j]
                else:
                    up, left = table[i][j + 1], table[i + 1][j]
                    table[i + 1][j + 1] = left if left > up else up
        last.append(table[rows][columns])
    return torch.stack(last)


def loop_cosine(u: Tensor, v: Tensor) -> Tensor:
    """Cosines of all rows of two sequences, from normalised copies."""
    u, v = (x / x.norm(dim=-1, keepdim=True) for x in (u, v))
    return u @ v.transpose(1, 2)


def seconds(run: Callable[[], object], repeats: int, args: argparse.Namespace, warm: bool = True) -> float:
    """Median time of `run`: of the processor on one thread (other programs do not count), else by the wall clock."""
    clock = time.process_time if args.device == "cpu" and args.threads == 1 else time.perf_counter
    wait = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    if warm:
        run()
    times = []
    for _ in range(repeats):
        wait()
        begin = clock()
        run()
        wait()
        times.append(clock() - begin)
    return statistics.median(times)


def backward(make: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Values and gradients of the sum."""
    values = make(*inputs)
    return (values, *torch.autograd.grad(values.sum(), inputs))


def compare(name: str, plain: Callable, ours: Callable, inputs: tuple[Tensor, ...], args: argparse.Namespace) -> None:
    """Check both versions against each other, then time them."""
    for theirs, mine in zip(backward(plain, inputs), backward(ours, inputs)):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    slow = seconds(lambda: backward(plain, inputs), max(3, args.repeats // 10), args)
    fast = seconds(lambda: backward(ours, inputs), args.repeats, args)
    print(f"{name:34} loop {slow * 1e3:9.2f} ms   ours {fast * 1e3:8.3f} ms   {slow / fast:7.1f}x", flush=True)
    note(f"{name}, {args.pairs} pairs", "loop over cells", fast, slow)


def recursions(args: argparse.Namespace) -> None:
    """LCS and FSD."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).to(args.device).requires_grad_()

    pairs = args.pairs
    sizes = [torch.full((pairs,), size, device=args.device) for size in (args.top, args.proposal)]

    def common(c: Tensor) -> Tensor:
        return common_length(c, c > TAU, sizes[0], sizes[0])

    c = (1 - 0.67 * random(pairs, args.top, args.top)).detach().requires_grad_()
    print(f"B={pairs}; LCS J={args.top}, {(c > TAU).double().mean():.0%} of the cells match; FSD L={args.proposal}")
    compare("LCS recursion", loop_common, common, (c,), args)
    # rows around one direction at random distances: some of the cosines pass the threshold
    shape = pairs, args.top, args.width
    centre = torch.randn(pairs, 1, args.width, generator=generator)
    noise = [torch.randn(shape, generator=generator) * torch.rand(*shape[:2], 1, generator=generator) for _ in "uv"]
    u, v = ((centre + 0.9 * x).to(args.device).requires_grad_() for x in noise)
    share = (cosine_matrix(u, v) > TAU).double().mean()
    print(f"cosines of D={args.width}, {share:.0%} of the cells match")
    compare(
        f"LCS with cosine D={args.width}",
        lambda x, y: loop_common(loop_cosine(x, y)),
        lambda x, y: common(cosine_matrix(x, y)),
        (u, v),
        args,
    )
    mu, g = (random(pairs, args.proposal, args.proposal) for _ in range(2))
    compare(
        "FSD recursion", loop_edit, lambda a, b: edit_similarity(a, b, sizes[1], sizes[1], gamma=GAMMA), (mu, g), args
    )
    with_projection(args, random, sizes[1])


def with_projection(args: argparse.Namespace, random: Callable[..., Tensor], sizes: Tensor) -> None:
    """FSD from embeddings on: both versions have one product of matrices in common, below which neither gets."""
    width = 2 * min(512, args.width)
    layer = torch.nn.Linear(args.width, width).to(args.device)
    u, v = (random(args.pairs, args.proposal, args.width) for _ in "uv")

    def halves(x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
        return list(zip(layer(x).chunk(2, dim=-1), layer(y).chunk(2, dim=-1)))

    def plain(x: Tensor, y: Tensor) -> Tensor:
        return loop_edit(*(loop_cosine(*half) for half in halves(x, y)))

    def ours(x: Tensor, y: Tensor) -> Tensor:
        return edit_similarity(*(cosine_matrix(*half) for half in halves(x, y)), sizes, sizes, gamma=GAMMA)

    compare(f"FSD from embeddings D={args.width}", plain, ours, (u, v), args)
    whole = seconds(lambda: learn(layer, ours(u, v)), args.repeats, args)
    bare = seconds(lambda: learn(layer, sum(half.sum() for pair in halves(u, v) for half in pair)), args.repeats, args)
    theirs = seconds(lambda: learn(layer, plain(u, v)), max(3, args.repeats // 10), args)
    print(
        f"{'  and its layer, gradients and all':34} loop {theirs * 1e3:9.2f} ms   ours {whole * 1e3:8.3f} ms   "
        f"{theirs / whole:7.1f}x; the layer alone {bare * 1e3:.3f} ms, so {theirs / bare:.1f}x is the limit",
        flush=True,
    )


def learn(layer: torch.nn.Linear, values: Tensor) -> None:
    """Gradients of everything."""
    layer.zero_grad()
    values.sum().backward()


def steps(name: str, args: argparse.Namespace) -> None:
    """One training step of a THUMOS14 config against its convolution."""
    config = load_config(f"configs/{name}.py")
    model, losses = config.model, config.model["losses"]
    model["backbone"]["in_channels"] = args.width
    for part in (model["backbone"], model["heads"]["attention"], model["heads"]["classifier"], losses.get("fsd", {})):
        part["channels"] = args.width
    torch.manual_seed(0)
    model = build_model(config.model, config.path).to(args.device).train()
    paired = config.train.pairs is not None
    batch = random_batch(args.videos * (2 if paired else 1), args.length, args.width, paired, args.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.train.lr, weight_decay=config.train.weight_decay)
    autocast = torch.autocast(args.device, torch.bfloat16) if args.precision == "bf16" else contextlib.nullcontext()

    def step() -> None:
        optimizer.zero_grad()
        with autocast:
            total = model.losses(batch)["total"]
        total.backward()
        optimizer.step()

    conv = model.backbone.embed.conv
    columns = batch.features.transpose(1, 2)

    def convolution() -> None:
        with autocast:
            out = conv(columns)
        torch.autograd.grad(out, (conv.weight, conv.bias), gradient)

    with torch.no_grad(), autocast:
        gradient = torch.randn_like(conv(columns))
    # in turns, so that both see the same machine; the first round warms up
    rounds = [[seconds(run, 1, args, warm=False) for run in (convolution, step)] for _ in range(args.step_repeats + 1)]
    theirs, ours = (statistics.median(times) for times in zip(*rounds[1:]))
    what = f"{name} step, {len(batch)} videos"
    note(what, "its convolution alone", ours, theirs)
    print(f"{what:34} conv {theirs * 1e3:9.1f} ms   step {ours * 1e3:8.1f} ms   {ours / theirs:7.3f}x", flush=True)


def random_batch(videos: int, length: int, width: int, paired: bool, device: str) -> Batch:
    """Random features of D=width and one tag a video; with pairs, half of them of the same tags."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.zeros(videos, 20)
    classes = torch.arange(videos) if not paired else torch.arange(videos) // 2 * 2 + torch.arange(videos) // 4 % 2
    labels[torch.arange(videos), classes % 20] = 1
    batch = Batch(
        features=torch.randn(videos, length, width, generator=generator).relu(),
        mask=torch.ones(videos, length, dtype=torch.bool),
        labels=labels,
        index=torch.arange(videos),
        meta=tuple(VideoMeta(str(i), length * 16 / 25, 25.0, 16, length) for i in range(videos)),
        snippet_index=torch.arange(length, dtype=torch.float64).repeat(videos, 1),
    )
    if paired:
        pairs = torch.arange(videos).reshape(-1, 2)
        same = (torch.arange(videos // 2) % 2).float()
        batch = replace(batch, pairs=pairs, pair_same=same)
    return batch.to(device)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="float32", choices=("float32", "bf16"), help="of the training steps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=16, help="B")
    parser.add_argument("--top", type=int, default=30, help="J")
    parser.add_argument("--proposal", type=int, default=5, help="L")
    parser.add_argument("--width", type=int, default=2048, help="D")
    parser.add_argument("--length", type=int, default=750, help="T of a training step")
    parser.add_argument("--videos", type=int, default=16, help="videos (pairs for FTCL) of a training step")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--step-repeats", type=int, default=3)
    parser.add_argument("--what", nargs="+", default=["recursions", "steps"], choices=("recursions", "steps"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    processor = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
    print(f"torch {torch.__version__}, {processor}, {args.threads} threads, {args.precision}")
    if "recursions" in args.what:
        recursions(args)
    if "steps" in args.what:
        for name in ("acm_net_thumos", "ftcl_thumos"):
            steps(name, args)


if __name__ == "__main__":
    main()
