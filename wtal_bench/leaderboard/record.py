"""Writing and reading records: one JSON a run, with its detections compressed beside it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from wtal_bench.errors import RecordError
from wtal_bench.evaluation import write_detections
from wtal_bench.files import parse_json, write_json
from wtal_bench.leaderboard.identity import hash_config, record_id
from wtal_bench.leaderboard.validate import SCHEMA, check_record, duplicate_problems, file_problems, filing_problems
from wtal_bench.structures import Detections
from wtal_bench.temporary import temporary_for

SHOWN = 8
"""Refused records named at once; what breaks more is mostly one cause."""


def store_detections(
    folder: str | Path, videos: Mapping[str, Detections], classes: Iterable[str], version: str
) -> dict[str, Any]:
    """Write `<sha256 of the file>.json.gz` into `folder`, atomically; return the record's `detections` block.

    Equal detections give equal bytes, hence one file (gzip without a time stamp).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with temporary_for(folder / "detections", folder=True) as scratch:
        temporary = scratch / "detections.json.gz"
        write_detections(temporary, videos, tuple(classes), version)
        sha256 = hashlib.sha256(temporary.read_bytes()).hexdigest()
        os.replace(temporary, folder / f"{sha256}.json.gz")
    return {
        "sha256": sha256,
        "file": f"{sha256}.json.gz",
        "videos": len(videos),
        "count": sum(len(found) for found in videos.values()),
    }


def write_record(
    folder: str | Path, record: Mapping[str, Any], videos: Mapping[str, Detections], classes: Iterable[str]
) -> Path:
    """Write a run's record and its detections into `folder`; return the path of the JSON.

    The detections go first, under their hash, then the JSON appears in one step: a crash leaves no record without
    its detections. `schema`, `id`, `config_hash`, `created` and `detections` are filled in here.

    Args:
        folder: any folder: a run's own, or the leaderboard's.
        record: the rest of the record (see `wtal_bench.leaderboard.validate`).
        videos: what was scored, by video id.
        classes: the protocol's class names, in label order.

    Raises:
        RecordError: the record breaks a rule; the detections stay in `folder`.
    """
    stored = store_detections(folder, videos, classes, record["protocol"]["name"])
    created = datetime.now(timezone.utc).replace(microsecond=0).isoformat()
    whole = {"variant": "", "parent": None, "created": created, **record, "schema": SCHEMA, "detections": stored}
    whole["config_hash"] = hash_config(whole.get("config") or {})
    whole["id"] = record_id(whole)
    path = Path(folder) / f"{whole['id']}.json"
    check_record(whole, f"{path} (its detections are kept as {stored['file']})")
    write_json(path, whole)
    return path


def read_record(path: str | Path) -> dict[str, Any]:
    """Read one record's JSON, strictly (no NaN, no doubled key). Does not check the rules.

    Raises:
        RecordError: the file is missing or is not a JSON object.
    """
    path = Path(path)
    try:
        value = parse_json(path.read_bytes())
    except FileNotFoundError as error:
        raise RecordError(f"{path}: there is no such record. A run writes its record into its own folder.") from error
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read as a record: {error}.") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path} holds a {type(value).__name__}; a record is one JSON object.")
    return value


@dataclass(frozen=True)
class StoredRecord:
    """A record that keeps every rule, and where it lies."""

    path: Path
    record: dict[str, Any]

    @property
    def detections_path(self) -> Path:
        """The compressed detections beside it."""
        return self.path.parent / self.record["detections"]["file"]


def load_record(path: str | Path) -> StoredRecord:
    """Read one record and check its rules and its detections file.

    Raises:
        RecordError: naming every rule it breaks.
    """
    path = Path(path)
    record = read_record(path)
    check_record(record, str(path), file_problems(record, path))
    return StoredRecord(path, record)


def load_records(root: str | Path) -> list[StoredRecord]:
    """Read and check every record under `root`, in the order of their paths.

    Raises:
        RecordError: listing the files that break a rule, duplicates among them included.
    """
    stored, complaints = [], []
    root = Path(root)
    # hidden folders hold rows that are being filed this moment
    paths = (path for path in root.rglob("*.json") if not any(part[0] == "." for part in path.relative_to(root).parts))
    for path in sorted(paths):
        try:
            item = load_record(path)
            complaints += [f"{path} does not belong here: {problem}" for problem in filing_problems(item.record)]
            stored.append(item)
        except RecordError as error:
            complaints.append(str(error))
    complaints += duplicate_problems((str(item.path), item.record) for item in stored)
    if complaints:
        more = f"\n... and {len(complaints) - SHOWN} more" if len(complaints) > SHOWN else ""
        raise RecordError("\n".join(complaints[:SHOWN]) + more)
    return stored
