"""The feature store as it is read: videos by id or position, views of memory-mapped files.

A store is a folder. Below a few GB it holds three files:

    features.npy    [sum of T, D] float16 or float32, little-endian, videos one after the other
    index.json      columns of equal length: ids, lengths, offsets, durations, fps, frames, sha256, perhaps strides
    manifest.json   what the features are (extractor, fps, stride, streams, ...), and the hash of index.json

A larger one is sharded: `shards/00000`, `shards/00001`, ... are each a store of one file, complete with index and
manifest, and beside them lie `index.json` over all videos and `manifest.json` with the hash of every shard's manifest.
Such a store may lie in an object store (`s3://`, `gs://`, `https://`, see `remote`).

The index holds a checksum of every video's rows and the manifest the hash of the index, so `manifest_hash` names the
features to the last bit. A store is written once and never changed.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wtal_bench.data.store.files import LocalRows, Rows, Shards
from wtal_bench.data.store.index import Index
from wtal_bench.data.store.manifest import (
    AGAIN,
    DTYPES,
    FEATURES,
    INDEX,
    MANIFEST,
    check_manifest,
    manifest_hash,
    width_of,
)
from wtal_bench.data.store.remote import Cache, Remote, RemoteRows, is_remote, read_index
from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.names import composed
from wtal_bench.reading import GIB, TEXT_LIMIT, decode_json, read_bytes
from wtal_bench.structures import VideoMeta
from wtal_bench.temporary import restore

if TYPE_CHECKING:
    import torch


class FeatureStore:
    """Read access to a store; open one with `FeatureStore.open`.

    Attributes:
        folder: where it lies: a path, or the address of a remote store.
        shards: how its videos are spread over files.
        index: what index.json says of every video.
        manifest: the manifest, as written.
        manifest_hash: sha256 over the manifest: the identity of the features, for records.
        ids: video ids, in stored order.
        lengths: [N] int64 snippets of every video.
        resident: None (memory-mapped), "ram", or a torch device such as "cuda:0" that holds the whole array.
    """

    def __init__(
        self, folder: Path | str, manifest: dict[str, Any], index: Index, resident: str | None, rows: Rows
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.manifest_hash = manifest_hash(manifest)
        self.resident = resident
        self.shards = Shards(manifest)
        # features written before names were composed keep two spellings of one name apart, if they hold both
        names = tuple(map(composed, index.ids))
        self.ids: tuple[str, ...] = names if names != index.ids and len(set(names)) == len(names) else index.ids
        self.lengths = index.lengths
        self.index = index
        self._rows = {video: row for row, video in enumerate(self.ids)}
        self._files = rows
        self._memory = self._whole() if resident == "ram" else None

    @classmethod
    def open(cls, folder: str | Path, resident: str | None = None, *, damaged: bool = False) -> FeatureStore:
        """Open a store and check, without reading the features, that its files belong together.

        Args:
            folder: the store's folder, or the address of one.
            resident: None maps the files (the system keeps in memory what is used), "ram" reads all of it now, a torch
                device ("cuda", "cuda:1") puts all of it there at the first `gather`, so that only indices move.
            damaged: open it though feature files are missing or cut off, to mend it.

        Raises:
            DataError: missing, truncated or disagreeing files; the text says which and what to do.
        """
        if is_remote(folder):
            return cls._at(Remote(str(folder)), resident)
        folder = Path(folder)
        restore(folder)
        manifest = decode_json(_read(folder, MANIFEST, TEXT_LIMIT), folder / MANIFEST, hint=AGAIN)
        content = _read(folder, INDEX, GIB)
        index = checked_index(manifest, content, folder)
        return cls(folder, manifest, index, resident, LocalRows(folder, manifest, index, damaged=damaged))

    @classmethod
    def _at(cls, place: Remote, resident: str | None) -> FeatureStore:
        """Open a store at an address."""
        where, cache = f"{place.address}/{MANIFEST}", Cache.usual()
        manifest = decode_json(place.read(MANIFEST, TEXT_LIMIT), where, hint=AGAIN)
        check_manifest(manifest, where)
        index = checked_index(manifest, read_index(place, manifest, cache), place.address)
        return cls(place.address, manifest, index, resident, RemoteRows(place, manifest, index, cache))

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, video: object) -> bool:
        return video in self._rows

    def __reduce__(self) -> tuple:
        # A worker process maps the files itself instead of receiving a copy of them.
        place = self.folder.absolute() if isinstance(self.folder, Path) else self.folder
        return FeatureStore.open, (place, self.resident)

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.folder)!r}, {len(self)} videos, {self.manifest['rows']} x {self.width})"

    @property
    def name(self) -> str:
        """The manifest's name of this feature set."""
        return self.manifest["name"]

    @property
    def width(self) -> int:
        """D, columns of all streams."""
        return width_of(self.manifest)

    @property
    def streams(self) -> dict[str, tuple[int, int]]:
        """Stream name -> its columns [first, end), in column order."""
        ordered = sorted(self.manifest["streams"].items(), key=lambda stream: stream[1])
        return {name: (first, end) for name, (first, end) in ordered}

    @property
    def synthetic(self) -> bool:
        """True when the features were generated, not extracted from videos."""
        return self.manifest["synthetic"]

    def row(self, video: str) -> int:
        """Return the position of a video in the store.

        Raises:
            DataError: it is not there.
        """
        if video not in self._rows:
            raise DataError(f"{self.folder}: holds no features of video {video!r}.{did_you_mean(video, self.ids)}")
        return self._rows[video]

    def span(self, row: int) -> tuple[int, int]:
        """Return the rows [first, end) of `bank` that belong to the video at position `row`."""
        first = int(self.index.offsets[row])
        return first, first + int(self.lengths[row])

    def video(self, video: str | int, streams: Sequence[str] | None = None) -> np.ndarray:
        """Return the [T,D] stored features of one video, by id or position, read-only and without copying.

        Args:
            video: id or position.
            streams: names of the streams wanted, joined in that order (neighbouring columns are not copied).
        """
        whole = self._video(int(video) if isinstance(video, int | np.integer) else self.row(video))
        parts = [whole[:, low:high] for low, high in self.columns(streams)]
        view = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        view.flags.writeable = False
        return view

    def tensor(self, row: int) -> torch.Tensor:
        """[T,D] of one video in host memory or mapped there, as a tensor that nobody may write to."""
        import torch

        return torch.from_numpy(self._video(row))

    def prepare(self, rows: Sequence[int]) -> None:
        """Say that several videos will be asked for at once: what is remote is fetched together."""
        if self._memory is None:
            self._files.prepare(rows)

    def _video(self, row: int) -> np.ndarray:
        if self._memory is None:
            return self._files.video(row)
        first, end = self.span(row)
        return self._memory[first:end]

    def _whole(self) -> np.ndarray:
        """[rows,D] all features in memory."""
        memory = np.empty((self.manifest["rows"], self.width), DTYPES[self.manifest["dtype"]])
        for shard in range(len(self.shards)):
            videos = self.shards.videos(shard)
            self._files.prepare(videos)
            for row in videos:
                first, end = self.span(row)
                memory[first:end] = self._files.video(row)
        return memory

    def columns(self, streams: Sequence[str] | None = None) -> list[tuple[int, int]]:
        """Return the column ranges of some streams in the order asked for, neighbours joined; None gives all columns.

        Raises:
            DataError: an unknown or repeated stream.
        """
        if streams is None:
            return [(0, self.width)]
        names = [streams] if isinstance(streams, str) else list(streams)
        if not names or len(set(names)) != len(names):
            raise DataError(f"streams must name at least one stream, each once, got {names}.")
        ranges: list[tuple[int, int]] = []
        for name in names:
            if name not in self.streams:
                raise DataError(
                    f"{self.folder}: has no stream {name!r}; it has {listing(self.streams)}."
                    f"{did_you_mean(name, self.streams)}"
                )
            first, end = self.streams[name]
            if ranges and ranges[-1][1] == first:
                ranges[-1] = (ranges[-1][0], end)
            else:
                ranges.append((first, end))
        return ranges

    def meta(self, video: str | int) -> VideoMeta:
        """Return what the store knows of one video.

        Features resized to a fixed length (`stride` null in the manifest, none in the index) get the stride that
        spreads their rows evenly over the video, usually a fraction of a frame count.
        """
        row = int(video) if isinstance(video, int | np.integer) else self.row(video)
        duration, fps = float(self.index.durations[row]), float(self.index.rates[row])
        frames, length = int(self.index.frames[row]) or None, int(self.lengths[row])
        stride = self.manifest["stride"] if self.index.strides is None else int(self.index.strides[row])
        if stride is None:
            stride = (frames or duration * fps) / length
        return VideoMeta(self.ids[row], duration, fps, stride, length, num_frames=frames)

    @property
    def rates(self) -> np.ndarray:
        """[N] float64 frames a second of every video."""
        return self.index.rates

    @property
    def on_host(self) -> bool:
        """Whether the features are mapped, fetched or in RAM: read by `tensor`, not from `bank`."""
        return self.resident in (None, "ram")

    @functools.cached_property
    def bank(self) -> torch.Tensor:
        """[rows,D] tensor of all features, in RAM or on the resident device."""
        import torch

        memory = self._whole() if self._memory is None else self._memory
        tensor = torch.from_numpy(memory)
        return tensor if self.on_host else tensor.to(self.resident)

    def check_shard(self, shard: int) -> None:
        """Refuse a shard whose file, index or manifest is not the one this store was written with.

        Raises:
            DataError: naming the file and what to do.
        """
        self._files.check(shard)

    def check_video(self, row: int) -> str | None:
        """Read one video in full; return what is wrong with it, or None.

        Compares the checksum and looks for NaN and infinities.
        """
        try:
            data = self.video(row)
        except DataError as error:
            return f"video {self.ids[row]!r}: {error}"
        if hashlib.sha256(data).hexdigest() != self.index.checksum(row):
            return f"video {self.ids[row]!r}: its features differ from the checksum in {INDEX}"
        if not np.isfinite(data).all():
            return f"video {self.ids[row]!r}: holds NaN or infinite features"
        return None

    def verify(self, rows: Iterable[int] | None = None) -> None:
        """Read every video (or those of `rows`; wrap them in `progress.track` to see it move) and check it.

        Raises:
            DataError: naming the first few damaged videos.
        """
        problems = [
            problem for row in (range(len(self)) if rows is None else rows) if (problem := self.check_video(row))
        ]
        if problems:
            raise DataError(
                f"{self.folder}: {len(problems)} damaged videos: {'; '.join(problems[:5])}. Copy the store "
                "again or import the features anew."
            )


def checked_index(manifest: Any, content: bytes, folder: Path | str) -> Index:
    """Check a manifest and the index that belongs to it.

    Args:
        manifest: the content of manifest.json.
        content: the bytes of index.json.
        folder: where they were found, for error texts.

    Raises:
        DataError: one of them is damaged, or they are of two stores.
    """
    check_manifest(manifest, f"{folder}/{MANIFEST}")
    if hashlib.sha256(content).hexdigest() != manifest["index_sha256"]:
        raise DataError(f"{folder}: {INDEX} is not the one {MANIFEST} was written with. {AGAIN}")
    place = f"{folder}/{INDEX}"
    index = decode_json(content, place, hint=AGAIN, nan=True)  # told with the video, by the next line
    found = Index.read(index, manifest["videos"], manifest["rows"], place)
    if found.strides is not None and manifest["stride"] is not None:
        raise DataError(f"{place}: gives every video a stride, and {MANIFEST} one for all. {AGAIN}")
    return found


def _read(folder: Path, name: str, limit: int) -> bytes:
    files = f"{FEATURES}, {INDEX} and {MANIFEST}"
    make = "Make one with `wtal-bench import-features`."
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: there is no feature store (a folder with {files}). {make}")
    return read_bytes(folder / name, hint=f"A feature store needs {files}. {make}", limit=limit)


__all__ = ["FeatureStore"]
