"""Reading the W-TALC release: an .npy object array with one feature array a video, and lists of names beside it.

Object arrays can only be unpickled, and an ordinary unpickler runs whatever a file tells it to. The one here builds
plain arrays in Python from the bytes of the file and knows no other class or function, so a crafted file can at worst
be refused.
"""

from __future__ import annotations

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.data.importers.folders import load_plain
from wtal_bench.errors import DataError
from wtal_bench.structures import FeatureSource, RawVideo

TAG_LISTS = ("labels", "labels_all")
"""Lists of tags a release may hold: the labels of the segments, and those its authors trained on."""


def wtalc_release(features: str | Path, annotations: str | Path) -> FeatureSource:
    """Read a W-TALC release.

    Args:
        features: the .npy file with an object array of N [T,D] arrays.
        annotations: the `*-Annotations` folder; `videoname.npy` gives the ids, `duration.npy`, if there, the seconds,
            `labels.npy` and `labels_all.npy`, if there, the two lists of tags (they differ for 28 videos of THUMOS14).

    Raises:
        DataError: files that are missing, disagree, or hold anything but arrays.
    """
    path, folder = Path(features), Path(annotations)
    names = [_text(name) for name in _column(folder / "videoname.npy")]
    durations = _column(folder / "duration.npy") if (folder / "duration.npy").is_file() else [None] * len(names)
    arrays = _column(path)
    if not len(names) == len(durations) == len(arrays):
        raise DataError(
            f"{path} holds {len(arrays)} videos, {folder} names {len(names)} and gives {len(durations)} durations; the "
            "two belong to different releases."
        )

    def read(at: int) -> RawVideo:
        array = arrays[at]
        if not isinstance(array, np.ndarray) or array.ndim != 2:
            raise DataError(f"{path}: entry {at} (video {names[at]!r}) is no [T,D] array of features.")
        duration = None if durations[at] is None else float(np.asarray(durations[at]).reshape(-1)[0])
        return RawVideo(names[at], (array,), f"{path}, entry {at}", duration)

    return FeatureSource(tuple(names), ("features",), read, _tags(folder, names))


def _tags(folder: Path, names: list[str]) -> dict[str, dict[str, list[str]]]:
    """The lists of tags of a release: name -> video id -> class names, each once, in their order."""
    found = {}
    for name in TAG_LISTS:
        path = folder / f"{name}.npy"
        if not path.is_file():
            continue
        rows = _column(path)
        if len(rows) != len(names):
            raise DataError(f"{path} holds {len(rows)} videos, videoname.npy beside it {len(names)}; copy both again.")
        found[name] = {video: list(dict.fromkeys(map(_text, _texts(row, path)))) for video, row in zip(names, rows)}
    return found


def _texts(row: Any, path: Path) -> list:
    """One video's class names: a list or an array of texts."""
    row = row.array() if isinstance(row, _Array) else row
    row = row.ravel().tolist() if isinstance(row, np.ndarray) else row
    if not isinstance(row, (list, tuple)) or not all(isinstance(_scalar(name), (str, bytes)) for name in row):
        raise DataError(f"{path}: a video's tags are {row!r}; needed: a list of class names.")
    return [_scalar(name) for name in row]


def _scalar(name: Any) -> Any:
    name = name.array() if isinstance(name, _Array) else name
    return name.item() if isinstance(name, (np.generic, np.ndarray)) and name.size == 1 else name


def _column(path: Path) -> list:
    """Return an .npy file's entries along its first axis, arrays of objects included."""
    try:
        with open(path, "rb") as stream:
            version = np.lib.format.read_magic(stream)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, kind = reader(stream)
            if not kind.hasobject:
                return list(load_plain(path))
            array = load_object_array(stream)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read, it is missing or truncated ({error}). Copy it again.") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if array.shape != shape:
        raise DataError(f"{path}: its header says shape {shape}, its content has {array.shape}; it is damaged.")
    return list(array.ravel(order="F" if fortran else "C"))


def load_object_array(stream: Any) -> np.ndarray:
    """Unpickle one array of arrays, numbers and texts from a binary stream.

    Raises:
        DataError: the pickle asks for anything else, or is damaged.
    """
    try:
        value = _ArraysOnly(stream, encoding="latin1").load()
        if isinstance(value, _Array):
            return value.array()
    except DataError:
        raise
    except Exception as error:  # a crafted or damaged pickle can fail in any way at all
        raise DataError(f"its pickled content cannot be read ({type(error).__name__}: {error}).") from error
    raise DataError(f"its pickled content is a {type(value).__name__}, not an array.")


class _ArraysOnly(pickle.Unpickler):
    """An unpickler whose world holds four stand-ins for numpy's own constructors, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core.", "numpy.core.")
        if (module, name) not in _KNOWN:
            raise DataError(
                f"its pickle asks for {module}.{name}, which is no part of an array of features. It was refused and "
                "nothing of it was run: do not trust this file."
            )
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("its pickle refers to objects outside the file; that is no part of an array of features.")


class _StandIn:
    """A callable without attributes, so that no pickle instruction can change what it does."""

    __slots__ = ()


class _NdarrayName(_StandIn):
    __slots__ = ()


class _Reconstruct(_StandIn):
    __slots__ = ()

    def __call__(self, kind: Any, shape: Any, code: Any) -> _Array:
        return _Array()


class _MakeDtype(_StandIn):
    __slots__ = ()

    def __call__(self, code: Any, *flags: Any) -> _Dtype:
        return _Dtype(code)


class _MakeScalar(_StandIn):
    __slots__ = ()

    def __call__(self, kind: Any, data: Any) -> Any:
        return np.frombuffer(_bytes(data), dtype=kind.dtype(), count=1)[0]


class _Encode(_StandIn):
    __slots__ = ()

    def __call__(self, text: Any, encoding: Any) -> bytes:
        if codecs.lookup(str(encoding)).name not in ("iso8859-1", "utf-8"):
            raise DataError(f"its pickle encodes text as {encoding!r}.")
        return str(text).encode(str(encoding))


class _Dtype:
    """Stands for numpy.dtype: a type code of plain numbers or bytes, or "O"."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any) -> None:
        self.code = str(code)
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    @property
    def is_object(self) -> bool:
        return self.code in ("O", "O4", "O8", "|O")

    def dtype(self) -> np.dtype:
        kind = np.dtype(self.code)
        if kind.kind not in "biufSU" or kind.fields is not None or kind.subdtype is not None:
            raise DataError(f"its pickle holds an array of type {self.code!r}; only numbers and texts are read.")
        return kind.newbyteorder(self.order)


class _Array:
    """Stands for numpy.ndarray: shape, type and content as the pickle states them, made an array in plain sight."""

    __slots__ = ("state",)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        _, shape, kind, fortran, content = self.state
        order = "F" if fortran else "C"
        if not isinstance(kind, _Dtype):
            raise DataError("its pickle holds an array without a type.")
        if not kind.is_object:
            return np.frombuffer(_bytes(content), dtype=kind.dtype()).reshape(shape, order=order)
        if not isinstance(content, list):
            raise DataError("its pickle holds an array of objects without their list.")
        flat = np.empty(len(content), dtype=object)
        for at, entry in enumerate(content):
            flat[at] = entry.array() if isinstance(entry, _Array) else entry
        return flat.reshape(shape, order=order)


def _bytes(data: Any) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else bytes(data)


def _text(name: Any) -> str:
    name = name.item() if isinstance(name, np.generic | np.ndarray) else name
    return name.decode() if isinstance(name, bytes) else str(name)


_KNOWN: dict[tuple[str, str], _StandIn] = {
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy.core.multiarray", "scalar"): _MakeScalar(),
    ("numpy", "ndarray"): _NdarrayName(),
    ("numpy", "dtype"): _MakeDtype(),
    ("_codecs", "encode"): _Encode(),
}
