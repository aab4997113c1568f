"""ACM-Net's network: one embedding, a three-way attention, a classifier, and what each branch makes of the two.

The paper was not at hand: what stands here is what the authors' code (ispc-lab/ACM-Net, `model/ACMNet.py`) computes.
Branches are ordered instance, context, background; of C+1 classes the last is background.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import (
    per_snippet,
    top_snippets,
    topk_count,
    zero_padding,
)

BRANCHES = ("instance", "context", "background")


def _divisors(given: Sequence[int]) -> tuple[int, ...]:
    divisors = tuple(given)
    if len(divisors) != len(BRANCHES) or any(not isinstance(s, int) or s < 1 for s in divisors):
        raise ConfigError(
            f"divisors={given!r}: give three whole numbers of at least 1, for the {', '.join(BRANCHES)} branch, e.g. "
            "(8, 3, 3)."
        )
    return divisors


class Attention(nn.Module, Head):
    """`branch_attention` A [B,T,3], a softmax over the branches at every snippet, and its instance part `attention`.

    Args:
        channels: E.
        dropout: on E, training only (ActivityNet 0.7, THUMOS14 none).
    """

    requires = ("embedding",)
    provides = ("attention", "branch_attention")

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.att = nn.Conv1d(channels, len(BRANCHES), 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E] -> fields, zero under padding."""
        logits = F.linear(self.dropout(outputs["embedding"]), self.att.weight.squeeze(-1), self.att.bias)
        attention = zero_padding(torch.softmax(logits, dim=-1), batch.mask)
        return {"attention": attention[..., 0], "branch_attention": attention}


class Classifier(nn.Module, Head):
    """Linear classifier of every snippet: `snippet_logits` Z [B,T,C+1], and its rows `class_weights` [C+1,E].

    In training Z comes from E behind two dropouts, each scaling what it keeps by 1 / (1 - p): one drops whole
    snippets, then one drops elements. Everything else that reads E reads it whole.

    Args:
        channels, num_classes: E and C.
        snippet_dropout, dropout: p of the two.
    """

    requires = ("embedding",)
    provides = ("snippet_logits", "class_weights")
    shared = ("class_weights",)

    def __init__(self, channels: int, num_classes: int, snippet_dropout: float = 0.7, dropout: float = 0.7) -> None:
        super().__init__()
        self.cls = nn.Linear(channels, num_classes + 1)
        self.snippet_dropout, self.dropout = snippet_dropout, dropout

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E] -> fields."""
        x = outputs["embedding"]
        logits = per_snippet(self._dropped, x, batch.mask) if self.training else self.cls(x)
        return {"snippet_logits": logits, "class_weights": self.cls.weight}

    def _dropped(self, rows: Tensor) -> Tensor:
        kept = F.dropout(rows.new_ones(rows.shape[0], 1), self.snippet_dropout)  # 0 or 1 / (1 - p)
        return F.linear(F.dropout(rows, self.dropout), self.cls.weight) * kept + self.cls.bias


class Branches(nn.Module, Head):
    """Class activation sequences W_k = Z * A_k [B,T,C+1] and video logits [B,C+1] of the three branches.

    A branch's video logit of a class is the mean of the class's own n_k = max(1, T // divisor) highest W_k; of equal
    values the earliest count. The instance branch is what localizes: it gives `cas` and `video_logits`; the others give
    `context_logits` and `background_logits`.

    Args:
        divisors: of the instance, context and background branch (THUMOS14 8, 3, 3; ActivityNet 2, 10, 10).
    """

    requires = ("snippet_logits", "branch_attention")
    provides = ("cas", "video_logits", "context_logits", "background_logits")
    video_level = ("video_logits", "context_logits", "background_logits")

    def __init__(self, divisors: Sequence[int] = (8, 3, 3)) -> None:
        super().__init__()
        self.divisors = _divisors(divisors)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """Z [B,T,C+1], A [B,T,3] -> fields."""
        sequences = [outputs["snippet_logits"] * a for a in outputs["branch_attention"].split(1, dim=-1)]
        video = [self._pool(w, batch.mask, divisor) for w, divisor in zip(sequences, self.divisors, strict=True)]
        return dict(zip(self.provides, (sequences[0], *video), strict=True))

    @staticmethod
    def _pool(sequence: Tensor, mask: Tensor, divisor: int) -> Tensor:
        count = topk_count(mask, divisor=divisor)
        chosen = top_snippets(sequence, mask, count)
        return sequence.masked_fill(~chosen, 0.0).sum(dim=1) / count.unsqueeze(1)


class BranchFeatures(nn.Module, Head):
    """`branch_features` f_k [B,3,E]: mean of E over the n_k snippets with the highest A_k, of equal ones the earliest.

    The attention chooses and gets no gradient.

    Args:
        divisors: as in `Branches`.
    """

    requires = ("embedding", "branch_attention")
    provides = ("branch_features",)
    video_level = ("branch_features",)

    def __init__(self, divisors: Sequence[int] = (8, 3, 3)) -> None:
        super().__init__()
        self.divisors = _divisors(divisors)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """E [B,T,E], A [B,T,3] -> fields."""
        x, attention = outputs["embedding"], outputs["branch_attention"]
        counts = [topk_count(batch.mask, divisor=divisor) for divisor in self.divisors]
        chosen = [top_snippets(attention[..., k], batch.mask, count) for k, count in enumerate(counts)]
        total = torch.stack(chosen, dim=1).to(x.dtype) @ x
        return {"branch_features": total / torch.stack(counts, dim=1).unsqueeze(-1)}
