"""The texts of a board on which nothing changed, from the user's cache: its files are read and hashed, no more.

The texts are a pure function of what is filed, so a board is known again by content: every file among its records
(hashed anew each time, whatever their sizes and times say), the published numbers, for every record the annotations it
is scored on, hence whether it may be ranked (`rescore.recalled`), the protocols and the names that plugins show, this
code and the libraries it calls. Of a board that differs in anything, nothing is taken from here. Nothing in a
repository counts: the cache is the user's own, and an entry that is damaged or of another version is none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wtal_bench.errors import DataError, RecordError, WtalError
from wtal_bench.files import cache_folder, digest, write_text
from wtal_bench.leaderboard.own import recorded_protocol
from wtal_bench.leaderboard.record import StoredRecord
from wtal_bench.leaderboard.rescore import recalled
from wtal_bench.leaderboard.shelf import KEPT_FILES
from wtal_bench.plugins import titles
from wtal_bench.reading import GIB, read_bytes

_LOG = logging.getLogger("wtal_bench")

KEPT = 8
"""Boards remembered; the oldest make room."""

BESIDE = ("published.csv", "published_gains.csv")
"""What a board's texts are made from beside its records."""

_READ = ("schema", "id", "protocol", "annotations")
"""What of a record says which annotations it is scored on (`rescore.recalled`)."""


@dataclass(frozen=True)
class Known:
    """What a board of these very files was rendered to.

    Attributes:
        texts: text of every generated file by name.
        whole: whether no record lacked a column then, so that `filing.complete` has nothing to do.
    """

    texts: dict[str, str]
    whole: bool


def recall(folder: Path, annotations: Iterable[str | Path] = ()) -> Known | None:
    """What is known of a board whose files, annotations and code are those that were rendered before; None otherwise.

    Args:
        folder: the leaderboard's folder.
        annotations: annotation files to score on; others are found by themselves.
    """
    entry = _read(_place(folder))
    if entry is None or entry["files"] != _files(folder) or entry["beside"] != beside(folder):
        return None
    root = folder / "records"
    records = [StoredRecord(root / item["path"], item["record"], item["content"]) for item in entry["records"]]
    try:
        if entry["rules"] != _rules(records):
            return None
        scored = recalled(records, annotations, [item["unverified"] for item in entry["records"]])
    except WtalError:  # whoever reads the board itself says it best
        return None
    return Known(entry["texts"], entry["whole"]) if scored else None


def remember(
    folder: Path, records: Sequence[StoredRecord], made_beside: Mapping[str, str], texts: Mapping[str, str], whole: bool
) -> None:
    """Keep what a board with records was rendered to; a cache that cannot be written is none.

    Args:
        folder: the leaderboard's folder.
        records: what was rendered, as `rescore.rescored` returned it.
        made_beside: `beside` from before the files were read; nothing is kept if it has changed since.
        texts: text of every generated file by name.
        whole: whether no record lacks a column.
    """
    if not records or made_beside != beside(folder):
        return
    root, files, items = folder / "records", {}, []
    for stored in records:
        path = stored.path.relative_to(root)
        files[path.as_posix()] = stored.content
        files[stored.detections_path.relative_to(root).as_posix()] = stored.record["detections"]["sha256"]
        part = {key: stored.record[key] for key in _READ}
        items.append(
            {"path": path.as_posix(), "content": stored.content, "unverified": stored.unverified, "record": part}
        )
    entry = {
        "files": files,
        "beside": dict(made_beside),
        "records": items,
        "rules": _rules(records),
        "texts": dict(texts),
        "whole": whole,
    }
    text = json.dumps(entry)
    place = _place(folder)
    try:
        write_text(place, f"{_sealed(text)}\n{text}")
        for old in sorted(place.parent.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)[:-KEPT]:
            old.unlink(missing_ok=True)
    except (DataError, OSError) as error:
        _LOG.debug("%s", error)


def beside(folder: Path) -> dict[str, str]:
    """Hashes of the files that a board's texts are made from beside its records; "" for one that is not there."""
    found = {}
    for name in BESIDE:
        path = folder / name
        found[name] = hashlib.sha256(read_bytes(path, kind=RecordError)).hexdigest() if path.exists() else ""
    return found


def _files(folder: Path) -> dict[str, str] | None:
    """Hash of every file among the records by its path; None where one is a link or cannot be read."""
    root, found = folder / "records", {}
    for place, folders, files in os.walk(root):
        here = Path(place)
        paths = [here / name for name in files if name not in KEPT_FILES]
        if any(path.is_symlink() for path in (*paths, *(here / name for name in folders))):
            return None
        try:
            for path in paths:
                content = read_bytes(path, kind=RecordError)
                found[path.relative_to(root).as_posix()] = hashlib.sha256(content).hexdigest()
        except RecordError:
            return None
    return found


def _rules(records: Iterable[StoredRecord]) -> str:
    """Hash of what protocols and plugins say that shows on a board, as they stand in this process."""
    blocks = {json.dumps(stored.record["protocol"], sort_keys=True): stored.record["protocol"] for stored in records}
    protocols = [recorded_protocol(blocks[key]) for key in sorted(blocks)]
    says = []
    for protocol in protocols:
        presets = [[preset.name, preset.hash] for preset in protocol.presets]
        contents = {name: split.content for name, split in protocol.splits.items()}
        says.append([protocol.name, protocol.hash, presets, contents])
    return digest([says, [[name, title.method, dict(title.words)] for name, title in titles().items()]])


def _place(folder: Path) -> Path:
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return cache_folder() / "boards" / f"{name}.json"


def _read(path: Path) -> dict[str, Any] | None:
    """An entry that this very code wrote whole."""
    try:
        seal, _, text = read_bytes(path, limit=GIB).decode().partition("\n")
    except (WtalError, UnicodeDecodeError):
        return None
    return json.loads(text) if seal == _sealed(text) else None


def _sealed(text: str) -> str:
    return hashlib.sha256(f"{_code()}\n{text}".encode()).hexdigest()


@cache
def _code() -> str:
    """Hash of all files of this package, and of what computes and prints beside it."""
    package = Path(__file__).resolve().parents[1]
    files = sorted(path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    content = {path.relative_to(package).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return digest([content, sys.version, *map(version, ("numpy", "scipy", "pandas"))])
