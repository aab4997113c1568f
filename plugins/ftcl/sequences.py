"""Which snippets of a video are compared, and how alike two snippets are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.errors import DataError, listing
from wtal_bench.interfaces import Batch, Outputs
from wtal_bench.modeling.blocks import at_most, full_precision, no_autocast, top_snippets
from wtal_bench.options import at_least, choose

SCORES = {
    "attention": "attention",
    "cas_sum": "cas",
    "cas_max": "cas",
    "cas_tags": "cas",
    "norm": "embedding",
}
"""What snippets can be ranked by, and the field each is made from."""

COMPARED = ("proposals", "top")
BACKGROUNDS = ("next", "lowest")
GATHERS = ("plain", "weighted")
SHORT = ("shorten", "refuse")


@dataclass(frozen=True)
class Snippets:
    """A sequence of snippets for each of B videos or P comparisons, in temporal order.

    Attributes:
        index: [B,J] int64 snippet; behind a sequence's own end any valid index.
        length: [B] int64 own number, at most J.
    """

    index: Tensor
    length: Tensor

    def of(self, videos: Tensor) -> Snippets:
        """Those of the `videos` [P], one sequence for each."""
        return Snippets(self.index[videos], self.length[videos])

    def where(self, own: Tensor, other: Snippets) -> Snippets:
        """Own sequences where `own` [B] is True, those of `other` elsewhere."""
        index = torch.where(own.unsqueeze(1), self.index, other.index)
        return Snippets(index, torch.where(own, self.length, other.length))

    @staticmethod
    def joined(parts: Sequence[Snippets]) -> Snippets:
        """All sequences of `parts`, one after the other."""
        return Snippets(torch.cat([part.index for part in parts]), torch.cat([part.length for part in parts]))


class Selection:
    """Ranks the snippets of a video and picks the sequences to compare.

    Args:
        compare: "top": one sequence a video, its `length` highest snippets. "proposals": the `length` highest as
            action and as many others as background.
        length: snippets of a sequence, L or J.
        background: "next" takes ranks L .. 2L-1 (authors' code), "lowest" the L last ranks (the paper's "opposite").
        score: what ranks snippets; of equal scores the earliest first. "attention"; from class logits `cas` "cas_sum"
            (sum of their positive parts over the actions), "cas_max" (highest action probability), "cas_tags" (mean
            probability of the video's own tags); or "norm", the length of the embedding.
        gather: "plain" takes embedding rows as they are, so that no gradient reaches the score (authors' code);
            "weighted" multiplies them by it.
        short: a video with T < `length` (or 2 `length`) snippets: "shorten" to T (or T // 2), or "refuse".
    """

    def __init__(
        self,
        compare: str,
        length: int,
        background: str = "next",
        score: str = "attention",
        gather: str = "plain",
        short: str = "shorten",
    ) -> None:
        self.compare = choose("selection.compare", compare, COMPARED)
        self.length = at_least("selection.length", length, 1, whole=True)
        self.background = choose("selection.background", background, BACKGROUNDS)
        self.kind = choose("selection.score", score, SCORES)
        self.weighted = choose("selection.gather", gather, GATHERS) == "weighted"
        self.short = choose("selection.short", short, SHORT)

    @property
    def requires(self) -> tuple[str, ...]:
        """Fields read."""
        return tuple(dict.fromkeys(("embedding", SCORES[self.kind])))

    @property
    def trains(self) -> tuple[str, ...]:
        """Fields the gradient goes through: the score only chooses, unless rows are weighted by it."""
        return self.requires if self.weighted else ("embedding",)

    def score(self, outputs: Outputs, batch: Batch) -> Tensor:
        """[B,T] what snippets are ranked by."""
        if self.kind == "attention":
            return outputs["attention"]
        if self.kind == "norm":
            return full_precision(outputs["embedding"]).norm(dim=-1)
        cas, classes = full_precision(outputs["cas"]), batch.labels.shape[1]
        if self.kind == "cas_sum":
            return cas[..., :classes].clamp(min=0).sum(dim=-1)
        probability = cas.softmax(dim=-1)[..., :classes]
        if self.kind == "cas_max":
            return probability.amax(dim=-1)
        tags = batch.labels.to(cas.dtype)
        return (probability @ tags.unsqueeze(-1)).squeeze(-1) / tags.sum(dim=1, keepdim=True).clamp(min=1)

    def sequences(self, score: Tensor, batch: Batch) -> list[Snippets]:
        """The action sequence, and for proposals the background sequence, of every video.

        Raises:
            DataError: a video is too short and `short` is "refuse".
        """
        mask, packing = batch.mask, batch.packing
        lengths, longest = packing.counts, packing.longest
        needed = self.length if self.compare == "top" else 2 * self.length
        if self.short == "refuse" and packing.shortest < needed:
            self._refuse(batch, needed)
        if self.compare == "top":
            count = at_most(lengths.clamp(max=self.length), min(longest, self.length))
            return [self._ordered(top_snippets(score, mask, count))]
        count = at_most((lengths // 2).clamp(max=self.length), min(longest // 2, self.length))
        action = top_snippets(score, mask, count)
        if self.background == "next":
            background = top_snippets(score, mask, at_most(2 * count, 2 * min(longest // 2, self.length))) & ~action
        else:
            background = mask & ~top_snippets(score, mask, at_most(lengths - count, longest))
        return [self._ordered(action), self._ordered(background)]

    def gather(self, outputs: Outputs, score: Tensor, videos: Tensor, sequence: Snippets) -> Tensor:
        """Embedding rows [P,J,E] of one sequence for each of the `videos` [P]."""
        x = outputs["embedding"]
        rows = (videos.unsqueeze(1) * x.shape[1] + sequence.index).flatten()
        chosen = full_precision(x.flatten(0, 1).index_select(0, rows))
        if self.weighted:
            chosen = chosen * full_precision(score.flatten().index_select(0, rows)).unsqueeze(-1)
        return chosen.reshape(*sequence.index.shape, -1)

    def _ordered(self, chosen: Tensor) -> Snippets:
        length = chosen.shape[1]
        position = torch.where(chosen, torch.arange(length, device=chosen.device), length)
        position = F.pad(position, (0, max(0, self.length - length)), value=length)
        first = position.topk(self.length, dim=1, largest=False).values
        return Snippets(first.clamp(max=length - 1), chosen.sum(dim=1))

    def _refuse(self, batch: Batch, needed: int) -> None:
        short = [f"{m.id} ({n})" for m, n in zip(batch.meta, batch.packing.lengths, strict=True) if n < needed]
        what = f"2 x length = {needed}" if self.compare == "proposals" else f"length = {needed}"
        raise DataError(
            f"too few snippets to compare {self.compare}: {listing(short, 5)}; needed: {what}. Sample more snippets "
            "(train.length), lower the loss's selection.length, or set selection.short='shorten'."
        )


def cosine_matrix(u: Tensor, v: Tensor) -> Tensor:
    """Cosines of every row of one sequence with every row of another: [P,M,D], [P,N,D] -> [P,M,N].

    A row of zeros has cosine 0 with everything and gradient 0 (the authors' code gives NaN). Both sides are scaled
    after the product, so no normalised copy of a sequence is made: 1.3 to 2 times as fast as `blocks.cosine`, and the
    sequences are short enough for autograd's way through the norms.
    """
    with no_autocast(u):  # a threshold on a bf16 cosine would be one on noise
        u, v = full_precision(u), full_precision(v)
        return u @ v.transpose(1, 2) * _inverse_norm(u).unsqueeze(2) * _inverse_norm(v).unsqueeze(1)


def _inverse_norm(x: Tensor) -> Tensor:
    square = x.square().sum(dim=-1)
    some = square > 0
    return torch.where(some, 1 / torch.where(some, square, 1.0).sqrt(), 0.0)
