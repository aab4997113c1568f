"""Writing a feature store of one file: every video checked, hashed while it is written, and nothing left half-done."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from wtal_bench.data.store.files import HEADER
from wtal_bench.data.store.index import COLUMNS, LARGEST, SMALLEST, STRIDES
from wtal_bench.data.store.manifest import DTYPES, FEATURES, INDEX, MANIFEST, ONE_FILE, check_manifest, width_of
from wtal_bench.data.store.reading import FeatureStore
from wtal_bench.errors import DataError
from wtal_bench.files import move_into_place, write_json
from wtal_bench.temporary import restore, temporary_for

_BESIDE = 1 << 18
"""Bytes from which a video is hashed by a thread while it is written; below, handing it over costs more."""


@dataclass(frozen=True)
class StoredVideo:
    """One video on its way into a store.

    Attributes:
        id: as in the annotation file.
        features: [T,D] finite numbers, T >= 1; or several [T,D_k], whose columns are joined as they are written.
        duration: seconds, > 0.
        fps: frames a second of the decoded video the features came from, > 0.
        frames: frames of that decoded video, None if unknown.
        source: the file it was read from, named in error texts.
        cut: streams that differed by a snippet or two were cut to the shorter.
        stride: frames between two snippets, where videos differ in it: given for all of a store, whose manifest says
            None then, or for none.
    """

    id: str
    features: np.ndarray | tuple[np.ndarray, ...]
    duration: float
    fps: float
    frames: int | None = None
    source: str | None = None
    cut: bool = False
    stride: int | None = None

    @property
    def place(self) -> str:
        """How error texts name it."""
        return f"video {self.id!r}" + (f" ({self.source})" if self.source else "")


def write_store(
    folder: str | Path,
    videos: Iterable[StoredVideo],
    *,
    manifest: Mapping[str, Any],
    dtype: str = "float32",
    overwrite: bool = False,
    ahead: bool = False,
) -> FeatureStore:
    """Write a store video by video, holding two in memory; the folder appears whole or not at all.

    Args:
        folder: where the store will lie.
        videos: the videos, in the order they are to be stored.
        manifest: `name`, `extractor` (words), `stride` (frames between snippets, None for features resized to a fixed
            length), `streams` {name: [first column, end column]} that cover all columns, `synthetic` (bool); usually
            also `fps`, `window` (frames a snippet sees), `generator`. Anything else JSON can hold is kept.
        dtype: "float32" or "float16".
        overwrite: replace a store that is there.
        ahead: a thread makes and checks the next video while one is written; for videos that are read from files.

    Returns:
        The store, opened.

    Raises:
        DataError: bad features (the text names file and video), a bad manifest, a folder that is there, a full disk.
    """
    folder = Path(folder)
    manifest = {**manifest, "format": ONE_FILE, "dtype": dtype}
    check_manifest(manifest, "manifest", written=False)
    check_free(folder, overwrite)

    def fill(temporary: Path) -> None:
        index = _write_features(temporary / FEATURES, videos, manifest, ahead)
        write_index(temporary, manifest, index)

    place_folder(folder, fill, overwrite)
    return FeatureStore.open(folder)


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuse to write where something is that must not go.

    Raises:
        DataError: a store that is not to be replaced, or a folder that is none.
    """
    restore(folder)
    if folder.exists() and not overwrite:
        raise DataError(f"{folder} is already there; choose another folder, or say that it may be overwritten.")
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise DataError(f"{folder} is there and is no feature store; it is not overwritten. Choose another folder.")


def place_folder(folder: Path, fill: Callable[[Path], None], overwrite: bool) -> None:
    """Have a store's folder filled under another name and give it its own, in one step.

    Args:
        folder: the store's.
        fill: writes everything into an empty folder, the manifest last.
        overwrite: replace a store that is there.

    Raises:
        DataError: a full or read-only disk, or another store that came first.
    """
    try:
        with temporary_for(folder, folder=True) as temporary:
            fill(temporary)
            # Two processes made the same store at once: the second finds the first one's, equal to the last bit.
            written = (temporary / MANIFEST).read_bytes()
            move_into_place(
                temporary,
                folder,
                replace=overwrite,
                same=lambda: not overwrite and (folder / MANIFEST).read_bytes() == written,
            )
    except OSError as error:
        raise DataError(
            f"cannot write feature store {folder}: {error.strerror or error}. Check that the disk has room and the "
            "folder is writable; nothing was left half-written."
        ) from error


def write_index(folder: Path, manifest: Mapping[str, Any], index: Mapping[str, list]) -> None:
    """Write index.json, and manifest.json with its hash and the counts."""
    write_json(folder / INDEX, index, indent=None)
    counted = {
        "videos": len(index["ids"]),
        "rows": sum(index["lengths"]),
        "index_sha256": hashlib.sha256((folder / INDEX).read_bytes()).hexdigest(),
    }
    write_json(folder / MANIFEST, {**manifest, **counted})


def _write_features(
    path: Path, videos: Iterable[StoredVideo], manifest: Mapping[str, Any], ahead: bool
) -> dict[str, list]:
    """Write features.npy and return the columns of the index."""
    kind, width = np.dtype(DTYPES[manifest["dtype"]]), width_of(manifest)
    columns: dict[str, list] = {name: [] for name in COLUMNS}
    rows, strides = 0, []
    with open(path, "wb") as stream, ThreadPoolExecutor(2) as pool:
        stream.write(npy_header(kind, 0, width))
        staged = _staged(videos, kind, width, manifest["stride"] is not None)
        # numpy, hashlib and write all let go of the interpreter: where there is a second core, hashing costs no time
        begin = pool.submit if ahead else _at_once
        following = begin(next, staged, None)
        while (found := following.result()) is not None:
            video, data = found
            hashing = (pool.submit if data.nbytes >= _BESIDE else _at_once)(_sha256, data)
            following = begin(next, staged, None) if ahead else None
            stream.write(data)
            entry = (
                video.id,
                len(data),
                rows,
                float(video.duration),
                float(video.fps),
                None if video.frames is None else int(video.frames),
                hashing.result(),
            )
            for name, value in zip(COLUMNS, entry):
                columns[name].append(value)
            strides.append(video.stride)
            rows += len(data)
            del found, video, data, hashing  # the next is made while this one is in memory, and no other
            following = following or begin(next, staged, None)
        if not rows:
            raise DataError(f"no video was given for feature store {path.parent.parent}; nothing was written.")
        finish(stream, npy_header(kind, rows, width))
    if any(stride is not None for stride in strides):
        columns[STRIDES] = strides
    return columns


def _staged(
    videos: Iterable[StoredVideo], kind: np.dtype, width: int, fixed: bool
) -> Iterator[tuple[StoredVideo, np.ndarray]]:
    """Every video, checked, with its [T,D] features as stored; `fixed`: the manifest gives one stride for all."""
    seen: set[str] = set()
    own = False if fixed else None  # the first video decides
    for video in videos:
        own = video.stride is not None if own is None else own
        yield video, _checked(video, seen, kind, width, own)


def _at_once(call: Callable[..., Any], *arguments: Any) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(call(*arguments))
    except BaseException as error:
        future.set_exception(error)
    return future


def finish(stream: BinaryIO, header: bytes) -> None:
    """Write the header, now that the rows are counted, and wait until all of it is on the disk."""
    stream.seek(0)
    stream.write(header)
    stream.flush()
    os.fsync(stream.fileno())


def _sha256(data: np.ndarray) -> str:
    return hashlib.sha256(data).hexdigest()


def _checked(video: StoredVideo, seen: set[str], kind: np.dtype, width: int, own_stride: bool | None) -> np.ndarray:
    """Return a video's features [T,D] as stored, or refuse them."""
    place = video.place
    if not isinstance(video.id, str) or not video.id or not video.id.isprintable() or "/" in video.id:
        raise DataError(f"{place}: the id must be a printable name without '/'.")
    if video.id in seen:
        raise DataError(f"{place}: comes twice; every id must be unique.")
    seen.add(video.id)
    parts = [np.asarray(part) for part in _parts(video.features)]
    for part in parts:
        _check_part(part, place)
    _check_shape(parts, width, place)
    for part in parts:
        if not finite(part):
            row, column = np.argwhere(~np.isfinite(part))[0]
            raise DataError(f"{place}: feature [{row}, {column}] is {part[row, column]}; features must be finite.")
    for name, value in (("duration", video.duration), ("fps", video.fps)):
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
            raise DataError(f"{place}: {name} must be a finite number above 0, got {value!r}.")
        if not SMALLEST <= value <= LARGEST:
            raise DataError(f"{place}: {name} is {value:g}, which no video has; is the unit right?")
    _check_stride(video, own_stride)
    frames = video.frames
    if frames is not None and (isinstance(frames, bool) or not isinstance(frames, int | np.integer) or frames < 1):
        raise DataError(f"{place}: frames must be a whole number of at least 1 or None, got {frames!r}.")
    return _as_stored(parts, kind, width, place)


def _check_stride(video: StoredVideo, own: bool | None) -> None:
    """Refuse a video with a stride of its own among others without, or under a manifest that gives one for all."""
    stride = video.stride
    if stride is None and not own:
        return
    if stride is None or own is False:
        raise DataError(
            f"{video.place}: videos have a stride each, under a manifest whose `stride` is None, or none of them has."
        )
    if isinstance(stride, bool) or not isinstance(stride, int | np.integer) or not 1 <= stride <= LARGEST:
        raise DataError(f"{video.place}: stride must be a whole number of frames of at least 1, got {stride!r}.")


def _parts(features: Any) -> tuple:
    return features if isinstance(features, tuple) else (features,)


def _check_part(data: np.ndarray, place: str) -> None:
    if data.dtype.kind not in "fiu":
        raise DataError(f"{place}: features must be numbers, got an array of {data.dtype}.")
    if data.ndim != 2:
        raise DataError(f"{place}: features must be [T,D] (snippets by columns), got shape {data.shape}.")
    if len(data) == 0:
        raise DataError(f"{place}: has no snippet; leave the video out or extract its features again.")


def _check_shape(parts: list[np.ndarray], width: int, place: str) -> None:
    columns = sum(part.shape[1] for part in parts)
    if columns != width:
        hint = " It looks transposed." if parts[0].shape[0] == width else ""
        raise DataError(f"{place}: has {columns} feature columns, the streams declare {width}.{hint}")
    if len({len(part) for part in parts}) > 1:
        raise DataError(f"{place}: its parts have {[len(part) for part in parts]} snippets; they must have one length.")


def _as_stored(parts: list[np.ndarray], kind: np.dtype, width: int, place: str) -> np.ndarray:
    """The parts side by side in the stored precision; what is stored already as it must be is not copied."""
    if len(parts) == 1 and parts[0].dtype == kind and parts[0].flags.c_contiguous:
        return parts[0]
    stored = np.empty((len(parts[0]), width), kind)
    with np.errstate(over="ignore"):
        np.concatenate(parts, axis=1, out=stored, casting="unsafe")
    if any(part.dtype != kind for part in parts) and not finite(stored):
        largest = max(float(np.abs(part).max()) for part in parts)
        raise DataError(f"{place}: a feature of size {largest:g} does not fit {kind.name}; store float32.")
    return stored


def finite(data: np.ndarray) -> bool:
    """Whether every number is finite, in one pass: a sum of finite numbers is finite unless it overflows."""
    if data.dtype.kind in "iu" or not data.size:
        return True
    if data.dtype == np.float16:  # numpy adds halves one by one; their bits are compared ten times as fast
        return bool((data.view(np.uint16) & 0x7FFF).max() < 0x7C00)
    with np.errstate(over="ignore", invalid="ignore"):
        total = data.sum()
    return bool(np.isfinite(total)) or bool(np.isfinite(data).all())


def npy_header(kind: np.dtype, rows: int, width: int) -> bytes:
    """Return a header of the .npy format, version 1, of fixed size: it is rewritten once the rows are counted."""
    text = f"{{'descr': {kind.str!r}, 'fortran_order': False, 'shape': ({rows}, {width}), }}"
    body = text.ljust(HEADER - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode("latin1")


__all__ = ["StoredVideo", "write_store"]
