"""What separates two methods, and how sure that is: a bootstrap over videos, and over runs where there are several.

A side is one run or several of one method (one a seed). A replicate draws the videos with replacement, the same for
every run of both sides, so that what a video does to all of them cancels; and it draws each side's runs with
replacement, since other seeds would have given other runs. With one run a side it is the plain paired bootstrap over
videos, which says nothing of seeds.

Three runs are few, and the plain hierarchical bootstrap forgets that: it draws too small a spread (n runs drawn from n
lose a factor (n - 1) / n of the variance), and takes that spread for known. Both are mended: the drawn deviation of a
side is stretched by sqrt(n / (n - 1)), and the replicates are widened about the difference by t / z, the quantiles of
Student's t and of the normal distribution, with the degrees of freedom of Welch and Satterthwaite: many where the
videos make most of the variance, down to 2 (n - 1) where the runs do. Of two equal methods of three seeds each,
simulated over 200 videos with seeds that matter, videos alone call one better in 25 to 100 % of 1,000 trials, the plain
hierarchical bootstrap in 5 to 17 %, this one in 1 to 6 %.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wtal_bench.evaluation.bootstrap import bootstrap_ap, evaluated_videos, mean_over_classes, resample_videos
from wtal_bench.evaluation.matching import Matches
from wtal_bench.evaluation.metric import EvaluationResult
from wtal_bench.evaluation.tables import TableError


@dataclass(frozen=True)
class Interval:
    """A difference (first minus second), its bootstrap interval, and how unlikely a difference of 0 is.

    Attributes:
        difference: on the videos and runs as they are, a fraction.
        low, high: bounds of the central share (95 % by default) of the replicates.
        p_value: two-sided share of replicates on the other side of 0.
    """

    difference: float
    low: float
    high: float
    p_value: float

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class BootstrapDifference:
    """What separates two sides over the same videos.

    Attributes:
        tious: the thresholds; per_tiou: the interval of the mAP at each.
        average: interval of the mean over all thresholds.
        averages: intervals of named means over some of them.
        per_class: interval of each class's AP, mean over the thresholds.
        resamples: number of replicates.
        draw: which videos were drawn (see `Resample`).
        runs: how many of each side; the spread between the runs of a side is covered where it has two or more.
    """

    tious: tuple[float, ...]
    per_tiou: tuple[Interval, ...]
    average: Interval
    averages: dict[str, Interval]
    per_class: dict[str, Interval]
    resamples: int
    draw: str
    runs: tuple[int, int] = (1, 1)


def bootstrap_difference(
    first: EvaluationResult | Sequence[EvaluationResult],
    second: EvaluationResult | Sequence[EvaluationResult],
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    averages: Mapping[str, Sequence[float]] | None = None,
) -> BootstrapDifference:
    """Intervals of first - second, means over runs; videos drawn alike for all, runs drawn a side (see the module).

    The draw of runs depends on the runs of the side, in any order, and on `seed`: swapped sides give the same numbers
    with the other sign.

    Args:
        first, second: a result, or several, one a run; all over the same videos, instances and thresholds.
        resamples: replicates.
        seed: of the draws.
        confidence: share of the replicates the intervals hold.
        averages: name -> thresholds, further means to compare.

    Raises:
        TableError: a side without a run, or results scored on different videos, classes or thresholds.
    """
    sides = [[side] if isinstance(side, EvaluationResult) else list(side) for side in (first, second)]
    if not all(sides):
        raise TableError("a difference needs at least one run a side.")
    sides = [sorted(side, key=lambda result: run_name(result.mAP)) for side in sides]
    some = sides[0][0]
    for result in (*sides[0], *sides[1]):
        _same_task(some.matches, result.matches)
    resample = resample_videos(evaluated_videos(some.matches), resamples, seed)
    picks = [draw_runs([run_name(result.mAP) for result in side], resamples, seed) for side in sides]
    values = [[bootstrap_ap(result.matches, resample) for result in side] for side in sides]
    means = [[mean_over_classes(*both) for both in zip(*parts)] for parts in zip(sides, values)]

    def over(places: Sequence[int]) -> Interval:
        samples = [
            Sample.of(
                [result.mAP[places].mean() for result in side],
                np.stack([column[:, places].mean(axis=1) for column in columns]),
                picked,
            )
            for side, columns, picked in zip(sides, means, picks)
        ]
        return interval(*samples, confidence)

    def of_class(label: int) -> Interval:
        samples = [
            Sample.of(
                [result.ap[label].mean() for result in side],
                np.stack([value[:, label].mean(axis=1) for value in columns]),
                picked,
            )
            for side, columns, picked in zip(sides, values, picks)
        ]
        return interval(*samples, confidence)

    every = list(range(len(some.tious)))
    return BootstrapDifference(
        tious=tuple(some.tious.tolist()),
        per_tiou=tuple(over([place]) for place in every),
        average=over(every),
        averages={name: over(_places(some.tious, tious)) for name, tious in (averages or {}).items()},
        per_class={name: of_class(label) for label, name in enumerate(some.classes)} if _has_ap(*sides) else {},
        resamples=resamples,
        draw=resample.draw,
        runs=(len(sides[0]), len(sides[1])),
    )


@dataclass(frozen=True)
class Sample:
    """One number of the runs of a side.

    Attributes:
        values: what each of the n runs has, on the videos as they are.
        videos: [R] replicates over the videos drawn, mean over all n runs.
        deviation: [R] mean over the runs drawn less that over all, stretched to an unbiased variance; 0 for one run.
    """

    values: tuple[float, ...]
    videos: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, values: Sequence[float], replicates: np.ndarray, picks: np.ndarray | None) -> Sample:
        """Make one from [n,R] replicates of n runs and the runs that were drawn (`draw_runs`)."""
        runs, videos = len(values), replicates.mean(axis=0)
        if picks is None:
            return cls(tuple(values), videos, np.zeros(len(videos)))
        drawn = np.take_along_axis(replicates.T, picks, axis=1).mean(axis=1)
        return cls(tuple(values), videos, np.sqrt(runs / (runs - 1)) * (drawn - videos))


def draw_runs(names: Sequence[str], resamples: int, seed: int = 0) -> np.ndarray | None:
    """[R,n] which of the n named runs a replicate holds; None for one run.

    The draw depends on the names in any order: runs that stand on both sides are drawn alike, for they are the same.
    """
    if len(names) == 1:
        return None
    order = np.argsort(names, kind="stable")
    key = hashlib.sha256("\n".join(sorted(names)).encode()).digest()[:8]
    generator = np.random.Generator(np.random.PCG64([seed, int.from_bytes(key, "little")]))
    return order[generator.integers(0, len(names), (resamples, len(names)))]


def run_name(means: Sequence[float]) -> str:
    """A run by its mAP at every threshold, without the last digits, which differ between machines."""
    return " ".join(f"{value:.9f}" for value in means)


def interval(first: Sample, second: Sample, confidence: float = 0.95) -> Interval:
    """Of one number, first - second: what each run of both sides has, and its replicates over the same videos."""
    observed = float(np.mean(first.values) - np.mean(second.values))
    videos = first.videos - second.videos
    drawn = ~np.isnan(videos)
    if not drawn.any():  # a class none of whose videos was ever drawn: nothing is known of it
        return Interval(observed, -1.0, 1.0, 1.0)
    replicates = (videos + first.deviation - second.deviation)[drawn]
    factor = widening((first.values, second.values), float(np.var(videos[drawn])), confidence)
    wide = np.clip(observed + factor * (replicates - observed), -1, 1)  # no difference of two mAPs is larger
    low, high = np.quantile(wide, [(1 - confidence) / 2, (1 + confidence) / 2])
    beyond = 2 * min((wide <= 0).mean(), (wide >= 0).mean())
    return Interval(observed, float(low), float(high), float(min(1.0, beyond)))


def widening(sides: Sequence[Sequence[float]], videos: float, confidence: float = 0.95) -> float:
    """How far replicates must be spread about the difference since the spread between few runs is hardly known.

    Args:
        sides: the numbers of each side's runs.
        videos: variance of the difference over the videos drawn, of which there are many.
        confidence: of the interval.

    Returns:
        t / z at the degrees of freedom of Welch and Satterthwaite; 1 where no side has a spread.
    """
    parts = [(np.var(side, ddof=1) / len(side), len(side) - 1) for side in sides if len(side) > 1]
    unsure = sum(part**2 / freedom for part, freedom in parts)
    total = videos + sum(part for part, _ in parts)
    if unsure <= 1e-12 * total**2:
        return 1.0
    return t_over_z(total**2 / unsure, confidence)


def t_over_z(freedom: float, confidence: float = 0.95) -> float:
    """How much wider an interval is where its spread was estimated with so many degrees of freedom."""
    from scipy.special import ndtri, stdtrit  # `stats.t.ppf` and `norm.ppf` to the bit, without a second of imports

    tail = (1 + confidence) / 2
    return float(stdtrit(freedom, tail) / ndtri(tail))


def _has_ap(*sides: Sequence[EvaluationResult]) -> bool:
    return not any(np.isnan(result.ap).all() for side in sides for result in side)


def _places(tious: np.ndarray, wanted: Sequence[float]) -> list[int]:
    known = tious.tolist()
    missing = [tiou for tiou in wanted if tiou not in known]
    if missing:
        raise TableError(f"tIoU {missing[0]} was not evaluated; there are {known}.")
    return [known.index(tiou) for tiou in wanted]


def _same_task(first: Matches, second: Matches) -> None:
    same = {
        "videos": set(evaluated_videos(first)) == set(evaluated_videos(second)),
        "classes": first.classes == second.classes,
        "thresholds": first.tious.tolist() == second.tious.tolist(),
        "instances": np.array_equal(first.instances(), second.instances()),
    }
    different = [what for what, equal in same.items() if not equal]
    if different:
        raise TableError(
            f"the two results differ in their {' and '.join(different)}; only results over the same ground truth can "
            "be paired. Score both with one protocol and one annotation file."
        )
