"""The greedy loop of the official rule for all classes, videos and thresholds at once, as a stable matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wtal_bench.evaluation.overlaps import blocks, expand_pairs, near_ranges, temporal_iou

_BLOCK_PAIRS = 4_000_000
"""Classes are matched together up to so many detection-instance pairs; bounds the memory for inputs of any size."""


@dataclass(frozen=True)
class Segments:
    """Segments with their group (class and video) and class: detections by class and rank, or instances by group.

    Attributes:
        group: [N] int64, ascending with the class.
        label: [N] int32, ascending.
        start, end: [N] float64 in the unit of the metric; of instances, ascending starts within a group.
        listed: [N] position in the file, for ties between instances.
    """

    group: np.ndarray
    label: np.ndarray
    start: np.ndarray
    end: np.ndarray
    listed: np.ndarray


def assign(
    detections: Segments,
    instances: Segments,
    tious: np.ndarray,
    *,
    first_listed: bool,
    last_of_ties: bool,
    undefined: str,
) -> np.ndarray:
    """[T,G] position of the detection that takes each instance, -1 where none does.

    Args:
        detections: ranked within their class; instances: what they take.
        tious: [T] thresholds.
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
    classes = np.arange(int(instances.label[-1]) + 2)
    bounds, instance_bounds = np.searchsorted(detections.label, classes), np.searchsorted(instances.label, classes)
    pairs = np.concatenate([[0], np.cumsum(count)])[bounds]
    taken_by = np.empty((len(tious), len(instances.group)), dtype=np.int64)
    for low, high in blocks(pairs, _BLOCK_PAIRS):  # whole classes: the detections of one compete
        detection, instance, overlap = _choices(
            detections, instances, first, count, bounds[[low, high]], tious.min(), undefined
        )
        listed = instances.listed[instance]
        keys = (listed,) if first_listed else (-listed if last_of_ties else listed, -overlap)
        order = _preference(detection, keys)
        begin, end = instance_bounds[[low, high]]
        taken_by[:, begin:end] = _settle(
            detection[order], instance[order] - begin, overlap[order], tious, end - begin, len(detections.group)
        )
    return taken_by


def _choices(
    detections: Segments,
    instances: Segments,
    first: np.ndarray,
    count: np.ndarray,
    bounds: Sequence[int],
    lowest: float,
    undefined: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(detection, instance, tIoU) of every pair that reaches the lowest threshold, detections ascending."""
    kept = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for detection, instance in expand_pairs(first, count, *bounds):
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
    detection: np.ndarray, instance: np.ndarray, overlap: np.ndarray, tious: np.ndarray, instances: int, detections: int
) -> np.ndarray:
    """[T, instances] detection that takes each instance, all thresholds in the same rounds; -1 = none."""
    reach = [np.flatnonzero(overlap >= tiou) for tiou in tious]
    threshold = np.repeat(np.arange(len(tious)), [len(index) for index in reach])
    pick = np.concatenate(reach)
    holder = _deferred_acceptance(
        detection[pick] + threshold * detections, instance[pick] + threshold * instances, len(tious) * instances
    ).reshape(len(tious), instances)
    return np.where(holder < 0, -1, holder - np.arange(len(tious))[:, None] * detections)


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
