"""Writing and reading records: one JSON a run, with its detections compressed beside it.

Which videos a run saw is its section `data` (`wtal_bench.data.coverage` makes it, `leaderboard.coverage` holds it to
its rules):

    "data": {
      "splits": {
        "train": {
          "subset": "train",         the annotations' name of the subset
          "annotated": 200,          videos there are to use: used + held_out + missing + left out
          "with_features": 150,      of them, those that have features
          "used": 100,
          "held_out": 20,            of them, those of the validation split; 0 elsewhere
          "instances": 3007,         annotated instances of all of them
          "instances_lost": 1503,    of those, in videos that are missing or left out
          "ids_hash": "...",         SHA-256 of the sorted ids, joined by newlines
          "ids": [...],              the videos used
          "missing": [...],          annotated videos without features (external: not in the detection file)
          "left_out": [...],         left out on purpose (`data.only`)
          "bare": [...],             videos of the subset without a tag (train) or an instance (test)
          "preset": "..."            if these are the videos of a published evaluator, its name
        },
        "validation": {...},         where training videos are held out to choose a checkpoint by
        "test": {...}
      },
      "notes": [{"code": "rate", "text": "..."}, ...]     what `data.notes` said of the data, its summary first
    }

A split's `ids`, `missing`, `left_out` and `bare` (and the validation split's ids) are its subset's videos, each once.
An external row has `test` alone. A record without the section is "coverage not recorded": shown, not ranked.

What the run's parts were worth on the labelled test videos is its section `diagnosis` (`running.diagnosis`): a claim of
the run, for whoever wonders why it failed. Nothing is ranked or scored by it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from wtal_bench.errors import RecordError
from wtal_bench.evaluation import Beside, write_detections
from wtal_bench.files import write_json
from wtal_bench.leaderboard.coverage import LISTS
from wtal_bench.leaderboard.duplicates import duplicate_problems, look_alike_problems
from wtal_bench.leaderboard.identity import hash_config, hash_rows, record_id
from wtal_bench.leaderboard.origin_rules import distribution_problems
from wtal_bench.leaderboard.seen import Seen
from wtal_bench.leaderboard.validate import (
    OWN_KEYS,
    SCHEMA,
    check_record,
    file_problems,
    filing_problems,
    shape_problems,
    unranked_reason,
)
from wtal_bench.protocol import is_own
from wtal_bench.reading import MIB, decode_json
from wtal_bench.structures import Detections
from wtal_bench.temporary import temporary_for

SHOWN = 8
"""Refused records named at once; what breaks more is mostly one cause."""


def store_detections(
    folder: str | Path,
    videos: Mapping[str, Detections],
    classes: Iterable[str],
    version: str,
    beside: Beside | None = None,
) -> dict[str, Any]:
    """Write `<sha256 of the file>.json.gz` into `folder`, atomically; return the record's `detections` block.

    Equal detections give equal bytes, hence one file (gzip without a time stamp).
    """
    folder, classes = Path(folder), tuple(classes)
    folder.mkdir(parents=True, exist_ok=True)
    with temporary_for(folder / "detections", folder=True) as scratch:
        temporary = scratch / "detections.json.gz"
        write_detections(temporary, videos, classes, version, beside)
        sha256 = hashlib.sha256(temporary.read_bytes()).hexdigest()
        os.replace(temporary, folder / f"{sha256}.json.gz")
    return {
        "sha256": sha256,
        "rows": hash_rows(videos, classes),
        "file": f"{sha256}.json.gz",
        "videos": len(videos),
        "count": sum(len(found) for found in videos.values()),
    }


def write_record(
    folder: str | Path,
    record: Mapping[str, Any],
    videos: Mapping[str, Detections],
    classes: Iterable[str],
    beside: Beside | None = None,
    source: str | Path | None = None,
) -> Path:
    """Write a run's record and its detections into `folder`; return the path of the JSON.

    The detections go first, under their hash, then the JSON appears in one step: a crash leaves no record without
    its detections. `schema`, `id`, `config_hash`, `created` and `detections` are filled in here.

    Args:
        folder: any folder: a run's own, or the leaderboard's.
        record: the rest of the record (see `wtal_bench.leaderboard.validate`).
        videos: what was scored, by video id.
        classes: the protocol's class names, in label order.
        beside: what was scored beside the detections.
        source: the file that a refusal names, where `folder` goes with it; else it names the record, and says that its
            detections stay.

    Raises:
        RecordError: the record breaks a rule; the detections stay in `folder`.
    """
    stored = store_detections(folder, videos, classes, record["protocol"]["name"], beside)
    created = datetime.now(timezone.utc).replace(microsecond=0).isoformat()
    whole = {"variant": "", "parent": None, "created": created, **record, "schema": SCHEMA, "detections": stored}
    whole["config_hash"] = hash_config(whole.get("config") or {})
    whole["id"] = record_id(whole)
    path = Path(folder) / f"{whole['id']}.json"
    check_record(whole, str(source or f"{path} (its detections are kept as {stored['file']})"))
    write_json(path, whole)
    return path


def read_record(path: str | Path) -> dict[str, Any]:
    """Read one record's JSON, strictly (no NaN, no doubled key). Does not check the rules.

    Raises:
        RecordError: the file is missing or is not a JSON object.
    """
    return _read(Path(path), Seen(Path()))[0]


def _read(path: Path, seen: Seen) -> tuple[dict[str, Any], str]:
    """A record, and the hash of its file."""
    hint = "A run writes its record into its own folder."
    content, sha256 = seen.read(path, hint=hint, limit=64 * MIB)
    value = decode_json(content, path, kind=RecordError, hint=hint)
    if not isinstance(value, dict):
        raise RecordError(f"{path} holds a {type(value).__name__}; a record is one JSON object.")
    return value, sha256


def newest_record(run: str | Path) -> Path | None:
    """The record in a run's folder; of several, left where a finished run was trained on, the newest. None without one.

    Raises:
        RecordError: one of several cannot be read.
    """
    found = sorted((Path(run) / "record").glob("*.json"))
    if len(found) < 2:
        return found[0] if found else None
    return max(found, key=lambda path: (str(read_record(path).get("created", "")), path.stat().st_mtime_ns))


def protocol_of(record: Mapping[str, Any], where: str | Path) -> str:
    """The protocol's name in a record that nothing has checked yet.

    Raises:
        RecordError: it names none.
    """
    protocol = record.get("protocol")
    name = protocol.get("name") if isinstance(protocol, Mapping) else None
    if not isinstance(name, str):
        raise RecordError(f"{where}: protocol is {protocol!r:.80}; needed: {{name, hash}}.")
    return name


UNSCORED = "it has nothing to score, for its test videos have no times"
"""What is wrong with the result of a run on tags alone, for who wants its numbers."""


def is_unscored(record: Mapping[str, Any]) -> bool:
    """Whether a run wrote it in place of a record: of one's own data without an annotated test video."""
    protocol, metrics = record.get("protocol"), record.get("metrics")
    own = isinstance(protocol, Mapping) and is_own(protocol.get("name"))
    return own and "schema" not in record and isinstance(metrics, Mapping) and metrics.get("variants") == {}


def check_own(record: Mapping[str, Any], where: str | Path) -> None:
    """Refuse the result of a run on a data set of one's own, where nothing was scored, if no run wrote it so.

    Raises:
        RecordError: the text names what is wrong.
    """
    said = [key for key in ("distributions",) if key in record]  # those of before said it otherwise
    problems = list(shape_problems(record, (*OWN_KEYS, *said)))
    if said and not problems:
        problems += distribution_problems(record["distributions"])
    block = record.get("detections")
    name = block.get("file") if isinstance(block, Mapping) else None
    if not isinstance(name, str) or Path(name).name != name:
        problems.append("detections.file must be a plain file name beside the record")
    if problems:
        raise RecordError(f"{where} is refused:\n" + "\n".join(f"  - {problem}" for problem in problems))


@dataclass(frozen=True)
class StoredRecord:
    """A record that keeps every rule, and where it lies.

    Attributes:
        path: the JSON.
        record: what it holds.
        content: SHA-256 (hex) of the JSON's bytes.
        unverified: why its numbers are not known to follow from its detections; empty once `rescore.rescored` found
            that they do. Reading it anew forgets that.
        is_light: whether `record` lacks what `light` leaves out; `whole` has it.
    """

    path: Path
    record: dict[str, Any]
    content: str = ""
    unverified: str = "not scored again"
    is_light: bool = False

    @property
    def detections_path(self) -> Path:
        """The compressed detections beside it."""
        return self.path.parent / self.record["detections"]["file"]

    @property
    def reason(self) -> str:
        """Why it is shown but not ranked; empty when it is ranked."""
        return unranked_reason(self.record) or self.unverified

    def whole(self) -> StoredRecord:
        """The same with all that its file holds.

        Raises:
            RecordError: the file is no longer what it was.
        """
        if not self.is_light:
            return self
        record, content = _read(self.path, Seen(self.path.parent))
        if content != self.content:
            raise RecordError(f"{self.path} was changed while the board was being read. Run the command again.")
        return replace(self, record=record, is_light=False)


def light(record: Mapping[str, Any]) -> dict[str, Any]:
    """A valid record without the bulk of its numbers: APs of classes, replicates, lists of videos, its diagnosis.

    What is left says all that a board shows but what `rows.Row` makes of a row's APs and replicates. The names of what
    has replicates stay.
    """
    part = {key: value for key, value in record.items() if key != "diagnosis"}
    columns = {
        name: {key: value for key, value in table.items() if key != "ap"}
        for name, table in record["metrics"]["variants"].items()
    }
    part["metrics"] = {**record["metrics"], "variants": columns}
    if "bootstrap" in record:
        part["bootstrap"] = {**record["bootstrap"], "values": dict.fromkeys(record["bootstrap"]["values"])}
    if "data" in record:
        splits = record["data"]["splits"].items()
        kept = {name: {key: value for key, value in split.items() if key not in LISTS} for name, split in splits}
        part["data"] = {"splits": kept}
    return part


def load_record(
    path: str | Path, seen: Seen | None = None, checked: Mapping[str, dict[str, Any]] | None = None
) -> StoredRecord:
    """Read one record and check its rules and its detections file.

    Args:
        path: the JSON.
        seen: files that need not be read again; none by default.
        checked: `light` records that kept their rules, by the hash of their file: they are not parsed and checked anew.

    Raises:
        RecordError: naming every rule it breaks.
    """
    path, checked = Path(path), checked or {}
    seen = seen or Seen(path.parent)
    content = seen.known(path)
    if content in checked:
        record = checked[content]
        problems = list(file_problems(record, path, seen.hash))
        if not problems:
            return StoredRecord(path, record, content, is_light=True)
    record, content = _read(path, seen)
    if is_unscored(record):
        raise RecordError(
            f"{path} is no record: {UNSCORED}. Add times of the test videos to its annotations, then score the run "
            "with `wtal-bench test`; `wtal-bench report` shows it as it is."
        )
    check_record(record, str(path), file_problems(record, path, seen.hash))
    return StoredRecord(path, record, content)


def record_paths(root: Path) -> list[Path]:
    """Every record under `root`, sorted. Linked folders are not entered; hidden ones hold rows filed this moment."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder) / name for name in files if name.endswith(".json") and not name.startswith(".")]
    return sorted(found)


def load_records(
    root: str | Path, seen: Seen | None = None, checked: Mapping[str, dict[str, Any]] | None = None
) -> list[StoredRecord]:
    """Read and check every record under `root`, in the order of their paths.

    Args:
        root: a folder.
        seen, checked: as `load_record`.

    Raises:
        RecordError: listing the files that break a rule, duplicates among them included.
    """
    stored, complaints = [], []
    for path in record_paths(Path(root)):
        try:
            item = load_record(path, seen, checked)
            complaints += [f"{path} does not belong here: {problem}" for problem in filing_problems(item.record)]
            stored.append(item)
        except RecordError as error:
            complaints.append(str(error))
    placed = [(str(item.path), item.record) for item in stored]
    complaints += [*duplicate_problems(placed), *look_alike_problems(placed)]
    if complaints:
        more = f"\n... and {len(complaints) - SHOWN} more" if len(complaints) > SHOWN else ""
        raise RecordError("\n".join(complaints[:SHOWN]) + more)
    return stored
