"""UM's two sets and its magnitude curve where they could go wrong: shared masks, few survivors, equal magnitudes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.build import build_model
from wtal_bench.testing import random_batch
from wtal_plugins.um.examples import thumos
from wtal_plugins.um.heads import Magnitude, Selection
from wtal_plugins.um.losses import Uncertainty


def test_both_sets_are_drawn_from_the_same_survivors():
    torch.manual_seed(0)
    batch = random_batch([270, 270])
    magnitude = torch.rand(2, 270, dtype=torch.float64) + 1
    head = Selection().train()
    act, background = head.rankings(magnitude, batch.mask)
    alive = act > 0
    assert ((background > 0) == alive)[magnitude < magnitude.amax(dim=1, keepdim=True)].all()
    assert 0.2 < alive.double().mean() < 0.4
    torch.testing.assert_close(act[alive], magnitude[alive] / 0.3)
    head.eval()
    assert torch.equal(head.rankings(magnitude, batch.mask)[0], magnitude)


def test_where_few_snippets_survive_the_earliest_dropped_ones_fill_the_sets():
    batch = random_batch([9])
    head = Selection(r_act=3, r_bkg=3)
    head.survivors = lambda g: torch.eye(9, dtype=torch.float64)[5:6]
    act, background = head.sets(torch.arange(1.0, 10.0, dtype=torch.float64).reshape(1, 9), batch.mask)
    assert torch.nonzero(act[0]).flatten().tolist() == [0, 1, 5]
    assert torch.nonzero(background[0]).flatten().tolist() == [0, 1, 5]


def test_choosing_has_no_gradient_but_the_chosen_features_have():
    batch = random_batch([12, 7], padding=3)
    x = torch.rand(2, 15, 4, dtype=torch.float64).requires_grad_()
    fields = {"embedding": x, "cas": x[..., :3], **Magnitude()({"embedding": x.detach()}, batch)}
    made = Selection(r_act=4, r_bkg=4).eval()(fields, batch)
    (gradient,) = torch.autograd.grad(made["action_feature"].sum(), x)
    used = gradient.abs().sum(dim=2) > 0
    assert used.sum(dim=1).tolist() == [3, 1]
    torch.testing.assert_close(gradient.sum(dim=(1, 2)), torch.full((2,), 4.0, dtype=torch.float64))
    assert not used[~batch.mask].any()


@pytest.mark.parametrize("features", [torch.zeros(1, 6, 4), torch.ones(1, 6, 4)])
def test_a_flat_magnitude_gives_a_finite_curve(features):
    batch = random_batch([6])
    made = Magnitude()({"embedding": features.double()}, batch)
    assert torch.equal(made["attention"], torch.zeros(1, 6, dtype=torch.float64))
    assert torch.equal(made["actionness"], torch.ones(1, 6, dtype=torch.float64) * bool(features.any()))


def test_the_curve_ignores_padding_and_runs_from_0_to_1():
    batch = random_batch([30, 10], padding=5)
    x = torch.rand(2, 35, 4, dtype=torch.float64)
    made = Magnitude()({"embedding": x}, batch)
    alone = Magnitude()({"embedding": x[1:, :10]}, random_batch([30, 10], keep=[1]))
    for name, value in alone.items():
        torch.testing.assert_close(made[name][1:, :10], value)
        assert not made[name][~batch.mask].any()
    assert (made["attention"].amin(), made["attention"].amax()) == (0, 1)


def test_the_loss_of_zero_features_has_a_gradient_of_zero():
    zero = torch.zeros(2, 4, dtype=torch.float64).requires_grad_()
    loss = Uncertainty(margin=3.0)({"action_feature": zero, "background_feature": zero}, None)["um"]
    assert loss.item() == 9
    (gradient,) = torch.autograd.grad(loss, zero)
    assert not gradient.any()


@pytest.mark.parametrize("lengths", [[1, 2, 3, 8], [8]])
def test_videos_shorter_than_the_divisors_without_tags_train(lengths):
    torch.manual_seed(0)
    model = build_model(thumos().model).double().train()
    batch = random_batch(lengths)
    losses = model.losses(replace(batch, labels=torch.zeros_like(batch.labels)))
    losses["total"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_divisors_below_one_are_refused():
    with pytest.raises(ConfigError, match="r_bkg=0"):
        Magnitude(r_bkg=0)
    with pytest.raises(ConfigError, match=r"r_act=9\.0"):
        Selection(r_act=9.0)
