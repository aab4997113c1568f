"""The optimiser step: bf16 autocast on any device, gradients accumulated by mean or by sum, a stateless rate."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Iterator

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.options import check_arguments
from wtal_bench.running.adam import Adam, AdamW
from wtal_bench.running.settings import Train
from wtal_bench.running.tf_adam import TFAdam

GIVEN = ("params", "lr", "weight_decay", "capturable", "differentiable")
"""Arguments of an optimiser that no config gives: two are `train`'s, the last two serve captured graphs and steps
that are differentiated through, which the training loop does not make."""


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

    def _clip_grad(self) -> None:
        """Clip the gradients; mmengine would also log their norm, and wait for it in every step."""
        held = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        if held:
            self.clip_func(held, **self.clip_grad_kwargs)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Divide by the number of accumulated batches for a mean; leave a sum alone."""
        whole = self.reduction == "sum" or self._accumulative_counts == 1
        return loss if whole else loss / self._accumulative_counts

    def should_update(self) -> bool:
        """Step after every `accumulate` batches, counted on over epochs; a remainder at the end is not forced out.

        mmengine would step once more at the end: training 2 epochs and resuming for 2 more would differ from 4.
        """
        return self._inner_count % self._accumulative_counts == 0


def autocast(device: str, precision: str) -> contextlib.AbstractContextManager:
    """bf16 autocast on `device`, or nothing for float32."""
    return torch.autocast(device, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def torch_optimizers() -> dict[str, type[torch.optim.Optimizer]]:
    """Every optimiser of torch, and our own, by name."""
    found = {name: getattr(torch.optim, name) for name in dir(torch.optim)}
    found |= {"Adam": Adam, "AdamW": AdamW, "TFAdam": TFAdam}
    base = torch.optim.Optimizer
    return {n: c for n, c in found.items() if inspect.isclass(c) and issubclass(c, base) and c is not base}


def check_optimizer(train: Train, where: str) -> None:
    """Refuse an optimiser dict that torch, or the training loop, cannot take.

    Raises:
        ConfigError: naming the argument or the class, and what would be right.
    """
    where, name, known = f"{where}.optimizer", train.optimizer.get("type"), torch_optimizers()
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"{where}.type={name!r}.{did_you_mean(str(name), known)} torch.optim has: {listing(known)}.")
    if inspect.signature(known[name].step).parameters["closure"].default is inspect.Parameter.empty:
        raise ConfigError(
            f"{where}: {name} evaluates the model several times a step through a closure, which a loop over "
            "mini-batches does not give it; choose a first-order one, e.g. dict(type='RMSprop')."
        )
    if name == "SparseAdam":
        raise ConfigError(f"{where}: SparseAdam takes sparse gradients alone, and no component makes any.")
    arguments = {key: value for key, value in train.optimizer.items() if key != "type"}
    for key in ("lr", "weight_decay"):
        if key in arguments:
            raise ConfigError(f"{where}.{key}: write it as train.{key}, which every optimiser reads.")
    check_arguments(known[name], arguments, where, shown=name, hidden=GIVEN)
    for key, default in (("betas", Train.betas), ("eps", Train.eps), ("momentum", Train.momentum)):
        value = getattr(train, key)
        if (tuple(value) if isinstance(value, list) else value) != default:
            raise ConfigError(f"{where} is a dict, so train.{key} is not read: write dict(..., {key}={value!r}).")
    if train.weight_decay and "weight_decay" not in inspect.signature(known[name]).parameters:
        raise ConfigError(f"{where}: {name} has no weight decay; remove train.weight_decay={train.weight_decay}.")
    _try_two_steps(train, where, name)


def _try_two_steps(train: Train, where: str, name: str) -> None:
    """Move one parameter: what torch does not check when it builds an optimiser shows in its steps at the latest."""
    parameter = nn.Parameter(torch.ones(1, 1))
    optimizer = build_optimizer([parameter], train, where)
    try:
        for _ in range(2):
            parameter.grad = torch.ones(1, 1)
            optimizer.step()
    except Exception as error:  # an argument of the wrong kind may surface as anything
        raise ConfigError(f"{where} ({name}): its arguments cannot make a step: {error}") from error


def build_optimizer(
    parameters: Iterable[nn.Parameter], train: Train, where: str = "train.optimizer"
) -> torch.optim.Optimizer:
    """Build the torch optimiser the config's `train` section describes.

    Raises:
        ConfigError: it refuses its arguments or these parameters.
    """
    if isinstance(train.optimizer, dict):
        given = {"lr": train.lr, "weight_decay": train.weight_decay, **train.optimizer}
        kind = torch_optimizers()[given.pop("type")]
        if "weight_decay" not in inspect.signature(kind).parameters:
            del given["weight_decay"]
        if kind is torch.optim.SGD and not {"foreach", "fused"} & set(given):
            given["fused"] = True
        try:
            return kind(parameters, **given)
        except (TypeError, ValueError, RuntimeError, LookupError) as error:
            raise ConfigError(f"{where} ({kind.__name__}): {error}") from error
    common = {"lr": train.lr, "weight_decay": train.weight_decay}
    if train.optimizer == "SGD":
        return torch.optim.SGD(parameters, momentum=train.momentum, fused=True, **common)
    kind = {"AdamW": AdamW, "TFAdam": TFAdam}.get(train.optimizer, Adam)
    return kind(parameters, betas=tuple(train.betas), eps=train.eps, **common)
