"""Mask-aware maths against plain loops over videos: values, gradients, one-snippet videos, zero rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.modeling import blocks

LENGTHS = [6, 1, 9, 4]
PADDED = 11


def draw(*columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(LENGTHS), PADDED, *columns, dtype=torch.float64, generator=generator)


def mask() -> Tensor:
    return torch.arange(PADDED) < torch.tensor(LENGTHS)[:, None]


def same(block: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor, timed: bool = False) -> None:
    """`block(*inputs)` on padded videos equals `plain(*rows)` video by video, and so does every gradient.

    Padded rows hold arbitrary numbers; they must reach neither result nor gradient.
    """
    ours = [x.clone().requires_grad_() for x in inputs]
    theirs = [x.clone().requires_grad_() for x in inputs]
    result = block(*ours)
    expected = [plain(*(x[video, :length] for x in theirs)) for video, length in enumerate(LENGTHS)]
    upstream = torch.randn(result.shape, dtype=result.dtype, generator=torch.Generator().manual_seed(9))
    total = torch.zeros((), dtype=torch.float64)
    for video, (value, length) in enumerate(zip(expected, LENGTHS)):
        own, weight = (result[video, :length], upstream[video, :length]) if timed else (result[video], upstream[video])
        torch.testing.assert_close(own, value, rtol=0, atol=1e-12)
        if timed:
            assert not result[video, length:].any(), "padded rows are not zero"
        total = total + (value * weight).sum()
    (result * upstream).sum().backward()
    total.backward()
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-12)
        assert not mine.grad[~mask()].any(), "padding has a gradient"


COLUMNS = [(), (3,), (2, 3)]


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize(
    ("block", "plain", "timed"),
    [
        (blocks.zero_padding, lambda x: x, True),
        (blocks.masked_softmax, lambda x: torch.softmax(x, 0), True),
        (blocks.masked_mean, lambda x: x.mean(0), False),
        (blocks.masked_max, lambda x: x.amax(0), False),
        (blocks.masked_min, lambda x: x.amin(0), False),
    ],
    ids=["zero_padding", "masked_softmax", "masked_mean", "masked_max", "masked_min"],
)
def test_reductions_over_time(block, plain, timed, columns):
    same(lambda x: block(x, mask()), plain, draw(*columns), timed=timed)


def test_softmax_stands_large_logits():
    same(lambda x: blocks.masked_softmax(x, mask()), lambda x: torch.softmax(x, 0), 1e4 * draw(3), timed=True)


@pytest.mark.parametrize("columns", COLUMNS)
def test_topk_mean_of_each_column(columns):
    count = torch.tensor([3, 1, 9, 2])
    for video, number in enumerate(count.tolist()):
        assert number <= LENGTHS[video]
    numbers = iter(count.tolist())
    same(
        lambda x: blocks.topk_mean(x, mask(), count),
        lambda x: x.sort(dim=0, descending=True).values[: next(numbers)].mean(0),
        draw(*columns),
    )


def test_topk_mean_of_equal_scores_is_that_score():
    x = torch.full((4, PADDED), 2.5, dtype=torch.float64)
    count = blocks.topk_count(mask(), divisor=2)
    assert blocks.topk_mean(x, mask(), count).tolist() == [2.5] * 4


@pytest.mark.parametrize("ratio", [1 / 8, 0.6, 0.1, 1.0, 0.3])
def test_topk_count_floors_as_python_does(ratio):
    lengths = list(range(1, 60))
    many = torch.arange(60) < torch.tensor(lengths)[:, None]
    assert blocks.topk_count(many, ratio=ratio).tolist() == [max(1, int(ratio * length)) for length in lengths]


@pytest.mark.parametrize("divisor", [1, 3, 8, 100])
def test_topk_count_by_divisor(divisor):
    assert blocks.topk_count(mask(), divisor=divisor).tolist() == [max(1, length // divisor) for length in LENGTHS]


def test_topk_count_takes_one_rule():
    for rules in ({}, {"ratio": 0.5, "divisor": 2}):
        with pytest.raises(ValueError, match="either a ratio or a divisor"):
            blocks.topk_count(mask(), **rules)


@pytest.mark.parametrize("normalize", [False, True])
def test_attention_pool_by_one_weight(normalize):
    def plain(x: Tensor, weight: Tensor) -> Tensor:
        pooled = sum(weight[t] * x[t] for t in range(len(x)))
        return pooled / weight.sum() if normalize else pooled

    weight = torch.sigmoid(draw(seed=1))
    same(lambda x, w: blocks.attention_pool(x, w, mask(), normalize), plain, draw(5), weight)


@pytest.mark.parametrize("normalize", [False, True])
def test_attention_pool_by_class(normalize):
    def plain(x: Tensor, weight: Tensor) -> Tensor:
        rows = []
        for c in range(weight.shape[1]):
            pooled = (weight[:, c : c + 1] * x).sum(0)
            rows.append(pooled / weight[:, c].sum() if normalize else pooled)
        return torch.stack(rows)

    weight = torch.sigmoid(draw(3, seed=1))
    same(lambda x, w: blocks.attention_pool(x, w, mask(), normalize), plain, draw(5), weight)


@pytest.mark.parametrize("taps", [1, 3, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_temporal_convolution_sees_zeros_beyond_a_videos_own_end(taps, bias):
    conv = blocks.TemporalConv(4, 6, taps, bias).double()
    weight = conv.conv.weight

    def plain(x: Tensor) -> Tensor:
        rows = []
        for t in range(len(x)):
            row = torch.zeros(6, dtype=torch.float64) if conv.conv.bias is None else conv.conv.bias
            for tap in range(taps):
                at = t + tap - taps // 2
                if 0 <= at < len(x):
                    row = row + weight[:, :, tap] @ x[at]
            rows.append(row)
        return torch.stack(rows)

    same(lambda x: conv(x, mask()), plain, draw(4), timed=True)


def test_temporal_convolution_has_the_gradients_of_its_videos_alone():
    conv = blocks.TemporalConv(4, 6).double()
    x = draw(4)
    conv(x, mask()).square().sum().backward()
    ours = {name: p.grad.clone() for name, p in conv.named_parameters()}
    conv.zero_grad()
    for video, length in enumerate(LENGTHS):
        alone = torch.ones(1, length, dtype=torch.bool)
        conv(x[video : video + 1, :length], alone).square().sum().backward()
    for name, parameter in conv.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=0, atol=1e-11)


def test_what_follows_a_temporal_convolution_sees_real_rows_alone():
    conv = blocks.TemporalConv(4, 6).double()
    x = draw(4)
    plain = torch.sigmoid(conv(x, mask())).masked_fill(~mask().unsqueeze(-1), 0.0)
    torch.testing.assert_close(conv(x, mask(), then=torch.sigmoid_), plain, rtol=0, atol=1e-15)
    conv(x, mask(), then=torch.relu_).square().sum().backward()
    ours = conv.conv.weight.grad.clone()
    conv.zero_grad()
    conv(x, mask()).relu().square().sum().backward()
    torch.testing.assert_close(ours, conv.conv.weight.grad, rtol=0, atol=1e-12)


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="taps must be odd"):
        blocks.TemporalConv(4, 4, 2)


@pytest.mark.parametrize("dim", [-1, 1])
def test_unit_vectors_of_zero_rows_are_zero_forward_and_backward(dim):
    x = draw(5)
    x[0, 2] = x[2, :, 3] = 0
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    norm = theirs.norm(dim=dim, keepdim=True)
    live = norm.detach() > 0
    expected = torch.where(live, theirs / norm, torch.zeros_like(x))
    result = blocks.unit(ours, dim=dim)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-14)
    result[live.expand_as(x)].square().mul(draw(5)[live.expand_as(x)]).sum().backward()
    expected[live.expand_as(x)].square().mul(draw(5)[live.expand_as(x)]).sum().backward()
    chosen = live.expand_as(x)
    torch.testing.assert_close(ours.grad[chosen], theirs.grad[chosen], rtol=0, atol=1e-12)
    assert not ours.grad[~chosen].any()
    assert torch.isfinite(ours.grad).all()


@pytest.mark.parametrize("shared", [True, False])
def test_cosine_is_the_cosine_with_its_gradient(shared):
    x, rows = draw(5, seed=1)[:, :6], draw(5, seed=2)[:, :3]
    rows = rows[0] if shared else rows
    x, rows = x.add(0.1).requires_grad_(), rows.requires_grad_()
    expected = F.cosine_similarity(x.unsqueeze(2), rows.unsqueeze(-3), dim=-1)
    torch.testing.assert_close(blocks.cosine(x, rows), expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(blocks.cosine, (x, rows))


def test_a_row_of_zeros_has_cosine_and_gradient_zero():
    x, rows = draw(5, seed=1)[0, :4], draw(5, seed=2)[0, :3]
    x[1], rows[2] = 0.0, 0.0
    x.requires_grad_()
    rows.requires_grad_()
    made = blocks.cosine(x, rows)
    assert not made[1].any()
    assert not made[:, 2].any()
    made.square().sum().backward()
    for value in (x, rows):
        assert torch.isfinite(value.grad).all()
    assert not x.grad[1].any()
    assert not rows.grad[2].any()


def test_take_columns_refuses_what_is_not_there():
    x = draw(6)
    assert torch.equal(blocks.take_columns(x, (2, 6), "streams.flow"), x[..., 2:])
    with pytest.raises(ConfigError, match=r"streams\.flow takes columns 4\.\.8, but the features have 6"):
        blocks.take_columns(x, (4, 8), "streams.flow")


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-13, 1e-15, 1e-18])
def test_gradient_of_a_cosine_with_a_nearly_dead_row_is_that_of_double_precision(scale):
    """A row that ReLU leaves next to nothing of; 1 / ||x||^3 overflows float32 from 1e-13 on."""
    x, rows = draw(5, seed=1)[0, :4] * scale, draw(5, seed=2)[0, :3]
    gradients = []
    for kind in (torch.float32, torch.float64):
        leaf = x.to(kind).requires_grad_()
        blocks.cosine(leaf, rows.to(kind)).square().sum().backward()
        gradients.append(leaf.grad)
    single, double = gradients
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4 * float(double.abs().max()))


@pytest.mark.parametrize("scale", [1e-20, 1e-23, 1e-30, 1e-38, 1e-44])
def test_cosine_of_a_row_too_small_to_square_is_finite_with_its_gradient(scale):
    x, rows = (draw(5, seed=1)[0, :4] * scale).float().requires_grad_(), draw(5, seed=2)[0, :3].float()
    made = blocks.cosine(x, rows)
    made.square().sum().backward()
    assert torch.isfinite(made).all()
    assert torch.isfinite(x.grad).all()


def test_xavier_starts_weights_in_their_bounds_and_biases_at_zero():
    for layer, bound in ((torch.nn.Linear(30, 20), (6 / 50) ** 0.5), (torch.nn.Conv1d(30, 20, 3), (6 / 150) ** 0.5)):
        assert blocks.xavier(layer) is layer
        assert not layer.bias.any()
        assert 0.9 * bound < layer.weight.abs().max() <= bound
    assert blocks.xavier(torch.nn.Linear(3, 2, bias=False)).bias is None
    rows = blocks.xavier_rows(20, 30)
    assert isinstance(rows, torch.nn.Parameter)
    assert 0.9 * (6 / 50) ** 0.5 < rows.abs().max() <= (6 / 50) ** 0.5


def test_one_process_is_rank_zero_of_one():
    assert blocks.rank_and_world() == (0, 1)
