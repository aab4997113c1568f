"""Features of trimmed clips, as labs have them: read, checked, split by scene.

    CLIPS/
      clips.csv        clip,class,group[,subset][,row]
      rgb.npy          [clips, moments, columns], in the order of the table or by its column `row`;
      flow/NAME.npy    or a folder a stream with one [moments, columns] array a clip

`group` says which clips of a class show the same scene (UCF101's groups, HMDB's and Kinetics' source videos): a group
is in one subset alone. Groups are per class, as UCF101 numbers them: group 1 of two classes is two scenes. Where one
source video was cut into clips of two classes, `subset` alone can keep these together. `subset` holds the official
split (train, val, test); where it names no val, the last sixth of a class's training groups is. Where all its cells of
a class are empty, the class's groups are dealt 3 : 1 : 1.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wtal_bench.data.composed.recipe import refuse_repeated
from wtal_bench.data.composed.scenes import StreamColumns
from wtal_bench.data.progress import track
from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.files import expand

TABLE = "clips.csv"
SPLITS = ("train", "val", "test")
_NEEDED = ("clip", "class", "group")
_ROW_DIGITS, _GROUP_DIGITS = 18, 4000
"""Digits of the longest cells that are read as a number: no array has more rows, and Python itself reads no more."""


@dataclass(frozen=True)
class Clip:
    """One row of the table: its line number there, and its row in a stream's array."""

    name: str
    label: str
    group: str
    subset: str
    row: int
    line: int


@dataclass(frozen=True)
class _Stream:
    """Where one stream's features lie: an array of all clips, or a folder with one a clip."""

    name: str
    path: Path
    array: np.ndarray | None

    def read(self, clip: Clip) -> np.ndarray:
        """Return the [moments, columns] features of a clip, as they are stored.

        Raises:
            DataError: there are none, or they are no numbers of that shape.
        """
        if self.array is not None:
            return self.array[clip.row]
        return _load(self.path / f"{clip.name}.npy", clip, 2)


def named_streams(texts: Sequence[str]) -> dict[str, str]:
    """Read an option `--streams NAME[=FILE] ...` as stream name -> name of its array or folder.

    Raises:
        DataError: a stream without a name, or two of one.
    """
    pairs = [text.partition("=")[::2] for text in texts]
    nameless = next((text for text, (name, _) in zip(texts, pairs) if not name), None)
    if nameless is not None:
        raise DataError(f"--streams {nameless!r}: the stream has no name; write NAME or NAME=FILE (flow=difference).")
    refuse_repeated("--streams", (name for name, _ in pairs))
    return {name: file or name for name, file in pairs}


class ClipSet:
    """A folder of clips.

    Args:
        folder: holds `clips.csv` and the streams.
        streams: stream name -> name of its array or folder; None takes every one there, rgb and flow first.
        dim: columns of a stream in the videos: means over equal runs of neighbouring columns; None keeps all.

    Raises:
        DataError: no table, a bad row, no streams, or a dim below 1.
    """

    def __init__(self, folder: str | Path, streams: Mapping[str, str] | None = None, *, dim: int | None = None) -> None:
        if dim is not None and dim < 1:
            raise DataError(f"--dim must be at least 1, got {dim}.")
        self.folder = expand(folder)
        self.clips, numbered = _read_table(self.folder / TABLE)
        self.dim = dim
        self._streams = [
            _open(self.folder, name, file, self.clips, numbered)
            for name, file in (streams or _found(self.folder)).items()
        ]

    @property
    def streams(self) -> tuple[str, ...]:
        """Stream names, in column order."""
        return tuple(stream.name for stream in self._streams)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted."""
        return tuple(sorted({clip.label for clip in self.clips}))

    def read(self, clip: Clip) -> list[np.ndarray]:
        """Return the [moments, D] float64 features of a clip, one array a stream.

        Raises:
            DataError: missing, of another kind or not finite.
        """
        parts = [self._part(stream, clip) for stream in self._streams]
        if len({len(part) for part in parts}) > 1:
            counts = listing(f"{name} {len(part)}" for name, part in zip(self.streams, parts))
            raise DataError(f"clip {clip.name!r} has {counts} moments; its streams must be seen at the same ones.")
        return parts

    def _part(self, stream: _Stream, clip: Clip) -> np.ndarray:
        place = f"clip {clip.name!r} ({stream.path})"
        part = np.asarray(stream.read(clip), dtype=np.float64)
        if not np.isfinite(part).all():
            row, column = np.argwhere(~np.isfinite(part))[0]
            raise DataError(f"{place}: feature [{row}, {column}] is {part[row, column]}; features must be finite.")
        if self.dim is None:
            return part
        if part.shape[1] % self.dim:
            raise DataError(
                f"{place} has {part.shape[1]} columns, which {self.dim} equal runs cannot be made of; give a --dim "
                "that divides them."
            )
        return part.reshape(len(part), self.dim, -1).mean(axis=2)

    def read_each(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, list[np.ndarray]]]:
        """Yield every clip with its features, as `read` returns them, showing progress.

        Raises:
            DataError: as `read`, or clips of unequal width.
        """
        widths: list[int] = []
        for clip in track(clips, len(clips), "reading clips"):
            parts = self.read(clip)
            widths = widths or [part.shape[1] for part in parts]
            for name, width, part in zip(self.streams, widths, parts):
                if part.shape[1] != width:
                    raise DataError(
                        f"clips of unequal width: {name} of clip {clip.name!r} has {part.shape[1]} columns, of clip "
                        f"{clips[0].name!r} {width}. All clips must come from one extractor."
                    )
            yield clip, parts

    def survey(self, training: Sequence[Clip], used: Sequence[Clip], motion: Sequence[str]) -> Survey:
        """Read every used clip once: check it, hash it, and take the columns' means and spreads over those trained on.

        Args:
            training: the clips that are trained on.
            used: all clips.
            motion: streams that show what moves.

        Raises:
            DataError: as `read_each`.
        """
        whole = hashlib.sha256()
        wanted = {clip.name for clip in training}
        widths: list[int] = []
        count, total, square = 0, [], []
        alike: dict[bytes, list[Clip]] = {}
        for clip, parts in self.read_each(used):
            widths = [part.shape[1] for part in parts]
            own = hashlib.sha256()
            for part in parts:
                content = part.astype("<f4").tobytes()
                whole.update(content)
                own.update(content)
            alike.setdefault(own.digest(), []).append(clip)
            whole.update(f"{clip.name}|{clip.label}|{clip.group}|{clip.subset}".encode())
            if clip.name in wanted:
                total = total or [np.zeros(width) for width in widths]
                square = square or [np.zeros(width) for width in widths]
                count += len(parts[0])
                for at, part in enumerate(parts):
                    total[at] += part.sum(axis=0)
                    square[at] += (part**2).sum(axis=0)
        columns = []
        for name, width, first, second in zip(self.streams, widths, total, square):
            mean = first / count
            std = np.sqrt(np.maximum(second / count - mean**2, 0))
            # a column that never changes says nothing, and must not become infinite
            columns.append(StreamColumns(name, width, mean, np.where(std > 1e-9, std, 1.0), name in motion))
        equal = tuple(tuple(clips) for clips in alike.values() if len(clips) > 1)
        return Survey(tuple(columns), whole.hexdigest(), equal)


@dataclass(frozen=True)
class Survey:
    """What one reading of all clips found.

    Attributes:
        columns: of the streams.
        sha256: of everything that was read.
        equal: clips whose features are the same to the last bit.
    """

    columns: tuple[StreamColumns, ...]
    sha256: str
    equal: tuple[tuple[Clip, ...], ...] = ()


def split_groups(clips: Sequence[Clip]) -> dict[str, dict[str, dict[str, list[Clip]]]]:
    """Return subset -> class -> group -> clips; every class has a group in every subset.

    Raises:
        DataError: a class with too few groups or with subsets for some of its clips alone, or a group that stands in
            two subsets.
    """
    groups: dict[str, dict[str, list[Clip]]] = {}
    for clip in clips:
        groups.setdefault(clip.label, {}).setdefault(clip.group, []).append(clip)
    found: dict[str, dict[str, dict[str, list[Clip]]]] = {split: {} for split in SPLITS}
    for label, members in sorted(groups.items()):
        if len(members) < len(SPLITS):
            raise DataError(
                f"class {label!r} has {len(members)} group{'s' * (len(members) > 1)} ({listing(sorted(members), 4)}); "
                "train, val and test need one each, for clips of one scene in two of them would be seen in training. "
                "Leave the class out, or say in the column 'group' which of its clips show other scenes."
            )
        for split, names in _dealt(label, members).items():
            found[split][label] = {name: members[name] for name in names}
    return found


def _dealt(label: str, members: Mapping[str, list[Clip]]) -> dict[str, list[str]]:
    names = sorted(members, key=_natural)
    said = {name: {clip.subset for clip in members[name]} for name in names}
    mixed = [name for name in names if len(said[name]) > 1]
    if mixed:
        subsets = [subset or "none (an empty cell)" for subset in sorted(said[mixed[0]])]
        raise DataError(
            f"group {mixed[0]!r} of class {label!r} ({TABLE}, {_lines(members[mixed[0]])}) stands in the subsets "
            f"{listing(subsets)}: one scene would be trained on and tested. Give all its clips one subset."
        )
    blank = [name for name in names if said[name] == {""}]
    if len(blank) == len(names):
        tested = max(1, len(names) // 5)
        return {"test": names[:tested], "val": names[-tested:], "train": names[tested:-tested]}
    if blank:
        # dealing all of them would train on official test scenes, and dealing the rest would lose these in silence
        clips = [clip for name in blank for clip in members[name]]
        raise DataError(
            f"class {label!r} has an official split, but {len(clips)} of its clips say no subset: {TABLE}, "
            f"{_lines(clips)} ({listing((repr(clip.name) for clip in clips), 4)}). Write one of {listing(SPLITS)} into "
            "every cell of the class, or empty all: then its groups are dealt 3 : 1 : 1."
        )
    dealt = {split: [name for name in names if said[name] == {split}] for split in SPLITS}
    if not dealt["val"] and len(dealt["train"]) > 1:
        kept = max(1, len(dealt["train"]) // 6)
        dealt["train"], dealt["val"] = dealt["train"][:-kept], dealt["train"][-kept:]
    empty = [split for split in SPLITS if not dealt[split]]
    if empty:
        raise DataError(
            f"class {label!r} has no group left for {listing(empty)}: its {len(names)} groups are "
            f"{listing(f'{len(part)} {split}' for split, part in dealt.items())}. Give it more groups, or leave it out."
        )
    return dealt


def _lines(clips: Sequence[Clip]) -> str:
    lines = sorted(clip.line for clip in clips)
    return f"line{'s' * (len(lines) > 1)} {listing(lines, 6)}"


class ClipLibrary:
    """The clips of one subset: a `composed.scenes.Library` that plays them from files, there and back.

    Args:
        clips: where they are read.
        columns: of `ClipSet.survey`.
        groups: class -> group -> clips, of one subset.
        actions, backgrounds: class names, in label order.
        near: action class -> background class.
        step: seconds between two moments of a clip.
    """

    def __init__(
        self,
        clips: ClipSet,
        columns: tuple[StreamColumns, ...],
        groups: Mapping[str, Mapping[str, list[Clip]]],
        actions: Sequence[str],
        backgrounds: Sequence[str],
        near: Mapping[str, str],
        step: float,
    ) -> None:
        names = (*actions, *backgrounds)
        self.actions = len(actions)
        self.backgrounds = tuple(range(len(actions), len(names)))
        self.near = {names.index(action): names.index(other) for action, other in near.items()}
        self.streams = columns
        self._clips = clips
        self._scenes = [[groups[name][group] for group in sorted(groups[name], key=_natural)] for name in names]
        self._step = step

    def scene(self, rng: np.random.Generator, label: int) -> list[Clip]:
        """Choose one group of a class."""
        scenes = self._scenes[label]
        return scenes[rng.integers(len(scenes))]

    def clip(self, rng: np.random.Generator, scene: list[Clip], count: int, step: float) -> list[np.ndarray]:
        """Play one clip of a group from any moment on, there and back: [count, D] a stream."""
        parts = self._clips.read(scene[rng.integers(len(scene))])
        last = len(parts[0]) - 1
        at = rng.uniform(0, 2 * last) + np.arange(count) * (step / self._step)
        at = last - np.abs(at % (2 * last) - last) if last else np.zeros(count)
        low = np.minimum(at.astype(int), max(last - 1, 0))
        share = (at - low)[:, None]
        return [(1 - share) * part[low] + share * part[np.minimum(low + 1, last)] for part in parts]

    def mean(self, rng: np.random.Generator, scene: list[Clip]) -> list[np.ndarray]:
        """The mean of one clip of a group."""
        return [part.mean(axis=0) for part in self._clips.read(scene[rng.integers(len(scene))])]

    def together(self, acted: list[list[Clip]], around: list[list[Clip]]) -> tuple[list[list[Clip]], list[list[Clip]]]:
        """Real clips stay as they are."""
        return acted, around


def _read_table(path: Path) -> tuple[list[Clip], bool]:
    """Return the clips, and whether any says its row of the arrays."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows, columns = [(reader.line_num, row) for row in reader], reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}. A folder of clips holds {TABLE} with "
            "the columns clip, class, group and, if there is an official split, subset."
        ) from error
    for column in _NEEDED:
        if column not in columns:
            raise DataError(
                f"{path}: the column {column!r} is missing; there are {listing(columns)}."
                f"{did_you_mean(column, columns)}"
            )
    if not rows:
        raise DataError(f"{path}: names no clip.")
    clips = [_clip(path, row, line, at) for at, (line, row) in enumerate(rows)]
    seen: dict[str, int] = {}
    for clip in clips:
        if (first := seen.setdefault(clip.name, clip.line)) != clip.line:
            raise DataError(f"{path}: clip {clip.name!r} stands in lines {first} and {clip.line}; remove one of them.")
    classes = {clip.label for clip in clips}
    if len(classes) > 1 and 2 * len(classes) > len(clips):
        raise DataError(
            f"{path}: {len(clips)} clips have {len(classes)} classes. A class needs several clips; the column 'class' "
            f"looks like a name of each clip ({listing(sorted(classes), 3)})."
        )
    return clips, any((row.get("row") or "").strip() for _, row in rows)


def _clip(path: Path, row: Mapping[str, str | None], line: int, at: int) -> Clip:
    values = {key: (row.get(key) or "").strip() for key in (*_NEEDED, "subset", "row")}
    for key in _NEEDED:
        if not values[key]:
            raise DataError(f"{path}, line {line}: no {key}; every clip needs one.")
    if "/" in values["clip"] or "\\" in values["clip"]:
        raise DataError(f"{path}, line {line}: the clip {values['clip']!r} must be a name, without a folder.")
    if values["subset"] not in ("", *SPLITS):
        raise DataError(
            f"{path}, line {line}: subset {values['subset']!r} must be one of {listing(SPLITS)}."
            f"{did_you_mean(values['subset'], SPLITS)}"
        )
    if values["row"] and not (values["row"].isdecimal() and len(values["row"]) <= _ROW_DIGITS):
        raise DataError(
            f"{path}, line {line}: row {values['row']!r:.40} must be the clip's place in the arrays, a whole number "
            "from 0."
        )
    at = int(values["row"]) if values["row"] else at
    return Clip(values["clip"], values["class"], values["group"], values["subset"], at, line)


def _found(folder: Path) -> dict[str, str]:
    """Stream name -> file or folder, of all that are there."""
    names = [path.name for path in folder.iterdir() if path.suffix == ".npy" or path.is_dir()]
    names = sorted(name for name in names if not name.startswith("."))
    if not names:
        raise DataError(
            f"{folder}: no features beside {TABLE}; put one STREAM.npy of all clips, or a folder STREAM/ with one file "
            "a clip, there (rgb, flow)."
        )
    first = [name for wanted in ("rgb", "flow") for name in names if Path(name).stem == wanted]
    return {Path(name).stem: name for name in dict.fromkeys([*first, *names])}


def _open(folder: Path, name: str, file: str, clips: Sequence[Clip], numbered: bool) -> _Stream:
    path = next((p for p in (folder / file, folder / f"{file}.npy") if p.exists()), None)
    if path is None:
        there = [p.name for p in folder.iterdir() if p.suffix == ".npy" or p.is_dir()]
        raise DataError(
            f"stream {name!r}: there is no {file} in {folder}; there are {listing(sorted(there))}."
            f"{did_you_mean(file, [Path(name).stem for name in there])}"
        )
    if path.is_dir():
        return _Stream(name, path, None)
    array = _load(path, None, 3)
    beyond = [clip for clip in clips if clip.row >= len(array)]
    if beyond:
        raise DataError(
            f"{path} has {len(array)} clips; {TABLE}, line {beyond[0].line} names row {beyond[0].row} "
            f"({beyond[0].name!r}). The table and the arrays are not of the same clips."
        )
    if not numbered and len(array) > len(clips):
        raise DataError(
            f"{path} has {len(array)} clips, {TABLE} {len(clips)}: the table and the arrays are not of the same clips. "
            "To use some of an array's clips, say in a column 'row' which place each has in it, from 0."
        )
    first: dict[int, Clip] = {}
    for clip in clips:
        if (other := first.setdefault(clip.row, clip)) is not clip:
            raise DataError(
                f"{TABLE}, lines {other.line} and {clip.line}: {other.name!r} and {clip.name!r} are both row "
                f"{clip.row} of {path}; every clip has a row of its own, which is its place in the table where the "
                "column 'row' is empty."
            )
    return _Stream(name, path, array)


def _load(path: Path, clip: Clip | None, axes: int) -> np.ndarray:
    wanted = "[clips, moments, columns]" if axes == 3 else "[moments, columns]"
    of = f" of clip {clip.name!r} ({TABLE}, line {clip.line})" if clip else ""
    try:
        array = np.load(path, mmap_mode="r" if axes == 3 else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read {path}{of}: {getattr(error, 'strerror', None) or error}.") from error
    if not isinstance(array, np.ndarray) or array.ndim != axes or 0 in array.shape or array.dtype.kind not in "fiu":
        shape = getattr(array, "shape", type(array).__name__)
        raise DataError(f"{path}{of}: must be numbers of shape {wanted}, none of them 0; it has shape {shape}.")
    return array


def _natural(name: str) -> tuple[int, str]:
    """Sort 2 before 10."""
    return (int(name), name) if name.isdecimal() and len(name) <= _GROUP_DIGITS else (1 << 62, name)


def clips_of(groups: Mapping[str, Mapping[str, list[Clip]]]) -> Iterator[Clip]:
    """Yield the clips of one subset."""
    for members in groups.values():
        for clips in members.values():
            yield from clips
