"""BM's own losses: attention guided by the classifier's own snippets, and the clusters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import full_precision, masked_mean, packing_of, zero_padding
from wtal_bench.options import at_least, choose


class Guide(Loss):
    """mean over videos and their snippets of |l - g_fg| + |l - g_bg|; gives `guide`. Only l, the attention, learns.

    The snippets' class scores, softmax over C+1 columns of `cas`, are smoothed along time: s. g_fg(t) = max over the
    video's classes of s, g_bg(t) = 1 - s of background. Between the two targets the pair is flat, so only an attention
    outside of the band is pushed. A video without a tag has g_fg = 0.

    Args:
        sigma: width of the normalised Gaussian in snippets, radius int(4 sigma + 0.5), edges mirrored with the edge
            sample repeated; 0 = no smoothing.
        foreground: "max", or "sum" over the video's classes.
        bias: whether the classifier's bias enters the class scores (`cas` comes without it).
    """

    needs = ("labels",)

    def __init__(self, sigma: float = 1.0, foreground: str = "max", bias: bool = False) -> None:
        self.sigma = at_least("sigma", sigma, 0)
        self.foreground, self.bias = choose("foreground", foreground, ("max", "sum")), bool(bias)
        self.requires = ("attention", "cas", *(("class_bias",) if self.bias else ()))

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"guide": 0-d}."""
        attention = full_precision(outputs["attention"])
        _, foreground, background = self.targets(outputs, batch)
        gap = (attention - foreground).abs() + (attention - background).abs()
        return {"guide": masked_mean(gap, batch.mask).mean()}

    @torch.no_grad()
    def targets(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """s [B,T,C+1], g_fg [B,T], g_bg [B,T]."""
        scores = smoothed(self.scores(outputs), batch.mask, self.sigma)
        tagged = scores[..., :-1] * (batch.labels > 0).unsqueeze(1)
        foreground = tagged.amax(dim=-1) if self.foreground == "max" else tagged.sum(dim=-1)
        return scores, foreground, 1 - scores[..., -1]

    def scores(self, outputs: Outputs) -> Tensor:
        """The class scores of the snippets before smoothing: [B,T,C+1]."""
        logits = full_precision(outputs["cas"]).detach()
        return torch.softmax(logits + outputs["class_bias"].detach() if self.bias else logits, dim=-1)


class Clustering(Loss):
    """mean_b softplus(-gap_fg) + mean_b softplus(-gap_bg): a logistic on each pooled feature. Gives `cluster`."""

    requires = ("foreground_gap", "background_gap")

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """gaps [B] -> {"cluster": 0-d}."""
        return {"cluster": sum(F.softplus(-full_precision(outputs[name])).mean() for name in self.requires)}


def smoothed(x: Tensor, mask: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing of x [B,T,K] along time; every video is mirrored at its own ends, as often as it takes."""
    if sigma == 0:
        return x
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, device=x.device)
    weights = torch.exp(-0.5 * (offsets.to(x.dtype) / sigma) ** 2)
    weights = weights / weights.sum()
    length = packing_of(mask).counts.unsqueeze(1)
    place = torch.arange(x.shape[1], device=x.device).unsqueeze(0)
    total = torch.zeros_like(x)
    for offset, weight in zip(range(-radius, radius + 1), weights.unbind(), strict=True):
        index = (place + offset) % (2 * length)  # period 2T: forwards, then backwards
        index = torch.minimum(index, 2 * length - 1 - index).clamp(min=0)
        total = total + weight * x.gather(1, index.unsqueeze(-1).expand_as(x))
    return zero_padding(total, mask)
