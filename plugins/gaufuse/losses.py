"""The loss under the pseudo labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import masked_mean
from wtal_bench.options import choose, within

FORMS = ("softmax", "softmax_with_zero", "sigmoid")


class PseudoLabelLoss(Loss):
    """Snippet-wise cross-entropy with signed targets (GauFuse Eq. 7 and 9; authors' code).

    H(f) = -mean over videos and snippets of sum over columns of label log p(f), without temperature and without
    renormalising the labels: they are small, and delta labels are negative where confidence fell.
    pseudo = share H(cas) + (1 - share) H(propagated_cas) where a host has a propagated branch, else H(cas).

    Reads `cas` [B,T,C or C+1], `pseudo_labels` [B,T,columns] and, where a component makes it, `propagated_cas` (RSKP:
    reads=dict(propagated_cas='m.cas')); gives `pseudo`. Label columns a host's logits lack must be empty by
    construction (`num_columns` of the labels = columns of the CAS).

    Args:
        share: 0.8 in the code; 1.0 is the paper's one CAS.
        form: p: "softmax" over the columns of the CAS; "softmax_with_zero" appends a logit fixed at 0 that stands for
            background, for hosts without such a column (a softmax over actions alone cannot say "no action");
            "sigmoid" per column.
    """

    requires = ("cas", "pseudo_labels")
    optional = ("propagated_cas",)

    def __init__(self, share: float = 0.8, form: str = "softmax") -> None:
        self.share, self.form = within("share", share, "[0, 1]"), choose("form", form, FORMS)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"pseudo": 0-d}."""
        labels = outputs["pseudo_labels"]
        loss = self.entropy(outputs["cas"], labels, batch.mask)
        if "propagated_cas" in outputs:
            loss = self.share * loss + (1 - self.share) * self.entropy(outputs["propagated_cas"], labels, batch.mask)
        return {"pseudo": loss}

    def entropy(self, logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """H: logits [B,T,columns], labels [B,T,columns] -> 0-d."""
        if logits.shape != labels.shape:
            raise ConfigError(
                f"the CAS has {logits.shape[-1]} columns, the pseudo labels {labels.shape[-1]}: set num_columns of "
                "gaufuse.PseudoLabels to the columns of the CAS (background included where it has one)."
            )
        terms = labels.to(logits.dtype) * self.log_probability(logits)
        return -masked_mean(terms.sum(dim=-1), mask).mean()

    def log_probability(self, logits: Tensor) -> Tensor:
        """log p [B,T,columns]."""
        if self.form == "sigmoid":
            return F.logsigmoid(logits)
        if self.form == "softmax":
            return F.log_softmax(logits, dim=-1)
        return logits - torch.logsumexp(F.pad(logits, (0, 1)), dim=-1, keepdim=True)
