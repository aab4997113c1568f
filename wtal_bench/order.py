"""Stable orders of many rows, found faster than by numpy's stable sort."""

from __future__ import annotations

import numpy as np


def falling(score: np.ndarray, later_first: bool) -> np.ndarray:
    """The stable order [N] of falling scores [N] without NaN: of equal ones the earlier, or the later, goes first."""
    order = np.argsort(-score)  # the sort that keeps equal ones in order takes twice as long
    ranked = score[order]
    same = ranked[1:] == ranked[:-1]
    if same.any():
        tied = np.flatnonzero(np.append(False, same) | np.append(same, False))
        run = np.cumsum(np.append(True, ~same))[tied] * len(order)
        place = len(order) - 1 - order[tied] if later_first else order[tied]
        place = np.sort(run + place) - run
        order[tied] = len(order) - 1 - place if later_first else place
    return order


def by_group(group: np.ndarray) -> np.ndarray:
    """The stable order [N] of rising integers [N]."""
    if len(group) and int(group.max()) - int(group.min()) < 2**15:
        group = (group - group.min()).astype(np.int16)  # numpy sorts 16-bit integers by counting
    return np.argsort(group, kind="stable")
