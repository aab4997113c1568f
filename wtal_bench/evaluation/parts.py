"""Detections in parts: a folder of detection files, each of whole videos, read one after the other."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wtal_bench.errors import DataError
from wtal_bench.evaluation.detection_files import DetectionFile
from wtal_bench.evaluation.formats import read_detections
from wtal_bench.evaluation.tables import DetectionTable
from wtal_bench.reading import TEXT_LIMIT, is_file, read_json

SUFFIXES = (".json", ".json.gz", ".parquet")
"""What a part may be."""
PREFIX, PLAN = "part-", "parts.json"


def part_name(number: int, suffix: str) -> str:
    """The name of a part: `part-00007.parquet`."""
    return f"{PREFIX}{number:05d}{suffix}"


def read_plan(folder: Path) -> dict[str, Any] | None:
    """What the writer of a folder says of its parts: `parts`, how many there will be, and `key`; None from others.

    Raises:
        DataError: it is damaged.
    """
    path = folder / PLAN
    if not is_file(path):
        return None
    plan = read_json(path, limit=TEXT_LIMIT)
    if not isinstance(plan, dict) or type(plan.get("parts")) is not int or not isinstance(plan.get("key"), str):
        raise DataError(f"{path}: must hold 'parts', how many there are, and 'key'; delete it if it is not needed.")
    return plan


def part_files(folder: Path) -> list[Path]:
    """The parts of a folder in order.

    Raises:
        DataError: there is none, or one is there in two formats.
    """
    found = [path for path in folder.iterdir() if path.name.startswith(PREFIX) and path.name.endswith(SUFFIXES)]
    if not found:
        raise DataError(
            f"{folder}: holds no part of detections ({PREFIX}00000.parquet, .json or .json.gz), as `wtal-bench infer "
            "--part-videos` writes them. Give a detection file, or such a folder."
        )
    twice = [stem for stem, count in Counter(path.name.partition(".")[0] for path in found).items() if count > 1]
    if twice:
        raise DataError(f"{folder}: {min(twice)} is there in two formats; keep one.")
    plan = read_plan(folder)
    if plan is not None and len(found) != plan["parts"]:
        raise DataError(
            f"{folder}: {len(found)} of {plan['parts']} parts are there. Run the same `wtal-bench infer` again: it "
            "makes those that are missing."
        )
    return sorted(found)


@dataclass
class DetectionParts:
    """Detections of a folder, read part by part; what is told of them is known after the first pass.

    Attributes:
        folder: where they lie.
        classes: the class list the names were looked up in.
        version: the first part's name for itself.
        videos: id -> how many detections, as a `range`.
        unknown_labels: class name not in `classes` -> its rows, which were left out.
        duplicates: rows that repeat an earlier row of their video.
        sha256: over the parts' own, in order.
    """

    folder: Path
    classes: tuple[str, ...]
    strict: bool = False
    version: str = ""
    videos: dict[str, range] = field(default_factory=dict, repr=False)
    unknown_labels: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    sha256: str = ""

    @classmethod
    def open(cls, folder: Path, classes: Sequence[str], *, strict: bool = False) -> DetectionParts:
        """Find the parts of a folder; arguments as `read_detections`."""
        part_files(folder)
        return cls(folder, tuple(classes), strict)

    @property
    def path(self) -> Path:
        """Where they were read from."""
        return self.folder

    @property
    def count(self) -> int:
        """Detections of a known class."""
        return sum(map(len, self.videos.values()))

    def tables(self) -> Iterator[DetectionTable]:
        """A pass over the parts; the first also counts.

        Raises:
            DataError: as `read_detections`; or a part that changed between two passes.
        """
        total = hashlib.sha256()
        for path in part_files(self.folder):
            file = read_detections(path, self.classes, strict=self.strict)
            total.update(file.sha256.encode())
            if not self.sha256:
                self._add(file)
            yield file.table()
        if self.sha256 not in ("", total.hexdigest()):
            raise DataError(f"{self.folder}: its parts changed while they were read; wait until all are written.")
        self.sha256 = total.hexdigest()

    def _add(self, file: DetectionFile) -> None:
        self.version = self.version or file.version
        self.videos |= {name: range(len(found)) for name, found in file.videos.items()}
        self.unknown_labels.update(file.unknown_labels)
        self.duplicates += file.duplicates


__all__ = ["DetectionParts", "part_files", "part_name", "read_plan"]
