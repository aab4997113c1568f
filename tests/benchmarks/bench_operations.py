"""Operations and waits of one training step of every method, against a loop over its videos, on the same mini-batch.

Counted, not timed: forward, losses, backward and optimiser, on the embedded benchmark's recipes. On a GPU an operation
is about a launch, and a wait is the host standing still for an answer. Whose loop it is: see `video_loops`.

    python tests/benchmarks/bench_operations.py --recipes fac_net_synthetic rskp_synthetic
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.video_loops import loop_of
from tests.steps import RECIPES, begin, epochs_of, first_batch, fresh
from wtal_bench.running.config import load_config
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.optim import OptimizerStep, build_optimizer
from wtal_bench.testing import Operations

TINY = "--recipes fac_net_synthetic stpn_synthetic"
"""What the test suite runs, so that this file cannot rot."""

VIEWS = {"view", "t", "transpose", "unsqueeze", "select", "slice", "expand", "_unsafe_view", "detach", "alias"}
VIEWS |= {"permute", "squeeze", "unbind", "split", "split_with_sizes", "as_strided", "diagonal", "unfold"}
"""Operations that move nothing and launch nothing."""


def launches(seen: Operations) -> int:
    """Operations that are no views."""
    return sum(count for name, count in seen.by_name.items() if name not in VIEWS)


def compare(recipe: str) -> str:
    """One line of the table."""
    config = load_config(recipe)
    (*_, epoch) = epochs_of(config)
    model = check_model(config).train()
    begin(model, config, epoch)
    batch, t = first_batch(config, epoch), config.train
    step = OptimizerStep(
        build_optimizer(model.parameters(), t), "float32", t.accumulate, t.accumulate_reduction, t.clip
    )
    loop, whose = loop_of(config, model, batch)
    model.train_step(batch, step)
    loop()
    another = fresh(batch)  # as the loader hands it over; the loop has its batch, too
    with Operations() as ours:
        model.train_step(another, step)
    with Operations() as theirs:
        loop()
    ratio = theirs.count / ours.count
    return (
        f"{recipe:28} {len(batch):3} videos  ours {ours.count:5} ({launches(ours):5} launches, {ours.waits.total()} "
        f"waits)  loop {theirs.count:6} ({launches(theirs):6} launches, {theirs.waits.total():4} waits)  "
        f"{ratio:6.1f}x  {whose}"
    )


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    args = parser.parse_args()
    print("operations of a step: ours, and a loop over the videos")
    for recipe in args.recipes:
        print(compare(recipe), flush=True)


if __name__ == "__main__":
    main()
