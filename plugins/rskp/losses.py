"""RSKP's own losses, one video's mean each: attention contrast and the distillation of the walked branches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import masked_mean, topk_count, topk_mean
from wtal_bench.options import at_least, positive


class AttentionContrast(Loss):
    """Mean of the k lowest attentions minus mean of the k highest, k = max(T // 8, 1) (Eq. 11 of the README).

    Reads `attention` [B,T]; gives `contrast`, 0 for a video of one snippet.

    Args:
        divisor: 8.
    """

    requires = ("attention",)

    def __init__(self, divisor: int = 8) -> None:
        self.divisor = at_least("divisor", divisor, 1, whole=True)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"contrast": 0-d}."""
        attention, count = outputs["attention"], topk_count(batch.mask, divisor=self.divisor)
        lowest, highest = -topk_mean(-attention, batch.mask, count), topk_mean(attention, batch.mask, count)
        return {"contrast": (lowest - highest).mean()}


class Distillation(Loss):
    """Snippet-wise distillation of a walked branch into the plain one (Eq. 12 of the README).

    -mean over videos and snippets of sum over C+1 of softmax(teacher / tau) log softmax(student / tau), without the
    factor tau^2. Reads `cas` [B,T,C+1] (student) and `teacher_logits` [B,T,C+1], detached; gives `distillation`.

    Args:
        temperature: tau (0.2).
    """

    requires = ("cas", "teacher_logits")

    def __init__(self, temperature: float = 0.2) -> None:
        self.temperature = positive("temperature", temperature)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"distillation": 0-d}."""
        target = torch.softmax(outputs["teacher_logits"].detach() / self.temperature, dim=-1)
        terms = -(target * F.log_softmax(outputs["cas"] / self.temperature, dim=-1)).sum(dim=-1)
        return {"distillation": masked_mean(terms, batch.mask).mean()}
