"""What is foreground and what is background in a video: L_fg, L_bg with BGES or GRL, BVL (Eq. 4, 5, 10, 13).

y [B,T,C+1] are CAS logits with background last, a [B,T] is an attention in 0..1; every sum runs over a video's own
snippets. N_f = sum a, N_b = sum (1 - a).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Head, Loss, Outputs
from wtal_bench.modeling.blocks import full_precision, masked_mean, zero_padding
from wtal_bench.options import at_least, choose

GUARD = 1e-8
"""Added to N_f and N_b: attention that is 0 (or 1) everywhere gives 0 / GUARD = 0 where the numerator vanishes."""

NORMS = ("nf", "nb", "nf_const")


def foreground_logits(cas: Tensor, attention: Tensor, mask: Tensor, eps: float = GUARD) -> Tensor:
    """z_fg = sum_i a_i y_i / (N_f + eps), Eq. (4): y [B,T,K], a [B,T] -> [B,K]."""
    weight = zero_padding(full_precision(attention), mask)
    return _pooled(full_precision(cas), weight, weight.sum(dim=1) + eps)


def background_logits(cas: Tensor, attention: Tensor, mask: Tensor, norm: str = "nf", eps: float = GUARD) -> Tensor:
    """z_bg = sum_i (1 - a_i) y_i / (N + eps), Eq. (4): y [B,T,C+1], a [B,T] -> [B,C+1].

    Args:
        cas, attention, mask: see above.
        norm: N. "nb": N_b, the baseline; "nf": N_f, which is BGES (Eq. 13): the gradient flows through it; "nf_const":
            the values of "nf" with N_f held constant.
        eps: guard.
    """
    attention = full_precision(attention)
    weight = zero_padding(1 - attention, mask)
    total = (weight if norm == "nb" else zero_padding(attention, mask)).sum(dim=1)
    return _pooled(full_precision(cas), weight, (total.detach() if norm == "nf_const" else total) + eps)


def _pooled(cas: Tensor, weight: Tensor, total: Tensor) -> Tensor:
    # not a matrix product, which autocast would turn into bf16
    return (weight.unsqueeze(-1) * cas).sum(dim=1) / total.unsqueeze(-1)


def reverse_gradient(x: Tensor, factor: float) -> Tensor:
    """`x` as it is; the gradient that comes back is multiplied by -factor (GRL)."""
    return x.detach() - factor * (x - x.detach())


class VideoScore(nn.Module, Head):
    """`video_logits` z_fg [B,C+1], Eq. (4): the mean of the CAS weighted by the attention. P_fg is its softmax.

    Args:
        eps: added to the denominator.
    """

    requires = ("cas", "attention")
    provides = ("video_logits",)
    video_level = ("video_logits",)

    def __init__(self, eps: float = GUARD) -> None:
        super().__init__()
        self.eps = at_least("eps", eps, 0)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """CAS [B,T,C+1], attention [B,T] -> [B,C+1]."""
        return {"video_logits": foreground_logits(outputs["cas"], outputs["attention"], batch.mask, self.eps)}


class OnBackground(Loss):
    """What the losses on the background class share: the labels say how many action classes there are."""

    needs = ("labels",)

    def cas(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The CAS [B,T,C+1].

        Raises:
            ConfigError: it has no background column.
        """
        cas, classes = outputs["cas"], batch.labels.shape[1]
        if cas.shape[-1] != classes + 1:
            raise ConfigError(
                f"{type(self).__name__} needs a CAS with a background class after the {classes} action classes, but "
                f"`cas` has {cas.shape[-1]} columns. Give the host a background class, or map another field with "
                "reads=dict(cas='<field>')."
            )
        return cas


class BackgroundLoss(OnBackground):
    """L_bg = -log P_bg,C+1 (Eq. 5), for any host with a CAS with background and an attention; gives `bg`.

    BGES is norm="nf" (Eq. 13): N_b -> N_f in z_bg, forward and backward. For the gradient see
    `wtal_plugins.bges_ten.gradient`.

    Args:
        norm: see `background_logits`.
        grl: 0 = off; g > 0 multiplies whatever gradient L_bg sends to the attention by -g (GRL, Table 4).
        eps: added to the denominator.
    """

    requires = ("cas", "attention")

    def __init__(self, norm: str = "nf", grl: float = 0.0, eps: float = GUARD) -> None:
        self.norm = choose("norm", norm, NORMS)
        self.grl = at_least("grl", grl, 0)
        self.eps = at_least("eps", eps, 0)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"bg": 0-d}."""
        attention = outputs["attention"]
        if self.grl:
            attention = reverse_gradient(attention, self.grl)
        logits = background_logits(self.cas(outputs, batch), attention, batch.mask, self.norm, self.eps)
        return {"bg": -F.log_softmax(logits, dim=1)[:, -1].mean()}


class WholeVideoBackground(OnBackground):
    """BVL, L^v_bg = -log softmax(mean_i y_i)_C+1 (Eq. 10): every snippet counts as background; gives `bvl`."""

    requires = ("cas",)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"bvl": 0-d}."""
        logits = masked_mean(full_precision(self.cas(outputs, batch)), batch.mask)
        return {"bvl": -F.log_softmax(logits, dim=1)[:, -1].mean()}


class BackgroundLogit(OnBackground):
    """What BGES's argument rests on, for the log: give it weight=0. It has no gradient.

    Eq. (12) pushes towards background only where the background logit of the video is positive, which nothing
    enforces. Reports `logit` (mean of z_bg,C+1 with N = N_b; its sign is that of every N), `positive` (share of the
    videos where it is > 0) and `foreground` (mean of N_f / T: 0 or 1 means that the attention has collapsed).
    """

    requires = ("cas", "attention")

    @torch.no_grad()
    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"logit": 0-d, "positive": 0-d, "foreground": 0-d}."""
        cas, attention = self.cas(outputs, batch), full_precision(outputs["attention"])
        logit = background_logits(cas, attention, batch.mask, "nb")[:, -1]
        return {
            "logit": logit.mean(),
            "positive": (logit > 0).to(logit.dtype).mean(),
            "foreground": masked_mean(attention, batch.mask).mean(),
        }
