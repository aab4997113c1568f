"""What kinds of error a detector makes, and on which instances (after DETAD, Alwassel et al., ECCV 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from wtal_bench.evaluation.average_precision import average_precision
from wtal_bench.evaluation.matching import Matches
from wtal_bench.evaluation.metric import EvaluationResult
from wtal_bench.evaluation.overlaps import expand_pairs, near_ranges, temporal_iou
from wtal_bench.evaluation.tables import DetectionTable, GroundTruth, TableError

KINDS = ("true positive", "double detection", "wrong label", "localisation", "confusion", "background")
"""What a detection can be, the first that applies. Overlap is tIoU with the best instance of the video:

true positive      it took an instance of its class
double detection   overlap >= tiou with an instance of its class that a better-ranked detection took
wrong label        overlap >= tiou with an instance of another class
localisation       overlap >= low with an instance of its class
confusion          overlap >= low with an instance of another class
background         none of these
"""

LENGTHS_THUMOS = (3.0, 6.0, 12.0, 18.0)
LENGTHS_ACTIVITYNET = (30.0, 60.0, 120.0, 180.0)
"""Upper bounds in seconds of XS, S, M and L instances."""

COUNTS_THUMOS = (1, 40, 80)
COUNTS_ACTIVITYNET = (1, 4, 8)
"""Upper bounds of XS, S and M, in instances of the class in the video."""

_SIZES = ("XS", "S", "M", "L", "XL")


@dataclass(frozen=True)
class Bucket:
    """Instances of one size and how well they are found.

    Attributes:
        name: "XS" to "XL"; above, up_to: bounds (above < value <= up_to), None = unbounded.
        instances: how many.
        mAP: average mAP with these instances alone as ground truth; detections that took others are left out. None
            where there is no instance.
        normalized_mAP: the same with normalised precision, which does not favour frequent sizes.
        found: share of the instances taken at the analysed tIoU.
    """

    name: str
    above: float | None
    up_to: float | None
    instances: int
    mAP: float | None  # noqa: N815 - the field's own name
    normalized_mAP: float | None  # noqa: N815
    found: float | None


@dataclass(frozen=True)
class ErrorAnalysis:
    """The errors of one result.

    Attributes:
        tiou, low: the bounds that tell the kinds apart.
        counts: kind -> detections, of all.
        breakdown: for k = 1, 2, ...: kind -> share among the k * G best-ranked detections of every class, G being the
            instances of that class.
        gains: kind of error -> rise of the mAP at `tiou` if all such errors were deleted.
        by_length, by_count: sensitivity to the length of an instance and to how many its class has in the video.
    """

    tiou: float
    low: float
    counts: dict[str, int]
    breakdown: tuple[dict[str, float], ...]
    gains: dict[str, float]
    by_length: tuple[Bucket, ...]
    by_count: tuple[Bucket, ...]

    def as_dict(self) -> dict[str, Any]:
        """The analysis as plain values for JSON."""
        return asdict(self)


def detection_kinds(
    result: EvaluationResult,
    detections: DetectionTable,
    ground_truth: GroundTruth,
    *,
    tiou: float = 0.5,
    low: float = 0.1,
) -> np.ndarray:
    """[N] int8 index into `KINDS` of every scored detection, in the order of `result.matches`.

    Args:
        result: of `detections` against `ground_truth`, `tiou` among its thresholds.
        detections, ground_truth: the tables that were scored.
        tiou: what counts as found.
        low: what counts as touching an instance at all.

    Raises:
        TableError: the tables are not those scored, `tiou` was not evaluated, or 0 < low < tiou does not hold.
    """
    if not 0 < low < tiou:
        raise TableError(f"needed 0 < low < tiou, got low {low}, tiou {tiou}.")
    matches = result.matches
    if matches.videos[: matches.evaluated] != ground_truth.videos or matches.counts.detections != len(detections):
        raise TableError(
            "the result was not scored on these tables; give the very ones, without the videos a preset excludes "
            "(`Preset.tables`)."
        )
    same, other = _best_overlaps(matches, detections, ground_truth)
    conditions = [same >= tiou, other >= tiou, same >= low, other >= low]
    kinds = np.select(conditions, [1, 2, 3, 4], default=5).astype(np.int8)
    kinds[matches.true_positives(_threshold(matches, tiou))] = 0
    return kinds


def error_analysis(
    result: EvaluationResult,
    detections: DetectionTable,
    ground_truth: GroundTruth,
    *,
    tiou: float = 0.5,
    low: float = 0.1,
    top: int = 10,
    lengths: Sequence[float] = LENGTHS_THUMOS,
    counts: Sequence[int] = COUNTS_THUMOS,
) -> ErrorAnalysis:
    """Break a result down into kinds of error and sizes of instance.

    Args:
        result, detections, ground_truth, tiou, low: see `detection_kinds`.
        top: the breakdown goes to `top` times the number of instances.
        lengths: upper bounds in seconds of the length buckets.
        counts: upper bounds of the buckets of instances per video and class.

    Raises:
        TableError: see `detection_kinds`; more than four bounds, or bounds that do not rise.
    """
    matches = result.matches
    kinds = detection_kinds(result, detections, ground_truth, tiou=tiou, low=low)
    rank = np.arange(len(kinds)) - matches.class_bounds()[matches.label]
    share = rank / matches.instances()[matches.label]
    breakdown = tuple(_shares(kinds[share < times]) for times in range(1, top + 1))
    at = matches.at(_threshold(matches, tiou))
    gains = _gains(at, kinds)
    length = (ground_truth.end - ground_truth.start)[matches.instance_row]
    pair = matches.instance_label.astype(np.int64) * len(matches.videos) + matches.instance_video
    _, place, number = np.unique(pair, return_inverse=True, return_counts=True)
    return ErrorAnalysis(
        tiou=tiou,
        low=low,
        counts=dict(zip(KINDS, np.bincount(kinds, minlength=len(KINDS)).tolist())),
        breakdown=breakdown,
        gains=gains,
        by_length=sensitivity(matches, length, lengths, tiou),
        by_count=sensitivity(matches, number[place], counts, tiou),
    )


def sensitivity(matches: Matches, values: np.ndarray, bounds: Sequence[float], tiou: float) -> tuple[Bucket, ...]:
    """How well instances are found, in buckets of a property.

    Args:
        matches: of a result.
        values: [G] the property of every instance, in the order of `matches`.
        bounds: rising upper bounds of all buckets but the last, at most four.
        tiou: threshold of `Bucket.found`.

    Raises:
        TableError: more than four bounds, bounds that do not rise, or `tiou` was not evaluated.
    """
    if len(bounds) >= len(_SIZES) or list(bounds) != sorted(set(bounds)):
        raise TableError(f"needed at most {len(_SIZES) - 1} rising bounds, got {list(bounds)}.")
    bucket = np.searchsorted(np.asarray(bounds, dtype=np.float64), values, side="left")
    names = (*_SIZES[: len(bounds)], _SIZES[len(bounds)])
    edges = [None, *bounds, None]
    at = _threshold(matches, tiou)
    assumed = len(matches.instance_label) / len(matches.classes)
    rows = []
    for index, name in enumerate(names):
        member = bucket == index
        number = int(np.count_nonzero(member))
        plain = _restricted_map(matches, member, None) if number else None
        normalized = _restricted_map(matches, member, assumed) if number else None
        found = float((matches.taken_by[at][member] >= 0).mean()) if number else None
        rows.append(Bucket(name, edges[index], edges[index + 1], number, plain, normalized, found))
    return tuple(rows)


def _restricted_map(matches: Matches, member: np.ndarray, instances_assumed: float | None) -> float:
    """Average mAP when only the instances in `member` are asked for, over the classes that have one."""
    means = []
    for threshold in range(len(matches.tious)):
        one = matches.at(threshold)
        elsewhere = one.taken_by[0][~member]
        uncounted = one.uncounted.copy()
        uncounted[elsewhere[elsewhere >= 0]] = True
        asked = replace(
            one,
            uncounted=uncounted,
            instance_label=one.instance_label[member],
            instance_video=one.instance_video[member],
            instance_row=one.instance_row[member],
            taken_by=one.taken_by[:, member],
        )
        means.append(average_precision(asked, instances_assumed)[asked.instances() > 0, 0].mean())
    return float(np.mean(means))


def _gains(at: Matches, kinds: np.ndarray) -> dict[str, float]:
    """mAP gained at one threshold when every error of a kind is deleted."""
    base = average_precision(at).mean()
    return {
        name: float(average_precision(replace(at, uncounted=at.uncounted | (kinds == kind))).mean() - base)
        for kind, name in enumerate(KINDS)
        if kind > 0
    }


def _shares(kinds: np.ndarray) -> dict[str, float]:
    number = np.bincount(kinds, minlength=len(KINDS))
    return dict(zip(KINDS, (number / max(1, len(kinds))).tolist()))


def _threshold(matches: Matches, tiou: float) -> int:
    found = np.flatnonzero(matches.tious == tiou)
    if not len(found):
        raise TableError(f"tIoU {tiou} was not evaluated; there are {matches.tious.tolist()}.")
    return int(found[0])


def _best_overlaps(
    matches: Matches, detections: DetectionTable, ground_truth: GroundTruth
) -> tuple[np.ndarray, np.ndarray]:
    """[N], [N] largest tIoU of every scored detection with an instance of its own class, and of another."""
    grid = matches.rules.grid
    rows = detections.take(matches.row)
    start, end = ground_truth.start, ground_truth.end
    if grid is not None:
        rows = rows.on_grid(grid)
        start, end = np.rint(start * grid), np.rint(end * grid)
    order = np.lexsort((start, ground_truth.video))
    video, label, start, end = ground_truth.video[order], ground_truth.label[order], start[order], end[order]
    ordered = (rows.start <= rows.end).all() and (start <= end).all()
    first, count = near_ranges(matches.video, rows.start, rows.end, video, start, end, whole_groups=not ordered)
    best = np.zeros((2, len(rows)))
    for detection, instance in expand_pairs(first, count, 0, len(rows)):
        overlap = temporal_iou(rows.start[detection], rows.end[detection], start[instance], end[instance])
        differs = (rows.label[detection] != label[instance]).astype(np.int64)
        np.maximum.at(best, (differs, detection), np.nan_to_num(overlap))
    return best[0], best[1]
