"""The co-activity similarity loss of pairs of videos (Paul et al., W-TALC, ECCV 2018, Section 3.4; authors' code)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import full_precision, gather_ranks, masked_softmax, unit
from wtal_bench.options import at_least


class CoActivity(Loss):
    """Where two videos share a class, their snippets of high activation are alike, and unlike the others'; gives `cas`.

    For every paired video and class, with A = softmax over **time** of S and n its snippets,

        H = sum_t A_t X_t        L = sum_t (1 - A_t) X_t / (n - 1)        d(a, b) = 1 - cos(a, b)

    and over the (pair, class) entries that the tags of both videos have, the mean of

        1/2 ( [d(H1, H2) - d(H1, L2) + m]_+ + [d(H1, H2) - d(H2, L1) + m]_+ ).

    All shared classes count, not only the one a pair was drawn for. Of one snippet there is no L: such pairs, and pairs
    that share nothing, are left out; a batch without any entry gives 0. Nothing is detached. Over several processes the
    mean is that of the whole mini-batch.

    Reads `embedding` X [B,T,E] (dropped out or not, as `reads` says), `cas` S [B,T,C] or [B,T,C+1] (a background column
    is shared by nobody), the tags and `pairs`.

    Args:
        margin: m.
    """

    requires = ("embedding", "cas")
    needs = ("labels", "pairs")

    def __init__(self, margin: float = 0.5) -> None:
        self.margin = at_least("margin", margin, 0)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"cas": 0-d}."""
        if batch.pairs is None:
            raise ConfigError(
                "CoActivity compares pairs of videos and the batch holds none: set "
                "train.pairs=dict(source='by_class', count=3)."
            )
        shared = self.shared(batch, outputs["cas"].shape[-1])
        counts = gather_ranks(shared.sum().reshape(1))
        if not batch.pairs.shape[0]:
            return {"cas": outputs["cas"].new_zeros(())}
        alike, unlike = self.distances(*self.pooled(outputs, batch)).split([1, 2], dim=1)
        ranking = F.relu(alike - unlike + self.margin).sum(dim=1) / 2
        total = (ranking * shared).sum() / torch.stack(counts).sum().clamp(min=1)
        # the runner averages share * loss over the processes; the count above is of all of them already
        return {"cas": total * (len(counts) / (batch.share or 1.0))}

    def shared(self, batch: Batch, columns: int) -> Tensor:
        """[P,K]: 1 where both videos of a pair have the class and more than one snippet."""
        first, second = batch.labels[batch.pairs[:, 0]], batch.labels[batch.pairs[:, 1]]
        long = (batch.lengths[batch.pairs] > 1).all(dim=1, keepdim=True)
        return F.pad(first * second * long, (0, columns - first.shape[1]))

    def pooled(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
        """H and L [P,2,K,E] of the two videos of every pair."""
        rows = batch.pairs.flatten()
        mask = batch.mask[rows]
        x, cas = (full_precision(outputs[name])[rows] for name in ("embedding", "cas"))
        weights = torch.cat([masked_softmax(cas, mask), mask.unsqueeze(-1).to(cas.dtype)], dim=-1)
        sums = weights.transpose(1, 2) @ x
        high, whole = sums[:, :-1], sums[:, -1:]
        low = (whole - high) / (batch.lengths[rows] - 1).clamp(min=1).reshape(-1, 1, 1)
        return high.unflatten(0, (-1, 2)), low.unflatten(0, (-1, 2))

    @staticmethod
    def distances(high: Tensor, low: Tensor) -> Tensor:
        """d(H1, H2), d(H1, L2) and d(H2, L1): [P,2,K,E] twice -> [P,3,K]."""
        h1, h2, l1, l2 = unit(torch.cat([high, low], dim=1)).unbind(dim=1)
        # copied beside each other: one product and its gradient instead of three, the same bits
        return 1 - (torch.stack([h1, h1, h2], dim=1) * torch.stack([h2, l2, l1], dim=1)).sum(dim=-1)
