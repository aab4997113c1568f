"""Adam as TensorFlow computes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wtal_bench.running.adam import Adam


class TFAdam(Adam):
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
                group["steps"] = self._done(group) + 1
                group["eps"] = group["eps"] / (1 - group["betas"][1] ** group["steps"]) ** 0.5
            return super().step(closure)
        finally:
            for group, eps in zip(self.param_groups, given, strict=True):
                group["eps"] = eps

    def _done(self, group: dict[str, Any]) -> int:
        """Steps taken so far; the parameters of a group take them together."""
        if "steps" not in group:  # of a checkpoint from before the host counted
            taken = [float(self.state[p]["step"]) for p in group["params"] if p in self.state]
            group["steps"] = int(max(taken, default=0))
        return group["steps"]
