"""Loss weights: numbers, schedules over epochs, either by scalar."""

from __future__ import annotations

import pytest

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.weights import LossWeight


def weights(config, scalar: str = "x", epochs=(0, 1, 2, 3, 4, 5)) -> list[float]:
    weight = LossWeight(config, "here")
    return [weight.at(scalar, epoch) for epoch in epochs]


def test_a_number_is_constant():
    assert weights(0.25) == [0.25] * 6
    assert weights(3) == [3.0] * 6
    assert weights(0) == [0.0] * 6


@pytest.mark.parametrize(
    "config",
    [
        -1,
        float("nan"),
        float("inf"),
        {"schedule": "steps", "steps": [(0, 1.0), (2, -0.5)]},
        {"schedule": "geometric", "value": -0.1, "factor": 2},
    ],
)
def test_a_loss_is_never_maximised_by_a_sign(config):
    with pytest.raises(ConfigError, match="here"):
        weights(config)


def test_steps_hold_from_their_epoch_on_in_any_order():
    expected = [0.0, 0.0, 1.0, 1.0, 0.5, 0.5]
    assert weights({"schedule": "steps", "steps": [(0, 0.0), (2, 1.0), (4, 0.5)]}) == expected
    assert weights({"schedule": "steps", "steps": [[4, 0.5], [0, 0], [2, 1]]}) == expected


def test_geometric_grows_from_its_start_to_its_maximum():
    config = {"schedule": "geometric", "value": 0.1, "factor": 2, "start": 2, "maximum": 0.5}
    assert weights(config) == [0.0, 0.0, 0.1, 0.2, 0.4, 0.5]
    assert weights({"schedule": "geometric", "value": 1, "factor": 0.5}) == [1, 0.5, 0.25, 0.125, 0.0625, 0.03125]


def test_a_dict_weighs_by_scalar_and_others_weigh_one():
    config = {"a": 0.5, "b": {"schedule": "steps", "steps": [(0, 2.0), (1, 3.0)]}}
    assert weights(config, "a", [0, 1]) == [0.5, 0.5]
    assert weights(config, "b", [0, 1]) == [2.0, 3.0]
    assert weights(config, "c", [0, 1]) == [1.0, 1.0]


def test_a_scalar_the_loss_does_not_give_is_told_with_the_nearest():
    weight = LossWeight({"sparse": 0.5}, "my.py: model.losses.x.weight")
    weight.check_scalars(["sparse", "other"])
    with pytest.raises(ConfigError, match=r"my\.py: model\.losses\.x\.weight\.sparse.*'sparsity'\?.*gives: sparsity"):
        weight.check_scalars(["sparsity"])


@pytest.mark.parametrize(
    "config",
    [
        None,
        True,
        "0.1",
        [0.1],
        {"a": None},
        {"a": {"b": 1.0}},
        {"schedule": "steps"},
        {"schedule": "steps", "steps": []},
        {"schedule": "steps", "steps": [(1, 0.5)]},
        {"schedule": "steps", "steps": 5},
        {"schedule": "steps", "steps": [(0,)]},
        {"schedule": "steps", "steps": [(0, "x")]},
        {"schedule": "step", "steps": [(0, 1)]},
        {"schedule": ["steps"], "steps": [(0, 1)]},
        {"schedule": "geometric", "value": 1},
        {"schedule": "geometric", "value": 1, "factor": 2, "begin": 3},
    ],
    ids=str,
)
def test_anything_else_is_refused_with_its_place(config):
    with pytest.raises(ConfigError, match=r"^here"):
        LossWeight(config, "here")
