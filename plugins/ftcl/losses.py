"""FTCL's contrastive losses: pairs of videos, a sequence of each, a similarity by dynamic programming, a contrast.

`FSD` (Section 3.2), `LCS` (Section 3.3) and `DTW` (Table 4) differ in the recursion alone. Each can compare action and
background proposals (the separation objective) or the top snippets of two videos (the adaption objective), which gives
the "both" rows of Table 3. They read `embedding` and a score to rank snippets by, so any host will do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wtal_bench.errors import ConfigError, DataError
from wtal_bench.interfaces import Batch, Loss, Outputs, Picture
from wtal_bench.options import at_least, build, choose, positive
from wtal_plugins.ftcl.recursions import SMOOTH_MAXIMA, common_length, dtw_similarity, edit_similarity, matched_cells
from wtal_plugins.ftcl.sequences import Selection, Snippets, cosine_matrix

ACTIVATIONS = {"none": lambda x: x, "relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}

GROUP_EPS = 1e-10
"""Added to the number of pairs of a group in the authors' code, so that an empty group counts 0."""

PROBABILITY_EPS = 1e-6
"""r / J is clipped to this distance from 0 and 1 before a logarithm."""


@dataclass(frozen=True)
class Compared:
    """Two sequences for each of P comparisons.

    Attributes:
        videos: [P,2] rows of the batch.
        first, second: which snippets of them.
        u, v: [P,J,E] their embedding rows.
    """

    videos: Tensor
    first: Snippets
    second: Snippets
    u: Tensor
    v: Tensor

    @property
    def lengths(self) -> tuple[Tensor, Tensor]:
        """[P] int64 lengths of the first and of the second sequences."""
        return self.first.length, self.second.length

    @property
    def cells(self) -> Tensor:
        """[P,J,J] bool: pairs of snippets that are no padding."""
        place = torch.arange(self.u.shape[1], device=self.u.device)
        first, second = (place < length.unsqueeze(1) for length in self.lengths)
        return first.unsqueeze(2) & second.unsqueeze(1)

    @property
    def valid(self) -> Tensor:
        """[P] bool: neither sequence is empty (a video of one snippet has no proposals)."""
        return (self.first.length > 0) & (self.second.length > 0)


@dataclass(frozen=True)
class Rescale:
    """gain * max(0, c - offset) in place of a similarity c."""

    offset: float
    gain: float

    def __post_init__(self) -> None:
        at_least("rescale.offset", self.offset, -1)
        positive("rescale.gain", self.gain)


@dataclass(frozen=True)
class Subsequence:
    """A mined longest common subsequence of two videos, in temporal order.

    Attributes:
        videos: their ids.
        snippets: [K,2] float64 stored positions of the matched snippets.
        similarity: [K] float64 of each match.
    """

    videos: tuple[str, str]
    snippets: np.ndarray
    similarity: np.ndarray


class SequenceContrast(Loss):
    """What the three losses share: sequences of pairs, and the contrast of their similarities s.

    "mean_diff" (authors' code): mean s over the pairs of different tags minus mean s over those of the same tags. Of
    proposals, a pair of the same tags compares action with action, one of different tags the action of its first video
    with the background of its second. Linear, no hinge; a group without pairs counts 0.

    "rank", Eq. (4), of proposals: mean over the pairs of the same tags of l(s[U,V'] - s[U,V]) + l(s[U',V] - s[U,V]),
    l(x) = max(0, margin + x), with U, V the action and U', V' the background of the first and second video.

    Args:
        selection: which snippets: settings of `sequences.Selection` that differ from `sequences` below.
        loss: one of `contrasts`.
        margin: of the ranking loss; the paper gives none.
    """

    needs = ("labels", "pairs")
    contrasts: tuple[str, ...] = ("mean_diff", "rank")
    sequences: Mapping[str, Any] = dict(compare="proposals", length=5)

    def __init__(self, selection: Mapping[str, Any] | None, loss: str, margin: float) -> None:
        self.selection = build(Selection, selection, "selection", **self.sequences)
        self.loss = choose("loss", loss, self.contrasts)
        self.margin = margin
        self.requires = self.selection.requires
        self.trains = self.selection.trains
        self.scalars: tuple[str, ...] = ("contrast",)
        if loss == "rank" and self.selection.compare != "proposals":
            raise ConfigError(
                "loss='rank' ranks action against background proposals: set selection.compare='proposals'."
            )

    def similarity(self, compared: Compared) -> tuple[Tensor, dict[str, Tensor]]:
        """Similarity [P] of the two sequences of every comparison, and other scalars to report."""
        raise NotImplementedError(f"{type(self).__name__} does not say how alike two sequences are")

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"contrast": 0-d, ...}; zeros for a batch with nothing to compare."""
        pairs, same = paired(batch)
        rank = self.loss == "rank"
        if not pairs.shape[0]:
            return {name: outputs["embedding"].new_zeros(()) for name in self.scalars}
        compared = self.ranked(outputs, batch) if rank else self.compared(outputs, batch)
        s, report = self.similarity(compared)
        contrast = self.rank if rank else self.contrast
        return {"contrast": contrast(s, same, compared), **report}

    def contrast(self, s: Tensor, same: Tensor, compared: Compared) -> Tensor:
        """The difference of the two groups' means, 0-d, from s [P] and same [P] bool."""
        valid = compared.valid
        return _mean(s, valid & ~same) - _mean(s, valid & same)

    def compared(self, outputs: Outputs, batch: Batch) -> Compared:
        """The sequences of every pair of the batch, as "mean_diff" compares them."""
        pairs, same = paired(batch)
        score = self.selection.score(outputs, batch)
        action, *background = self.selection.sequences(score, batch)
        second = action.of(pairs[:, 1])
        if background:
            second = second.where(same, background[0].of(pairs[:, 1]))
        return self._gathered(outputs, score, pairs, action.of(pairs[:, 0]), second)

    def ranked(self, outputs: Outputs, batch: Batch) -> Compared:
        """The sequences of every pair as Eq. (4) compares those of the same tags: P times UV, then UV', then U'V."""
        pairs, _ = paired(batch)
        score = self.selection.score(outputs, batch)
        action, background = self.selection.sequences(score, batch)
        first, second = pairs.unbind(dim=1)
        u, v = action.of(first), action.of(second)
        return self._gathered(
            outputs,
            score,
            pairs.repeat(3, 1),
            Snippets.joined([u, u, background.of(first)]),
            Snippets.joined([v, background.of(second), v]),
        )

    def rank(self, s: Tensor, same: Tensor, compared: Compared) -> Tensor:
        """The ranking loss, 0-d, of the similarities [3P] of `ranked`; pairs that are not of the `same` tags add 0."""
        both, end, start = s.chunk(3)
        hinge = (self.margin + end - both).clamp(min=0) + (self.margin + start - both).clamp(min=0)
        return _mean(hinge, same & compared.valid.reshape(3, -1).all(dim=0))

    def _gathered(self, outputs: Outputs, score: Tensor, videos: Tensor, first: Snippets, second: Snippets) -> Compared:
        # one gather for both sides: its backward pass fills a gradient of the size of the embedding
        both = Snippets.joined([first, second])
        u, v = self.selection.gather(outputs, score, videos.T.flatten(), both).chunk(2)
        return Compared(videos, first, second, u, v)


def paired(batch: Batch) -> tuple[Tensor, Tensor]:
    """The batch's pairs [P,2] and whether each is of the same tags, [P] bool.

    Raises:
        DataError: the batch was made without pairs.
    """
    if batch.pairs is None:
        raise DataError("the batch has no pairs of videos: set train.pairs=dict(source='dataset') or 'in_batch'.")
    return batch.pairs, batch.pair_same > 0


def _mean(x: Tensor, group: Tensor) -> Tensor:
    return x.masked_fill(~group, 0.0).sum() / (group.sum(dtype=x.dtype) + GROUP_EPS)


class FSD(SequenceContrast, nn.Module):
    """Fine-grained sequence distance, Eq. (2): a differentiable edit similarity of learned projections.

    mu_ij and g_ij are the cosines of the first and second half of one linear layer of u_i and v_j (f_h = f_g), through
    `activation`; the recursion is `recursions.edit_similarity`. Gives `contrast`.

    Args:
        channels: E.
        proj_dim: width of f_mu and of f_g (authors' code 512, paper 1024).
        activation: sigma of Eq. (3): "none" (authors' code), "relu", "sigmoid" or "tanh".
        smoothmax, gamma: see `recursions.align`; "printed" is for looking, never for training.
        selection: see `sequences.Selection`; dict(compare="proposals", length=5), or compare="top" (row both-FSD of
            Table 3).
        loss, margin: see `SequenceContrast`.
    """

    def __init__(
        self,
        channels: int,
        proj_dim: int = 512,
        activation: str = "none",
        smoothmax: str = "scaled",
        gamma: float = 10.0,
        selection: Mapping[str, Any] | None = None,
        loss: str = "mean_diff",
        margin: float = 0.0,
    ) -> None:
        nn.Module.__init__(self)
        SequenceContrast.__init__(self, selection, loss, margin)
        self.trans = nn.Linear(channels, 2 * proj_dim)
        self.activation = ACTIVATIONS[choose("activation", activation, tuple(ACTIVATIONS))]
        self.smoothmax = choose("smoothmax", smoothmax, SMOOTH_MAXIMA)
        self.gamma = gamma

    def residuals(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """mu and g, Eq. (3): [P,M,E], [P,N,E] -> [P,M,N] each."""
        halves = zip(self.trans(u).chunk(2, dim=-1), self.trans(v).chunk(2, dim=-1), strict=True)
        mu, g = (self.activation(cosine_matrix(*half)) for half in halves)
        return mu, g

    def similarity(self, compared: Compared) -> tuple[Tensor, dict[str, Tensor]]:
        """[P] s = S(M,N)."""
        mu, g = self.residuals(compared.u, compared.v)
        return edit_similarity(mu, g, *compared.lengths, self.smoothmax, self.gamma), {}


class DTW(SequenceContrast):
    """Plain differentiable dynamic time warping in place of FSD and LCS (Table 4, row DTW). Gives `contrast`.

    s is minus the accumulated cost 1 - cosine along the best alignment (`recursions.dtw_similarity`).

    Args:
        smoothmax, gamma: see `recursions.align`.
        selection: see `sequences.Selection`; dict(compare="proposals", length=5).
        loss, margin: see `SequenceContrast`.
    """

    def __init__(
        self,
        smoothmax: str = "scaled",
        gamma: float = 10.0,
        selection: Mapping[str, Any] | None = None,
        loss: str = "mean_diff",
        margin: float = 0.0,
    ) -> None:
        super().__init__(selection, loss, margin)
        self.smoothmax = choose("smoothmax", smoothmax, SMOOTH_MAXIMA)
        self.gamma = gamma

    def similarity(self, compared: Compared) -> tuple[Tensor, dict[str, Tensor]]:
        """[P] -D(M,N)."""
        c = cosine_matrix(compared.u, compared.v)
        return dtw_similarity(c, *compared.lengths, self.smoothmax, self.gamma), {}


class LCS(SequenceContrast):
    """Longest common subsequence, Eq. (6): the summed similarity of the snippets two videos have in common, in order.

    c_ij is the cosine of embedding rows, (i,j) matches where c_ij > tau, r = R(J,J) is `recursions.common_length`.
    Gives `contrast`, and with `report_matched` also `matched`, the share of cells above tau (give it the weight 0).

    `loss="bce"`, Eq. (7) with the minus it lacks: mean over all pairs of -(d log p + (1-d) log(1-p)), d = 1 for the
    same tags, p = r over the shorter sequence's length, kept 1e-6 away from 0 and 1.

    Args:
        tau: threshold, or "quantile:q" for the q-quantile of the batch's similarities (hosts whose features have
            another scale).
        strict: c > tau (authors' code); False: c >= tau (the paper).
        rescale: None, or dict(offset=0.8, gain=5.0) for gain * max(0, c - offset) in place of c, before threshold and
            sum (the authors' in-batch variant).
        selection: see `sequences.Selection`; dict(compare="top", length=30), or compare="proposals" (row both-LCS of
            Table 3).
        loss: "mean_diff", "rank" or "bce".
        margin: see `SequenceContrast`.
        report_matched: see above.
    """

    contrasts = ("mean_diff", "rank", "bce")
    pictures = MappingProxyType(
        {
            "matches": Picture(
                "wtal_plugins.ftcl.picture:draw_matches",
                "similarity of two videos' snippets and the common subsequence mined of them",
                videos=2,
            )
        }
    )
    sequences: Mapping[str, Any] = dict(compare="top", length=30)

    def __init__(
        self,
        tau: float | str = 0.92,
        strict: bool = True,
        rescale: Mapping[str, float] | None = None,
        selection: Mapping[str, Any] | None = None,
        loss: str = "mean_diff",
        margin: float = 0.0,
        report_matched: bool = False,
    ) -> None:
        super().__init__(selection, loss, margin)
        self.tau, self.quantile = _threshold(tau)
        self.strict = strict
        self.rescale = None if rescale is None else build(Rescale, rescale, "rescale")
        if report_matched:
            self.scalars = ("contrast", "matched")

    def similarity(self, compared: Compared) -> tuple[Tensor, dict[str, Tensor]]:
        """[P] r = R(M,N), and the share of matching cells if asked for."""
        c, match = self.matches(compared)
        share = (match & compared.cells).sum() / compared.cells.sum().clamp(min=1)
        return common_length(c, match, *compared.lengths), dict.fromkeys(self.scalars[1:], share)

    def matches(self, compared: Compared) -> tuple[Tensor, Tensor]:
        """The similarities [P,J,J], and which of them match, bool."""
        c = cosine_matrix(compared.u, compared.v)
        if self.rescale is not None:
            c = self.rescale.gain * (c - self.rescale.offset).clamp(min=0)
        tau = self.tau
        if self.quantile is not None:  # of the cells that are no padding, without asking how many there are
            tau = c.detach().masked_fill(~compared.cells, math.nan).flatten().nanquantile(self.quantile)
        return c, c > tau if self.strict else c >= tau

    def contrast(self, s: Tensor, same: Tensor, compared: Compared) -> Tensor:
        """The contrast of r [P], 0-d."""
        if self.loss != "bce":
            return super().contrast(s, same, compared)
        shorter = torch.minimum(compared.first.length, compared.second.length).clamp(min=1)
        p = (s / shorter).clamp(PROBABILITY_EPS, 1 - PROBABILITY_EPS)
        return -_mean(torch.where(same, p, 1 - p).log(), compared.valid)

    @torch.no_grad()
    def subsequences(self, outputs: Outputs, batch: Batch) -> list[Subsequence]:
        """The longest common subsequence of every pair of the batch, to read or to draw."""
        compared = self.compared(outputs, batch)
        similarity, match = self.matches(compared)
        cells = matched_cells(similarity, match, *compared.lengths)
        found = []
        for p, (first, second) in enumerate(compared.videos.tolist()):
            i, j = cells[p].nonzero(as_tuple=True)
            positions = (
                batch.snippet_index[first, compared.first.index[p, i]],
                batch.snippet_index[second, compared.second.index[p, j]],
            )
            found.append(
                Subsequence(
                    (batch.meta[first].id, batch.meta[second].id),
                    torch.stack(positions, dim=1).cpu().numpy(),
                    similarity[p, i, j].double().cpu().numpy(),
                )
            )
        return found


def _threshold(tau: float | str) -> tuple[float, float | None]:
    """(tau, None), or (0, q) for "quantile:q"."""
    if isinstance(tau, (int, float)) and not isinstance(tau, bool):
        return float(tau), None
    kind, _, share = str(tau).partition(":")
    try:
        quantile = float(share)
    except ValueError:
        quantile = -1.0
    if kind != "quantile" or not 0 <= quantile <= 1:
        raise ConfigError(f"tau={tau!r}: give a number such as 0.92, or 'quantile:0.9' with a share from 0 to 1.")
    return 0.0, quantile
