"""Whose fault a failure is: a component of a plugin that fails, or gives what it must not, is named with its line.

Mistakes in a component of one's own are input, not bugs of the harness; what fails inside of the harness and of the
methods that ship with it is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from wtal_bench.errors import ConfigError, did_you_mean
from wtal_bench.interfaces import Component, Loss, Outputs
from wtal_bench.modeling.model import Model
from wtal_bench.modeling.parts import Part, labelled

__all__ = ["check_looked_at", "fault"]

OURS = ("wtal_bench", "wtal_plugins")
"""Top packages of what ships."""


def fault(error: BaseException) -> str:
    """Which component of a plugin an exception arose in, where and what it was; "" if it was none.

    The component is the first on the way down whose method failed; the line is the last on that way that lies in its
    plugin. What a component of the harness raised is not judged.
    """
    model: Model | None = None
    component: Component | None = None
    frame: FrameType | None = None
    line, trace = 0, error.__traceback__
    while trace is not None:
        this = trace.tb_frame.f_locals.get("self")
        if isinstance(this, Model) and model is None:
            model = this
        if component is None and isinstance(this, Component):
            component = this
        if component is not None and _package(trace.tb_frame.f_globals.get("__name__")) == _package(_module(component)):
            frame, line = trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
    if component is None or frame is None or not _foreign(component):
        return ""
    parts = [part for _, _, part in model.parts() if part.component is component] if model is not None else []
    place = f"{frame.f_code.co_filename}:{line}"
    who = f"{parts[0].where} ({parts[0].name}, {place})" if parts else f"{type(component).__name__} ({place})"
    return f"{who}: {type(error).__name__}: {error}.{_advice(error, component, model)}"


def _advice(error: BaseException, component: Component, model: Model | None) -> str:
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    fields = [] if model is None else [field.rpartition(".")[2] for field in model.fields]
    given = (*component.requires, *component.optional)
    if isinstance(key, str) and key in fields and key not in given:
        wanted = ", ".join(map(repr, (*component.requires, key)))
        return f" A component is given the fields it declares: write requires = ({wanted},) in its class."
    if isinstance(key, str) and key not in given:
        return f"{did_you_mean(key, given or fields)} The component declares requires = {component.requires!r}."
    return " Mend it there; --traceback shows the whole way."


def check_looked_at(model: Model, outputs: Outputs, scalars: Mapping[str, Tensor], epoch: int, real: bool) -> None:
    """Refuse losses of plugins that gave NaN from finite fields, or a value that no gradient goes through.

    Args:
        model: that was run once, with gradients.
        outputs: its fields.
        scalars: of `Model.losses`.
        epoch: that was asked for; a weight of 0 in it excuses everything.
        real: whether the mini-batch is one that training could have drawn, pairs and all.

    Raises:
        ConfigError: names the loss, its class and where it stands.
    """
    weights = {id(part.component): weight for part, weight in _weighted(model)}
    for path, prefix, part in model.parts():
        if not isinstance(part.component, Loss) or not _foreign(part.component):
            continue
        key, weight = prefix + path.rpartition(".")[2], weights[id(part.component)]
        own = {key: scalars[key]} if key in scalars and weight.largest(epoch) else {}
        own |= {n: v for n, v in scalars.items() if n.startswith(f"{key}.") and weight.at(n[len(key) + 1 :], epoch)}
        read = [outputs[prefix + field] for field in part.readable if prefix + field in outputs]
        well = all(bool(torch.isfinite(field).all()) for field in read)
        for name, value in own.items() if well and (real or "pairs" not in part.component.needs) else ():
            if not bool(torch.isfinite(value)):
                raise ConfigError(
                    f"{labelled(part)}: {name} is {value.item()} on the first look at the data, though the fields it "
                    "reads are finite. Look for a division by zero, a logarithm or root of 0, or a mean of nothing "
                    "(mask what is padding); weight=0 would only report it."
                )
        learns = any(field.requires_grad for field in read)
        held = any(value.requires_grad or not bool(value) for value in own.values())  # 0: it waits for its epoch
        if learns and own and not held:
            raise ConfigError(
                f"{labelled(part)}: no gradient goes through {', '.join(own)}, so that it would train nothing. Compute "
                "it from the fields with torch alone: no .detach(), .item(), .numpy(), torch.no_grad() or thresholds. "
                "If it is only to be reported, give it weight=0."
            )


def _weighted(model: Model) -> list[tuple[Part, Any]]:
    members = [each for each in model.modules() if hasattr(each, "weighted_losses")]
    return [pair for member in members for pair in member.weighted_losses()]


def _foreign(component: Component) -> bool:
    return _package(_module(component)) not in OURS


def _module(component: Component) -> str:
    return type(component).__module__


def _package(module: Any) -> str:
    return str(module).partition(".")[0]
