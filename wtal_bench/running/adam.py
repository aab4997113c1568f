"""Adam as torch computes it, without asking any parameter how many steps it took.

torch keeps every parameter's step count in a tensor and reads it in every step: one value asked of the device for each
parameter. Its fused optimiser keeps the count where the kernel is; on a GPU that is what runs here. On a CPU it rounds
otherwise than the plain one, so there the plain one's arithmetic runs over all parameters at once, bit for bit, and the
host counts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _CountedByHost(torch.optim.Adam):
    """What `Adam` and `AdamW` share; `decoupled` says how weight decay works."""

    decoupled = False

    # torch keeps its compiler out of these, and imports it to do so: a second of every run, for steps that nobody
    # compiles
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take a step."""
        for group in self.param_groups:
            held = [p for p in group["params"] if p.grad is not None]
            if held and all(p.is_cuda for p in held) and group["fused"] is None and not group["foreach"]:
                self._fuse(group)
        if closure is not None or not all(map(self._plain, self.param_groups)):
            return super().step(closure)
        for group in self.param_groups:
            self._step_group(group)
        return None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of a run; the counts are read from it once."""
        inspect.unwrap(torch.optim.Optimizer.load_state_dict)(self, state_dict)
        self._counts = {}

    @property
    def _host(self) -> dict[Tensor, int]:
        if not hasattr(self, "_counts"):
            self._counts = {}
        return self._counts

    def _fuse(self, group: dict[str, Any]) -> None:
        group["fused"] = True
        for p in group["params"]:
            if "step" in self.state.get(p, {}):
                self.state[p]["step"] = self.state[p]["step"].to(p.device)

    @staticmethod
    def _plain(group: dict[str, Any]) -> bool:
        special = ("amsgrad", "maximize", "foreach", "fused", "capturable", "differentiable")
        numbers = (group["lr"], *group["betas"])
        held = (p for p in group["params"] if p.grad is not None)
        return (
            not any(group[key] for key in special)
            and not any(map(torch.is_tensor, numbers))
            and all(p.device.type != "cuda" and p.is_floating_point() and not p.grad.is_sparse for p in held)
        )

    def _step_group(self, group: dict[str, Any]) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            return
        beta1, beta2 = group["betas"]
        for p in params:
            if not self.state[p]:
                self.state[p] = {
                    "step": torch.tensor(0.0),
                    "exp_avg": torch.zeros_like(p, memory_format=torch.preserve_format),
                    "exp_avg_sq": torch.zeros_like(p, memory_format=torch.preserve_format),
                }
                self._host[p] = 0
            elif p not in self._host:
                self._host[p] = int(self.state[p]["step"])
            self._host[p] += 1
        steps, first, second = ([self.state[p][key] for p in params] for key in ("step", "exp_avg", "exp_avg_sq"))
        grads = [p.grad for p in params]
        torch._foreach_add_(steps, 1)
        if group["weight_decay"] and self.decoupled:
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        elif group["weight_decay"]:
            grads = torch._foreach_add(grads, params, alpha=group["weight_decay"])
        torch._foreach_lerp_(first, grads, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, grads, grads, 1 - beta2)
        done = [self._host[p] for p in params]
        root = torch._foreach_sqrt(second)
        torch._foreach_div_(root, [(1 - beta2**n) ** 0.5 for n in done])
        torch._foreach_add_(root, group["eps"])
        torch._foreach_addcdiv_(params, first, root, [-(group["lr"] / (1 - beta1**n)) for n in done])


class Adam(_CountedByHost):
    """`torch.optim.Adam`: its arguments, its bits on a CPU, its fused kernel on a GPU."""


class AdamW(_CountedByHost, torch.optim.AdamW):
    """`torch.optim.AdamW`, as `Adam` is torch's."""

    decoupled = True
