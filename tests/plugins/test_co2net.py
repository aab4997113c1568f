"""CO2-Net beyond the golden numbers: gates against plain convolutions, pooling, dropout, mistakes, configs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.build import build_model
from wtal_bench.plugins import registry
from wtal_bench.running.config import load_config
from wtal_bench.testing import random_batch
from wtal_plugins.co2net.examples import activitynet, thumos
from wtal_plugins.co2net.losses import Mutual
from wtal_plugins.co2net.network import Consensus, Suppression, average_pool

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LENGTHS = (20, 9, 1)


def activate(x):
    return F.leaky_relu(x, 0.2)


def gated(gate, main, other):
    """The authors' module on one video [T,W], by torch's own convolutions: features and attention."""
    summary = activate(gate.summary(main.mean(dim=0).reshape(1, -1, 1)))
    local = activate(gate.local.conv(other.T[None]))
    made = torch.sigmoid(summary * local) * main.T[None]
    hidden = activate(gate.att2.conv(activate(gate.att1.conv(made))))
    return made[0].T, torch.sigmoid(gate.att3(hidden[0].T))[:, 0]


def test_each_modality_is_gated_by_both_in_every_video_alone():
    torch.manual_seed(0)
    backbone = Consensus(8, 6, 3).double().eval()
    batch = random_batch(LENGTHS, padding=2)
    made = backbone(batch.features, batch.mask)
    for row, length in enumerate(LENGTHS):
        rgb, flow = batch.features[row, :length].chunk(2, dim=-1)
        features, attention = zip(gated(backbone.rgb, rgb, flow), gated(backbone.flow, flow, rgb))
        ours = [made[name][row, :length] for name in ("embedding", "rgb_attention", "flow_attention", "attention")]
        fused = activate(backbone.fusion(torch.cat(features, dim=-1)))
        theirs = [fused, *attention, (attention[0] + attention[1]) / 2]
        for mine, other in zip(ours, theirs):
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-13)
        assert not any(value[row, length:].any() for value in made.values())


def test_layers_start_kaiming_uniform_with_zero_biases():
    torch.manual_seed(0)
    backbone = Consensus(256, 64, 32)
    for name, parameter in backbone.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        else:
            bound = (6 / parameter[0].numel()) ** 0.5  # gain sqrt 2 on a uniform of fan-in
            assert bound * 0.9 < parameter.abs().max() <= bound, name


@pytest.mark.parametrize("width", [1, 3, 13])
@pytest.mark.parametrize("columns", [None, 4])
def test_pooling_counts_the_zeros_beyond_every_video_s_own_end(width, columns):
    mask = random_batch(LENGTHS).mask
    shape = mask.shape if columns is None else (*mask.shape, columns)
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    made = average_pool(x, mask, width)
    for row, length in enumerate(LENGTHS):
        for at in range(length):
            own = x[row, max(0, at - width // 2) : min(length, at + width // 2 + 1)]
            torch.testing.assert_close(made[row, at], own.sum(dim=0) / width, rtol=0, atol=1e-14)
        assert not made[row, length:].any()
    assert average_pool(x, mask, None) is x


def test_without_attention_no_class_stands_out():
    cas = torch.randn(1, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for value in (0.0, 1.0):
        attention = torch.full((1, 5), value, dtype=torch.float64)
        made = Suppression()({"cas": cas, "attention": attention}, random_batch([5]))
        lowest = cas.min(dim=-1, keepdim=True).values.expand_as(cas)
        torch.testing.assert_close(made["suppressed_cas"], cas if value else lowest, rtol=0, atol=1e-15)
        torch.testing.assert_close(made["weighted_cas"], cas * value, rtol=0, atol=0)


def test_each_attention_learns_from_the_other_at_half_the_rate():
    batch = random_batch(LENGTHS)
    generator = torch.Generator().manual_seed(0)
    rgb, flow = (torch.rand(batch.mask.shape, dtype=torch.float64, generator=generator).requires_grad_() for _ in "ab")
    loss = Mutual()({"rgb_attention": rgb, "flow_attention": flow}, batch)["mutual"]
    plain = torch.stack([(rgb[i, :n] - flow[i, :n]).square().mean() for i, n in enumerate(LENGTHS)]).mean()
    torch.testing.assert_close(loss, plain)
    for mine, other in zip(torch.autograd.grad(loss, (rgb, flow)), torch.autograd.grad(plain, (rgb, flow))):
        torch.testing.assert_close(mine, other / 2)


def test_half_of_the_training_snippets_have_an_attention_of_one_half():
    torch.manual_seed(0)
    backbone = Consensus(8, 6, 3, dropout=0.5).double().train()
    batch = random_batch([400])
    made = backbone(batch.features, batch.mask)["rgb_attention"]
    assert 0.4 < (made == 0.5).double().mean() < 0.6


def test_the_co_activity_loss_sees_the_embedding_the_classifier_dropped_first():
    torch.manual_seed(0)
    model = build_model(thumos().model, "example").double().train()
    outputs = model.compute(random_batch([30, 20], pairs=False))
    scale = outputs["dropped_embedding"] / outputs["embedding"]
    kept = scale[torch.isfinite(scale) & (scale != 0)]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / 0.3))
    assert 0.6 < (outputs["dropped_embedding"][:, :20] == 0).double().mean() < 0.8


@pytest.mark.parametrize("example", [thumos(), activitynet()], ids=["thumos", "activitynet"])
@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_videos_shorter_than_divisor_and_pool_and_empty_ones_give_numbers(example, scale):
    torch.manual_seed(0)
    model = build_model(example.model, "example").double().train()
    batch = random_batch([1, 2, 3, 30], pairs=True)
    losses = model.losses(replace(batch, features=batch.features * scale))
    losses["total"].backward()
    for name, value in losses.items():
        assert torch.isfinite(value), name
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        ("backbone", dict(type="co2net.Consensus", in_channels=7, channels=6, hidden=3), "in_channels=7 is split"),
        ("backbone", dict(type="co2net.Consensus", in_channels=8, channels=6, hidden=3, pool=4), "pool=4: give an odd"),
        (
            "head",
            dict(type="co2net.Classifier", channels=6, num_classes=3, pool=True),
            "pool: expected int, None, got True",
        ),
    ],
)
def test_impossible_settings_are_refused_when_the_model_is_built(kind, spec, words):
    with pytest.raises(ConfigError, match=words):
        registry(kind).build(spec, "config: model.x")


GATE = 2 * (1024 * 1024 * 3 + 1024) + (1024 * 512 * 3 + 512) + (512 * 512 * 3 + 512) + 513
TRUNK = 2 * GATE + (2048 * 2048 + 2048) + (2048 * 2048 * 3 + 2048)


@pytest.mark.parametrize(("name", "classes"), [("thumos", 20), ("anet12", 100)])
def test_shipped_configs_build_the_authors_network_without_its_unused_encoder(name, classes):
    with torch.device("meta"):
        model = build_model(load_config(CONFIGS / f"co2net_{name}.py").model, name)
    assert sum(p.numel() for p in model.parameters()) == TRUNK + 2049 * (classes + 1)
