"""Reading a folder of feature files, one a video: .npy arrays, or .npz archives with one array a stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wtal_bench.arrays import read_npy, read_npz
from wtal_bench.errors import DataError, listing
from wtal_bench.names import composed
from wtal_bench.structures import FeatureSource, RawVideo


def npy_folders(folders: Sequence[str | Path], *, transposed: bool = False, strip_prefix: str = "") -> FeatureSource:
    """Read `<id>.npy` files, searched for in all sub-folders.

    Args:
        folders: one folder of whole feature arrays, or one a stream (e.g. rgb and flow); a stream is named after its
            folder.
        transposed: the files hold [D,T] instead of [T,D].
        strip_prefix: text cut off the front of file names to get ids, e.g. "v_".

    Raises:
        DataError: a folder without such files, or streams with different videos.
    """
    folders = [Path(folder) for folder in folders]
    listings = [_files(folder, "*.npy", strip_prefix) for folder in folders]
    ids = tuple(listings[0])
    for folder, files in zip(folders[1:], listings[1:]):
        lonely = sorted(set(ids) ^ set(files))
        if lonely:
            raise DataError(
                f"{folders[0]} and {folder} must hold the same videos, but {len(lonely)} are in one of them only: "
                f"{listing(lonely, 5)}."
            )

    def read(at: int) -> RawVideo:
        paths = [files[ids[at]] for files in listings]
        parts = tuple(_oriented(read_npy(path), transposed, path) for path in paths)
        return RawVideo(ids[at], parts, " + ".join(map(str, paths)))

    names = tuple(folder.name for folder in folders) if len(folders) > 1 else ("features",)
    return FeatureSource(ids, names, read)


def npz_folder(
    folder: str | Path,
    *,
    keys: Sequence[str] = ("feat_spa", "feat_tem"),
    transposed: bool = False,
    strip_prefix: str = "",
) -> FeatureSource:
    """Read `<id>.npz` archives with one array a stream, by default as ECM's authors released theirs.

    Args:
        folder: searched with all sub-folders.
        keys: the arrays to join, in column order; a stream is named after its key.
        transposed: they are [D,T] instead of [T,D].
        strip_prefix: as in `npy_folders`.

    Raises:
        DataError: a folder without such files.
    """
    files = _files(Path(folder), "*.npz", strip_prefix)
    ids = tuple(files)

    def read(at: int) -> RawVideo:
        path = files[ids[at]]
        parts = tuple(_oriented(array, transposed, path) for array in read_npz(path, keys))
        return RawVideo(ids[at], parts, str(path))

    return FeatureSource(ids, tuple(keys), read)


def _oriented(array: np.ndarray, transposed: bool, path: Path) -> np.ndarray:
    if array.ndim != 2:
        raise DataError(f"{path}: holds an array of shape {array.shape}; needed is [T,D], snippets by columns.")
    return array.T if transposed else array


def _files(folder: Path, pattern: str, strip_prefix: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; give the folder that holds the {pattern} files, one a video.")
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob(pattern)):
        video = composed(path.stem).removeprefix(strip_prefix)
        if video in files:
            raise DataError(f"video {video!r} is found twice: {files[video]} and {path}; give one of the two folders.")
        files[video] = path
    if not files:
        raise DataError(f"{folder}: holds no {pattern} file, neither here nor in a sub-folder.")
    return files
