"""Turning a CSV table of tags or instances into an annotation file."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from wtal_bench.data.annotation_notes import duration_notes
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.importers.dialect import Dialect, read_any_text, recognise, seconds, video_id
from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.names import composed, joined

_REQUIRED = ("video", "label", "duration")
HEADER_LIMIT = 2000
"""Characters of the longest first line a table may have."""
_OPTIONAL = ("start", "end", "subset", "fps", "frames")


def read_table(
    path: str | Path,
    *,
    version: str,
    subset: str | None = None,
    classes: Sequence[str] | None = None,
    durations: Mapping[str, Mapping[str, Any]] | None = None,
    notes: list[str] | None = None,
) -> dict[str, Any]:
    """Read a table with a header line and one row per tag or instance; return annotations for `files.write_json`.

    Columns: `video`, `label` (empty for a video that shows no class), `duration` in seconds; optional `start` and
    `end` in seconds, `subset`, `fps`, `frames`, or other programs' names of these (see `dialect`). Videos without
    times get their labels as video-level tags, all that weakly supervised training needs; instances are needed to
    evaluate. One table may hold both: training videos with `start` and `end` blank, test videos with times.

    Args:
        path: the table: UTF-8, UTF-16 or Latin-1; separated by comma, semicolon, tab or bar.
        version: name the annotations get.
        subset: subset of every video, for tables without that column.
        classes: class names in order; None = the labels of the table, sorted.
        durations: video -> duration (and fps, frames) for a table without that column, as a feature store knows them.
        notes: gets sentences on what was recognised.

    Raises:
        DataError: the text names line and column.
    """
    if durations is None:
        rows, told = _rows(Path(path))
    else:
        rows, told = _rows(Path(path), _REQUIRED[:2], (*_REQUIRED[2:], *_OPTIONAL))
        rows = [(line, _with_duration(row, durations, f"{path}, line {line}")) for line, row in rows]
    videos: dict[str, dict[str, Any]] = {}
    labels = {row["label"] for _, row in rows}
    for line, row in rows:
        place = f"{path}, line {line}"
        _check_single(row["label"], labels if classes is None else set(classes), place, listed=classes is not None)
        video = _video(videos, row, subset, place)
        if row["label"]:
            _label(video, row, place)
    for video in videos.values():
        if not {"segments", "labels"} & video.keys():
            video["segments" if "start" in rows[0][1] else "labels"] = []
    if classes is None:
        classes = sorted({row["label"] for _, row in rows if row["label"]})
    value = {"version": version, "classes": [composed(name) for name in classes], "videos": videos}
    read = Annotations.from_dict(value, str(path))
    for note in duration_notes(read.videos.values()):
        if note.level == "error":
            raise DataError(f"{path}: {note.text} Nothing was written.")
    if notes is not None:
        notes += told
    return value


def _with_duration(row: dict[str, str], durations: Mapping[str, Mapping[str, Any]], place: str) -> dict[str, str]:
    """The row with the duration of its video, where it has none itself."""
    if row.get("duration"):
        return row
    known = durations.get(row["video"])
    if known is None:
        near = did_you_mean(row["video"], durations)
        raise DataError(
            f"{place}: no duration is known of video {row['video']!r}: it is not among the {len(durations)} of "
            f"--durations.{near} Extract or import its features too, or fill in a column `duration`."
        )
    return {**row, **{name: str(value) for name, value in known.items() if not row.get(name)}}


def read_durations(path: str | Path) -> dict[str, dict[str, Any]]:
    """A table of `video`, `duration` and perhaps `fps`, `frames` -> {video: {"duration": ...}}.

    Raises:
        DataError: the text names line and column.
    """
    rows, _ = _rows(Path(path), ("video", "duration"), ("fps", "frames"))
    return {row["video"]: _facts(row, f"{path}, line {line}") for line, row in rows}


def read_rates(path: str | Path) -> dict[str, tuple[float | None, int | None]]:
    """A table of `video` and `fps`, `stride`, or one of the two -> {video: (fps, stride)}, None for an empty cell.

    Raises:
        DataError: the text names line and column.
    """
    rows, _ = _rows(Path(path), ("video",), ("fps", "stride"))
    if not {"fps", "stride"} & rows[0][1].keys():
        raise DataError(f"{path}: has neither a column 'fps' nor a column 'stride'.")
    rates: dict[str, tuple[float | None, int | None]] = {}
    for line, row in rows:
        place = f"{path}, line {line}"
        fps, stride = (
            _number(row[name], f"{place}: `{name}`") if row.get(name) else None for name in ("fps", "stride")
        )
        if fps is not None and not fps > 0:
            raise DataError(f"{place}: `fps` must be above 0, got {fps:g}.")
        if stride is not None and (stride < 1 or stride != int(stride)):
            raise DataError(f"{place}: `stride` must be a whole number of frames of at least 1, got {stride:g}.")
        if row["video"] in rates:
            raise DataError(f"{place}: video {row['video']!r} has a row already.")
        rates[row["video"]] = (fps, None if stride is None else int(stride))
    return rates


def _check_single(label: str, labels: Collection[str], place: str, *, listed: bool) -> None:
    """Refuse several labels in one cell; a class of that name in a list of classes is one all the same."""
    if listed and label in labels:
        return
    parts = [part.strip() for part in re.split("[|;]", label) if part.strip()]
    if len(parts) < 2:
        parts = joined(label, labels)
        parts = parts if set(parts) <= set(labels) else []  # a comma or a slash may be part of a name
    if parts:
        raise DataError(
            f"{place}: `label` is {label!r}, several in one cell; write a row each: {listing(parts)}. If it is one "
            "class, name it in the list of --classes."
        )


def _label(video: dict[str, Any], row: dict[str, str], place: str) -> None:
    """Add a row's label to its video: an instance where the row gives times, a tag where it gives none."""
    label, start, end = row["label"], row.get("start", ""), row.get("end", "")
    if bool(start) != bool(end):
        raise DataError(f"{place}: has only one of `start` and `end`; give both, or none for a tag alone.")
    kind, other = ("segments", "labels") if start else ("labels", "segments")
    if other in video:
        raise DataError(
            f"{place}: video {row['video']!r} has rows with times and rows without; a video is labelled either way. "
            "Fill in the times, or take them away."
        )
    entries = video.setdefault(kind, [])
    if start:
        times = {name: _number(row[name], f"{place}: `{name}`") for name in ("start", "end")}
        entries.append({"label": label, **times})
    elif label not in entries:
        entries.append(label)


def _rows(
    path: Path, required: Sequence[str] = _REQUIRED, optional: Sequence[str] = _OPTIONAL
) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    """(line, our column -> cell) of every row, and what was recognised."""
    text, note = read_any_text(path, "Give a CSV table.")
    first = text.lstrip("\n").partition("\n")[0]
    if len(first) > HEADER_LIMIT or first.count(",") > HEADER_LIMIT // 20:
        raise DataError(f"{path}: its first line has {len(first)} characters; it should name the columns of a table.")
    dialect = recognise(first, path, (*required, *optional))
    reader = csv.DictReader(io.StringIO(text), strict=True, delimiter=dialect.separator)
    rows = []
    try:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        _check_columns(list(reader.fieldnames), dialect, path, required, optional)
        for row in reader:
            if None in row or None in row.values():
                raise DataError(f"{path}, line {reader.line_num}: has another number of cells than the header.")
            cells = {column: composed(row[name].strip()) for column, name in dialect.columns.items()}
            rows.append((reader.line_num, {**cells, "video": video_id(cells["video"])}))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: it is no CSV table ({error}).") from error
    if not rows:
        raise DataError(f"{path}: holds no row below its header.")
    return rows, [*([note] if note else []), *dialect.notes]


def _check_columns(
    columns: list[str], dialect: Dialect, path: Path, required: Sequence[str], optional: Sequence[str]
) -> None:
    known, taken = (*required, *optional), set(dialect.columns.values())
    for name in columns:
        near = did_you_mean(name, [other for other in known if other not in dialect.columns])
        if name not in known and name not in taken and near:
            raise DataError(f"{path}: unknown column {name!r}.{near}")
    for name in required:
        if name not in dialect.columns:
            raise DataError(
                f"{path}: the column {name!r} is missing; needed are {listing(required)}, known besides "
                f"{listing(optional)}. The first line must name the columns."
                + (" A feature store knows durations: --durations STORE." if name == "duration" else "")
            )
    if len(set(columns)) != len(columns):
        raise DataError(f"{path}: a column is named twice: {listing(columns)}.")
    if ("start" in dialect.columns) != ("end" in dialect.columns):
        raise DataError(f"{path}: has only one of the columns 'start' and 'end'; give both, or none for tags alone.")


def _video(videos: dict[str, dict[str, Any]], row: dict[str, str], subset: str | None, place: str) -> dict[str, Any]:
    """Return the entry of a row's video, made at its first row; later rows must agree with it."""
    if not row["video"]:
        raise DataError(f"{place}: `video` is empty.")
    subset = row.get("subset") or subset
    if not subset:
        raise DataError(f"{place}: no subset; add a column 'subset' or give one for all videos.")
    facts = {"subset": subset, **_facts(row, place)}
    entry = videos.setdefault(row["video"], dict(facts))
    for name, value in facts.items():
        if entry.get(name) != value:
            raise DataError(
                f"{place}: video {row['video']!r} has {name} {value!r} here and {entry.get(name)!r} in an earlier row."
            )
    return entry


def _facts(row: dict[str, str], place: str) -> dict[str, Any]:
    """What a row says of its video."""
    facts: dict[str, Any] = {"duration": _number(row["duration"], f"{place}: `duration`")}
    if row.get("fps"):
        facts["fps"] = _number(row["fps"], f"{place}: `fps`")
    if row.get("frames"):
        frames = _number(row["frames"], f"{place}: `frames`")
        facts["frames"] = int(frames) if frames.is_integer() else frames
    return facts


def _number(cell: str, place: str) -> float:
    value = seconds(cell)
    if not math.isfinite(value):
        raise DataError(f"{place} must be a number of seconds or frames, or a time as mm:ss, got {cell!r}.")
    return value
