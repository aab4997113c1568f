"""ACM-Net beyond the golden numbers: dropout, padding, mistakes, configs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.build import build_model
from wtal_bench.plugins import registry
from wtal_bench.running.config import load_config
from wtal_bench.testing import random_batch
from wtal_plugins.acm_net.examples import activitynet, thumos
from wtal_plugins.acm_net.losses import FeatureSeparation
from wtal_plugins.acm_net.network import Branches, BranchFeatures, Classifier

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def build(example):
    torch.manual_seed(0)
    return build_model(example.model, "example").double().eval()


@pytest.mark.parametrize("example", [thumos(), activitynet()], ids=["thumos", "activitynet"])
def test_videos_of_different_length_together_equal_each_alone(example):
    model, together = build(example), random_batch([19, 1, 40, 8], padding=5)
    joint = model.losses(together)
    joint["total"].backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    alone = []
    for row, length in enumerate(together.lengths.tolist()):
        own = replace(
            together,
            features=together.features[row : row + 1, :length],
            mask=together.mask[row : row + 1, :length],
            labels=together.labels[row : row + 1],
        )
        outputs = model.compute(own)
        for field, value in model.compute(together).items():
            if field not in model.shared_fields:
                mine = value[row : row + 1] if field in model.video_level_fields else value[row : row + 1, :length]
                torch.testing.assert_close(outputs[field], mine, rtol=1e-12, atol=1e-12)
        alone.append(model.losses(own, outputs))
        (alone[-1]["total"] / 4).backward()
    for name, value in joint.items():
        torch.testing.assert_close(value, torch.stack([losses[name] for losses in alone]).mean(), rtol=1e-12, atol=0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-10, atol=1e-10)


def logits_of(head, x, mask=None):
    batch = random_batch([x.shape[1]] * x.shape[0])
    return head({"embedding": x}, batch if mask is None else replace(batch, mask=mask))["snippet_logits"]


def test_snippet_dropout_drops_whole_rows_and_keeps_the_mean():
    torch.manual_seed(0)
    head = Classifier(5, 2, snippet_dropout=0.7, dropout=0.5).double().train()
    x = torch.rand(1, 20000, 5, dtype=torch.float64) + 1
    made = logits_of(head, x)
    dropped = (made == head.cls.bias).all(dim=-1)
    assert dropped.double().mean() == pytest.approx(0.7 + 0.3 * 0.5**5, abs=0.02)
    expected = head.cls(x).mean(dim=1)
    torch.testing.assert_close(made.mean(dim=1), expected, rtol=0.05, atol=0.02)


def test_dropout_is_off_in_eval_and_with_p_zero():
    head = Classifier(5, 2, snippet_dropout=0.0, dropout=0.0).double()
    x = torch.rand(2, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(logits_of(head.train(), x), head.cls(x), rtol=1e-14, atol=1e-14)
    always = Classifier(5, 2).double().eval()
    assert torch.equal(logits_of(always, x), always.cls(x))


def test_gradients_take_the_earliest_of_equal_snippets():
    head = Branches((2, 3, 3))
    logits = torch.ones(1, 6, 2, dtype=torch.float64, requires_grad=True)
    attention = torch.full((1, 6, 3), 1 / 3, dtype=torch.float64)
    made = head({"snippet_logits": logits, "branch_attention": attention}, random_batch([6]))
    made["video_logits"].sum().backward()
    assert (logits.grad[0, :, 0] > 0).tolist() == [True] * 3 + [False] * 3


def test_branch_features_give_the_attention_no_gradient():
    attention = torch.rand(1, 6, 3, dtype=torch.float64, requires_grad=True)
    x = torch.rand(1, 6, 4, dtype=torch.float64, requires_grad=True)
    made = BranchFeatures()({"embedding": x, "branch_attention": attention}, random_batch([6]))["branch_features"]
    top = attention.detach()[0, :, 1].topk(2).indices
    torch.testing.assert_close(made[0, 1], x[0, top].mean(dim=0))
    made.sum().backward()
    assert attention.grad is None


def test_the_hinge_passes_its_gradient_at_exactly_zero():
    features = torch.zeros(1, 3, 1, dtype=torch.float64)
    features[0, :, 0] = torch.tensor([3.0, 1.0, 0.5])  # margin 2: 2 - 3 + 1 = 0
    features.requires_grad_()
    value = FeatureSeparation(margin=2.0)({"branch_features": features}, random_batch([1]))["feat"]
    assert value.item() == (0 + 1.5 + 0.5) ** 2
    value.backward()
    assert features.grad.flatten().tolist() == [-4.0, 0.0, 8.0]


def test_a_video_without_tags_gives_finite_losses():
    model, batch = build(thumos()), random_batch([9, 12])
    losses = model.losses(replace(batch, labels=torch.zeros_like(batch.labels)))
    assert all(torch.isfinite(value) for value in losses.values())


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("head", dict(type="acm_net.Branches", divisors=(8, 3)), "three whole numbers"),
        ("head", dict(type="acm_net.BranchFeatures", divisors=(8, 0, 3)), "three whole numbers"),
    ],
)
def test_wrong_settings_are_explained(kind, config, words):
    with pytest.raises(ConfigError, match=words):
        registry(kind).build(config, "config: model.x")


@pytest.mark.parametrize("name", ["acm_net_thumos", "acm_net_anet13", "acm_net_synthetic"])
def test_configs_build(name):
    config = load_config(CONFIGS / f"{name}.py")
    with torch.device("meta"):
        model = build_model(config.model, config.path)
    assert model.fields[:3] == ["embedding", "attention", "branch_attention"]
