"""The class scores W-TALC's detector goes by (authors' code, `detectionMAP.py`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import at_most, topk_mean
from wtal_bench.options import at_least, choose


class ClassScores(nn.Module, Head):
    """`class_scores` q [B,C]: mean of each class's own T // divisor highest logits. Not normalised, used at test alone.

    Training pools ceil(T / divisor) snippets; the detector rounds down, so a video of fewer snippets than `divisor`
    pools none.

    Args:
        divisor: of T.
        short: what such a video scores. "none": 0, so that no class passes q > 0 and nothing is detected (the authors'
            mean of nothing is NaN and fails the same test); "one": its largest logit.
    """

    requires = ("cas",)
    provides = ("class_scores",)
    video_level = ("class_scores",)

    def __init__(self, divisor: int = 8, short: str = "none") -> None:
        super().__init__()
        self.divisor = at_least("divisor", divisor, 1, whole=True)
        self.short = choose("short", short, ("none", "one"))

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,C] -> fields."""
        count = batch.lengths // self.divisor
        most = at_most(count.clamp(min=1), max(1, batch.packing.longest // self.divisor))
        scores = topk_mean(outputs["cas"], batch.mask, most)
        return {"class_scores": self._without_short(scores, count) if self.short == "none" else scores}

    @staticmethod
    def _without_short(scores: Tensor, count: Tensor) -> Tensor:
        return torch.where(count.unsqueeze(1) > 0, scores, torch.zeros_like(scores))
