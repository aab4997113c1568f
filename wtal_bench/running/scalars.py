"""What training steps report, fetched from the device many steps at a time: fetching waits until it has caught up."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import IterTimerHook, RuntimeInfoHook
from mmengine.logging import HistoryBuffer


def fetched(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The scalars (0-d tensors or numbers) of some steps as floats, in one transfer."""
    tensors = [value for outputs in steps for value in outputs.values() if torch.is_tensor(value)]
    if len({tensor.dtype for tensor in tensors}) > 1:
        tensors = [tensor.double() for tensor in tensors]
    with torch.no_grad():
        values = iter(torch.stack(tensors).tolist() if tensors else ())
    return [
        {name: float(next(values) if torch.is_tensor(value) else value) for name, value in outputs.items()}
        for outputs in steps
    ]


KEPT = 100
"""Steps of a scalar that the log remembers: it smooths over far fewer, and mmengine copies them all at every step."""


def note(hub: Any, name: str, values: Sequence[float]) -> None:
    """Append some steps' values of one scalar to mmengine's message hub, in one piece."""
    if not values:
        return
    known = hub.log_scalars[name].data[0].tolist() if name in hub.log_scalars else []
    before = [*known, *values[:-1]][-KEPT:]
    hub.log_scalars[name] = HistoryBuffer(before, [1] * len(before))
    hub.update_scalar(name, values[-1])


class _Due:
    """Knows the steps at which the log is written.

    Args:
        interval: of mmengine's `LoggerHook`: steps of an epoch between two entries of the log.
    """

    def __init__(self, interval: int) -> None:
        super().__init__()
        self.interval = interval

    def due(self, runner: Any, batch_idx: int) -> bool:
        """Whether the log is written after this step of the epoch."""
        return (batch_idx + 1) % self.interval == 0 or batch_idx + 1 == len(runner.train_dataloader)


class StepScalars(_Due, RuntimeInfoHook):
    """mmengine's hook that hands learning rate and losses of the steps to the log, fetched only when it is written."""

    def __init__(self, interval: int) -> None:
        super().__init__(interval)
        self._pending: list[dict[str, Any]] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Say where training is; the rate is of interest where the log is written."""
        if self.due(runner, batch_idx):
            super().before_train_iter(runner, batch_idx, data_batch)
        else:
            runner.message_hub.update_info("iter", runner.iter)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Remember the step's losses; hand on what was remembered if the log is due."""
        self._pending.append(dict(outputs or {}))
        if self.due(runner, batch_idx):
            self.hand_on(runner)

    def after_train_epoch(self, runner: Any) -> None:
        """Hand on the rest: an epoch may end early."""
        self.hand_on(runner)

    def hand_on(self, runner: Any) -> None:
        """Fetch what was remembered."""
        steps, self._pending = self._pending, []
        columns: dict[str, list[float]] = {}
        for outputs in fetched(steps):
            for name, value in outputs.items():
                columns.setdefault(name, []).append(value)
        for name, values in columns.items():
            note(runner.message_hub, f"train/{name}", values)


class StepTimer(_Due, IterTimerHook):
    """mmengine's hook that times the steps and what they wait for; it hands both on when the log is written."""

    def __init__(self, interval: int) -> None:
        super().__init__(interval)
        self._waited: list[float] = []
        self._took: list[float] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Remember how long the batch was waited for."""
        self._waited.append(time.time() - self.t)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Remember how long the step took, from the end of the last; hand on what was remembered if the log is due."""
        now = time.time()
        self._took.append(now - self.t)
        self.time_sec_tot += now - self.t
        self.t = now
        if self.due(runner, batch_idx):
            note(runner.message_hub, "train/data_time", self._waited)
            note(runner.message_hub, "train/time", self._took)
            self._waited, self._took = [], []
            average = self.time_sec_tot / (runner.iter - self.start_iter + 1)
            runner.message_hub.update_info("eta", average * (runner.max_iters - runner.iter - 1))
