"""Column tables the metric works on: what was annotated and what was detected, in plain numpy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from operator import itemgetter
from typing import Literal, Protocol

import numpy as np

from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.structures import Detections

SAME_TIME = 1e-5
"""Seconds by which a position on the grid and its time in seconds may differ."""

GroundTruthRow = tuple[str, float, float]
"""(class name, start s, end s)."""

DetectionRow = tuple[str, float, float, float]
"""(class name, start, end, score)."""


class TableError(DataError, ValueError):
    """A table holds a value no metric can rank or match; the text names the video and the row."""


class AnnotationsLike(Protocol):
    """What is read from annotations: `classes`, `videos` (id -> subset, segments, ambiguous) in file order."""

    classes: Sequence[str]
    videos: Mapping


def _column(values: Iterable | np.ndarray, kind: type) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=kind)


def _one_length(table: object, names: Sequence[str]) -> None:
    shapes = {name: getattr(table, name).shape for name in names}
    if len(set(shapes.values())) != 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise TableError(f"the columns of {type(table).__name__} must be flat and of one length, got {shapes}.")


def _indices_fit(column: np.ndarray, size: int, what: str) -> None:
    if len(column) and (column.min() < 0 or column.max() >= size):
        raise TableError(f"{what} must lie in 0..{size - 1}, got {column.min()}..{column.max()}.")


def _join(parts: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _on_own_grid(found: Detections) -> np.ndarray:
    """[N,2] positions on the snippet grid, NaN without one."""
    if found.snippets is None:
        return np.full((len(found), 2), np.nan)
    return np.stack([found.snippets.start, found.snippets.end], axis=1)


def _flatten(videos: Mapping[str, Sequence[tuple]], numbers: int) -> tuple[np.ndarray, list[str], list[np.ndarray]]:
    """The rows (class name, number, number, ...) of all videos as columns: index of the video, names, numbers."""
    flat = list(chain.from_iterable(videos.values()))
    video = np.repeat(np.arange(len(videos), dtype=np.int32), [len(rows) for rows in videos.values()])
    columns = [np.fromiter(map(itemgetter(1 + place), flat), np.float64, len(flat)) for place in range(numbers)]
    return video, list(map(itemgetter(0), flat)), columns


@dataclass(frozen=True)
class GroundTruth:
    """The annotated instances of the videos under evaluation, one row an instance, in the order of the file.

    The order matters: at equal tIoU one rule takes the later instance, another the first listed.

    Attributes:
        classes: class names; `label` indexes them.
        videos: ids of every video under evaluation, also those without an instance; `video` indexes them.
        video, label: [G] int32.
        start, end: [G] float64 seconds; equal ones occur in real annotations, reversed ones are refused on use.
        ambiguous_video: [A] int32, with ambiguous_start, ambiguous_end [A] float64 seconds: stretches that are
            neither action nor background.
    """

    classes: tuple[str, ...]
    videos: tuple[str, ...]
    video: np.ndarray = field(repr=False)
    label: np.ndarray = field(repr=False)
    start: np.ndarray = field(repr=False)
    end: np.ndarray = field(repr=False)
    ambiguous_video: np.ndarray = field(default=(), repr=False)
    ambiguous_start: np.ndarray = field(default=(), repr=False)
    ambiguous_end: np.ndarray = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name in ("classes", "videos"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("video", "label", "ambiguous_video"):
            object.__setattr__(self, name, _column(getattr(self, name), np.int32))
        for name in ("start", "end", "ambiguous_start", "ambiguous_end"):
            object.__setattr__(self, name, _column(getattr(self, name), np.float64))
        _one_length(self, ("video", "label", "start", "end"))
        _one_length(self, ("ambiguous_video", "ambiguous_start", "ambiguous_end"))
        _indices_fit(self.video, len(self.videos), "GroundTruth.video")
        _indices_fit(self.label, len(self.classes), "GroundTruth.label")
        _indices_fit(self.ambiguous_video, len(self.videos), "GroundTruth.ambiguous_video")

    def __len__(self) -> int:
        return len(self.video)

    @classmethod
    def from_annotations(cls, annotations: AnnotationsLike, subset: str, exclude: Collection[str] = ()) -> GroundTruth:
        """Take one subset of an annotation file, in file order, without the videos in `exclude`.

        Raises:
            TableError: no video is in that subset.
        """
        excluded = frozenset(exclude)
        chosen = {
            name: video for name, video in annotations.videos.items() if video.subset == subset and name not in excluded
        }
        if not chosen:
            known = sorted({video.subset for video in annotations.videos.values()})
            raise TableError(
                f"the annotations hold no video of subset {subset!r} (subsets there: {listing(known)})."
                f"{did_you_mean(subset, known)}"
            )
        rows = [
            (index, segment.label, segment.start, segment.end)
            for index, video in enumerate(chosen.values())
            for segment in video.segments
        ]
        spans = [(index, *span) for index, video in enumerate(chosen.values()) for span in video.ambiguous]
        columns = list(zip(*rows)) or [()] * 4
        return cls(tuple(annotations.classes), tuple(chosen), *columns, *(list(zip(*spans)) or [()] * 3))

    @classmethod
    def from_rows(
        cls,
        videos: Mapping[str, Sequence[GroundTruthRow]],
        classes: Sequence[str] | None = None,
        ambiguous: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    ) -> GroundTruth:
        """Build from {video id: [(class name, start s, end s)]}; classes default to the order of appearance.

        Raises:
            TableError: a class name is not in `classes`, or an ambiguous stretch names a video that is not listed.
        """
        video, label, (start, end) = _flatten(videos, 2)
        names = tuple(dict.fromkeys(label)) if classes is None else tuple(classes)
        number = {name: index for index, name in enumerate(names)}
        unknown = sorted(set(label) - set(number))
        if unknown:
            raise TableError(f"ground truth of unknown class {unknown[0]!r}.{did_you_mean(unknown[0], names)}")
        place = {video: index for index, video in enumerate(videos)}
        strangers = sorted(set(ambiguous or ()) - set(place))
        if strangers:
            raise TableError(f"an ambiguous stretch names video {strangers[0]!r}, which is not among the videos.")
        spans = [(place[name], *span) for name, stretches in (ambiguous or {}).items() for span in stretches]
        columns = list(zip(*spans)) or [()] * 3
        return cls(names, tuple(videos), video, [number[name] for name in label], start, end, *columns)

    def without(self, videos: Collection[str]) -> GroundTruth:
        """Return the table without these videos and their instances; ids that are not in it change nothing."""
        excluded = frozenset(videos)
        keep = np.array([name not in excluded for name in self.videos], dtype=bool)
        if keep.all():
            return self
        number = np.cumsum(keep, dtype=np.int32) - 1
        rows, spans = keep[self.video], keep[self.ambiguous_video]
        return GroundTruth(
            self.classes,
            tuple(name for name, kept in zip(self.videos, keep) if kept),
            number[self.video[rows]],
            self.label[rows],
            self.start[rows],
            self.end[rows],
            number[self.ambiguous_video[spans]],
            self.ambiguous_start[spans],
            self.ambiguous_end[spans],
        )

    def cleaned(self, tolerance: float = 1e-3) -> GroundTruth:
        """Return the table without instances of no length and without repeated ones, as OpenTAD scores.

        An instance repeats an earlier one of its video when both ends lie within `tolerance` seconds; the class is
        not looked at. The official rule keeps all of them, each a positive.
        """
        kept: dict[int, list[int]] = {}
        for row, (video, start, end) in enumerate(zip(self.video.tolist(), self.start.tolist(), self.end.tolist())):
            rows = kept.setdefault(video, [])
            repeats = (abs(self.start[rows] - start) <= tolerance) & (abs(self.end[rows] - end) <= tolerance)
            if end > start and not repeats.any():
                rows.append(row)
        rows = np.array(sorted(row for part in kept.values() for row in part), dtype=np.int64)
        columns = {name: getattr(self, name)[rows] for name in ("video", "label", "start", "end")}
        return replace(self, **columns)

    def instances(self) -> np.ndarray:
        """[C] int64 number of instances of every class."""
        return np.bincount(self.label, minlength=len(self.classes))

    def check(self) -> GroundTruth:
        """Return self if every instance has finite times with start <= end.

        Raises:
            TableError: names the video and the row of the first that has not.
        """
        bad = ~(np.isfinite(self.start) & np.isfinite(self.end) & (self.start <= self.end))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            video = self.video[row]
            place = int(np.count_nonzero(self.video[:row] == video))
            raise TableError(
                f"ground truth of video {self.videos[video]!r}, instance {place}: start {self.start[row]}, end "
                f"{self.end[row]}; needed finite seconds with start <= end. Mend the annotation file."
            )
        return self


@dataclass(frozen=True)
class DetectionTable:
    """Detections of many videos, one row a detection, in the order they were produced (ties depend on it).

    Attributes:
        videos: ids of the videos; `video` indexes them.
        video: [N] int32.
        label: [N] int32 index into the class list of the ground truth; -1 = a class it does not know.
        start, end: [N] float64, seconds or snippets as `unit` says.
        score: [N] float64.
        unit: "seconds", or "snippets" for positions on a snippet grid.
        snippets: [N,2] float64 start and end on the grid the decoder ended on, NaN where it ended on none; None where
            no row has any.
        rate: [V] float64 snippets a second of each video's grid, NaN where it has none; None as `snippets`.
    """

    videos: tuple[str, ...]
    video: np.ndarray = field(repr=False)
    label: np.ndarray = field(repr=False)
    start: np.ndarray = field(repr=False)
    end: np.ndarray = field(repr=False)
    score: np.ndarray = field(repr=False)
    unit: Literal["seconds", "snippets"] = "seconds"
    snippets: np.ndarray | None = field(default=None, repr=False)
    rate: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "videos", tuple(self.videos))
        for name in ("video", "label"):
            object.__setattr__(self, name, _column(getattr(self, name), np.int32))
        for name in ("start", "end", "score"):
            object.__setattr__(self, name, _column(getattr(self, name), np.float64))
        _one_length(self, ("video", "label", "start", "end", "score"))
        _indices_fit(self.video, len(self.videos), "DetectionTable.video")
        if len(self.label) and self.label.min() < -1:
            raise TableError(f"DetectionTable.label must be a class index or -1, got {self.label.min()}.")
        if self.unit not in ("seconds", "snippets"):
            raise TableError(f"DetectionTable.unit must be 'seconds' or 'snippets', got {self.unit!r}.")
        self._check_grid()

    def _check_grid(self) -> None:
        if self.snippets is None and self.rate is None:
            return
        shapes = [None if column is None else np.shape(column) for column in (self.snippets, self.rate)]
        if shapes != [(len(self), 2), (len(self.videos),)] or self.unit != "seconds":
            raise TableError(
                f"DetectionTable.snippets [N,2] and .rate [V] go together, with rows in seconds; got the shapes "
                f"{shapes} for {len(self)} rows of {len(self.videos)} videos in {self.unit}."
            )

    def __len__(self) -> int:
        return len(self.video)

    @classmethod
    def from_videos(cls, videos: Mapping[str, Detections]) -> DetectionTable:
        """Join the detections (in seconds) of every video, in the order of the mapping."""
        parts = list(videos.values())
        sizes = np.fromiter((len(part) for part in parts), np.int64, len(parts))
        snippets = rate = None
        if any(part.snippets is not None for part in parts):
            snippets = np.concatenate([_on_own_grid(part) for part in parts])
            rate = np.array([np.nan if part.snippets is None else part.snippets.rate for part in parts])
        return cls(
            tuple(videos),
            np.repeat(np.arange(len(parts), dtype=np.int32), sizes),
            _join([part.label for part in parts], np.int64),
            _join([part.start for part in parts], np.float64),
            _join([part.end for part in parts], np.float64),
            _join([part.score for part in parts], np.float64),
            snippets=snippets,
            rate=rate,
        )

    @classmethod
    def from_rows(
        cls,
        videos: Mapping[str, Sequence[DetectionRow]],
        classes: Sequence[str],
        unit: Literal["seconds", "snippets"] = "seconds",
    ) -> DetectionTable:
        """Build from {video id: [(class name, start, end, score)]}; a name not in `classes` becomes label -1."""
        number = {name: index for index, name in enumerate(classes)}
        video, names, (start, end, score) = _flatten(videos, 3)
        label = np.fromiter(map(number.get, names, repeat(-1)), np.int32, len(names))
        return cls(tuple(videos), video, label, start, end, score, unit)

    def take(self, index: np.ndarray) -> DetectionTable:
        """Return the rows `index` selects (indices or a mask), in that order; `videos` stays as it is."""
        columns = {name: getattr(self, name)[index] for name in ("video", "label", "start", "end", "score")}
        snippets = None if self.snippets is None else self.snippets[index]
        return replace(self, **columns, snippets=snippets)

    def without(self, videos: Collection[str]) -> DetectionTable:
        """Return the table without the detections of these videos; ids that are not in it change nothing."""
        excluded = frozenset(videos)
        gone = np.array([name in excluded for name in self.videos], dtype=bool)
        return self if not gone.any() else self.take(~gone[self.video])

    def on_grid(self, grid: float) -> DetectionTable:
        """Return whole snippet positions, `grid` snippets a second.

        Positions in snippets are cut to whole ones, as the loops of the W-TALC family do; so are those that a decoder
        on this very grid left beside its seconds. Other seconds become the nearest position, halves to even: without
        rounding again, a time that lies on the grid can end one float below its snippet.
        """
        if self.unit == "snippets":
            return replace(self, start=np.trunc(self.start), end=np.trunc(self.end))
        start, end = np.rint(self.start * grid), np.rint(self.end * grid)
        if self.snippets is not None:
            own = self.rate[self.video] == grid
            start, end = (np.where(own, np.trunc(known), at) for known, at in zip(self.snippets.T, (start, end)))
        return replace(self, start=start, end=end, unit="snippets", snippets=None, rate=None)

    def place(self, row: int) -> str:
        """Name a row the way its producer would: the video id and the row number within that video."""
        video = self.video[row]
        return f"video {self.videos[video]!r}, detection {int(np.count_nonzero(self.video[:row] == video))}"

    def check(self) -> DetectionTable:
        """Return self if every score is a number and every segment finite with start <= end.

        Raises:
            TableError: names the video and row of the first detection that is not.
        """
        bad = np.isnan(self.score)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise TableError(
                f"{self.place(row)}: its score is NaN ({np.count_nonzero(bad)} such rows), which has no rank; the "
                "official code puts NaN before every real score. Find the division or empty mean that made it."
            )
        bad = ~(np.isfinite(self.start) & np.isfinite(self.end) & (self.start <= self.end))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise TableError(
                f"{self.place(row)}: start {self.start[row]}, end {self.end[row]} ({np.count_nonzero(bad)} such rows); "
                f"needed finite {self.unit} with start <= end. Swap or drop them in the code that wrote them; "
                "`wtal-bench evaluate --strict-official` (strict_official=True) scores them as the official code does."
            )
        return self._check_snippets()

    def _check_snippets(self) -> DetectionTable:
        """Return self if the positions on the grid say what the seconds say, but for the cut at the video's end."""
        if self.snippets is None:
            return self
        rate = self.rate[self.video]
        rows = ~np.isnan(rate)
        start, end = self.snippets[rows].T / rate[rows]
        last = np.full(len(self.videos), -np.inf)
        np.maximum.at(last, self.video, self.end)  # a row that was cut ends where its video does
        cut = self.end[rows] == last[self.video[rows]]
        fits = (start >= 0) & (np.abs(start - self.start[rows]) <= SAME_TIME)
        fits &= (np.abs(end - self.end[rows]) <= SAME_TIME) | (cut & (end > self.end[rows]) & np.isfinite(end))
        if not fits.all():
            row = int(np.flatnonzero(rows)[np.argmin(fits)])
            raise TableError(
                f"{self.place(row)}: snippets {self.snippets[row].tolist()} at {rate[row]:g} a second are not its "
                f"{self.start[row]} to {self.end[row]} s. Both must name one segment: position / snippets a second = "
                "seconds; only the end of the video may cut the seconds."
            )
        return self
