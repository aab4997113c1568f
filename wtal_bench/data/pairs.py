"""Which videos are compared with which, by their tags alone.

`dataset_pairs` and `in_batch_pairs` are FTCL's (Gao et al., Section 3; authors' code). Its pairs are positive ("same")
when the two videos carry the same tags, and negative when they share none; pairs that overlap in part are never
compared. There are as many negatives as positives, as far as the videos allow.

`by_class_batch` is the mini-batch of W-TALC's code and of what descends from it: pairs that share one class at least.
"""

from __future__ import annotations

import numpy as np

from wtal_bench.errors import DataError


def dataset_pairs(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pair the videos of a data set: all positives, and as many negatives drawn once.

    Args:
        labels: [N,C] multi-hot tags.
        rng: draws the negatives.

    Returns:
        [P,2] int64 positions (first < second), positives first, and [P] bool, True where positive. Both are empty
        when no two videos carry the same tags.
    """
    labels = np.asarray(labels) > 0
    return _balanced(labels, labels.any(axis=1), rng)


def in_batch_pairs(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pair the rows of one mini-batch; as `dataset_pairs`, but positives must carry exactly one tag.

    Args:
        labels: [B,C] multi-hot tags.
        rng: draws the negatives.
    """
    labels = np.asarray(labels) > 0
    return _balanced(labels, labels.sum(axis=1) == 1, rng)


def by_class_batch(
    labels: np.ndarray,
    size: int,
    count: int,
    rng: np.random.Generator | np.random.RandomState,
    distinct: bool = False,
) -> np.ndarray:
    """A mini-batch of `count` pairs that share a class, and of other videos; everything is drawn with replacement.

    A pair is two videos of one drawn class. There is no epoch: a video comes as often as the draws want it.

    Args:
        labels: [N,C] multi-hot tags.
        size: videos in the batch, at least 2 * count.
        count: pairs, rows (0, 1), (2, 3), ...
        rng: a legacy `RandomState` repeats what the authors' code drew.
        distinct: never pair a video with itself; classes with a single video are then not drawn.

    Returns:
        [size] int64 positions.

    Raises:
        DataError: no class has a video (two videos if `distinct`).
    """
    labels = np.asarray(labels) > 0
    classes = np.flatnonzero(labels.sum(axis=0) > distinct)
    if not len(classes):
        needed = "two training videos" if distinct else "a training video"
        raise DataError(f"no class has {needed} tagged with it, so there is no pair of videos that shares a class.")
    picked = []
    for label in classes[rng.choice(len(classes), count)]:
        having = np.flatnonzero(labels[:, label])
        picked.append(having[rng.choice(len(having), 2, replace=not distinct)])
    others = rng.choice(len(labels), size - 2 * count)
    return np.concatenate([*picked, others]).astype(np.int64)


def disjoint_pairs(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Pairs of rows that share no tag, drawn without replacement.

    Args:
        labels: [B,C] multi-hot tags; a video without tags is never paired.
        count: how many are wanted.
        rng: draws.

    Returns:
        [P,2] int64 rows (first < second), P at most `count`.
    """
    labels = np.asarray(labels) > 0
    tagged = labels.any(axis=1)
    apart = (labels.astype(np.float32) @ labels.T.astype(np.float32)) == 0
    found = np.argwhere(np.triu(apart & tagged[:, None] & tagged, 1))
    return found[rng.permutation(len(found))[:count]].astype(np.int64)


def _balanced(labels: np.ndarray, eligible: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    # Comparing the few distinct label rows, not all videos, keeps ActivityNet's 10,000 videos small.
    patterns, pattern = np.unique(labels, axis=0, return_inverse=True)
    pattern = pattern.ravel()
    later = np.triu(np.ones((len(labels), len(labels)), dtype=bool), 1)
    same = later & (pattern[:, None] == pattern) & eligible[:, None]
    disjoint = (patterns.astype(np.float32) @ patterns.T.astype(np.float32)) == 0
    disjoint &= patterns.any(axis=1)[:, None] & patterns.any(axis=1)
    positives = np.flatnonzero(same)
    negatives = np.flatnonzero(later & disjoint[pattern][:, pattern])
    drawn = rng.choice(len(negatives), min(len(positives), len(negatives)), replace=False) if len(negatives) else []
    chosen = np.concatenate([positives, negatives[np.asarray(drawn, dtype=np.int64)]])
    pairs = np.stack(np.divmod(chosen, max(1, len(labels))), axis=1)
    return pairs, np.arange(len(chosen)) < len(positives)
