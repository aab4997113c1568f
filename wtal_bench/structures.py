"""The values that travel between rooms and need no torch: features as found, what is known of a video, detections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from wtal_bench.errors import DataError


@dataclass(frozen=True)
class VideoMeta:
    """What is known of one video besides its features and tags. Never holds a temporal annotation.

    Attributes:
        id: the video's id, as in the annotation file.
        duration: length in seconds.
        fps: frames a second of the decoded video the features came from.
        stride: frames between the starts of two neighbouring snippets (fractional for resized features).
        num_snippets: snippets in the store, before any sampling.
        snippet_index: [T] float64 position in the stored sequence of every sampled snippet; None = `arange(T)`,
            the whole video. Linear resizing gives fractions.
        num_frames: frames of the video if known, else `round(duration * fps)`.
    """

    id: str
    duration: float
    fps: float
    stride: float
    num_snippets: int
    snippet_index: np.ndarray | None = field(default=None, compare=False)
    num_frames: int | None = None

    @property
    def snippet_seconds(self) -> float:
        """Seconds between two neighbouring stored snippets."""
        return self.stride / self.fps

    @property
    def frames(self) -> int:
        """Frame count: the stored one, else `round(duration * fps)`, at least 1."""
        return self.num_frames if self.num_frames else max(1, round(self.duration * self.fps))

    def sampled(self, snippet_index: np.ndarray) -> VideoMeta:
        """Return a copy that names the stored positions its rows were sampled from."""
        return replace(self, snippet_index=np.asarray(snippet_index, dtype=np.float64))


@dataclass(frozen=True)
class Detections:
    """Detected instances of one video, as columns of equal length N, in the order the decoder produced them.

    Attributes:
        start, end: [N] float64 seconds.
        label: [N] int64 index into the protocol's class list.
        score: [N] float64; only the order within a class matters to the metric.
    """

    start: np.ndarray
    end: np.ndarray
    label: np.ndarray
    score: np.ndarray

    def __post_init__(self) -> None:
        for name, kind in (("start", np.float64), ("end", np.float64), ("label", np.int64), ("score", np.float64)):
            column = np.asarray(getattr(self, name), dtype=kind)
            if column.ndim != 1:
                raise DataError(f"Detections.{name} must be one column [N], got shape {column.shape}.")
            object.__setattr__(self, name, column)
        sizes = {name: len(getattr(self, name)) for name in ("start", "end", "label", "score")}
        if len(set(sizes.values())) != 1:
            raise DataError(f"the columns of Detections must have one length, got {sizes}.")

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def empty(cls) -> Detections:
        """No detection at all."""
        return cls(*(np.zeros(0) for _ in range(4)))

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[float]] | np.ndarray) -> Detections:
        """Build from rows (label, start s, end s, score)."""
        table = np.asarray(rows, dtype=np.float64).reshape(-1, 4)
        return cls(start=table[:, 1], end=table[:, 2], label=table[:, 0], score=table[:, 3])

    def rows(self) -> np.ndarray:
        """Return [N,4] float64 rows (label, start s, end s, score)."""
        return np.stack([self.label.astype(np.float64), self.start, self.end, self.score], axis=1)

    def take(self, index: np.ndarray) -> Detections:
        """Return the rows `index` selects (indices or a mask), in that order."""
        return Detections(self.start[index], self.end[index], self.label[index], self.score[index])

    @classmethod
    def concatenate(cls, parts: Iterable[Detections]) -> Detections:
        """Join several, keeping their order."""
        parts = list(parts)
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("start", "end", "label", "score")))

    def check(self, video: str, duration: float | None = None) -> Detections:
        """Return self if every row is finite with 0 <= start < end (<= duration); else name the first bad row.

        Raises:
            DataError: the text gives the video id, the row number and the values.
        """
        bad = ~(np.isfinite(self.start) & np.isfinite(self.end) & np.isfinite(self.score))
        bad |= ~((self.start >= 0) & (self.start < self.end))
        if duration is not None:
            bad |= ~(self.end <= duration)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            limit = "" if duration is None else f" <= {duration} s"
            raise DataError(
                f"video {video!r}: detection {row} has start {self.start[row]}, end {self.end[row]}, score "
                f"{self.score[row]}; needed: finite numbers with 0 <= start < end{limit}. The post-processor that "
                "made it must clamp or drop such rows."
            )
        return self


@dataclass(frozen=True)
class RawVideo:
    """One video's features as a file holds them.

    Attributes:
        id: the video's id.
        parts: [T,D_k] arrays, one a stream, in column order.
        source: where they were found, for error texts.
        duration: seconds, if the files know.
    """

    id: str
    parts: tuple[np.ndarray, ...]
    source: str
    duration: float | None = None


@dataclass(frozen=True)
class FeatureSource:
    """Videos to import: their ids are known, their features are read one by one.

    Attributes:
        ids: video ids in reading order.
        streams: names of the streams `parts` holds.
        read: returns the `RawVideo` at a position.
    """

    ids: tuple[str, ...]
    streams: tuple[str, ...]
    read: Callable[[int], RawVideo]
