"""Names of feature files -> videos and streams: by a pattern, or recognised from what the names have in common."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wtal_bench.errors import ConfigError, DataError, listing
from wtal_bench.names import composed

STREAMS = ("rgb", "spatial", "spa", "appearance", "flow", "temporal", "tem", "motion", "audio", "vggish", "depth")
"""Words that name a stream in other people's files, in column order."""

FEW = 0.34
"""Share of videos that may lack a stream, and of files that may name none, where the others tell what was meant."""

_LETTERED = re.compile(r"[A-Za-z]+[0-9]?")


@dataclass(frozen=True)
class Reading:
    """One way to understand a set of names.

    Attributes:
        words: what it is, for a person.
        pattern: the names' form, as `--pattern` takes it.
        streams: in column order; one stream is called "features".
        files: video id -> stream -> file.
    """

    words: str
    pattern: str
    streams: tuple[str, ...]
    files: dict[str, dict[str, Path]]

    def __str__(self) -> str:
        count = f"{len(self.files)} videos"
        return count if len(self.streams) == 1 else f"{count} x {len(self.streams)} streams ({', '.join(self.streams)})"


def stream_word(name: str) -> str:
    """The part of a name that names a stream: `feat_spa` -> spa, `RGB-features` -> rgb; "" for none."""
    return next((word for word in re.split(r"[^a-z]+", name.lower()) if word in STREAMS), "")


def by_pattern(files: Sequence[tuple[Path, Path]], pattern: str) -> Reading:
    """Read names by a pattern such as `{id}_{stream}.npy` or `{stream}/{id}.npz`; `*` matches anything.

    Args:
        files: (path, path below its source) of every file.
        pattern: holds `{id}` once, `{stream}` at most once; with a slash it is matched to the end of the whole path.

    Raises:
        ConfigError: a pattern without `{id}`.
        DataError: no name fits, or two files are one video's stream.
    """
    if pattern.count("{id}") != 1 or pattern.count("{stream}") > 1:
        raise ConfigError(f"--pattern {pattern!r} must hold {{id}} once and {{stream}} at most once.")
    parts = re.split(r"(\{id\}|\{stream\}|\*)", pattern)
    forms = {"{id}": r"(?P<id>[^/]+)", "{stream}": r"(?P<stream>[^/]+?)", "*": r"[^/]*"}
    known = "|".join(sorted(STREAMS, key=len, reverse=True))
    matcher = re.compile("".join(forms.get(part, re.escape(part)) for part in parts))
    named = {**forms, "{stream}": f"(?P<stream>{known})"}
    strict = re.compile("".join(named.get(part, re.escape(part)) for part in parts))
    depth = pattern.count("/") + 1
    found = []
    for path, below in files:
        name = "/".join(below.parts[-depth:])
        match = strict.fullmatch(name) or matcher.fullmatch(name)
        if match is not None:
            found.append((match["id"], match.groupdict().get("stream") or "features", path))
    if not found:
        raise DataError(
            f"--pattern {pattern!r} fits no file; they are called {listing((str(b) for _, b in files), 4)}."
        )
    return _reading(found, f"--pattern {pattern}", pattern)


def by_folder(files: Sequence[tuple[Path, Path]]) -> Reading:
    """Read each of several folders as a stream, in the order they come in.

    Args:
        files: (path, its folder's name and the path below it) of every file.

    Raises:
        DataError: the folders hold different videos, or one holds a video twice.
    """
    order = list(dict.fromkeys(below.parts[0] for _, below in files))
    rows = [(below.stem, below.parts[0], path) for path, below in files]
    return _reading(rows, "a folder a stream", f"{{stream}}/{{id}}{files[0][0].suffix}", order)


def recognise(files: Sequence[tuple[Path, Path]], known: Collection[str] = ()) -> list[Reading]:
    """Every way the names can be understood, the best first.

    Streams are folders, or ends or beginnings of names, that hold the very same videos.

    Args:
        files: (path, path below its source) of every file.
        known: video ids that are wanted; the reading that yields most of them is the best.

    Raises:
        DataError: no reading gives every file a name of its own, or a few files spoil one that the others follow.
    """
    suffix = files[0][0].suffix
    wanted = frozenset(known)
    whole = [(below.stem, "features", path) for path, below in files]
    form = f"{{id}}{suffix}"
    named_whole = 2 * len(wanted & {composed(video) for video, _, _ in whole}) > len(files)
    readings = []
    try:
        readings += _folders(files)
        for last in (True, False):
            readings += _affixes(files, last=last, suffix=suffix)
    except DataError as error:
        if not named_whole:
            raise DataError(f"{error} If each file is a video of its own, say --pattern '{form}'.") from None
    try:
        readings.append(_reading(whole, "a file a video", form))
    except DataError:
        if not readings:
            raise
    return sorted(readings, key=lambda reading: -len(wanted & reading.files.keys()))


def _folders(files: Sequence[tuple[Path, Path]]) -> Iterable[Reading]:
    """Streams in folders of their own: `rgb/ID.npy` and `flow/ID.npy`, at any depth."""
    depth = min(len(below.parts) for _, below in files) - 1
    for level in range(depth):
        groups: dict[str, set[tuple[str, ...]]] = {}
        for _, below in files:
            parts = below.with_suffix("").parts
            groups.setdefault(parts[level], set()).add(parts[:level] + parts[level + 1 :])
        if _same_videos(groups) and all(map(stream_word, groups)):
            rows = [(below.stem, below.parts[level], path) for path, below in files]
            yield _reading(rows, f"streams in the folders {listing(groups)}", f"{{stream}}/{{id}}{files[0][0].suffix}")


def _affixes(files: Sequence[tuple[Path, Path]], *, last: bool, suffix: str) -> Iterable[Reading]:
    """Streams at the end (`ID_rgb.npy`) or the beginning (`rgb_ID.npy`) of names.

    Raises:
        DataError: nearly all names are so made and a few are not.
    """
    for mark in "_-.":
        rows, groups, odd = [], {}, []
        for path, below in files:
            head, found, tail = below.stem.rpartition(mark) if last else below.stem.partition(mark)
            video, stream = (head, tail) if last else (tail, head)
            if not found or not video or not _LETTERED.fullmatch(stream) or not stream_word(stream):
                odd.append(path)
                continue
            rows.append((video, stream, path))
            groups.setdefault(stream, set()).add((*below.parts[:-1], video))
        if len(odd) > FEW * len(files) or not _same_videos(groups):
            continue
        if odd:
            raise DataError(
                f"{odd[0]}: its name has no stream, and those of {len(rows)} of {len(files)} files do "
                f"({listing(sorted(groups))}). Rename it, or take it away."
            )
        form = f"{{id}}{mark}{{stream}}{suffix}" if last else f"{{stream}}{mark}{{id}}{suffix}"
        yield _reading(rows, f"streams named at the {'end' if last else 'beginning'} of names", form)


def _same_videos(groups: dict[str, set]) -> bool:
    """Whether two to four groups hold (nearly) the same videos: a file that is lost must not hide the pattern."""
    if not 2 <= len(groups) <= 4:
        return False
    shared = set.intersection(*groups.values())
    return len(shared) >= (1 - FEW) * len(set.union(*groups.values())) and len(shared) > 0


def _reading(
    rows: Iterable[tuple[str, str, Path]], words: str, pattern: str, order: Sequence[str] | None = None
) -> Reading:
    files: dict[str, dict[str, Path]] = {}
    for name, stream, path in rows:
        video = composed(name)
        other = files.setdefault(video, {}).setdefault(stream, path)
        if other != path:
            raise DataError(f"video {video!r} is found twice: {other} and {path}; give one of the two folders.")
    found = {stream for parts in files.values() for stream in parts}
    streams = tuple(sorted(found, key=column_of if order is None else order.index))
    lonely = [video for video, parts in files.items() if len(parts) < len(streams)]
    if lonely:
        first = lonely[0]
        gone = sorted(set(streams) - set(files[first]))
        raise DataError(
            f"{len(lonely)} of {len(files)} videos lack a stream, {first!r} has no {listing(gone)} "
            f"({next(iter(files[first].values()))} is there). Extract it, or take these files away."
        )
    return Reading(words, pattern, streams, dict(sorted(files.items())))


def column_of(stream: str) -> tuple[int, str]:
    """What streams are sorted by."""
    word = stream_word(stream)
    return (STREAMS.index(word) if word else len(STREAMS), stream)
