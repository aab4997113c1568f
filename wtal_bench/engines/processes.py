"""One run over several processes of this machine: what a torchrun line starts, without the line."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wtal_bench.engines.machine import cores
from wtal_bench.errors import WtalError

BAD_INPUT = 2
"""Exit status of a process that has said in a sentence what is wrong."""


def launch(words: Sequence[str], processes: int, resume: str) -> int:
    """Start `wtal-bench WORDS` in several processes that train one run together, and wait for them.

    What the first of them prints is shown. As soon as one ends badly the others are stopped.

    Args:
        words: verb and arguments, the same for all of them.
        processes: how many.
        resume: what to do to go on with the run, for the text of an error.

    Returns:
        The exit status: 0, or that of a process which has said itself what was wrong.

    Raises:
        WtalError: a process was killed, or ended without a word.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # its page-long reports
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs, redirects=dict.fromkeys(range(1, processes), Std.ALL)),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "wtal_bench", *words)
        except ChildFailedError as error:
            return _why(error.failures, processes, resume, Path(logs))
        except SignalException as error:
            raise KeyboardInterrupt from error
    return 0


def _why(failures: Mapping[int, Any], processes: int, resume: str, logs: Path) -> int:
    """The exit status of processes that failed, or a sentence where none of them could say one."""
    killed = {rank: failure.exitcode for rank, failure in failures.items() if failure.exitcode < 0}
    for rank, code in killed.items():
        if code != -signal.SIGTERM:
            raise WtalError(
                f"process {rank + 1} of {processes} was killed ({signal.Signals(-code).name}), so the others were "
                f"stopped. {resume}"
            )
    if 0 in failures and failures[0].exitcode > 0:  # it has been heard
        return failures[0].exitcode
    rank, failure = min(failures.items())
    said = [path.read_text(encoding="utf-8", errors="replace").strip() for path in logs.rglob(f"{rank}/stderr.log")]
    words = next((text.splitlines()[-1] for text in said if text), f"it ended with status {failure.exitcode}")
    raise WtalError(f"process {rank + 1} of {processes}: {words.removeprefix('wtal-bench train: ')} {resume}")


def lost_peer(error: Exception) -> bool:
    """Whether an error in a process says that another process of its run is gone."""
    import torch

    if int(os.environ.get("WORLD_SIZE", 1)) < 2 or not isinstance(error, RuntimeError):
        return False
    known = (torch.distributed.DistError,) if hasattr(torch.distributed, "DistError") else ()
    text = str(error)
    return isinstance(error, known) or "gloo" in text or "Connection closed by peer" in text or "NCCL" in text
