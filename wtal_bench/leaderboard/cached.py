"""A board's folder in the user's cache: texts that this very code wrote whole, or nothing.

Nothing in a repository counts: the cache is the user's own, and a file that is damaged or of another version is none.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from wtal_bench.errors import WtalError
from wtal_bench.files import atomic_write, cache_folder, digest
from wtal_bench.reading import GIB, read_bytes

KEPT = 8
"""Boards remembered; the oldest make room."""


def board_cache(folder: Path) -> Path:
    """Where things of a board are kept."""
    return cache_folder() / "boards" / hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


def read_sealed(path: Path) -> str | None:
    """What `write_sealed` wrote there as this very code; None otherwise."""
    try:
        seal, _, content = read_bytes(path, limit=GIB).partition(b"\n")
    except WtalError:
        return None
    return content.decode() if seal == _sealed(content) else None


def write_sealed(path: Path, text: str) -> None:
    """Write a text under a hash of it and of this code, atomically.

    Raises:
        DataError: the cache cannot be written.
    """
    content = text.encode()
    with atomic_write(path, "wb") as stream:
        stream.writelines((_sealed(content), b"\n", content))


def make_room(place: Path) -> None:
    """Remove the boards that were remembered longest ago, but for `KEPT`.

    Raises:
        OSError: the cache cannot be written.
    """
    place.touch()
    for old in sorted(place.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)[:-KEPT]:
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)


def _sealed(content: bytes) -> bytes:
    found = hashlib.sha256(_code().encode())
    found.update(content)
    return found.hexdigest().encode()


@cache
def _code() -> str:
    """Hash of all files of this package, and of what computes and prints beside it."""
    package = Path(__file__).resolve().parents[1]
    files = sorted(path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    content = {path.relative_to(package).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return digest([content, sys.version, *map(version, ("numpy", "scipy", "pandas"))])
