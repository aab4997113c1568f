"""Writing files so that a crash, a full disk or a second process never leaves half of one."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from wtal_bench.errors import DataError


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success it replaces `path`, on any error it vanishes.

    Args:
        path: the file to write; its folder is created.
        mode: "w" (utf-8 text, newline "\\n") or "wb".

    Raises:
        DataError: the folder cannot be written (read-only, full disk).
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
        with os.fdopen(handle, mode, **text) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}. Check that the disk has room and the folder is "
            "writable; nothing was left half-written."
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with atomic_write(path) as stream:
        stream.write(text)


def write_json(path: str | Path, value: Any, *, indent: int | None = 1) -> None:
    """Write `value` as strict JSON (no NaN, sorted keys) atomically, so equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=indent, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def shipped(name: str) -> Path:
    """A data folder at the top of the repository: `NAME/` of a checkout, which a wheel carries as `wtal_NAME/`."""
    beside = Path(__file__).resolve().parents[1]
    packed = beside / f"wtal_{name}"
    return packed if packed.is_dir() else beside / name
