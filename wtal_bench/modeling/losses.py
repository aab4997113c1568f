"""Losses that methods share: a video's logits against its tags, and how much attention there is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import binary_cross_entropy, full_precision, masked_mean, zero_padding
from wtal_bench.options import at_least, choose

TARGETS = ("tags", "tags_and_background", "background", "uniform")
FORMS = ("softmax", "binary_softmax", "binary_sigmoid")
CLASS_REDUCTIONS = ("sum", "mean")


class VideoCrossEntropy(Loss):
    """Cross-entropy of a video's class logits with targets made of its tags, mean over the videos; gives `ce`.

    Reads `video_logits` x [B,K] (another field with `reads`) and the tags y [B,C]; K = C, or C+1 with background last.
    Targets t [B,K] are divided by their sum over the classes, so that "softmax" is a cross-entropy of distributions.
    A video without any target adds 0 to "softmax", and asks the binary forms for p = 0 everywhere.

        form                p             loss of one video
        "softmax"           softmax(x)    -sum_c t_c log p_c
        "binary_softmax"    softmax(x)    -sum_c (t_c log p_c + (1 - t_c) log(1 - p_c))
        "binary_sigmoid"    sigmoid(x)    the same

    The binary forms are the framework's: with "binary_softmax" logarithms stop at -100 and no gradient grows without
    bound where p saturates, as in published code; "binary_sigmoid" is computed from the logits and needs no bound.

    Args:
        target: t before the division. "tags": [y, 0]; "tags_and_background": [y, 1], for a branch that sees the whole
            video (background is everywhere); "background": [0, 1], for a branch that should see nothing else;
            "uniform": 1 in every column, for a branch that should see no class. Without a background column the first
            two are y.
        normalize: False keeps t as it is: 0 and 1.
        target_eps: added to the sum that t is divided by (1e-8 or 1e-4 in some authors' code; float32 knows no
            1 + 1e-8).
        form: see above.
        log_eps: added to p inside the logarithm of "softmax" (up to 1e-10 in some authors' code).
        class_reduction: "sum" over the classes as above, or "mean" over all K columns: 1/K of it. Published weights of
            further losses assume the reduction of their host.

    Raises:
        ConfigError: unknown switch, a negative eps, log_eps with a binary form; on the first batch: logits whose
            columns are neither C nor C+1, or target="background" without a background column.

    Example:
        `dict(type="VideoCrossEntropy", reads="mil_logits", target="tags_and_background", weight=0.1)`
    """

    requires = ("video_logits",)
    needs = ("labels",)

    def __init__(
        self,
        target: str = "tags",
        normalize: bool = True,
        target_eps: float = 0.0,
        form: str = "softmax",
        log_eps: float = 0.0,
        class_reduction: str = "sum",
    ) -> None:
        self.target_kind = choose("target", target, TARGETS)
        self.normalize, self.target_eps = normalize, at_least("target_eps", target_eps, 0)
        self.form = choose("form", form, FORMS)
        self.log_eps = at_least("log_eps", log_eps, 0)
        self.mean_over_classes = choose("class_reduction", class_reduction, CLASS_REDUCTIONS) == "mean"
        self.classifies = class_reduction if target.startswith("tags") else ""
        if log_eps and form != "softmax":
            raise ConfigError(f"log_eps={log_eps} belongs to form='softmax'; form={form!r} has bounds of its own.")

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"ce": 0-d}."""
        logits = full_precision(outputs["video_logits"])
        terms = self.terms(logits, self.target(batch.labels, logits))
        return {"ce": (terms.mean(dim=1) if self.mean_over_classes else terms.sum(dim=1)).mean()}

    def target(self, labels: Tensor, logits: Tensor) -> Tensor:
        """t: tags [B,C] -> [B,K] in the type of `logits` [B,K].

        Raises:
            ConfigError: K is neither C nor C+1, or there is no background to aim at.
        """
        background = logits.shape[1] - labels.shape[1]
        if background not in (0, 1) or (self.target_kind == "background" and not background):
            what = "C+1 logits" if self.target_kind == "background" else "C or C+1 logits"
            raise ConfigError(
                f"VideoCrossEntropy with target={self.target_kind!r} needs {what} a video, background last; the logits "
                f"have {logits.shape[1]} columns for C={labels.shape[1]} classes. Check num_classes and background of "
                "the head that makes them, or map another field with reads='<field>'."
            )
        y = labels.to(logits.dtype)
        if self.target_kind == "uniform":
            t = torch.ones_like(logits)
        else:
            y = torch.zeros_like(y) if self.target_kind == "background" else y
            t = F.pad(y, (0, background), value=0.0 if self.target_kind == "tags" else 1.0) if background else y
        if not self.normalize:
            return t
        total = t.sum(dim=1, keepdim=True)
        total = total + self.target_eps if self.target_eps else total
        return t / (total + (total == 0))  # a video without tags has a target of zeros

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        """What every class adds to the loss of its video: [B,K], [B,K] -> [B,K]."""
        if self.form == "binary_sigmoid":
            return F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        if self.form == "binary_softmax":
            return binary_cross_entropy(torch.softmax(logits, dim=1), target)
        log = torch.log(torch.softmax(logits, dim=1) + self.log_eps) if self.log_eps else F.log_softmax(logits, dim=1)
        return -(target * log)


class Sparsity(Loss):
    """mean over the videos of the sum (or the mean) over time of `attention` [B,T]; gives `sparse`.

    The sum grows with T: a weight tuned on videos sampled to T snippets means T times as much as one of the mean.

    Args:
        reduction: "sum" or "mean" over a video's own snippets.
    """

    requires = ("attention",)

    def __init__(self, reduction: str = "sum") -> None:
        self.reduction = choose("reduction", reduction, CLASS_REDUCTIONS)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"sparse": 0-d}."""
        attention = full_precision(outputs["attention"])
        if self.reduction == "mean":
            return {"sparse": masked_mean(attention, batch.mask).mean()}
        return {"sparse": zero_padding(attention, batch.mask).sum(dim=1).mean()}
