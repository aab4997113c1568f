"""Temporary files and folders that say whether their maker still lives, and a swap that no kill can come between.

A file or folder is made under a hidden name beside the one it is for, `.<name>.<12 hex digits>.tmp`, and locked by its
maker as long as that process lives. What carries no lock was left by a process that was killed: whoever writes the
same name next removes it. Where the system knows no such locks (Windows), nothing is taken for dead.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TEMPORARY, _OLD = "tmp", "old"


@contextlib.contextmanager
def temporary_for(target: Path, *, folder: bool = False) -> Iterator[Path]:
    """Make a hidden file or folder beside `target` and lock it; whatever has that name at the end is removed.

    Args:
        target: what it will become; its folder is created.
        folder: make a folder.

    Raises:
        OSError: it cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    path, lock = _make(target, folder)
    try:
        yield path
    finally:
        _remove(path)
        if lock is not None:
            os.close(lock)


def sweep(target: Path) -> None:
    """Remove what killed writers of `target` left; what a living one holds, and what may be all there is, stays."""
    restore(target)
    kinds = [_TEMPORARY, *([_OLD] if target.exists() else [])]
    for path in [path for kind in kinds for path in _beside(target, kind)]:
        with contextlib.suppress(OSError), _dead(path) as dead:
            if dead:
                _remove(path)


def swap(new: Path, target: Path) -> None:
    """Let a folder made by `temporary_for(target)` and `target` change places: at every moment one of them is there.

    Linux and macOS exchange two names in one step. Elsewhere, and on file systems that cannot, `target` moves away
    first; if the process is killed just then, `restore` brings it back.

    Raises:
        OSError: the disk refuses; `target` is as it was.
    """
    if _exchange(new, target):
        return
    old = new.with_suffix(f".{_OLD}")
    lock = _lock(target)
    try:
        os.rename(target, old)
        try:
            os.rename(new, target)
        except OSError:
            os.rename(old, target)
            raise
        os.rename(old, new)
    finally:
        if lock is not None:
            os.close(lock)


def restore(target: Path) -> bool:
    """Bring back a folder whose swap was killed half-way; return whether `target` is there now."""
    if os.path.exists(target):  # False, too, for a name no file can have
        return True
    for old in _beside(target, _OLD):
        with contextlib.suppress(OSError), _dead(old) as dead:
            if dead:
                os.rename(old, target)
    return os.path.exists(target)


def _make(target: Path, folder: bool) -> tuple[Path, int | None]:
    while True:
        path = target.parent / f".{target.name}.{uuid.uuid4().hex[:12]}.{_TEMPORARY}"
        if folder:
            path.mkdir()
        else:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            lock = _lock(path)
        except (FileNotFoundError, BlockingIOError):
            continue  # somebody swept just before it was locked, and took it for a dead one's
        if lock is None or path.exists():
            return path, lock
        os.close(lock)


def _lock(path: Path) -> int | None:
    """Lock a file or folder for this process; None where the system or the file system has no such locks.

    Raises:
        BlockingIOError: another process holds it.
        FileNotFoundError: it is gone.
    """
    if fcntl is None:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return handle


@contextlib.contextmanager
def _dead(path: Path) -> Iterator[bool]:
    """Whether nobody holds a temporary; it stays locked inside, so that no two sweep it."""
    try:
        lock = _lock(path)
    except OSError:
        lock = None
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _beside(target: Path, kind: str) -> list[Path]:
    """The hidden files and folders of one kind that belong to `target`."""
    named = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{12}}\.{kind}")
    try:
        with os.scandir(target.parent) as entries:
            return [Path(entry.path) for entry in entries if named.fullmatch(entry.name)]
    except OSError:
        return []


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _exchange(left: Path, right: Path) -> bool:
    """Exchange two names in one step, where the system and the file system can."""
    name, flag = {"linux": ("renameat2", 2), "darwin": ("renamex_np", 2)}.get(sys.platform, ("", 0))
    call = getattr(ctypes.CDLL(None), name, None) if name else None
    if call is None:
        return False
    first, second = os.fsencode(left), os.fsencode(right)
    if name == "renamex_np":
        return call(ctypes.c_char_p(first), ctypes.c_char_p(second), ctypes.c_uint(flag)) == 0
    here = ctypes.c_int(-100)  # AT_FDCWD: relative names count from the current folder
    return call(here, ctypes.c_char_p(first), here, ctypes.c_char_p(second), ctypes.c_uint(flag)) == 0


__all__ = ["restore", "swap", "sweep", "temporary_for"]
