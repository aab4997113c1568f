"""How a data set's features vary: what tells action from background inside a video, and what looks alike.

Every figure is of stored features and annotations, so real, composed and drawn ones are measured alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from wtal_bench.probing.linear import auc, fit, logits
from wtal_bench.probing.material import Lesson, Material, Watched

LAGS = (1, 4)
"""Snippets between two moments of one instance whose cosine is taken."""
FOLDS = 4
"""Every fourth class is unseen in turn."""


def statistics(material: Material, lesson: Lesson, subset: str, columns: slice) -> dict[str, float]:
    """Measure one stream.

    Returns:
        "AUC, own classes", "AUC, unseen classes": of a linear score of action against background, fitted on the
        training videos without every fourth class, inside the videos of `subset` of the other classes and of those
        alone, mean over videos and all four fits; "cosine, ..."; "zeros": share of values that are 0; "mean / spread"
        of a column, mean over columns; "loudness": spread over mean of the snippets' means. NaN where nothing can be
        measured.
    """
    videos = [
        Watched(video.name, video.features[:, columns], video.covered, video.labels)
        for video in material.videos(subset)
    ]
    own, unseen = _folds(lesson, videos, columns)
    every = np.concatenate([video.features for video in videos])
    spread = every.std(axis=0)
    rows = every.mean(axis=1)
    return {
        "AUC, own classes": own,
        "AUC, unseen classes": unseen,
        **_cosines(videos),
        "zeros": float((every == 0).mean()),
        "mean / spread": float(every.mean(axis=0)[spread > 0].sum() / spread[spread > 0].sum()),
        "loudness": float(rows.std() / rows.mean()) if rows.mean() else float("nan"),
    }


def _folds(lesson: Lesson, videos: list[Watched], columns: slice) -> tuple[float, float]:
    """Return the AUC on own and on unseen classes."""
    action = (lesson.covered > 0.5).any(axis=1)
    clear = action | (lesson.covered == 0).all(axis=1)
    own, unseen = [], []
    for fold in range(FOLDS):
        held = np.arange(lesson.labels.shape[1]) % FOLDS == fold
        used = clear & ~(lesson.labels & held).any(axis=1)[lesson.video]
        if not held.any() or not action[used].any() or action[used].all():
            continue
        weights = fit(lesson.features[used][:, columns], action[used][:, None])
        for video in videos:
            taken = video.action | video.background
            if not video.action.any() or not video.background.any():
                continue
            value = auc(logits(video.features[taken], weights)[:, 0], video.action[taken])
            if not (video.labels & held).any():
                own.append(value)
            elif not (video.labels & ~held).any():
                unseen.append(value)
    return _mean(own), _mean(unseen)


def _cosines(videos: list[Watched]) -> dict[str, float]:
    lagged: dict[int, list[np.ndarray]] = {lag: [] for lag in LAGS}
    means, owner, kind, contrast = [], [], [], []
    for place, video in enumerate(videos):
        rows = _normed(video.features)
        for label, first, end in _instances(video.covered):
            means.append(video.features[first:end].mean(axis=0))
            owner.append(place)
            kind.append(label)
            for lag in LAGS:
                later = rows[first + lag : end]
                lagged[lag].append((rows[first : first + len(later)] * later).sum(axis=1))
        if video.action.any() and video.background.any():
            pair = [video.features[which].mean(axis=0) for which in (video.action, video.background)]
            contrast.append(float(_normed(np.stack(pair)).prod(axis=0).sum()))
    alike = _by_kinship(np.array(means), np.array(owner), np.array(kind)) if means else [float("nan")] * 3
    return {
        **{f"cosine, {lag} snippet{'s' * (lag > 1)} on": _mean(np.concatenate(found)) for lag, found in lagged.items()},
        "cosine, same video and class": alike[0],
        "cosine, same class": alike[1],
        "cosine, other class": alike[2],
        "cosine, action and background": _mean(contrast),
    }


def _by_kinship(means: np.ndarray, owner: np.ndarray, kind: np.ndarray) -> list[float]:
    """Return the mean cosine of instances of the same video and class, the same class, and other classes."""
    chosen = np.arange(len(means))[:: max(1, len(means) // 2000)]
    rows, owner, kind = _normed(means[chosen]), owner[chosen], kind[chosen]
    cosine = rows @ rows.T
    upper = np.triu(np.ones_like(cosine, dtype=bool), 1)
    video, label = owner[:, None] == owner, kind[:, None] == kind
    return [_mean(cosine[upper & which]) for which in (video & label, ~video & label, ~video & ~label)]


def _instances(covered: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield (label, first, end) of every run of snippets that a class covers in full; of equal runs the lowest."""
    seen = set()
    for label in range(covered.shape[1]):
        full = np.r_[False, covered[:, label] > 0.999, False]
        edges = np.flatnonzero(full[1:] != full[:-1])
        for first, end in zip(edges[::2].tolist(), edges[1::2].tolist()):
            if (first, end) not in seen:
                seen.add((first, end))
                yield label, first, end


def _normed(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def _mean(values: Iterable[float] | np.ndarray) -> float:
    values = np.asarray(list(values) if not isinstance(values, np.ndarray) else values)
    return float(values.mean()) if values.size else float("nan")
