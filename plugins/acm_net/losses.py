"""ACM-Net's own losses (authors' code, `utils/net_utils.py: ACMLoss`), each a mean over the videos of the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import full_precision, zero_padding


class Guide(Loss):
    """mean_b sum_t |1 - softmax(W_inst[t])_background - A_inst[t]|, no gradient to the attention. Gives `guide`.

    A sum over time, not a mean: its size grows with T.
    """

    requires = ("cas", "attention")

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Reads W_inst [B,T,C+1] and A_inst [B,T]; returns {"guide": 0-d}."""
        action = 1 - torch.softmax(full_precision(outputs["cas"]), dim=-1)[..., -1]
        gap = (action - outputs["attention"].detach()).abs()
        return {"guide": zero_padding(gap, batch.mask).sum(dim=1).mean()}


class FeatureSeparation(Loss):
    """mean_b (h(m - |f_inst| + |f_cont|) + h(m - |f_cont| + |f_back|) + |f_back|)^2, L2 norms. Gives `feat`.

    h(x) = max(0, x), whose gradient at exactly 0 is 1.

    Args:
        margin: m.
    """

    requires = ("branch_features",)

    def __init__(self, margin: float = 50.0) -> None:
        self.margin = margin

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Reads f [B,3,E]; returns {"feat": 0-d}."""
        instance, context, background = full_precision(outputs["branch_features"]).norm(dim=-1).unbind(dim=1)
        # clamp lets the gradient pass at exactly 0, relu does not
        total = (self.margin - instance + context).clamp(min=0) + (self.margin - context + background).clamp(min=0)
        return {"feat": (total + background).square().mean()}


class Sparsity(Loss):
    """Sum over time of A_inst and of A_cont, mean over the batch and the two branches. Gives `sparse`."""

    requires = ("branch_attention",)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Reads A [B,T,3]; returns {"sparse": 0-d}."""
        attention = zero_padding(full_precision(outputs["branch_attention"])[..., :2], batch.mask)
        return {"sparse": attention.sum(dim=1).mean()}
