"""The bootstrap over videos: AP and mAP on videos drawn with replacement (`difference` compares runs by it).

Matching never crosses videos, so a resample needs no new matching: a video drawn k times counts its detections and
instances k times. Average precision under such weights is exact, copies of a detection ranking one after the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
    return mean_over_classes(result, bootstrap_ap(result.matches, resample))


def video_influence(result: EvaluationResult) -> dict[str, float]:
    """What each video under evaluation adds to the average mAP: the average minus the one without that video.

    Subtract those of two results to see which videos moved a difference most.
    """
    matches = result.matches
    names = evaluated_videos(matches)
    without = np.repeat(
        bootstrap_ap(matches, Resample(np.ones((1, len(names)), np.int32), names, "all")), len(names), 0
    )
    whole = mean_over_classes(result, without[:1])[0]
    for label in range(len(matches.classes)):
        begin, end = matches.class_bounds()[label : label + 2]
        instances = matches.instance_video[matches.instance_label == label]
        touched = np.union1d(matches.video[begin:end], instances)
        touched = touched[touched < matches.evaluated]
        weights = np.ones((len(matches.videos), len(touched)), dtype=np.int32)
        weights[touched, np.arange(len(touched))] = 0
        without[touched, label] = _class_ap(matches, label, weights)
    change = whole.mean() - mean_over_classes(result, without).mean(axis=1)
    return dict(zip(names, change.tolist()))


def evaluated_videos(matches: Matches) -> tuple[str, ...]:
    """The ids of the videos under evaluation, in the numbering of the matches."""
    return matches.videos[: matches.evaluated]


def mean_over_classes(result: EvaluationResult, values: np.ndarray) -> np.ndarray:
    """[R,T] mean of [R,C,T] over the classes a replicate has."""
    if result.matches.rules.empty_class == "zero_all" and result.never_predicted:
        return np.zeros((len(values), values.shape[2]))
    there = ~np.isnan(values)
    return np.where(there, values, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def _column_weights(matches: Matches, resample: Resample) -> np.ndarray:
    """[videos, R] weights in the numbering of the matches; 1 for videos that are not under evaluation."""
    place = {name: column for column, name in enumerate(resample.videos)}
    names = evaluated_videos(matches)
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
