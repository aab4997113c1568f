"""One feature file -> its arrays by name, by its suffix: .npy, .npz, .h5, .pt, .csv, .mat. Nothing in a file runs."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.arrays import read_npy, read_npz
from wtal_bench.errors import DataError
from wtal_bench.reading import GIB, failure, open_file, unpickling_reason

WHOLE = "features"
"""Name of the array in a file that holds one without a name."""

LIMIT = 4 * GIB
AGAIN = "Copy or extract it again."


def read_arrays(path: Path) -> dict[str, np.ndarray | Stored]:
    """Find the arrays of a file; those that are not numbers, or have one dimension or none, are left out.

    Raises:
        DataError: no such file, a suffix that is not read, damaged content, or Python objects.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: features are read from {', '.join(READERS)} files.")
    arrays = reader(path)
    if len(arrays) == 1:
        return arrays  # whatever its shape: who asked says what is wrong with it
    return {name: array for name, array in arrays.items() if array.ndim >= 2 and array.dtype.kind in "fiu"}


def _npy(path: Path) -> dict[str, np.ndarray]:
    return {WHOLE: read_npy(path, mapped="r")}


def _npz(path: Path) -> dict[str, np.ndarray]:
    with open_file(path, limit=LIMIT) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as error:
            raise failure(path, f"is a damaged archive ({error})", DataError, AGAIN) from error
    return dict(zip(names, read_npz(path, names)))


class Stored:
    """An array that still lies in an HDF5 file; numpy reads it when it is asked for."""

    def __init__(self, path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.path, self.name, self.shape, self.dtype = path, name, shape, dtype

    @property
    def ndim(self) -> int:
        """Axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        import h5py

        try:
            with h5py.File(self.path, "r") as file:
                return np.asarray(file[self.name][()], dtype=dtype)
        except _H5_ERRORS as error:
            raise _bad_h5(self.path, error) from error


_H5_ERRORS = (OSError, RuntimeError, ValueError, KeyError)


def _h5(path: Path) -> dict[str, Stored]:
    try:
        import h5py
    except ImportError as error:
        raise failure(path, "HDF5 is read by h5py", DataError, "pip install h5py") from error
    open_file(path, limit=1024 * GIB).close()
    found: dict[str, Stored] = {}

    def visit(name: str, item: object) -> None:
        # what lies in another file is not followed: a path in a file is no reason to open it
        if isinstance(item, h5py.Dataset) and not item.external and not item.is_virtual:
            found[name] = Stored(path, name, item.shape, item.dtype)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except _H5_ERRORS as error:
        raise _bad_h5(path, error) from error
    return found


def _bad_h5(path: Path, error: Exception) -> DataError:
    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    return failure(path, f"is no HDF5 file, or a damaged one ({why})", DataError, AGAIN)


def _pt(path: Path) -> dict[str, np.ndarray]:
    import pickle

    import torch

    with open_file(path, limit=LIMIT) as stream:
        try:
            value = torch.load(stream, map_location="cpu", weights_only=True)
        except (
            RuntimeError,
            pickle.UnpicklingError,
            EOFError,
            ValueError,
            KeyError,
            AttributeError,
            TypeError,
        ) as error:
            why = unpickling_reason(error)
            raise failure(
                path, f"holds no plain tensors ({why})", DataError, "Save tensors, or a dict of them."
            ) from error
    tensors = value if isinstance(value, dict) else {WHOLE: value}
    return {
        str(name): tensor.detach().float().numpy() if tensor.dtype == torch.bfloat16 else tensor.detach().numpy()
        for name, tensor in tensors.items()
        if isinstance(tensor, torch.Tensor)
    }


def _csv(path: Path) -> dict[str, np.ndarray]:
    """Numbers, a line a snippet; a first line of names (as ActivityNet's features have it) is passed over."""
    import pandas as pd

    with open_file(path, limit=LIMIT) as stream:
        try:
            first = stream.readline().decode("utf-8-sig").strip()
            stream.seek(0)
            mark = max(",;\t ", key=first.count)
            named = not all(_is_number(cell) for cell in first.split(mark))
            table = pd.read_csv(stream, sep=mark, header=0 if named else None, encoding="utf-8-sig")
            return {WHOLE: table.to_numpy(dtype=np.float64)}
        except (ValueError, UnicodeDecodeError) as error:
            why = str(error).splitlines()[0]
            raise failure(path, f"is no table of numbers, a line a snippet ({why})", DataError, AGAIN) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _mat(path: Path) -> dict[str, np.ndarray]:
    from scipy.io import loadmat

    with open_file(path, limit=LIMIT) as stream:
        if stream.read(64).startswith(b"MATLAB 7.3"):
            return _h5(path)  # whose arrays lie the other way round: [D,T]
        stream.seek(0)
        try:
            arrays = loadmat(stream)
        except Exception as error:  # scipy's reader raises whatever a damaged file leads it to
            raise failure(path, f"is no MATLAB file, or a damaged one ({error})", DataError, AGAIN) from error
    return {
        name: array
        for name, array in arrays.items()
        if not name.startswith("__") and isinstance(array, np.ndarray) and array.dtype.kind in "fiu"
    }


READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".h5": _h5,
    ".hdf5": _h5,
    ".pt": _pt,
    ".pth": _pt,
    ".csv": _csv,
    ".mat": _mat,
}
"""Suffix -> reader."""


__all__ = ["READERS", "WHOLE", "read_arrays"]
