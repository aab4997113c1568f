"""In which order batches visit the videos."""

from __future__ import annotations

import numpy as np

from wtal_bench.running.loader import Plan

LABELS = np.eye(4)[np.arange(23) % 4]


def indices(plan: Plan, epochs: int) -> list[tuple[int, ...]]:
    return [plan.batch(epoch, number).indices for epoch in range(epochs) for number in range(len(plan))]


def test_fresh_batches_are_the_first_ones_of_new_orders_after_the_first_epoch():
    plain, fresh = (Plan(LABELS, 5, seed=3, shuffle=rule) for rule in (True, "fresh"))
    ours, epochs = indices(fresh, 3), indices(plain, 11)
    assert ours[:5] == epochs[:5]
    assert sorted(video for batch in ours[:5] for video in batch) == list(range(23))
    assert ours[5:] == epochs[5::5]  # the first batch of epochs 1, 2, ..., 10 of the plain order
    assert [len(batch) for batch in ours] == [5, 5, 5, 5, 3, *[5] * 10]
    assert fresh.batch(2, 1).indices == ours[11]  # resuming needs no memory
