"""THUMOS14's own folder of annotations: a text file a class and subset, lines `video start end`.

    TH14_Temporal_annotations_validation/annotation/BaseballPitch_val.txt
    TH14_Temporal_Annotations_Test/.../annotation/Ambiguous_test.txt

The files say nothing of how long a video is; that comes from a table or a feature store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import DataError, listing
from wtal_bench.reading import read_text

SUBSETS = {"val": "train", "test": "test"}
"""Ends of the files' names -> subsets: THUMOS14 is trained on its validation videos."""

AMBIGUOUS = "Ambiguous"
_FILE = re.compile(r"(.+)_(val|test)\.txt")


def is_thumos(path: str | Path) -> bool:
    """Whether a folder holds such files, at any depth."""
    folder = Path(path)
    return folder.is_dir() and any(_FILE.fullmatch(found.name) for found in folder.rglob("*.txt"))


def read_thumos(
    path: str | Path,
    *,
    version: str,
    durations: Mapping[str, Mapping[str, Any]],
    subset: str | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Read the folder; return annotations for `files.write_json`.

    Args:
        path: the folder, or one above several.
        version: name the annotations get.
        durations: video -> {"duration": seconds, "fps"?, "frames"?}; videos of it without a line have no instance and
            are left out.
        subset: ignored unless a file's name gives none.
        classes: class names in order; None = the files' names, sorted.

    Raises:
        DataError: a line that is none, or a video whose duration nobody knows.
    """
    videos: dict[str, dict[str, Any]] = {}
    labels = set()
    for file in sorted(Path(path).rglob("*.txt")):
        match = _FILE.fullmatch(file.name)
        if match is None:
            continue
        label, part = match.groups()
        if label != AMBIGUOUS:
            labels.add(label)
        for number, line in enumerate(read_text(file).splitlines(), start=1):
            if line.strip():
                _add(videos, label, SUBSETS[part], line, f"{file}, line {number}", durations)
    for video in videos.values():
        video["segments"].sort(key=lambda row: (row["start"], row["end"], row["label"]))
    names = sorted(labels) if classes is None else list(classes)
    value = {"version": version, "classes": names, "videos": dict(sorted(videos.items()))}
    Annotations.from_dict(value, str(path))
    return value


def _add(
    videos: dict[str, dict[str, Any]],
    label: str,
    subset: str,
    line: str,
    place: str,
    durations: Mapping[str, Mapping[str, Any]],
) -> None:
    cells = line.split()
    try:
        name, start, end = cells[0], float(cells[1]), float(cells[2])
    except (IndexError, ValueError):
        raise DataError(f"{place}: is {line.strip()!r:.60}; needed: video, start and end in seconds.") from None
    if name not in durations:
        raise DataError(
            f"{place}: nothing says how long video {name!r} is; give a table with video and duration, or a feature "
            f"store, with --durations. {f'Known are {listing(durations, 2)}.' if durations else ''}"
        )
    video = videos.setdefault(name, {"subset": subset, **durations[name], "segments": []})
    if label == AMBIGUOUS:
        video.setdefault("ambiguous", []).append([start, end])
    else:
        video["segments"].append({"label": label, "start": start, "end": end})
