"""The losses of the core. Classification: every switch against a plain loop and against the framework's own losses."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.losses import CLASS_REDUCTIONS, FORMS, TARGETS, Sparsity, VideoCrossEntropy
from wtal_bench.plugins import registry
from wtal_bench.testing import random_batch

TAGS = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]])


def logits_of(columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(TAGS), columns, dtype=torch.float64, generator=generator, requires_grad=True)


def loss_of(logits: Tensor, tags: Tensor = TAGS, **switches) -> Tensor:
    batch = replace(random_batch([3] * len(tags)), labels=tags.float())
    made = VideoCrossEntropy(**switches)({"video_logits": logits}, batch)
    assert list(made) == ["ce"]
    assert made["ce"].dim() == 0
    return made["ce"]


def by_hand(logits: Tensor, target: str, form: str, class_reduction: str, normalize: bool, eps: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for row, tags in zip(logits, TAGS.tolist()):
        background = len(row) - len(tags)
        wanted = {
            "tags": tags + [0] * background,
            "tags_and_background": tags + [1] * background,
            "background": [0] * len(tags) + [1],
            "uniform": [1] * len(row),
        }[target]
        count = sum(wanted) + eps if normalize else 1
        p = torch.sigmoid(row) if form == "binary_sigmoid" else torch.softmax(row, 0)
        for value, one in zip(p, wanted):
            share = one / count if count else 0.0
            term = share * torch.log(value)
            if form != "softmax":
                term = term + (1 - share) * torch.log(1 - value)
            total = total - term / (len(row) if class_reduction == "mean" else 1)
    return total / len(logits)


SWITCHES = list(itertools.product(TARGETS, FORMS, CLASS_REDUCTIONS, (True, False), (4, 5)))
SWITCHES = [case for case in SWITCHES if not (case[0] == "background" and case[-1] == 4)]


@pytest.mark.parametrize(("target", "form", "class_reduction", "normalize", "columns"), SWITCHES)
def test_every_switch_equals_a_loop_over_videos_and_classes(target, form, class_reduction, normalize, columns):
    logits = logits_of(columns)
    eps = 1e-2 if normalize else 0.0
    switches = dict(target=target, form=form, class_reduction=class_reduction, normalize=normalize)
    ours = loss_of(logits, target_eps=eps, **switches)
    theirs = by_hand(logits, eps=eps, **switches)
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=0)
    (mine,), (other,) = (torch.autograd.grad(value, logits) for value in (ours, theirs))
    torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)


def test_the_plain_loss_of_one_tag_is_torchs():
    tags, logits = torch.tensor([0, 3, 2, 1]), logits_of(4)
    ours = loss_of(logits, F.one_hot(tags, 4))
    torch.testing.assert_close(ours, F.cross_entropy(logits, tags), rtol=0, atol=1e-15)


def test_the_plain_loss_counts_no_background_and_splits_a_video_between_its_tags():
    logits = torch.tensor([[0.0, math.log(3.0), 0.0]], dtype=torch.float64)  # probabilities 0.2 0.6 0.2
    tags = torch.tensor([[1, 1]])
    assert loss_of(logits, tags).item() == pytest.approx(-(math.log(0.2) + math.log(0.6)) / 2, rel=1e-14)
    everywhere = loss_of(logits, tags, target="tags_and_background").item()
    assert everywhere == pytest.approx(-math.log(0.2 * 0.6 * 0.2) / 3, rel=1e-14)
    assert loss_of(logits, tags, target="background").item() == pytest.approx(-math.log(0.2), rel=1e-14)


def test_the_binary_forms_are_torchs_over_all_elements():
    logits = logits_of(5)
    target = F.pad(TAGS.double(), (0, 1), value=1.0)
    share = target / target.sum(dim=1, keepdim=True)
    softmax = nn.BCELoss()(torch.softmax(logits, dim=1), share)
    mine = loss_of(logits, form="binary_softmax", target="tags_and_background", class_reduction="mean")
    torch.testing.assert_close(mine, softmax, rtol=1e-14, atol=0)
    sigmoid = nn.MultiLabelSoftMarginLoss()(logits[:, :4], TAGS.double())
    mine = loss_of(logits[:, :4], form="binary_sigmoid", normalize=False, class_reduction="mean")
    torch.testing.assert_close(mine, sigmoid, rtol=1e-14, atol=0)
    uniform = nn.BCELoss()(torch.softmax(logits[:, :4], dim=1), torch.full((4, 4), 0.25, dtype=torch.float64))
    mine = loss_of(logits[:, :4], form="binary_softmax", target="uniform", class_reduction="mean")
    torch.testing.assert_close(mine, uniform, rtol=1e-14, atol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_saturated_logits_give_finite_losses_and_gradients(form, scale):
    logits = (scale * logits_of(5).detach()).requires_grad_()
    value = loss_of(logits, form=form)
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
    if form == "binary_softmax":
        assert value <= 100 * 5, "a logarithm went below the framework's -100"


def test_a_video_without_tags_adds_nothing_to_the_softmax_form():
    logits = logits_of(5)
    value = loss_of(logits, torch.zeros_like(TAGS))
    assert value.item() == 0
    (gradient,) = torch.autograd.grad(value, logits)
    assert not gradient.any()


@pytest.mark.parametrize("eps", [0.0, 1e-46, 1e-8, 0.1])
def test_the_target_of_a_video_without_tags_is_zero(eps):
    target = VideoCrossEntropy(target_eps=eps).target(torch.zeros(1, 3), torch.zeros(1, 3))
    assert target.tolist() == [[0.0] * 3]


def test_the_number_added_inside_the_logarithm():
    logits = torch.tensor([[0.0, 60.0]], dtype=torch.float64)
    value = loss_of(logits, torch.tensor([[1, 0]]), log_eps=1e-10).item()
    assert value == pytest.approx(-math.log(math.exp(-60) + 1e-10), rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_logits_are_computed_in_float32(form):
    logits = logits_of(5).detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss_of(logits, form=form)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss_of(logits.float(), form=form), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("switches", "words"),
    [
        (dict(target="tags_and_backgroud"), r"target='tags_and_backgroud'.*Did you mean 'tags_and_background'"),
        (dict(form="sigmoid"), "form='sigmoid' is unknown"),
        (dict(class_reduction="average"), "it takes sum, mean"),
        (dict(target_eps=-1e-8), "target_eps=-1e-08 must be a number of at least 0"),
        (dict(log_eps=1e-10, form="binary_softmax"), "log_eps=1e-10 belongs to form='softmax'"),
        (dict(background_target=1.0), "has no argument 'background_target'"),
    ],
)
def test_wrong_switches_are_refused_when_the_model_is_built(switches, words):
    with pytest.raises(ConfigError, match=words):
        registry("loss").build(dict(type="VideoCrossEntropy", **switches), "config: model.losses.cls")


@pytest.mark.parametrize(("columns", "target"), [(3, "tags"), (6, "uniform"), (4, "background")])
def test_logits_of_another_number_of_classes_are_refused(columns, target):
    with pytest.raises(ConfigError, match=rf"the logits have {columns} columns for C=4 classes.*num_classes"):
        loss_of(logits_of(columns), target=target)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_sparsity_adds_up_a_video_s_own_attention(reduction):
    batch = random_batch([4, 9], padding=2)
    attention = torch.rand(2, 11, dtype=torch.float64)
    made = Sparsity(reduction)({"attention": attention}, batch)["sparse"]
    own = [getattr(attention[row, :length], reduction)() for row, length in enumerate((4, 9))]
    torch.testing.assert_close(made, sum(own) / 2)
