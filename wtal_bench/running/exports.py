"""Detections in the formats of other programs: the suffix of the file decides."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.evaluation import write_detections
from wtal_bench.files import atomic_write, write_text
from wtal_bench.structures import Detections
from wtal_bench.text import table_cell, visible

Videos = Mapping[str, Detections]


def check_suffix(path: str) -> str:
    """The suffix of a file detections can be written to: asked before hours of work, not after them.

    Raises:
        ConfigError: an unknown one (the text lists those there are), or one whose writer is not installed.
    """
    known = [*WRITERS, ".json", ".json.gz"]
    name = Path(path).name.lower()
    found = next((suffix for suffix in sorted(known, key=len, reverse=True) if name.endswith(suffix)), None)
    if found is None and not Path(path).is_char_device() and not Path(path).is_fifo():
        raise ConfigError(
            f"--out {path}: detections are written as {listing(known)}.{did_you_mean(Path(path).suffix, known)}"
        )
    if found == ".eaf" and importlib.util.find_spec("pympi") is None:
        raise ConfigError(f"--out {path}: ELAN files are written by pympi: pip install 'wtal-bench[elan]'.")
    return found or ".json"


def export(path: str, videos: Videos, classes: tuple[str, ...], version: str) -> list[Path]:
    """Write detections; subtitles and ELAN's are a file a video, beside each other.

    Args:
        path: .json or .json.gz (ours), .activitynet.json (a submission), .csv (a row a detection), .vtt (WebVTT
            subtitles, by which any player shows the actions), .eaf (ELAN, a tier a class; needs the extra 'elan').
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
    targets = _beside(path, videos)
    for target, found in zip(targets, videos.values()):
        order = found.take(found.start.argsort(kind="stable"))
        cues = [
            f"{_clock(start)} --> {_clock(end)}\n{_plain(classes[label])} ({score:.2f})\n"
            for label, start, end, score in _rows(order)
        ]
        write_text(target, "\n".join(["WEBVTT\n", *cues]))
    return targets


def _eaf(path: Path, videos: Videos, classes: tuple[str, ...], version: str) -> list[Path]:
    """A tier a class; detections that overlap take further tiers of that class, for ELAN allows no overlap in one."""
    from pympi.Elan import Eaf, to_string

    targets = _beside(path, videos)
    for target, found in zip(targets, videos.values()):
        document = Eaf(author=visible(version))
        if len(found):
            document.remove_tier("default")  # which a file without any other keeps
        for label, lane, rows in _tiers(found):
            name = f"{visible(classes[label])}{f' ({lane})' if lane > 1 else ''}"
            while name in document.tiers:  # a class may be called "Jump (2)"
                name += "'"
            document.add_tier(name)
            for start, end, score in rows:
                document.add_annotation(name, start, end, f"{score:.4g}")
        with atomic_write(target, "wb") as stream:
            stream.write(to_string(document, encoding="UTF-8"))
    return targets


def _tiers(found: Detections) -> Iterator[tuple[int, int, list[tuple[int, int, float]]]]:
    """(class, 1 or more, rows of whole milliseconds and score in the order of time) of every tier."""
    for label in sorted(set(found.label.tolist())):
        own = found.take(found.label == label)
        lanes: list[list[tuple[int, int, float]]] = []
        order = own.take(own.start.argsort(kind="stable"))
        for _, start, end, score in _rows(order):
            first = round(1000 * start)
            last = max(first + 1, round(1000 * end))
            lane = next((lane for lane in lanes if lane[-1][1] <= first), None)
            if lane is None:
                lanes.append(lane := [])
            lane.append((first, last, score))
        for number, lane in enumerate(lanes, 1):
            yield label, number, lane


def _beside(path: Path, videos: Videos) -> list[Path]:
    """A file a video: the path itself for one, else with the videos' names in it."""
    return [path if len(videos) == 1 else path.with_name(f"{path.stem}_{name}{path.suffix}") for name in videos]


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
    ".eaf": _eaf,
}
