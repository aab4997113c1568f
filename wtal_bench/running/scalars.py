"""What training steps report, fetched from the device many steps at a time: fetching waits until it has caught up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import RuntimeInfoHook


def fetched(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The scalars (0-d tensors or numbers) of some steps as floats, in one transfer."""
    tensors = [value.detach().double() for outputs in steps for value in outputs.values() if torch.is_tensor(value)]
    values = iter(torch.stack(tensors).tolist() if tensors else ())
    return [
        {name: next(values) if torch.is_tensor(value) else float(value) for name, value in outputs.items()}
        for outputs in steps
    ]


class StepScalars(RuntimeInfoHook):
    """mmengine's hook that hands the losses of every step to the log, fetching them only when the log is written.

    Args:
        interval: of mmengine's `LoggerHook`: steps of an epoch between two entries of the log.
    """

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self._pending: list[dict[str, Any]] = []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Remember the step's losses; hand on what was remembered if the log is due."""
        self._pending.append(dict(outputs or {}))
        if (batch_idx + 1) % self.interval == 0 or batch_idx + 1 == len(runner.train_dataloader):
            self.hand_on(runner)

    def after_train_epoch(self, runner: Any) -> None:
        """Hand on the rest: an epoch may end early."""
        self.hand_on(runner)

    def hand_on(self, runner: Any) -> None:
        """Fetch what was remembered."""
        steps, self._pending = self._pending, []
        for outputs in fetched(steps):
            for name, value in outputs.items():
                runner.message_hub.update_scalar(f"train/{name}", value)
