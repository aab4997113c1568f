"""Every run a task of a Ray cluster: one that is joined by its address, or one that is started on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wtal_bench.engines.board import Board
from wtal_bench.engines.engine import Engine, Outcome, RunQueue, shared_folder
from wtal_bench.engines.job import Job
from wtal_bench.engines.machine import THREADS, cores
from wtal_bench.engines.work import Report, Ticket, code_hash, in_short, perform, refuse_other, token_in
from wtal_bench.errors import ConfigError, WtalError

CHECK_SECONDS = 120
"""Seconds a node has to show that it sees the folder and runs the same code."""


class Ray(Engine):
    """Tasks of a Ray cluster.

    Args:
        address: of a running cluster ("auto": the one this machine is in); None starts one here.
        threads: torch's, in each run; as many CPUs are asked for.
        gpus: GPUs a run, fractions allowed; None: a whole one where the cluster has any.
        jobs: runs side by side at most; None: as many as the cluster has room for.
        board: shows what the tasks do.
    """

    def __init__(
        self,
        address: str | None = None,
        threads: int = 1,
        gpus: float | None = None,
        jobs: int | None = None,
        board: Board | None = None,
    ) -> None:
        super().__init__(board or Board())
        self._ray = _import()
        self.address, self.threads, self.gpus = address, threads, gpus
        self.most = jobs
        self.jobs = jobs or 1
        self.describe = f"Ray, {'a cluster of this machine' if address is None else f'the cluster at {address}'}"

    def run(self, runs: Sequence[Job]) -> Iterator[Outcome]:
        """See `Engine`; tasks that are at work when it ends are cancelled."""
        queue = RunQueue(runs)
        yield from queue.finished()
        if queue.empty:
            return
        own = self._join()
        at_work: dict[Any, Job] = {}
        try:
            with token_in(shared_folder(runs)) as token:
                code = code_hash()
                self._check_nodes(token.resolve(), code)
                with self.board:
                    yield from self._work(queue, at_work, code, token.resolve())
        finally:
            for task in at_work:
                self._ray.cancel(task, force=True)
            if own:
                self._ray.shutdown()

    def _join(self) -> bool:
        """Join, or start, a cluster; True if it is ours to shut down."""
        ray = self._ray
        if ray.is_initialized():
            return False
        variables = dict.fromkeys(THREADS, str(self.threads))
        try:
            # told before ray counts the CPUs: as many runs side by side here as were asked for
            own = {} if self.address is not None else {"num_cpus": self._cpus_here()}
            ray.init(
                address=self.address or "local",
                runtime_env={"env_vars": variables},
                include_dashboard=False if self.address is None else None,
                logging_level="error",
                **own,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WtalError(
                f"--engine ray: cannot join {self.address or 'a cluster of this machine'}: {error}"
            ) from error
        return True

    def _cpus_here(self) -> int:
        return self.threads * self.most if self.most else max(self.threads, cores())

    def _gpus(self) -> float:
        if self.gpus is not None:
            return self.gpus
        return 1.0 if self._ray.cluster_resources().get("GPU", 0) >= 1 else 0.0

    def _check_nodes(self, token: Path, code: str) -> None:
        """Have every machine show that it sees the folder and has the code, before the first run."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

        check = self._ray.remote(num_cpus=0, max_retries=0)(_checked)
        nodes = [node["NodeID"] for node in self._ray.nodes() if node["Alive"]]
        tasks = [check.options(scheduling_strategy=On(node, soft=False)).remote(code, token) for node in nodes]
        try:
            problems = self._ray.get(tasks, timeout=CHECK_SECONDS)
        except self._ray.exceptions.RayError as error:
            raise WtalError(
                f"--engine ray: a machine of the cluster cannot run wtal-bench: {in_short(error)}. Install the same "
                "version on all of them."
            ) from error
        if found := [problem for problem in problems if problem]:
            raise WtalError(f"--engine ray: {found[0]}")

    def _work(self, queue: RunQueue, at_work: dict[Any, Job], code: str, token: Path) -> Iterator[Outcome]:
        task = self._ray.remote(num_cpus=self.threads, num_gpus=self._gpus(), max_retries=0)(_performed)
        while not queue.empty or at_work:
            yield from queue.orphans()
            while (self.most is None or len(at_work) < self.most) and (run := queue.take()) is not None:
                ticket = Ticket(run, Path.cwd(), self.threads, code, token)
                at_work[task.options(name=run.label).remote(ticket)] = run
                self.board.begin(run.label, "a task of the cluster")
            ready, _ = self._ray.wait(list(at_work), timeout=0.5) if at_work else ([], [])
            for done in ready:
                yield from self._ended(done, at_work.pop(done), queue)
            self.board.tick()

    def _ended(self, task: Any, run: Job, queue: RunQueue) -> Iterator[Outcome]:
        try:
            report: Report = self._ray.get(task)
        except self._ray.exceptions.RayError as error:  # the worker or its machine is gone
            yield from self._dead(run, in_short(error), queue)
        else:
            yield from self._through(run, report, queue)


def _performed(ticket: Ticket) -> Report:
    """In a worker: Ray takes what it prints to the driver."""
    stream, name = sys.stdout, ticket.run.label
    return perform(ticket, lambda text: print(f"{name}: {text}", file=stream, flush=True))


def _checked(code: str, token: Path) -> str:
    try:
        refuse_other(code, token)
    except WtalError as error:
        return str(error)
    return ""


def _import() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--engine ray needs Ray: pip install 'wtal-bench[ray]'.") from error
    return ray
