"""The loss of all three branches: Eq. (6), (12) and the text after (13)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from wtal_bench.interfaces import Batch, Loss, Outputs

EPSILON = 1e-8
"""Added to the number of tags; in float64 it shows in the ninth digit of the loss, and parity needs it."""


class TagCrossEntropy(Loss):
    """-mean over videos of sum_c yhat_c log softmax(logits)_c with yhat = y / (sum y + 1e-8) (Eq. 6; authors' code).

    Reads `video_logits` [B,C] or [B,C+1] (background last) and the tags [B,C]; gives `ce`. A video without any tag
    adds 0.

    Args:
        background_target: y(C+1) where there is such a column: 0 for CW and CA, 1 for MIL (background is everywhere).
    """

    requires = ("video_logits",)
    needs = ("labels",)

    def __init__(self, background_target: float = 0.0) -> None:
        self.background_target = background_target

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"ce": 0-d}."""
        logits = outputs["video_logits"]
        target = self.target(batch.labels, logits)
        return {"ce": -(target * F.log_softmax(logits, dim=1)).sum(dim=1).mean()}

    def target(self, labels: Tensor, logits: Tensor) -> Tensor:
        """yhat: tags [B,C] -> [B,K] in the type of `logits` [B,K]."""
        background = logits.shape[1] - labels.shape[1]
        y = F.pad(labels.to(logits.dtype), (0, background), value=self.background_target)
        return y / (y.sum(dim=1, keepdim=True) + EPSILON)
