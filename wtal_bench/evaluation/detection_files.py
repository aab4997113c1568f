"""Reading and writing detection files, plain or gzip-compressed.

Two layouts are read. Ours, also written:

    {"version": str, "videos": {video id: [{"label": str, "start": s, "end": s, "score": number}, ...]}}

and the submission layout of the ActivityNet toolkit:

    {"version": str, "results": {video id: [{"label": str, "segment": [s, s], "score": number}, ...]}, ...}

The order of videos and rows is kept: it decides between equal scores.

Decoders that end on the grid of stored snippets (FAC-Net, RSKP, GauFuse) leave two things more, which only the
evaluators on that grid read; a file that has them says so:

    {"format": 2, "grids": {video id: snippets a second, ...},
     "videos": {video id: [{"label": ..., "start": s, "end": s, "score": number, "snippets": [start, end]}, ...]}}

A run's file may hold more: what is scored beside its detections (`wtal_bench.evaluation.beside`).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.evaluation.beside import KEYS as BESIDE
from wtal_bench.evaluation.beside import Beside
from wtal_bench.evaluation.tables import DetectionTable
from wtal_bench.files import JsonError, atomic_write, parse_json
from wtal_bench.names import composed
from wtal_bench.reading import gunzip, read_bytes
from wtal_bench.structures import Detections, SnippetPositions

EXAMPLE = """\
{"version": "my detector, THUMOS14 test",
 "videos": {
   "video_test_0000004": [
     {"label": "CricketBowling", "start": 19.2, "end": 21.76, "score": 0.45},
     {"label": "CricketBowling", "start": 0.0, "end": 0.64, "score": 0.33}]}}"""
"""A detection file of two rows, shown with every complaint about the layout."""

FORMAT = 2
"""Newest form of our layout. Files without snippets are written in form 1, which has no "format" key."""

LARGEST = 1 << 30
"""Bytes a compressed file may unpack to: three times ActivityNet with a thousand detections a video."""

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class DetectionFile:
    """A detection file, read and checked.

    Attributes:
        videos: id -> detections in file order, labels indexing `classes`.
        classes: the class list the names were looked up in.
        version: the file's own name for itself, "" without one.
        layout: "videos" (ours), "results" (ActivityNet submission) or "parquet".
        unknown_labels: class name not in `classes` -> its rows, which were left out.
        duplicates: rows that repeat an earlier row of their video exactly (kept: only the first can be right).
        sha256: hex digest of the file's bytes.
        path: where it was read from.
        kept: what else the file holds at its top, read by `beside` alone.
    """

    videos: dict[str, Detections] = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    version: str
    layout: str
    unknown_labels: dict[str, int]
    duplicates: int
    sha256: str
    path: Path
    kept: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def count(self) -> int:
        """Detections of a known class."""
        return sum(len(found) for found in self.videos.values())

    def table(self) -> DetectionTable:
        """The detections as columns."""
        return DetectionTable.from_videos(self.videos)

    def beside(self) -> Beside:
        """What a run's file holds to be scored beside its detections; nothing for any other file.

        Raises:
            DataError: it is not as a run writes it, or of other videos than the detections.
        """
        found = Beside.from_json(self.kept, self.classes, str(self.path))
        for key, part in (("video_scores", found.video_scores), ("snippets", found.snippets)):
            if part and set(part) != set(self.videos):
                odd = sorted(set(part) ^ set(self.videos))
                raise DataError(
                    f"{self.path}: {key} and videos must name the same videos; they differ in {listing(odd, 5)}."
                )
        return found


def read_text_file(
    path: Path, classes: Sequence[str], *, strict: bool = False, allow_invalid: bool = False
) -> DetectionFile:
    """Read a `.json` or `.json.gz` file in either layout; as `formats.read_detections`.

    Raises:
        DataError: missing, empty or damaged file, wrong layout (the text names the key, what was expected there and
            shows an example), unknown class with `strict`, NaN score, reversed or infinite segment.
    """
    raw = _bytes(path)
    value = _parse(path, raw)
    layout, videos = _videos(path, value)
    videos = _composed(path, layout, videos)
    columns = Columns.read(path, layout, videos, _grids(path, value, layout, videos))
    return columns.sort_out(path, tuple(classes), value, layout, hashlib.sha256(raw).hexdigest(), strict, allow_invalid)


def write_text_file(
    path: Path, videos: Mapping[str, Detections], classes: Sequence[str], version: str, beside: Beside | None = None
) -> None:
    """Write our layout, one video a line, atomically; compressed when the name ends in `.gz`.

    As `formats.write_detections`; positions on a snippet grid are written where there are any, and so is what `beside`
    holds.
    """
    text = "".join(_lines(videos, tuple(classes), version, beside or Beside())).encode()
    if path.suffix == ".gz":
        buffer = io.BytesIO()
        # no name and no time stamp, so that the bytes depend on the detections alone
        with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as stream:
            stream.write(text)
        text = buffer.getvalue()
    with atomic_write(path, "wb") as stream:
        stream.write(text)


def _lines(videos: Mapping[str, Detections], classes: tuple[str, ...], version: str, beside: Beside) -> list[str]:
    lines, grids = [], {}
    for name, found in videos.items():
        check_written(name, found, len(classes))
        columns = (column.tolist() for column in (found.label, found.start, found.end, found.score))
        rows = [
            {"label": classes[label], "start": start, "end": end, "score": score}
            for label, start, end, score in zip(*columns)
        ]
        if found.snippets is not None:
            grids[name] = float(found.snippets.rate)
            for row, *ends in zip(rows, found.snippets.start.tolist(), found.snippets.end.tolist()):
                row["snippets"] = ends
        lines.append(f"{json.dumps(name)}:{json.dumps(rows, separators=(',', ':'))}")
    head = f'{{"version": {json.dumps(version)}, '
    if grids:
        head += f'"format": {FORMAT}, "grids": {json.dumps(grids)},\n'
    more = [f",\n{json.dumps(key)}: {json.dumps(part)}" for key, part in beside.to_json(classes).items()]
    return [head + '"videos": {\n', ",\n".join(lines), "\n}", *more, "}\n"]


def check_written(name: str, found: Detections, classes: int) -> None:
    """Refuse detections of a video that no file can hold.

    Raises:
        DataError: a label outside the class list, or a number that is not finite.
    """
    outside = (found.label < 0) | (found.label >= classes)
    finite = np.isfinite(found.start) & np.isfinite(found.end) & np.isfinite(found.score)
    if found.snippets is not None:
        finite &= np.isfinite(found.snippets.start) & np.isfinite(found.snippets.end)
    if outside.any() or not finite.all():
        row = int(np.argmax(outside | ~finite))
        raise DataError(
            f"video {name!r}, detection {row}: label {found.label[row]}, start {found.start[row]}, end "
            f"{found.end[row]}, score {found.score[row]}; needed a label in 0..{classes - 1}, finite numbers."
        )


def _bytes(path: Path) -> bytes:
    raw = read_bytes(path, hint="Give a detection file, .json or .json.gz.")
    if not raw:
        raise DataError(f"{path} is empty (0 bytes). A detection file looks like this:\n{EXAMPLE}")
    return raw


def _parse(path: Path, raw: bytes) -> Any:
    if raw.startswith(_GZIP):
        raw = gunzip(raw, path, hint="Copy or write it again.")
    elif path.suffix == ".gz":
        raise DataError(
            f"{path} is named .gz but does not begin like a gzip file: it is damaged, or plain JSON, which must be "
            "named .json."
        )
    try:
        return parse_json(raw, nan=True)  # a NaN score is told with its video and row
    except JsonError as error:
        raise DataError(f"{path}: {error}. A detection file looks like this:\n{EXAMPLE}") from error


def _wrong(path: Path, where: str, expected: str, found: Any) -> DataError:
    shown = repr(found)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return DataError(f"{path}: {where}: expected {expected}, found {shown}. The layout, with an example:\n{EXAMPLE}")


def _videos(path: Path, value: Any) -> tuple[str, dict[str, list]]:
    """The layout's name and the rows by video, both of the right type."""
    if not isinstance(value, dict):
        raise _wrong(path, "top level", 'an object with the key "videos" (or "results")', value)
    given = [key for key in ("videos", "results") if key in value]
    if len(given) != 1:
        found = f"both {given}" if given else f"only the keys {listing(value, 8)}"
        hint = "" if given else next((text for key in value if (text := did_you_mean(key, ("videos", "results")))), "")
        raise DataError(
            f'{path}: top level: expected one key "videos" (or "results", the ActivityNet layout), found {found}.'
            f"{hint} The layout, with an example:\n{EXAMPLE}"
        )
    videos = value[given[0]]
    if not isinstance(videos, dict):
        raise _wrong(path, f'"{given[0]}"', "an object of video id -> list of detections", videos)
    for name, rows in videos.items():
        if not isinstance(rows, list):
            raise _wrong(path, f'{given[0]}["{name}"]', "a list of detections", rows)
    return given[0], videos


def _composed(path: Path, layout: str, videos: dict[str, list]) -> dict[str, list]:
    """The rows by video under composed names (`wtal_bench.names`)."""
    if all(map(str.isascii, videos)):
        return videos
    found: dict[str, list] = {}
    for name, rows in videos.items():
        if composed(name) in found:
            raise DataError(f"{path}: {layout} holds video {composed(name)!r} twice, in two Unicode forms; keep one.")
        found[composed(name)] = rows
    return found


def _grids(path: Path, value: Mapping[str, Any], layout: str, videos: Mapping[str, list]) -> dict[str, float]:
    """Snippets a second of the videos whose rows carry positions on the grid."""
    form = value.get("format", 1) if layout == "videos" else 1
    if type(form) is not int or not 1 <= form <= FORMAT:
        raise DataError(
            f'{path}: "format": this harness reads forms 1 to {FORMAT} of a detection file, found {form!r}. A newer '
            "one needs a newer wtal-bench."
        )
    grids = value.get("grids", {}) if form > 1 else {}
    if not isinstance(grids, dict):
        raise _wrong(path, '"grids"', "an object of video id -> snippets a second", grids)
    grids = {composed(name): rate for name, rate in grids.items()}
    for name, rate in grids.items():
        if name not in videos:
            raise DataError(
                f'{path}: grids["{name}"]: the file holds no such video.{did_you_mean(name, videos)} "grids" names the '
                "videos whose rows carry snippets."
            )
        if type(rate) not in (int, float) or not 0 < rate < float("inf"):
            raise _wrong(path, f'grids["{name}"]', "snippets a second, a number > 0", rate)
    return grids


@dataclass(frozen=True)
class Columns:
    """The rows of a whole file as columns, before any row is left out.

    Attributes:
        names: of V videos; sizes: [V] rows of each.
        label: N class names; start, end, score: [N] float64.
        grids: video -> snippets a second; snippets: [N,2] positions on them, NaN without; None where there is none.
    """

    names: tuple[str, ...]
    sizes: list[int]
    label: list[str]
    start: np.ndarray
    end: np.ndarray
    score: np.ndarray
    grids: dict[str, float]
    snippets: np.ndarray | None

    @classmethod
    def read(cls, path: Path, layout: str, videos: dict[str, list], grids: dict[str, float]) -> Columns:
        rows = [row for found in videos.values() for row in found]
        try:
            label = [row["label"] for row in rows]
            score = [row["score"] for row in rows]
            if layout == "videos":
                start, end = [row["start"] for row in rows], [row["end"] for row in rows]
            else:
                start, end = [[row["segment"][side] for row in rows] for side in (0, 1)]
            plain = set(map(type, label)) <= {str}
            plain &= all(set(map(type, column)) <= {int, float} for column in (start, end, score))
            plain &= layout == "videos" or all(len(row["segment"]) == 2 for row in rows)
            positions = [row["snippets"] for name in grids for row in videos[name]]
            plain &= all(len(pair) == 2 and {*map(type, pair)} <= {int, float} for pair in positions)
            if not plain:
                raise TypeError
            numbers = (np.array(column, dtype=np.float64) for column in (start, end, score))
            sizes = [len(found) for found in videos.values()]
            snippets = np.full((len(rows), 2), np.nan) if grids else None
            if positions:
                on_grid = np.repeat([name in grids for name in videos], sizes)
                # `grids` may name the videos in another order than the file
                snippets[on_grid] = [row["snippets"] for name in videos if name in grids for row in videos[name]]
            return cls(tuple(videos), sizes, label, *numbers, grids, snippets)
        except (KeyError, TypeError, IndexError, OverflowError) as error:
            raise _first_wrong_row(path, layout, videos, grids) from error

    def sort_out(
        self,
        path: Path,
        classes: tuple[str, ...],
        value: Mapping[str, Any],
        layout: str,
        sha256: str,
        strict: bool,
        allow_invalid: bool,
    ) -> DetectionFile:
        """Check the values, look the classes up, leave unknown ones out."""
        number = {name: index for index, name in enumerate(classes)}
        names = {name: number.get(composed(name), -1) for name in set(self.label)}
        label = np.array([names[name] for name in self.label], dtype=np.int32)
        video = np.repeat(np.arange(len(self.names)), self.sizes)
        rate = np.array([self.grids.get(name, np.nan) for name in self.names]) if self.grids else None
        columns = (label, self.start, self.end, self.score)
        table = DetectionTable(self.names, video, *columns, snippets=self.snippets, rate=rate)
        if not allow_invalid:
            try:
                table.check()
            except DataError as error:
                raise DataError(f"{path}: {error}") from error
        unknown = dict(Counter(name for name, index in zip(self.label, label.tolist()) if index < 0))
        if unknown and strict:
            name = next(iter(unknown))
            raise DataError(
                f"{path}: {table.place(int(np.argmax(label < 0)))}: class {name!r} is not in the class list "
                f"({sum(unknown.values())} rows of {len(unknown)} such classes).{did_you_mean(name, classes)}"
            )
        known = table.take(label >= 0)
        cuts = np.searchsorted(known.video, np.arange(len(self.names) + 1)).tolist()
        videos = {
            name: Detections(
                *(column[a:b] for column in (known.start, known.end, known.label, known.score)),
                SnippetPositions(*known.snippets[a:b].T, self.grids[name]) if name in self.grids else None,
            )
            for name, a, b in zip(self.names, cuts, cuts[1:])
        }
        version = value.get("version", "")
        kept = {key: part for key, part in value.items() if key in BESIDE} if layout == "videos" else {}
        repeated = _repeated_rows(known)
        return DetectionFile(videos, classes, str(version), layout, unknown, repeated, sha256, path, kept)


def _repeated_rows(table: DetectionTable) -> int:
    if len(table) < 2:
        return 0
    columns = (table.score, table.end, table.start, table.label, table.video)
    order = np.lexsort(columns)
    same = np.ones(len(table) - 1, dtype=bool)
    for column in columns:
        same &= column[order][1:] == column[order][:-1]
    return int(np.count_nonzero(same))


def _first_wrong_row(
    path: Path, layout: str, videos: dict[str, list], grids: Mapping[str, float] = MappingProxyType({})
) -> DataError:
    """Find the first row that is not as it should be and say so."""
    basic = ("label", "start", "end", "score") if layout == "videos" else ("label", "segment", "score")
    for name, rows in videos.items():
        keys = (*basic, "snippets") if name in grids else basic
        for place, row in enumerate(rows):
            where = f'{layout}["{name}"][{place}]'
            if not isinstance(row, dict):
                return _wrong(path, where, f"an object with the keys {listing(keys)}", row)
            for key in keys:
                if key not in row:
                    hint = did_you_mean(key, row)
                    return DataError(
                        f"{path}: {where}: expected the keys {listing(keys)}, found {listing(row)}; {key!r} is missing."
                        f"{hint} The layout, with an example:\n{EXAMPLE}"
                    )
                complaint = _wrong_value(key, row[key])
                if complaint:
                    return _wrong(path, f"{where}.{key}", complaint, row[key])
    raise AssertionError("every row is sound, but the columns could not be built")


def _wrong_value(key: str, value: Any) -> str:
    """What the value of a row's key should have been, or an empty string."""
    if key == "label":
        return "" if isinstance(value, str) else "a class name in quotes"
    if key in ("segment", "snippets"):
        sound = isinstance(value, list) and len(value) == 2 and not any(_wrong_value("start", side) for side in value)
        return "" if sound else f"[start, end], two numbers in {'seconds' if key == 'segment' else 'snippets'}"
    if type(value) not in (int, float):
        text = "a number"
        return f"{text} without quotes" if isinstance(value, str) else text
    try:
        float(value)
    except OverflowError:
        return "a number that fits a float"
    return ""
