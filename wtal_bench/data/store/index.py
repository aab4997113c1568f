"""The index of a feature store, checked column by column whenever the store is opened."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.errors import DataError, listing

SMALLEST, LARGEST = 1e-3, 1e7
"""Seconds of the shortest and the longest video (four months), and frames a second beyond those of any camera."""
COLUMNS = ("ids", "lengths", "offsets", "durations", "fps", "frames", "sha256")
STRIDES = "strides"
"""A column more, of stores whose videos have a stride each; the manifest's is null then."""


@dataclass(frozen=True, eq=False)
class Index:
    """What a store knows of its N videos, a tenth of the memory of the JSON it comes from.

    Attributes:
        ids: as they were written.
        lengths, offsets: [N] int64 rows, and the first of them.
        durations, rates: [N] float64 seconds, and frames a second.
        frames: [N] int64, 0 where it is not known.
        hashes: [N,32] uint8 sha256 of the rows.
        strides: [N] int64 frames between two snippets, None where the manifest gives one for all.
    """

    ids: tuple[str, ...]
    lengths: np.ndarray
    offsets: np.ndarray
    durations: np.ndarray
    rates: np.ndarray
    frames: np.ndarray
    hashes: np.ndarray
    strides: np.ndarray | None = None

    @classmethod
    def read(cls, index: Any, videos: int, rows: int, path: Path | str) -> Index:
        """Check the content of index.json (see `check_index`) and keep it."""
        check_index(index, videos, rows, path)
        return cls(
            tuple(index["ids"]),
            *(np.array(index[name], np.int64) for name in ("lengths", "offsets")),
            *(np.array(index[name], np.float64) for name in ("durations", "fps")),
            np.array([frames or 0 for frames in index["frames"]], np.int64),
            np.frombuffer(bytes.fromhex("".join(index["sha256"])), np.uint8).reshape(-1, 32),
            np.array(index[STRIDES], np.int64) if STRIDES in index else None,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def checksum(self, row: int) -> str:
        """Sha256 of one video's rows, in hex."""
        return self.hashes[row].tobytes().hex()

    def columns(self, rows: range) -> dict[str, list]:
        """Some videos as index.json holds them, the first at offset 0."""
        part = slice(rows.start, rows.stop)
        return {
            "ids": list(self.ids[part]),
            "lengths": self.lengths[part].tolist(),
            "offsets": (self.offsets[part] - self.offsets[rows.start]).tolist(),
            "durations": self.durations[part].tolist(),
            "fps": self.rates[part].tolist(),
            "frames": [frames or None for frames in self.frames[part].tolist()],
            "sha256": [self.checksum(row) for row in rows],
            **({} if self.strides is None else {STRIDES: self.strides[part].tolist()}),
        }


def check_index(index: Any, videos: int, rows: int, path: Path | str) -> None:
    """Refuse an index that no import wrote.

    Args:
        index: the content of index.json.
        videos, rows: how many the manifest says there are.
        path: the file, for error texts.

    Raises:
        DataError: the text names the column and the first video that is wrong.
    """
    if not isinstance(index, dict) or any(not isinstance(index.get(name), list) for name in COLUMNS):
        raise _damaged(path, f"must hold the columns {listing(COLUMNS)}")
    columns = (*COLUMNS, STRIDES) if STRIDES in index else COLUMNS
    if not isinstance(index.get(STRIDES, []), list) or {len(index[name]) for name in columns} != {videos}:
        raise _damaged(path, f"its columns do not all hold the {videos} videos of the manifest")
    ids = index["ids"]
    _check_ids(ids, path)

    def check(name: str, needed: str, kinds: set[type], sound: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        values = index[name]
        if set(map(type, values)) <= kinds:
            column = _floats(values) if float in kinds else _whole(values)
            wrong = ~sound(column)
        else:
            wrong = np.array([type(value) not in kinds for value in values])
        if wrong.any():
            at = int(np.argmax(wrong))
            raise _damaged(path, f"{name} of video {ids[at]!r} is {values[at]!r:.80}, but must be {needed}")
        return column

    lengths = check("lengths", f"a whole number from 1 to {rows}", {int}, lambda x: (x >= 1) & (x <= rows))
    starts = np.cumsum(lengths) - lengths
    check("offsets", "the sum of the lengths before it", {int}, lambda x: x == starts)
    if int(lengths.sum()) != rows:
        raise _damaged(path, f"its lengths add up to {int(lengths.sum())} rows, the manifest says {rows}")
    for name in ("durations", "fps"):
        check(name, f"a number from {SMALLEST:g} to {LARGEST:g}", {int, float}, _is_sound)
    check("frames", "a whole number of at least 1, or null", {int, type(None)}, lambda x: x >= 0)
    if STRIDES in index:
        check(STRIDES, "a whole number of frames", {int}, lambda x: (x >= 1) & (x <= LARGEST))
    if 0 in index["frames"]:
        raise _damaged(path, "its column frames holds 0; needed: whole numbers of at least 1, or null")
    hashes = index["sha256"]
    sound = set(map(type, hashes)) == {str} and set(map(len, hashes)) == {64}
    if not (sound and set("".join(hashes)) <= set("0123456789abcdef")):
        raise _damaged(path, "its column sha256 must hold 64 hex digits a video")


def _is_sound(values: np.ndarray) -> np.ndarray:
    return (values >= SMALLEST) & (values <= LARGEST)


def _floats(values: list[int | float]) -> np.ndarray:
    """[N] float64; a whole number beyond every float becomes infinite."""
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        return np.array([value if abs(value) < 10**300 else math.inf for value in values], dtype=np.float64)


def _whole(values: list[int | None]) -> np.ndarray:
    """[N] int64; None becomes 0, what is beyond any count of frames or rows stays beyond."""
    try:
        return np.array(values, dtype=np.int64)
    except (TypeError, OverflowError):
        return np.array([0 if value is None else max(-1, min(value, 2**62)) for value in values], dtype=np.int64)


def _check_ids(ids: list[Any], path: Path | str) -> None:
    if set(map(type, ids)) == {str} and all(map(str.isprintable, ids)) and all(ids) and "/" not in "".join(ids):
        if len(set(ids)) == len(ids):
            return
        seen: set[str] = set()
        twice = next(video for video in ids if video in seen or seen.add(video))
        raise _damaged(path, f"holds the id {twice!r} twice")
    bad = next(v for v in ids if not (isinstance(v, str) and v and v.isprintable() and "/" not in v))
    raise _damaged(path, f"holds the id {bad!r:.80}; an id is a printable name without '/'")


def _damaged(path: Path | str, what: str) -> DataError:
    return DataError(f"{path}: {what}. The store is damaged: copy it again or import the features anew.")
