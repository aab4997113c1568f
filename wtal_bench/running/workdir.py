"""A run's folder: found, locked, and never shared by two runs."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from wtal_bench.errors import ConfigError, WtalError
from wtal_bench.files import write_json
from wtal_bench.reading import read_json
from wtal_bench.recipes import PLUS

CONFIG, LOCK = "config.json", ".lock"


class BusyError(ConfigError):
    """Another process is in a run's folder right now."""


class WorkDir:
    """The folder of one run.

    Layout: config.json (resolved), last.pth, best.pth, record/ (leaderboard record with its detections), and
    mmengine's dated folder of logs and loss curves.

    Args:
        path: the folder.
        resume: continue the run in it.
        share: join the first process of the same run (the other ranks of a distributed one).

    A run that was interrupted before its first checkpoint begins anew, with `resume` and without.

    Raises:
        ConfigError: it holds a checkpoint and `resume` is off, or no run and it is on.
        BusyError: another process is in it.
        WtalError: it cannot be written.
    """

    def __init__(self, path: str | Path, resume: bool = False, share: bool = False) -> None:
        self.path = Path(path)
        self.shared = share
        self._lock = FileLock(self.path / LOCK, thread_local=False)
        self._made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        if share:
            return
        self._acquire()
        problem = None
        if self.checkpoint.is_file() and not resume:
            problem = f"{self.path} already holds a run: add --resume to continue it, or choose another --work-dir."
        if resume and not (self.checkpoint.is_file() or (self.path / CONFIG).is_file()):
            problem = f"{self.path} holds no run to resume; start without --resume."
        if problem is not None:
            self.release()
            raise ConfigError(problem)

    def refuse_changes(self, resolved: dict[str, Any]) -> None:
        """On resuming, refuse a config that differs in more than where, how and how long it runs.

        Raises:
            ConfigError: the text names the keys.
        """
        path = self.path / CONFIG
        if not (path.is_file() and self.checkpoint.is_file()):
            return
        before = read_json(path, kind=ConfigError, hint="Start a new run.")
        if not isinstance(before, dict):
            raise ConfigError(f"{path}: holds no config. Start a new run.")
        differs = [key for key in changes(before, resolved) if key not in MAY_CHANGE]
        if differs:
            raise ConfigError(
                f"{self.path}: the config differs from the one this run began with in {', '.join(differs)}. "
                "Resume with the same config, or start a new run."
            )

    def begin(self, resolved: dict[str, Any]) -> None:
        """Save the resolved config: from here on the folder holds a run."""
        if not self.shared:
            write_json(self.path / CONFIG, resolved)

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.path / "last.pth"

    @property
    def records(self) -> Path:
        """Where the run's leaderboard record goes."""
        return self.path / "record"

    def release(self) -> None:
        """Let another run in. A folder in which no run ever began is taken away again."""
        if not self._lock.is_locked:
            return
        if not (self.path / CONFIG).is_file():
            with contextlib.suppress(PermissionError):  # Windows keeps a file that is open
                (self.path / LOCK).unlink(missing_ok=True)
            self._remove_made()
        self._lock.release()

    def _remove_made(self) -> None:
        for folder in self._made:
            with contextlib.suppress(OSError):  # somebody else's files are in it, or it was never made
                folder.rmdir()

    def _acquire(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout:  # the folder is the other run's: leave all of it alone
            raise BusyError(f"another run is using {self.path} right now; choose another --work-dir.") from None
        except OSError as error:
            self._remove_made()
            raise WtalError(
                f"cannot use {self.path} as a work dir: {error.strerror}. Choose another --work-dir."
            ) from error


MAY_CHANGE = frozenset(
    f"runtime.{name}"
    for name in (
        "device",
        "num_workers",
        "decode_workers",
        "log_interval",
        "visualizer",
        "compile",
        "checkpoint_seconds",
        "example",
    )
) | {"train.epochs", "train.iterations", "train.checkpoint_interval", "test.batch_size", "data.resident", "data.root"}
"""Settings that may differ when a run is resumed: longer training, other hardware."""


def changes(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys in which two nested dicts differ."""
    found = []
    for key in sorted({*before, *after}):
        left, right = before.get(key), after.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            found += changes(left, right, f"{prefix}{key}.")
        elif left != right:
            found.append(f"{prefix}{key}")
    return found


def default_work_dir(config: str | Path, seed: int) -> Path:
    """A new folder under work_dirs/, named by config, time, seed and process."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Path("work_dirs") / _named(config) / f"{stamp}-seed{seed}-{os.getpid()}"


def latest_work_dir(config: str | Path) -> Path:
    """The newest run of a config, for `--resume` without a folder.

    Raises:
        ConfigError: there is none.
    """
    runs = sorted((Path("work_dirs") / _named(config)).glob("*/last.pth"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise ConfigError(f"work_dirs/{_named(config)} holds no run to resume; name one with --work-dir.")
    return runs[-1].parent


def _named(config: str | Path) -> str:
    """The config's file name without its suffix, and the ideas named after it: "acm_net_synthetic+ftcl"."""
    file, *ideas = Path(config).name.split(PLUS)
    return PLUS.join([Path(file).stem, *ideas])
