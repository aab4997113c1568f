"""Runs, contrast and suppression as plain loops: what the array code must equal."""

from __future__ import annotations

import numpy as np


def runs_loop(curve, thresholds, above, positive, shortest, lone) -> list[list[int]]:
    """Rows (column, level, start, end) in the order of the columns, the thresholds and time."""
    rows = []
    for column in range(curve.shape[1]):
        for level, threshold in enumerate(thresholds):
            on = []
            for value in curve[:, column]:
                passes = value > threshold if above == ">" else value >= threshold
                on.append(bool(passes and (value > 0 or not positive)))
            if lone == "drop" and on[0] and not any(on[1:]):
                continue
            start = None
            for t, passes in enumerate([*on, False]):
                if passes and start is None:
                    start = t
                elif not passes and start is not None:
                    if t - start >= shortest:
                        rows.append([column, level, start, t])
                    start = None
    return rows


def contrast_loop(contrast, curve, video_scores, runs, i, zero_below) -> tuple[float, float]:
    """Score and inside statistic of run `i`, with Python's int() and numpy.mean on slices."""
    start, end, column = int(runs.start[i]), int(runs.end[i]), int(runs.column[i])
    values = curve[:, column].copy()
    if zero_below:
        values[values < runs.threshold[i]] = 0
    samples, length, kind = len(values), end - start, curve.dtype.type
    inside = values[start : min(end + contrast.overhang, samples)]
    inside = inside.max() if contrast.inside == "max" else np.mean(inside)
    score = inside
    if contrast.outer is not None:
        left, right = _flanks(contrast, start, end, samples, length)
        sides = [values[slice(*left)], values[slice(*right)]]
        if contrast.sides == "joined":
            sides = [np.concatenate(sides)]
        outside = kind(0)
        for side in sides:
            outside = outside + (np.mean(side) if len(side) else kind(0))
        score = inside - kind(contrast.weight) * outside
    if contrast.video_score:
        given = kind(1) if contrast.video_score_binary else video_scores[column]
        score = score + kind(contrast.video_score) * given
    return float(score), float(inside)


def _flanks(contrast, start, end, samples, length) -> tuple[tuple[int, int], tuple[int, int]]:
    flank = contrast.outer * length**contrast.power
    left, right, stop = max(0, int(start - flank)), end, samples
    if contrast.ring == "inclusive":
        stop = min(samples, int(end - 1 + flank) + 1)
    elif contrast.ring == "exclusive":
        stop = min(samples, int(end - 1 + flank))
    elif contrast.ring == "inside":
        right, stop = end + contrast.overhang, min(samples - 1, int(end + flank + 1))
    elif contrast.ring == "at_least_one":
        left, stop = max(0, min(int(start - flank), start - 1)), min(samples, max(int(end + flank), end + 1))
    elif contrast.ring == "one_more":
        left, stop = max(0, start - int(flank) - 1), min(samples, end + int(flank) + 1)
    return (left, start), (right, max(right, stop))


def hard_loop(rule, start, end, score) -> list[int]:
    """Greedy loop over one group; returns kept rows in the order of picking."""
    order = np.argsort(score, kind="stable")[::-1] if rule.ties == "later_first" else np.argsort(-score, kind="stable")
    order = list(order)
    kept = []
    while order:
        best = order.pop(0)
        kept.append(int(best))
        order = [j for j in order if not suppresses(rule, start, end, best, j)]
    return kept


def suppresses(rule, start, end, best, j) -> bool:
    """Whether row `best` suppresses row `j`."""
    length = end - start + rule.offset
    inter = max(0.0, min(end[best], end[j]) - max(start[best], start[j]) + rule.reach)
    whole = length[j] if rule.overlap == "self" else length[best] + length[j] - inter
    overlap = inter / whole if whole > 0 else 0.0
    return overlap >= rule.iou if rule.drop == ">=" else overlap > rule.iou
