"""The parts a board was made of, from the user's cache: of what did not change, nothing is parsed or computed again.

Two kinds go by content: records that kept their rules (`record.light`), by the hash of their file, and what was made of
a row (`made.Made`), by the hashes of its records. Both hold for the protocols and names they were made under alone
(`rules`). They are lines of JSON, but for the replicates, which are one array of float64 beside it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.errors import WtalError
from wtal_bench.files import atomic_write, digest
from wtal_bench.leaderboard.cached import read_sealed, write_sealed
from wtal_bench.leaderboard.made import Made
from wtal_bench.leaderboard.own import recorded_protocol
from wtal_bench.leaderboard.record import StoredRecord, light
from wtal_bench.leaderboard.rows import Row
from wtal_bench.plugins import titles

_PARTS, _ARRAYS = "parts.txt", "arrays.npy"
_RECORD, _ROW = "record", "row"


@dataclass(frozen=True)
class Parts:
    """What is known.

    Attributes:
        records: `light` records by the hash of their file.
        rows: values made of rows, by `Row.content`.
        arrays: arrays made of them, likewise.
        lines: records and rows as they stand in the cache.
    """

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    arrays: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, place: Path) -> Parts:
        """Read them from a board's cache; what is damaged, or was made under other rules, is not there."""
        text = read_sealed(place / _PARTS)
        if text is None:
            return cls()
        first, *lines = text.split("\n")
        head, found = json.loads(first), cls()
        for line in lines:
            kind, content, value = line.split(" ", 2)
            (found.records if kind == _RECORD else found.rows)[content] = json.loads(value)
            found.lines[content] = line
        try:
            fits = head["rules"] == rules(found.records.values())
        except WtalError:  # a protocol that is no longer there; whoever reads the record says it best
            fits = False
        if not fits:
            return cls()
        found.arrays.update(_cut(place / _ARRAYS, head["arrays"], head["sha256"]))
        return found

    def made(self, content: str) -> Made:
        """What is known of a row."""
        return Made(self.rows.get(content), self.arrays.get(content))

    def save(self, place: Path, records: Iterable[StoredRecord], rows: Iterable[Row]) -> None:
        """Keep the parts of a board, and no others; those that are known stay as they are.

        Raises:
            DataError: the cache cannot be written.
        """
        rows, kept, lines = list(rows), [], []
        for item in records:
            kept.append(item.record if item.is_light else light(item.record))
            lines.append(self.lines.get(item.content) or f"{_RECORD} {item.content} {json.dumps(kept[-1])}")
        for row in rows:
            known = "" if row.made.news else self.lines.get(row.content)
            lines.append(known or f"{_ROW} {row.content} {json.dumps(row.made.values)}")
        flat, index = _joined(rows)
        with atomic_write(place / _ARRAYS, "wb") as stream:
            np.save(stream, flat)
        head = {"rules": rules(kept), "arrays": index, "sha256": hashlib.sha256(flat).hexdigest()}
        write_sealed(place / _PARTS, "\n".join([json.dumps(head), *lines]))


def rules(records: Iterable[Mapping[str, Any]]) -> str:
    """Hash of what protocols and plugins say that shows on a board, as they stand in this process.

    Raises:
        WtalError: a record's protocol is not known here.
    """
    blocks = {json.dumps(record["protocol"], sort_keys=True): record["protocol"] for record in records}
    protocols = [recorded_protocol(blocks[key]) for key in sorted(blocks)]
    says = []
    for protocol in protocols:
        presets = [[preset.name, preset.hash] for preset in protocol.presets]
        contents = {name: split.content for name, split in protocol.splits.items()}
        says.append([protocol.name, protocol.hash, presets, contents])
    return digest([says, [[name, title.method, dict(title.words)] for name, title in titles().items()]])


def _joined(rows: Iterable[Row]) -> tuple[np.ndarray, dict[str, dict[str, list[int]]]]:
    """The arrays of all rows in one, and by row and name where in it each begins, and its shape."""
    pieces, index, start = [np.empty(0)], {}, 0
    for row in rows:
        places = index[row.content] = {}
        for name, array in row.made.kept_arrays().items():
            places[name] = [start, *array.shape]
            pieces.append(array.ravel())
            start += array.size
    return np.concatenate(pieces), index


def _cut(path: Path, index: Mapping[str, Mapping[str, list[int]]], sha256: str) -> dict[str, dict[str, np.ndarray]]:
    """What `_joined` joined, from a file that holds it whole; {} if it does not."""
    try:
        flat = np.load(path, mmap_mode="r", allow_pickle=False)
        if flat.dtype != np.float64 or hashlib.sha256(flat).hexdigest() != sha256:
            return {}
    except (OSError, ValueError, EOFError, TypeError, BufferError):
        return {}
    flat = np.asarray(flat)
    return {
        content: {name: flat[start : start + math.prod(shape)].reshape(shape) for name, (start, *shape) in row.items()}
        for content, row in index.items()
    }
