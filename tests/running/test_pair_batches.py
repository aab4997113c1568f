"""Batches that hold pairs of one class: resumable, and split over processes without tearing a pair."""

from __future__ import annotations

import numpy as np
import pytest

from wtal_bench.running.loader import Plan

LABELS = np.eye(4)[np.arange(23) % 4]
PAIRS = {"source": "by_class", "count": 3}


def test_every_batch_is_a_function_of_seed_epoch_and_number():
    plan = Plan(LABELS, 10, seed=1, pairs=PAIRS)
    assert len(plan) == 3  # what an epoch is in bookkeeping: as many draws as there are videos
    batches = [plan.batch(epoch, number) for epoch in range(2) for number in range(3)]
    assert len({request.indices for request in batches}) == 6
    assert plan.batch(1, 2) == batches[-1]
    for request in batches:
        assert request.pairs == ((0, 1), (2, 3), (4, 5))
        assert request.same == (True, True, True)
        assert all(LABELS[request.indices[a]] @ LABELS[request.indices[b]] for a, b in request.pairs)


@pytest.mark.parametrize("world", [2, 3, 12])
def test_ranks_share_a_batch_and_keep_pairs_whole(world):
    whole = Plan(LABELS, 10, seed=1, pairs=PAIRS).batch(0, 1)
    parts = [Plan(LABELS, 10, seed=1, pairs=PAIRS, rank=rank, world=world).batch(0, 1) for rank in range(world)]
    counted = [video for part in parts if part.share for video in part.indices]
    assert sorted(counted) == sorted(whole.indices)
    assert sum(part.share for part in parts) == pytest.approx(world)
    pairs = [tuple(part.indices[row] for row in pair) for part in parts for pair in part.pairs]
    assert sorted(pairs) == sorted(tuple(whole.indices[row] for row in pair) for pair in whole.pairs)


@pytest.mark.parametrize("world", [1, 2])
def test_pairs_that_share_no_class_come_after_those_that_do_and_change_no_batch(world):
    for rank in range(world):
        plain = Plan(LABELS, 10, seed=1, pairs=PAIRS, rank=rank, world=world)
        both = Plan(LABELS, 10, seed=1, pairs={**PAIRS, "negatives": True}, rank=rank, world=world)
        for number in range(3):
            ours, theirs = both.batch(0, number), plain.batch(0, number)
            assert (ours.indices, ours.share) == (theirs.indices, theirs.share)
            count = len(theirs.pairs)
            assert ours.pairs[:count] == theirs.pairs
            assert ours.same == (True,) * count + (False,) * (len(ours.pairs) - count)
            assert len(ours.pairs) == 2 * count, "there are enough videos of other classes"
            for a, b in ours.pairs[count:]:
                assert not LABELS[ours.indices[a]] @ LABELS[ours.indices[b]]
            assert both.batch(0, number) == ours
