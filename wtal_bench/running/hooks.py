"""What happens around a training step: seeds, checkpoints, progress."""

from __future__ import annotations

import functools
import math
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from torch import nn

from wtal_bench.running.checkpoint import read_checkpoint, write_checkpoint
from wtal_bench.running.finite import bad_parameters, diverged
from wtal_bench.running.scalars import fetched


class StepSeed(Hook):
    """Reseeds every generator from (seed, iteration, rank) before each step.

    A checkpoint then needs no generator state: resuming repeats the same dropout masks, whatever validation or a new
    loader drew in between.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int, rank: int = 0) -> None:
        self.seed, self.rank = seed, rank

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the step about to run."""
        seed_everything(self.seed, runner.iter, self.rank)


def seed_everything(seed: int, iteration: int = 0, rank: int = 0) -> None:
    """Seed python, numpy and torch from three numbers; nearby numbers give unrelated streams."""
    first, second = _states(seed, rank, iteration // AHEAD)[iteration % AHEAD]
    mixed = first << 31 ^ second
    random.seed(mixed)
    np.random.seed(first)
    # what torch.manual_seed does, without its look at every kind of device there might be: it costs more than a step's
    # hooks together
    torch.default_generator.manual_seed(mixed)
    if _has_gpu():
        torch.cuda.manual_seed_all(mixed)


AHEAD = 64
"""Steps whose numbers are drawn at once: between two steps, whose code has pushed this one's out of the processor's
cache, one alone takes as long as five."""


@functools.lru_cache(maxsize=4)
def _states(seed: int, rank: int, block: int) -> list[tuple[int, int]]:
    """The two numbers of each of `AHEAD` steps."""
    steps = range(block * AHEAD, (block + 1) * AHEAD)
    drawn = (np.random.SeedSequence([seed, step, rank]).generate_state(2, np.uint32) for step in steps)
    return [(int(first), int(second)) for first, second in drawn]


@functools.cache
def _has_gpu() -> bool:
    return torch.cuda.is_available()


class FiniteLoss(Hook):
    """Stops a run whose loss or weights are no longer numbers, before it overwrites a good checkpoint."""

    def __init__(self) -> None:
        self._unseen: list[tuple[int, dict[str, Any]]] = []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Look at the losses of the last 50 steps: looking costs a device synchronisation."""
        self._unseen.append((runner.iter + 1, outputs or {}))
        if runner.iter % 50 == 0 or runner.iter + 1 == runner.train_loop.max_iters:
            self._check_losses(runner, runner.iter + 1)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Look at the losses and weights of every checkpoint."""
        self._check_losses(runner, runner.iter)
        bad = bad_parameters(runner.model)
        if bad:
            raise diverged(bad, runner, runner.iter)

    def _check_losses(self, runner: Any, done: int) -> None:
        unseen, self._unseen = self._unseen, []
        for (step, _), values in zip(unseen, fetched([outputs for _, outputs in unseen])):
            bad = [name for name, value in values.items() if not math.isfinite(value)]
            if "loss" in bad:  # a term of weight 0 may be anything
                raise diverged(bad, runner, step)


CHECKPOINT_SHARE = 0.05
"""Of the time, that may go into checkpoints where a config names no interval in seconds."""


class Checkpoints(Hook):
    """Writes `last.pth` every so many epochs (iterations) and `best.pth` when the chosen metric improves.

    Every due `last.pth` but the first and the last of training waits until enough time has gone by.

    Args:
        folder: the run's folder.
        interval: epochs (iterations) between checkpoints; the last one is always written.
        metric: name of the validation metric the best checkpoint goes by, or None.
        about: plain values kept with the weights (method, config hash, versions).
        seconds: that lie at least between two of them; None: as many as keep to `CHECKPOINT_SHARE`.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        folder: Path,
        interval: int,
        metric: str | None,
        about: dict[str, Any],
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.interval, self.metric, self.about = folder, interval, metric, about
        self.seconds, self.clock = seconds, clock
        self.best: dict[str, Any] | None = None
        self._written: int | None = None
        self._began = clock()
        self._spent = self._cost = 0.0
        self._last: float | None = None

    def after_round(self, runner: Any) -> None:
        """Write after an epoch (iteration) and its scoring, so that resuming neither skips nor forgets a score."""
        loop = runner.train_loop
        if loop.done == loop.end or (loop.done % self.interval == 0 and self._affordable()):
            self.write(runner, "last.pth")

    def _affordable(self) -> bool:
        now = self.clock()
        if self._last is None:
            return True
        if self.seconds is not None:
            return now - self._last >= self.seconds
        return self._spent + self._cost <= CHECKPOINT_SHARE * (now - self._began + self._cost)

    def after_train(self, runner: Any) -> None:
        """Write where a hook ended training between two checkpoints."""
        if self._written != runner.iter:
            self.write(runner, "last.pth")

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keep the best weights so far."""
        if self.metric is None:
            return
        value = (metrics or {}).get(self.metric, math.nan)
        if math.isfinite(value) and (self.best is None or value > self.best["value"]):
            self.best = {"metric": self.metric, "value": float(value), "done": runner.train_loop.done}
            self.write(runner, "best.pth")

    def write(self, runner: Any, name: str, keep: Mapping[str, torch.Tensor] | None = None) -> None:
        """Write one checkpoint of the run's state between two steps, with the weights in `keep` instead of its own."""
        if name == "last.pth":
            self._written = runner.iter
        if not is_main_process():
            return
        began = self.clock()
        # a mid-epoch position keeps its epoch; the end of an epoch is the start of the next
        iteration = runner.iter
        epoch = iteration // len(runner.train_dataloader)
        stopped = runner.train_loop.stop_training
        meta = {"epoch": epoch, "iter": iteration, "best": self.best, "stopped": stopped, **self.about}
        checkpoint = {
            "meta": meta,
            "state_dict": getattr(runner.model, "module", runner.model).state_dict(),
            "optimizer": runner.optim_wrapper.state_dict(),
        }
        if iteration % runner.optim_wrapper._accumulative_counts:  # in the middle of accumulating a step
            checkpoint["gradients"] = gradients(runner.model)
        runner.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **(keep or {})}
        write_checkpoint(self.folder / name, checkpoint)
        now = self.clock()
        self._cost = now - began
        self._spent += self._cost
        self._last = now if name == "last.pth" else self._last

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Remember the best value of the run that is resumed."""
        self.best = checkpoint["meta"].get("best")
        self._written = checkpoint["meta"]["iter"]


class StreamCheckpoints(Checkpoints):
    """As `Checkpoints`, but `best.pth` holds every stream as it was in the epoch that was best for it alone.

    Args:
        metrics: stream -> name of the validation metric its weights go by.
        folder, interval, about, seconds: as in `Checkpoints`.
    """

    def __init__(
        self,
        folder: Path,
        interval: int,
        metrics: Mapping[str, str],
        about: dict[str, Any],
        seconds: float | None = None,
    ) -> None:
        super().__init__(folder, interval, None, about, seconds)
        self.metrics = dict(metrics)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keep the best weights of every stream so far."""
        known, better = self.best or {}, {}
        for stream, metric in self.metrics.items():
            value = (metrics or {}).get(metric, math.nan)
            if math.isfinite(value) and (stream not in known or value > known[stream]["value"]):
                better[stream] = {"metric": metric, "value": float(value), "done": runner.train_loop.done}
        if not better:
            return
        keep: dict[str, torch.Tensor] = {}
        if is_main_process() and set(known) - set(better):
            others = tuple(f"members.{stream}." for stream in known if stream not in better)
            weights = read_checkpoint(self.folder / "best.pth")["state_dict"]
            keep = {name: value for name, value in weights.items() if name.startswith(others)}
        self.best = {**known, **better}
        self.write(runner, "best.pth", keep)


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    """The gradients accumulated so far, by parameter."""
    model = getattr(model, "module", model)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


class Progress(Hook):
    """A bar with the time left on a terminal, plain lines every so many seconds elsewhere.

    Args:
        every: seconds between lines.
        out: writes one line.
    """

    def __init__(self, every: float, out: Callable[[str], None] = print) -> None:
        self.every, self.out = every, out
        self._bar: Any = None
        self._began = self._said = self._noted = 0.0
        self._first = 0

    def before_train(self, runner: Any) -> None:
        """Start the clock."""
        self._began = self._said = time.monotonic()
        self._first = runner.iter
        if is_main_process() and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task("", total=runner.train_loop.max_iters, completed=runner.iter, note="")

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Show the step, at most ten times a second, and its loss, at most once a second."""
        now, done, end = time.monotonic(), runner.iter + 1, runner.train_loop.max_iters
        wait = 0.1 if self._bar is not None else self.every
        if not is_main_process() or (now - self._said < wait and done < end):
            return
        self._said = now
        if self._bar is not None:
            if now - self._noted >= 1 or done == end:  # reading the loss waits for the device
                self._noted = now
                self._bar.update(self._task, note=self._note(outputs).partition("  (")[0])  # the terms would not fit
            self._bar.update(self._task, completed=done)
            return
        note = self._note(outputs)
        left = (now - self._began) / max(1, done - self._first) * (end - done)
        self.out(
            f"epoch {runner.epoch + 1}/{runner.train_loop.max_epochs}  step {done}/{end}  {note}  left {left:.0f} s"
        )

    def end_display(self, runner: Any) -> None:
        """Take the bar away, however training ended: it hides the terminal's cursor."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @staticmethod
    def _note(outputs: dict[str, Any] | None) -> str:
        (values,) = fetched([outputs or {}])
        terms = "  ".join(f"{name} {value:.4g}" for name, value in values.items() if name != "loss")
        return (
            f"loss {values.get('loss', math.nan):.4g}  ({terms})"
            if terms
            else f"loss {values.get('loss', math.nan):.4g}"
        )
