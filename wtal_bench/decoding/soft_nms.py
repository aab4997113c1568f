"""Soft suppression of segments, all groups at once: round r of every group is one array operation.

The order is part of the rule. Among equal current scores the first in the current array wins, and the array is
permuted: the picked segment is swapped with the front one, then leaves (CO2-Net, P-MIL, OpenTAD). With `min_score`
the place of a dropped segment is filled with the last one (OpenTAD).

What it costs: one round a segment of the longest group, some twenty array operations each, over all groups and what is
left of them. Compiled loops are faster, three times on 20 groups of 1000 with a `min_score` of 0.001 (110 ms against
35 ms; 1.4 times without `min_score`), ten times on a single group of 1000, where a round has nothing to share its
twenty calls with. Rounds cannot be joined: which segment a round picks depends on what the last one did to the scores.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Decay = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(intersections, lengths of the picked, lengths of the others) -> what the others' scores are multiplied by."""


def soften(
    start: np.ndarray,
    end: np.ndarray,
    score: np.ndarray,
    group: np.ndarray,
    *,
    decay: Decay,
    offset: float,
    reach: float,
    min_score: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Apply a soft rule to [N] columns.

    Args:
        start, end, score, group: segments, and what they compete within.
        decay: the rule.
        offset, reach: added to every length and to every intersection.
        min_score: a segment is dropped when its score falls below; None drops none.

    Returns:
        ([M] int64 input rows, [M] float64 scores): groups ascending, inside a group in the order of picking.
    """
    if not len(group):
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    # one table row a group, padded on the right: `row` holds input rows, `live` how many are still in the array
    order = np.argsort(group, kind="stable")
    _, line, size = np.unique(group[order], return_inverse=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(np.cumsum(size) - size, size)
    row = np.full((len(size), size.max()), -1, dtype=np.int64)
    row[line, place] = order
    current = np.full(row.shape, -np.inf, dtype=score.dtype)
    current[line, place] = score[order]
    length = end - start + start.dtype.type(offset)
    live = size.copy()
    lines = np.arange(len(size))
    for front in range(row.shape[1]):
        lines = lines[live[lines] > front]
        if not len(lines):
            break
        picked = front + np.argmax(current[lines, front:], axis=1)
        for table in (row, current):
            table[lines, front], table[lines, picked] = table[lines, picked], table[lines, front]
        best, others = row[lines, front, None], row[lines, front + 1 :]
        inter = np.minimum(end[best], end[others]) - np.maximum(start[best], start[others])
        inter = np.maximum(inter + inter.dtype.type(reach), 0)
        factor = decay(inter, np.broadcast_to(length[best], others.shape), length[others])
        rest = current[lines, front + 1 :]
        # padding keeps its -inf, whatever segment its row number happens to point at
        current[lines, front + 1 :] = np.multiply(rest, factor, out=rest, where=rest > -np.inf)
        if min_score is not None:
            live = _refill(row, current, live, lines, front, current.dtype.type(min_score))
    inside = np.arange(row.shape[1]) < live[:, None]
    return row[inside], current[inside].astype(np.float64)


def _refill(
    row: np.ndarray, current: np.ndarray, live: np.ndarray, lines: np.ndarray, front: int, lowest: np.floating
) -> np.ndarray:
    """Drop what fell below `lowest` behind `front`; fill each hole, from the left, with the last survivor."""
    width = row.shape[1]
    column = np.arange(width)
    behind = (column > front) & (column < live[lines, None])
    gone = behind & (current[lines] < lowest)
    if not gone.any():
        return live
    live = live.copy()
    live[lines] -= gone.sum(axis=1)
    edge = live[lines, None]
    hole_line, hole = np.nonzero(gone & (column < edge))
    mover_line, mover = np.nonzero((behind & ~gone & (column >= edge))[:, ::-1])
    mover = width - 1 - mover
    for table in (row, current):
        table[lines[hole_line], hole] = table[lines[mover_line], mover]
    current[lines] = np.where(column < edge, current[lines], -np.inf)
    return live
