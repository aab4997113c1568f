"""The heads several methods share, against NumPy on one video at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.heads import Actionness, SnippetAttention, SnippetClassifier, TopKMean
from wtal_bench.testing import random_batch

LENGTHS = (30, 24, 7, 1)


@pytest.mark.parametrize("divisor", [1, 5, 8, 7.5, None])
@pytest.mark.parametrize(("rounding", "whole"), [("floor", math.floor), ("ceil", math.ceil)])
def test_every_column_takes_the_mean_of_its_own_largest_values(divisor, rounding, whole):
    batch = random_batch(LENGTHS)
    cas = torch.randn(4, 30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    made = TopKMean(divisor, rounding)({"cas": cas}, batch)["video_logits"]
    for row, length in enumerate(LENGTHS):
        count = max(1, whole(length / divisor)) if divisor else 1
        largest = np.sort(cas[row, :length].numpy(), axis=0)[::-1][:count]
        np.testing.assert_allclose(made[row], largest.mean(axis=0), rtol=1e-14)


@pytest.mark.parametrize(("switches", "words"), [((0,), "divisor=0"), ((5, "up"), "rounding='up' is unknown")])
def test_wrong_switches_are_refused(switches, words):
    with pytest.raises(ConfigError, match=words):
        TopKMean(*switches)


@pytest.mark.parametrize("init", ["framework", "xavier"])
@pytest.mark.parametrize(("background", "bias"), [(False, True), (True, False)])
def test_every_snippet_is_classified_by_the_rows_the_head_shows(init, background, bias):
    torch.manual_seed(0)
    head = SnippetClassifier(4, 3, background=background, bias=bias, dropout=0.5, init=init).double().eval()
    assert (head.cls.bias is not None) == bias
    if bias:
        assert bool(head.cls.bias.any()) == (init == "framework")
    batch = random_batch(LENGTHS)
    x = torch.randn(4, 30, 4, dtype=torch.float64)
    made = head({"embedding": x}, batch)
    assert made["class_weights"] is head.cls.weight
    assert made["cas"].shape == (4, 30, 3 + background)
    expected = head.cls(x)
    torch.testing.assert_close(made["cas"][batch.mask], expected[batch.mask], rtol=0, atol=1e-14)
    assert not made["cas"][~batch.mask].any()
    head.train()
    assert not torch.equal(head({"embedding": x}, batch)["cas"], made["cas"])


@pytest.mark.parametrize("init", ["framework", "xavier"])
def test_every_snippet_is_attended_by_itself(init):
    torch.manual_seed(0)
    head = SnippetAttention(4, hidden=5, init=init).double()
    assert bool(head.fc1.bias.any() or head.fc2.bias.any()) == (init == "framework")
    batch = random_batch(LENGTHS)
    x = torch.randn(4, 30, 4, dtype=torch.float64)
    made = head({"embedding": x}, batch)["attention"]
    expected = torch.sigmoid(head.fc2(torch.relu(head.fc1(x)))).squeeze(-1)
    torch.testing.assert_close(made[batch.mask], expected[batch.mask], rtol=0, atol=1e-14)
    assert not made[~batch.mask].any()


@pytest.mark.parametrize("source", ["attention", "relu_sum", "softmax_max", "norm"])
def test_actionness_of_every_source_ignores_padding(source):
    batch = random_batch(LENGTHS)
    shape = tuple(batch.mask.shape)
    fields = {
        "attention": torch.rand(*shape, dtype=torch.float64),
        "cas": torch.randn(*shape, 3, dtype=torch.float64),
        "embedding": torch.randn(*shape, 4, dtype=torch.float64),
    }
    head = Actionness(source)
    made = head({name: fields[name] for name in head.requires}, batch)["actionness"]
    assert not made[~batch.mask].any()
    for row, length in enumerate(LENGTHS):
        own = {name: value[row, :length].numpy() for name, value in fields.items()}
        norm = np.linalg.norm(own["embedding"], axis=1)
        exp = np.exp(own["cas"])
        expected = {
            "attention": own["attention"],
            "relu_sum": np.maximum(own["cas"], 0).sum(axis=1),
            "softmax_max": (exp / exp.sum(axis=1, keepdims=True)).max(axis=1),
            "norm": norm / norm.max(),
        }[source]
        np.testing.assert_allclose(made[row, :length], expected, rtol=1e-13)


def test_actionness_of_an_empty_embedding_is_zero_and_an_unknown_source_is_refused():
    made = Actionness("norm")({"embedding": torch.zeros(1, 6, 4)}, random_batch([6]))
    assert not made["actionness"].any()
    with pytest.raises(ConfigError, match="source='relu'"):
        Actionness("relu")
