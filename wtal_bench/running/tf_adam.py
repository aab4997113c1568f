"""Adam as TensorFlow computes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class TFAdam(torch.optim.Adam):
    """Adam with eps added before the bias correction: p -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps).

    torch corrects sqrt(v) first, so the same eps acts 1 / sqrt(1 - b2^t) times as strong here: 32 times in the first
    step, twice after 288. Where gradients are as small as eps the two part company.

    Arguments are those of `torch.optim.Adam`, whose fast step does the work.
    """

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take a step."""
        given = [group["eps"] for group in self.param_groups]
        try:
            for group in self.param_groups:
                group["eps"] = group["eps"] / (1 - group["betas"][1] ** (self._done(group) + 1)) ** 0.5
            return super().step(closure)
        finally:
            for group, eps in zip(self.param_groups, given, strict=True):
                group["eps"] = eps

    def _done(self, group: dict[str, Any]) -> float:
        """Steps taken so far; the parameters of a group take them together."""
        return max((float(self.state[p]["step"]) for p in group["params"] if p in self.state), default=0.0)
