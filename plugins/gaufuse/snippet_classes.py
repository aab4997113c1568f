"""The weighting vectors of instances, and the few classes of snippets they tell apart.

Instance j of a class says: the sum of the label over its inside minus the sum over its outside is its confidence q_j
(GauFuse Eq. 5). Row j of W [n,T] holds +1 inside, -1 outside, 0 elsewhere. Snippets with equal columns of W are
equivalent; only their number and their common column matter to the linear program, so W itself is never made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OUTER, POWER = 0.0785, 0.9
"""The outside reaches OUTER * L ** POWER snippets to each side of an instance of length L (authors' code)."""
SNAP = 1e-6


@dataclass(frozen=True)
class Problem:
    """One class of one video.

    Attributes:
        snippets: T.
        start, end: [n] instances in snippets; an end may lie past T.
        confidence: [n] q.
    """

    snippets: int
    start: np.ndarray
    end: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.confidence)


@dataclass(frozen=True)
class SnippetClasses:
    """The classes of snippets of one problem that some instance sees.

    Attributes:
        columns: U [n,K] int8, the common column of each class.
        sizes: [K] float64 number of snippets in it.
        of_snippet: [T] int64 class of each snippet, K for those that no instance sees.
    """

    columns: np.ndarray
    sizes: np.ndarray
    of_snippet: np.ndarray

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values [K] of the classes -> [T] of the snippets, 0 where no instance looks."""
        return np.append(values, 0.0)[self.of_snippet]


def snapped(position: np.ndarray) -> np.ndarray:
    """Positions (any shape) within 1e-6 of a whole number on it, others as they are, before they are truncated.

    A weighted mean of equal numbers may come out one ulp below them, by luck of the machine, and lose a snippet.
    """
    whole = np.round(position)
    return np.where(np.abs(position - whole) <= SNAP, whole, position)


def last_bit(problem: Problem) -> tuple[bool, bool]:
    """Whether the last bit of a fused position decides the problem's snippets, and whether it costs one here.

    Returns:
        whether a start or end lies within 1e-6 of a whole number, where another order of summation may cut it
        elsewhere; whether one lies so closely below that truncation without `snapped` loses a snippet.
    """
    position = np.concatenate([problem.start, problem.end])
    whole = np.round(position)
    near = np.abs(position - whole) <= SNAP
    return bool(near.any()), bool((near & (position < whole)).any())


def areas(problem: Problem, snap: bool) -> np.ndarray:
    """[n,4] int64: start of the left outside, start and end of the inside, end of the right outside.

    The left outside ends where the inside starts, the right one starts at the inside's end: [max(0, int(s - d)), s)
    and [e, min(T-1, int(e + d + 1))) with d = 0.0785 L^0.9, L = e - s; so the last snippet is never outside on the
    right. Positions are truncated, and cut at T only where they become indices: L and d use the uncut end.

    Args:
        problem: the instances.
        snap: put positions within 1e-6 of a whole number on it first (`snapped`). False truncates literally, as the
            authors' code.
    """
    position = np.stack([problem.start, problem.end], axis=1).astype(np.float64)
    if snap:
        position = snapped(position)
    start, end = np.trunc(position).astype(np.int64).T
    reach = OUTER * np.maximum(end - start, 0) ** POWER
    left = np.maximum(0, np.trunc(start - reach).astype(np.int64))
    right = np.minimum(problem.snippets - 1, np.trunc(end + reach + 1).astype(np.int64))
    cut = np.clip(np.stack([left, start, end, right], axis=1), 0, problem.snippets)
    cut[:, 3] = np.maximum(cut[:, 3], cut[:, 2])
    return cut


def snippet_classes(problem: Problem, snap: bool = True) -> SnippetClasses:
    """Group the snippets of a problem by their columns of W, from the sorted boundaries of its areas."""
    edges = areas(problem, snap)
    bounds = np.unique(np.append(edges.ravel(), [0, problem.snippets]))
    first, sizes = bounds[:-1], np.diff(bounds)
    left, start, end, right = (column[:, None] for column in edges.T)
    inside = (first >= start) & (first < end)
    outside = ((first >= left) & (first < start)) | ((first >= end) & (first < right))
    columns = inside.astype(np.int8) - (outside & ~inside)
    # columns as bytes: equal bytes, equal classes
    keys = np.ascontiguousarray(columns.T).view(np.dtype((np.void, len(columns))))[:, 0] if len(columns) else first * 0
    _, where, which = np.unique(keys, return_index=True, return_inverse=True)
    which = which.reshape(-1)
    distinct = columns[:, where]
    seen = distinct.any(axis=0)
    number = np.where(seen, np.cumsum(seen) - 1, seen.sum())
    total = np.bincount(which, sizes, len(where))
    return SnippetClasses(distinct[:, seen], total[seen], np.repeat(number[which], sizes))
