"""Detections of many videos written in parts: more than memory holds, a kill costs one, machines share them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from wtal_bench.errors import DataError
from wtal_bench.evaluation import write_detections
from wtal_bench.evaluation.parts import PLAN, SUFFIXES, part_name, read_plan
from wtal_bench.files import digest, write_json
from wtal_bench.running.inputs import Input
from wtal_bench.structures import Detections
from wtal_bench.text import duration


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
        say: takes a line when a part is begun.

    Attributes:
        held: detections of the part that is worked on, by video.
        paths: of all parts, once the videos are known (`agree`).
        written: those this process wrote.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        suffix: str,
        classes: Sequence[str],
        version: str,
        made_by: Sequence[str],
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        if suffix not in SUFFIXES:
            raise DataError(f"parts are written as {', '.join(SUFFIXES)}, not {suffix!r}.")
        self.folder, self.size, self.suffix = folder, size, suffix
        self.classes, self.version, self._made_by, self._say = tuple(classes), version, list(made_by), say
        self.held: dict[str, Detections] = {}
        self.paths: list[Path] = []
        self.written: list[Path] = []

    def agree(self, inputs: Sequence[Input]) -> list[Path]:
        """Write down what the parts are of, or check that it is the same: the parts there will be.

        Raises:
            DataError: the folder holds parts of other videos, of other features in a store, or of another model.
        """
        names = [item.name for item in inputs]
        count = -(-len(names) // self.size)
        self.paths = [self.folder / part_name(number, self.suffix) for number in range(count)]
        checkpoint = hashlib.sha256(Path(self._made_by[0]).read_bytes()).hexdigest()
        contents = list(dict.fromkeys(item.content for item in inputs))
        key = digest([checkpoint, self._made_by[1:], names, contents, self.size, self.suffix, list(self.classes)])
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f".{PLAN}.lock"):  # "part" begins this name, too: it is removed with the others
            plan = read_plan(self.folder)
            if plan is None:
                write_json(self.folder / PLAN, {"parts": count, "key": key, "version": self.version})
            elif plan["key"] != key:
                raise DataError(
                    f"{self.folder}: holds detections of another model, other videos or features, or other settings; "
                    "choose another --out, or delete it."
                )
        return self.paths

    def deal(self, inputs: Sequence[Input]) -> Iterator[Input]:
        """The videos to work on; their detections are expected in `held` by the time the next is asked for.

        Raises:
            DataError: see `agree`.
        """
        paths = self.agree(inputs)
        for wait in (False, True):
            for number, path in enumerate(paths):
                if path.is_file():
                    continue
                lock = FileLock(self.folder / f".{path.name}.lock", timeout=-1 if wait else 0)
                try:
                    lock.acquire()
                except Timeout:
                    continue  # another process is at it; if that is killed, the second round does it
                try:
                    if not path.is_file():
                        self._say(f"part {number + 1} of {len(paths)}")
                        self.held.clear()
                        yield from inputs[number * self.size : (number + 1) * self.size]
                        write_detections(path, self.held, self.classes, self.version)
                        self.written.append(path)
                finally:
                    lock.release()
        for path in self.folder.glob(".part*.lock"):
            path.unlink(missing_ok=True)


class PartsProgress:
    """How many of the parts are there, in words, and how long the rest takes at the pace since this was made.

    Args:
        paths: of all parts.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths, self._began = list(paths), time.monotonic()
        self._first = self.there

    @property
    def there(self) -> int:
        """How many are there, by one look at the folder."""
        present = {path.name for path in self._paths[0].parent.iterdir()} if self._paths else set()
        return sum(path.name in present for path in self._paths)

    @property
    def missing(self) -> int:
        """How many are not there."""
        return len(self._paths) - self.there

    def __call__(self) -> str:
        """The line."""
        there = self.there
        new, left = there - self._first, len(self._paths) - there
        pace = (time.monotonic() - self._began) / new if new else None
        ends = f", about {duration(pace * left)} left" if pace is not None and left else ""
        return f"{there} of {len(self._paths)} parts are there{ends}"


__all__ = ["PartWriter", "PartsProgress"]
