"""Mending a store whose files were damaged, shard by shard, from another copy of its features."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wtal_bench.data.store.files import HEADER
from wtal_bench.data.store.manifest import DTYPES, ONE_FILE, described, shard_name
from wtal_bench.data.store.reading import FeatureStore
from wtal_bench.data.store.write import npy_header, write_index
from wtal_bench.errors import DataError, listing
from wtal_bench.files import atomic_write


@dataclass(frozen=True)
class Mended:
    """What was done to a shard.

    Attributes:
        shard: its number; videos: how many it holds.
        taken: ids of the videos that were taken from the copy; () when all that was wrong lay around the features.
    """

    shard: int
    videos: int
    taken: tuple[str, ...]


def repair(store: FeatureStore, copy: FeatureStore, shards: Iterable[int] | None = None) -> list[Mended]:
    """Rewrite the damaged shards of a store: sound videos stay, the others come from the copy, each checked.

    Args:
        store: opened with `damaged=True`, in a folder of this disk.
        copy: holds the same features under the same ids, in one file or shards, here or far away.
        shards: which to look at; None looks at all.

    Returns:
        The shards that were rewritten; the store is to be opened again.

    Raises:
        DataError: the copy lacks a damaged video or holds other features of it; shards mended before stay mended.
    """
    if not isinstance(store.folder, Path):
        raise DataError(f"{store.folder}: only a store in a folder of this machine can be mended; upload a sound copy.")
    done = []
    for shard in range(len(store.shards)) if shards is None else shards:
        if not 0 <= shard < len(store.shards):
            raise DataError(f"{store.folder}: has the shards 0 .. {len(store.shards) - 1}, not {shard}.")
        sound = [_salvaged(store, row) for row in store.shards.videos(shard)]
        if None not in sound and _whole(store, shard):
            continue
        done.append(_rewrite(store, copy, shard, sound))
    return done


def _salvaged(store: FeatureStore, row: int) -> bytes | None:
    """The bytes of a video where they are as they were written, whatever became of the file around them."""
    shard = store.shards.of(row)
    first, end = store.span(row)
    size = store.width * np.dtype(DTYPES[store.manifest["dtype"]]).itemsize
    try:
        with open(store.folder / store.shards.file(shard), "rb") as stream:
            stream.seek(HEADER + (first - int(store.shards.first_row[shard])) * size)
            content = stream.read((end - first) * size)
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == store.index.checksum(row) else None


def _whole(store: FeatureStore, shard: int) -> bool:
    try:
        store.check_shard(shard)
    except DataError:
        return False
    return True


def _rewrite(store: FeatureStore, copy: FeatureStore, shard: int, sound: list[bytes | None]) -> Mended:
    rows = store.shards.videos(shard)
    kind = np.dtype(DTYPES[store.manifest["dtype"]])
    taken = tuple(store.ids[row] for row, content in zip(rows, sound) if content is None)
    strange = [video for video in taken if video not in copy]
    if strange:
        raise DataError(f"{copy.folder}: lacks {len(strange)} of the damaged videos: {listing(strange, 5)}.")
    copy.prepare([copy.row(video) for video in taken])
    with atomic_write(store.folder / store.shards.file(shard), "wb") as stream:
        stream.write(npy_header(kind, store.shards.rows(shard), store.width))
        for row, content in zip(rows, sound):
            stream.write(_from(copy, store, row) if content is None else content)
    _write_around(store, shard)
    return Mended(shard, len(rows), taken)


def _from(copy: FeatureStore, store: FeatureStore, row: int) -> bytes:
    content = copy.video(store.ids[row]).tobytes()
    if hashlib.sha256(content).hexdigest() != store.index.checksum(row):
        raise DataError(
            f"{copy.folder}: holds other features of video {store.ids[row]!r} than {store.folder} did. Give another "
            "copy, or import the features anew."
        )
    return content


def _write_around(store: FeatureStore, shard: int) -> None:
    """Write index and manifest of a shard again, from those of the store: they are the same to the last byte."""
    if store.manifest["format"] == ONE_FILE:
        return
    rows = store.shards.videos(shard)
    manifest = {**described(store.manifest), "format": ONE_FILE}
    write_index(store.folder / shard_name(shard), manifest, store.index.columns(rows))


__all__ = ["Mended", "repair"]
