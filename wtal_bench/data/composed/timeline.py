"""Drawing time lines: when which action happens in a synthetic video, fitted to the statistics of real annotations.

Two shapes of video: `RepeatedActions` (THUMOS14: many short instances of one class, with twin and follow pairs) and
`LongActions` (ActivityNet 1.3: mostly one instance that fills much of the video). All logarithms are natural, all
times seconds. Times are rounded to 0.01 s, so that they do not depend on the last bit of any machine's arithmetic.

The numbers were measured on the public annotations: THUMOS14, 412 videos and 6365 instances; ActivityNet 1.3, 9649
training videos.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_MIN_SNIPPETS = 8


@dataclass(frozen=True)
class TimeLine:
    """When what happens in one video.

    Attributes:
        scene: class whose surroundings the background shows.
        start, end: [N] float64 seconds, sorted by (start, end, label).
        label: [N] int64 class index; a twin instance stands here twice.
        snippets: number of snippets; the video lasts `snippets * snippet_seconds`.
    """

    scene: int
    start: np.ndarray
    end: np.ndarray
    label: np.ndarray
    snippets: int

    @classmethod
    def sorted(cls, scene: int, start: np.ndarray, end: np.ndarray, label: np.ndarray, snippets: int) -> TimeLine:
        """Build from instances in any order."""
        order = np.lexsort((label, end, start))
        return cls(scene, start[order], end[order], label[order].astype(np.int64), snippets)


class ClassTiming(NamedTuple):
    """One action class of THUMOS14: how often, how long and how far apart its instances are (of logarithms)."""

    name: str
    count_mu: float
    count_sd: float
    length_mu: float
    length_between: float
    length_within: float
    gap_mu: float


THUMOS14_TIMING = (
    ClassTiming("BaseballPitch", 0.83, 0.76, 1.17, 0.24, 0.31, 2.62),
    ClassTiming("BasketballDunk", 3.18, 1.12, 0.57, 0.32, 0.45, 1.51),
    ClassTiming("Billiards", 1.76, 1.11, 0.84, 0.51, 0.55, 2.17),
    ClassTiming("CleanAndJerk", 1.36, 0.96, 2.46, 0.49, 0.53, 1.56),
    ClassTiming("CliffDiving", 2.25, 0.88, 1.15, 0.32, 0.42, 1.52),
    ClassTiming("CricketBowling", 1.75, 1.09, 0.49, 0.44, 0.42, 1.55),
    ClassTiming("CricketShot", 1.89, 0.95, 0.32, 0.37, 0.45, 1.44),
    ClassTiming("Diving", 2.43, 1.04, 1.11, 0.31, 0.41, 1.40),
    ClassTiming("FrisbeeCatch", 1.65, 1.06, 1.30, 0.45, 0.53, 0.90),
    ClassTiming("GolfSwing", 1.04, 0.66, 1.81, 0.79, 0.69, 2.12),
    ClassTiming("HammerThrow", 2.74, 0.86, 1.91, 0.16, 0.39, 1.99),
    ClassTiming("HighJump", 2.47, 1.07, 1.57, 0.21, 0.47, 1.46),
    ClassTiming("JavelinThrow", 2.62, 0.86, 1.75, 0.23, 0.34, 2.35),
    ClassTiming("LongJump", 2.09, 1.20, 1.87, 0.23, 0.40, 1.56),
    ClassTiming("PoleVault", 2.70, 1.17, 1.93, 0.36, 0.33, 1.01),
    ClassTiming("Shotput", 1.79, 0.86, 1.55, 0.42, 0.60, 1.59),
    ClassTiming("SoccerPenalty", 1.25, 0.88, 1.00, 0.23, 0.49, 1.99),
    ClassTiming("TennisSwing", 2.09, 0.84, 0.61, 0.66, 0.52, 0.92),
    ClassTiming("ThrowDiscus", 1.51, 1.26, 1.92, 0.52, 0.62, 1.43),
    ClassTiming("VolleyballSpiking", 1.97, 1.08, 0.91, 0.55, 0.53, 1.30),
)
"""Fitted to the annotations of the real classes; the synthetic classes borrow their timing, not their names."""


@dataclass(frozen=True)
class RepeatedActions:
    """Videos like THUMOS14's: one class, a log-normal number of log-normally long instances and gaps.

    Attributes:
        timing: one row a class.
        twin: (a, b): every instance of class a is labelled b as well (CliffDiving is Diving); None = no such pair.
        follow: (a, b): in `follow_share` of the videos of either class an instance of b starts where one of a ends
            (CricketBowling, CricketShot).
        max_instances: largest number drawn for one class.
        min_length, max_length, min_gap, max_gap: cuts of lengths and gaps, lead-in and tail being gaps too.
        gap_between, gap_within: standard deviations of the log gap between videos and within one.
        gap_count_correlation, length_count_correlation: of a video's mean log gap and mean log length with its log
            number of instances, within a class.
        edge_mu, edge_sd: of log lead-in and log tail.
    """

    timing: tuple[ClassTiming, ...]
    twin: tuple[int, int] | None = None
    follow: tuple[int, int] | None = None
    follow_share: float = 0.8
    max_instances: int = 60
    min_length: float = 1.0
    max_length: float = 60.0
    min_gap: float = 1.0
    max_gap: float = 90.0
    gap_between: float = 0.72
    gap_within: float = 1.07
    gap_count_correlation: float = -0.30
    length_count_correlation: float = -0.26
    edge_mu: float = 2.32
    edge_sd: float = 1.50

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.timing)

    @property
    def hard_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of classes that look alike."""
        return tuple(pair for pair in (self.twin, self.follow) if pair)

    def draw(self, rng: np.random.Generator, label: int, max_snippets: int, snippet_seconds: float) -> TimeLine:
        """Draw the time line of one video of class `label`; what does not fit into `max_snippets` is left out."""
        limit = max_snippets * snippet_seconds
        followed = self.follow is not None and label in self.follow and rng.random() < self.follow_share
        first = self.follow[0] if followed else label
        many, slow, apart = rng.standard_normal(3)
        count = self._count(label, many)
        pace = _correlated(many, slow, self.length_count_correlation)
        gap_mu = self.timing[label].gap_mu + self.gap_between * _correlated(many, apart, self.gap_count_correlation)
        lead, tail = np.minimum(np.exp(self.edge_mu + self.edge_sd * rng.standard_normal(2)), self.max_gap)
        length = self._lengths(rng, first, pace, count)
        second = self._lengths(rng, self.follow[1], pace, count) if followed else np.zeros(count)
        gap = np.clip(np.exp(gap_mu + self.gap_within * rng.standard_normal(count)), self.min_gap, self.max_gap)
        # One second stays free at the end; a lead-in too long for the first instance is shortened.
        lead = min(lead, max(0.0, limit - 1 - length[0]))
        unit = length + second + gap
        start = lead + np.cumsum(unit) - unit
        instances = [(start, start + length, first)]
        if followed:
            instances.append((start + length, start + length + second, self.follow[1]))
        if self.twin is not None and first == self.twin[0]:
            instances.append((start, start + length, self.twin[1]))
        start, end, label_of = _joined(instances, limit - 1)
        snippets = min(max_snippets, max(_MIN_SNIPPETS, math.ceil((end.max() + tail) / snippet_seconds)))
        return TimeLine.sorted(label, start, end, label_of, snippets)

    def _count(self, label: int, many: float) -> int:
        row = self.timing[label]
        return int(np.clip(np.rint(np.exp(row.count_mu + row.count_sd * many)), 1, self.max_instances))

    def _lengths(self, rng: np.random.Generator, label: int, pace: float, count: int) -> np.ndarray:
        row = self.timing[label]
        log = row.length_mu + row.length_between * pace + row.length_within * rng.standard_normal(count)
        return np.clip(np.exp(log), self.min_length, self.max_length)


def _correlated(first: float, other: float, correlation: float) -> float:
    """Mix two independent normal values into one that correlates with the first."""
    return correlation * first + math.sqrt(1 - correlation**2) * other


def _joined(instances: list[tuple[np.ndarray, np.ndarray, int]], limit: float) -> tuple[np.ndarray, ...]:
    """Join (start, end, label) columns, rounded to 0.01 s, without what ends after `limit`."""
    start = np.round(np.concatenate([part[0] for part in instances]), 2)
    end = np.round(np.concatenate([part[1] for part in instances]), 2)
    label = np.repeat([part[2] for part in instances], [len(part[0]) for part in instances])
    kept = end <= max(limit, end[0])
    return start[kept], end[kept], label[kept]


@dataclass(frozen=True)
class LongActions:
    """Videos like ActivityNet 1.3's: mostly one instance, of any length up to the whole video.

    The number of instances comes first, then the share of the video they fill, which falls with their number; gaps,
    lead-in and tail divide the rest.

    Attributes:
        num_classes: C. Classes differ in how often their videos hold several instances and in how much they fill.
        duration: mean and standard deviation of a normal distribution, cut (by drawing again) to `duration_range`.
        several: least and greatest share of videos with more than one instance, over the classes.
        counts: probabilities of 2, 3, 4 and more instances where there are several.
        many_mean: mean number beyond 5 in the last of those cases (geometric).
        max_instances: largest number drawn.
        full: share of the videos with one, two, more instances that these fill by more than 95 %.
        share: mean filled share of the other videos with one, two, more instances.
        share_spread: a + b of its beta distribution.
        class_share: greatest deviation of a class's mean share.
        length_within: standard deviation of the log length within a video.
        edge_shape, gap_shape: gamma shapes of lead-in and tail, and of gaps, as parts of what is left free.
        gap_scale: mean gap over its shape, where lead-in and tail have scale 1.
        min_length: shortest instance.
        min_room: seconds of video a further instance needs.
    """

    num_classes: int = 20
    duration: tuple[float, float] = (118.0, 66.0)
    duration_range: tuple[float, float] = (5.0, 240.0)
    several: tuple[float, float] = (0.02, 0.66)
    counts: tuple[float, float, float, float] = (0.533, 0.195, 0.110, 0.162)
    many_mean: float = 1.8
    max_instances: int = 20
    full: tuple[float, float, float] = (0.205, 0.024, 0.012)
    share: tuple[float, float, float] = (0.69, 0.56, 0.47)
    share_spread: float = 3.0
    class_share: float = 0.2
    length_within: float = 0.80
    edge_shape: float = 0.72
    gap_shape: float = 8.0
    gap_scale: float = 0.075
    min_length: float = 0.1
    min_room: float = 5.0

    @property
    def hard_pairs(self) -> tuple[tuple[int, int], ...]:
        """No two classes look alike here: 5 of 9649 real videos show two classes."""
        return ()

    def draw(self, rng: np.random.Generator, label: int, max_snippets: int, snippet_seconds: float) -> TimeLine:
        """Draw the time line of one video of class `label`."""
        longest = min(self.duration_range[1], max_snippets * snippet_seconds)
        duration = _normal_between(rng, *self.duration, self.duration_range[0], longest)
        snippets = min(max_snippets, max(_MIN_SNIPPETS, math.ceil(duration / snippet_seconds)))
        duration = snippets * snippet_seconds
        count = self._count(rng, label, duration)
        filled = self._share(rng, label, count) * duration
        length = np.exp(self.length_within * rng.standard_normal(count))
        free = self._free(rng, count)
        length *= filled / length.sum()
        free *= (duration - filled) / free.sum()
        end = np.cumsum(free[:-1] + length)
        start, end = np.round(end - length, 2), np.round(end, 2)
        start = np.minimum(start, round(duration - self.min_length, 2))
        end = np.minimum(np.maximum(end, np.round(start + self.min_length, 2)), round(duration, 2))
        return TimeLine.sorted(label, start, end, np.full(count, label), snippets)

    def _count(self, rng: np.random.Generator, label: int, duration: float) -> int:
        least, greatest = self.several
        several = least + (greatest - least) * _spread(label, _GOLDEN) ** 1.6
        if rng.random() >= several:
            return 1
        count = 2 + int(rng.choice(4, p=self.counts))
        if count == 5:
            count += int(rng.geometric(1 / (1 + self.many_mean))) - 1
        return max(1, min(count, self.max_instances, int(duration / self.min_room)))

    def _free(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw the parts that lead-in, gaps and tail take of what is left free."""
        lead, tail = rng.standard_gamma(self.edge_shape, 2)
        # The small constant keeps the sum above 0 where both draws underflow.
        return np.r_[lead, self.gap_scale * rng.standard_gamma(self.gap_shape, count - 1), tail] + 1e-9

    def _share(self, rng: np.random.Generator, label: int, count: int) -> float:
        case = min(count, 3) - 1
        if rng.random() < self.full[case]:
            return 1 - 0.05 * rng.random()
        mean = self.share[case] + self.class_share * (2 * _spread(label, _PLASTIC) - 1)
        # Very small shares would leave instances of no length.
        return max(0.01 * count, 0.95 * rng.beta(mean * self.share_spread, (1 - mean) * self.share_spread))


_GOLDEN, _PLASTIC = 0.6180339887498949, 0.7548776662466927
"""Irrational steps: multiples of them, modulo 1, lie evenly in 0..1 for any number of classes, and unrelated."""


def _spread(label: int, step: float) -> float:
    return (0.5 + label * step) % 1.0


def _normal_between(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    """Draw from a normal distribution until the value lies in low..high."""
    while True:
        value = rng.normal(mean, sd)
        if low <= value <= high:
            return value
