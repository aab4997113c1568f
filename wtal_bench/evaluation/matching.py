"""Which detection takes which instance, for every class, video and threshold at once.

Within one (video, class, threshold) the official rule is a greedy loop: detections in falling score each take the
best instance that is still free. That is a serial dictatorship, and its outcome equals deferred acceptance in which
every instance prefers the better-ranked detection: all detections propose at once, an instance keeps the best
proposal so far, the refused ones propose to their next choice. So a few array rounds advance every group together
and give the very pairs of the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from wtal_bench.evaluation.assignment import Segments, assign
from wtal_bench.evaluation.overlaps import blocks, expand_pairs, near_ranges, with_instances
from wtal_bench.evaluation.tables import DetectionTable, GroundTruth, TableError
from wtal_bench.order import by_group, falling

TieRule = Literal["last_first", "first_first"]

_BLOCK_ROWS = 500_000
"""Classes are ranked and matched together up to so many detections, a larger class alone. From about 4 M rows on, the C
library gives the memory of every array back to the system, and getting it again takes longer than the work on it."""


_PART_ROWS = 65_536
"""Rows sorted into their classes at a time: their columns stay in the processor's cache."""


@dataclass(frozen=True)
class Rules:
    """The switches in which published evaluators differ. The defaults are the official ActivityNet rule.

    Attributes:
        grid: None = seconds in float64; a number = snippets a second (25/16 on THUMOS14): segments become sets of
            whole snippets, times rounded half to even.
        ambiguous: None = such stretches mean nothing; "drop" = delete every detection, of any class, that shares
            time with one in its video before scoring (W-TALC family); "ignore_fp" = a false positive that does is
            not counted (THUMOS'14 toolkit).
        matching: "official" = the free instance of largest tIoU; "first" = the first listed free instance whose
            tIoU reaches the threshold (W-TALC).
        ap: "interpolated" = precision made non-increasing, summed over recall steps; "sum" = precision at every
            true positive, summed, over the number of instances (W-TALC).
        ties: among detections of equal score the "last_first" or "first_first" in the input ranks first.
        instance_ties: among instances of equal tIoU the "last_first" or "first_first" listed is taken first.
            "last_first" in both is the official `argsort()[::-1]` with a stable sort. As shipped it is numpy's default,
            which orders ties by the processor: P-MIL's detections on THUMOS14 have mAP@0.1 68.326 as shipped (numpy 2),
            68.339 with a stable sort.
        videos: "all" = every detection counts, in input order, one in a video without ground truth is a false
            positive (official); "annotated" = only videos with at least one instance take part, in the order of
            the annotations (snippet loops).
        empty_class: AP 0 for a class never predicted ("zero", official), or, as in the snippet loops, an mAP of 0
            at every threshold as soon as there is such a class ("zero_all").
    """

    grid: float | None = None
    ambiguous: Literal["drop", "ignore_fp"] | None = None
    matching: Literal["official", "first"] = "official"
    ap: Literal["interpolated", "sum"] = "interpolated"
    ties: TieRule = "last_first"
    instance_ties: TieRule = "last_first"
    videos: Literal["all", "annotated"] = "all"
    empty_class: Literal["zero", "zero_all"] = "zero"

    def __post_init__(self) -> None:
        allowed = {
            "ambiguous": (None, "drop", "ignore_fp"),
            "matching": ("official", "first"),
            "ap": ("interpolated", "sum"),
            "ties": ("last_first", "first_first"),
            "instance_ties": ("last_first", "first_first"),
            "videos": ("all", "annotated"),
            "empty_class": ("zero", "zero_all"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise TableError(f"{name} must be one of {values}, got {getattr(self, name)!r}.")
        if self.grid is not None and not self.grid > 0:
            raise TableError(f"grid must be None (seconds) or snippets a second > 0, got {self.grid!r}.")


@dataclass(frozen=True)
class Counts:
    """What was scored and what was left out.

    Attributes:
        videos: videos that took part; instances: their annotated instances.
        detections: rows given.
        unknown_label: rows of a class without an instance in these videos (ignored).
        unknown_video: rows in videos that are not under evaluation (false positives, or left out with
            `videos="annotated"`).
        left_out: rows that left with their video (`videos="annotated"`).
        dropped: rows the Ambiguous filter deleted.
    """

    videos: int
    instances: int
    detections: int
    unknown_label: int = 0
    unknown_video: int = 0
    left_out: int = 0
    dropped: int = 0

    @property
    def ignored(self) -> int:
        """Rows that took no part in the scoring."""
        return self.unknown_label + self.left_out + self.dropped


@dataclass(frozen=True)
class Matches:
    """Ranked detections and the instances they took: all that average precision and the bootstrap read.

    Detections are sorted by class, then rank; instances by class, then video. N detections, G instances, T thresholds.

    Attributes:
        classes: the classes that have an instance, in the order of the class list.
        videos: ids, those under evaluation first, then the others that hold detections.
        evaluated: how many of `videos` are under evaluation.
        tious: the thresholds.
        label, video: [N] int32 of the detections; score: [N] float64; row: [N] their rows in the table given.
        uncounted: [N] bool, true where a false positive is not to be counted.
        instance_label, instance_video: [G] int32; instance_row: [G] rows of the ground truth given.
        taken_by: [T,G] int64 position (into label, video, ...) of the detection that took an instance; -1 = missed.
        counts: what was scored.
        rules: the switches used.
    """

    classes: tuple[str, ...]
    videos: tuple[str, ...] = field(repr=False)
    evaluated: int
    tious: np.ndarray
    label: np.ndarray = field(repr=False)
    video: np.ndarray = field(repr=False)
    score: np.ndarray = field(repr=False)
    row: np.ndarray = field(repr=False)
    uncounted: np.ndarray = field(repr=False)
    instance_label: np.ndarray = field(repr=False)
    instance_video: np.ndarray = field(repr=False)
    instance_row: np.ndarray = field(repr=False)
    taken_by: np.ndarray = field(repr=False)
    counts: Counts
    rules: Rules

    def class_bounds(self) -> np.ndarray:
        """[C+1] where the detections of every class begin."""
        return np.searchsorted(self.label, np.arange(len(self.classes) + 1, dtype=self.label.dtype))  # else a copy

    def instances(self) -> np.ndarray:
        """[C] number of instances of every class."""
        return np.bincount(self.instance_label, minlength=len(self.classes))

    def at(self, threshold: int) -> Matches:
        """The same matches with the threshold of that index alone."""
        one = slice(threshold, threshold + 1)
        return replace(self, tious=self.tious[one], taken_by=self.taken_by[one])

    def true_positives(self, threshold: int) -> np.ndarray:
        """Sorted positions of the true positives at the threshold of that index."""
        taken = self.taken_by[threshold]
        return np.sort(taken[taken >= 0])


def match(
    detections: DetectionTable,
    ground_truth: GroundTruth,
    tious: Sequence[float],
    rules: Rules | None = None,
    *,
    unknown_labels: Literal["ignore", "refuse"] = "ignore",
    strict_official: bool = False,
) -> Matches:
    """Match detections with instances for every class, video and threshold.

    Args:
        detections: N rows; labels index `ground_truth.classes`.
        ground_truth: G rows.
        tious: T thresholds in (0, 1]; a tIoU equal to one matches.
        rules: switches, default the official ones.
        unknown_labels: a detection of a class without an instance is ignored and counted, or refused.
        strict_official: accept NaN scores (ranked first), reversed segments, and 0/0 tIoU as a match that goes
            before every other, as the official code does. Not on a grid. Without it two segments of no length match
            if they are the same instant (ActivityNet annotates some), and two empty snippet sets never do.

    Raises:
        TableError: NaN scores, reversed segments, thresholds out of range, unknown labels (with "refuse"), or
            detections in snippets without a grid.
    """
    rules = rules or Rules()
    tious = _thresholds(tious)
    if unknown_labels not in ("ignore", "refuse"):
        raise TableError(f"unknown_labels must be 'ignore' or 'refuse', got {unknown_labels!r}.")
    if not strict_official:
        ground_truth.check()
        detections.check()
    elif rules.grid is not None:
        raise TableError("strict_official reproduces the official code in seconds; it has no meaning on a grid.")
    if detections.unit == "snippets" and rules.grid is None:
        raise TableError("the detections are in snippets: give grid=..., the snippets a second (25/16 on THUMOS14).")
    instances = _Instances.sort(ground_truth, rules)
    admitted, videos, counts = _admit(detections, ground_truth, instances, unknown_labels, rules)
    touches = _touches_ambiguous(admitted, ground_truth, rules, strict_official)
    if rules.ambiguous == "drop" and touches.any():
        counts = replace(counts, dropped=int(np.count_nonzero(touches)))
        admitted, touches = admitted.take(np.flatnonzero(~touches)), touches[~touches]
    ranked = _rank_and_assign(admitted, touches, instances, len(videos), tious, rules, strict_official)
    return Matches(
        classes=instances.classes,
        videos=videos,
        evaluated=len(ground_truth.videos),
        tious=tious,
        **ranked,
        instance_label=instances.label,
        instance_video=instances.video,
        instance_row=instances.row,
        counts=counts,
        rules=rules,
    )


def _thresholds(tious: Sequence[float]) -> np.ndarray:
    values = np.asarray(tious, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not ((values > 0) & (values <= 1)).all():
        raise TableError(f"tious must be a list of thresholds in (0, 1], got {list(np.ravel(values))}.")
    return values


@dataclass(frozen=True)
class _Rows:
    """Detections that take part: `video` and `label` renumbered, times in the unit of the metric.

    `row` says which of the table's rows they are, None that they are all of them in order.
    """

    video: np.ndarray
    label: np.ndarray
    start: np.ndarray
    end: np.ndarray
    score: np.ndarray
    row: np.ndarray | None = None

    def take(self, index: np.ndarray) -> _Rows:
        """The rows `index` [M] selects, in that order."""
        columns = (getattr(self, name)[index] for name in ("video", "label", "start", "end", "score"))
        return _Rows(*columns, index if self.row is None else self.row[index])


@dataclass(frozen=True)
class _Instances:
    """Instances sorted by class, video and start; `number` maps the class list to classes with any."""

    classes: tuple[str, ...]
    number: np.ndarray
    label: np.ndarray
    video: np.ndarray
    start: np.ndarray
    end: np.ndarray
    row: np.ndarray

    def segments(self, some: slice, first_class: int, videos: int) -> Segments:
        """Some of them, with groups that count from `first_class` on."""
        label = self.label[some]
        group = (label - np.int64(first_class)) * videos + self.video[some]
        return Segments(group, label, self.start[some], self.end[some])

    @classmethod
    def sort(cls, truth: GroundTruth, rules: Rules) -> _Instances:
        present = truth.instances() > 0
        if not present.any():
            raise TableError(
                f"the ground truth of these {len(truth.videos)} videos holds no instance, so there is nothing to "
                "score; is it a test subset whose annotations are withheld?"
            )
        number = np.where(present, np.cumsum(present) - 1, -1).astype(np.int32)
        order = np.lexsort((truth.start, truth.video, truth.label))
        names = tuple(name for name, there in zip(truth.classes, present) if there)
        start, end = truth.start[order], truth.end[order]
        if rules.grid is not None:
            start, end = np.rint(start * rules.grid), np.rint(end * rules.grid)
        return cls(names, number, number[truth.label[order]], truth.video[order], start, end, order)


def _admit(
    table: DetectionTable, truth: GroundTruth, instances: _Instances, unknown_labels: str, rules: Rules
) -> tuple[_Rows, tuple[str, ...], Counts]:
    """Renumber videos and classes; leave out what takes no part, counted."""
    place = {name: index for index, name in enumerate(truth.videos)}
    lookup = np.array([place.setdefault(name, len(place)) for name in table.videos], dtype=np.int32)
    _check_labels(table, truth, instances, unknown_labels)
    video = _renumbered(table.video, lookup)
    # -1, an unknown class, picks the appended -1
    label = _renumbered(table.label, np.append(instances.number, np.int32(-1)))
    unknown = label < 0
    keep, counts = ~unknown, {}
    annotated = np.bincount(instances.video, minlength=len(place)) > 0
    if rules.videos == "annotated":
        counts["left_out"] = int(np.count_nonzero(keep & ~annotated[video]))
        keep &= annotated[video]
    counts = Counts(
        videos=int(np.count_nonzero(annotated)) if rules.videos == "annotated" else len(truth.videos),
        instances=len(truth),
        detections=len(table),
        unknown_label=int(np.count_nonzero(unknown)),
        unknown_video=int(np.count_nonzero(video >= len(truth.videos))),
        **counts,
    )
    if rules.grid is not None:
        table = table.on_grid(rules.grid)
    rows = _Rows(video, label, table.start, table.end, table.score)
    if rules.videos == "annotated":
        row = np.flatnonzero(keep)
        rows = rows.take(row[np.argsort(video[row], kind="stable")])
    elif not keep.all():
        rows = rows.take(np.flatnonzero(keep))
    return rows, tuple(place), counts


def _renumbered(column: np.ndarray, number: np.ndarray) -> np.ndarray:
    """[N] `number` of every value, without a copy where each value that occurs keeps its own."""
    size = int(column.max(initial=-1)) + 1
    if column.min(initial=0) >= 0 and np.array_equal(number[:size], np.arange(size)):
        return column
    return number[column]


def _check_labels(table: DetectionTable, truth: GroundTruth, instances: _Instances, unknown_labels: str) -> None:
    outside = table.label >= len(truth.classes)
    if outside.any():
        row = int(np.argmax(outside))
        raise TableError(
            f"{table.place(row)}: label {table.label[row]} is outside the class list of {len(truth.classes)}; were "
            "the detections written for another data set, or with the background as a class?"
        )
    if unknown_labels == "ignore":
        return
    unknown = np.append(instances.number, np.int32(-1))[table.label] < 0
    if unknown.any():
        row = int(np.argmax(unknown))
        name = repr(truth.classes[table.label[row]]) if table.label[row] >= 0 else "that is not in the class list"
        raise TableError(
            f"{table.place(row)}: a class {name} without an instance in the videos under evaluation "
            f"({np.count_nonzero(unknown)} such rows). Drop them, or let them be ignored (unknown_labels='ignore')."
        )


def _touches_ambiguous(rows: _Rows, truth: GroundTruth, rules: Rules, strict_official: bool) -> np.ndarray:
    """[N] bool, true where a detection shares time (snippets on a grid) with an Ambiguous stretch of its video."""
    touches = np.zeros(len(rows.video), dtype=bool)
    if rules.ambiguous is None or not len(truth.ambiguous_video):
        return touches
    order = np.lexsort((truth.ambiguous_start, truth.ambiguous_video))
    video, start, end = truth.ambiguous_video[order], truth.ambiguous_start[order], truth.ambiguous_end[order]
    if rules.grid is not None:
        start, end = np.rint(start * rules.grid), np.rint(end * rules.grid)
    first, count = near_ranges(rows.video, rows.start, rows.end, video, start, end, whole_groups=strict_official)
    for detection, stretch in expand_pairs(first, count, 0, len(touches)):
        shared = np.minimum(rows.end[detection], end[stretch]) - np.maximum(rows.start[detection], start[stretch])
        touches[detection[shared > 0]] = True
    return touches


def _rank_and_assign(
    rows: _Rows,
    touches: np.ndarray,
    instances: _Instances,
    videos: int,
    tious: np.ndarray,
    rules: Rules,
    strict_official: bool,
) -> dict[str, np.ndarray]:
    """The columns of `Matches` about detections, ranked, and `taken_by`.

    Whole classes at a time: what is in work stays small enough for the cache and for memory that is used again.
    """
    classes = len(instances.classes)
    bounds = np.concatenate([[0], np.cumsum(_counted(rows.label, classes))])
    instance_bounds = np.searchsorted(instances.label, np.arange(classes + 1))
    order, video, score = _by_class(rows, bounds)
    label = np.repeat(np.arange(classes, dtype=np.int32), np.diff(bounds))
    taken_by = np.full((len(tious), len(instances.label)), -1, dtype=np.int64)
    for low, high in blocks(bounds, _BLOCK_ROWS):
        here, there = slice(bounds[low], bounds[high]), slice(instance_bounds[low], instance_bounds[high])
        own = _ranking(score[here], bounds[low : high + 1] - bounds[low], rules)
        for column in (score, video, order):
            column[here] = column[here][own]
        # most detections are of a class that their video does not show: they take nothing
        group = (label[here] - np.int64(low)) * videos + video[here]
        truth = instances.segments(there, low, videos)
        able = with_instances(group, truth.group)[0]
        at = order[here][able]
        taken = assign(
            Segments(group[able], label[here][able], rows.start[at], rows.end[at]),
            truth,
            tious,
            listed=instances.row[there],
            first_listed=rules.matching == "first",
            last_of_ties=rules.instance_ties == "last_first",
            undefined="none" if rules.grid is not None else "best" if strict_official else "same",
        )
        taken_by[:, there] = np.append(able + bounds[low], -1)[taken]
    uncounted = touches[order] if touches.any() else touches
    row = order if rows.row is None else rows.row[order]
    return dict(label=label, video=video, score=score, row=row, uncounted=uncounted, taken_by=taken_by)


def _by_class(rows: _Rows, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, videos and scores of the rows [N], by class, in the order in which they come.

    A part at a time, which is read in any order while it stays in the cache, and written where each of its classes
    goes on; gathered class by class, all of memory would be read anew for every class.
    """
    size = len(rows.label)
    order, video, score = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int32), np.empty(size)
    begun = bounds[:-1].copy()
    for begin in range(0, size, _PART_ROWS):
        part = slice(begin, begin + _PART_ROWS)
        own = by_group(rows.label[part])
        count = np.bincount(rows.label[part], minlength=len(begun))
        place = np.arange(len(own)) + np.repeat(begun - (np.cumsum(count) - count), count)
        order[place], video[place], score[place] = own + begin, rows.video[part][own], rows.score[part][own]
        begun += count
    return order, video, score


def _counted(column: np.ndarray, size: int) -> np.ndarray:
    """[size] how often each value occurs; a part at a time, as numpy counts on a copy of twice the size."""
    total = np.zeros(size, dtype=np.int64)
    for begin in range(0, len(column), _BLOCK_ROWS):
        total += np.bincount(column[begin : begin + _BLOCK_ROWS], minlength=size)
    return total


def _ranking(score: np.ndarray, bounds: np.ndarray, rules: Rules) -> np.ndarray:
    """Order every class, which begins and ends at `bounds`, by falling score; NaN (strict mode only) first."""
    later_first = rules.ties == "last_first"
    order = np.empty(len(score), dtype=np.int64)
    for begin, end in pairwise(bounds.tolist()):  # class by class: short sorts stay in the cache
        part = score[begin:end]
        unreal = np.isnan(part)
        if unreal.any():
            place = np.arange(end - begin)
            own = np.lexsort((-place if later_first else place, -np.where(unreal, 0.0, part), ~unreal))
        else:
            own = falling(part, later_first)
        np.add(own, begin, out=order[begin:end])
    return order
