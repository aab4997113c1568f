"""A config's `model` section becomes a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.modeling.localizer import Localizer
from wtal_bench.modeling.model import Model
from wtal_bench.modeling.streams import Streams
from wtal_bench.options import check_arguments

__all__ = ["MODELS", "NoStart", "build_model"]

MODELS: dict[str, type[Model]] = {"Localizer": Localizer, "Streams": Streams}
"""What `model.type` may be; methods differ in the components inside."""


def build_model(config: Mapping[str, Any], where: str = "config") -> Model:
    """Build the model a config describes.

    Args:
        config: its `model` dict, `type="Localizer"` and the arguments of `Localizer`.
        where: file name for error texts.

    Raises:
        ConfigError, PluginError: see `Localizer`.
    """
    kind = config.get("type")
    if not isinstance(kind, str) or kind not in MODELS:
        raise ConfigError(
            f"{where}: model.type is {kind!r}.{did_you_mean(str(kind), MODELS)} Models: {listing(MODELS)}; what "
            "differs between methods are the backbone, heads, losses and post-processor inside."
        )
    arguments = {key: value for key, value in config.items() if key != "type"}
    _refuse_keys_of_members(kind, arguments, where)
    check_arguments(MODELS[kind], arguments, f"{where}: model", shown=kind, hidden=("where", "key"))
    return MODELS[kind](**arguments, where=where)


def _refuse_keys_of_members(kind: str, arguments: Mapping[str, Any], where: str) -> None:
    own, inner = (inspect.signature(cls).parameters for cls in (MODELS[kind], Localizer))
    for key in arguments:
        if "member" in own and key not in own and key in inner:
            raise ConfigError(
                f"{where}: model.{key}: this model is of type {kind!r}, whose streams each have {key} of their own: "
                f"say model.member.{key} instead, e.g. model=dict(member=dict({key}=...)), and "
                f"model.overrides.<stream>.{key} for one stream alone."
            )


class NoStart(TorchFunctionMode):
    """Leaves out what `torch.nn.init` draws, which is most of what building a wide model costs.

    For models whose weights a checkpoint replaces a moment later, or nobody computes with.
    """

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
