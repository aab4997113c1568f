"""Where a run executes: its device, its processes, and whether torch must be deterministic."""

from __future__ import annotations

import atexit
import os
import sys

import torch

from wtal_bench.errors import ConfigError
from wtal_bench.running.settings import RunConfig


def pick_device(config: RunConfig) -> torch.device:
    """The device `runtime.device` asks for.

    Raises:
        ConfigError: a GPU is asked for and there is none.
    """
    wanted = config.runtime.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"{config.path}: runtime.device='cuda', but torch sees no GPU here; use 'auto' or 'cpu'.")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def join_processes(device: torch.device) -> tuple[int, int]:
    """Join the processes torchrun started; return (rank, how many). mmengine's own launcher would insist on a GPU."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world > 1 and not torch.distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave_processes)
    return (torch.distributed.get_rank(), world) if world > 1 else (0, 1)


def _leave_processes() -> None:
    """Let go of the others before the interpreter ends: a gloo thread that outlives it aborts the process, at times."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def be_deterministic(wanted: bool, compiled: bool = False) -> None:
    """Ask torch for deterministic algorithms, or take the request back; `compiled` asks its compiler, too."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    if compiled or "torch._inductor.config" in sys.modules:
        torch.use_deterministic_algorithms(wanted, warn_only=True)
    else:  # what that does, without loading the compiler to tell it: 200 modules that most runs never use
        torch._C._set_deterministic_algorithms(wanted, warn_only=True)
