"""Orders found by faster sorts are the stable orders."""

from __future__ import annotations

import numpy as np
import pytest

from wtal_bench import order

COUNT = 3000
SCORES = {
    "uniform": lambda rng: rng.random(COUNT),
    "tied": lambda rng: rng.integers(-3, 3, COUNT) / 4,
    "float32": lambda rng: rng.random(COUNT).astype(np.float32),
    "almost tied": lambda rng: 0.5 + rng.integers(0, 50, COUNT) * 2.0**-53 + (rng.random(COUNT) < 0.1),
    "some almost tied": lambda rng: np.where(
        rng.random(COUNT) < 0.1, 0.5 + rng.random(COUNT) * 1e-13, rng.random(COUNT)
    ),
    "crowded": lambda rng: np.exp(30 * rng.normal(size=COUNT)),
    "one value": lambda rng: np.full(COUNT, 0.25),
    "zeros of both signs": lambda rng: np.where(rng.random(COUNT) < 0.5, -0.0, 0.0) * rng.integers(0, 2, COUNT) + 0.0,
    "infinite": lambda rng: np.append(rng.random(COUNT), [np.inf, -np.inf]),
    "subnormal": lambda rng: rng.random(COUNT) * 5e-322,
    "extreme": lambda rng: rng.uniform(-1, 1, COUNT) * 1.7e308,
}


@pytest.mark.parametrize("later_first", [False, True])
@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
def test_falling_is_the_stable_order_of_falling_scores(scores, later_first, monkeypatch):
    score = scores(np.random.default_rng(0))
    place = np.arange(len(score))
    expected = np.lexsort((-place if later_first else place, -score))
    for many in (1, 10**9):
        monkeypatch.setattr(order, "_MANY", many)
        np.testing.assert_array_equal(order.falling(score, later_first), expected)


@pytest.mark.parametrize("low", [-40_000, 0, 5])
@pytest.mark.parametrize("span", [1, 20, 2**15, 2**20])
def test_by_group_is_the_stable_order(low, span):
    group = np.random.default_rng(0).integers(low, low + span, COUNT).astype(np.int32)
    np.testing.assert_array_equal(order.by_group(group), np.argsort(group, kind="stable"))
