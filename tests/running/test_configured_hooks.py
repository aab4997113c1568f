"""The hooks of `runtime.hooks`: found by name, refused with a reason, and what they do to a run."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from tests.contracts.hooks import PLACE
from tests.running.conftest import tiny_config
from tests.running.test_training import assert_equal, run
from wtal_bench.errors import ConfigError, WtalError
from wtal_bench.plugins import Plugin, Registrar, snapshot
from wtal_bench.protocols import get_protocol
from wtal_bench.running.checkpoint import read_checkpoint
from wtal_bench.running.config import check_config
from wtal_bench.running.configured_hooks import OURS, build_hooks, scored_while_training
from wtal_bench.running.metrics import ProtocolMetric

HOLDOUT = "holdout/classification_mAP"


@pytest.fixture(autouse=True)
def _toys():
    with snapshot():
        registrar = Registrar(Plugin("toy", "1.0", "toy"))
        for name in ("Halver", "Misspelt", "NoHook"):
            registrar.hook(f"toy.{name}", f"{PLACE}:{name}")
        yield


def tree(dataset, *hooks, **train) -> dict:
    made = tiny_config(dataset, **train)
    made["runtime"]["hooks"] = list(hooks)
    return made


def built(dataset, *hooks, **train) -> list[Hook]:
    config = check_config(tree(dataset, *hooks, **train), "my.py")
    return build_hooks(config, get_protocol(config.data.protocol))


def refused(dataset, *hooks, **train) -> str:
    with pytest.raises(WtalError) as caught:
        built(dataset, *hooks, **train)
    return str(caught.value)


REFUSED = [
    ("EarlyStoppingHook", "got 'EarlyStoppingHook'"),
    ({"patience": 3}, "a hook is a dict(type='EarlyStoppingHook', ...)"),
    ({"type": "EarlyStopingHook"}, "Did you mean 'EarlyStoppingHook'?"),
    ({"type": "toy.Havler"}, "Did you mean 'toy.Halver'?"),
    ({"type": "os.system"}, "A type is a registered name, never an import path."),
    ({"type": "VideoCrossEntropy"}, "There is a loss of that name"),
    ({"type": "EarlyStoppingHook", "monitor": HOLDOUT, "patiance": 3}, "Did you mean 'patience'?"),
    ({"type": "EarlyStoppingHook"}, "needs monitor"),
    ({"type": "EarlyStoppingHook", "monitor": HOLDOUT, "rule": "bigger"}, "should be either"),
    ({"type": "NPUProfilerHook"}, "runtime.hooks[0] (NPUProfilerHook): Failed to import torch_npu"),
    ({"type": "EmptyCacheHook", "priority": "FIRST"}, "runtime.hooks[0].priority"),
    ({"type": "toy.Halver", "patiense": 2}, "Did you mean 'patience'?"),
    ({"type": "toy.Misspelt"}, "'after_train_iteration' that nobody calls. Did you mean 'after_train_iter'?"),
    ({"type": "toy.NoHook"}, "must be a class that inherits wtal_bench.interfaces.Hook"),
]  # fmt: skip


@pytest.mark.parametrize(("hook", "expected"), REFUSED, ids=[str(row[0]) for row in REFUSED])
def test_what_is_no_hook_is_refused_with_its_place(dataset, hook, expected):
    text = refused(dataset, hook, selection="val_holdout")
    assert "my.py: runtime.hooks[0]" in text
    assert expected in text


@pytest.mark.parametrize("name", OURS)
def test_hooks_whose_work_is_the_harness_s_say_what_to_write(dataset, name):
    assert name in HOOKS.module_dict
    assert f"runtime.hooks[0].type='{name}' is the harness's own work: {OURS[name]}" in refused(dataset, {"type": name})


MONITORS = [
    ({}, HOLDOUT, "scores nothing while it trains; with train.selection='val_holdout' there is holdout/"),
    ({}, "test/average", "only a run with train.selection='best_on_test'"),
    ({"selection": "val_holdout"}, "test/average", "train.selection='val_holdout' and monitor='holdout/"),
    ({"selection": "val_holdout"}, "holdout/mAP", "is never computed: this run computes holdout/classification_mAP"),
    ({"selection": "best_on_test"}, "test/avrage", "Did you mean 'test/average'?"),
    ({"selection": "best_on_test"}, "mAP", "is never computed: this run computes test/average, test/0.1"),
]


@pytest.mark.parametrize("kind", ["EarlyStoppingHook", "toy.Halver"])
@pytest.mark.parametrize(("train", "monitor", "expected"), MONITORS, ids=[f"{row[0]}-{row[1]}" for row in MONITORS])
def test_a_metric_that_is_never_computed_or_looks_at_test_videos_is_refused(dataset, kind, train, monitor, expected):
    text = refused(
        dataset, {"type": kind, "monitor": monitor, **({"rule": "greater"} if kind[0] == "E" else {})}, **train
    )
    assert f"my.py: runtime.hooks[0] ({kind}) monitors '{monitor}'" in text
    assert expected in text


def test_it_is_refused_before_anything_trains_a_parent_included(dataset, tmp_path):
    made = tree(dataset, {"type": "EarlyStoppingHook", "monitor": "x"}, selection="val_holdout")
    parent = tmp_path / "parent.json"
    parent.write_text(json.dumps(tiny_config(dataset)))
    made["train"]["init_from"] = {"config": str(parent)}
    with pytest.raises(ConfigError, match="is never computed"):
        run(made, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("selection", ["val_holdout", "best_on_test"])
def test_the_names_told_are_those_a_run_computes(dataset, tmp_path, selection, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "wtal_bench.running.hooks.Checkpoints.after_val_epoch", lambda self, runner, metrics: seen.append(set(metrics))
    )
    made = tiny_config(dataset, epochs=1, selection=selection)
    config = check_config(made, "test")
    with pytest.raises(WtalError, match=r"best\.pth"):
        run(made, tmp_path / "run")
    assert seen == [set(scored_while_training(config, get_protocol(config.data.protocol)))]


def test_a_hook_that_stops_training_ends_it_there_and_is_recorded(dataset, tmp_path):
    stopping = {"type": "EarlyStoppingHook", "monitor": HOLDOUT, "min_delta": 0.9, "patience": 1}
    made = tree(dataset, stopping, epochs=9, selection="val_holdout", holdout=0.4, checkpoint_interval=50)
    result, weights = run(made, tmp_path / "run")
    meta = read_checkpoint(tmp_path / "run" / "last.pth")["meta"]
    assert (meta["epoch"], meta["stopped"]) == (2, True)  # first score, then one without improvement
    assert result.record["config"]["hooks"] == [stopping]
    assert result.record["selection"] == "val_holdout"
    again, same = run(made, tmp_path / "run", resume=True)  # it had stopped, and stays so
    assert_equal(weights, same)
    assert again.record["cost"]["steps"] == result.record["cost"]["steps"]
    short = run(tiny_config(dataset, epochs=2, selection="val_holdout", holdout=0.4), tmp_path / "short")[1]
    assert_equal(short, weights)


def test_stopping_by_test_scores_is_best_on_test_and_never_ranked(dataset, tmp_path):
    from wtal_bench.leaderboard.validate import unranked_reason

    stopping = {"type": "EarlyStoppingHook", "monitor": "test/average", "min_delta": 0.9, "patience": 1}
    result, _ = run(tree(dataset, stopping, epochs=9, selection="best_on_test"), tmp_path / "run")
    assert result.record["cost"]["steps"] == 2 * 3
    assert "test" in unranked_reason(result.record)


def test_training_that_counts_iterations_stops_in_the_middle_of_an_epoch(dataset, tmp_path):
    stopping = {"type": "EarlyStoppingHook", "monitor": HOLDOUT, "min_delta": 0.9, "patience": 1}
    made = tree(dataset, stopping, selection="val_holdout", holdout=0.4, val_interval=2, checkpoint_interval=50)
    del made["train"]["epochs"]
    made["train"] |= {"iterations": 50, "batch_size": 2}
    assert run(made, tmp_path / "run")[0].record["cost"]["steps"] == 4


def test_a_plugins_hook_is_a_component_of_the_record(dataset, tmp_path):
    made = tree(dataset, {"type": "toy.Halver"}, epochs=1, selection="val_holdout", holdout=0.4)
    result, _ = run(made, tmp_path / "run")
    hook = {"kind": "hook", "name": "toy.Halver", "plugin": "toy", "version": "1.0"}
    assert hook in result.record["components"]
    plain, _ = run(tiny_config(dataset, epochs=1, selection="val_holdout", holdout=0.4), tmp_path / "plain")
    assert "hooks" not in plain.record["config"]
    assert plain.record["config_hash"] != result.record["config_hash"]


def test_a_checkpoint_and_its_record_carry_one_config_hash(dataset, tmp_path):
    result, _ = run(tree(dataset, {"type": "EmptyCacheHook"}, epochs=1), tmp_path / "run")
    assert read_checkpoint(tmp_path / "run" / "last.pth")["meta"]["config_hash"] == result.record["config_hash"]


def test_hooks_cannot_change_on_resuming(dataset, tmp_path):
    run(tree(dataset, epochs=1), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"differs.*runtime\.hooks"):
        run(tree(dataset, {"type": "EmptyCacheHook"}, epochs=2), tmp_path / "run", resume=True)


def test_no_hook_sees_the_test(dataset, tmp_path, monkeypatch):
    called = []

    @HOOKS.register_module(name="Watcher")
    class Watcher(Hook):
        def before_run(self, runner):
            called.append(("run", runner._test_loop, runner._test_evaluator, runner.val_loop))

        def after_test_epoch(self, runner, metrics=None):
            called.append("test")

    try:
        run(tree(dataset, {"type": "Watcher"}, epochs=1), tmp_path / "run")
    finally:
        del HOOKS.module_dict["Watcher"]
    assert called == [("run", None, None, None)]


def test_a_hook_of_another_priority_runs_when_it_says(dataset):
    hooks = built(dataset, {"type": "EmptyCacheHook", "priority": "VERY_HIGH"}, {"type": "toy.Halver", "priority": 3},
                  selection="val_holdout")  # fmt: skip
    assert [hook.priority for hook in hooks[:2]] == ["VERY_HIGH", 3]


def test_a_metric_of_every_protocol_has_a_name():
    protocol = get_protocol("thumos14/v1")
    assert {f"test/{tiou:g}" for tiou in protocol.tious} < set(ProtocolMetric.names(protocol))


def test_a_tensor_that_a_hook_remembers_returns_to_its_device():
    from tests.contracts.hooks import Halver
    from wtal_bench.running.configured_hooks import HookStates

    hook, other = Halver(), Halver()
    hook.best, hook.last = 0.5, torch.ones(2)
    checkpoint = {}
    HookStates({"0:toy.Halver": hook}).before_save_checkpoint(None, checkpoint)
    HookStates({"0:toy.Halver": other}).after_load_checkpoint(None, checkpoint)
    assert other.best == 0.5
    assert torch.equal(other.last, torch.ones(2))
