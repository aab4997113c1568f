"""Hooks as a plugin may write them: good ones, and one that forgets."""

from __future__ import annotations

import torch

from wtal_bench.interfaces import Hook

PLACE = "tests.contracts.hooks"


class Halver(Hook):
    """Halves every weight after `patience` scores without a new best; what it remembers is plain and kept by itself."""

    def __init__(self, monitor: str = "holdout/classification_mAP", patience: int = 1) -> None:
        self.monitor, self.patience = monitor, patience
        self.best, self.waited, self.last = -1.0, 0, torch.zeros(2)

    def after_val_epoch(self, runner, metrics=None):
        """Count, and act."""
        value = metrics[self.monitor]
        self.waited = 0 if value > self.best else self.waited + 1
        self.best = max(self.best, value)
        self.last = torch.tensor([value, float(self.waited)])
        if self.waited >= self.patience:
            with torch.no_grad():
                for parameter in runner.model.parameters():
                    parameter.mul_(0.5)


class Averager(Hook):
    """Pulls the weights towards the mean of the batches' losses so far; says itself what it remembers."""

    priority = "LOW"

    def __init__(self) -> None:
        self._losses = Losses()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Collect a loss and use the mean."""
        self._losses.add(float(outputs["loss"]))
        with torch.no_grad():
            next(runner.model.parameters()).add_(1e-3 * self._losses.mean)

    def state_dict(self):
        """The losses."""
        return {"losses": list(self._losses.values)}

    def load_state_dict(self, state):
        """The losses back."""
        self._losses.values = list(state["losses"])


class Forgetful(Averager):
    """The same, but begins anew on resuming."""

    def load_state_dict(self, state):
        """Nothing."""


class Losses:
    def __init__(self) -> None:
        self.values: list[float] = []

    def add(self, value: float) -> None:
        self.values.append(value)

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)


class Unplain(Hook):
    """Remembers what no checkpoint may hold."""

    def state_dict(self):
        """An object."""
        return {"losses": Losses()}

    def load_state_dict(self, state):
        """Never called."""


class Misspelt(Hook):
    """Has a method nobody calls."""

    def after_train_iteration(self, runner):
        """Never called."""


class NoHook:
    """Does not inherit the interface."""
