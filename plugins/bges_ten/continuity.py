"""TEN: a second look at a video in which neighbouring snippets are one, and two looks that must agree (Eq. 6, 7).

Works with any host: the view resamples the features, the model runs both looks in one batched forward, and the losses
compare a field with the same field of the view.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.errors import ConfigError, DataError
from wtal_bench.interfaces import Batch, Loss, Outputs, View
from wtal_bench.modeling.blocks import full_precision, masked_mean, packing_of, uniform, zero_padding
from wtal_bench.options import at_least, choose, positive

TAILS = ("short", "merge", "drop")
PADS = ("replicate", "zero", "reflect")
DISTANCES = {"mae": torch.abs, "mse": torch.square}


# ---- the view: input of the temporal continuity branch (TCB) ----


def repeat_index(lengths: Tensor, picks: Tensor, snippets: int, k: int, tail: str = "short") -> Tensor:
    """Which snippet stands at each position of X^R: one pick per segment of k snippets, repeated over the segment.

    A pick u in [0, 1) chooses the snippet start + floor(u * length) of its segment. Where T is no multiple of k,
    `tail` says what becomes of the rest: "short" = a shorter last segment; "merge" = part of the segment before it,
    whose pick then ranges over both; "drop" = no candidate itself, it repeats the last pick. T < k is one segment.

    Args:
        lengths: [B] int64, real snippets T of each video.
        picks: [B,S] float64, in the order of the segments; the first ceil(T/k) ("short") or max(1, floor(T/k)) of a
            video count.
        snippets: padded length.
        k: snippets per segment.
        tail: see above.

    Returns:
        [B,snippets] int64; under padding some snippet of the video.
    """
    lengths = lengths.unsqueeze(1)
    segment = torch.arange(snippets, device=lengths.device).unsqueeze(0) // k
    count = (lengths + k - 1) // k if tail == "short" else (lengths // k).clamp(min=1)
    segment = segment.minimum(count - 1)
    start = segment * k
    length = (lengths - start).clamp(max=k)
    if tail == "merge":
        length = torch.where(segment == count - 1, lengths - start, length)
    return start + torch.floor(picks.gather(1, segment) * length).long()


class SnippetRepeat(View):
    """Input of the temporal continuity branch, Sec. 3.1: X^R repeats one random snippet over every k snippets.

    One draw per video for all streams, redrawn at every step: a function of the video's own key of the step
    (`blocks.uniform`), so padding and batch mates change nothing. Short videos (T < k) are one segment.

    Args:
        k: snippets per segment (Table 6).
        tail: see `repeat_index`.
    """

    def __init__(self, k: int = 4, tail: str = "short") -> None:
        self.k = at_least("k", k, 1, whole=True)
        self.tail = choose("tail", tail, TAILS)

    def __call__(self, batch: Batch) -> Batch:
        """The same videos with snippets repeated."""
        count, snippets = batch.mask.shape
        index = repeat_index(batch.lengths, self.picks(batch), snippets, self.k, self.tail)
        rows = (index + snippets * torch.arange(count, device=index.device).unsqueeze(1)).flatten()

        def repeated(x: Tensor) -> Tensor:
            return zero_padding(x.flatten(0, 1).index_select(0, rows).reshape(x.shape), batch.mask)

        return replace(batch, features=repeated(batch.features), snippet_index=repeated(batch.snippet_index))

    def picks(self, batch: Batch) -> Tensor:
        """[B,ceil(T/k)] float64, uniform in [0, 1)."""
        return uniform(batch, -(-batch.mask.shape[1] // self.k))


# ---- consistency of the two looks ----


def smooth(x: Tensor, mask: Tensor, size: int = 5, sigma: float = 1.0, pad: str = "replicate") -> Tensor:
    """G of Eq. (6): Gaussian mean over time inside each video, taps exp(-j^2 / (2 sigma^2)) normalised to sum 1.

    Args:
        x: [B,T].
        mask: [B,T].
        size, sigma: number of taps (odd) and standard deviation in snippets.
        pad: beyond a video's own ends: "replicate" the end snippet, "zero" (not renormalised), or "reflect" (the end
            snippet is not repeated; needs T > size // 2).

    Returns:
        [B,T], zero under padding.
    """
    offset = torch.arange(size, device=x.device) - size // 2
    weight = torch.exp(-offset.to(x.dtype).square() / (2 * sigma**2))
    last = packing_of(mask).counts.reshape(-1, 1, 1) - 1
    position = torch.arange(x.shape[1], device=x.device).reshape(1, -1, 1) + offset
    inside = (position >= 0) & (position <= last)
    if pad == "reflect":
        position = last - (last - position.abs()).abs()
    index = position.clamp(min=0).minimum(last).expand_as(inside)
    values = x.gather(1, index.flatten(1)).reshape(index.shape)
    if pad == "zero":
        values = values.masked_fill(~inside, 0.0)
    return zero_padding((values * (weight / weight.sum())).sum(dim=-1), mask)


class AttentionConsistency(Loss):
    """L_att of Eq. (6): mean over snippets of |a_i - G(a^R_i)| + |a^R_i - G(a_i)|; gives `att`.

    Reads the attention [B,T] of the video and of a view named `tcb`.

    Args:
        distance: "mae" as in Eq. (6), or "mse": squares (Table 5).
        size, sigma, pad: of G, see `smooth`; the paper gives none. size=1 smooths nothing.
        detach_target: no gradient through the smoothed terms.

    Raises:
        ConfigError: an even `size` or a `sigma` that is not positive.
        DataError: a video too short to be reflected.
    """

    requires = ("attention", "tcb.attention")

    def __init__(
        self,
        distance: str = "mae",
        size: int = 5,
        sigma: float = 1.0,
        pad: str = "replicate",
        detach_target: bool = False,
    ) -> None:
        self.distance = DISTANCES[choose("distance", distance, DISTANCES)]
        if at_least("size", size, 1, whole=True) % 2 == 0:
            raise ConfigError(f"size={size} must be odd: a Gaussian over time is centred on its snippet.")
        self.size, self.sigma, self.pad = size, positive("sigma", sigma), choose("pad", pad, PADS)
        self.detach_target = detach_target

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"att": 0-d}."""
        self._check_lengths(batch)
        one, other = full_precision(outputs["attention"]), full_precision(outputs["tcb.attention"])
        distance = self.distance(one - self._target(other, batch)) + self.distance(other - self._target(one, batch))
        return {"att": masked_mean(distance, batch.mask).mean()}

    def _target(self, x: Tensor, batch: Batch) -> Tensor:
        target = smooth(x, batch.mask, self.size, self.sigma, self.pad)
        return target.detach() if self.detach_target else target

    def _check_lengths(self, batch: Batch) -> None:
        half, lengths = self.size // 2, batch.packing.lengths
        if self.pad == "reflect" and batch.packing.shortest <= half:
            row = lengths.index(min(lengths))
            raise DataError(
                f"video {batch.meta[row].id!r} has {lengths[row]} snippets; pad='reflect' with "
                f"size={self.size} needs at least {half + 1}. Use pad='replicate' or 'zero', or a longer train.length."
            )


class CASConsistency(Loss):
    """Consistency of the class activation sequences, Eq. (7); gives `cas`.

    distance="kl": mean over snippets of KL(p^R || p) + KL(p || p^R) with p = softmax over all classes, background
    included. "mae", "mse" (Table 5): mean over snippets and classes of d(p, q) + d(q, p), i.e. twice the plain one.
    Reads the CAS [B,T,K] of the video and of a view named `tcb`.

    Args:
        distance: "kl", "mae" or "mse".
        space: where "mae" and "mse" compare: "prob" (after the softmax) or "logit"; KL always compares distributions.
        temperature: of the softmax of "kl", whose value is multiplied by its square.
        detach_target: each of the two terms sends gradient to one side alone: KL(stop p || q) + KL(stop q || p).
    """

    requires = ("cas", "tcb.cas")

    def __init__(
        self, distance: str = "kl", space: str = "prob", temperature: float = 1.0, detach_target: bool = False
    ) -> None:
        self.distance = choose("distance", distance, ("kl", *DISTANCES))
        self.space = choose("space", space, ("prob", "logit"))
        self.temperature, self.detach_target = positive("temperature", temperature), detach_target

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"cas": 0-d}."""
        one, other = full_precision(outputs["cas"]), full_precision(outputs["tcb.cas"])
        if self.distance == "kl":
            one, other = (F.log_softmax(x / self.temperature, dim=-1) for x in (one, other))
        elif self.space == "prob":
            one, other = one.softmax(dim=-1), other.softmax(dim=-1)
        distance = self._towards(one, other) + self._towards(other, one)
        return {"cas": masked_mean(distance, batch.mask).mean()}

    def _towards(self, target: Tensor, x: Tensor) -> Tensor:
        target = target.detach() if self.detach_target else target
        if self.distance == "kl":
            return (target.exp() * (target - x)).sum(dim=-1) * self.temperature**2
        return DISTANCES[self.distance](x - target).mean(dim=-1)
