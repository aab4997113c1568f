"""Detections of many videos written in parts: more than memory holds, a kill costs one, machines share them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from wtal_bench.errors import DataError
from wtal_bench.evaluation import write_detections
from wtal_bench.evaluation.parts import PLAN, SUFFIXES, part_name, read_plan
from wtal_bench.files import digest, write_json
from wtal_bench.running.inputs import Input
from wtal_bench.structures import Detections


class PartWriter:
    """Deals out the videos whose part is not there yet, and writes each part when its last video was worked on.

    Any number of processes, on machines that see the folder, deal from the same videos: each part is under a lock, and
    one that a killed process had begun is dealt again.

    Args:
        folder: where the parts go.
        size: videos of a part.
        suffix: ".json.gz", ".json" or ".parquet".
        classes: class names.
        version: what makes the detections.
        made_by: files and settings that must be the same for all parts: the checkpoint's path first.
    """

    def __init__(
        self, folder: Path, size: int, suffix: str, classes: Sequence[str], version: str, made_by: Sequence[str]
    ) -> None:
        if suffix not in SUFFIXES:
            raise DataError(f"parts are written as {', '.join(SUFFIXES)}, not {suffix!r}.")
        self.folder, self.size, self.suffix = folder, size, suffix
        self.classes, self.version, self._made_by = tuple(classes), version, list(made_by)
        self.held: dict[str, Detections] = {}
        self.written: list[Path] = []
        self.there = 0

    def deal(self, inputs: Sequence[Input]) -> Iterator[Input]:
        """The videos to work on; their detections are expected in `held` by the time the next is asked for.

        Raises:
            DataError: the folder holds parts of other videos, or of another model.
        """
        chunks = [inputs[first : first + self.size] for first in range(0, len(inputs), self.size)]
        self._agree([item.name for item in inputs], len(chunks))
        for wait in (False, True):
            for number, chunk in enumerate(chunks):
                path = self.folder / part_name(number, self.suffix)
                if path.is_file():
                    continue
                lock = FileLock(self.folder / f".{path.name}.lock", timeout=-1 if wait else 0)
                try:
                    lock.acquire()
                except Timeout:
                    continue  # another process is at it; if that is killed, the second round does it
                try:
                    if not path.is_file():
                        self.held.clear()
                        yield from chunk
                        write_detections(path, self.held, self.classes, self.version)
                        self.written.append(path)
                finally:
                    lock.release()
        self.there = sum((self.folder / part_name(number, self.suffix)).is_file() for number in range(len(chunks)))
        for path in self.folder.glob(".part*.lock"):
            path.unlink(missing_ok=True)

    def _agree(self, names: Sequence[str], parts: int) -> None:
        """Write down what the parts are of, or check that it is the same."""
        checkpoint = hashlib.sha256(Path(self._made_by[0]).read_bytes()).hexdigest()
        key = digest([checkpoint, self._made_by[1:], list(names), self.size, self.suffix, list(self.classes)])
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f".{PLAN}.lock"):  # "part" begins this name, too: it is removed with the others
            plan = read_plan(self.folder)
            if plan is None:
                write_json(self.folder / PLAN, {"parts": parts, "key": key, "version": self.version})
            elif plan["key"] != key:
                raise DataError(
                    f"{self.folder}: holds detections of another model, other videos or other settings; choose another "
                    "--out, or delete it."
                )


__all__ = ["PartWriter"]
