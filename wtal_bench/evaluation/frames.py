"""Frame accuracy: is the class of an action snippet told right (ECM, Zhao et al., Table 6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from wtal_bench.evaluation.tables import TableError


def snippet_labels(
    segments: Iterable[tuple[int, float, float]], num_snippets: int, snippet_seconds: float, num_classes: int
) -> np.ndarray:
    """[T,C] bool: the classes annotated at every snippet's centre, (t + 1/2) * snippet_seconds.

    Args:
        segments: (class index, start s, end s); a centre c is inside when start <= c < end.
        num_snippets: T.
        snippet_seconds: seconds between the starts of two snippets.
        num_classes: C.
    """
    centres = (np.arange(num_snippets) + 0.5) * snippet_seconds
    labels = np.zeros((num_snippets, num_classes), dtype=bool)
    for label, start, end in segments:
        labels[:, label] |= (start <= centres) & (centres < end)
    return labels


def frame_counts(
    cas: Sequence[np.ndarray], video_scores: Sequence[np.ndarray], labels: Sequence[np.ndarray], threshold: float = 0.25
) -> tuple[int, int]:
    """(correct, counted) action snippets over all videos.

    Classes whose video score lies below `threshold` are dropped; the prediction at a snippet is the arg-max of the CAS
    over the kept classes, the lowest index of equal ones; it is correct if it is among the snippet's labels. No kept
    class = wrong. Background snippets are not counted. The paper leaves snippets with two labels and videos without a
    kept class open; these are this harness's rules.

    Args:
        cas: one [T,C] array a video, raw or normalised, without a background column.
        video_scores: one [C] array a video.
        labels: one [T,C] bool array a video (`snippet_labels`), or [T] class indices with -1 for background.
        threshold: ECM's tau.

    Raises:
        TableError: shapes that do not fit, or NaN in a CAS or score; the text gives the video's position.
    """
    if not len(cas) == len(video_scores) == len(labels):
        raise TableError(f"{len(cas)} CAS, {len(video_scores)} score rows and {len(labels)} label tracks do not fit.")
    tracks = [_label_matrix(track, np.shape(curve), video) for video, (curve, track) in enumerate(zip(cas, labels))]
    correct = counted = 0
    for video, (curve, score, track) in enumerate(zip(cas, video_scores, tracks)):
        curve, score = np.asarray(curve, dtype=np.float64), np.asarray(score, dtype=np.float64)
        if score.shape != curve.shape[1:]:
            raise TableError(f"video {video}: CAS {curve.shape} needs scores [{curve.shape[1]}], got {score.shape}.")
        if np.isnan(curve).any() or np.isnan(score).any():
            raise TableError(f"video {video}: NaN in the CAS or the video scores has no maximum.")
        action = track.any(axis=1)
        counted += int(action.sum())
        if action.any():
            told = told_classes(curve[action], score, threshold)
            correct += int(((told >= 0) & track[action][np.arange(len(told)), told]).sum())
    return correct, counted


def told_classes(curve: np.ndarray, score: np.ndarray, threshold: float = 0.25) -> np.ndarray:
    """[T] the class predicted at every snippet of a video (see `frame_counts`), -1 where none is kept.

    Args:
        curve: [T,C] CAS.
        score: [C] video scores.
        threshold: ECM's tau.

    Raises:
        TableError: NaN has no maximum.
    """
    curve, score = np.asarray(curve), np.asarray(score)
    if np.isnan(curve).any() or np.isnan(score).any():
        raise TableError("NaN in the CAS or the video scores has no maximum.")
    kept = np.flatnonzero(score >= threshold)
    return kept[curve[:, kept].argmax(axis=1)] if len(kept) else np.full(len(curve), -1)


def frame_accuracy(
    cas: Sequence[np.ndarray], video_scores: Sequence[np.ndarray], labels: Sequence[np.ndarray], threshold: float = 0.25
) -> float | None:
    """Share of action snippets told right, pooled over all videos (see `frame_counts`); None when none is counted."""
    correct, counted = frame_counts(cas, video_scores, labels, threshold)
    return correct / counted if counted else None


def _label_matrix(track: np.ndarray, shape: tuple[int, ...], video: int) -> np.ndarray:
    track = np.asarray(track)
    if len(shape) != 2:
        raise TableError(f"video {video}: the CAS must be [T,C], got {shape}.")
    if track.ndim == 1:
        if len(track) and (track.max() >= shape[1] or track.min() < -1):
            raise TableError(f"video {video}: labels must be -1 (background) or 0..{shape[1] - 1}.")
        track = track[:, None] == np.arange(shape[1])
    if track.shape != shape:
        raise TableError(f"video {video}: CAS {shape} and labels {track.shape} do not fit.")
    return track.astype(bool)
