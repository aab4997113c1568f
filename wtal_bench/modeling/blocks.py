"""Mask-aware maths shared by every method: adding padding or batch mates changes nothing for a video.

Everywhere `mask` is [B,T] bool, True on real snippets, and padded rows may hold any finite value.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch
from wtal_bench.packing import (
    Packing,
    Tags,
    joined_packing,
    note_packing,
    nothing_padded,
    packing_of,
    send,
    tags_of,
    version,
)

__all__ = [
    "Packing",
    "Tags",
    "TemporalConv",
    "at_most",
    "attention_pool",
    "binary_cross_entropy",
    "by_video",
    "cosine",
    "full_precision",
    "gather_ranks",
    "inverse_norm",
    "joined_packing",
    "masked_max",
    "masked_mean",
    "masked_min",
    "masked_softmax",
    "no_autocast",
    "note_packing",
    "pack",
    "packing_of",
    "per_snippet",
    "rank_and_world",
    "send",
    "shifted_sum",
    "tags_of",
    "take_columns",
    "tap_projections",
    "top_snippets",
    "topk_count",
    "topk_mean",
    "uniform",
    "unit",
    "unpack",
    "xavier",
    "xavier_rows",
    "zero_padding",
]


def _like(mask: Tensor, x: Tensor) -> Tensor:
    """View [B,T] as [B,T,1,...] to broadcast against `x` [B,T,...]."""
    return mask.reshape(mask.shape + (1,) * (x.dim() - 2))


def zero_padding(x: Tensor, mask: Tensor) -> Tensor:
    """Return `x` [B,T,...] with padded rows set to zero; their gradient is zero too."""
    return _filled(x, mask, 0.0)


def _filled(x: Tensor, mask: Tensor, value: float) -> Tensor:
    """`x` with padded rows set to `value`; `x` itself where nothing is padded."""
    return x if nothing_padded(mask) else x.masked_fill(~_like(mask, x), value)


def take_columns(x: Tensor, span: tuple[int, int], where: str) -> Tensor:
    """The columns (first, end) of features `x` [...,D]: [...,end-first]. A view.

    Raises:
        ConfigError: there are no such columns; `where` is the key path of `span`.
    """
    first, end = span
    if end > x.shape[-1]:
        raise ConfigError(
            f"{where} takes columns {first}..{end}, but the features have {x.shape[-1]}. The store's manifest.json "
            "says which columns hold what."
        )
    return x[..., first:end]


def per_snippet(layer: Callable[[Tensor], Tensor], x: Tensor, mask: Tensor) -> Tensor:
    """Apply `layer` ([N,D] -> [N,E]) to the real rows of `x` [B,T,D] only; padded rows come out zero.

    Padding a mini-batch of whole videos doubles the rows (THUMOS14: mean length 327, longest about 2200); a layer
    without a time axis need not see them.
    """
    return unpack(layer(pack(x, mask)), mask)


def pack(x: Tensor, mask: Tensor) -> Tensor:
    """The N real rows of `x` [B,T,D], video after video: [N,D]. A view where nothing is padded."""
    rows, real = x.flatten(0, 1), packing_of(mask).rows
    # whole rows by position: boolean indexing and masked_scatter go by element, and cost more than a layer backward
    return rows if real is None else rows.index_select(0, real)


def unpack(rows: Tensor, mask: Tensor) -> Tensor:
    """[N,E] rows made from `pack`ed ones -> [B,T,E], zero under padding."""
    real = packing_of(mask).rows
    if real is not None:
        rows = rows.new_zeros(mask.numel(), rows.shape[-1]).index_copy_(0, real, rows)
    return rows.reshape(*mask.shape, rows.shape[-1])


def by_video(x: Tensor, width: int) -> bool:
    """Whether padded snippets of `width` columns are better worked on one video at a time, on their real rows.

    On a CPU that spares the padding, once it is large; elsewhere one kernel for all is faster, and compilers want it.
    """
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and x.shape[0] * x.shape[1] * width >= 2**20


def masked_softmax(x: Tensor, mask: Tensor) -> Tensor:
    """Softmax of `x` [B,T,...] over time; padded rows get weight exactly 0."""
    return zero_padding(torch.softmax(_filled(x, mask, float("-inf")), dim=1), mask)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of `x` [B,T,...] over the real snippets of each video: [B,...]."""
    return zero_padding(x, mask).sum(dim=1) / packing_of(mask).counts.reshape(-1, *(1,) * (x.dim() - 2))


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """Largest value of `x` [B,T,...] over the real snippets: [B,...]."""
    return _filled(x, mask, float("-inf")).amax(dim=1)


def masked_min(x: Tensor, mask: Tensor) -> Tensor:
    """Smallest value of `x` [B,T,...] over the real snippets: [B,...]."""
    return _filled(x, mask, float("inf")).amin(dim=1)


def topk_count(mask: Tensor, ratio: float | None = None, divisor: float | None = None) -> Tensor:
    """Number of top snippets per video: max(1, floor(ratio * T)) or max(1, T // divisor). [B] int64.

    `ratio * T` is rounded to float64 before the floor, as Python does (0.6 * 23 -> 13).
    """
    if (ratio is None) == (divisor is None):
        raise ValueError("give topk_count either a ratio or a divisor")
    packing = packing_of(mask)
    longest = packing.longest
    most = max(1, int(longest // divisor if divisor is not None else math.floor(longest * ratio)))
    # a compiler would make one graph for videos of one length, and another for others
    if packing.shortest == longest and not torch.compiler.is_compiling():
        return _all(most, packing.counts)
    lengths = packing.counts.double()
    count = lengths // divisor if divisor is not None else torch.floor(lengths * ratio)
    return at_most(count.long().clamp(min=1), most)


def at_most(count: Tensor, most: int) -> Tensor:
    """Note on `count` [B] that none is above `most`, so that `topk_mean` and `top_snippets` need not ask the device."""
    count._most = most
    return count


def _all(count: int, like: Tensor) -> Tensor:
    """`count` for every video, and a note that it is."""
    counts = at_most(torch.full_like(like, count), count)
    counts._all = count, version(counts)
    return counts


def _same(count: Tensor) -> int | None:
    """What `_all` noted, if nothing has changed `count` since."""
    known = getattr(count, "_all", None)
    return known[0] if known is not None and known[1] == version(count) else None


def _most(count: Tensor) -> int:
    known = getattr(count, "_most", None)
    return int(count.max()) if known is None else known


def topk_mean(x: Tensor, mask: Tensor, count: Tensor) -> Tensor:
    """Mean of each video's and column's own `count` largest values over time.

    Args:
        x: [B,T,...] scores.
        mask: [B,T].
        count: [B] int64, at least 1 and at most the video's length.

    Returns:
        [B,...]; the gradient reaches the chosen snippets only.
    """
    same = _same(count)
    largest = _most(count) if same is None else same
    values = _filled(x, mask, float("-inf")).topk(largest, dim=1).values
    if same is None:
        values = zero_padding(values, torch.arange(largest, device=x.device).unsqueeze(0) < count.unsqueeze(1))
    # by a tensor: a GPU multiplies by the reciprocal of a number, which has other bits
    return values.sum(dim=1) / count.reshape(-1, *(1,) * (x.dim() - 2))


def top_snippets(x: Tensor, mask: Tensor, count: Tensor) -> Tensor:
    """Mark each video's and column's `count` highest snippets; of equal scores the earliest come first.

    `torch.topk` leaves open which of several equal scores it takes; where a method gathers or averages by position,
    that choice decides where its gradients go.

    Args:
        x: [B,T,...] scores.
        mask: [B,T].
        count: [B] int64, at least 0 and at most the video's length.

    Returns:
        [B,T,...] bool, False under padding.
    """
    x = _filled(x.detach(), mask, float("-inf"))
    same = _same(count)
    largest = x.topk(max(1, _most(count)) if same is None else same, dim=1).values
    if same is not None:
        last = largest[:, -1:]
        above, equal = x > last, x == last
        return above | (equal & (equal.cumsum(dim=1) <= same - above.sum(dim=1, keepdim=True)))
    count = count.reshape(-1, *(1,) * (x.dim() - 1))
    last = largest.gather(1, (count - 1).clamp(min=0).expand(-1, 1, *x.shape[2:]))
    above, equal = x > last, x == last
    room = count - above.sum(dim=1, keepdim=True)
    return (above | (equal & (equal.cumsum(dim=1) <= room))) & (count > 0)


def full_precision(x: Tensor) -> Tensor:
    """`x` in float32 if autocast left it in half precision, else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def no_autocast(x: Tensor) -> contextlib.AbstractContextManager:
    """Switch autocast off for what is computed of `x`."""
    if x.is_meta:  # tensors without values know no autocast
        return contextlib.nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def attention_pool(x: Tensor, weight: Tensor, mask: Tensor, normalize: bool = False) -> Tensor:
    """Sum over time of weight * x; divided by the sum of the weights if `normalize`.

    Args:
        x: [B,T,D].
        weight: [B,T] -> [B,D], or [B,T,C] -> [B,C,D].
        mask: [B,T].
    """
    weight = zero_padding(weight, mask)
    rows = weight.unsqueeze(1) if weight.dim() == 2 else weight.transpose(1, 2)
    pooled = torch.bmm(rows, x)
    if normalize:
        pooled = pooled / rows.sum(dim=2, keepdim=True)
    return pooled.squeeze(1) if weight.dim() == 2 else pooled


def unit(x: Tensor, dim: int = -1) -> Tensor:
    """`x` divided by its L2 norm along `dim`; a vector of norm 0 gives zero, forward and backward (never NaN)."""
    zero = x.detach().norm(dim=dim, keepdim=True) == 0
    # the safe value must go in before the division: a `where` after it brings the NaN back in the backward pass
    safe = torch.where(zero, torch.ones_like(x), x)
    return torch.where(zero, torch.zeros_like(x), safe / safe.norm(dim=dim, keepdim=True))


class _InverseNorm(torch.autograd.Function):
    """1 / ||x|| of every row; 0, with gradient 0, for a row of zeros.

    autograd's way through the norm makes several tensors of the size of `x`; the formula needs one.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """[...,D] -> [...,1]."""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        # below the smallest normal number 1 / norm overflows
        inverse = torch.where(norm >= torch.finfo(norm.dtype).tiny, 1 / norm, torch.zeros_like(norm))
        ctx.save_for_backward(x, inverse)
        return inverse

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """d(1/||x||) = -x / ||x||^3, factor by factor: the cube overflows float32 from a norm of 1e-13 on."""
        x, inverse = ctx.saved_tensors
        return (x * inverse) * (-(grad * inverse) * inverse)


def cosine(x: Tensor, rows: Tensor) -> Tensor:
    """Cosine of every row of `x` [...,M,D] with every one of the `rows` [...,N,D], or [N,D] for all: [...,M,N].

    A row of zeros has cosine 0 with everything and gradient 0, the rule of `unit` (most published code gives NaN, which
    spreads over the whole video). `x` is scaled after the product, so no normalised copy of it is made.
    """
    return x @ unit(rows).transpose(-1, -2) * inverse_norm(x)


def inverse_norm(x: Tensor) -> Tensor:
    """1 / ||x|| of every row of `x` [...,D]: [...,1]; 0, with gradient 0, for a row of zeros."""
    return _InverseNorm.apply(x)


def xavier(layer: nn.Module) -> nn.Module:
    """Start a linear or convolutional `layer` with Xavier-uniform weights and zero biases, and return it."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def xavier_rows(rows: int, channels: int) -> nn.Parameter:
    """[rows,channels] Xavier-uniform: class centres and the like."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, channels)))


def rank_and_world() -> tuple[int, int]:
    """(number of this training process, number of all); (0, 1) for one process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def binary_cross_entropy(probability: Tensor, target: Tensor) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) of every element, with the framework's clamps.

    They matter where p saturates: logarithms stop at -100 and the backward denominator at 1e-12, so a hopeless element
    has no gradient instead of NaN or 1e8. Both tensors may have any shape, the same one.
    """
    with no_autocast(probability):  # the framework refuses this loss in half precision
        p = full_precision(probability)
        return F.binary_cross_entropy(p, target.to(p.dtype), reduction="none")


def uniform(batch: Batch, count: int) -> Tensor:
    """[B,count] float64 in [0, 1), a function of (torch's seed, epoch, video, column): not of padding or batch mates.

    The runner sets torch's seed anew at every step. The SplitMix64 generator (Steele, Lea, Flood 2014), its state
    counted on from a key of the video.
    """
    keys = batch.index + _step_seed(batch.index, batch.epoch)
    state = _mixed(keys).unsqueeze(1) + torch.arange(1, count + 1, device=keys.device) * -7046029254386353131
    return _shifted(_mixed(state), 11).double() * 2.0**-53


@torch.library.custom_op("wtal_bench::step_seed", mutates_args=())
def _step_seed(like: Tensor, epoch: int) -> Tensor:
    """0-d int64 on the device of `like`. An operation of its own: a compiler would take one step's seed for all."""
    seed = (torch.initial_seed() * 31 + epoch + 1) % 2**62
    return torch.full((), seed, dtype=torch.int64, device=like.device)


@_step_seed.register_fake
def _(like: Tensor, epoch: int) -> Tensor:
    return like.new_empty((), dtype=torch.int64)


def _mixed(x: Tensor) -> Tensor:
    """SplitMix64's finaliser; int64 arithmetic wraps around."""
    x = (x ^ _shifted(x, 30)) * -4658895280553007687
    x = (x ^ _shifted(x, 27)) * -7723592293110705685
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift the 64 bits to the right, zeros coming in."""
    return (x >> bits) & (2 ** (64 - bits) - 1)


def gather_ranks(x: Tensor) -> list[Tensor]:
    """`x` of every training process, in rank order: [N_r,...] each, N_r may differ. One process: `[x]`."""
    _, world = rank_and_world()
    if world == 1:
        return [x]
    sizes = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(world)]
    torch.distributed.all_gather(sizes, torch.tensor([len(x)], device=x.device))
    padded = x.new_zeros(max(int(size) for size in sizes), *x.shape[1:])
    padded[: len(x)] = x
    parts = [torch.empty_like(padded) for _ in sizes]
    torch.distributed.all_gather(parts, padded)
    return [part[: int(size)] for part, size in zip(parts, sizes, strict=True)]


class TemporalConv(nn.Module):
    """1-d convolution over time that keeps T and sees zeros beyond a video's own end, padded or not.

    Maps [B,T,D] to [B,T,E] ("same" zero padding). Parameters are those of `nn.Conv1d`: weight (E,D,taps), bias.
    It is one matrix product over the windows of real rows: padding costs nothing, and neither input nor output is
    transposed for it.

    Args:
        in_channels, out_channels: D and E.
        taps: odd kernel size.
        bias: whether there is one.
    """

    def __init__(self, in_channels: int, out_channels: int, taps: int = 3, bias: bool = True) -> None:
        super().__init__()
        if taps % 2 != 1:
            raise ValueError(f"taps must be odd to keep the length, got {taps}")
        self.conv = nn.Conv1d(in_channels, out_channels, taps, padding=taps // 2, bias=bias)

    def forward(self, x: Tensor, mask: Tensor, then: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """[B,T,D] -> [B,T,E], padded rows zero.

        Args:
            x, mask: [B,T,D] and [B,T].
            then: what follows at every real row; nobody else holds them, so it may work in place (`torch.relu_`).
        """
        taps = self.conv.kernel_size[0]
        rows = pack(x, mask) if taps == 1 else _windows(x, mask, taps)
        weight = self.conv.weight.transpose(1, 2).flatten(1)
        made = F.linear(rows, weight, self.conv.bias)
        return unpack(made if then is None else then(made), mask)


def _windows(x: Tensor, mask: Tensor, taps: int) -> Tensor:
    """[N,taps*D] the `taps` rows around each of the N real rows of `x` [B,T,D], zeros beyond a video's ends."""
    index, outside = packing_of(mask).windows(taps)
    rows = x.flatten(0, 1).index_select(0, index)
    rows.index_fill_(0, outside, 0.0)
    return rows.reshape(-1, taps * x.shape[-1])


def tap_projections(x: Tensor, weight: Tensor) -> Tensor:
    """Every tap of a temporal convolution applied to every snippet: [...,D], (E,D,3) -> [...,3E] (tap-major).

    There is no bias: padding, which is zero, stays zero. `shifted_sum` of it is the convolution, as matrix products:
    they run at full speed over three positions too, where a convolution's backward pass does not.
    """
    return F.linear(x, weight.permute(2, 0, 1).reshape(-1, weight.shape[1]))


class _ShiftedSum(torch.autograd.Function):
    """`shifted_sum` with a backward pass that writes the 3E wide gradient once (slicing would zero-fill it thrice)."""

    @staticmethod
    def forward(ctx: Any, taps: Tensor) -> Tensor:
        before, own, after = taps.chunk(3, dim=-1)
        total = own.clone()
        total[..., 1:, :] += before[..., :-1, :]
        total[..., :-1, :] += after[..., 1:, :]
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        before, after = torch.zeros_like(gradient), torch.zeros_like(gradient)
        before[..., :-1, :] = gradient[..., 1:, :]
        after[..., 1:, :] = gradient[..., :-1, :]
        return torch.cat([before, gradient, after], dim=-1)


def shifted_sum(taps: Tensor) -> Tensor:
    """Sum tap projections [...,T,3E] where a zero-padded kernel of 3 puts them: [...,T,E].

    Tap 0 multiplies the snippet before, tap 2 the one after.
    """
    return _ShiftedSum.apply(taps)
