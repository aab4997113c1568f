"""What is scored beside detections, kept in their file so that anybody can score it again.

A detection file may hold, after its videos:

    "classes": [class name, ...],
    "video_scores": {video id: [score of every class], ...},
    "snippets": {video id: {"seconds": a snippet's length, "count": snippets of the video,
                            "told": [class told at every sample, -1 for none], "at"?: [snippet of every sample]}, ...}

`at` is left out where the samples are the snippets themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wtal_bench.errors import DataError
from wtal_bench.evaluation.classification import classification_map
from wtal_bench.evaluation.frames import snippet_labels

KEYS = ("classes", "video_scores", "snippets")


@dataclass(frozen=True)
class ToldSnippets:
    """The class told at every sampled snippet of one video.

    Attributes:
        told: [N] int64 class index, -1 where no class is kept.
        at: [N] int64 the snippet each sample stands for.
        count: T, snippets of the video.
        seconds: between the starts of two snippets.
    """

    told: np.ndarray
    at: np.ndarray
    count: int
    seconds: float

    def counts(self, segments: Sequence[tuple[int, float, float]], classes: int) -> tuple[int, int]:
        """(correct, counted) action snippets, as `evaluation.frame_counts`.

        Args:
            segments: (class index, start s, end s) annotated in the video.
            classes: C.
        """
        labels = snippet_labels(segments, self.count, self.seconds, classes)[self.at]
        action = labels.any(axis=1)
        right = (self.told >= 0) & labels[np.arange(len(self.told)), self.told]
        return int((right & action).sum()), int(action.sum())


@dataclass(frozen=True)
class Beside:
    """Video scores and told snippets by video; either may be empty."""

    video_scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    snippets: Mapping[str, ToldSnippets] = field(default_factory=dict)

    def classification_map(self, tags: Mapping[str, Sequence[int]], classes: int) -> float | None:
        """Video-level classification mAP; None without scores, or where no video has a tag.

        Args:
            tags: class indices by video.
            classes: C.
        """
        if not self.video_scores:
            return None
        labels = np.zeros((len(self.video_scores), classes))
        for row, video in enumerate(self.video_scores):
            labels[row, list(tags[video])] = 1
        value = classification_map(np.stack(list(self.video_scores.values())), labels)
        return None if np.isnan(value) else value

    def frame_accuracy(self, segments: Mapping[str, Sequence[tuple[int, float, float]]], classes: int) -> float | None:
        """Share of action snippets told right, pooled over the videos; None when none is counted."""
        pairs = [told.counts(segments[video], classes) for video, told in self.snippets.items()]
        correct, counted = (sum(column) for column in zip(*pairs)) if pairs else (0, 0)
        return correct / counted if counted else None

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """The keys of a detection file; {} when there is nothing."""
        parts: dict[str, Any] = {}
        if self.video_scores:
            parts["video_scores"] = {video: scores.tolist() for video, scores in self.video_scores.items()}
        if self.snippets:
            parts["snippets"] = {video: _row(told) for video, told in self.snippets.items()}
        return {"classes": list(classes), **parts} if parts else {}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], classes: Sequence[str], where: str) -> Beside:
        """Read the keys `to_json` wrote; whatever else the file holds is left alone.

        Raises:
            DataError: they are not as `to_json` writes them; the text names the place.
        """
        if not any(key in value for key in KEYS[1:]):
            return cls()
        if value.get("classes") != list(classes):
            raise DataError(
                f"{where}: its video scores are of {value.get('classes')!r:.80}, needed: the {len(classes)} classes in "
                "label order."
            )
        try:
            scores = {video: _column(row, float, len(classes)) for video, row in value.get("video_scores", {}).items()}
            snippets = {video: _told(row, len(classes)) for video, row in value.get("snippets", {}).items()}
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"{where}: video_scores and snippets must be as a run writes them (see evaluation.beside): {error}."
            ) from error
        return cls(scores, snippets)


def _row(told: ToldSnippets) -> dict[str, Any]:
    row = {"seconds": float(told.seconds), "count": int(told.count), "told": told.told.tolist()}
    return row if np.array_equal(told.at, np.arange(told.count)) else {**row, "at": told.at.tolist()}


def _column(values: Any, kind: type, size: int | None = None) -> np.ndarray:
    wanted = {int} if kind is int else {int, float}
    if not isinstance(values, list) or not set(map(type, values)) <= wanted or size not in (None, len(values)):
        raise ValueError(f"expected {'a list' if size is None else size} of numbers, found {str(values)[:60]}")
    column = np.array(values, dtype=np.int64 if kind is int else np.float64)
    if not np.isfinite(column).all():
        raise ValueError("a number is not finite")
    return column


def _told(row: Any, classes: int) -> ToldSnippets:
    count, seconds = row["count"], row["seconds"]
    if type(count) is not int or not 0 < count < 10**7 or not 0 < float(seconds) < 1e6:
        raise ValueError(f"count is {count!r:.40} and seconds {seconds!r:.40}; both must be above 0")
    told = _column(row["told"], int)
    at = _column(row["at"], int, len(told)) if "at" in row else np.arange(count)
    if len(at) != len(told) or (len(told) and not (told.min() >= -1 and told.max() < classes)):
        raise ValueError(f"told must hold -1 or a class for each of {len(at)} samples")
    if len(at) and not (at.min() >= 0 and at.max() < count):
        raise ValueError(f"at must lie within the {count} snippets")
    return ToldSnippets(told, at, count, float(seconds))
