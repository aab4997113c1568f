"""Hybrid attention and the three branches that read it: CW (Eq. 2-5), CA (Eq. 9-11), MIL (Eq. 13).

Every branch gives `video_logits` [B,K] and takes what it needs from named fields, so that each runs without the
others. H temperatures, K = C+1 columns with a background class, else C.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import masked_softmax
from wtal_plugins.fac_net.classifiers import cosine


class Temperatures(nn.Module):
    """Softmax over time at H temperatures, Sec. 3.5: scores [B,T,...] -> weights [B,T,H,...], zero under padding.

    Args:
        temperatures: tau, one a head; the scores carry delta already, so delta * tau multiplies the cosine.

    Raises:
        ConfigError: no temperature, or one that is not positive.
    """

    def __init__(self, temperatures: Sequence[float]) -> None:
        super().__init__()
        if not temperatures or not all(tau > 0 for tau in temperatures):
            raise ConfigError(f"temperatures must be a list of positive numbers, e.g. (1.0, 2.0, 5.0); got {temperatures}.")
        # float64, so that a temperature is the config's number whatever the precision of the model
        self.register_buffer("tau", torch.tensor(list(temperatures), dtype=torch.float64), persistent=False)

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """[B,T,...], [B,T] -> [B,T,H,...]."""
        tau = self.tau.to(scores.dtype).reshape(-1, *(1,) * (scores.dim() - 2))
        return masked_softmax(scores.unsqueeze(2) * tau, mask)


class HybridAttention(nn.Module, Head):
    """Several attentions over time, Eq. (2), (9) and Sec. 3.5.

    A_a = softmax over t of tau S_a: `class_attention` [B,T,H,K]; A_f = softmax over t of tau S_f:
    `foreground_attention` [B,T,H].

    Args:
        temperatures: tau of the H heads; (1.0,) is "no hybrid attention" (Table 3).
    """

    requires = ("cas", "foreground_scores")
    provides = ("class_attention", "foreground_attention")

    def __init__(self, temperatures: Sequence[float] = (1.0, 2.0, 5.0)) -> None:
        super().__init__()
        self.attend = Temperatures(temperatures)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,K], [B,T] -> fields."""
        return {
            "class_attention": self.attend(outputs["cas"], batch.mask),
            "foreground_attention": self.attend(outputs["foreground_scores"], batch.mask),
        }


def pooled(x: Tensor, attention: Tensor) -> Tensor:
    """sum_t attention(t) x(t), Eq. (3) and (10): [B,T,D] and [B,T,...] (zero under padding) -> [B,...,D]."""
    features = attention.flatten(2).transpose(1, 2) @ x
    return features.reshape(len(x), *attention.shape[2:], x.shape[-1])


def class_wise_logits(x: Tensor, class_attention: Tensor, foreground_weights: Tensor, scale: float) -> Tensor:
    """Eq. (3)-(4): scale * mean over tau of cos(F_a(j), W_f), F_a of the un-normalised X. [B,K]."""
    return scale * cosine(pooled(x, class_attention), foreground_weights).squeeze(-1).mean(dim=1)


def class_agnostic_logits(x: Tensor, foreground_attention: Tensor, class_weights: Tensor, scale: float) -> Tensor:
    """Eq. (10)-(11): scale * mean over tau of cos(F_f, W_a(j)). [B,K]."""
    return scale * cosine(pooled(x, foreground_attention), class_weights).mean(dim=1)


class Branch(nn.Module, Head):
    """What the branches share.

    Args:
        delta: scale of the cosines.
        video_scale_multiplier: m, a second factor of the video logits: 2.0 (authors' code), 1.0 (paper).
    """

    provides = ("video_logits",)
    video_level = ("video_logits",)

    def __init__(self, delta: float = 5.0, video_scale_multiplier: float = 2.0) -> None:
        super().__init__()
        self.delta, self.multiplier = delta, video_scale_multiplier


class ClassWise(Branch):
    """Class-wise foreground classification branch (CW), Sec. 3.2: which classes' features are foreground?

    F_a(j) = sum_t A_a(t,j) X(t) (Eq. 3); `video_logits` R_a(j) = m delta mean over tau of cos(F_a(j), W_f) (Eq. 4),
    [B,K]. Eq. (5)-(6) are `fac_net.TagCrossEntropy` on them.

    Args:
        delta, video_scale_multiplier: see `Branch`.
    """

    requires = ("embedding", "class_attention", "foreground_weights")

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """X [B,T,D], A_a [B,T,H,K], W_f [1,D] -> [B,K]."""
        x, attention, weights = (outputs[name] for name in self.requires)
        return {"video_logits": class_wise_logits(x, attention, weights, self.multiplier * self.delta)}


class ClassAgnostic(Branch):
    """Class-agnostic attention branch (CA), Sec. 3.3: which class is the foreground feature?

    F_f = sum_t A_f(t) X(t) (Eq. 10); `video_logits` = m delta mean over tau of cos(F_f, W_a(j)) (Eq. 11), [B,K]. Their
    softmax is the video's class score at test.

    Args:
        delta, video_scale_multiplier: see `Branch`.
    """

    requires = ("embedding", "foreground_attention", "class_weights")

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """X [B,T,D], A_f [B,T,H], W_a [K,D] -> [B,K]."""
        x, attention, weights = (outputs[name] for name in self.requires)
        return {"video_logits": class_agnostic_logits(x, attention, weights, self.multiplier * self.delta)}


class MultipleInstance(Branch):
    """Multiple instance learning branch (MIL), Sec. 3.4: which classes occur?

    `video_logits` = m mean over tau of sum_t A_a(t,j) S_a(t,j) (Eq. 13), [B,K]; A_a is the CW branch's, S_a carries
    delta already.

    Args:
        video_scale_multiplier: see `Branch`.
    """

    requires = ("cas", "class_attention")

    def __init__(self, video_scale_multiplier: float = 2.0) -> None:
        super().__init__(video_scale_multiplier=video_scale_multiplier)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """S_a [B,T,K], A_a [B,T,H,K] -> [B,K]."""
        scores = (outputs["class_attention"] * outputs["cas"].unsqueeze(2)).sum(dim=1)
        return {"video_logits": self.multiplier * scores.mean(dim=1)}
