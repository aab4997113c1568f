"""Scoring detections that come in parts and need not fit into memory, equal to the last bit to scoring them at once.

Matching asks for one video at a time, so every part is matched on its own, and only its true positives are kept: at
most one an instance and threshold. What average precision wants of each is its rank among all detections of its class.
A second pass over the parts counts, for every true positive, what stands before it. Memory holds one part and the
ground truth; time is that of reading the parts twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from wtal_bench.errors import listing
from wtal_bench.evaluation.average_precision import Hits, precision_of_hits
from wtal_bench.evaluation.matching import Counts, Matches, Rules, match
from wtal_bench.evaluation.metric import EvaluationResult, Preset
from wtal_bench.evaluation.tables import DetectionTable, GroundTruth, TableError

Parts = Callable[[], Iterable[DetectionTable]]
"""Begins a pass over the parts of some detections; a video lies in one part alone."""

_ADDED = ("detections", "unknown_label", "unknown_video", "left_out", "dropped")


@dataclass(frozen=True)
class StreamedResult(EvaluationResult):
    """As `EvaluationResult`, without `matches` (None): whose detections were never together.

    Attributes:
        instances, detections: [C] how many every class has.
    """

    instances: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    detections: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)


def evaluate_parts(
    parts: Parts, ground_truth: GroundTruth, tious: Sequence[float], presets: Sequence[Preset]
) -> dict[str, StreamedResult]:
    """Score detections in parts by some evaluators, all of them in the same two passes.

    Args:
        parts: begins a pass over the parts; both passes must give the same.
        ground_truth: all of it.
        tious: T thresholds.
        presets: the evaluators.

    Returns:
        Preset name -> result, the numbers `Preset.evaluate` gives on all parts joined.

    Raises:
        TableError: as `Preset.evaluate`; or a video that lies in two parts.
    """
    collected = {preset.name: _Collected(preset, ground_truth, tious) for preset in presets}
    seen: set[str] = set()
    for table in parts():
        twice = seen.intersection(table.videos)
        if twice:
            raise TableError(f"videos must lie in one part each; these lie in two: {listing(sorted(twice), 5)}.")
        seen.update(table.videos)
        for kept in collected.values():
            kept.collect(table)
    if not seen:
        raise TableError("there is no part to score.")
    for kept in collected.values():
        kept.order()
    for table in parts():
        for kept in collected.values():
            kept.count(table)
    return {name: kept.result() for name, kept in collected.items()}


class _Truth:
    """The ground truth of one evaluator, from which that of a part is cut: a pass costs no more for many parts."""

    def __init__(self, truth: GroundTruth) -> None:
        self.truth = truth
        self.place = {name: place for place, name in enumerate(truth.videos)}
        self.present = np.flatnonzero(truth.instances())
        videos = np.arange(len(truth.videos) + 1)
        # stable: the order in which a video's instances are listed decides between them
        self.order, self.spans = (np.argsort(of, kind="stable") for of in (truth.video, truth.ambiguous_video))
        self.first = np.searchsorted(truth.video[self.order], videos)
        self.first_span = np.searchsorted(truth.ambiguous_video[self.spans], videos)

    def of(self, names: Sequence[str]) -> tuple[GroundTruth, np.ndarray]:
        """The ground truth of some videos, and [V] the places of its videos in the whole.

        One video more, which no detection is in, shows every class of the whole: classes keep their numbers.
        """
        places = np.array(sorted(self.place[name] for name in names if name in self.place), dtype=np.int64)
        rows, video = _ranges(self.first, places)
        spans, span_video = _ranges(self.first_span, places)
        rows, spans, whole = self.order[rows], self.spans[spans], self.truth
        more = len(self.present)
        part = GroundTruth(
            whole.classes,
            (*(whole.videos[place] for place in places), _NOWHERE),
            np.append(video, np.full(more, len(places))),
            np.append(whole.label[rows], self.present),
            np.append(whole.start[rows], np.zeros(more)),
            np.append(whole.end[rows], np.ones(more)),
            span_video,
            whole.ambiguous_start[spans],
            whole.ambiguous_end[spans],
        )
        return part, places

    def counts(self, rules: Rules) -> Counts:
        """Videos and instances of the whole, and no detection yet."""
        annotated = len(np.unique(self.truth.video)) if rules.videos == "annotated" else len(self.truth.videos)
        return Counts(videos=annotated, instances=len(self.truth), detections=0)


_NOWHERE = "\0"


def _ranges(first: np.ndarray, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[R] positions first[i] .. first[i + 1] of every i of some, and [R] which of them it is."""
    sizes = first[some + 1] - first[some]
    which = np.repeat(np.arange(len(some)), sizes)
    return np.arange(len(which)) + np.repeat(first[some] - (np.cumsum(sizes) - sizes), sizes), which


class _Collected:
    """What one evaluator keeps of the parts."""

    def __init__(self, preset: Preset, truth: GroundTruth, tious: Sequence[float]) -> None:
        self.preset, self.tious = preset, tious
        self.truth = _Truth(truth.without(preset.exclude))
        self.found: list[_True] = []
        self.offsets = [0]
        self.counts = self.truth.counts(preset.rules)
        self.instances = self.truth.truth.instances()[self.truth.present]
        self.classes = tuple(truth.classes[label] for label in self.truth.present)
        self.sizes = np.zeros(len(self.classes), np.int64)
        self.part = 0

    def _matched(self, table: DetectionTable, tious: Sequence[float]) -> tuple[Matches, np.ndarray]:
        truth, places = self.truth.of(table.videos)
        detections, _ = self.preset.tables(table, truth)
        return match(detections, truth, tious, self.preset.rules), places

    def collect(self, table: DetectionTable) -> None:
        """First pass: keep a part's true positives."""
        matches, places = self._matched(table, self.tious)
        self.thresholds = matches.tious
        added = {name: getattr(self.counts, name) + getattr(matches.counts, name) for name in _ADDED}
        self.counts = replace(self.counts, **added)
        self.sizes += np.diff(matches.class_bounds())
        hit = np.unique(matches.taken_by[matches.taken_by >= 0])
        at = np.stack([np.isin(hit, taken) for taken in matches.taken_by])
        position = self._positions(matches, places, hit, self.offsets[-1])
        self.offsets.append(self.offsets[-1] + len(table))
        uncounted = matches.uncounted[hit]
        self.found.append(_True(matches.label[hit], matches.score[hit], position, uncounted, at))

    def _positions(self, matches: Matches, places: np.ndarray, index: np.ndarray | slice, offset: int) -> np.ndarray:
        """[M] what equal scores are ordered by, ascending in ranking order: places in the file, or as videos come."""
        position = matches.row[index].astype(np.int64)
        if self.preset.rules.videos == "annotated":
            # in the order of the annotations; a video has all its rows in one part, so rows within it are enough
            position += places[matches.video[index]] << 32
        else:
            position += offset
        return -position if self.preset.rules.ties == "last_first" else position

    def order(self) -> None:
        """Between the passes: bring the true positives of all parts into ranking order, class by class."""
        joined = _True.joined(self.found)
        self.true = joined.take(np.lexsort((joined.position, -joined.score, joined.label)))
        self.found.clear()
        self.bounds = np.searchsorted(self.true.label, np.arange(len(self.classes) + 1))
        self.before, self.uncounted_before = (np.zeros(len(self.true.label), np.int64) for _ in range(2))

    def count(self, table: DetectionTable) -> None:
        """Second pass: count what stands before every true positive."""
        matches, places = self._matched(table, self.tious[:1])
        position = self._positions(matches, places, slice(None), self.offsets[self.part])
        self.part += 1
        own = matches.class_bounds()
        uncounted = matches.uncounted if matches.uncounted.any() else None
        for label in np.flatnonzero(np.diff(own) * np.diff(self.bounds)):
            here, there = slice(own[label], own[label + 1]), slice(self.bounds[label], self.bounds[label + 1])
            first = _first_behind(
                -self.true.score[there], self.true.position[there], -matches.score[here], position[here]
            )
            size = there.stop - there.start
            self.before[there] += np.bincount(first, minlength=size + 1)[:size]
            if uncounted is not None:
                first = first[uncounted[here]]
                self.uncounted_before[there] += np.bincount(first, minlength=size + 1)[:size]

    def result(self) -> StreamedResult:
        """Average precision from the ranks."""
        true, begin = self.true, self.bounds[self.true.label]
        place = _within(np.cumsum(self.before), begin) - 1
        uncounted = _within(np.cumsum(self.uncounted_before), begin)
        hits = []
        for at in true.at:
            # a true positive counts, whatever it touches
            spared = np.cumsum(true.uncounted & at)
            rank = place + 1 - (uncounted - _within(spared, begin))
            hits.append(Hits(true.label[at], place[at], rank[at]))
        values = precision_of_hits(hits, self.sizes, self.instances, self.preset.rules.ap)
        predicted, mean = self.sizes > 0, values.mean(axis=0)
        if self.preset.rules.empty_class == "zero_all" and not predicted.all():
            values, mean = np.full_like(values, np.nan), np.zeros_like(mean)
        absent = tuple(name for name, there in zip(self.classes, predicted) if not there)
        return StreamedResult(
            self.classes, self.thresholds, values, mean, self.counts, None, absent, self.instances, self.sizes
        )


@dataclass(frozen=True)
class _True:
    """Detections that are a true positive at some threshold: K of them, and at which [T,K]."""

    label: np.ndarray
    score: np.ndarray
    position: np.ndarray
    uncounted: np.ndarray
    at: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[_True]) -> _True:
        return cls(*(np.concatenate([getattr(part, column.name) for part in parts], axis=-1) for column in fields(cls)))

    def take(self, index: np.ndarray) -> _True:
        return _True(*(getattr(self, column.name)[..., index] for column in fields(self)))


def _within(total: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """[K] running sums that begin anew with every class; class k's first is at `begin`."""
    return total - np.append(0, total)[begin]


def _first_behind(score: np.ndarray, position: np.ndarray, other: np.ndarray, place: np.ndarray) -> np.ndarray:
    """[M] index of the first of K ranked rows that stands behind each of M others, or is it; K where none does.

    Args:
        score, position: [K] ascending, by score, then position.
        other, place: [M] scores and positions.
    """
    first = np.searchsorted(score, other, side="left")
    tied = np.flatnonzero(first < len(score))
    tied = tied[score[first[tied]] == other[tied]]
    if not len(tied):
        return first
    # ties are ordered by position: sorted among the rows of the same score, an other comes before the row it is
    run = np.searchsorted(score, score, side="left")
    ranked = np.concatenate([np.zeros(len(tied), np.int64), np.ones(len(score), np.int64)])
    order = np.lexsort((ranked, np.concatenate([place[tied], position]), np.concatenate([first[tied], run])))
    behind = np.empty(len(order), np.int64)
    behind[order] = np.cumsum(ranked[order]) - ranked[order]
    first[tied] = behind[: len(tied)]
    return first


__all__ = ["Parts", "StreamedResult", "evaluate_parts"]
