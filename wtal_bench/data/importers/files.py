"""Feature files as extractors leave them -> videos: which file is whose stream, and how its array lies.

One reader for `import-features`, `infer` and `check-data`. What was recognised is said, with the other readings there
are; nothing is guessed in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wtal_bench.data.importers.containers import READERS, WHOLE, read_arrays
from wtal_bench.data.importers.patterns import (
    STREAMS,
    Reading,
    by_folder,
    by_pattern,
    column_of,
    recognise,
    stream_word,
)
from wtal_bench.data.importers.shapes import Form, crop_axis, looks_transposed, may_be_transposed, to_snippets
from wtal_bench.errors import ConfigError, DataError, did_you_mean, listing
from wtal_bench.structures import FeatureSource, RawVideo

LOOKED_AT = 24
"""Files whose arrays are looked at to tell how they lie."""


@dataclass(frozen=True)
class Options:
    """What a person may say of files instead of having it recognised.

    Attributes:
        pattern: of names, e.g. "{id}_{stream}.npy"; "" recognises it.
        keys: arrays of a file to join, in column order; () takes the one there is, or those named like streams.
        transposed: [D,T] arrays; None tells by several files.
        crop: see `shapes.Form`.
        strip_prefix: cut off ids.
    """

    pattern: str = ""
    keys: tuple[str, ...] = ()
    transposed: bool | None = None
    crop: str | int = "mean"
    strip_prefix: str = ""


def feature_files(sources: Sequence[str], options: Options, known: Collection[str] = ()) -> FeatureSource:
    """Find videos in files and folders.

    Args:
        sources: folders of files; several folders are one stream each. Or single files: one a video, or one that holds
            a group of arrays a video.
        options: what is known of them.
        known: ids that are wanted, to choose among readings.

    Raises:
        DataError: no feature file, files that disagree, arrays that are no features.
    """
    paths = [Path(source) for source in sources]
    if len(paths) == 1 and paths[0].is_file() and not options.pattern:
        held = _many_in_one(paths[0], options, known)
        if held is not None:
            return held
    files = _files(paths, Path(options.pattern).suffix.lower())
    if options.pattern:
        chosen, others = by_pattern(files, options.pattern), []
    elif sum(path.is_dir() for path in paths) > 1 and not _disjoint(files):
        chosen, others = by_folder(files), []
    else:
        chosen, *others = recognise(files, known)
    return _source(chosen, others, options, known)


def _disjoint(files: Sequence[tuple[Path, Path]]) -> bool:
    """Whether the folders given hold different videos: parts of one set, not streams."""
    names = [below.stem for _, below in files]
    return len(set(names)) == len(names)


def _source(reading: Reading, others: Sequence[Reading], options: Options, known: Collection[str]) -> FeatureSource:
    ids = {video.removeprefix(options.strip_prefix): video for video in reading.files}
    if len(ids) < len(reading.files):
        raise DataError(
            f"without the prefix {options.strip_prefix!r} two videos have one id; leave --strip-prefix out."
        )
    order = list(ids)
    first = next(iter(reading.files.values()))
    keys = {stream: _keys(path, options) for stream, path in first.items()}
    forms, notes = {}, [f"recognised {reading}: {reading.words}"]
    wanted = [ids[name] for name in order if name in known] or list(reading.files)
    for stream in reading.streams:
        paths = [reading.files[video][stream] for video in wanted]
        forms[stream], told = _form(paths, keys[stream], options)
        notes += told
    notes += [
        f"it could also be {other}: --pattern '{other.pattern}'" for other in others if str(other) != str(reading)
    ]
    names = [
        _stream_name(stream, key, len(reading.streams), len(keys[stream]))
        for stream in reading.streams
        for key in keys[stream]
    ]

    def read(at: int) -> RawVideo:
        parts, places = [], []
        for stream in reading.streams:
            path = reading.files[ids[order[at]]][stream]
            arrays = read_arrays(path)
            for key in keys[stream]:
                parts.append(to_snippets(_take(arrays, key, path), forms[stream], str(path)))
            places.append(str(path))
        return RawVideo(order[at], tuple(parts), " + ".join(places))

    def stamp(at: int) -> tuple[int, ...]:
        found = [reading.files[ids[order[at]]][stream].stat() for stream in reading.streams]
        return (sum(file.st_size for file in found), *(file.st_mtime_ns for file in found))

    return FeatureSource(tuple(order), tuple(names), read, notes=tuple(notes), stamp=stamp)


def _form(paths: Sequence[Path], keys: Sequence[str], options: Options) -> tuple[Form, list[str]]:
    """How a stream's arrays lie, and what to say of it.

    Raises:
        DataError: a few files have another width than most.
    """
    paths = paths[:: max(1, len(paths) // LOOKED_AT)][:LOOKED_AT]
    shapes = []
    for path in paths:
        array = _take(read_arrays(path), keys[0], path)
        shapes.append(tuple(axis for axis in array.shape if axis > 1) if array.ndim > 2 else array.shape)
    notes, axis = [], 0
    crops = sum(len(shape) == 3 for shape in shapes)
    if crops:
        taken = "their mean is taken (--crop names one)" if options.crop == "mean" else f"crop {options.crop} is taken"
        notes.append(f"{crops} of {len(shapes)} arrays looked at hold several crops: {taken}")
        axis = crop_axis(shapes)
    transposed = options.transposed
    if transposed is None and (transposed := looks_transposed(shapes) or False):
        notes.append(f"arrays are [D,T], e.g. {shapes[0]}: turned")
    if options.transposed is None and not transposed and may_be_transposed(shapes):
        notes.append(
            f"arrays are {shapes[0]}: taken for {shapes[0][0]} snippets of {shapes[0][1]} columns; if it is the other "
            "way round, say --transposed"
        )
    _check_widths(paths, shapes, bool(transposed), options)
    return Form(bool(transposed), options.crop, axis), notes


def _check_widths(paths: Sequence[Path], shapes: Sequence[tuple[int, ...]], transposed: bool, options: Options) -> None:
    """Refuse files of another width than most, by name."""
    flat = [(path, shape[0 if transposed else 1]) for path, shape in zip(paths, shapes) if len(shape) == 2]
    counts = Counter(width for _, width in flat)
    if len(counts) < 2:
        return
    usual, many = counts.most_common(1)[0]
    path, width = next((path, width) for path, width in flat if width != usual)
    others = f"the other {many}" if many == len(flat) - 1 else f"{many} of {len(flat)} files looked at"
    hint = "" if transposed or options.transposed is not None else " If arrays are [D,T], say --transposed."
    raise DataError(
        f"{path} has {width} columns, {others} have {usual}: it was made in another way. Make it like them, or take it "
        f"away.{hint}"
    )


def _keys(path: Path, options: Options) -> tuple[str, ...]:
    """Which arrays of a file make a video: as asked, the only one, or those that are named like streams."""
    arrays = read_arrays(path)
    if not arrays:
        raise DataError(f"{path}: holds no array of features.")
    if options.keys and set(arrays) != {WHOLE}:
        for key in options.keys:
            _take(arrays, key, path)
        return options.keys
    if len(arrays) == 1:
        return tuple(arrays)
    named = sorted(filter(stream_word, arrays), key=lambda key: STREAMS.index(stream_word(key)))
    if named and len({len(arrays[key]) for key in named}) <= 3:
        return tuple(named)
    shapes = listing(f"{key} {array.shape}" for key, array in arrays.items())
    raise DataError(f"{path}: holds several arrays, {shapes}; name those to join with --keys.")


def _take(arrays: dict[str, np.ndarray], key: str, path: Path) -> np.ndarray:
    if key in arrays:
        return arrays[key]
    if len(arrays) == 1 and key == WHOLE:
        return next(iter(arrays.values()))
    raise DataError(f"{path}: has no array {key!r}, it holds {listing(arrays)}.{did_you_mean(key, arrays)}")


def _stream_name(stream: str, key: str, streams: int, keys: int) -> str:
    if keys == 1:
        return stream
    return key if streams == 1 else f"{stream}_{key}"


def _many_in_one(path: Path, options: Options, known: Collection[str]) -> FeatureSource | None:
    """One file with an array, or a group of arrays, a video; None where it is one video's."""
    arrays = read_arrays(path)
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        video, slash, key = name.partition("/")
        groups.setdefault(video, {})[key if slash else WHOLE] = array
    named = any(map(stream_word, arrays))
    lengths = {array.shape[:1] for array in arrays.values()}
    asked = bool(options.keys) and set(options.keys) <= set(arrays)
    grouped = "/" in next(iter(arrays), "")
    wanted = bool(set(groups) & set(known))
    if asked or len(groups) < 2 or not (wanted or grouped or (not named and len(lengths) > 1)):
        return None
    ids = {video.removeprefix(options.strip_prefix): video for video in groups}
    order = list(ids)
    keys = options.keys or tuple(sorted(next(iter(groups.values())), key=column_of))
    turned = options.transposed
    if turned is None:
        turned = looks_transposed(group[keys[0]].shape for group in groups.values() if keys[0] in group)
    form = Form(bool(turned), options.crop)

    def read(at: int) -> RawVideo:
        group, place = groups[ids[order[at]]], f"{path}: {ids[order[at]]}"
        parts = tuple(to_snippets(_take(group, key, Path(place)), form, place) for key in keys)
        return RawVideo(order[at], parts, place)

    names = tuple(_stream_name("features", key, 1, len(keys)) for key in keys)
    note = f"recognised {len(order)} videos in one file{', arrays [D,T]: turned' if turned else ''}"
    return FeatureSource(tuple(order), names, read, notes=(note,))


def _files(paths: Sequence[Path], suffix: str) -> list[tuple[Path, Path]]:
    """(path, path below its source, its folder's name before it where there are several) of every feature file."""
    found: list[tuple[Path, Path]] = []
    folders = [path for path in paths if path.is_dir()]
    for source in paths:
        if source.is_file():
            if source.suffix.lower() not in READERS:
                raise DataError(f"{source}: features are read from {', '.join(READERS)} files.")
            found.append((source, Path(source.name)))
            continue
        if not source.is_dir():
            raise DataError(f"{source}: there is no such file or folder.")
        inside = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in READERS and path.is_file()]
        if not inside:
            kinds = sorted({path.suffix for path in source.rglob("*") if path.is_file()})
            raise DataError(
                f"{source}: holds no feature file ({', '.join(READERS)}), neither here nor in a sub-folder; it holds "
                f"{listing(kinds) if kinds else 'nothing'}."
            )
        above = Path(_name(source, folders)) if len(folders) > 1 else Path()
        found += [(path, above / path.relative_to(source)) for path in inside]
    found = [row for row in found if not suffix or row[0].suffix.lower() == suffix]
    suffixes = sorted({path.suffix.lower() for path, _ in found})
    if len(suffixes) > 1:
        raise DataError(
            f"{listing(map(str, paths))}: feature files of several kinds, {listing(suffixes)}; say which are "
            f"meant with --pattern '{{id}}{suffixes[0]}'."
        )
    if not found:
        raise DataError(f"{listing(map(str, paths))}: there is no {suffix} file, as --pattern asks for.")
    return found


def _name(source: Path, folders: Sequence[Path]) -> str:
    """What tells a folder from the others: its name, or the first parent's that differs where names are equal."""
    parts = [folder.resolve().parts for folder in folders]
    own = source.resolve().parts
    for back in range(1, min(map(len, parts)) + 1):
        names = {part[-back] for part in parts}
        if len(names) == len(parts):
            return own[-back]
    raise ConfigError(f"the folder {source} was given twice.")
