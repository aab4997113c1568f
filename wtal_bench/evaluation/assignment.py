"""The greedy loop of the official rule for all classes, videos and thresholds at once, as a stable matching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from wtal_bench.evaluation.overlaps import blocks, expand_pairs, near_ranges, temporal_iou

_BLOCK_PAIRS = 250_000
"""Detections are matched together up to so many detection-instance pairs; bounds the memory for inputs of any size."""


@dataclass(frozen=True)
class Segments:
    """Segments with their group (class and video) and class: detections by class and rank, or instances by group.

    Attributes:
        group: [N] int64, ascending with the class.
        label: [N] int32, ascending.
        start, end: [N] float64 in the unit of the metric; of instances, ascending starts within a group.
    """

    group: np.ndarray
    label: np.ndarray
    start: np.ndarray
    end: np.ndarray


def assign(
    detections: Segments,
    instances: Segments,
    tious: np.ndarray,
    *,
    listed: np.ndarray,
    first_listed: bool,
    last_of_ties: bool,
    undefined: str,
) -> np.ndarray:
    """[T,G] position of the detection that takes each instance, -1 where none does.

    Args:
        detections: ranked within their class; instances: what they take.
        tious: [T] thresholds.
        listed: [G] position of the instances in the file, for ties between them.
        first_listed: a detection takes the first listed free instance that reaches the threshold, not the best.
        last_of_ties: of instances with equal tIoU the last listed goes first, else the first listed.
        undefined: a tIoU of 0/0 is a match before every other ("best"), a match if both are the same instant
            ("same"), or none ("none").
    """
    first, count = near_ranges(
        detections.group,
        detections.start,
        detections.end,
        instances.group,
        instances.start,
        instances.end,
        whole_groups=undefined == "best",
    )
    instance_bounds = np.searchsorted(instances.label, np.arange(int(instances.label[-1]) + 2))
    taken_by = np.full((len(tious), len(instances.group)), -1, dtype=np.int64)
    # block by block in ranking order, classes one after another: what a better-ranked detection took stays taken
    for low, high in blocks(np.concatenate([[0], np.cumsum(count)]), _BLOCK_PAIRS):
        begin, end = instance_bounds[detections.label[low]], instance_bounds[detections.label[high - 1] + 1]
        taken = taken_by[:, begin:end]
        free = np.ones(len(instances.group), dtype=bool)
        free[begin:end] = (taken < 0).any(axis=0)
        pairs = _pairs(first, count, low, high, None if free.all() else free)
        detection, instance, overlap = _choices(detections, instances, pairs, tious.min(), undefined)
        place = listed[instance]
        keys = (place,) if first_listed else (-place if last_of_ties else place, -overlap)
        order = _preference(detection, keys)
        _settle(detection[order], instance[order] - begin, overlap[order], tious, taken, len(detections.group))
    return taken_by


def _pairs(
    first: np.ndarray, count: np.ndarray, low: int, high: int, free: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(detection, instance) of rows low..high, without the instances that are not `free`."""
    for detection, instance in expand_pairs(first, count, low, high):
        if free is not None:
            wanted = np.flatnonzero(free[instance])
            detection, instance = detection[wanted], instance[wanted]
        yield detection, instance


def _choices(
    detections: Segments,
    instances: Segments,
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    lowest: float,
    undefined: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(detection, instance, tIoU) of every pair that reaches the lowest threshold, detections ascending."""
    kept = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for detection, instance in pairs:
        overlap = temporal_iou(
            detections.start[detection], detections.end[detection], instances.start[instance], instances.end[instance]
        )
        nothing = np.isnan(overlap)
        if undefined != "none" and nothing.any():
            # The official code asks `tIoU < threshold`, which is false for 0/0, and sorts NaN before all others.
            # Otherwise only segments that touch get here: two of no length, hence the same instant.
            overlap[nothing] = np.inf if undefined == "best" else 1.0
        reach = overlap >= lowest
        kept.append((detection[reach], instance[reach], overlap[reach]))
    return tuple(np.concatenate(parts) for parts in zip(*kept))


def _preference(detection: np.ndarray, keys: tuple[np.ndarray, ...]) -> np.ndarray:
    """Order the choices of every detection by `keys`, the last key first; detections ascend and stay in place."""
    order = np.arange(len(detection))
    same = detection[1:] == detection[:-1]
    # most detections have a single choice, and sorting is the dearest step of the whole metric
    several = np.flatnonzero(np.append(False, same)[: len(order)] | np.append(same, False)[: len(order)])
    order[several] = several[np.lexsort((*(key[several] for key in keys), detection[several]))]
    return order


def _settle(
    detection: np.ndarray, instance: np.ndarray, overlap: np.ndarray, tious: np.ndarray, taken: np.ndarray, total: int
) -> None:
    """Write the detection (of `total`) that takes each free instance into `taken` [T,instances], in the same rounds."""
    open_at = [np.flatnonzero((overlap >= tiou) & (row[instance] < 0)) for tiou, row in zip(tious, taken)]
    threshold = np.repeat(np.arange(len(tious)), [len(index) for index in open_at])
    pick = np.concatenate(open_at)
    holder = _deferred_acceptance(
        detection[pick] + threshold * total, instance[pick] + threshold * taken.shape[1], taken.size
    ).reshape(taken.shape)
    now, where = np.nonzero(holder >= 0)
    taken[now, where] = holder[now, where] - now * total


def _deferred_acceptance(proposer: np.ndarray, target: np.ndarray, targets: int) -> np.ndarray:
    """Stable matching in which every target prefers the lowest proposer: [targets] its proposer, or -1.

    `proposer` ascends; within a proposer `target` is in falling preference.
    """
    free = np.iinfo(np.int64).max
    holder = np.full(targets, free, dtype=np.int64)
    proposal = np.zeros(targets, dtype=np.int64)
    changes = proposer[1:] != proposer[:-1]
    last = np.append(changes, True)[: len(proposer)]
    current = np.flatnonzero(np.append(True, changes)[: len(proposer)])
    while len(current):
        wanted, who = target[current], proposer[current]
        before = holder[wanted]
        np.minimum.at(holder, wanted, who)
        won = holder[wanted] == who
        gained = wanted[won]
        dethroned = proposal[gained][before[won] < free]
        proposal[gained] = current[won]
        refused = np.concatenate([current[~won], dethroned])
        current = refused[~last[refused]] + 1
    return np.where(holder == free, -1, holder)
