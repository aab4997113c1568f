"""Files and folders that are never half there, whatever crashes, fills up or comes second; JSON read strictly."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
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
            with open(path, mode, **text) as stream:
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


class JsonError(ValueError):
    """A text is no JSON this harness reads; says why, as a clause that a sentence with the place can go on with."""


def parse_json(content: str | bytes, *, nan: bool = False) -> Any:
    """Read JSON strictly: no key twice in one object and, unless `nan`, no NaN or Infinity.

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

    try:
        return json.loads(content, object_pairs_hook=unique, parse_constant=not_finite)
    except JsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise JsonError(f"it is not valid JSON ({error}); it may be cut off: copy it again") from error
