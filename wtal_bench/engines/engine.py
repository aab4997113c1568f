"""What every engine is asked for, and the queue of runs that all of them share."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wtal_bench.engines.board import Board
from wtal_bench.engines.job import Job
from wtal_bench.engines.work import BUSY, DONE, Report
from wtal_bench.errors import WtalError
from wtal_bench.running.workdir import BusyError

ATTEMPTS = 3
"""Times a run is begun whose process dies; what kills it three times would kill it a fourth time."""
PAUSE = 1.0
"""Seconds until a folder that another process is in is looked at again."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run: its result (what its `make` returns), or the problem in words."""

    run: Job
    result: Any = None
    problem: str = ""


class Engine(ABC):
    """Executes runs.

    Attributes:
        jobs: runs side by side.
        describe: itself, in words.
        board: shows what they do.
    """

    jobs: int = 1
    describe: str = "one after another"

    def __init__(self, board: Board) -> None:
        self.board = board

    @abstractmethod
    def run(self, runs: Sequence[Job]) -> Iterator[Outcome]:
        """Make every run, or read it, and give each outcome as soon as there is one.

        Args:
            runs: those that others begin from before them.

        Raises:
            WtalError: the engine cannot work at all; a run that cannot is an `Outcome`.
        """

    def _through(self, run: Job, report: Report, queue: RunQueue) -> Iterator[Outcome]:
        """A worker is through with a run."""
        self.board.end(run.label, {DONE: "done", BUSY: "in use by another sweep"}.get(report.state, "failed"))
        yield from queue.through(run, report)

    def _dead(self, run: Job, how: str, queue: RunQueue) -> Iterator[Outcome]:
        """A run's process is gone, in the words of `how`."""
        self.board.end(run.label, how)
        yield from queue.died(run, how, lambda text: self.board.say(run.label, text))


class Here(Engine):
    """One run after another in this process; a problem is raised as it was, not given as an outcome."""

    def __init__(self, out: Callable[[str], None] = print, keep_going: bool = False) -> None:
        super().__init__(Board(out))
        self.out, self.keep_going = out, keep_going

    def run(self, runs: Sequence[Job]) -> Iterator[Outcome]:
        """See `Engine`."""
        queue, begun = RunQueue(runs), 0
        while not queue.empty:
            yield from queue.orphans()
            run = queue.take()
            if run is None:
                time.sleep(PAUSE / 4)
                continue
            begun += 1
            if len(runs) > 1 and not run.done:
                self.out(f"== {run.label} ({begun} of {len(runs)})")
            try:
                result = run.make(self.out)
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

    runs: Sequence[Job]
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

    def take(self) -> Job | None:
        """The next run that may begin now, or None."""
        now = time.monotonic()
        for run in self._waiting:
            free = run.start is None or run.start not in self._known or run.start in self._done
            if free and self._at.get(run.folder, 0) <= now:
                self._waiting.remove(run)
                return run
        return None

    def orphans(self) -> list[Outcome]:
        """Runs that begin from one that failed: taken out, they fail too."""
        lost = [run for run in self._waiting if run.start in self._failed]
        for run in lost:
            self._waiting.remove(run)
            self.fail(run)
        return [Outcome(run, problem=f"the run it begins from, {run.start}, was not made") for run in lost]

    def first_try(self, run: Job) -> bool:
        """Whether nobody found its folder in use yet."""
        return run.folder not in self._tried

    def later(self, run: Job) -> None:
        """Somebody else is in its folder: look again after a while."""
        self._tried.add(run.folder)
        self._at[run.folder] = time.monotonic() + PAUSE
        self._waiting.append(run)

    def through(self, run: Job, report: Report) -> Iterator[Outcome]:
        """Its worker is through with it: what became of it, unless it is looked at again later."""
        if report.state == BUSY:
            self.later(run)
        elif report.state == DONE:
            self.done(run)
            yield Outcome(run, report.result)
        else:
            self.fail(run)
            yield Outcome(run, problem=report.text)

    def died(self, run: Job, how: str, say: Callable[[str], None]) -> Iterator[Outcome]:
        """Its process died: it is made again, or has died often enough.

        Args:
            run: whose process it was.
            how: in words, of the process: "its process died (signal SIGKILL)".
            say: takes the line that it is made again.
        """
        self.attempts[run.folder] += 1
        count = self.attempts[run.folder]
        if count < ATTEMPTS:
            self._tried.add(run.folder)
            self._waiting.insert(0, run.joined())
            say(f"{how}; attempt {count + 1} of {ATTEMPTS} {run.goes_on}")
            return
        self.fail(run)
        yield Outcome(
            run,
            problem=f"{how}, the last of {count} attempts. If memory ran out, fewer --jobs need less; what was made is "
            "kept, and the same command goes on from there.",
        )

    def done(self, run: Job) -> None:
        """It has a record."""
        self._done.add(run.folder)

    def fail(self, run: Job) -> None:
        """It will have none."""
        self._failed.add(run.folder)

    def finished(self) -> list[Outcome]:
        """Those that are done already: taken out and read."""
        there = [run for run in self._waiting if run.done]
        for run in there:
            self._waiting.remove(run)
            self.done(run)
        return [Outcome(run, run.read()) for run in there]


def shared_folder(runs: Sequence[Job]) -> Path:
    """The folder all runs lie in."""
    return Path(os.path.commonpath([run.folder.resolve().parent for run in runs]))
