"""The feature store: every video's snippets in one flat memory-mapped array, with an index and a manifest.

A store is a folder of three files:

    features.npy    [sum of T, D] float16 or float32, little-endian, videos one after the other
    index.json      columns of equal length: ids, lengths, offsets, durations, fps, frames, sha256
    manifest.json   what the features are (extractor, fps, stride, streams, ...), and the hash of index.json

The index holds a checksum of every video's rows and the manifest the hash of the index, so `manifest_hash` names the
features to the last bit. A store is written once and never changed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wtal_bench.arrays import LIMIT, read_header, read_npy
from wtal_bench.data.store_index import COLUMNS, LARGEST, SMALLEST, check_index
from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.files import move_into_place, unplain, write_json
from wtal_bench.names import composed
from wtal_bench.reading import GIB, TEXT_LIMIT, decode_json, open_file, read_bytes
from wtal_bench.structures import VideoMeta
from wtal_bench.temporary import restore, temporary_for

if TYPE_CHECKING:
    import torch


FORMAT = 1
DTYPES = {"float16": "<f2", "float32": "<f4"}
_FEATURES, _INDEX, _MANIFEST = "features.npy", "index.json", "manifest.json"
_HEADER = 128
_REQUIRED = ("name", "extractor", "stride", "streams", "synthetic")


@dataclass(frozen=True)
class StoredVideo:
    """One video on its way into a store.

    Attributes:
        id: as in the annotation file.
        features: [T,D] finite numbers, T >= 1.
        duration: seconds, > 0.
        fps: frames a second of the decoded video the features came from, > 0.
        frames: frames of that decoded video, None if unknown.
        source: the file it was read from, named in error texts.
    """

    id: str
    features: np.ndarray
    duration: float
    fps: float
    frames: int | None = None
    source: str | None = None

    @property
    def place(self) -> str:
        """How error texts name it."""
        return f"video {self.id!r}" + (f" ({self.source})" if self.source else "")


class FeatureStore:
    """Read access to a store; open one with `FeatureStore.open`.

    Attributes:
        folder: where it lies.
        manifest: the manifest, as written.
        manifest_hash: sha256 over the manifest: the identity of the features, for records.
        ids: video ids, in stored order.
        lengths: [N] int64 snippets of every video.
        resident: None (memory-mapped), "ram", or a torch device such as "cuda:0" that holds the whole array.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], index: dict[str, list], resident: str | None) -> None:
        self.folder = folder
        self.manifest = manifest
        self.manifest_hash = manifest_hash(manifest)
        self.resident = resident
        # features written before names were composed keep two spellings of one name apart, if they hold both
        names = tuple(map(composed, index["ids"]))
        self.ids: tuple[str, ...] = names if len(set(names)) == len(names) else tuple(index["ids"])
        self.lengths = np.asarray(index["lengths"], dtype=np.int64)
        self._offsets = np.asarray(index["offsets"], dtype=np.int64)
        self._index = index
        self._rows = {video: row for row, video in enumerate(self.ids)}
        self._array = read_npy(folder / _FEATURES, mapped="" if resident == "ram" else "r")

    @classmethod
    def open(cls, folder: str | Path, resident: str | None = None) -> FeatureStore:
        """Open a store and check, without reading the features, that its three files belong together.

        Args:
            folder: the store's folder.
            resident: None maps the file (the system keeps in memory what is used), "ram" reads all of it now, a torch
                device ("cuda", "cuda:1") puts all of it there at the first `gather`, so that only indices move.

        Raises:
            DataError: missing, truncated or disagreeing files; the text says which and what to do.
        """
        folder = Path(folder)
        restore(folder)
        manifest = decode_json(_read(folder, _MANIFEST, TEXT_LIMIT), folder / _MANIFEST, hint=_AGAIN)
        content = _read(folder, _INDEX, GIB)
        _check_manifest(manifest, f"{folder / _MANIFEST}")
        if hashlib.sha256(content).hexdigest() != manifest.get("index_sha256"):
            raise _damaged(folder, f"{_INDEX} is not the one {_MANIFEST} was written with")
        index = decode_json(content, folder / _INDEX, hint=_AGAIN, nan=True)  # told with the video, by the next line
        check_index(index, manifest["videos"], manifest["rows"], folder / _INDEX)
        _check_array(folder, manifest)
        return cls(folder, manifest, index, resident)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, video: object) -> bool:
        return video in self._rows

    def __reduce__(self) -> tuple:
        # A worker process maps the file itself instead of receiving a copy of it.
        return FeatureStore.open, (self.folder.absolute(), self.resident)

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.folder)!r}, {len(self)} videos, {len(self._array)} x {self.width})"

    @property
    def name(self) -> str:
        """The manifest's name of this feature set."""
        return self.manifest["name"]

    @property
    def width(self) -> int:
        """D, columns of all streams."""
        return self._array.shape[1]

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
        """Return the rows [first, end) of the flat array that belong to the video at position `row`."""
        first = int(self._offsets[row])
        return first, first + int(self.lengths[row])

    def video(self, video: str | int, streams: Sequence[str] | None = None) -> np.ndarray:
        """Return the [T,D] stored features of one video, by id or position, read-only and without copying.

        Args:
            video: id or position.
            streams: names of the streams wanted, joined in that order (neighbouring columns are not copied).
        """
        first, end = self.span(video if isinstance(video, int | np.integer) else self.row(video))
        parts = [self._array[first:end, low:high] for low, high in self.columns(streams)]
        view = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        view.flags.writeable = False
        return view

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

        Features resized to a fixed length (`stride` null in the manifest) get the stride that spreads their rows
        evenly over the video, usually a fraction of a frame count.
        """
        row = int(video) if isinstance(video, int | np.integer) else self.row(video)
        duration, fps = float(self._index["durations"][row]), float(self._index["fps"][row])
        frames, length = self._index["frames"][row], int(self.lengths[row])
        stride = self.manifest["stride"]
        if stride is None:
            stride = (frames or duration * fps) / length
        return VideoMeta(self.ids[row], duration, fps, stride, length, num_frames=frames)

    @property
    def rates(self) -> np.ndarray:
        """[N] float64 frames a second of every video."""
        return np.asarray(self._index["fps"], dtype=np.float64)

    @functools.cached_property
    def bank(self) -> torch.Tensor:
        """[rows,D] tensor over the flat array: the map itself, RAM, or a copy on the resident device."""
        import torch

        # Torch warns of read-only memory; a private copy-on-write map of the same pages is never written through.
        host = self._array if self.resident == "ram" else read_npy(self.folder / _FEATURES, mapped="c")
        tensor = torch.from_numpy(host)
        return tensor if self.resident in (None, "ram") else tensor.to(self.resident)

    def check_video(self, row: int) -> str | None:
        """Read one video in full; return what is wrong with it, or None.

        Compares the checksum and looks for NaN and infinities.
        """
        data = self.video(row)
        if hashlib.sha256(data).hexdigest() != self._index["sha256"][row]:
            return f"video {self.ids[row]!r}: its features differ from the checksum in {_INDEX}"
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
                f"{self.folder / _FEATURES}: {len(problems)} damaged videos: {'; '.join(problems[:5])}. Copy the store "
                "again or import the features anew."
            )


def manifest_hash(manifest: Mapping[str, Any]) -> str:
    """Return the sha256 of a manifest's canonical JSON (it covers every feature through the index's hash)."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def write_store(
    folder: str | Path,
    videos: Iterable[StoredVideo],
    *,
    manifest: Mapping[str, Any],
    dtype: str = "float32",
    overwrite: bool = False,
) -> FeatureStore:
    """Write a store video by video, holding one in memory; the folder appears whole or not at all.

    Args:
        folder: where the store will lie.
        videos: the videos, in the order they are to be stored.
        manifest: `name`, `extractor` (words), `stride` (frames between snippets, None for features resized to a fixed
            length), `streams` {name: [first column, end column]} that cover all columns, `synthetic` (bool); usually
            also `fps`, `window` (frames a snippet sees), `generator`. Anything else JSON can hold is kept.
        dtype: "float32" or "float16".
        overwrite: replace a store that is there.

    Returns:
        The store, opened.

    Raises:
        DataError: bad features (the text names file and video), a bad manifest, a folder that is there, a full disk.
    """
    folder = Path(folder)
    restore(folder)
    manifest = {**manifest, "format": FORMAT, "dtype": dtype}
    _check_manifest(manifest, "manifest", written=False)
    if folder.exists() and not overwrite:
        raise DataError(f"{folder} is already there; choose another folder, or say that it may be overwritten.")
    if folder.exists() and not (folder / _MANIFEST).is_file():
        raise DataError(f"{folder} is there and is no feature store; it is not overwritten. Choose another folder.")
    try:
        with temporary_for(folder, folder=True) as temporary:
            index = _write_features(temporary / _FEATURES, videos, manifest)
            write_json(temporary / _INDEX, index, indent=None)
            manifest |= {
                "videos": len(index["ids"]),
                "rows": sum(index["lengths"]),
                "index_sha256": hashlib.sha256((temporary / _INDEX).read_bytes()).hexdigest(),
            }
            write_json(temporary / _MANIFEST, manifest)
            # Two processes made the same store at once: the second finds the first one's, equal to the last bit.
            written = (temporary / _MANIFEST).read_bytes()
            move_into_place(
                temporary,
                folder,
                replace=overwrite,
                same=lambda: not overwrite and (folder / _MANIFEST).read_bytes() == written,
            )
    except OSError as error:
        raise DataError(
            f"cannot write feature store {folder}: {error.strerror or error}. Check that the disk has room and the "
            "folder is writable; nothing was left half-written."
        ) from error
    return FeatureStore.open(folder)


def _write_features(path: Path, videos: Iterable[StoredVideo], manifest: dict[str, Any]) -> dict[str, list]:
    kind = np.dtype(DTYPES[manifest["dtype"]])
    width = max(end for _, end in manifest["streams"].values())
    index: dict[str, list] = {name: [] for name in COLUMNS}
    seen: set[str] = set()
    rows = 0
    with open(path, "wb") as stream:
        stream.write(_npy_header(kind, 0, width))
        for video in videos:
            data = _checked(video, seen, kind, width)
            stream.write(data)
            entry = (
                video.id,
                len(data),
                rows,
                float(video.duration),
                float(video.fps),
                None if video.frames is None else int(video.frames),
                hashlib.sha256(data).hexdigest(),
            )
            for name, value in zip(COLUMNS, entry):
                index[name].append(value)
            rows += len(data)
        if not seen:
            raise DataError(f"no video was given for feature store {path.parent.parent}; nothing was written.")
        stream.seek(0)
        stream.write(_npy_header(kind, rows, width))
        stream.flush()
        os.fsync(stream.fileno())
    return index


def _checked(video: StoredVideo, seen: set[str], kind: np.dtype, width: int) -> np.ndarray:
    """Return a video's features as stored, or refuse them."""
    place = video.place
    if not isinstance(video.id, str) or not video.id or not video.id.isprintable() or "/" in video.id:
        raise DataError(f"{place}: the id must be a printable name without '/'.")
    if video.id in seen:
        raise DataError(f"{place}: comes twice; every id must be unique.")
    seen.add(video.id)
    data = np.asarray(video.features)
    if data.dtype.kind not in "fiu":
        raise DataError(f"{place}: features must be numbers, got an array of {data.dtype}.")
    if data.ndim != 2:
        raise DataError(f"{place}: features must be [T,D] (snippets by columns), got shape {data.shape}.")
    if len(data) == 0:
        raise DataError(f"{place}: has no snippet; leave the video out or extract its features again.")
    if data.shape[1] != width:
        hint = " It looks transposed." if data.shape[0] == width else ""
        raise DataError(f"{place}: has {data.shape[1]} feature columns, the streams declare {width}.{hint}")
    if not np.isfinite(data).all():
        row, column = np.argwhere(~np.isfinite(data))[0]
        raise DataError(f"{place}: feature [{row}, {column}] is {data[row, column]}; features must be finite.")
    for name, value in (("duration", video.duration), ("fps", video.fps)):
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
            raise DataError(f"{place}: {name} must be a finite number above 0, got {value!r}.")
        if not SMALLEST <= value <= LARGEST:
            raise DataError(f"{place}: {name} is {value:g}, which no video has; is the unit right?")
    frames = video.frames
    if frames is not None and (isinstance(frames, bool) or not isinstance(frames, int | np.integer) or frames < 1):
        raise DataError(f"{place}: frames must be a whole number of at least 1 or None, got {frames!r}.")
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(data, dtype=kind)
    if not np.isfinite(stored).all():
        raise DataError(f"{place}: a feature of size {np.abs(data).max():g} does not fit {kind.name}; store float32.")
    return stored


def _npy_header(kind: np.dtype, rows: int, width: int) -> bytes:
    """Return a header of the .npy format, version 1, of fixed size: it is rewritten once the rows are counted."""
    text = f"{{'descr': {kind.str!r}, 'fortran_order': False, 'shape': ({rows}, {width}), }}"
    body = text.ljust(_HEADER - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode("latin1")


_AGAIN = "The store is damaged: copy it again or import the features anew."


def _read(folder: Path, name: str, limit: int) -> bytes:
    if not os.path.isdir(folder):
        raise DataError(
            f"{folder}: there is no feature store (a folder with {_FEATURES}, {_INDEX} and {_MANIFEST}). Make one with "
            "`wtal-bench import-features`."
        )
    hint = f"A feature store needs {_FEATURES}, {_INDEX} and {_MANIFEST}. Make one with `wtal-bench import-features`."
    return read_bytes(folder / name, hint=hint, limit=limit)


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(f"{folder}: {what}. {_AGAIN}")


def _check_manifest(manifest: Any, place: str, *, written: bool = True) -> None:
    if not isinstance(manifest, Mapping):
        raise DataError(f"{place}: must be a JSON object.")
    if manifest.get("format") != FORMAT:
        raise DataError(
            f"{place}: has store format {manifest.get('format')!r}, this version reads {FORMAT}; import the features "
            "again, or use the version of wtal-bench that wrote them."
        )
    for key in (*_REQUIRED, "dtype") + (("videos", "rows", "index_sha256") if written else ()):
        if key not in manifest:
            raise DataError(f"{place}: the key {key!r} is missing.{did_you_mean(key, manifest)}")
    for key in ("videos", "rows") if written else ():
        if type(manifest[key]) is not int or not 0 < manifest[key] < 2**53:
            raise DataError(f"{place}: {key!r} must be a whole number of at least 1, got {manifest[key]!r}. {_AGAIN}")
    for key in ("fps", "window"):
        value = manifest.get(key)
        sound = isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and 0 < value < math.inf
        if value is not None and not sound:
            raise DataError(f"{place}: {key!r} must be a finite number above 0, or null; got {value!r}.")
    if not isinstance(manifest["dtype"], str) or manifest["dtype"] not in DTYPES:
        raise DataError(f"{place}: dtype must be one of {listing(DTYPES)}, got {manifest['dtype']!r}.")
    for key, kind in (("name", str), ("extractor", str), ("synthetic", bool)):
        if not isinstance(manifest[key], kind):
            raise DataError(f"{place}: {key!r} must be a {kind.__name__}, got {manifest[key]!r}.")
    stride = manifest["stride"]
    if stride is not None and (isinstance(stride, bool) or not isinstance(stride, int) or stride < 1):
        raise DataError(
            f"{place}: 'stride' must be the whole number of frames between two snippets, or null for features resized "
            f"to a fixed length; got {stride!r}."
        )
    _check_streams(manifest["streams"], place)
    problem = unplain(manifest)
    if problem:
        raise DataError(f"{place}: must hold nothing but what JSON can: {problem}.")


def _check_streams(streams: Any, place: str) -> None:
    whole = '\'streams\' must give each stream its columns, e.g. {"rgb": [0, 1024], "flow": [1024, 2048]}'
    if not isinstance(streams, Mapping) or not streams:
        raise DataError(f"{place}: {whole}; got {streams!r}.")
    at = 0
    for span in streams.values():
        sound = isinstance(span, (list, tuple)) and len(span) == 2
        if not (sound and all(type(column) is int and 0 <= column < 2**31 for column in span)):
            raise DataError(f"{place}: {whole}; got {streams!r:.200}.")
    for first, end, name in sorted((*span, str(name)) for name, span in streams.items()):
        if first != at or end <= first:
            raise DataError(
                f"{place}: stream {name!r} has columns [{first}, {end}), expected them to start at {at}: "
                f"the streams must cover all columns without gap or overlap."
            )
        at = end


def _check_array(folder: Path, manifest: Mapping[str, Any]) -> None:
    path = folder / _FEATURES
    if not os.path.isfile(path):
        raise DataError(f"{path}: is missing; copy the store again or import the features anew.")
    with open_file(path, limit=LIMIT) as stream:
        size = os.fstat(stream.fileno()).st_size
        array = read_header(stream, size, path, hint=_AGAIN)
    width = max(end for _, end in manifest["streams"].values())
    expected = ((manifest["rows"], width), np.dtype(DTYPES[manifest["dtype"]]))
    if (array.shape, array.dtype) != expected or array.fortran:
        raise _damaged(
            folder,
            f"{_FEATURES} is {array.shape} {array.dtype}, the manifest says {expected[0]} {expected[1]}: array and "
            "index disagree",
        )
    if size != array.nbytes + array.offset:
        raise _damaged(folder, f"{_FEATURES} has {size} bytes, not those of its shape")


__all__ = ["FeatureStore", "StoredVideo", "manifest_hash", "write_store"]
