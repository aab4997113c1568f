"""No training step asks the device for a value: the host runs ahead of it, and a GPU never idles for an answer."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.running.conftest import dataset, tiny_config  # noqa: F401
from tests.steps import RECIPES, begin, epochs_of, first_batch, fresh
from wtal_bench.errors import WtalError
from wtal_bench.running.config import check_config, load_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.hooks import FiniteLoss
from wtal_bench.running.loop import TrainLoop
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.optim import OptimizerStep, build_optimizer
from wtal_bench.running.runner import build_training
from wtal_bench.running.settings import RunConfig
from wtal_bench.testing import Operations, contract_cases
from wtal_bench.testing.contracts import batch_of, build


def waits_of(config: RunConfig) -> dict[str, int]:
    """Of forward, losses, backward and optimiser, in a step that is not the process's first."""
    model, t = check_model(config).train(), config.train
    model.grad_reduction = t.grad_reduction
    clip = t.clip or 10.0  # clipping must not wait either
    step = OptimizerStep(build_optimizer(model.parameters(), t), "float32", t.accumulate, t.accumulate_reduction, clip)
    found: dict[str, int] = {}
    for epoch in epochs_of(config):
        batch = first_batch(config, epoch)
        begin(model, config, epoch)
        model.train_step(batch, step)
        with Operations() as seen:
            model.train_step(fresh(batch), step)
        found |= seen.waits
    return found


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_step_asks_the_device_for_nothing(recipe):
    assert waits_of(load_config(recipe)) == {}


@pytest.mark.parametrize("case", contract_cases(), ids=lambda case: case.id)
def test_no_registered_example_reads_a_value(case):
    """On tensors that hold no values: whoever asks for one fails. Nothing is copied over in a way that blocks."""
    example = case.load()
    model, batch = build(example).train(), batch_of(example)
    model.losses(batch)  # what is made once a process
    model, batch = model.to("meta"), batch.to("meta", non_blocking=True)
    with Operations() as seen:
        model.losses(batch)["total"].backward()
    assert seen.waits == {}


def test_the_count_sees_every_way_to_wait():
    x, mask = torch.arange(4.0), torch.tensor([True, False, True, True])
    ways = {
        "item": lambda: x.sum().item(),
        "bool": lambda: bool(mask.all()),
        "nonzero": lambda: mask.nonzero(),
        "bool index": lambda: x[mask],
        "bool assignment": lambda: x.clone().__setitem__(mask, torch.ones(3)),
        "masked_select": lambda: x.masked_select(mask),
        "unique": lambda: x.unique(),
        "repeat_interleave": lambda: x.repeat_interleave(torch.tensor([1, 2, 0, 1])),
        "tolist": lambda: x.tolist(),
        "numpy": lambda: x.numpy(),
        "asarray": lambda: np.asarray(x),
        "cpu": lambda: x.cpu(),
        "solve": lambda: torch.linalg.solve(torch.eye(4), x),
        "blocking copy": lambda: x.to("meta"),
    }
    for name, way in ways.items():
        with Operations() as seen:
            way()
        assert seen.waits.total() >= 1, name
    with Operations() as seen:
        (x.where(mask, 0) @ x).exp()
        x.to("meta", non_blocking=True)
        x.repeat_interleave(2)
    assert seen.waits == {}
    assert seen.count >= 4


def test_a_batch_that_was_changed_is_looked_at_anew():
    batch = batch_of(contract_cases()[0].load())
    before = batch.packing
    assert batch.packing is before
    batch.mask[0, 3:] = False
    assert batch.packing.lengths[0] == 3
    other = replace(batch, mask=batch.mask.roll(1, dims=0))
    assert other.packing.lengths == (batch.packing.lengths[-1], *batch.packing.lengths[:-1])


def test_between_two_looks_a_run_waits_in_no_step(dataset, tmp_path, monkeypatch):  # noqa: F811
    tree = tiny_config(dataset, epochs=3)
    tree["train"]["batch_size"] = 2
    tree["runtime"] |= {"log_interval": 1e9}
    config = check_config(tree, "test")
    runner = build_training(
        config, open_data(config.data, "cpu", "test"), check_model(config), tmp_path / "run", out=lambda line: None
    ).runner
    waits, run_iter = [], TrainLoop.run_iter

    def counted(self, idx, data_batch):
        with Operations() as seen:
            run_iter(self, idx, data_batch)
        waits.append(seen.waits.total())

    monkeypatch.setattr(TrainLoop, "run_iter", counted)
    runner.train()
    per_epoch = len(runner.train_dataloader)
    assert per_epoch >= 4
    assert len(waits) == 3 * per_epoch
    looked = {0, *range(per_epoch - 1, len(waits), per_epoch)}  # the finite check, the log's entry
    assert [waits[step] for step in range(len(waits)) if step not in looked] == [0] * (len(waits) - len(looked))
    assert all(waits[step] <= 3 for step in looked), waits


def test_a_loss_that_runs_away_is_found_with_its_step():
    hook = FiniteLoss()

    def runner(step: int) -> SimpleNamespace:
        return SimpleNamespace(iter=step, work_dir=".", train_loop=SimpleNamespace(max_iters=1000))

    def step(number: int, loss: float) -> None:
        hook.after_train_iter(runner(number), 0, None, {"loss": torch.tensor(loss), "off": torch.tensor(torch.nan)})

    for number in range(50):
        step(number, torch.inf if number >= 30 else 1.0)
    with pytest.raises(WtalError, match="stopped at iteration 31: not finite are loss"):
        step(50, torch.nan)
    step(51, torch.nan)
    with pytest.raises(WtalError, match="stopped at iteration 52"):
        hook.before_save_checkpoint(runner(52), {})
