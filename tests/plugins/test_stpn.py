"""STPN's pooling on padded videos, and its recipes: what they read, what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.build import build_model
from wtal_bench.testing import random_batch
from wtal_plugins.stpn import examples
from wtal_plugins.stpn.classifier import Classifier

LENGTHS = (9, 4, 1)


@pytest.mark.parametrize("pool", ["mean", "sum", "norm"])
def test_a_video_is_pooled_over_its_own_snippets(pool):
    torch.manual_seed(0)
    head = Classifier(4, 3, pool=pool).double()
    batch = random_batch(LENGTHS, padding=3)
    shape = tuple(batch.mask.shape)
    x, attention = torch.randn(*shape, 4, dtype=torch.float64), torch.rand(*shape, dtype=torch.float64)
    made = head({"embedding": x, "attention": attention}, batch)
    for row, n in enumerate(LENGTHS):
        own, weight = x[row, :n], attention[row, :n]
        divisor = {"mean": n, "sum": 1, "norm": weight.sum() + 1e-8}[pool]
        pooled = weight @ own / divisor
        torch.testing.assert_close(made["pooled"][row], pooled)
        torch.testing.assert_close(made["video_logits"][row], head.cls(pooled))
        torch.testing.assert_close(made["cas"][row, :n], own @ head.cls.weight.T)
    assert made["class_weights"] is head.cls.weight


def test_a_closed_attention_pools_to_zero_and_never_to_nan():
    head = Classifier(4, 3, pool="norm").double()
    batch = random_batch([5])
    fields = {
        "embedding": torch.rand(1, 5, 4, dtype=torch.float64),
        "attention": torch.zeros(1, 5, dtype=torch.float64),
    }
    assert not head(fields, batch)["pooled"].any()


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ConfigError, match=r"pool='max'"):
        Classifier(4, 3, pool="max")


@pytest.mark.parametrize("example", [examples.thumos, examples.embedding])
def test_videos_without_tags_train_both_streams(example):
    torch.manual_seed(0)
    model = build_model(example().model).double().train()
    batch = random_batch([1, 7, 12])
    losses = model.losses(replace(batch, labels=torch.zeros_like(batch.labels)))
    losses["total"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), f"{name} learns nothing"
