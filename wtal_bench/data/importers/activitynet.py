"""Turning annotations in ActivityNet's own layout into an annotation file of the harness.

    {"version": str, "database": {id: {"subset": "training", "duration": seconds,
                                       "annotations": [{"label": str, "segment": [start, end]}, ...]}}}

The layout is also what many tools write of other data sets (THUMOS14 with `fps`, one's own labels from an editor).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.reading import GIB, decode_json, read_bytes

SUBSETS = {"training": "train", "validation": "val", "testing": "test"}
"""The layout's names of the splits -> the harness's; any other name stays, in lower case."""


def is_json(path: str | Path) -> bool:
    """Whether a file is meant as JSON and not as a table: what it begins with tells, without reading the rest.

    Raises:
        DataError: it cannot be read.
    """
    return read_bytes(path, limit=GIB).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")


def read_activitynet(
    path: str | Path, *, version: str, subset: str | None = None, classes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Read the layout; return annotations for `files.write_json`.

    Args:
        path: the file.
        version: name the annotations get.
        subset: subset of every video that names none.
        classes: class names in order; None = the labels, sorted.

    Raises:
        DataError: another layout, or something in it that cannot be; the text names video and key.
    """
    value = decode_json(read_bytes(path, limit=GIB), path)
    database = value.get("database") if isinstance(value, Mapping) else None
    if not isinstance(database, Mapping) or not database:
        raise DataError(f"{path}: {_other_layout(value)}")
    videos = {name: _video(entry, f"{path}: database[{name!r}]", subset) for name, entry in database.items()}
    if classes is None:
        classes = sorted({segment["label"] for video in videos.values() for segment in video["segments"]})
    result = {"version": version, "classes": list(classes), "videos": videos}
    Annotations.from_dict(result, str(path))
    return result


def _other_layout(value: Any) -> str:
    if isinstance(value, Mapping) and {"classes", "videos"} <= value.keys():
        return "is an annotation file of this harness already; use it as it is."
    found = f"the keys {listing(value, 8)}" if isinstance(value, Mapping) else f"a {type(value).__name__}"
    hint = did_you_mean("database", value) if isinstance(value, Mapping) else ""
    return (
        f"is JSON, but not in ActivityNet's layout: it holds {found}.{hint} Needed: an object with `database`: video "
        "id -> {subset, duration, annotations: [{label, segment: [start, end]}]}; or give a CSV table."
    )


def _video(entry: Any, place: str, subset: str | None) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        raise DataError(f"{place} is {entry!r:.80}; needed: subset, duration and annotations of the video.")
    if "duration" not in entry:
        raise DataError(f"{place}: `duration` in seconds is missing.{did_you_mean('duration', entry)}")
    name = entry.get("subset") or subset
    if not isinstance(name, str):
        raise DataError(f"{place}: `subset` is {name!r:.80}; needed: training, validation or testing, or --subset.")
    rows = entry.get("annotations", [])
    if not isinstance(rows, list):
        raise DataError(f"{place}: `annotations` is {rows!r:.80}; needed: a list of {{label, segment}}.")
    video: dict[str, Any] = {
        "subset": SUBSETS.get(name.lower(), name.lower()),
        "duration": entry["duration"],
        "segments": [_segment(row, f"{place}: annotations[{at}]") for at, row in enumerate(rows)],
    }
    if entry.get("fps") is not None:
        video["fps"] = entry["fps"]
    return video


def _segment(row: Any, place: str) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise DataError(f"{place} is {row!r:.80}; needed: {{label, segment}}.")
    for key in ("label", "segment"):
        if key not in row:
            raise DataError(f"{place}: `{key}` is missing.{did_you_mean(key, row)}")
    span, label = row["segment"], row["label"]
    if not isinstance(span, list) or len(span) != 2:
        raise DataError(f"{place}: `segment` is {span!r:.80}; needed: [start, end] in seconds.")
    if not isinstance(label, str) or not label:
        raise DataError(f"{place}: `label` is {label!r:.80}; needed: the name of a class.")
    return {"label": label, "start": span[0], "end": span[1]}
