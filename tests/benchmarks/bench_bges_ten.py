"""TEN's two branches in one batched forward against two separate ones, and the cost of TEN, in one process.

"batched" is what the harness does: the video and its view stacked along the batch. "separate" is the plain version: the
same model called twice, once a branch. Both then compute the same losses, backward, and take a step of Adam.

    python tests/benchmarks/bench_bges_ten.py --batch 10 --length 320 --width 1024 --repeats 5
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor

from wtal_bench.interfaces import Batch
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.localizer import Localizer
from wtal_bench.recipes import read_tree
from wtal_bench.testing import random_batch

TINY = "--batch 2 --length 9 --width 8 --classes 3 --repeats 1"
"""What the test suite runs, so that this file cannot rot."""


def separate(model: Localizer, batch: Batch) -> Tensor:
    """The loss, with a forward pass for every branch."""
    view = dict(model.components())["views.tcb"]
    other = {f"tcb.{name}": value for name, value in model.compute(view(batch)).items()}
    return model.losses(batch, {**model.compute(batch), **other})["total"]


def check(model: Localizer, batch: Batch) -> None:
    """Both ways give one loss (no dropout in eval mode)."""
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(separate(model, batch), model.losses(batch)["total"])
    model.train()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="example: python tests/benchmarks/bench_bges_ten.py --width 256"
    )
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--length", type=int, default=320)
    parser.add_argument("--width", type=int, default=1024, help="D and E of each of the two streams")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    config = read_tree("configs/bges_ten_thumos.py")["model"]
    config["backbone"] |= dict(
        streams=dict(rgb=(0, args.width), flow=(args.width, 2 * args.width)),
        channels=args.width,
        num_classes=args.classes,
    )
    model = build_model(config).to(device).train()
    alone = {**config, "views": None, "losses": {**config["losses"], "att": None, "cas": None}}
    baseline = build_model(alone).to(device).train()
    batch = random_batch([args.length] * args.batch, width=2 * args.width, classes=args.classes).to(device)
    batch.features, batch.labels = batch.features.float(), batch.labels.float()
    check(model, batch)
    optimizers = {m: torch.optim.Adam(m.parameters(), lr=1e-4, weight_decay=1e-3) for m in (model, baseline)}

    def clock(which: Localizer, loss) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        optimizers[which].zero_grad()
        loss().backward()
        optimizers[which].step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    ways = {
        "batched": (model, lambda: model.losses(batch)["total"]),
        "separate": (model, lambda: separate(model, batch)),
        "no TEN": (baseline, lambda: baseline.losses(batch)["total"]),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats + 1):  # in turn, so that a drifting machine meets all
        for name, way in ways.items():
            times[name].append(clock(*way))
    took = {name: statistics.median(values[1:]) for name, values in times.items()}
    print(
        f"B={args.batch} T={args.length} D=E=2x{args.width} C={args.classes}, {args.device}, float32, "
        f"{torch.get_num_threads()} threads, median of {args.repeats} steps with Adam"
    )
    print(", ".join(f"{name} {value:.3f} s" for name, value in took.items()))
    for other in ("separate", "no TEN"):
        pairs = [a / b for a, b in zip(times["batched"][1:], times[other][1:])]
        print(f"batched / {other}: {statistics.median(pairs):.3f} (pairs {min(pairs):.3f} to {max(pairs):.3f})")


if __name__ == "__main__":
    main()
