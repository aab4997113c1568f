"""An array job of Slurm, by submitit: one run a task; a run that is pre-empted is requeued and resumes."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wtal_bench.engines.board import Board
from wtal_bench.engines.engine import Engine, Outcome, RunQueue, shared_folder
from wtal_bench.engines.job import Job
from wtal_bench.engines.machine import THREADS
from wtal_bench.engines.node_local import refuse_node_local
from wtal_bench.engines.work import Report, Ticket, code_hash, in_short, perform, token_in
from wtal_bench.errors import ConfigError

LOGS = "slurm"
"""The folder, in that of the runs, of what the tasks print."""
SHARED = ("timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node", "name")
"""submitit's own names; all others are Slurm's, `partition` of sbatch."""
POLL = 5.0


class Slurm(Engine):
    """Array jobs.

    Args:
        options: of the job, by submitit's name or sbatch's: {"partition": "gpu", "timeout_min": 240}.
        threads: torch's, in each run; as many CPUs are asked for.
        gpus: GPUs a run; None: none.
        jobs: tasks of an array at once, at most; None: no bound.
        board: shows what the tasks do.
        cluster: "slurm"; "local" and "debug" are submitit's stand-ins for one.
        poll: seconds between two looks at the tasks.
    """

    def __init__(
        self,
        options: Mapping[str, Any] | None = None,
        threads: int = 1,
        gpus: int | None = None,
        jobs: int | None = None,
        board: Board | None = None,
        cluster: str = "slurm",
        poll: float = POLL,
    ) -> None:
        super().__init__(board or Board())
        self._submitit = _import()
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise ConfigError(
                "--engine slurm: there is no sbatch here. Call it on a machine of the cluster that submits jobs, or "
                "take --engine local."
            )
        self.options, self.threads, self.gpus = dict(options or {}), threads, gpus
        self.most, self.cluster, self.poll = jobs, cluster, poll
        self.jobs = jobs or 1
        self.describe = "Slurm, one task a run"

    def run(self, runs: Sequence[Job]) -> Iterator[Outcome]:
        """See `Engine`; jobs that are at work when it ends are cancelled, and what they were at can be resumed."""
        queue = RunQueue(runs)
        yield from queue.finished()
        if queue.empty:
            return
        at_work: dict[Any, Job] = {}
        folder = shared_folder(runs)
        if self.cluster == "slurm":  # its stand-ins run on this machine
            refuse_node_local(folder, "--engine slurm: the folder of the runs", "Name one that all share.")
            refuse_node_local(Path.cwd(), "--engine slurm: the current folder", "Call it in one that all share.")
        try:
            with token_in(folder) as token, self.board:
                code = code_hash()
                executor = self._executor(folder / LOGS)
                while not queue.empty or at_work:
                    yield from queue.orphans()
                    yield from self._submit(executor, queue, at_work, code, token)
                    for job in [job for job in at_work if job.done()]:
                        yield from self._ended(job, at_work.pop(job), queue)
                    self.board.tick()
                    time.sleep(self.poll if at_work else 0)
        finally:
            for job in at_work:
                job.cancel()

    def _executor(self, logs: Path) -> Any:
        executor = self._submitit.AutoExecutor(folder=logs, cluster=self.cluster)
        given = {name if name in SHARED else f"slurm_{name}": value for name, value in self.options.items()}
        own: dict[str, Any] = {"name": "wtal-bench", "cpus_per_task": self.threads}
        own["slurm_setup"] = [f"export {name}={self.threads}" for name in THREADS]
        own |= {"gpus_per_node": self.gpus} if self.gpus else {}
        own |= {"slurm_array_parallelism": self.most} if self.most else {}
        try:
            executor.update_parameters(**{**own, **given})
        except (TypeError, NameError, ValueError) as error:
            raise ConfigError(f"--slurm: {error}") from error
        return executor

    def _submit(
        self, executor: Any, queue: RunQueue, at_work: dict[Any, Job], code: str, token: Path
    ) -> Iterator[Outcome]:
        """Everything that may begin, as one array."""
        ready = []
        while (run := queue.take()) is not None:
            if run.refused:
                queue.fail(run)
                yield Outcome(run, problem=run.refused)
            else:
                ready.append(run.joined())  # a requeued task finds what it left itself
        if not ready:
            return
        tickets = [Ticket(run, Path.cwd(), self.threads, code, token.resolve()) for run in ready]
        jobs = executor.map_array(Task(), tickets)
        self.board.note(
            f"submitted {len(jobs)} tasks, the first as job {jobs[0].job_id}; their words are in {executor.folder}"
        )
        for job, run in zip(jobs, ready, strict=True):
            at_work[job] = run
            self.board.begin(run.label, f"job {job.job_id}")

    def _ended(self, job: Any, run: Job, queue: RunQueue) -> Iterator[Outcome]:
        try:
            report: Report = job.result()
        except Exception as error:  # submitit's own errors: the job failed, timed out for good, or left no result
            how = f"{in_short(error)} (it said: {job.paths.stderr})"
            yield from self._dead(run, how, queue)
        else:
            yield from self._through(run, report, queue)


class Task:
    """What a task calls; submitit asks `checkpoint` what to call when it is pre-empted or out of time."""

    def __call__(self, ticket: Ticket) -> Report:
        """Make the run, or go on with it."""
        return perform(ticket, _say)

    def checkpoint(self, ticket: Ticket) -> Any:
        """The same again: the run finds its own last checkpoint."""
        return _import().helpers.DelayedSubmission(self, ticket)


def _say(text: str) -> None:
    print(text, file=sys.__stdout__, flush=True)


def _import() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise ConfigError("--engine slurm needs submitit: pip install 'wtal-bench[slurm]'.") from error
    return submitit
