"""The one way in for files that somebody else may have written: opened, measured, decoded before anything is believed.

Whatever a file holds, these functions return what was asked for or raise a sentence that begins with its path: no pipe
that never ends, no archive that unpacks to a disk full, no text that is none, no number that fits nothing. What the
values mean is for the reader that asked; arrays are opened by `wtal_bench.arrays`.

    content = read_bytes(path, kind=RecordError)         a regular file of bounded size
    text = read_text(path, hint="One class a line.")     UTF-8
    value = read_json(path)                              strict, see `files.parse_json`
    tree = read_yaml(path)                               plain data; no key twice, no bomb of aliases

`kind` is the project's class of error to raise, `hint` ends every text: what would be right, what to do next.
"""

from __future__ import annotations

import io
import os
import stat
import zlib
from pathlib import Path
from typing import Any

from wtal_bench.errors import DataError, WtalError
from wtal_bench.files import JsonError, parse_json

MIB = 1 << 20
GIB = 1 << 30
TEXT_LIMIT = 4 * MIB
"""Bytes of the largest file a person writes: a config, a list of names, published numbers."""
LIMIT = 4 * GIB
"""Bytes of the largest file read whole: 10 million detections are about 1 GiB of JSON."""
RATIO, PLAIN = 200, 64 * MIB
"""How many times its compressed size a file may unpack to, once it is larger than `PLAIN`: JSON gives 5 to 40."""

_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISSOCK: "a socket",
}


def open_file(
    path: str | Path, *, kind: type[WtalError] = DataError, hint: str = "", limit: int = LIMIT
) -> io.BufferedReader:
    """Open a regular file of at most `limit` bytes for reading; nothing else is waited for or read.

    Raises:
        WtalError: of class `kind`: missing, no regular file (a pipe never ends, a device has no end), too large, or
            refused by the system.
    """
    try:
        _check_regular(os.stat(path), path, kind, hint)  # before opening: that alone can set a device to work
        stream = open(path, "rb", opener=_opened)  # noqa: SIM115 - the caller closes it
    except FileNotFoundError as error:
        raise failure(path, "there is no such file", kind, hint) from error
    except OSError as error:
        raise failure(path, f"cannot be read ({error.strerror or error})", kind, hint) from error
    except ValueError as error:  # a name with a NUL in it
        raise failure(repr(str(path)), f"is the name of no file ({error})", kind, hint) from error
    found = os.fstat(stream.fileno())
    try:
        _check_regular(found, path, kind, hint)
        if found.st_size > limit:
            raise failure(path, f"has {size(found.st_size)}, more than the {size(limit)} that are read", kind, hint)
    except WtalError:
        stream.close()
        raise
    return stream


def read_bytes(path: str | Path, *, kind: type[WtalError] = DataError, hint: str = "", limit: int = LIMIT) -> bytes:
    """Read a whole file.

    Raises:
        WtalError: see `open_file`.
    """
    with open_file(path, kind=kind, hint=hint, limit=limit) as stream:
        try:
            return stream.read(limit)
        except OSError as error:
            raise failure(path, f"cannot be read ({error.strerror or error})", kind, hint) from error


def read_text(path: str | Path, *, kind: type[WtalError] = DataError, hint: str = "", limit: int = TEXT_LIMIT) -> str:
    """Read a whole file of UTF-8 text, with or without a byte order mark; line ends become "\\n".

    Raises:
        WtalError: see `open_file`; or it is no UTF-8 text.
    """
    content = read_bytes(path, kind=kind, hint=hint, limit=limit)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise failure(path, f"is no UTF-8 text ({error.reason} at byte {error.start})", kind, hint) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(
    path: str | Path, *, kind: type[WtalError] = DataError, hint: str = "", limit: int = LIMIT, nan: bool = False
) -> Any:
    """Read a file of JSON as strictly as `files.parse_json`.

    Raises:
        WtalError: see `open_file`; or it is no such JSON.
    """
    return decode_json(read_bytes(path, kind=kind, hint=hint, limit=limit), path, kind=kind, hint=hint, nan=nan)


def decode_json(
    content: bytes | str,
    path: str | Path,
    *,
    kind: type[WtalError] = DataError,
    hint: str = "",
    nan: bool = False,
) -> Any:
    """`files.parse_json` for the content of a file: the error names it."""
    try:
        return parse_json(content, nan=nan)
    except JsonError as error:
        raise failure(path, str(error), kind, hint) from error


def read_yaml(path: str | Path, *, kind: type[WtalError] = DataError, hint: str = "") -> Any:
    """Read a file of YAML as plain data: mappings with texts as keys, lists, texts, numbers, truth values, null.

    Dates stay texts. Refused with the line: a key twice in one mapping, an unknown tag, aliases that repeat themselves
    into millions of values, deep nesting, numbers and characters that JSON could not hold.

    Raises:
        WtalError: see `read_text`; or it is no such YAML.
    """
    from wtal_bench.plain_yaml import YamlError, parse_yaml

    text = read_text(path, kind=kind, hint=hint)
    try:
        return parse_yaml(text)
    except YamlError as error:
        raise failure(path, str(error), kind, hint) from error


def gunzip(content: bytes, path: str | Path, *, kind: type[WtalError] = DataError, hint: str = "") -> bytes:
    """Unpack gzip, never to much more than such files hold: see `RATIO`.

    Raises:
        WtalError: damaged, cut off, or a bomb; it is told before more than the bound is in memory.
    """
    parts, total, at = [], 0, 0
    while at < len(content):
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        block = content[at : at + MIB]
        while not member.eof:
            if not block:
                raise failure(path, "is a damaged gzip file: it is cut off", kind, hint)
            at += len(block)
            try:
                part = member.decompress(block, PLAIN)
            except zlib.error as error:
                raise failure(path, f"is a damaged gzip file ({error})", kind, hint) from error
            at -= len(member.unconsumed_tail) + len(member.unused_data)
            parts.append(part)
            total += len(part)
            if total > max(PLAIN, RATIO * at) or total > LIMIT:
                raise failure(
                    path,
                    f"unpacks to more than {size(total)} from {size(at)}, which no such file does; it is not unpacked",
                    kind,
                    hint,
                )
            block = content[at : at + MIB]
        if not content[at:].strip(b"\0"):  # padding, as `gzip` allows
            break
    return b"".join(parts)


def is_file(path: str | Path) -> bool:
    """Whether there is a regular file; False for a name no file can have (`pathlib` raises there)."""
    return os.path.isfile(path)


def size(count: int) -> str:
    """A number of bytes in words."""
    if count < MIB:
        return f"{count} bytes"
    return f"{count / MIB:.0f} MiB" if count < GIB else f"{count / GIB:.1f} GiB"


def failure(path: str | Path, what: str, kind: type[WtalError], hint: str = "") -> WtalError:
    """The error of a file: `PATH: what. hint`."""
    return kind(f"{path}: {what}.{hint and ' ' + hint}")


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe that took the file's place is not waited for


def _check_regular(found: os.stat_result, path: str | Path, kind: type[WtalError], hint: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        what = next((name for test, name in _KINDS.items() if test(found.st_mode)), "something else")
        raise failure(path, f"is {what}, not a file", kind, hint)


def unpickling_reason(error: Exception) -> str:
    """What torch found in a file it did not load, in a line, without its advice to load it in an unsafe way."""
    lines = [line.strip() for line in str(error).splitlines() if "weights_only" not in line and line.strip()]
    return lines[0].partition(" Please ")[0] if lines else type(error).__name__
