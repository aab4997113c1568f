"""The losses of RSKP, one video's mean each: tags, attention sparsity, and the distillation of the walked branches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import masked_mean, topk_count, topk_mean

EPSILON = 1e-8
"""Added to the number of tags (authors' code); in float64 it shows in the ninth digit of the loss."""


class TagCrossEntropy(Loss):
    """NCE = -mean over videos of sum_c l_c / (sum l + 1e-8) log softmax(logits)_c (Eq. 10 of the README).

    Reads `video_logits` [B,C+1] and the tags [B,C]; gives `ce`. A video without any tag adds 0 to the mean, or its
    background term.

    Args:
        background_target: l of the background column: 0 for attention-weighted logits, 1 for class-wise ones.
    """

    requires = ("video_logits",)
    needs = ("labels",)

    def __init__(self, background_target: float = 0.0) -> None:
        self.background_target = background_target

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"ce": 0-d}."""
        logits = outputs["video_logits"]
        target = F.pad(batch.labels.to(logits.dtype), (0, 1), value=self.background_target)
        target = target / (target.sum(dim=1, keepdim=True) + EPSILON)
        return {"ce": -(target * F.log_softmax(logits, dim=1)).sum(dim=1).mean()}


class AttentionContrast(Loss):
    """Mean of the k lowest attentions minus mean of the k highest, k = max(T // 8, 1) (Eq. 11 of the README).

    Reads `attention` [B,T]; gives `contrast`, 0 for a video of one snippet.

    Args:
        divisor: 8.
    """

    requires = ("attention",)

    def __init__(self, divisor: int = 8) -> None:
        self.divisor = divisor

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
        self.temperature = temperature

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"distillation": 0-d}."""
        target = torch.softmax(outputs["teacher_logits"].detach() / self.temperature, dim=-1)
        terms = -(target * F.log_softmax(outputs["cas"] / self.temperature, dim=-1)).sum(dim=-1)
        return {"distillation": masked_mean(terms, batch.mask).mean()}
