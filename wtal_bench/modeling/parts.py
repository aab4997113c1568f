"""One component in its place: built from its config, with the names it reads and writes under."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.interfaces import Outputs
from wtal_bench.plugins import registry

WIRING = {
    "backbone": ("writes", "replace"),
    "head": ("reads", "writes", "replace"),
    "loss": ("weight", "reads", "replace"),
    "view": ("replace",),
    "postprocessor": ("reads", "replace"),
}
"""Kind -> keys of its config that are no arguments of its own (`replace`: see `wtal_bench.overlay`)."""


@dataclass(frozen=True)
class Part:
    """One component with its place in the config, the names it reads and writes under, and its registered name."""

    component: Any
    where: str
    reads: Mapping[str, str]
    writes: Mapping[str, str]
    name: str = ""

    def inputs(self, outputs: Outputs) -> Outputs:
        """The fields the component declared, under the names it knows, and no others."""
        found = {name: outputs[self.reads.get(name, name)] for name in self.component.requires}
        for name in self.component.optional:
            field = self.reads.get(name, name)
            if field in outputs:
                found[name] = outputs[field]
        return found

    def outputs(self, made: Outputs) -> Outputs:
        """What the component made, under the names the config gives them."""
        if not isinstance(made, Mapping):
            raise ConfigError(
                f"{labelled(self)}: returned {described(made)}; needed a dict of tensors by field: "
                f"{listing(self.component.provides)}."
            )
        if set(made) != set(self.component.provides):
            raise ConfigError(
                f"{self.where}: the component declares `provides` {listing(self.component.provides)} but returned "
                f"{listing(sorted(made))}."
            )
        return {self.writes.get(name, name): value for name, value in made.items()}

    @property
    def shared(self) -> list[str]:
        """Field names made without a batch axis, as the config maps them."""
        return [self.writes.get(name, name) for name in self.component.shared]

    @property
    def video_level(self) -> list[str]:
        """Field names made without a time axis, as the config maps them."""
        return [self.writes.get(name, name) for name in self.component.video_level]

    @property
    def required(self) -> list[str]:
        """Field names read, as the config maps them."""
        return [self.reads.get(name, name) for name in self.component.requires]

    @property
    def readable(self) -> list[str]:
        """Required and optional field names, as the config maps them."""
        return [self.reads.get(name, name) for name in (*self.component.requires, *self.component.optional)]

    @property
    def trained(self) -> list[str]:
        """Field names a loss says its gradient goes through, as the config maps them."""
        return [self.reads.get(name, name) for name in self.component.trains]

    @property
    def learns(self) -> bool:
        """Whether the component has parameters of its own that learn."""
        own = self.component.parameters() if isinstance(self.component, nn.Module) else ()
        return any(parameter.requires_grad for parameter in own)

    @property
    def provided(self) -> list[str]:
        """Field names made, as the config maps them."""
        return [self.writes.get(name, name) for name in self.component.provides]


def build_parts(kind: str, configs: Mapping[str, Mapping[str, Any] | None], where: str) -> dict[str, Part]:
    """Build the entries of a config dict of parts that are not switched off with None.

    Raises:
        ConfigError, PluginError: no dict, a name torch cannot use, or see `build_part`.
    """
    if not isinstance(configs, Mapping):
        raise ConfigError(f"{where} must be a dict of {kind} configs by name, got {configs!r}.")
    for name in configs:
        check_name(name, where)
    return {n: build_part(kind, config, f"{where}.{n}") for n, config in configs.items() if config is not None}


def check_name(name: Any, where: str) -> None:
    """Refuse names that cannot stand in a field (`name.cas`) and in a state dict.

    Raises:
        ConfigError: the text says what a name may be.
    """
    if not (isinstance(name, str) and name.isidentifier()):
        raise ConfigError(f"{where}: {name!r} cannot be used as a name; take letters, digits and underscores.")


def build_part(kind: str, config: Mapping[str, Any], where: str) -> Part:
    """Build one component and its wiring from `dict(type=, reads=, writes=, weight=, **arguments)`.

    Raises:
        ConfigError, PluginError: unknown component, argument or field; `where` begins the text.
    """
    if not isinstance(config, Mapping):
        raise ConfigError(f"{where}: expected a dict with a type, got {config!r}.")
    own = {key: value for key, value in config.items() if key not in ("reads", "writes", "weight")}
    if "weight" in config and kind != "loss":
        raise ConfigError(f"{where}.weight: only losses have a weight.")
    component = registry(kind).build(own, where, beside=WIRING[kind])
    readable = (*component.requires, *component.optional)
    reads = config.get("reads", {})
    only_one = isinstance(reads, str) and len(component.requires) == 1
    reads = _field_names(reads, component.requires if only_one else readable, f"{where}.reads")
    writes = _field_names(config.get("writes", {}), component.provides, f"{where}.writes")
    return Part(component, where, reads, writes, config["type"])


def labelled(part: Part) -> str:
    """A part for error texts: its place in the config, its name, and the file and line of what is called."""
    cls = type(part.component)
    called = next((getattr(cls, name) for name in ("forward", "__call__") if hasattr(cls, name)), cls)
    code = getattr(inspect.unwrap(called), "__code__", None)
    return f"{part.where} ({part.name or cls.__name__}{f', {code.co_filename}:{code.co_firstlineno}' if code else ''})"


def described(made: Any) -> str:
    """What a component returned, for error texts: shapes instead of values."""
    if isinstance(made, Tensor):
        return f"a tensor of shape {tuple(made.shape)}"
    if isinstance(made, Mapping):
        return "{" + ", ".join(f"{name!r}: {described(value).removeprefix('a ')}" for name, value in made.items()) + "}"
    return f"{type(made).__name__} {made!r:.80}"


def check_scalars(part: Part, made: Any) -> None:
    """Refuse what a loss must not return. It looks at kinds and shapes alone: no value is waited for.

    Raises:
        ConfigError: names the loss, its file and line, what it returned and what is needed.
    """
    if not isinstance(made, Mapping):
        name = part.name.rpartition(".")[2].lower() or "loss"
        raise ConfigError(
            f"{labelled(part)}: returned {described(made)}; needed a dict of 0-d tensors. Write "
            f"return {{{name!r}: value}}."
        )
    for value in made.values():
        if not isinstance(value, Tensor):
            raise ConfigError(
                f"{labelled(part)}: returned {described(made)}; needed a dict of 0-d tensors. Leave out .item(), "
                "float() and numpy: no gradient would go through a number."
            )
        if value.dim():
            raise ConfigError(
                f"{labelled(part)}: returned {described(made)}; needed a dict of 0-d tensors. Reduce it over the "
                "videos, e.g. value.mean()."
            )


def check_reads(part: Part, maker: Collection[str], promised: Collection[str] = (), parts: Iterable[Part] = ()) -> None:
    """Refuse a part that reads a field nobody makes.

    Args:
        part: the component in its place.
        maker: the fields there are.
        promised: fields of heads that wait for one another.
        parts: those that may offer the field.

    Raises:
        ConfigError: names the field, what there is instead, and how to map it.
    """
    for name, field in zip(part.component.requires, part.required, strict=True):
        if field not in maker:
            hint = did_you_mean(field, maker)
            if not hint and name == "attention" and "actionness" in maker:
                hint = " Did you mean 'actionness'?"
            for other in parts:
                if field in other.component.offers:
                    given = ", ".join(f"{key}={value!r}" for key, value in other.component.offers[field].items())
                    hint = f" {other.where} makes it when it is given {given}."
            if field in promised:
                hint = f" A head that waits for this one makes {field!r}: they read each other."
            raise ConfigError(
                f"{part.where} ({type(part.component).__name__}) reads `{field}`, but the parts before it provide "
                f"{listing(maker)}.{hint} Map it with reads=dict({name}='<field>'), or add a head that makes it."
            )


def check_trains(part: Part, makers: Iterable[Part]) -> None:
    """Refuse a loss whose gradient reaches nothing that learns: no field it `trains` has parameters behind it.

    Args:
        part: the loss in its place.
        makers: backbone and heads, in the order in which they run.

    Raises:
        ConfigError: names the fields and who makes them.
    """
    learned: set[str] = set()
    by_field: dict[str, Part] = {}
    for maker in makers:
        by_field |= dict.fromkeys(maker.provided, maker)
        if maker.learns or learned & set(maker.readable):
            learned |= set(maker.provided)
    fields = [field for field in part.trained if field in by_field]  # of a view of the batch: not judged here
    if fields and not learned & set(fields):
        made = ", ".join(f"`{field}` of {type(by_field[field].component).__name__}" for field in dict.fromkeys(fields))
        raise ConfigError(
            f"{part.where} ({type(part.component).__name__}) trains the model through {made} alone, and nothing behind "
            "that has a parameter: its gradient reaches nothing, the model would be the same without it. Give the host "
            "a backbone that learns (an embedding before its heads), or leave the loss out."
        )


def _field_names(config: Any, known: tuple[str, ...], where: str) -> dict[str, str]:
    if not isinstance(config, (str, Mapping)) or (
        isinstance(config, Mapping) and not all(isinstance(field, str) for field in config.values())
    ):
        raise ConfigError(f"{where} maps the component's names to fields, e.g. dict(cas='own_cas'); got {config!r}.")
    if isinstance(config, str):
        if not known:
            raise ConfigError(f"{where}: the component has no field to map.")
        if len(known) > 1:
            raise ConfigError(f"{where}: say which field is meant, e.g. dict({known[0]}={config!r}).")
        return {known[0]: config}
    for name in config:
        if name not in known:
            raise ConfigError(
                f"{where}.{name}: the component has no field {name!r}.{did_you_mean(name, known)} It has: "
                f"{listing(known)}."
            )
    return dict(config)


def modules(parts: Mapping[str, Part]) -> nn.ModuleDict:
    """Those components that are torch modules, so that their parameters are found.

    Raises:
        ConfigError: the name of one is an attribute of every torch module ("half", "train", ...).
    """
    for name, part in parts.items():
        if isinstance(part.component, nn.Module) and hasattr(nn.ModuleDict, name):
            raise ConfigError(f"{part.where}: torch uses the name {name!r} itself; choose another.")
    return nn.ModuleDict({n: p.component for n, p in parts.items() if isinstance(p.component, nn.Module)})
