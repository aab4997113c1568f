"""Gaussian weighted instance fusion: overlapping candidates are averaged where NMS would throw all but one away.

Per class: take the candidate of highest confidence, gather the others that overlap it, and fit a distribution to the
group's boundaries and confidences with the sampling probabilities g = softmax(inner / temperature) (GauFuse Eq. 1-4);
repeat with what is left. All classes and videos go in one call, without a loop over candidates.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from wtal_bench.decoding import NMS, Candidates
from wtal_bench.options import choose, positive

DISTRIBUTIONS = ("gaussian", "exponential", "uniform", "t", "nms")
WEIGHTS = ("inner", "confidence")
OVERLAPS = ("self", "union")


@dataclass(frozen=True)
class Fusion:
    """The settings of one fusion.

    The distribution p is fitted by minimising the cross-entropy -sum_k g_k log p(x_k) for start, end and confidence
    apart (Eq. 2-4); the instance takes its centre:

    - `gaussian`: the mean, sum_k g_k x_k (Eq. 4; authors' code).
    - `exponential`: two-sided exponential, p ~ exp(-|x - m| / b): the weighted median.
    - `uniform`: on [min x, max x], the smallest interval that holds the group: its middle, whatever the weights.
    - `t`: Student's t with `dof` degrees of freedom and the Gaussian's spread: the root of its score equation by
      iterated reweighting from the Gaussian's mean.
    - `nms`: no fit, the picked candidate stands for its group.

    Neither paper nor code gives formulas for exponential, uniform and t (Table 3): these follow Eq. 2-4's rule.

    Attributes:
        temperature: of the weights; 0.02, 0.002, 0.0016 for labels and 0.2 at test (code), 0.1 and 0.03 (paper).
        overlap: h_fuse: candidates above it join the group (code 0.25; the paper gives no value).
        overlap_kind: "self": intersection over the joining candidate's own length (code); "union": IoU (paper, Eq. 1).
        offset: added to lengths and intersections, in snippets (code 1).
        weight_by: "inner": the mean CAS inside the candidate (code); "confidence" (paper, Eq. 3).
        distribution: see above.
        dof: of the t distribution.

    Raises:
        ConfigError: unknown switch, or a temperature or dof that is not positive.
    """

    temperature: float = 0.2
    overlap: float = 0.25
    overlap_kind: str = "self"
    offset: float = 1.0
    weight_by: str = "inner"
    distribution: str = "gaussian"
    dof: float = 3.0
    rule: NMS = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, options in (("overlap_kind", OVERLAPS), ("weight_by", WEIGHTS), ("distribution", DISTRIBUTIONS)):
            choose(f"fusion.{name}", getattr(self, name), options)
        for name in ("temperature", "dof"):
            positive(f"fusion.{name}", getattr(self, name))
        rule = NMS(iou=self.overlap, overlap=self.overlap_kind, offset=self.offset, drop=">")
        object.__setattr__(self, "rule", rule)

    def __call__(
        self, start: np.ndarray, end: np.ndarray, confidence: np.ndarray, inner: np.ndarray, group: np.ndarray
    ) -> Fused:
        """Fuse the candidates of every group (class, or class and video) on its own.

        Args:
            start, end, confidence, inner: [N] columns of candidates, positions in snippets.
            group: [N] integers.

        Returns:
            M instances: groups ascending; inside a group in the order in which they were picked.
        """
        picked, leader = self.rule.groups(start, end, confidence, group)
        weight = np.asarray(inner if self.weight_by == "inner" else confidence, dtype=np.float64)
        columns = np.stack([start, end, confidence], axis=1).astype(np.float64)
        if self.distribution == "nms" or not len(picked):
            return Fused(*columns[picked].T, picked, leader)
        place = np.empty(len(leader), dtype=np.int64)
        place[picked] = np.arange(len(picked))
        member = place[leader]  # which instance a candidate goes into
        order = np.argsort(member, kind="stable")
        begins = np.searchsorted(member[order], np.arange(len(picked)))
        sample = _Samples(columns[order], weight[order] / self.temperature, begins)
        return Fused(*sample.centre(self.distribution, self.dof).T, picked, leader)

    def candidates(self, found: Candidates) -> Candidates:
        """Fuse one video's candidates, every class on its own: sorted by class, then by falling fused confidence."""
        fused = self(found.start, found.end, found.score, found.inside, found.label)
        label = found.label[fused.picked]
        order = np.lexsort((-fused.confidence, label))
        rows = found.take(fused.picked[order])
        return replace(rows, start=fused.start[order], end=fused.end[order], score=fused.confidence[order])


@dataclass(frozen=True)
class Fused:
    """Fused instances, columns [M], and how they came about.

    Attributes:
        start, end, confidence: fitted, positions in snippets, not rounded.
        picked: [M] row of the candidate that began each instance.
        leader: [N] for every candidate the picked row whose instance it went into.
    """

    start: np.ndarray
    end: np.ndarray
    confidence: np.ndarray
    picked: np.ndarray
    leader: np.ndarray


class _Samples:
    """Candidates sorted by group: columns [N,3], logits [N] of their probabilities, [M] where each group begins."""

    def __init__(self, columns: np.ndarray, logits: np.ndarray, begins: np.ndarray) -> None:
        self.columns, self.begins = columns, begins
        self.group = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(columns)))
        peak = np.maximum.reduceat(logits, begins)
        self.weight = np.exp(logits - peak[self.group])

    def mean(self, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Weighted mean of [N,3] (or [N,1]) within each group: [M,3]."""
        return np.add.reduceat(values * weight, self.begins) / np.add.reduceat(weight, self.begins)

    def centre(self, distribution: str, dof: float) -> np.ndarray:
        """[M,3] centre of the distribution fitted to each group and column."""
        if distribution == "uniform":
            low, high = (f.reduceat(self.columns, self.begins) for f in (np.minimum, np.maximum))
            return (low + high) / 2
        if distribution == "exponential":
            return np.stack([self.median(column) for column in self.columns.T], axis=1)
        gaussian = self.mean(self.columns, self.weight[:, None])
        return gaussian if distribution == "gaussian" else self.student(gaussian, dof)

    def median(self, column: np.ndarray) -> np.ndarray:
        """[M] weighted median: the smallest value with at least half of its group's weight at or below it."""
        order = np.lexsort((column, self.group))
        share = self.weight / np.add.reduceat(self.weight, self.begins)[self.group]
        below = np.cumsum(share[order]) - self.group  # groups of weight 1 lie one after the other
        first = np.full(len(self.begins), len(column))
        np.minimum.at(first, self.group[below >= 0.5 - 1e-9], np.flatnonzero(below >= 0.5 - 1e-9))
        return column[order][first]

    def student(self, centre: np.ndarray, dof: float, steps: int = 100) -> np.ndarray:
        """[M,3] location of a t distribution with the Gaussian's spread, from `centre` on."""
        weight = self.weight[:, None]
        square = self.mean((self.columns - centre[self.group]) ** 2, weight)
        spread = np.where(square > 0, square, 1.0)[self.group]
        for _ in range(steps):
            pull = weight / (dof + (self.columns - centre[self.group]) ** 2 / spread)
            moved = self.mean(self.columns, pull)
            done = np.abs(moved - centre).max() <= 1e-12 * max(1.0, np.abs(moved).max())
            centre = moved
            if done:
                break
        return centre
