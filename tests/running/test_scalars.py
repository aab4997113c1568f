"""What steps report reaches the log once in a while, whole."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub

from wtal_bench.running import scalars
from wtal_bench.running.scalars import StepTimer, fetched, note


@pytest.fixture
def hub(request):
    return MessageHub(request.node.name)


def test_values_handed_on_together_are_those_handed_on_one_by_one(hub):
    for value in range(25):
        hub.update_scalar("one", float(value))
    for begin in range(0, 25, 5):
        note(hub, "many", [float(value) for value in range(begin, begin + 5)])
    note(hub, "many", [])
    for statistic in (("mean", 10), ("max", 20), ("current",)):
        one, many = (hub.get_scalar(name).statistics(*statistic) for name in ("one", "many"))
        assert one == many, statistic


@pytest.mark.parametrize("kinds", [["float32"], ["float64", "float32"], ["bfloat16"], ["int64"], ["bool"]])
def test_what_is_fetched_are_floats_whatever_the_steps_report(kinds):
    values = {kind: torch.tensor(1.5, requires_grad=kind == "float32").to(getattr(torch, kind)) for kind in kinds}
    (found,) = fetched([{**values, "videos": 4}])
    assert found == {**{kind: 1.0 if kind in ("int64", "bool") else 1.5 for kind in kinds}, "videos": 4.0}
    assert {type(value) for value in found.values()} == {float}


def test_the_log_forgets_what_lies_far_back(hub, monkeypatch):
    monkeypatch.setattr(scalars, "KEPT", 10)
    for begin in range(0, 100, 7):
        note(hub, "loss", [float(value) for value in range(begin, begin + 7)])
    values = hub.get_scalar("loss").data[0].tolist()
    assert values[-10:] == list(range(95, 105))
    assert len(values) <= 11


def test_times_and_the_time_left_are_handed_on_where_the_log_is_due(hub, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(scalars.time, "time", lambda: next(clock))
    timer = StepTimer(interval=4)
    runner = SimpleNamespace(message_hub=hub, iter=0, max_iters=20, train_dataloader=range(6))
    timer.before_train(runner)
    timer.before_train_epoch(runner)
    for at in range(6):
        runner.iter = at
        timer.before_train_iter(runner, at)
        timer.after_train_iter(runner, at)
        handed_on = len(hub.get_scalar("train/time").data[0]) if "train/time" in hub.log_scalars else 0
        assert handed_on == (0 if at < 3 else 4 if at < 5 else 6)
    assert hub.get_scalar("train/data_time").data[0].tolist() == [1.0] * 6
    assert hub.get_scalar("train/time").data[0].tolist() == [2.0] * 6
    assert hub.get_info("eta") == 2 * 14
