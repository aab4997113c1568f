"""Heads that several methods share."""

from __future__ import annotations

from torch import Tensor, nn

from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import topk_count, topk_mean
from wtal_bench.options import at_least, choose


class TopKMean(nn.Module, Head):
    """`video_logits` [B,K]: of every column of `cas` [B,T,K] the mean of its own k largest values over time.

    The pooling of multiple instance learning. k = T // divisor of a video's own T, and at least 1: a video shorter than
    the divisor gives its largest value. Map other fields with `reads` and `writes`.

    Args:
        divisor: of T; need not be whole.
        rounding: "floor" (T // divisor) or "ceil".
    """

    requires = ("cas",)
    provides = ("video_logits",)
    video_level = ("video_logits",)

    def __init__(self, divisor: float, rounding: str = "floor") -> None:
        super().__init__()
        self.divisor = at_least("divisor", divisor, 1)
        self.rounding = choose("rounding", rounding, ("floor", "ceil"))

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,K] -> fields."""
        return {"video_logits": topk_mean(outputs["cas"], batch.mask, self.count(batch.mask))}

    def count(self, mask: Tensor) -> Tensor:
        """k of every video: [B] int64."""
        if self.rounding == "floor":
            return topk_count(mask, divisor=self.divisor)
        return -(-mask.sum(dim=1).double() // self.divisor).long()
