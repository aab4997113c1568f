"""Several training processes in one test."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import torch.multiprocessing as mp

METHOD = "forkserver"


def run_ranks(work: Callable[[int, int, str, str], None], folder: Path, world: int = 2) -> None:
    """Call `work(rank, world, address of the process group's store, folder)` in `world` processes.

    One server imports torch and the harness and forks them all, for every test of a worker: each importing anew would
    cost seconds a process. Forking the test's own process is no choice, it has threads.
    """
    multiprocessing.get_context(METHOD).set_forkserver_preload(["wtal_bench.testing", "scipy.optimize"])
    mp.start_processes(work, (world, f"file://{folder}/store", str(folder)), nprocs=world, start_method=METHOD)
