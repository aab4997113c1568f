"""Hashes of files that did not change, known without reading them: what git does with its index.

A file that was read once is known again by what the system says of it: size, time of its content, time of any change
to it (ctime, which no program sets), inode and device. Times are counted in steps, so a file could be written twice
within one and look the same; one whose times lie within `SETTLED` of when it was read is therefore read again, which
also covers file systems that count in whole seconds or in two. Where the system keeps no such time (Windows), files
are read each time. Whoever can turn back ctime can write the cache as well; it is the user's own, and
`leaderboard --verify` reads everything whatever is remembered.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wtal_bench.errors import RecordError
from wtal_bench.reading import LIMIT, read_bytes

SETTLED = 2_000_000_000
"""Nanoseconds between a file's last change and its being read from which on any later change shows in its times."""

Look = list[int]
"""What the system says of a file: size, mtime and ctime (ns), inode, device."""


class Seen:
    """The files of a folder as they were last read.

    Args:
        root: the folder.
        known: `settled` of an earlier process; none: every file is read.
    """

    def __init__(self, root: Path, known: Mapping[str, list[Any]] | None = None) -> None:
        self._prefix = f"{root}{os.sep}"
        self._known = dict(known or {})
        self.settled: dict[str, list[Any]] = {}
        """Path below the root -> look and hash, of the files asked for that may be known again by their look."""

    def known(self, path: str | Path) -> str | None:
        """SHA-256 (hex) of a file that looks as it did when it was read; None: it must be read."""
        name = str(path).removeprefix(self._prefix)
        there = self.settled.get(name) or self._known.get(name)
        if there is None or there[:-1] != _look(path):
            return None
        self.settled[name] = there
        return there[-1]

    def read(self, path: str | Path, *, hint: str = "", limit: int = LIMIT) -> tuple[bytes, str]:
        """A file's content and its SHA-256 (hex).

        Raises:
            RecordError: it cannot be read (`read_bytes`).
        """
        name = str(path).removeprefix(self._prefix)
        began, look = time.time_ns(), _look(path)
        content = read_bytes(path, kind=RecordError, hint=hint, limit=limit)
        sha256 = hashlib.sha256(content).hexdigest()
        self.settled.pop(name, None)
        if look and max(look[1], look[2]) < began - SETTLED:
            self.settled[name] = [*look, sha256]
        return content, sha256

    def hash(self, path: str | Path) -> str:
        """SHA-256 (hex) of a file, which is read only where it must be.

        Raises:
            RecordError: it cannot be read.
        """
        return self.known(path) or self.read(path)[1]

    @property
    def news(self) -> bool:
        """Whether there is more to remember than what was known before."""
        return self.settled != {name: self._known.get(name) for name in self.settled}


def _look(path: str | Path) -> Look | None:
    if os.name == "nt":  # where st_ctime is when the file was made
        return None
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # whoever reads it says it best
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]
