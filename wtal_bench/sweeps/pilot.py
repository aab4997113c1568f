"""How long runs that nobody has made yet will take: a few steps of each are timed, on this machine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from wtal_bench.running.datasets import open_data
from wtal_bench.running.device import pick_device
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.plan import DONE
from wtal_bench.running.runner import build_testing, build_training
from wtal_bench.running.settings import RunConfig
from wtal_bench.sweeps.estimate import duration
from wtal_bench.sweeps.plan import Plan

STEPS = 3
"""Steps that are timed, after one that is not: the first one pays for what is set up."""


def hours(plan: Plan, out: Callable[[str], None] = print) -> str:
    """Time every recipe of a plan whose runs are not done; a line with the sum of all.

    The time of scoring between epochs is counted as often as the recipe scores; runs that begin from another recipe's
    training are counted without it.
    """
    total, count, devices = 0.0, 0, set()
    for job in plan.jobs:
        left = [run for run in job.ours if run.state != DONE or run.changed]
        if not left:
            continue
        seconds, device = timed(job.entry.config)
        devices.add(device)
        out(f"{job.entry.name} ({job.entry.config.profile}): about {duration(seconds)} a run, {len(left)} to make")
        total, count = total + seconds * len(left), count + len(left)
    if not count:
        return "nothing is left to do"
    unit = "GPU hours" if devices == {"cuda"} else "hours of this CPU"
    return (
        f"{count} runs, about {total / 3600:.1f} {unit} one after another, by {STEPS} timed steps of each recipe here"
    )


def timed(config: RunConfig) -> tuple[float, str]:
    """Seconds a run of a config takes here, training and tests, by a few steps; and the kind of device."""
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
    scored = 1 + (len(range(0, loop.end, config.train.val_interval or 1)) if _scores(config) else 0)
    return step * loop.max_iters + scored * video * len(testing.loader), device.type


def _scores(config: RunConfig) -> bool:
    return config.train.val_interval is not None or config.train.selection == "best_on_test"


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
