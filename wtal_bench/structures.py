"""The values that travel between rooms and need no torch: features as found, what is known of a video, detections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
class SnippetPositions:
    """Where detections lie on the grid of the video's stored snippets, as the decoder that works on it left them.

    Evaluators on a grid cut these to whole snippets. Seconds cannot stand in for them: a fused position is a fraction
    of a snippet, and one that lies on a snippet may come back from seconds an ulp below it. They are not cut to the
    video, as the published evaluators on a grid do not cut either.

    Attributes:
        start, end: [N] float64 positions; sample i covers [i, i+1).
        rate: snippets a second.
    """

    start: np.ndarray
    end: np.ndarray
    rate: float

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise DataError(f"SnippetPositions.rate must be snippets a second > 0, got {self.rate!r}.")

    def __len__(self) -> int:
        return len(self.start)

    def take(self, index: np.ndarray) -> SnippetPositions:
        """Return the rows `index` selects (indices or a mask), in that order."""
        return replace(self, start=self.start[index], end=self.end[index])


@dataclass(frozen=True)
class Detections:
    """Detected instances of one video, as columns of equal length N, in the order the decoder produced them.

    Attributes:
        start, end: [N] float64 seconds.
        label: [N] int64 index into the protocol's class list.
        score: [N] float64; only the order within a class matters to the metric.
        snippets: the same instances on the snippet grid, from a decoder that ends on it; None from any other.
    """

    start: np.ndarray
    end: np.ndarray
    label: np.ndarray
    score: np.ndarray
    snippets: SnippetPositions | None = None

    def __post_init__(self) -> None:
        for name, kind in (("start", np.float64), ("end", np.float64), ("label", np.int64), ("score", np.float64)):
            column = np.asarray(getattr(self, name), dtype=kind)
            if column.ndim != 1:
                raise DataError(f"Detections.{name} must be one column [N], got shape {column.shape}.")
            object.__setattr__(self, name, column)
        sizes = {name: len(getattr(self, name)) for name in ("start", "end", "label", "score")}
        if self.snippets is not None:
            sizes |= {f"snippets.{name}": len(getattr(self.snippets, name)) for name in ("start", "end")}
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
        columns = (getattr(self, name)[index] for name in ("start", "end", "label", "score"))
        return Detections(*columns, None if self.snippets is None else self.snippets.take(index))

    @classmethod
    def concatenate(cls, parts: Iterable[Detections]) -> Detections:
        """Join several, keeping their order, and their snippets where all of them that have rows lie on one grid."""
        parts = list(parts)
        if not parts:
            return cls.empty()
        columns = (np.concatenate([getattr(p, name) for p in parts]) for name in ("start", "end", "label", "score"))
        grids = [part.snippets for part in parts if len(part)]
        if not grids or None in grids or len({grid.rate for grid in grids}) > 1:
            return cls(*columns)
        start, end = (np.concatenate([getattr(grid, name) for grid in grids]) for name in ("start", "end"))
        return cls(*columns, SnippetPositions(start, end, grids[0].rate))

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
        tags: lists of video-level tags that came with the features: name -> video id -> class names.
        notes: what was recognised of the files, and how else they could be understood.
        stamp: returns the bytes and the times of change of the files of the video at a position, before it is read;
            None where a file holds many videos.
    """

    ids: tuple[str, ...]
    streams: tuple[str, ...]
    read: Callable[[int], RawVideo]
    tags: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stamp: Callable[[int], tuple[int, ...]] | None = None
