"""How much of a difference in mAP the choice of test videos explains: a paired bootstrap over videos.

Matching never crosses videos, so a resample needs no new matching: a video drawn k times counts its detections and
instances k times. Average precision under such weights is exact, copies of a detection ranking one after the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from wtal_bench.evaluation.matching import Matches
from wtal_bench.evaluation.metric import EvaluationResult
from wtal_bench.evaluation.tables import TableError

_CELLS_AT_ONCE = 4_000_000
"""Detections x resamples held at a time."""


@dataclass(frozen=True)
class Resample:
    """Videos drawn with replacement, the same for every result over the same videos.

    Attributes:
        weights: [R,V] int32, how often each video was drawn; columns in the order of `videos`.
        videos: V ids, sorted.
        draw: names the draw: equal names mean equal weights, so replicates of two results pair up.
    """

    weights: np.ndarray = field(repr=False)
    videos: tuple[str, ...] = field(repr=False)
    draw: str


@dataclass(frozen=True)
class Interval:
    """A difference (first minus second), its bootstrap interval, and how unlikely a difference of 0 is.

    Attributes:
        difference: on the videos as they are, a fraction.
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
    """What separates two results over the same videos.

    Attributes:
        tious: the thresholds; per_tiou: the interval of the mAP at each.
        average: interval of the mean over all thresholds.
        averages: intervals of named means over some of them.
        per_class: interval of each class's AP, mean over the thresholds.
        resamples: number of replicates.
        draw: which videos were drawn (see `Resample`).
    """

    tious: tuple[float, ...]
    per_tiou: tuple[Interval, ...]
    average: Interval
    averages: dict[str, Interval]
    per_class: dict[str, Interval]
    resamples: int
    draw: str


def resample_videos(videos: Sequence[str], resamples: int = 2000, seed: int = 0) -> Resample:
    """Draw the videos with replacement, `resamples` times. The draw depends on the set of ids and the seed alone.

    Raises:
        TableError: no video, or less than one resample.
    """
    names = tuple(sorted(videos))
    if not names or resamples < 1:
        raise TableError(f"cannot draw {resamples} resamples of {len(names)} videos; both must be at least 1.")
    digest = hashlib.sha256("\n".join(names).encode())
    generator = np.random.Generator(np.random.PCG64([seed, int.from_bytes(digest.digest()[:8], "little")]))
    weights = np.zeros((resamples, len(names)), dtype=np.int32)
    for row in weights:
        row += np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names)).astype(np.int32)
    digest.update(f"\n{resamples} {seed}".encode())
    return Resample(weights, names, digest.hexdigest()[:16])


def bootstrap_ap(matches: Matches, resample: Resample) -> np.ndarray:
    """[R,C,T] average precision of every replicate; NaN for a class without an instance among the videos drawn.

    Detections in videos that are not under evaluation are false positives in every replicate.

    Raises:
        TableError: the resample was drawn from other videos.
    """
    return _weighted_ap(matches, _column_weights(matches, resample))


def bootstrap_map(result: EvaluationResult, resample: Resample) -> np.ndarray:
    """[R,T] mAP of every replicate: mean over the classes that have an instance among the videos drawn.

    All 0 where the result is 0 because a class is never predicted (`empty_class="zero_all"`); a class whose
    detections merely were not drawn has an AP of 0 in that replicate.
    """
    return _mean_over_classes(result, bootstrap_ap(result.matches, resample))


def bootstrap_difference(
    first: EvaluationResult,
    second: EvaluationResult,
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    averages: Mapping[str, Sequence[float]] | None = None,
) -> BootstrapDifference:
    """Intervals of first - second over videos drawn with replacement, the same draw for both.

    Args:
        first, second: results over the same videos, instances and thresholds.
        resamples: replicates.
        seed: of the draw.
        confidence: share of the replicates the intervals hold.
        averages: name -> thresholds, further means to compare.

    Raises:
        TableError: the results were scored on different videos, classes or thresholds.
    """
    _same_task(first.matches, second.matches)
    resample = resample_videos(_evaluated(first.matches), resamples, seed)
    values = [bootstrap_ap(result.matches, resample) for result in (first, second)]
    replicates = _mean_over_classes(first, values[0]) - _mean_over_classes(second, values[1])
    observed = first.mAP - second.mAP
    classes = np.mean(first.ap - second.ap, axis=1) if _has_ap(first, second) else None
    by_class = (values[0] - values[1]).mean(axis=2)
    columns = {name: _places(first.tious, tious) for name, tious in (averages or {}).items()}
    return BootstrapDifference(
        tious=tuple(first.tious.tolist()),
        per_tiou=tuple(_interval(value, column, confidence) for value, column in zip(observed, replicates.T)),
        average=_interval(observed.mean(), replicates.mean(axis=1), confidence),
        averages={
            name: _interval(observed[place].mean(), replicates[:, place].mean(axis=1), confidence)
            for name, place in columns.items()
        },
        per_class={}
        if classes is None
        else {
            name: _interval(value, column, confidence)
            for name, value, column in zip(first.classes, classes, by_class.T)
        },
        resamples=resamples,
        draw=resample.draw,
    )


def bootstrap_gain(
    firsts: Sequence[EvaluationResult],
    seconds: Sequence[EvaluationResult],
    tious: Sequence[float],
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Interval of the mean over runs of first - second, videos drawn with replacement, the same draw for every run.

    With one run a side it is that of `bootstrap_difference`. The spread between runs is not part of it.

    Args:
        firsts, seconds: results of the two sides, such as one run a seed, over the same videos, instances and
            thresholds.
        tious: thresholds whose mean mAP is compared.
        resamples, seed, confidence: as in `bootstrap_difference`.

    Raises:
        TableError: a side without a run, or results scored on different videos, classes or thresholds.
    """
    if not (firsts and seconds):
        raise TableError("a gain needs at least one result a side.")
    for result in (*firsts, *seconds):
        _same_task(firsts[0].matches, result.matches)
    resample = resample_videos(_evaluated(firsts[0].matches), resamples, seed)
    places = _places(firsts[0].tious, tious)

    def side(results: Sequence[EvaluationResult]) -> tuple[float, np.ndarray]:
        replicates = [bootstrap_map(result, resample)[:, places].mean(axis=1) for result in results]
        return float(np.mean([result.mAP[places].mean() for result in results])), np.mean(replicates, axis=0)

    (ours, our_replicates), (theirs, their_replicates) = side(firsts), side(seconds)
    return _interval(ours - theirs, our_replicates - their_replicates, confidence)


def video_influence(result: EvaluationResult) -> dict[str, float]:
    """What each video under evaluation adds to the average mAP: the average minus the one without that video.

    Subtract those of two results to see which videos moved a difference most.
    """
    matches = result.matches
    names = _evaluated(matches)
    without = np.repeat(
        bootstrap_ap(matches, Resample(np.ones((1, len(names)), np.int32), names, "all")), len(names), 0
    )
    whole = _mean_over_classes(result, without[:1])[0]
    for label in range(len(matches.classes)):
        begin, end = matches.class_bounds()[label : label + 2]
        instances = matches.instance_video[matches.instance_label == label]
        touched = np.union1d(matches.video[begin:end], instances)
        touched = touched[touched < matches.evaluated]
        weights = np.ones((len(matches.videos), len(touched)), dtype=np.int32)
        weights[touched, np.arange(len(touched))] = 0
        without[touched, label] = _class_ap(matches, label, weights)
    change = whole.mean() - _mean_over_classes(result, without).mean(axis=1)
    return dict(zip(names, change.tolist()))


def _evaluated(matches: Matches) -> tuple[str, ...]:
    return matches.videos[: matches.evaluated]


def _has_ap(*results: EvaluationResult) -> bool:
    return not any(np.isnan(result.ap).all() for result in results)


def _places(tious: np.ndarray, wanted: Sequence[float]) -> list[int]:
    known = tious.tolist()
    missing = [tiou for tiou in wanted if tiou not in known]
    if missing:
        raise TableError(f"tIoU {missing[0]} was not evaluated; there are {known}.")
    return [known.index(tiou) for tiou in wanted]


def _same_task(first: Matches, second: Matches) -> None:
    same = {
        "videos": set(_evaluated(first)) == set(_evaluated(second)),
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


def _interval(observed: float, replicates: np.ndarray, confidence: float) -> Interval:
    replicates = replicates[~np.isnan(replicates)]
    if not len(replicates):
        raise TableError("no resample drew a video with an instance to compare by: draw more (--resamples 2000).")
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    beyond = 2 * min((replicates <= 0).mean(), (replicates >= 0).mean())
    return Interval(float(observed), float(low), float(high), float(min(1.0, beyond)))


def _mean_over_classes(result: EvaluationResult, values: np.ndarray) -> np.ndarray:
    """[R,T] mean of [R,C,T] over the classes a replicate has."""
    if result.matches.rules.empty_class == "zero_all" and result.never_predicted:
        return np.zeros((len(values), values.shape[2]))
    there = ~np.isnan(values)
    return np.where(there, values, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def _column_weights(matches: Matches, resample: Resample) -> np.ndarray:
    """[videos, R] weights in the numbering of the matches; 1 for videos that are not under evaluation."""
    place = {name: column for column, name in enumerate(resample.videos)}
    names = _evaluated(matches)
    if set(names) != set(place):
        raise TableError(f"the resample draws from {len(place)} videos, the result was scored on {len(names)} others.")
    weights = np.ones((len(matches.videos), len(resample.weights)), dtype=np.int32)
    weights[: len(names)] = resample.weights.T[[place[name] for name in names]]
    return weights


def _weighted_ap(matches: Matches, weights: np.ndarray) -> np.ndarray:
    values = np.empty((weights.shape[1], len(matches.classes), len(matches.tious)))
    for label in range(len(matches.classes)):
        values[:, label] = _class_ap(matches, label, weights)
    return values


def _class_ap(matches: Matches, label: int, weights: np.ndarray) -> np.ndarray:
    """[R,T] average precision of one class for [videos,R] weights."""
    begin, end = matches.class_bounds()[label : label + 2]
    members = np.flatnonzero(matches.instance_label == label)
    step = max(1, _CELLS_AT_ONCE // max(1, end - begin))
    parts = []
    for first in range(0, weights.shape[1], step):
        part = weights[:, first : first + step]
        instances = part[matches.instance_video[members]].sum(axis=0)
        drawn = part[matches.video[begin:end]]
        parts.append(_weighted_class_ap(matches, begin, end, members, drawn, instances))
    return np.concatenate(parts)


def _weighted_class_ap(
    matches: Matches, begin: int, end: int, members: np.ndarray, drawn: np.ndarray, instances: np.ndarray
) -> np.ndarray:
    """[R,T] from the weights of one class: `drawn` [N,R] of its detections, `instances` [R] of its instances."""
    rank = np.cumsum(drawn, axis=0, dtype=np.int64)
    result = np.zeros((drawn.shape[1], len(matches.tious)))
    uncountable = matches.uncounted[begin:end]
    for column, taken in enumerate(matches.taken_by[:, members]):
        hits = np.sort(taken[taken >= 0]) - begin
        if not len(hits):
            continue
        weight, place = drawn[hits], rank[hits]
        if uncountable.any():
            skipped = uncountable.copy()
            skipped[hits] = False
            place = place - np.cumsum(drawn * skipped[:, None], axis=0)[hits]
        found = np.cumsum(weight, axis=0)
        if matches.rules.ap == "sum":
            total = _summed_precision(weight, found, place)
        else:
            precision = found / np.maximum(place, 1)
            total = (weight * np.maximum.accumulate(precision[::-1], axis=0)[::-1]).sum(axis=0)
        result[:, column] = total / np.maximum(instances, 1)
    result[instances == 0] = np.nan
    return result


def _summed_precision(weight: np.ndarray, found: np.ndarray, place: np.ndarray) -> np.ndarray:
    """[R] precision summed over all copies of the hits: copy k of a hit stands k - weight after its last one."""
    total = np.zeros(weight.shape[1])
    for copy in range(int(weight.max())):
        there = weight > copy
        total += np.where(there, (found - copy) / np.maximum(place - copy, 1), 0.0).sum(axis=0)
    return total
