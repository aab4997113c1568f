"""Turning a CSV table of tags or instances into an annotation file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wtal_bench.data.annotation_notes import duration_notes
from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.names import composed
from wtal_bench.reading import GIB, read_text

_REQUIRED = ("video", "label", "duration")
HEADER_LIMIT = 2000
"""Characters of the longest first line a table may have."""
_OPTIONAL = ("start", "end", "subset", "fps", "frames")


def read_table(
    path: str | Path, *, version: str, subset: str | None = None, classes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Read a table with a header line and one row per tag or instance; return annotations for `files.write_json`.

    Columns: `video`, `label` (empty for a video that shows no class), `duration` in seconds; optional `start` and
    `end` in seconds, `subset`, `fps`, `frames`. Without `start` and `end` the labels become video-level tags, all that
    weakly supervised training needs; instances are needed to evaluate.

    Args:
        path: the table, UTF-8, comma separated.
        version: name the annotations get.
        subset: subset of every video, for tables without that column.
        classes: class names in order; None = the labels of the table, sorted.

    Raises:
        DataError: the text names line and column.
    """
    rows = _rows(Path(path))
    timed = "start" in rows[0][1] and "end" in rows[0][1]
    videos: dict[str, dict[str, Any]] = {}
    for line, row in rows:
        place = f"{path}, line {line}"
        video = _video(videos, row, subset, timed, place)
        if not row["label"]:
            continue
        if timed:
            times = {name: _number(row[name], f"{place}: `{name}`") for name in ("start", "end")}
            video["segments"].append({"label": row["label"], **times})
        elif row["label"] not in video["labels"]:
            video["labels"].append(row["label"])
    if classes is None:
        classes = sorted({row["label"] for _, row in rows if row["label"]})
    value = {"version": version, "classes": [composed(name) for name in classes], "videos": videos}
    read = Annotations.from_dict(value, str(path))
    for note in duration_notes(read.videos.values()):
        if note.level == "error":
            raise DataError(f"{path}: {note.text} Nothing was written.")
    return value


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    text = read_text(path, hint="Give a UTF-8 CSV table.", limit=GIB)
    _check_columns(_header(text, path), path)
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise DataError(f"{path}, line {reader.line_num}: has another number of cells than the header.")
            rows.append((reader.line_num, {name: cell.strip() for name, cell in row.items()}))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: it is no CSV table ({error}).") from error
    if not rows:
        raise DataError(f"{path}: holds no row below its header.")
    return rows


def _header(text: str, path: Path) -> list[str]:
    """The names of the columns; a first line that is none is refused before its thousands of cells are compared."""
    first = text.lstrip("\n").partition("\n")[0]
    if len(first) > HEADER_LIMIT or first.count(",") > HEADER_LIMIT // 20:
        raise DataError(f"{path}: its first line has {len(first)} characters; it should name the columns of a table.")
    try:
        return [name.strip() for name in next(csv.reader([first], strict=True), [])]
    except csv.Error as error:
        raise DataError(f"{path}, line 1: it is no CSV table ({error}).") from error


def _check_columns(columns: list[str], path: Path) -> None:
    known = (*_REQUIRED, *_OPTIONAL)
    for name in columns:
        near = did_you_mean(name, [other for other in known if other not in columns])
        if name not in known and near:
            raise DataError(f"{path}: unknown column {name!r}.{near}")
    for name in _REQUIRED:
        if name not in columns:
            raise DataError(
                f"{path}: the column {name!r} is missing; needed are {listing(_REQUIRED)}, known besides "
                f"{listing(_OPTIONAL)}. The first line must name the columns, separated by commas."
            )
    if len(set(columns)) != len(columns):
        raise DataError(f"{path}: a column is named twice: {listing(columns)}.")
    if ("start" in columns) != ("end" in columns):
        raise DataError(f"{path}: has only one of the columns 'start' and 'end'; give both, or none for tags alone.")


def _video(
    videos: dict[str, dict[str, Any]], row: dict[str, str], subset: str | None, timed: bool, place: str
) -> dict[str, Any]:
    """Return the entry of a row's video, made at its first row; later rows must agree with it."""
    if not row["video"]:
        raise DataError(f"{place}: `video` is empty.")
    subset = row.get("subset") or subset
    if not subset:
        raise DataError(f"{place}: no subset; add a column 'subset' or give one for all videos.")
    facts: dict[str, Any] = {"subset": subset, "duration": _number(row["duration"], f"{place}: `duration`")}
    if row.get("fps"):
        facts["fps"] = _number(row["fps"], f"{place}: `fps`")
    if row.get("frames"):
        frames = _number(row["frames"], f"{place}: `frames`")
        facts["frames"] = int(frames) if frames.is_integer() else frames
    entry = videos.setdefault(row["video"], {**facts, "segments" if timed else "labels": []})
    for name, value in facts.items():
        if entry.get(name) != value:
            raise DataError(
                f"{place}: video {row['video']!r} has {name} {value!r} here and {entry.get(name)!r} in an earlier row."
            )
    return entry


def _number(cell: str, place: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{place} must be a number of seconds or frames, got {cell!r}.")
    return value
