"""The folder of filed records: one writer at a time, swaps that survive a kill at any moment, and what lies astray.

A record that takes the place of others is written whole in a hidden folder first. Then the others get hidden names,
the new files are moved into place, and the others are removed. Whatever a kill leaves of that is put right by the next
command (`recover`): a hidden record that a filed one repeats is done with, any other gets its name back. Nothing but
the records themselves decides it, so no file can be made up that removes somebody else's row.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from filelock import FileLock

from wtal_bench.errors import RecordError
from wtal_bench.files import cache_folder
from wtal_bench.leaderboard.duplicates import duplicate_problems
from wtal_bench.leaderboard.record import StoredRecord, load_record, read_record, record_paths

REPLACED, STAGING = ".replaced-", ".filing-"
_STORED = re.compile(r"[0-9a-f]{64}\.json\.gz")
_HALF_WRITTEN = re.compile(r"\..+\.json(\.gz)?\.\w{8}")
KEPT_FILES = (".gitkeep", ".gitignore")
"""Files that may lie among the records though they are part of none."""


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """Be the one process that changes the records under `root`; what a killed one left is put right first."""
    place = cache_folder() / "locks"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(
            f"cannot lock {root}: {error.strerror or error}. Set WTAL_CACHE to a folder of yours."
        ) from error
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    with FileLock(place / f"{name}.lock"):
        if _leftovers(root):
            _recover(root)
        yield


def recover(root: Path) -> None:
    """Put right what a killed command left under `root`; nothing happens where nothing was left."""
    if root.is_dir() and _leftovers(root):
        with writing(root):
            pass


def place(folder: Path, write: Callable[[Path], Path], replaced: Callable[[StoredRecord], Iterable[Path]]) -> Path:
    """Put a record and its detections into `folder`, in place of others. Call it within `writing`.

    Args:
        folder: where it goes.
        write: writes both into an empty folder and returns the path of the record.
        replaced: says which filed records it takes the place of, or refuses it.

    Returns:
        The filed record.

    Raises:
        WtalError: what `write` and `replaced` raise; nothing is changed then.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=STAGING) as staging:
            stored = load_record(write(Path(staging)))
            others = list(replaced(stored))
            final = folder / stored.path.name
            for path in others:
                os.replace(path, path.with_name(REPLACED + path.name))
            os.replace(stored.detections_path, folder / stored.detections_path.name)
            os.replace(stored.path, final)
            _remove([path.with_name(REPLACED + path.name) for path in others])
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it holds the record, or somebody else's
                path.rmdir()
    return final


def astray(root: Path, records: Iterable[StoredRecord]) -> list[str]:
    """Say of every file under `root` that belongs to no record what it is; links too, which may lead anywhere."""
    known = {path for item in records for path in (item.path, item.detections_path)}
    found = []
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        found += [f"{here / name} is a link to a folder; records lie in folders of their own" for name in folders
                  if (here / name).is_symlink()]  # fmt: skip
        for path in (here / name for name in files):
            if path not in known and path.name not in KEPT_FILES:
                what = "detections of no filed record" if _STORED.fullmatch(path.name) else "no part of a record"
                found.append(f"{path} is {what}: file it with `leaderboard add`, or remove it")
    return sorted(found)


def _leftovers(root: Path) -> list[Path]:
    """Hidden records, folders of rows that were being filed, and half-written files."""
    found = []
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        found += [here / name for name in folders if name.startswith(STAGING) and not (here / name).is_symlink()]
        found += [here / name for name in files if name.startswith(REPLACED) or _HALF_WRITTEN.fullmatch(name)]
        folders[:] = [name for name in folders if not name.startswith(".")]
    return found


def _recover(root: Path) -> None:
    left = _leftovers(root)
    hidden = [path for path in left if path.name.startswith(REPLACED)]
    others = [path for path in left if path not in hidden]
    filed = [(str(path), record) for path in record_paths(root) if (record := _readable(path)) is not None]
    done = []
    for path in hidden:
        record = _readable(path)
        if record is not None and duplicate_problems([("filed", record), *filed]) != duplicate_problems(filed):
            done.append(path)
        else:
            os.replace(path, path.with_name(path.name.removeprefix(REPLACED)))
    named = [(path.parent, staged) for path in others if path.is_dir() for staged in path.glob("*.json")]
    loose = [(folder, name) for folder, path in named if (name := _detections_of(path))]
    _remove(done)
    _drop(loose)
    for path in others:  # last: they say what else is to be done
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _remove(hidden: Collection[Path]) -> None:
    """Remove replaced records, and their detections unless another record keeps them (equal ones share a file)."""
    _drop([(path.parent, name) for path in hidden if (name := _detections_of(path))], hidden)
    for path in hidden:  # last: while they lie there, what they leave behind is known
        path.unlink(missing_ok=True)


def _drop(loose: Iterable[tuple[Path, str]], going: Collection[Path] = ()) -> None:
    """Remove stored detections, (folder, name), that no record of their folder names but those that are `going`."""
    for folder, name in loose:
        records = (path for path in folder.iterdir() if path.suffix == ".json" and path not in going)
        kept = set(map(_detections_of, records))
        if name not in kept and not (folder / name).is_symlink():
            (folder / name).unlink(missing_ok=True)


def _detections_of(path: Path) -> str:
    """Name of the stored detections a record names; "" where it names none."""
    block = (_readable(path) or {}).get("detections")
    name = block.get("file") if isinstance(block, dict) else None
    return name if isinstance(name, str) and _STORED.fullmatch(name) else ""


def _readable(path: Path) -> dict | None:
    """A record that can be compared with others, or None."""
    try:
        record = read_record(path)
        duplicate_problems([("", record)])
    except (RecordError, KeyError, TypeError, AttributeError):
        return None
    return record
