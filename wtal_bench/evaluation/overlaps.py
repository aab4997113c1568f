"""Pairs of segments that may overlap, found by sorting instead of by trying all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_CHUNK_PAIRS = 65_536
"""Pairs expanded at a time: the arrays of one chunk stay in the processor's cache."""


def near_ranges(
    group: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    of_group: np.ndarray,
    of_start: np.ndarray,
    of_end: np.ndarray,
    *,
    whole_groups: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """For every row the run of instances of its group that may overlap or touch it: ([N] first, [N] count).

    A run holds every instance that does, and few others. Segments must be finite with start <= end, unless
    `whole_groups` asks for all instances of the group.

    Args:
        group: [N] integer of the rows; start, end: [N] their times.
        of_group: [G] of the instances, sorted; of_start [G] sorted within a group; of_end [G].
        whole_groups: do not look at the times.
    """
    if not len(of_group):
        return np.zeros(len(group), dtype=np.int64), np.zeros(len(group), dtype=np.int64)
    first, count = np.zeros(len(group), dtype=np.int64), np.zeros(len(group), dtype=np.int64)
    # most detections are of a class that their video does not show: they are done
    some, low, after = with_instances(group, of_group)
    if whole_groups:
        first[some], count[some] = low, after - low
    else:
        first[some], count[some] = _near(low, start[some], end[some], of_group, of_start, of_end)
    return first, count


def with_instances(group: np.ndarray, of_group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[M] rows whose group has instances, where those begin, and where they end."""
    groups = int(max(group.max(initial=0), of_group[-1])) + 1
    if groups > 4 * len(group):  # a table would take longer than the search
        low, after = (np.searchsorted(of_group, group, side=side) for side in ("left", "right"))
        some = np.flatnonzero(after > low)
        return some, low[some], after[some]
    bounds = np.searchsorted(of_group, np.arange(groups + 1))
    some = np.flatnonzero((bounds[1:] > bounds[:-1])[group])
    return some, bounds[group[some]], bounds[group[some] + 1]


def _near(
    low: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    of_group: np.ndarray,
    of_start: np.ndarray,
    of_end: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """`near_ranges` of rows whose group has instances, the first of them at `low`."""
    # One sorted axis for all groups: group n occupies n * width .. (n + 1) * width - 1. The ends are made rising by
    # their running maximum. Rounding of the axis is allowed for by `slack`; the exact test comes later.
    ordinal = np.cumsum(np.append(False, of_group[1:] != of_group[:-1]))
    zero = of_start.min()
    width = of_end.max() - zero + 1.0
    slack = 8 * np.finfo(np.float64).eps * width * (ordinal[-1] + 1)
    starts = ordinal * width + (of_start - zero)
    ends = np.maximum.accumulate(ordinal * width + (of_end - zero))
    base = ordinal[low] * width
    first = np.searchsorted(ends, base + (np.maximum(start - zero, 0.0) - slack))
    after = np.searchsorted(starts, base + (np.minimum(end - zero, width - 1.0) + slack), side="right")
    return first, np.maximum(after - first, 0)


def expand_pairs(first: np.ndarray, count: np.ndarray, begin: int, end: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (detection, instance) index arrays of rows begin..end; row i meets first[i], ..., `count[i]` of them.

    Pairs come detection by detection, instances ascending, a bounded number at a time.
    """
    for low, high in blocks(np.concatenate([[0], np.cumsum(count[begin:end])]), _CHUNK_PAIRS):
        low, high = low + begin, high + begin
        size = count[low:high]
        detection = np.repeat(np.arange(low, high), size)
        within = np.arange(len(detection)) - np.repeat(np.cumsum(size) - size, size)
        yield detection, within + np.repeat(first[low:high], size)


def blocks(total: np.ndarray, limit: int) -> Iterator[tuple[int, int]]:
    """Cut items, `total` [n+1] being their cumulated pair counts, into runs of at most `limit` pairs, or one item."""
    low, items = 0, len(total) - 1
    while low < items:
        high = max(low + 1, int(np.searchsorted(total, total[low] + limit, side="right")) - 1)
        yield low, high
        low = high


def temporal_iou(
    start: np.ndarray, end: np.ndarray, instance_start: np.ndarray, instance_end: np.ndarray
) -> np.ndarray:
    """tIoU in float64, in the operation order of the official code (exact hits on a threshold depend on it).

    NaN where the union has no length.
    """
    shared = np.minimum(instance_end, end)
    shared -= np.maximum(instance_start, start)
    np.maximum(shared, 0.0, out=shared)
    union = (instance_end - instance_start) + (end - start) - shared
    with np.errstate(invalid="ignore", divide="ignore"):
        return shared / union
