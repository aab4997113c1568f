"""The heads several methods share, against NumPy on one video at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.heads import SnippetClassifier, TopKMean
from wtal_bench.testing import random_batch

LENGTHS = (30, 24, 7, 1)


@pytest.mark.parametrize("divisor", [1, 5, 8, 7.5])
@pytest.mark.parametrize(("rounding", "whole"), [("floor", math.floor), ("ceil", math.ceil)])
def test_every_column_takes_the_mean_of_its_own_largest_values(divisor, rounding, whole):
    batch = random_batch(LENGTHS)
    cas = torch.randn(4, 30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    made = TopKMean(divisor, rounding)({"cas": cas}, batch)["video_logits"]
    for row, length in enumerate(LENGTHS):
        count = max(1, whole(length / divisor))
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
