"""A hook obeys its contract: stopped anywhere and resumed, training is what it would have been."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.contracts.hooks import PLACE
from wtal_bench.errors import PluginError
from wtal_bench.interfaces import ComponentInfo
from wtal_bench.plugins import Plugin, Registrar, registry, snapshot
from wtal_bench.testing import Example, check_resuming, contract_cases, contracts, uncovered_components

STOPPING = {"type": "EarlyStoppingHook", "monitor": "holdout/classification_mAP", "min_delta": 0.5, "patience": 2}


@pytest.fixture
def example() -> Example:
    """The smallest model there is with dropout, and the hooks of a plugin called toy."""
    cases = {case.info.plugin: case for case in contract_cases()}
    with snapshot():
        registrar = Registrar(Plugin("toy", "1.0", "toy"))
        for name in ("Halver", "Averager", "Forgetful", "Unplain", "Misspelt", "NoHook"):
            registrar.hook(f"toy.{name}", f"{PLACE}:{name}")
        yield cases["ecm"].load()


@pytest.mark.parametrize(
    "hooks",
    [
        [STOPPING],
        [{"type": "toy.Halver"}],
        [{"type": "toy.Averager"}, {"type": "toy.Halver", "patience": 2}, STOPPING],
    ],
    ids=lambda hooks: "+".join(hook["type"] for hook in hooks),
)
def test_hooks_that_remember_are_exact_on_resuming(example, hooks):
    check_resuming(replace(example, hooks=hooks))


def test_a_hook_that_forgets_is_caught(example):
    with pytest.raises(AssertionError, match="after a resumed half"):
        check_resuming(replace(example, hooks=[{"type": "toy.Forgetful"}]))


def test_the_contract_of_an_example_with_hooks_covers_them(example, monkeypatch):
    assert "toy.Halver" in uncovered_components("toy")
    with_hook = replace(example, hooks=[{"type": "toy.Halver"}])
    case = contracts.Case(ComponentInfo("example", "toy.example", "nowhere:nothing", "toy"))
    monkeypatch.setattr(contracts.Case, "load", lambda self: with_hook)
    checked = []
    monkeypatch.setattr(contracts, "check_resuming", checked.append)
    contracts.assert_contract(case)
    assert checked == [with_hook]
    assert "toy.Halver" not in uncovered_components("toy")


def test_a_state_that_is_not_plain_is_refused(example):
    with pytest.raises(PluginError, match=r"0:toy\.Unplain: its state_dict\(\) must hold tensors"):
        check_resuming(replace(example, hooks=[{"type": "toy.Unplain"}]))


def test_the_registry_knows_hooks_as_a_kind(example):
    assert registry("hook").get("toy.Halver").__name__ == "Halver"
    with pytest.raises(PluginError, match=r"must be a class that inherits wtal_bench\.interfaces\.Hook"):
        registry("hook").get("toy.NoHook")
