"""UM's use of feature magnitudes: a curve at test, two sets of snippets in training (authors' code, `model.py`).

k_act = max(1, T // r_act) and k_bkg = max(1, T // r_bkg) of a video's own T, g_t = |X_t|.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import full_precision, masked_max, top_snippets, topk_count, topk_mean, zero_padding
from wtal_bench.options import at_least


class Magnitude(nn.Module, Head):
    """`magnitude` g [B,T], and two curves of it in 0..1: `attention` and `actionness`, all zero under padding.

    `attention` = clip((g - lo) / (hi - lo), 0, 1), with hi the mean of the k_act largest and lo the mean of the k_bkg
    smallest magnitudes of the video; where hi <= lo it is divided by 1. It is what the method localizes with.
    `actionness` = g / max_t g, which ranks snippets without the ties of the clip.

    Args:
        r_act, r_bkg: divisors of T.
    """

    requires = ("embedding",)
    provides = ("magnitude", "attention", "actionness")

    def __init__(self, r_act: int = 9, r_bkg: int = 4) -> None:
        super().__init__()
        self.r_act = at_least("r_act", r_act, 1, whole=True)
        self.r_bkg = at_least("r_bkg", r_bkg, 1, whole=True)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E] -> fields."""
        mask = batch.mask
        g = zero_padding(full_precision(outputs["embedding"]).norm(dim=-1), mask)
        high = topk_mean(g, mask, topk_count(mask, divisor=self.r_act)).unsqueeze(1)
        low = -topk_mean(-g, mask, topk_count(mask, divisor=self.r_bkg)).unsqueeze(1)
        attention = ((g - low) / _or_one(high - low)).clamp(0, 1)
        actionness = g / _or_one(masked_max(g, mask).unsqueeze(1))
        return {"magnitude": g, "attention": zero_padding(attention, mask), "actionness": actionness}


class Selection(nn.Module, Head):
    """The action and the background snippets of training, chosen by magnitude; the choice has no gradient.

    With s_t = 0 or 1 / (1 - p), drawn once a forward pass in training and 1 otherwise, the action set holds the k_act
    largest g s, the background set the k_bkg largest (max_t g - g) s; of equal ones (zeros, where few snippets survive)
    the earliest. The **same** s for both: about half of the published action snippets are background snippets too.

    - `action_feature`, `background_feature` [B,E]: means of X over the sets.
    - `background_logits` [B,C]: mean of S over the background set.

    Args:
        r_act, r_bkg: divisors of T.
        dropout: p.
    """

    requires = ("embedding", "cas", "magnitude")
    provides = ("action_feature", "background_feature", "background_logits")
    video_level = provides

    def __init__(self, r_act: int = 9, r_bkg: int = 4, dropout: float = 0.7) -> None:
        super().__init__()
        self.r_act = at_least("r_act", r_act, 1, whole=True)
        self.r_bkg = at_least("r_bkg", r_bkg, 1, whole=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """X [B,T,E], S [B,T,C], g [B,T] -> fields."""
        x, cas = (zero_padding(full_precision(outputs[name]), batch.mask) for name in ("embedding", "cas"))
        sets = torch.stack(self.sets(outputs["magnitude"], batch.mask), dim=1).to(x.dtype)
        sets = sets / sets.sum(dim=2, keepdim=True)
        features = sets @ x
        return {
            "action_feature": features[:, 0],
            "background_feature": features[:, 1],
            "background_logits": (sets[:, 1:] @ cas).squeeze(1),
        }

    def sets(self, magnitude: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The action and the background snippets [B,T] bool."""
        act, background = self.rankings(magnitude, mask)
        return (
            top_snippets(act, mask, topk_count(mask, divisor=self.r_act)),
            top_snippets(background, mask, topk_count(mask, divisor=self.r_bkg)),
        )

    def rankings(self, magnitude: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What the two sets are the largest of: [B,T] each."""
        g = magnitude.detach()
        survives = self.survivors(g)
        return g * survives, (masked_max(g, mask).unsqueeze(1) - g) * survives

    def survivors(self, magnitude: Tensor) -> Tensor:
        """s [B,T]."""
        return self.dropout(torch.ones_like(magnitude))


def _or_one(span: Tensor) -> Tensor:
    return torch.where(span > 0, span, torch.ones_like(span))
