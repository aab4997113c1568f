"""Losses that several methods share."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import soft_cross_entropy


class VideoCrossEntropy(Loss):
    """Softmax cross-entropy of video logits with the tags divided by their number, mean over videos.

    Reads `video_logits` [B,C] or [B,C+1] and the tags [B,C]; gives `ce`. With C+1 columns the last is background.

    Args:
        background_target: 0/1 entry of the background column where the logits have one, before normalising.
    """

    requires = ("video_logits",)
    needs = ("labels",)

    def __init__(self, background_target: float = 0.0) -> None:
        self.background_target = background_target

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"ce": 0-d}."""
        logits, target = outputs["video_logits"], batch.labels
        if logits.shape[1] == target.shape[1] + 1:
            target = F.pad(target, (0, 1), value=self.background_target)
        return {"ce": soft_cross_entropy(logits, target.to(logits.dtype))}
