"""The learning rate is a function of the position: pairs read off, mmengine's schedulers as mmengine steps them."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

from tests.running.conftest import tiny_config
from tests.running.test_training import assert_equal, run
from wtal_bench.errors import ConfigError
from wtal_bench.running.checkpoint import read_checkpoint
from wtal_bench.running.config import check_config
from wtal_bench.running.schedule import LearningRate, Schedule, learning_rate, schedulers
from wtal_bench.running.settings import Train

WARM = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 5}
COSINE = {"type": "CosineAnnealingLR", "T_max": 4, "begin": 1, "end": 5, "eta_min": 1e-5}
SCHEDULES = {
    "warm-up by step, cosine by epoch": [WARM, COSINE],
    "steps": [{"type": "MultiStepLR", "milestones": [1, 3], "end": 9}],
    "exponential by step": [{"type": "ExponentialLR", "gamma": 0.9, "by_epoch": False, "end": 8}],
    "converted": [{"type": "CosineAnnealingLR", "T_max": 4, "end": 4, "convert_to_iter_based": True}],
    "constant, polynomial": [{"type": "ConstantLR", "end": 2}, {"type": "PolyLR", "power": 2, "begin": 2, "end": 4}],
    "one cycle": [{"type": "OneCycleLR", "eta_max": 0.01, "total_steps": 12, "end": 12, "by_epoch": False}],
    "momentum": [{"type": "CosineAnnealingMomentum", "T_max": 4, "end": 4, "eta_min": 0.5}, WARM],
}  # fmt: skip


def test_pairs_are_piecewise_constant():
    train = Train(lr=0.1, lr_schedule=[(4, 0.001), (2, 0.01)])
    assert [learning_rate(train, done) for done in range(6)] == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    assert learning_rate(Train(lr=0.1), 99) == 0.1


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_values_are_those_of_mmengine_s_own_hook(name, optimizer):
    """mmengine's way: real optimiser, a scheduler step after every iteration, then after every epoch."""
    train = Train(lr=0.01, momentum=0.9 if optimizer == "SGD" else 0.0, optimizer=optimizer, epochs=4,
                  lr_schedule=SCHEDULES[name])  # fmt: skip
    parameter = torch.nn.Parameter(torch.zeros(1))
    plain = {"SGD": lambda: torch.optim.SGD([parameter], lr=0.01, momentum=0.9)}
    wrapper = OptimWrapper(plain.get(optimizer, lambda: torch.optim.Adam([parameter], lr=0.01))())
    theirs = [PARAM_SCHEDULERS.build(dict(entry), default_args=dict(optimizer=wrapper, epoch_length=3))
              for entry in SCHEDULES[name]]  # fmt: skip
    schedule, moved = Schedule(train, per_epoch=3), set()
    for iteration in range(12):
        ours, group = schedule.at(iteration), wrapper.param_groups[0]
        assert {key: group[key] for key in ours} == ours, iteration
        moved.add(str(ours))
        wrapper.step()
        for scheduler in theirs:
            if not scheduler.by_epoch:
                scheduler.step()
        if iteration % 3 == 2:
            for scheduler in theirs:
                if scheduler.by_epoch:
                    scheduler.step()
    assert len(moved) > 2


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_position_has_its_values_whoever_comes_to_it(name):
    train = Train(lr=0.01, momentum=0.9, optimizer="SGD", epochs=4, lr_schedule=SCHEDULES[name])
    walked = Schedule(train, per_epoch=3)
    values = [walked.at(iteration) for iteration in range(12)]
    assert [Schedule(train, per_epoch=3).at(iteration) for iteration in range(12)] == values


@pytest.mark.parametrize("unit", ["epochs", "iterations"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_resuming_is_exact(dataset, tmp_path, name, unit):
    def tree(length: int) -> dict:
        made = tiny_config(dataset, optimizer="SGD", momentum=0.5, lr=0.05, checkpoint_interval=2)
        made["train"]["lr_schedule"] = SCHEDULES[name]
        del made["train"]["epochs"]
        made["train"][unit] = length
        return made

    long, short = (4, 2) if unit == "epochs" else (11, 5)  # the fifth iteration lies inside the second epoch
    straight = run(tree(long), tmp_path / "straight")[1]
    run(tree(short), tmp_path / "resumed")
    assert_equal(straight, run(tree(long), tmp_path / "resumed", resume=True)[1])
    held = read_checkpoint(tmp_path / "straight" / "last.pth")["optimizer"]["param_groups"][0]
    assert "initial_lr" not in held  # schedulers leave nothing behind that a resumed run would take for its start


def test_the_rate_of_a_run_is_the_schedule_s(dataset, tmp_path, monkeypatch):
    seen, plain = [], LearningRate.before_train_iter

    def watch(hook, runner, *more, **named):
        plain(hook, runner, *more, **named)
        seen.append(runner.optim_wrapper.param_groups[0]["lr"])

    monkeypatch.setattr(LearningRate, "before_train_iter", watch)
    made = tiny_config(dataset, epochs=4, lr_schedule=[WARM, COSINE])
    run(made, tmp_path / "run")
    schedule = Schedule(check_config(made, "test").train, per_epoch=3)
    assert seen == [schedule.at(iteration)["lr"] for iteration in range(12)]
    assert seen[0] == pytest.approx(1e-4)
    assert seen[4] == pytest.approx(1e-3)


REFUSED = [
    ([{"type": "CosineAnealingLR", "end": 3}], "Did you mean 'CosineAnnealingLR'?"),
    ([{"T_max": 3}], "lr_schedule[0].type=None"),
    ([WARM, {**COSINE, "Tmax": 3}], "lr_schedule[1].Tmax: CosineAnnealingLR has no argument 'Tmax'. Did you mean 'T_"),
    ([{"type": "StepLR", "end": 3}], "StepLR needs step_size"),
    ([{"type": "StepLR", "step_size": 2}], "say with end= after how many epochs (iterations, with by_epoch"),
    ([{"type": "ReduceOnPlateauLR", "monitor": "loss"}], "follows a score"),
    ([{"type": "LinearLR", "start_factor": 7, "end": 3}], "multiplicative factor"),
    ([{"type": "LinearLR", "begin": 5, "end": 3}], "end should be larger than begin"),
    ([{**WARM, "optimizer": 3}], "has no argument 'optimizer'"),
    ([{**WARM, "convert_to_iter_based": True}], "Only epoch-based"),
    ([{**WARM, "end": "x"}], "lr_schedule[0].end (LinearLR) must be a whole number"),
    ([{**WARM, "end": 2.5}], "lr_schedule[0].end (LinearLR) must be a whole number"),
    ([WARM, {**COSINE, "begin": None}], "lr_schedule[1].begin (CosineAnnealingLR) must be a whole number"),
    ([{**WARM, "by_epoch": "no"}], "lr_schedule[0].by_epoch (LinearLR) must be True or False"),
    ([{"type": "MultiStepLR", "milestones": ["a"], "end": 3}], "milestones (MultiStepLR) must be a list of whole"),
    ([{"type": "MultiStepLR", "milestones": [1], "gamma": "x", "end": 3}], "lr_schedule: step 1 cannot be made"),
    ([{"type": "MultiStepLR", "milestones": [1], "gamma": -1, "end": 3}], "at step 1; rates are finite and not neg"),
    ([{"type": "ExponentialLR", "gamma": 1e200, "end": 9}], "gives a rate of inf at step 2"),
    ([{"type": "StepLR", "step_size": 0, "end": 3}], "lr_schedule: step 1 cannot be made"),
    ([{"type": "PolyLR", "power": "x", "end": 3}], "lr_schedule: step 1 cannot be made"),
    ([WARM, {"type": "CosineRestartLR", "periods": [2], "end": 3}], "[1] (CosineRestartLR): refuses its"),
    ([WARM, (3, 1e-4)], "lr_schedule[1]: (3, 0.0001) stands among scheduler dicts"),
    ([(3, 1e-4), WARM], "lr_schedule[0]: (3, 0.0001) stands among scheduler dicts"),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "expected"), REFUSED, ids=[str(row[0]) for row in REFUSED])
def test_what_mmengine_would_not_take_or_could_not_resume_is_refused(dataset, schedule, expected):
    with pytest.raises(ConfigError) as caught:
        check_config(tiny_config(dataset, lr_schedule=schedule), "my.py")
    assert str(caught.value).startswith("my.py: train.lr_schedule")
    assert expected in str(caught.value)


def test_a_momentum_schedule_needs_an_optimiser_with_momentum(dataset):
    made = tiny_config(dataset, optimizer={"type": "Adagrad"}, lr_schedule=SCHEDULES["momentum"])
    with pytest.raises(ConfigError, match=r"train\.lr_schedule\[0\] \(\w+\): optimizer must support momentum"):
        check_config(made, "my.py")


def test_all_of_mmengine_s_schedulers_are_there_but_those_that_follow_a_score():
    missing = set(PARAM_SCHEDULERS.module_dict) - set(schedulers())
    assert {name for name in missing if not name.endswith("ParamScheduler")} == {
        "ReduceOnPlateauLR",
        "ReduceOnPlateauMomentum",
    }
