"""ECM's two consistency losses. The classification losses are the core's `VideoCrossEntropy`, once per stream."""

from __future__ import annotations

import torch
from torch import Tensor

from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import binary_cross_entropy
from wtal_bench.options import choose


class ScoreConsistency(Loss):
    """L_c2c: mean over videos and classes of (s^e - s^o)^2.

    Args:
        space: "logit" (released code), "softmax" or "sigmoid": where the scores are compared.
    """

    requires = ("video_logits", "post_logits")

    def __init__(self, space: str = "logit") -> None:
        self.space = choose("space", space, ("logit", "softmax", "sigmoid"))

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"c2c": 0-d}."""
        pre, post = outputs["video_logits"], outputs["post_logits"]
        if self.space == "softmax":
            pre, post = torch.softmax(pre, dim=1), torch.softmax(post, dim=1)
        elif self.space == "sigmoid":
            pre, post = torch.sigmoid(pre), torch.sigmoid(post)
        return {"c2c": (pre - post).square().mean()}


class AggregationConsistency(Loss):
    """L_a2c, Eq. (4): for every present class, presence probability towards 1 and absence probability towards 0.

    The released code takes the framework's binary cross-entropy on the 2k probabilities of a video's k present
    classes. Its clamps matter: the unnormalised sums of the post stream saturate the softmax (see
    `blocks.binary_cross_entropy`).

    Args:
        prob: "softmax_2c" (released code: one softmax over presence and absence scores together), "softmax_c" (one
            softmax each) or "sigmoid".
    """

    requires = ("post_logits", "absence_logits")
    needs = ("labels",)

    def __init__(self, prob: str = "softmax_2c") -> None:
        self.prob = choose("prob", prob, ("softmax_2c", "softmax_c", "sigmoid"))

    def probabilities(self, present: Tensor, absent: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [B,C] each -> probabilities [B,C] each."""
        if self.prob == "sigmoid":
            return torch.sigmoid(present), torch.sigmoid(absent)
        if self.prob == "softmax_c":
            return torch.softmax(present, dim=1), torch.softmax(absent, dim=1)
        return tuple(torch.softmax(torch.cat([present, absent], dim=1), dim=1).chunk(2, dim=1))

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"a2c": 0-d}."""
        present, absent = self.probabilities(outputs["post_logits"], outputs["absence_logits"])
        terms = binary_cross_entropy(present, torch.ones_like(present))
        terms = terms + binary_cross_entropy(absent, torch.zeros_like(absent))
        labels = batch.labels.to(terms.dtype)
        count = 2 * labels.sum(dim=1).clamp(min=1)
        return {"a2c": ((terms * labels).sum(dim=1) / count).mean()}
