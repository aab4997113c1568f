"""ECM's training step against the bare convolutions it needs, in one process.

The bare convolutions: two temporal convolutions over B x T snippets (pre stream), and conv2 once more over the three
positions of every class of every pass (presence, and absence of each present class), forward and backward.

    python tests/benchmarks/bench_ecm.py --batch 16 --length 750 --width 2048 --repeats 3
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn

from wtal_bench.modeling.build import build_model
from wtal_bench.recipes import read_tree
from wtal_bench.testing import random_batch

TINY = "--batch 2 --length 9 --width 8 --classes 3 --repeats 1"
"""What the test suite runs, so that this file cannot rot."""


def clock(action, device: torch.device, repeats: int) -> list[float]:
    now = time.perf_counter if device.type == "cuda" else time.process_time  # other jobs do not count
    times = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = now()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(now() - began)
    return times[1:]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="example: python tests/benchmarks/bench_ecm.py --width 512"
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=750)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    device = torch.device(args.device)
    config = read_tree("configs/ecm_thumos.py")["model"]
    config["backbone"] |= dict(in_channels=args.width, channels=args.width)
    config["heads"]["pre"] |= dict(channels=args.width, num_classes=args.classes)
    config["heads"]["weights"]["num_classes"] = args.classes
    model = build_model(config).to(device).train()
    batch = random_batch([args.length] * args.batch, width=args.width, classes=args.classes)
    batch = batch.to(device)
    batch.features, batch.labels = batch.features.float(), batch.labels.float()
    passes = int(batch.labels.sum())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=5e-4)
    convolutions = [nn.Conv1d(args.width, args.width, 3, padding=1, device=device) for _ in range(2)]
    sequence = batch.features.transpose(1, 2).contiguous()
    triples = torch.randn((args.batch + passes) * args.classes, args.width, 3, device=device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            loss = model.losses(batch)["total"]
        loss.backward()
        optimizer.step()

    def bare() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            hidden = convolutions[1](torch.relu(convolutions[0](sequence)))
            post = convolutions[1](triples.requires_grad_())
            loss = hidden.square().mean() + post.square().mean()
        loss.backward()

    ours, theirs = [], []
    for _ in range(args.repeats):  # in turn, so that a drifting machine meets both
        theirs += clock(bare, device, 1)
        ours += clock(step, device, 1)
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(
        f"B={args.batch} T={args.length} D=E={args.width} C={args.classes}, {passes} present classes, "
        f"{args.device}, {'bf16' if args.bf16 else 'float32'}, {torch.get_num_threads()} threads"
    )
    print(f"bare convolutions {statistics.median(theirs):.3f} s, ECM step with Adam {statistics.median(ours):.3f} s")
    print(
        f"ratio {ratio:.3f} (median of {args.repeats}; pairs {', '.join(f'{a / b:.3f}' for a, b in zip(ours, theirs))})"
    )


if __name__ == "__main__":
    main()
