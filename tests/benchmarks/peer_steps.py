"""Training steps beside the authors' own, run from checkouts the user brings; nothing of theirs is kept here.

    OMP_NUM_THREADS=1 python tests/benchmarks/peer_steps.py --peers FOLDER --only fac_net rskp

looks anywhere under FOLDER for the programs that `authors/` knows, gives both networks the same weights and the same
mini-batch of the published size, and refuses to time them unless loss and gradients agree.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.authors import Checkout, Step, as_they_expect, checkouts, methods
from tests.benchmarks.bench_operations import launches
from tests.benchmarks.paired import paired
from tests.steps import fresh, published_batch
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.model import Model
from wtal_bench.running.config import load_config
from wtal_bench.running.optim import OptimizerStep, build_optimizer
from wtal_bench.testing import Operations

AGREE = 1e-9
"""Of the loss, and of the largest entry of a gradient."""


def without_dropout(tree: Any) -> Any:
    """A config whose dropout rates are all 0."""
    if isinstance(tree, dict):
        return {
            key: 0.0 if "dropout" in key and isinstance(value, float) else without_dropout(value)
            for key, value in tree.items()
        }
    return [without_dropout(value) for value in tree] if isinstance(tree, list | tuple) else tree


def beside(method: ModuleType, checkout: Checkout, model: Model, batch: Batch) -> Step:
    """Their step, with our weights and without dropout."""
    made = method.step(checkout, model, batch)
    ours, theirs = dict(model.named_parameters()), dict(made.network.named_parameters())
    with torch.no_grad():
        for name, other in made.names.items():
            theirs[other].copy_(ours[name].reshape(theirs[other].shape))
    for part in made.network.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = 0.0
    return made


def same_step(method: ModuleType, checkout: Checkout, model: Model, batch: Batch) -> None:
    """Refuse to time two sides that do not learn the same."""
    model, batch = copy.deepcopy(model).double(), replace(batch)
    batch.features, batch.labels = batch.features.double(), batch.labels.double()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # tensors they make on the way are of the same kind
    try:
        step = beside(method, checkout, model, batch)
        ours, loss = model.losses(batch)["total"], step.loss()
        torch.testing.assert_close(loss.reshape(()), ours, rtol=AGREE, atol=AGREE)
        ours.backward()
        loss.sum().backward()
    finally:
        torch.set_default_dtype(before)
    theirs = dict(step.network.named_parameters())
    for name in set(theirs) - set(step.names.values()):
        assert theirs[name].grad is None or not theirs[name].grad.any(), f"their {name} learns, and has no name of ours"
    for name, parameter in model.named_parameters():
        if name not in step.names:
            assert parameter.grad is None or not parameter.grad.any(), f"{name} learns, and has no name of theirs"
            continue
        grad = theirs[step.names[name]].grad
        if parameter.grad is None:
            assert grad is None or not grad.any(), f"{name} learns with the authors alone"
            continue
        assert grad is not None, f"{name} learns with us alone"
        largest = grad.abs().max().item()
        torch.testing.assert_close(
            parameter.grad, grad.reshape(parameter.shape), rtol=0, atol=AGREE * largest + 1e-12, msg=name
        )


def compare(method: ModuleType, checkout: Checkout, args: argparse.Namespace) -> None:
    """Check, time, count, print one method."""
    config = load_config(method.RECIPE)
    torch.manual_seed(0)
    model = build_model(without_dropout(config.model)).train()
    batch = published_batch(config, getattr(method, "EPOCH", 0))
    same_step(method, checkout, model, batch)
    t, step = config.train, beside(method, checkout, model, batch)
    ours = OptimizerStep(build_optimizer(model.parameters(), t), "float32", clip=t.clip)
    theirs = torch.optim.Adam(step.network.parameters(), lr=t.lr, betas=tuple(t.betas), weight_decay=t.weight_decay)

    def their_step() -> None:
        theirs.zero_grad()
        step.loss().backward()
        theirs.step()

    sides = (lambda: model.train_step(batch, ours), their_step)
    for side in sides:
        side()
    another = fresh(batch)  # as the loader hands it over: nothing of an earlier step is left on it
    counts = [count(side) for side in (lambda: model.train_step(another, ours), their_step)]
    took = paired(*sides, args.repeats)
    shape = f"{method.RECIPE} step, {len(batch)} videos, {sum(batch.packing.lengths)} snippets"
    (ours, own), (theirs, other) = counts
    said = f"operations {ours:,} and {theirs:,}, launches {own:,} and {other:,}"
    print(f"{shape}: {took.text('s', method.CHECKOUT)}; {said}", flush=True)
    took.note(f"{shape}; {said}", method.CHECKOUT)


def count(step: Callable[[], Tensor | None]) -> tuple[int, int]:
    """Operations of a step, and those of them that are no views."""
    with Operations() as seen:
        step()
    return seen.count, launches(seen)


def main() -> None:
    """Run what there is."""
    known = {method.__name__.rpartition(".")[2]: method for method in methods()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True, help="folder with the checkouts")
    parser.add_argument("--only", nargs="+", choices=list(known), default=list(known), metavar="METHOD")
    parser.add_argument("--repeats", type=int, default=5, help="rounds the median is of (default 5)")
    args = parser.parse_args()
    if not args.peers.is_dir():
        parser.error(f"--peers {args.peers} is no folder; it holds checkouts such as FAC-Net/ and RSKP/.")
    missed = []
    for name in args.only:
        method, found = known[name], False
        for checkout in checkouts(args.peers, method.FILES, getattr(method, "MARK", None)):
            found = True
            try:
                with as_they_expect():
                    compare(method, checkout, args)
            except Exception as error:  # somebody else's code may fail in any way
                missed.append(name)
                print(f"{name}: {checkout.folder} cannot be compared ({type(error).__name__}: {error})", flush=True)
        if not found:
            missed.append(name)
            print(f"{name}: no checkout of {method.CHECKOUT} (a folder with {', '.join(method.FILES)})", flush=True)
    if missed:
        raise SystemExit(f"not compared: {', '.join(missed)}")


if __name__ == "__main__":
    main()
