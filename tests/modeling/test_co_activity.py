"""The co-activity loss against a loop over pairs and classes, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wtal_bench.errors import ConfigError
from wtal_bench.modeling import co_activity
from wtal_bench.modeling.co_activity import CoActivity
from wtal_bench.testing import random_batch

LENGTHS = (9, 5, 7, 1, 6, 8)
PAIRS = [[0, 1], [2, 3], [4, 5]]


def case(labels, pairs=PAIRS, columns=3):
    """Random fields of six videos, one of a single snippet."""
    batch = replace(random_batch(LENGTHS), labels=torch.tensor(labels, dtype=torch.float64))
    batch = replace(batch, pairs=torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2))
    generator = torch.Generator().manual_seed(1)
    shape = tuple(batch.mask.shape)
    x = torch.rand(*shape, 4, generator=generator, dtype=torch.float64).requires_grad_()
    cas = torch.randn(*shape, columns, generator=generator, dtype=torch.float64).requires_grad_()
    return {"embedding": x, "cas": cas}, batch


def distance(a, b):
    return 1 - a @ b / (a.norm() * b.norm())


def by_hand(outputs, batch, margin):
    total, entries = 0.0, 0
    for i, j in batch.pairs.tolist():
        lengths = [LENGTHS[i], LENGTHS[j]]
        if min(lengths) < 2:
            continue
        for c in torch.nonzero(batch.labels[i] * batch.labels[j]).flatten().tolist():
            high, low = [], []
            for row, n in zip((i, j), lengths, strict=True):
                a, x = outputs["cas"][row, :n, c].softmax(0), outputs["embedding"][row, :n]
                high.append(a @ x)
                low.append((1 - a) @ x / (n - 1))
            alike = distance(*high)
            for k in (0, 1):
                total = total + 0.5 * torch.relu(alike - distance(high[k], low[1 - k]) + margin)
            entries += 1
    return total / entries


@pytest.mark.parametrize("columns", [3, 4])
@pytest.mark.parametrize("margin", [0.5, 0.02])
def test_loss_and_gradients_are_those_of_the_loop(columns, margin):
    labels = [[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1], [0, 1, 1], [1, 1, 0]]
    outputs, batch = case(labels, columns=columns)
    ours, theirs = CoActivity(margin)(outputs, batch)["cas"], by_hand(outputs, batch, margin)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    wanted = torch.autograd.grad(theirs, list(outputs.values()))
    for gradient, expected in zip(torch.autograd.grad(ours, list(outputs.values())), wanted, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("labels", "pairs"),
    [
        ([[1, 0, 0], [0, 1, 0]] * 3, PAIRS),  # no pair shares a class
        ([[0, 0, 0]] * 6, PAIRS),  # nobody has a tag
        ([[1, 0, 0]] * 6, [[2, 3]]),  # one snippet has no low activation
        ([[1, 0, 0]] * 6, []),
    ],
)
def test_nothing_to_compare_is_zero_and_never_nan(labels, pairs):
    outputs, batch = case(labels, pairs)
    loss = CoActivity()(outputs, batch)["cas"]
    assert loss.item() == 0
    if loss.requires_grad:
        for gradient in torch.autograd.grad(loss, list(outputs.values())):
            assert not gradient.any()


def test_an_embedding_of_zeros_gives_finite_gradients():
    outputs, batch = case([[1, 0, 0]] * 6)
    outputs["embedding"] = torch.zeros_like(outputs["embedding"]).requires_grad_()
    loss = CoActivity()(outputs, batch)["cas"]
    assert loss.item() == pytest.approx(0.5)
    for gradient in torch.autograd.grad(loss, list(outputs.values())):
        assert torch.isfinite(gradient).all()


def test_over_processes_the_mean_is_that_of_the_whole_batch(monkeypatch):
    labels = [[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 1], [0, 1, 1]]
    pairs = [[0, 1], [4, 5], [2, 4]]
    outputs, batch = case(labels, pairs)
    whole = CoActivity()(outputs, batch)["cas"]
    parts = [replace(batch, pairs=batch.pairs[:1], share=0.5), replace(batch, pairs=batch.pairs[1:], share=1.5)]
    counts = [CoActivity().shared(part, 3).sum().reshape(1) for part in parts]
    monkeypatch.setattr(co_activity, "gather_ranks", lambda x: counts)
    averaged = sum(part.share * CoActivity()(outputs, part)["cas"] for part in parts) / 2
    torch.testing.assert_close(averaged, whole, rtol=0, atol=1e-14)


def test_a_batch_without_pairs_says_what_to_set():
    outputs, batch = case([[1, 0, 0]] * 6)
    with pytest.raises(ConfigError, match=r"train.pairs=dict\(source='by_class'"):
        CoActivity()(outputs, replace(batch, pairs=None))


@pytest.mark.parametrize("margin", ["x", None, -1, float("nan")])
def test_a_margin_is_a_number(margin):
    with pytest.raises(ConfigError, match=r"margin=.* must be a number of at least 0"):
        CoActivity(margin)
