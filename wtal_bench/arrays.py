"""Arrays of other people: .npy files and .npz archives, opened without believing what their headers say.

numpy's own reader takes a header's word for how much memory to ask for, unpacks any archive to its end, and fails in
its own ways on crafted headers. Here the header is read as data, and the bytes it promises must be there.
"""

from __future__ import annotations

import ast
import io
import math
import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from wtal_bench.errors import DataError, WtalError, did_you_mean, listing
from wtal_bench.reading import GIB, PLAIN, RATIO, failure, open_file, size

LIMIT = 64 * GIB
"""Bytes of the largest array file that is opened; it is mapped, or read as the reader asks."""
AGAIN = "Copy or extract it again."
_MAGIC = b"\x93NUMPY"
_HEADER_LIMIT = 10_000
_KINDS = "biufSU"
"""Kinds of type an array may have: truth values, numbers, texts."""


@dataclass(frozen=True)
class Header:
    """What an .npy file says of itself, checked against its size.

    Attributes:
        shape, dtype: of the array; an object array has dtype object and its content is a pickle.
        fortran: stored column by column.
        offset: bytes before the content.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the content; of an object array unknown, 0."""
        return 0 if self.dtype.hasobject else self.count * self.dtype.itemsize


def read_header(
    stream: BinaryIO, length: int, path: str | Path, *, kind: type[WtalError] = DataError, hint: str = AGAIN
) -> Header:
    """Read the header of an .npy file of `length` bytes and leave the stream at the content.

    Raises:
        WtalError: no such file, a crafted or cut-off header, or content that is not there.
    """
    try:
        return _header(stream, length)
    except _NoHeaderError as error:
        raise failure(path, f"{error}", kind, hint) from error


def read_npy(path: str | Path, *, kind: type[WtalError] = DataError, mapped: str = "") -> np.ndarray:
    """Read an .npy file of plain numbers or texts, or map it: "r" read-only, "c" with changes that stay in memory.

    Raises:
        WtalError: no regular file, damaged, cut off, or an array of Python objects, which only a pickle can hold.
    """
    with open_file(path, kind=kind, limit=LIMIT, hint="Give an .npy file, as numpy.save writes it.") as stream:
        header = read_header(stream, _length(stream), path, kind=kind)
        _refuse_objects(header, path, kind)
        order = "F" if header.fortran else "C"
        if mapped and header.count:
            return np.memmap(stream, header.dtype, mapped, header.offset, header.shape, order)
        array = np.fromfile(stream, header.dtype, header.count)
        if len(array) != header.count:
            raise failure(path, "was cut off while it was read", kind)
        return array.reshape(header.shape, order=order)


def read_npz(path: str | Path, keys: Sequence[str], *, kind: type[WtalError] = DataError) -> list[np.ndarray]:
    """Read some arrays of an .npz archive.

    Raises:
        WtalError: no regular file, damaged, a missing array, or one that unpacks to more than it can hold.
    """
    with open_file(path, kind=kind, limit=LIMIT) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                for key in keys:
                    if key not in members:
                        raise failure(
                            path,
                            f"has no array {key!r}, it holds {listing(members)}",
                            kind,
                            f"{did_you_mean(key, members).strip()} Name the arrays with --keys.".strip(),
                        )
                return [_member(archive, members[key], f"{path}: array {key!r}", kind) for key in keys]
        except WtalError:
            raise
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, *_ZIP_SURPRISES) as error:
            raise failure(path, f"is a damaged archive ({error})", kind, AGAIN) from error


_ZIP_SURPRISES = (ValueError, RuntimeError, NotImplementedError, LookupError, OverflowError, AttributeError)
"""What `zipfile` raises beside its own error for encrypted members, unknown methods and crafted directories."""


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str, kind: type[WtalError]) -> np.ndarray:
    if info.file_size > max(PLAIN, RATIO * info.compress_size):
        raise failure(
            where,
            f"unpacks to {size(info.file_size)} from {size(info.compress_size)}, which no features do",
            kind,
        )
    with archive.open(info) as stream:
        header = read_header(stream, info.file_size, where, kind=kind)
        _refuse_objects(header, where, kind)
        content = stream.read(header.nbytes)
    if len(content) != header.nbytes:
        raise failure(where, "is truncated", kind, AGAIN)
    order = "F" if header.fortran else "C"
    return np.frombuffer(content, header.dtype, header.count).reshape(header.shape, order=order)


def plain_dtype(code: Any) -> np.dtype | None:
    """The type that a code such as "<f4" names, if it is one of truth values, numbers or texts."""
    if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?[A-Za-z?][0-9]{0,6}", code):
        return None
    try:
        kind = np.dtype(code)
    except (TypeError, ValueError):
        return None
    return kind if kind.kind in _KINDS and kind.itemsize else None


class _NoHeaderError(ValueError):
    pass


def _header(stream: BinaryIO, length: int) -> Header:
    start = stream.read(8)
    if start[:6] != _MAGIC or len(start) < 8 or start[6] not in (1, 2, 3):
        raise _NoHeaderError("is no .npy file, or truncated: it does not begin like one")
    width = 2 if start[6] == 1 else 4
    count = int.from_bytes(stream.read(width), "little")
    if not 0 < count <= _HEADER_LIMIT:
        raise _NoHeaderError(f"has a header of {count} bytes, which no array has")
    text = stream.read(count)
    offset = 8 + width + count
    if len(text) != count:
        raise _NoHeaderError("is truncated in its header")
    shape, fortran, code = _fields(text.decode("utf-8" if start[6] == 3 else "latin1", "replace"))
    kind = np.dtype(object) if code in ("O", "|O") else plain_dtype(code)
    if kind is None:
        raise _NoHeaderError(f"holds an array of type {code!r:.60}; only numbers and texts are read")
    header = Header(shape, kind, fortran, offset)
    if header.nbytes > length - offset:
        raise _NoHeaderError(
            f"says it holds an array of shape {shape} and type {kind}, {size(header.nbytes)}, but has only "
            f"{size(max(0, length - offset))} for it: it is truncated"
        )
    if kind.hasobject and header.count > length:
        raise _NoHeaderError(f"says it holds {header.count} objects, more than it has bytes")
    return header


def _fields(text: str) -> tuple[tuple[int, ...], bool, Any]:
    """Shape, order and type code: the header is the text of a Python dict, read as a literal."""
    try:
        value = ast.literal_eval(re.sub(r"(?<=[0-9])L\b", "", text).strip())  # Python 2 wrote long ones as 10L
        shape, fortran, code = value["shape"], value["fortran_order"], value["descr"]
    except (ValueError, SyntaxError, TypeError, LookupError, MemoryError, RecursionError):
        raise _NoHeaderError("has a damaged header") from None
    sound = isinstance(shape, tuple) and len(shape) <= 32 and all(type(axis) is int and axis >= 0 for axis in shape)
    if not sound or not isinstance(fortran, bool) or math.prod(axis or 1 for axis in shape) >= 2**62:
        raise _NoHeaderError(f"has a damaged header: no array has the shape {shape!r:.80}")
    return shape, fortran, code


def _refuse_objects(header: Header, path: str | Path, kind: type[WtalError]) -> None:
    if header.dtype.hasobject:
        raise failure(
            path,
            "is an array of Python objects, which would have to be unpickled; that can run code, so it is refused",
            kind,
            "Save plain [T,D] arrays; a W-TALC release is read with --format wtalc.",
        )


def _length(stream: io.BufferedReader) -> int:
    return os.fstat(stream.fileno()).st_size
