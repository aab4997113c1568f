"""What every engine is asked for, and the queue of runs that all of them share."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wtal_bench.errors import WtalError
from wtal_bench.running.plan import DONE, Planned, as_it_lies, execute, read_result
from wtal_bench.running.run import Result
from wtal_bench.running.workdir import BusyError

ATTEMPTS = 3
"""Times a run is begun whose process dies; what kills it three times would kill it a fourth time."""
PAUSE = 1.0
"""Seconds until a folder that another process is in is looked at again."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run: its result, or the problem in words."""

    run: Planned
    result: Result | None = None
    problem: str = ""


class Engine(ABC):
    """Executes runs.

    Attributes:
        jobs: runs side by side.
        describe: itself, in words.
    """

    jobs: int = 1
    describe: str = "one after another"

    @abstractmethod
    def run(self, runs: Sequence[Planned]) -> Iterator[Outcome]:
        """Make every run, or read it, and give each outcome as soon as there is one.

        Args:
            runs: those that others begin from before them.

        Raises:
            WtalError: the engine cannot work at all; a run that cannot is an `Outcome`.
        """


class Here(Engine):
    """One run after another in this process; a problem is raised as it was, not given as an outcome."""

    def __init__(self, out: Callable[[str], None] = print, keep_going: bool = False) -> None:
        self.out, self.keep_going = out, keep_going

    def run(self, runs: Sequence[Planned]) -> Iterator[Outcome]:
        """See `Engine`."""
        queue = RunQueue(runs)
        while not queue.empty:
            for run in queue.orphans():
                yield Outcome(run, problem=queue.why_orphan(run))
            run = queue.take()
            if run is None:
                time.sleep(PAUSE / 4)
                continue
            try:
                result = execute(as_it_lies(run), self.out)
            except BusyError as error:
                if queue.first_try(run):
                    self.out(f"{error} Others go first; this one is looked at again.")
                queue.later(run)
            except WtalError as error:
                if not self.keep_going:
                    raise
                queue.fail(run)
                yield Outcome(run, problem=str(error))
            else:
                queue.done(run)
                yield Outcome(run, result)


@dataclass
class RunQueue:
    """Runs that wait, those others begin from first; who is at work on one has taken it.

    Attributes:
        runs: all of them.
    """

    runs: Sequence[Planned]
    attempts: Counter[Path] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._waiting = list(self.runs)
        self._known = {run.folder for run in self.runs}
        self._done: set[Path] = set()
        self._failed: set[Path] = set()
        self._at: dict[Path, float] = {}
        self._tried: set[Path] = set()

    @property
    def empty(self) -> bool:
        """Whether no run waits."""
        return not self._waiting

    def take(self) -> Planned | None:
        """The next run that may begin now, or None."""
        now = time.monotonic()
        for run in self._waiting:
            free = run.start is None or run.start not in self._known or run.start in self._done
            if free and self._at.get(run.folder, 0) <= now:
                self._waiting.remove(run)
                return run
        return None

    def orphans(self) -> list[Planned]:
        """Runs that begin from one that failed: taken out, they fail too."""
        lost = [run for run in self._waiting if run.start in self._failed]
        for run in lost:
            self._waiting.remove(run)
            self._failed.add(run.folder)
        return lost

    @staticmethod
    def why_orphan(run: Planned) -> str:
        """Why a run of `orphans` is not made."""
        return f"the run it begins from, {run.start}, was not made"

    def first_try(self, run: Planned) -> bool:
        """Whether nobody found its folder in use yet."""
        return run.folder not in self._tried

    def later(self, run: Planned) -> None:
        """Somebody else is in its folder: look again after a while."""
        self._tried.add(run.folder)
        self._at[run.folder] = time.monotonic() + PAUSE
        self._waiting.append(run)

    def died(self, run: Planned) -> bool:
        """Its process died: have it made again from its last checkpoint; False if it has died often enough."""
        self.attempts[run.folder] += 1
        if self.attempts[run.folder] >= ATTEMPTS:
            self.fail(run)
            return False
        self._tried.add(run.folder)
        self._waiting.insert(0, replace(run, joins=True))
        return True

    def done(self, run: Planned) -> None:
        """It has a record."""
        self._done.add(run.folder)

    def fail(self, run: Planned) -> None:
        """It will have none."""
        self._failed.add(run.folder)

    def finished(self) -> list[Outcome]:
        """Those that are done already: taken out and read."""
        there = [run for run in self._waiting if run.state == DONE and run.resume and not run.changed]
        for run in there:
            self._waiting.remove(run)
            self.done(run)
        return [Outcome(run, read_result(run.folder)) for run in there]


def label(run: Planned) -> str:
    """A run's name among others: "full/seed0"."""
    return "/".join(run.folder.parts[-2:])


def shared_folder(runs: Sequence[Planned]) -> Path:
    """The folder all runs lie in."""
    return Path(os.path.commonpath([run.folder.resolve().parent for run in runs]))
