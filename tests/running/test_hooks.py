"""What happens around a step: seeds, the rate, the display."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.running.conftest import tiny_config
from wtal_bench.running import hooks
from wtal_bench.running.config import check_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.hooks import Checkpoints, FiniteLoss, Progress, seed_everything
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.runner import build_training
from wtal_bench.running.schedule import learning_rate
from wtal_bench.running.settings import Train


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def test_every_generator_is_a_function_of_seed_step_and_rank():
    def of(*numbers: int) -> tuple:
        seed_everything(*numbers)
        return draws()

    assert of(3, 5, 1) == of(3, 5, 1)
    positions = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 3, 0), (3, 2, 0)]
    for column in range(3):
        assert len({of(*position)[column] for position in positions}) == len(positions)


@pytest.mark.parametrize("step", [0, 1, 63, 64, 65, 1000])
def test_numbers_drawn_ahead_are_those_of_the_step(step):
    first, second = np.random.SeedSequence([7, step, 2]).generate_state(2, np.uint32)
    seed_everything(7, step, 2)
    assert torch.initial_seed() == int(first) << 31 ^ int(second)
    assert np.random.rand() == np.random.RandomState(int(first)).rand()


def test_seeding_torch_is_what_torch_does():
    seed_everything(3, 5)
    seed, ours = torch.initial_seed(), torch.rand(5)
    torch.manual_seed(seed)
    assert torch.equal(torch.rand(5), ours)
    assert torch.initial_seed() == seed


def test_the_rate_is_a_function_of_the_position():
    train = Train(lr=0.1, lr_schedule=[(4, 0.001), (2, 0.01)])
    assert [learning_rate(train, done) for done in range(6)] == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    assert learning_rate(Train(lr=0.1), 99) == 0.1


def test_losses_are_looked_at_every_fifty_steps_and_at_the_end(monkeypatch):
    looked = []
    hook = FiniteLoss()
    monkeypatch.setattr(hook, "_check_losses", lambda runner, done: looked.append(done))
    for step in range(120):
        hook.after_train_iter(SimpleNamespace(iter=step, train_loop=SimpleNamespace(max_iters=120)), 0, None, {})
    assert looked == [1, 51, 101, 120]


@pytest.fixture
def session(dataset, tmp_path):
    def build(out, **runtime):
        tree = tiny_config(dataset, epochs=2)
        tree["runtime"] |= runtime
        config = check_config(tree, "test")
        opened = open_data(config.data, "cpu", "test")
        return build_training(config, opened, check_model(config), tmp_path / "run", out=out)

    return build


def test_without_a_terminal_a_run_prints_plain_lines_with_the_time_left(session):
    lines = []
    session(lines.append, log_interval=0.0).runner.train()
    assert len(lines) == 6
    assert lines[0].startswith("epoch 1/2  step 1/6  loss ")
    assert "cls_pre " in lines[0]
    assert lines[-1].startswith("epoch 2/2  step 6/6")
    assert lines[-1].endswith("left 0 s")
    lines.clear()
    session(lines.append, log_interval=1e9).runner.train()
    assert len(lines) == 1  # the end is always said


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_on_a_terminal_the_bar_is_taken_away_however_training_ends(session, monkeypatch, capsys, error):
    """It hides the cursor, which nothing else would bring back."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    runner = session(lambda line: pytest.fail("a bar is shown, no lines")).runner
    (bar,) = [hook for hook in runner.hooks if isinstance(hook, Progress)]
    seen = []

    def watch(hook, runner, batch_idx, data_batch=None, outputs=None):
        seen.append(bar._bar.live.is_started)
        if error is not None and len(seen) == 3:
            raise error

    monkeypatch.setattr(FiniteLoss, "after_train_iter", watch)
    if error is None:
        runner.train()
    else:
        with pytest.raises(error):
            runner.train()
    assert seen == [True] * (6 if error is None else 3)
    assert bar._bar is None
    said = capsys.readouterr().err
    assert said.rfind("\x1b[?25h") > said.rfind("\x1b[?25l") >= 0  # shown again, after it was hidden


class Rounds:
    """Rounds of training that take a second each, with checkpoints that take `cost`, on a clock of their own."""

    def __init__(
        self, monkeypatch, tmp_path, cost: float, rounds: int, interval: int = 1, seconds: float | None = None
    ):
        self.now, self.cost, self.written = 100.0, cost, []
        monkeypatch.setattr(hooks, "write_checkpoint", self.write)
        loop = SimpleNamespace(done=0, end=rounds, stop_training=False)
        runner = SimpleNamespace(iter=0, train_loop=loop, train_dataloader=[0], model=torch.nn.Linear(1, 1))
        runner.optim_wrapper = SimpleNamespace(state_dict=dict, _accumulative_counts=1)
        runner.call_hook = lambda name, **values: None
        hook = Checkpoints(tmp_path, interval, None, {}, seconds, clock=lambda: self.now)
        for loop.done in range(1, rounds + 1):
            self.now += 1.0
            runner.iter = loop.done
            hook.after_round(runner)
        hook.after_train(runner)

    def write(self, path, checkpoint) -> None:
        self.now += self.cost
        self.written.append(checkpoint["meta"]["iter"])


@pytest.mark.parametrize("cost", [0.5, 2.0, 30.0])
def test_dear_checkpoints_take_five_percent_of_the_time(monkeypatch, tmp_path, cost):
    run = Rounds(monkeypatch, tmp_path, cost, rounds=2000)
    assert run.written[0] == 1
    assert run.written[-1] == 2000
    assert 0.04 < (len(run.written) - 1) * cost / (run.now - 100.0) <= 0.05


def test_cheap_checkpoints_are_all_written(monkeypatch, tmp_path):
    assert Rounds(monkeypatch, tmp_path, 0.01, rounds=50, interval=2).written == list(range(2, 51, 2))


def test_checkpoints_lie_as_far_apart_as_the_config_says(monkeypatch, tmp_path):
    assert Rounds(monkeypatch, tmp_path, 0.5, rounds=12, seconds=0).written == list(range(1, 13))
    assert Rounds(monkeypatch, tmp_path, 0.0, rounds=12, seconds=5).written == [1, 6, 11, 12]
