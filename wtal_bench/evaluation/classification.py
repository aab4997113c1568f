"""Video-level classification: mean average precision over the videos, and exact-match accuracy."""

from __future__ import annotations

import numpy as np

from wtal_bench.evaluation.tables import TableError


def classification_ap(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision of every class, NaN where no video has the class.

    Per class the videos are sorted by falling score, equal ones in the order given; AP is the sum over the videos
    that have the class of (how many so far) / rank, over the sum of the labels; no interpolation. W-TALC code, shared
    by FAC-Net, RSKP, CO2-Net and GauFuse; theirs keeps precision in float32, this one float64.

    Args:
        scores: [V,C] any real numbers; only the order within a class counts.
        labels: [V,C] 1 where the video has the class, else 0. A 2 (a class listed twice by a multi-hot sum) counts
            twice in the denominator and is no hit, as in the authors' code.

    Raises:
        TableError: shapes differ, a score is NaN, or a label is negative.
    """
    scores, labels = _matrices(scores, labels)
    order = np.argsort(-scores, axis=0, kind="stable")
    hit = np.take_along_axis(labels, order, axis=0) == 1
    precision = np.cumsum(hit, axis=0) / np.arange(1, len(scores) + 1)[:, None]
    total = labels.sum(axis=0)
    return np.divide((precision * hit).sum(axis=0), total, out=np.full(scores.shape[1], np.nan), where=total > 0)


def classification_map(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean of `classification_ap` as a fraction, over the classes that some video has; NaN if there is none.

    The authors' mean is NaN as soon as one class has no video; such a class is left out here.
    """
    values = classification_ap(scores, labels)
    found = values[~np.isnan(values)]
    return float(found.mean()) if len(found) else float("nan")


def exact_match_accuracy(scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Share of the videos for which (score >= threshold) equals the label in every class (BaS-Net, ACM-Net, FTCL).

    Raises:
        TableError: as `classification_ap`, or there is no video.
    """
    scores, labels = _matrices(scores, labels)
    if not len(scores):
        raise TableError("exact_match_accuracy needs at least one video.")
    return float(((scores >= threshold) == labels).all(axis=1).mean())


def _matrices(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise TableError(f"scores and labels must both be [videos, classes], got {scores.shape} and {labels.shape}.")
    if np.isnan(scores).any():
        video, label = np.argwhere(np.isnan(scores))[0]
        raise TableError(f"the score of video {video}, class {label} is NaN, which has no rank.")
    if not (labels >= 0).all():
        video, label = np.argwhere(~(labels >= 0))[0]
        raise TableError(f"the label of video {video}, class {label} is {labels[video, label]}; needed 0 or 1.")
    return scores, labels
