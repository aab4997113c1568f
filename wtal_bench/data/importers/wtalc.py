"""Reading the W-TALC release: an .npy object array with one feature array a video, and lists of names beside it.

Object arrays can only be unpickled, and an ordinary unpickler runs whatever a file tells it to. The one here builds
plain arrays in Python from the bytes of the file and knows no other class or function, so a crafted file can at worst
be refused.
"""

from __future__ import annotations

import codecs
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.arrays import LIMIT, plain_dtype, read_header, read_npy
from wtal_bench.errors import DataError
from wtal_bench.files import MAX_DEPTH
from wtal_bench.reading import is_file, open_file
from wtal_bench.structures import FeatureSource, RawVideo

TAG_LISTS = ("labels", "labels_all")
"""Lists of tags a release may hold: the labels of the segments, and those its authors trained on."""


def is_release(features: Path, annotations: Path) -> bool:
    """Whether a file and a folder look like a W-TALC release."""
    return features.is_file() and features.suffix == ".npy" and (annotations / "videoname.npy").is_file()


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
    named = folder / "videoname.npy"
    names = [_text(name, f"{named}: entry {at}") for at, name in enumerate(_column(named))]
    timed = folder / "duration.npy"
    durations = _column(timed) if is_file(timed) else [None] * len(names)
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
        duration = _seconds(durations[at], f"{timed}: entry {at} (video {names[at]!r})") if is_file(timed) else None
        return RawVideo(names[at], (array,), f"{path}, entry {at}", duration)

    return FeatureSource(tuple(names), ("features",), read, _tags(folder, names))


def _tags(folder: Path, names: list[str]) -> dict[str, dict[str, list[str]]]:
    """The lists of tags of a release: name -> video id -> class names, each once, in their order."""
    found = {}
    for name in TAG_LISTS:
        path = folder / f"{name}.npy"
        if not is_file(path):
            continue
        rows = _column(path)
        if len(rows) != len(names):
            raise DataError(f"{path} holds {len(rows)} videos, videoname.npy beside it {len(names)}; copy both again.")
        found[name] = {video: _texts(row, f"{path}: video {video!r}") for video, row in zip(names, rows)}
    return found


def _texts(row: Any, place: str) -> list[str]:
    """One video's class names, each once: a list or an array of texts."""
    row = row.ravel().tolist() if isinstance(row, np.ndarray) else row
    if not isinstance(row, (list, tuple)):
        raise DataError(f"{place} has the tags {row!r:.80}; needed: a list of class names.")
    return list(dict.fromkeys(_text(name, place) for name in row))


def _text(name: Any, place: str) -> str:
    name = _lone(name)
    try:
        name = name.decode() if isinstance(name, bytes) else name
    except UnicodeDecodeError:
        raise DataError(f"{place}: {name!r:.80} is no UTF-8 text.") from None
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise DataError(f"{place}: {name!r:.80} is no name; needed: a printable text.")
    return name


def _seconds(value: Any, place: str) -> float:
    number = _lone(value)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 < number < float("inf"):
        raise DataError(f"{place}: the duration is {number!r:.80}; needed: a number of seconds above 0.")
    return float(number)


def _lone(value: Any) -> Any:
    """The one thing in an array of a single entry, as Python's own; anything else as it is."""
    while isinstance(value, (np.generic, np.ndarray)) and value.size == 1:
        value = value.item()
    return value


def _column(path: Path) -> list:
    """Return an .npy file's entries along its first axis, arrays of objects included."""
    with open_file(path, limit=LIMIT, hint="A W-TALC release has it.") as stream:
        header = read_header(stream, path.stat().st_size, path)
        if not header.dtype.hasobject:
            array = read_npy(path)
        else:
            try:
                array = load_object_array(stream)
            except DataError as error:
                raise DataError(f"{path}: {error}") from error
    if array.shape != header.shape:
        raise DataError(f"{path}: its header says shape {header.shape}, its content has {array.shape}; it is damaged.")
    if not array.ndim:
        raise DataError(f"{path}: holds a single value; needed: one entry a video.")
    return list(array.ravel(order="F" if header.fortran else "C") if header.dtype.hasobject else array)


def load_object_array(stream: Any) -> np.ndarray:
    """Unpickle one array of arrays, numbers and texts from a binary stream.

    Raises:
        DataError: the pickle asks for anything else, or is damaged.
    """
    try:
        value = _ArraysOnly(stream, encoding="latin1").load()
        if isinstance(value, _Array):
            return value.array(MAX_DEPTH)
    except DataError:
        raise
    except Exception as error:  # a crafted or damaged pickle can fail in any way at all
        raise DataError(f"its pickled content cannot be read ({type(error).__name__}: {error!s:.200}).") from error
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
        return np.frombuffer(_bytes(data), dtype=_kind_of(kind).dtype(), count=1)[0]


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
        kind = plain_dtype(self.code)
        if kind is None:
            raise DataError(f"its pickle holds an array of type {self.code!r:.60}; only numbers and texts are read.")
        return kind.newbyteorder(self.order)


class _Array:
    """Stands for numpy.ndarray: shape, type and content as the pickle states them, made an array in plain sight."""

    __slots__ = ("made", "state")

    def __init__(self) -> None:
        self.made: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        self.state, self.made = state, None

    def array(self, depth: int) -> np.ndarray:
        """Make it, once, however often the pickle refers to it; at most `depth` arrays within one another."""
        if self.made is None:
            if not depth:
                raise DataError("its pickle holds arrays within arrays without end.")
            _, shape, kind, fortran, content = self.state
            if not (isinstance(shape, tuple) and all(type(axis) is int and axis >= 0 for axis in shape)):
                raise DataError(f"its pickle holds an array of shape {shape!r:.80}.")
            flat = self._objects(content, depth) if _kind_of(kind).is_object else self._numbers(content, kind, shape)
            self.made = flat.reshape(shape, order="F" if fortran else "C")
        return self.made

    @staticmethod
    def _numbers(content: Any, kind: _Dtype, shape: tuple[int, ...]) -> np.ndarray:
        count = math.prod(shape)
        return np.frombuffer(_bytes(content), dtype=kind.dtype()) if count else np.zeros(0, kind.dtype())

    @staticmethod
    def _objects(content: Any, depth: int) -> np.ndarray:
        if not isinstance(content, list):
            raise DataError("its pickle holds an array of objects without their list.")
        flat = np.empty(len(content), dtype=object)
        for at, entry in enumerate(content):
            flat[at] = _entry(entry, depth)
        return flat


def _entry(entry: Any, depth: int) -> Any:
    """An entry of an object array: an array, a number, a text, or a list of these."""
    if isinstance(entry, _Array):
        return entry.array(depth - 1)
    if isinstance(entry, (list, tuple)):
        return [item.array(depth - 1) if isinstance(item, _Array) else item for item in entry]
    if isinstance(entry, (str, bytes, int, float, np.generic)):
        return entry
    raise DataError(f"its pickle holds a {type(entry).__name__} among its arrays.")


def _kind_of(kind: Any) -> _Dtype:
    if not isinstance(kind, _Dtype):
        raise DataError("its pickle holds an array without a type.")
    return kind


def _bytes(data: Any) -> bytes:
    """The content of an array: bytes, or a text of Python 2's; a number would become so many zeros."""
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)):
        raise DataError(f"its pickle holds an array whose content is a {type(data).__name__}.")
    return bytes(data)


_KNOWN: dict[tuple[str, str], _StandIn] = {
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy.core.multiarray", "scalar"): _MakeScalar(),
    ("numpy", "ndarray"): _NdarrayName(),
    ("numpy", "dtype"): _MakeDtype(),
    ("_codecs", "encode"): _Encode(),
}
