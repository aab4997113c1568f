"""Detections in the formats of other programs: the suffix of the file decides."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.evaluation import write_detections
from wtal_bench.files import write_text
from wtal_bench.structures import Detections
from wtal_bench.text import table_cell

Videos = Mapping[str, Detections]


def check_suffix(path: str) -> str:
    """The suffix of a file detections can be written to.

    Raises:
        ConfigError: an unknown one; the text lists those there are.
    """
    known = [*WRITERS, ".json", ".json.gz"]
    name = Path(path).name.lower()
    found = next((suffix for suffix in sorted(known, key=len, reverse=True) if name.endswith(suffix)), None)
    if found is None and not Path(path).is_char_device() and not Path(path).is_fifo():
        raise ConfigError(
            f"--out {path}: detections are written as {listing(known)}.{did_you_mean(Path(path).suffix, known)}"
        )
    return found or ".json"


def export(path: str, videos: Videos, classes: tuple[str, ...], version: str) -> list[Path]:
    """Write detections; subtitles are a file a video, beside each other.

    Args:
        path: .json or .json.gz (ours), .activitynet.json (a submission), .csv (a row a detection), .vtt (WebVTT
            subtitles, by which any player shows the actions).
        videos: id -> detections.
        classes: class names.
        version: what made them.

    Returns:
        The files written.

    Raises:
        ConfigError: see `check_suffix`.
        DataError: the folder cannot be written.
    """
    suffix = check_suffix(path)
    if suffix in (".json", ".json.gz"):
        write_detections(path, videos, classes, version)
        return [Path(path)]
    return WRITERS[suffix](Path(path), videos, classes, version)


def _activitynet(path: Path, videos: Videos, classes: tuple[str, ...], version: str) -> list[Path]:
    results = {
        name: [
            {"label": classes[label], "score": score, "segment": [start, end]}
            for label, start, end, score in _rows(found)
        ]
        for name, found in videos.items()
    }
    value = {"version": version, "results": results, "external_data": {}}
    write_text(path, json.dumps(value, allow_nan=False, ensure_ascii=False) + "\n")
    return [path]


def _csv(path: Path, videos: Videos, classes: tuple[str, ...], version: str) -> list[Path]:
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(("video", "label", "start", "end", "score"))
    for name, found in videos.items():
        for label, start, end, score in _rows(found):
            rows.writerow((table_cell(name), table_cell(classes[label]), f"{start:.3f}", f"{end:.3f}", f"{score:.6g}"))
    write_text(path, stream.getvalue())
    return [path]


def _vtt(path: Path, videos: Videos, classes: tuple[str, ...], version: str) -> list[Path]:
    written = []
    for name, found in videos.items():
        target = path if len(videos) == 1 else path.with_name(f"{path.stem}_{name}{path.suffix}")
        order = found.take(found.start.argsort(kind="stable"))
        cues = [
            f"{_clock(start)} --> {_clock(end)}\n{_plain(classes[label])} ({score:.2f})\n"
            for label, start, end, score in _rows(order)
        ]
        write_text(target, "\n".join(["WEBVTT\n", *cues]))
        written.append(target)
    return written


def _rows(found: Detections) -> Iterator[tuple[int, float, float, float]]:
    return zip(found.label.tolist(), found.start.tolist(), found.end.tolist(), found.score.tolist())


def _clock(seconds: float) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def _plain(text: str) -> str:
    """Text that WebVTT takes for no markup and no cue's end."""
    return escape(text, quote=False).replace("\n", " ")


WRITERS: dict[str, Callable[[Path, Videos, tuple[str, ...], str], list[Path]]] = {
    ".activitynet.json": _activitynet,
    ".csv": _csv,
    ".vtt": _vtt,
}
