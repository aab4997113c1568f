"""Worker processes on this machine, each making one run after another."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

from wtal_bench.engines.board import Board
from wtal_bench.engines.engine import Engine, Outcome, RunQueue
from wtal_bench.engines.job import Job
from wtal_bench.engines.machine import THREADS
from wtal_bench.engines.serve import serve
from wtal_bench.engines.work import Ticket

GRACE = 10.0
"""Seconds a worker has to end in when it is told to."""


class Local(Engine):
    """`jobs` worker processes.

    Args:
        jobs: how many.
        threads: torch's, in each.
        gpus: names of GPUs as CUDA_VISIBLE_DEVICES takes them, shared out in turn; () for none.
        board: shows what they do.
    """

    def __init__(self, jobs: int, threads: int, gpus: Sequence[str] = (), board: Board | None = None) -> None:
        super().__init__(board or Board())
        self.jobs, self.threads, self.gpus = jobs, threads, tuple(gpus)
        on = f", GPUs {', '.join(self.gpus)}" if self.gpus else ""
        self.describe = f"{jobs} worker processes, {threads} {'thread' if threads == 1 else 'threads'} each{on}"

    def run(self, runs: Sequence[Job]) -> Iterator[Outcome]:
        """See `Engine`. However it ends, no worker is left behind, and what they were at can be resumed."""
        queue = RunQueue(runs)
        yield from queue.finished()
        workers = [_Worker(number, self) for number in range(min(self.jobs, len(runs)))]
        try:
            with self.board:
                while not queue.empty or any(worker.run for worker in workers):
                    yield from queue.orphans()
                    for worker in workers:
                        if worker.run is None and (run := queue.take()) is not None:
                            worker.give(run)
                            self.board.begin(run.label, f"worker {worker.number}")
                    yield from self._hear(workers, queue)
                    self.board.tick()
        finally:
            for worker in workers:
                worker.tell_to_stop()
            for worker in workers:
                worker.stop()

    def _hear(self, workers: Sequence[_Worker], queue: RunQueue) -> Iterator[Outcome]:
        """What the workers have to say, until one of them is through or a moment has gone by."""
        busy = {worker.pipe: worker for worker in workers if worker.run is not None}
        if not busy:
            time.sleep(0.1)
            return
        for pipe in connection.wait(list(busy), timeout=0.5):
            worker = busy[pipe]
            run = worker.run
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                worker.run = None
                how = worker.how_it_died()
                worker.stop()
                yield from self._dead(run, f"its process died ({how})", queue)
                continue
            if isinstance(message, str):
                self.board.say(run.label, message)
                continue
            worker.run = None
            yield from self._through(run, message, queue)


class _Worker:
    """One worker process, started when it gets its first run."""

    def __init__(self, number: int, engine: Local) -> None:
        self.number, self.engine = number, engine
        self.run: Job | None = None
        self.pipe: Any = None
        self._process: Any = None

    def give(self, run: Job) -> None:
        """Let it make a run."""
        if self._process is None:
            self._start()
        self.run = run
        self.pipe.send(Ticket(run, Path.cwd(), self.engine.threads))

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads, or CUDA, may hang
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), name=f"wtal-worker-{self.number}")
        with _environment(self._variables()):
            self._process.start()
        theirs.close()

    def _variables(self) -> dict[str, str]:
        gpus = self.engine.gpus
        own = {"CUDA_VISIBLE_DEVICES": gpus[self.number % len(gpus)]} if gpus else {}
        return {**dict.fromkeys(THREADS, str(self.engine.threads)), **own}

    def how_it_died(self) -> str:
        """By which signal or status."""
        self._process.join(GRACE)
        code = self._process.exitcode
        return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"status {code}"

    def tell_to_stop(self) -> None:
        """Ask it to end; `stop` sees to it."""
        if self._process is not None and self._process.is_alive():
            with contextlib.suppress(OSError):
                self.pipe.send(None)  # one that waits for work ends by itself
            if self.run is not None:
                self._process.terminate()

    def stop(self) -> None:
        """Make sure that it is gone."""
        if self._process is None:
            return
        self._process.join(GRACE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.pipe.close()
        self._process = self.pipe = None


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables that a process gets which is started meanwhile: torch reads them when it is imported."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
