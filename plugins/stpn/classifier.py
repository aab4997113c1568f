"""STPN's classifier: of the video as its attention pools it, and of every snippet by the same weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import attention_pool, packing_of, per_snippet, xavier
from wtal_bench.options import choose

POOLINGS = ("mean", "sum", "norm")


class Classifier(nn.Module, Head):
    """`video_logits` [B,C] = W xbar + b of the pooled video, and the T-CAM `cas` [B,T,C] = E W^T, without b.

    With l the attention and T a video's own snippets, xbar [B,E] = sum_t l_t E_t, divided as `pool` says. `pooled` is
    xbar, `class_weights` [C,E] is W. There is no background class.

    Args:
        channels, num_classes: E and C.
        pool: "mean" divides by T, "sum" by nothing, "norm" by sum_t l_t + eps.
        eps: of "norm".
        init: "xavier" (uniform weights, b = 0: what the reproduction's framework does), or "framework" (torch's).
    """

    requires = ("embedding", "attention")
    provides = ("video_logits", "pooled", "cas", "class_weights")
    video_level = ("video_logits", "pooled")
    shared = ("class_weights",)

    def __init__(
        self, channels: int, num_classes: int, pool: str = "mean", eps: float = 1e-8, init: str = "xavier"
    ) -> None:
        super().__init__()
        self.pool, self.eps = choose("pool", pool, POOLINGS), eps
        self.cls = nn.Linear(channels, num_classes)
        if choose("init", init, ("xavier", "framework")) == "xavier":
            xavier(self.cls)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E], [B,T] -> fields."""
        x, attention, weight = outputs["embedding"], outputs["attention"], self.cls.weight
        pooled = attention_pool(x, attention, batch.mask) / self._divisor(attention, batch.mask)
        cas = per_snippet(lambda rows: F.linear(rows, weight), x, batch.mask)
        return {"video_logits": self.cls(pooled), "pooled": pooled, "cas": cas, "class_weights": weight}

    def _divisor(self, attention: Tensor, mask: Tensor) -> Tensor | float:
        if self.pool == "mean":
            return packing_of(mask).counts.unsqueeze(1)
        if self.pool == "sum":
            return 1.0
        return torch.where(mask, attention, 0.0).sum(dim=1, keepdim=True) + self.eps
