"""The suppression rules as plain loops: what the array code must equal."""

from __future__ import annotations

import numpy as np


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
