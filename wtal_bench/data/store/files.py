"""Where the rows of a store lie: in one .npy file or many of them, on this disk, mapped when first asked for."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wtal_bench.arrays import LIMIT, read_header, read_npy
from wtal_bench.data.store.index import Index
from wtal_bench.data.store.manifest import (
    AGAIN,
    DTYPES,
    FEATURES,
    INDEX,
    MANIFEST,
    ONE_FILE,
    manifest_hash,
    shard_name,
    width_of,
)
from wtal_bench.errors import DataError
from wtal_bench.reading import GIB, TEXT_LIMIT, open_file, read_bytes, read_json

HEADER = 128
"""Bytes before the first row of every feature file that this harness writes."""

MAPPED = 256
"""Shards mapped at once: maps cost no memory of their own, but each holds a file open, and systems allow a thousand."""


class Rows(Protocol):
    """Reads rows of a store: [T,D] of videos, by their position in the store."""

    def video(self, row: int) -> np.ndarray:
        """[T,D] of one video, not to be written to."""

    def prepare(self, rows: Sequence[int]) -> None:
        """Several videos will be asked for at once: fetch together what has to be fetched."""

    def check(self, shard: int) -> None:
        """Refuse a shard that is not the one the store was written with."""


class Shards:
    """How many videos and rows the shards of a store hold.

    Attributes:
        first_video, first_row: [S+1] int64, where each shard begins.
    """

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        one = [[manifest["videos"], manifest["rows"], ""]]
        counts = np.array([shard[:2] for shard in manifest.get("shards", one)], dtype=np.int64)
        self.first_video, self.first_row = (np.concatenate([[0], np.cumsum(column)]) for column in counts.T)
        self.sharded = manifest["format"] != ONE_FILE

    def __len__(self) -> int:
        return len(self.first_video) - 1

    def of(self, video: int) -> int:
        """The shard that holds the video at that position."""
        return int(np.searchsorted(self.first_video, video, side="right")) - 1

    def videos(self, shard: int) -> range:
        """The positions of a shard's videos."""
        return range(int(self.first_video[shard]), int(self.first_video[shard + 1]))

    def rows(self, shard: int) -> int:
        """How many rows a shard holds."""
        return int(self.first_row[shard + 1] - self.first_row[shard])

    def file(self, shard: int) -> str:
        """A shard's feature file below the store's folder."""
        return f"{shard_name(shard)}/{FEATURES}" if self.sharded else FEATURES


class LocalRows:
    """Rows in files of this disk, memory-mapped; at most `MAPPED` files at once.

    Args:
        folder: the store's.
        manifest: checked.
        index: of its videos.
        damaged: files may be missing or cut off; who asks for their videos is told.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], index: Index, *, damaged: bool = False) -> None:
        self.folder, self.shards = folder, Shards(manifest)
        self._index = index
        self._map = functools.lru_cache(maxsize=MAPPED)(self._opened)
        self._hashes = [shard[2] for shard in manifest.get("shards", ())]
        self._width, self._kind = width_of(manifest), np.dtype(DTYPES[manifest["dtype"]])
        for shard in () if damaged else range(len(self.shards)):
            self._check_size(shard)
        if not damaged and not self.shards.sharded:
            self._map(0)  # an open store outlives one that replaces it

    def video(self, row: int) -> np.ndarray:
        """[T,D] view of one video; changes to it stay in memory and reach no file."""
        shard = self.shards.of(row) if self.shards.sharded else 0
        first = int(self._index.offsets[row] - self.shards.first_row[shard])
        return self._map(shard)[first : first + int(self._index.lengths[row])]

    def prepare(self, rows: Sequence[int]) -> None:
        """Nothing has to be fetched."""

    def _opened(self, shard: int) -> np.ndarray:
        """A private map: torch takes no read-only memory, and nobody writes to it."""
        self._check_header(shard)
        if self.shards.sharded:
            self._check_same(shard)
        return read_npy(self.folder / self.shards.file(shard), mapped="c")

    def check(self, shard: int) -> None:
        """Refuse a shard that is not the one the store was written with; the features are not read.

        Raises:
            DataError: naming the file and what to do.
        """
        self._check_header(shard)
        if self.shards.sharded:
            manifest, path = self._check_same(shard), self.folder / shard_name(shard) / INDEX
            content = read_bytes(path, limit=GIB, hint=self._mend(shard))
            if hashlib.sha256(content).hexdigest() != manifest["index_sha256"]:
                raise DataError(f"{path}: is not the one that was written. {self._mend(shard)}")

    def _check_same(self, shard: int) -> dict[str, Any]:
        """Refuse a shard of another store, or of one that has been replaced since this one was opened."""
        path = self.folder / shard_name(shard) / MANIFEST
        manifest = read_json(path, limit=TEXT_LIMIT, hint=self._mend(shard))
        if manifest_hash(manifest) != self._hashes[shard]:
            raise DataError(
                f"{path.parent}: is no shard of the store that was opened here; was the store written anew since? Then "
                f"start again. {self._mend(shard)}"
            )
        return manifest

    def _check_size(self, shard: int) -> None:
        path = self.folder / self.shards.file(shard)
        try:
            size = os.stat(path).st_size if path.is_file() else None
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
        if size is None:
            mend = self._mend(shard) if self.shards.sharded else "Copy the store again or import the features anew."
            raise DataError(f"{path}: is missing. {mend}")
        wanted = self.shards.rows(shard) * self._width * self._kind.itemsize
        if not self.shards.sharded:
            self._check_header(shard)
        elif size != wanted + HEADER:
            raise DataError(f"{path}: has {size} bytes, expected {wanted + HEADER}. {self._mend(shard)}")

    def _check_header(self, shard: int) -> None:
        path = self.folder / self.shards.file(shard)
        with open_file(path, limit=LIMIT) as stream:
            size = os.fstat(stream.fileno()).st_size
            array = read_header(stream, size, path, hint=self._mend(shard))
        expected = ((self.shards.rows(shard), self._width), self._kind)
        where = path.parent
        if (array.shape, array.dtype) != expected or array.fortran:
            raise DataError(
                f"{where}: {FEATURES} is {array.shape} {array.dtype}, the manifest says {expected[0]} {expected[1]}: "
                f"array and index disagree. {self._mend(shard)}"
            )
        if size != array.nbytes + array.offset:
            raise DataError(f"{where}: {FEATURES} has {size} bytes, not those of its shape. {self._mend(shard)}")

    def _mend(self, shard: int) -> str:
        if not self.shards.sharded:
            return AGAIN
        return f"The shard is damaged: wtal-bench check-data {self.folder} --shard {shard} --repair ANOTHER_COPY."


__all__ = ["LocalRows", "Rows", "Shards"]
