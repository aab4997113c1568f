"""Files and folders that are never half there, whatever crashes or comes second; plain data, read strictly."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from wtal_bench.errors import DataError
from wtal_bench.temporary import swap, temporary_for


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success it replaces `path`, on any error it vanishes.

    A device or pipe (/dev/stdout) is written to, not replaced; so is what a symbolic link points at.

    Args:
        path: the file to write; its folder is created.
        mode: "w" (utf-8 text, newline "\\n") or "wb".

    Raises:
        DataError: the folder cannot be written (read-only, full disk).
    """
    path = Path(path)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            with open(path, mode, opener=_without_waiting, **text) as stream:
                yield stream
            return
        target = Path(os.path.realpath(path))
        with temporary_for(target) as temporary:
            with open(temporary, mode, **text) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, target)
    except UnicodeEncodeError as error:
        strange = error.object[error.start : error.end]
        raise DataError(
            f"cannot write {path}: {strange!r} in it is no Unicode: a file name or a command line is not in the "
            "encoding of this terminal (set LC_ALL=C.UTF-8, say)."
        ) from error
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}. Check that the disk has room and the folder is "
            "writable; nothing was left half-written."
        ) from error


def _without_waiting(path: str, flags: int) -> int:
    """Open a pipe for writing; one that nobody reads is refused, where `open` would wait for ever."""
    number = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if hasattr(os, "set_blocking"):
        os.set_blocking(number, True)
    return number


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with atomic_write(path) as stream:
        stream.write(text)


def write_json(path: str | Path, value: Any, *, indent: int | None = 1) -> None:
    """Write `value` as strict JSON (no NaN, sorted keys) atomically, so equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=indent, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def expand(path: str | Path) -> Path:
    """A path with `~` as the user's home; where nothing says where that is, as it stands (and so it is not found)."""
    return Path(os.path.expanduser(path))


def shipped(name: str) -> Path:
    """A data folder at the top of the repository: `NAME/` of a checkout, which a wheel carries as `wtal_NAME/`."""
    beside = Path(__file__).resolve().parents[1]
    packed = beside / f"wtal_{name}"
    return packed if packed.is_dir() else beside / name


def cache_folder() -> Path:
    """Return where what can be made again is kept: `$WTAL_CACHE`, else `~/.cache/wtal_bench`; without a home, /tmp."""
    named = os.environ.get("WTAL_CACHE")
    if named:
        return expand(named)
    usual = expand("~/.cache/wtal_bench")
    return usual if usual.is_absolute() else Path(tempfile.gettempdir()) / f"wtal_bench-{getattr(os, 'getuid', int)()}"


def move_into_place(staging: Path, folder: Path, *, replace: bool, same: Callable[[], bool]) -> None:
    """Give a finished folder, made by `temporary_for(folder)`, its own name in one step.

    Args:
        staging: the finished folder; it stays where `folder` turns out to be there already.
        folder: where it goes.
        replace: let what lies there have the name `staging`, which its maker throws away.
        same: whether what lies at `folder` is as good, because another process was faster; then it stays.

    Raises:
        OSError: something else lies there, or the disk refuses; what lay there is left as it was.
    """
    if replace and folder.exists():
        if not same():
            swap(staging, folder)
        return
    try:
        os.rename(staging, folder)
    except OSError:
        if not (folder.exists() and same()):
            raise


def canonical_json(value: Any) -> str:
    """Return the one strict JSON text of `value`: sorted keys, no spaces, no NaN.

    Raises:
        TypeError, ValueError: `value` holds something JSON cannot, or NaN / Infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of `value`: equal values have equal ones, on every machine."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


MAX_DEPTH = 100
"""Levels a file of data may be nested: deeper ones crash what walks them, and none that means something is."""


class JsonError(ValueError):
    """A text is no JSON this harness reads; says why, as a clause that a sentence with the place can go on with."""


def parse_json(content: str | bytes, *, nan: bool = False) -> Any:
    """Read JSON strictly: no key twice in one object, no number that 64 bits cannot hold, no broken character.

    Args:
        content: the text; bytes are decoded as the standard says.
        nan: take NaN, Infinity and numbers beyond 64 bits, for a reader that tells of them itself.

    Raises:
        JsonError: saying what is wrong; the caller adds which file it is.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise JsonError(f"the key {twice!r} stands twice in one JSON object; keep one of the two")
        return value

    def not_finite(word: str) -> float:
        if nan:
            return float(word)
        raise JsonError(f"it holds {word}, which is no JSON number: numbers must be finite, null is an undefined one")

    def finite(word: str) -> float:
        number = float(word)
        if number - number != 0:
            raise JsonError(f"it holds the number {_cut(word)}, which no float can hold")
        return number

    def whole(word: str) -> int:
        if len(word) < 19:
            return int(word)
        if len(word) > 20 or not fits(int(word)):
            raise JsonError(f"it holds the whole number {_cut(word)}, which 64 bits cannot hold")
        return int(word)

    try:
        text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
        if _nesting(content if isinstance(content, bytes) and content.isascii() else text) > MAX_DEPTH:
            raise JsonError(f"it is not valid JSON for this harness: nested more than {MAX_DEPTH} deep")
        rules = {} if nan else {"parse_int": whole}
        if not nan and _may_overflow(text):  # asked once, as asking every number takes longer than reading it
            rules["parse_float"] = finite
        value = json.loads(text, object_pairs_hook=unique, parse_constant=not_finite, **rules)
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError(f"it is not valid JSON: no UTF-8 text ({error.reason} at byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        raise JsonError(f"it is not valid JSON ({error}); it may be cut off: copy it again") from error
    if _BROKEN_ESCAPE.search(text) and (problem := unplain(value, numbers=False)):
        raise JsonError(problem)
    return value


_LARGE_EXPONENT = re.compile(r"[eE]\+?\d{3,}\s*(?:[,\]}]|$)")
_LONG = 100


def _may_overflow(text: str) -> bool:
    """Whether a JSON text may hold a number beyond floats: one from 1e100 on has such an exponent or 100 digits.

    Below both it stays under 1e99 times 1e200. A run of 200 digits fills one of the pieces of 100.
    """
    pieces = (text[at : at + _LONG] for at in range(0, len(text), _LONG))
    return _LARGE_EXPONENT.search(text) is not None or any(piece.isdecimal() for piece in pieces)


_BROKEN_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _nesting(text: str | bytes) -> int:
    """How deep the brackets of a JSON text are nested, found without parsing it."""
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    depth = _depth(content)
    return depth if depth <= MAX_DEPTH else _depth(_STRING.sub(b"", content))


def _depth(content: bytes) -> int:
    brackets = content.translate(None, _NO_BRACKET)
    if brackets.count(b"[") + brackets.count(b"{") <= MAX_DEPTH:
        return 0
    import numpy as np

    steps = (np.frombuffer(brackets, dtype=np.int8) & 2) - np.int8(1)  # "[" and "{" have this bit, "]" and "}" not
    return int(np.cumsum(steps, dtype=np.int32).max())


def fits(number: int) -> bool:
    """Whether 64 bits hold a whole number: what JSON of other programs, arrays and records can hold."""
    return -(2**63) <= number < 2**64


def unplain(value: Any, *, numbers: bool = True) -> str:
    """Say what is the first thing in nested data that a file of ours cannot hold, after its key path; "" for nothing.

    Plain are texts without broken characters, finite numbers (whole ones of 64 bits), truth values, None, and lists,
    tuples and mappings (with texts as keys) of such, nested at most `MAX_DEPTH` deep.

    Args:
        value: the data.
        numbers: look at numbers and at kinds of value too; False looks for broken characters alone.
    """
    return _unplain(value, numbers, (), ())


def _unplain(value: Any, numbers: bool, keys: tuple[str, ...], above: tuple[int, ...]) -> str:
    what = ""
    if isinstance(value, str):
        what = "" if value.isascii() or _encodes(value) else f"{value!r:.80} {_BROKEN}"
    elif isinstance(value, (Mapping, list, tuple)):
        if id(value) in above:
            what = "holds itself; write out what it should be"
        elif len(keys) >= MAX_DEPTH:
            what = f"is nested more than {MAX_DEPTH} deep"
        else:
            mapping = isinstance(value, Mapping)
            what = next(filter(None, map(_unnamed, value)), "") if mapping else ""
            for key, item in () if what else value.items() if mapping else enumerate(value):
                if inner := _unplain(item, numbers, (*keys, str(key)), (*above, id(value))):
                    return inner
    elif numbers and isinstance(value, float):
        what = "" if value - value == 0 else f"expected a finite number, got {value}"
    elif numbers and isinstance(value, int):
        what = "" if fits(value) else "is a whole number that 64 bits cannot hold"
    elif numbers and value is not None:
        what = f"is a {type(value).__name__}, not a text, number, truth value, None, list or mapping"
    place = ".".join(keys)
    return what and (f"{place if len(place) <= 200 else place[:200] + '...'}: {what}" if keys else f"it {what}")


def _unnamed(key: Any) -> str:
    if not isinstance(key, str):
        return f"{key!r:.80} cannot be the name of anything; names are texts"
    return "" if key.isascii() or _encodes(key) else f"the name {key!r:.80} {_BROKEN}"


_BROKEN = "holds bytes that are no text here; give it in UTF-8 (PYTHONUTF8=1)"


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cut(word: str) -> str:
    return word if len(word) <= 30 else f"{word[:12]}... ({len(word)} digits)"
