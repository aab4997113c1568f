"""The optimiser step: bf16 autocast on any device, gradients accumulated by mean or by sum, a stateless rate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from wtal_bench.running.config import Train


class OptimizerStep(OptimWrapper):
    """mmengine's wrapper with autocast and a choice of how accumulated batches are reduced.

    mmengine's own AMP wrapper asserts a GPU and needs a loss scaler; bf16 needs neither.

    Args:
        optimizer: torch optimiser.
        precision: "float32" or "bf16".
        accumulate: batches per step.
        reduction: "mean" or "sum" of their gradients.
        clip: largest gradient norm, or None.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        precision: str = "float32",
        accumulate: int = 1,
        reduction: str = "mean",
        clip: float | None = None,
    ) -> None:
        super().__init__(optimizer, accumulate, None if clip is None else {"max_norm": clip})
        self.precision, self.reduction = precision, reduction

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast the forward pass, and hold gradient synchronisation back while accumulating."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), autocast(device, self.precision):
            yield

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Divide by the number of accumulated batches for a mean; leave a sum alone."""
        return loss if self.reduction == "sum" else loss / self._accumulative_counts

    def should_update(self) -> bool:
        """Step after every `accumulate` batches, counted on over epochs; a remainder at the end is not forced out.

        mmengine would step once more at the end: training 2 epochs and resuming for 2 more would differ from 4.
        """
        return self._inner_count % self._accumulative_counts == 0


def autocast(device: str, precision: str) -> contextlib.AbstractContextManager:
    """bf16 autocast on `device`, or nothing for float32."""
    return torch.autocast(device, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def build_optimizer(parameters: Iterator[nn.Parameter], train: Train) -> torch.optim.Optimizer:
    """Build the torch optimiser the config's `train` section describes."""
    common = {"lr": train.lr, "weight_decay": train.weight_decay}
    if train.optimizer == "SGD":
        return torch.optim.SGD(parameters, momentum=train.momentum, **common)
    kind = torch.optim.AdamW if train.optimizer == "AdamW" else torch.optim.Adam
    return kind(parameters, betas=tuple(train.betas), eps=train.eps, **common)


def learning_rate(train: Train, done: int) -> float:
    """The rate after `done` epochs (or iterations): piecewise constant, a function of the position alone."""
    rate = train.lr
    for first, value in sorted(train.lr_schedule):
        if done >= first:
            rate = value
    return rate
