"""Tables as people's programs write them: separators, decimal commas, clock times, encodings, names of columns."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wtal_bench.errors import DataError
from wtal_bench.reading import GIB, read_bytes

SEPARATORS = (",", ";", "\t", "|")

ALIASES: dict[str, tuple[str, ...]] = {
    "video": ("filename", "file", "file_name", "video_id", "videoid", "video_name", "id", "path"),
    "label": ("class", "action", "tag", "class_name", "category", "activity", "labels"),
    "duration": ("length", "video_duration", "duration_s", "seconds"),
    "start": ("t_start", "start_time", "begin", "from", "onset", "start_s", "startsec"),
    "end": ("t_end", "end_time", "stop", "to", "offset", "end_s", "endsec"),
    "subset": ("split", "set", "partition"),
    "fps": ("frame_rate", "framerate", "rate"),
    "frames": ("num_frames", "frame_count", "nframes"),
    "stride": ("snippet_stride", "step", "frames_a_snippet"),
}
"""Our names of columns -> others that mean the same."""

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".npy", ".npz", ".h5", ".pt")

_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,3}):(\d{1,2}(?:[.,]\d+)?)")


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    Attributes:
        separator: between cells.
        columns: our name of a column -> the table's.
        notes: what was recognised besides the plain form.
    """

    separator: str
    columns: dict[str, str]
    notes: tuple[str, ...]


def read_any_text(path: Path, hint: str) -> tuple[str, str]:
    """(text, note) of a text file in UTF-8, UTF-16 with a mark, or else Windows-1252, which holds Latin-1.

    Raises:
        DataError: no regular file, or no text at all.
    """
    content = read_bytes(path, hint=hint, limit=GIB)
    note = ""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        kind = "utf-16"
    else:
        try:
            return _lines(content.decode("utf-8-sig")), note
        except UnicodeDecodeError:
            kind = "cp1252"
    try:
        text = content.decode(kind)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no text ({error.reason} at byte {error.start}). {hint}") from error
    if any(ord(char) < 32 and char not in "\t\r\n" for char in text):
        raise DataError(f"{path}: is no text: it holds control characters. {hint}")
    strange = sorted({char for char in text if ord(char) > 127})[:5]
    shown = f" ({' '.join(strange)})" if strange else ""
    name = "UTF-16" if kind == "utf-16" else "Latin-1"
    return _lines(text), f"read as {name}{shown}; save it as UTF-8 if these letters are wrong"


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def recognise(header: str, path: Path, wanted: Sequence[str]) -> Dialect:
    """Understand a table's first line.

    Args:
        header: the line.
        path: for error texts.
        wanted: our names of columns.

    Raises:
        DataError: it cannot be split into cells.
    """
    separator = max(SEPARATORS, key=lambda mark: (header.count(mark), -SEPARATORS.index(mark)))
    try:
        names = [name.strip() for name in next(csv.reader([header], delimiter=separator, strict=True), [])]
    except csv.Error as error:
        raise DataError(f"{path}, line 1: it is no CSV table ({error}).") from error
    columns, notes = {}, []
    plain = {re.sub(r"[\s_-]+", "_", re.sub(r"\s*[\[(].*", "", name).strip().lower()): name for name in reversed(names)}
    for column in wanted:
        if column in names:
            columns[column] = column
            continue
        found = next((plain[name] for name in (column, *ALIASES[column]) if name in plain), None)
        if found is not None and found not in columns.values():
            columns[column] = found
            notes.append(f"column {found!r} is taken for `{column}`")
    if separator != ",":
        notes.append(f"cells are separated by {separator!r}")
    return Dialect(separator, columns, tuple(notes))


def seconds(cell: str) -> float:
    """A number of seconds, with a decimal point or comma, or a clock time mm:ss or hh:mm:ss; NaN for anything else."""
    clock = _CLOCK.fullmatch(cell)
    if clock is not None:
        hours, minutes, rest = clock.groups()
        value = float(rest.replace(",", "."))
        return math.nan if value >= 60 else int(hours or 0) * 3600 + int(minutes) * 60 + value
    text = cell.removesuffix("s").strip()
    if "," in text and "." not in text and text.count(",") == 1:
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return math.nan


def video_id(cell: str) -> str:
    """The id in a cell that may be a path or a file's name."""
    name = PurePosixPath(cell.replace("\\", "/")).name
    suffix = PurePosixPath(name).suffix.lower()
    return name[: -len(suffix)] if suffix in VIDEO_SUFFIXES else cell
