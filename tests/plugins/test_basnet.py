"""BaS-Net beyond the golden numbers: the branches, what a test runs, short and empty videos, configs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from wtal_bench.modeling.build import build_model
from wtal_bench.running.config import load_config
from wtal_bench.structures import VideoMeta
from wtal_bench.testing import random_batch
from wtal_plugins.basnet.examples import thumos

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def build(train: bool = False):
    torch.manual_seed(0)
    return build_model(thumos().model, "example").double().train(train)


def plain(trunk, x):
    """The authors' CAS module on one video [T,D], by torch's own convolutions."""
    hidden = F.leaky_relu(trunk.conv1(x.T), trunk.slope)
    return F.leaky_relu(trunk.conv2(hidden), trunk.slope).T


def test_both_branches_are_the_trunk_on_scaled_and_on_plain_features():
    model = build()
    batch = random_batch([20, 9, 1], padding=3)
    outputs = model.compute(batch)
    for row, length in enumerate((20, 9, 1)):
        x, w = batch.features[row, :length], outputs["attention"][row, :length]
        assert ((w > 0) & (w < 1)).all()
        for field, features in (("embedding", x * w.unsqueeze(-1)), ("base_embedding", x)):
            torch.testing.assert_close(
                outputs[field][row, :length], plain(model.backbone, features), rtol=0, atol=1e-12, msg=field
            )
            assert not outputs[field][row, length:].any()


def test_the_branches_draw_their_own_dropout():
    model = build(train=True)
    outputs = model.compute(random_batch([30]))
    dropped = {}
    for field, cas in (("embedding", "cas"), ("base_embedding", "base_cas")):
        whole = F.linear(outputs[field], outputs["class_weights"])
        dropped[cas] = whole - outputs[cas]
        assert dropped[cas].abs().max() > 1e-6
    silenced = {name: value.abs().sum() for name, value in dropped.items()}
    assert silenced["cas"] != silenced["base_cas"]


def test_the_foreground_weights_learn_through_the_suppressed_features():
    model = build()
    losses = model.losses(random_batch([30, 20]))
    losses["base"].backward(retain_graph=True)
    assert model.backbone.filter1.weight.grad is None
    losses["supp"].backward()
    assert model.backbone.filter1.weight.grad.abs().sum() > 0


def test_a_test_video_does_not_pay_for_the_base_branch():
    model = build()
    called = []
    model.heads["base"].register_forward_hook(lambda *_: called.append(True))
    list(model.video_outputs(random_batch([20])))
    assert not called
    model.compute(random_batch([20]))
    assert called


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_videos_shorter_than_the_divisor_and_empty_ones_give_numbers(scale):
    model = build(train=True)
    batch = random_batch([1, 2, 7, 30])
    losses = model.losses(replace(batch, features=batch.features * scale, labels=batch.labels * scale))
    losses["total"].backward()
    for name, value in losses.items():
        assert torch.isfinite(value), name
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_a_snippet_of_exactly_zero_splits_a_run_at_threshold_zero():
    """Where all of a class's curve is positive its smallest snippet becomes 0, and interpolation must leave it so."""
    model = build()
    decoder = model._decoder.component
    curve = np.array([0.7, 0.3, 0.1, 0.4, 0.9])
    cas = np.stack([curve, curve - 5, curve - 5, curve - 5], axis=1)
    video = VideoMeta("v", 5 * 0.64, fps=25.0, stride=16, num_snippets=5)
    found = decoder.candidates({"cas": cas, "video_logits": np.array([9.0, 0, 0, 0])}, video)
    assert (found.label == 0).all()
    # samples of the fine grid: the third snippet lies on sample 48
    assert [found.end[0], found.start[1]] == [48.0, 49.0]


@pytest.mark.parametrize("name", ["thumos", "synthetic"])
def test_shipped_configs_build(name):
    with torch.device("meta"):
        model = build_model(load_config(CONFIGS / f"basnet_{name}.py").model, name)
    size = sum(p.numel() for p in model.parameters())
    assert size == {"thumos": 26_262_529, "synthetic": 41_857}[name]
