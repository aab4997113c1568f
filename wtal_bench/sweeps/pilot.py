"""How long runs that nobody has made yet will take: a few steps of each are timed, on this machine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from wtal_bench.files import digest
from wtal_bench.running.datasets import open_data
from wtal_bench.running.device import pick_device
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.plan import DONE
from wtal_bench.running.runner import build_testing, build_training
from wtal_bench.running.settings import RunConfig
from wtal_bench.sweeps.plan import Plan
from wtal_bench.text import duration

STEPS = 3
"""Steps that are timed, after one that is not: the first one pays for what is set up."""
SCORED = ("selection", "select_by", "select_streams", "val_first", "val_interval")
"""Settings of `train` that decide how often a run is scored, not what a step takes."""


class Pace(NamedTuple):
    """What a recipe's steps take here.

    Attributes:
        training: seconds of all training steps.
        test: seconds of one pass over the test videos.
        end: epochs, or iterations where it counts those.
        device: kind of device.
    """

    training: float
    test: float
    end: int
    device: str

    def seconds(self, config: RunConfig) -> float:
        """Of a run, which scores the test videos once, or as often as its config says."""
        scores = config.train.val_interval is not None or config.train.selection == "best_on_test"
        between = len(range(0, self.end, config.train.val_interval or 1)) if scores else 0
        return self.training + (1 + between) * self.test


def hours(plan: Plan, out: Callable[[str], None] = print) -> str:
    """Time every recipe of a plan whose runs are not done; a line with the sum of all.

    Recipes with the same steps, as the two profiles of most, are timed once. The time of scoring between epochs is
    counted as often as the recipe scores; runs that begin from another recipe's training are counted without it.
    """
    total, count, paces = 0.0, 0, {}
    for contest in plan.contests:
        left = [run for run in contest.ours if run.state != DONE or run.changed]
        if not left:
            continue
        config = contest.entry.config
        key = _steps_of(config)
        if key not in paces:
            paces[key] = timed(config)
        seconds = paces[key].seconds(config)
        out(f"{contest.entry.name} ({config.profile}): about {duration(seconds)} a run, {len(left)} to make")
        total, count = total + seconds * len(left), count + len(left)
    if not count:
        return "nothing is left to do"
    unit = "GPU hours" if {pace.device for pace in paces.values()} == {"cuda"} else "hours of this CPU"
    return (
        f"{count} runs, about {total / 3600:.1f} {unit} one after another, by {STEPS} timed steps of each recipe here"
    )


def _steps_of(config: RunConfig) -> str:
    """A hash of what the time of a config's steps depends on: all but how its checkpoint is picked and scored."""
    tree = config.resolved()
    rest = {name: value for name, value in tree["train"].items() if name not in SCORED}
    rest["held_out"] = config.train.selection == "val_holdout"  # fewer videos to train on
    test, runtime = {**tree["test"], "evaluator": None}, {**tree["runtime"], "seed": 0}
    return digest([tree["model"], tree["data"], rest, test, runtime])


def timed(config: RunConfig) -> Pace:
    """Time a few steps of a config here."""
    device = pick_device(config)
    opened = open_data(config.data, device.type, config.path)
    model = check_model(config)
    with tempfile.TemporaryDirectory() as folder:
        testing = build_testing(config, opened, model)
        training = build_training(config, opened, model, Path(folder), out=lambda text: None)
        loop = training.runner.train_loop
        model.train()
        step = _steps(training)
        model.eval()
        began = time.perf_counter()
        for number, batch in enumerate(testing.loader):
            model.test_step(batch)
            if number + 1 == STEPS:
                break
        video = (time.perf_counter() - began) / min(STEPS, len(testing.loader))
    return Pace(step * loop.max_iters, video * len(testing.loader), loop.end, device.type)


def _steps(training) -> float:
    batches: Sequence = []
    for batch in training.runner.train_dataloader:
        batches.append(batch)
        if len(batches) > STEPS:
            break
    times = []
    for batch in batches:
        began = time.perf_counter()
        losses = training.model.train_step(batch, training.runner.optim_wrapper)
        float(losses["loss"])  # waits for the device
        times.append(time.perf_counter() - began)
    return sum(times[1:]) / len(times[1:]) if len(times) > 1 else times[0]
