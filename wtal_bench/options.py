"""Declaring and reading settings: unknown names and values are refused with the key path and the nearest right one.

For the harness and for plugins alike: what a component's constructor would check by hand is one line with these. Texts
begin with `where`, the key path inside the component's config; who builds the component puts file and path before it.

    self.form = choose("form", form, ("softmax", "sigmoid"))        one of some names
    self.eps = at_least("eps", eps, 0)                              a number with a bound; also `positive`, `within`
    self.span = columns("streams.rgb", (0, 1024))                   a range of feature columns
    self.fusion = build(Fusion, dict(temperature=0.2), "fusion")    nested settings, for a class to take
    self.decoder = build_one_of(DECODERS, spec, "decoder")          nested settings with a `type`
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

from wtal_bench.errors import ConfigError, did_you_mean, listing

T = TypeVar("T")


def choose(where: str, value: Any, options: Iterable[str]) -> Any:
    """Return `value` if it is one of `options`.

    Raises:
        ConfigError: it is not; the text names the switch, the value, the options and the nearest one.
    """
    options = list(options)
    if not isinstance(value, str) or value not in options:
        raise ConfigError(f"{where}={value!r} is unknown; it takes {listing(options)}.{did_you_mean(value, options)}")
    return value


def at_least(where: str, value: Any, lowest: float, *, whole: bool = False) -> Any:
    """Return `value` if it is a number (an integer if `whole`) not below `lowest`.

    Raises:
        ConfigError: it is not; the text names the switch and the value.
    """
    kind = Integral if whole else Real
    if isinstance(value, bool) or not isinstance(value, kind) or not value >= lowest:
        raise ConfigError(f"{where}={value!r} must be {'an integer' if whole else 'a number'} of at least {lowest}.")
    return value


def positive(where: str, value: Any) -> Any:
    """Return `value` if it is a number above 0.

    Raises:
        ConfigError: it is not; the text names the switch and the value.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not value > 0:
        raise ConfigError(f"{where}={value!r} must be positive.")
    return value


def within(where: str, value: Any, span: str) -> Any:
    """Return `value` if it is a number, or a list of numbers, inside `span`, e.g. "(0, inf)". NaN never is.

    Raises:
        ConfigError: it is not; the text names the switch, the span and the value.
    """
    low, high = map(float, span[1:-1].split(","))
    for number in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(number, bool) or not isinstance(number, Real):
            raise ConfigError(f"{where}: expected float, int, got {number!r}.")
        above = number >= low if span[0] == "[" else number > low
        below = number <= high if span[-1] == "]" else number < high
        if not (above and below):
            raise ConfigError(f"{where} must lie in {span}, got {value!r}.")
    return value


def columns(where: str, span: Any) -> tuple[int, int]:
    """Return `span` as (first, end) columns of the features; `end` is not one of them.

    Raises:
        ConfigError: it is no such pair.
    """
    pair = tuple(span) if isinstance(span, Sequence) and not isinstance(span, str) else ()
    if len(pair) != 2 or not all(type(column) is int for column in pair) or not 0 <= pair[0] < pair[1]:
        raise ConfigError(f"{where} must be (first, end) columns of the features, e.g. (0, 1024); got {span!r}.")
    return pair


def setting(
    default: Any = dataclasses.MISSING,
    *,
    choices: Iterable[str | bool] = (),
    span: str = "",
    factory: Any = dataclasses.MISSING,
) -> Any:
    """Declare a dataclass field with what it takes, for `check_setting`.

    Args:
        default, factory: as in `dataclasses.field` (`factory` is its `default_factory`).
        choices: the texts (and truth values) it takes.
        span: the numbers it takes, written as in mathematics: "[0, 1)".
    """
    return dataclasses.field(  # type: ignore[call-overload]
        default=default, default_factory=factory, metadata={"choices": tuple(choices), "span": span}
    )


def check_setting(field: dataclasses.Field, value: Any, where: str) -> None:
    """Refuse a value that its field's metadata (see `setting`) rules out; None is left to the field's type.

    Raises:
        ConfigError: the text names the setting, the value, what it takes and the nearest choice.
    """
    choices, span = field.metadata.get("choices"), field.metadata.get("span")
    if choices and value not in choices:
        names = [str(choice) for choice in choices]
        raise ConfigError(f"{where}={value!r}.{did_you_mean(str(value), names)} Options: {listing(names)}.")
    if span and value is not None:
        within(where, value, span)


def build(kind: type[T], spec: T | Mapping[str, Any] | None, where: str, **defaults: Any) -> T:
    """Return `spec` itself if it is a `kind`, else the `kind` whose constructor is given the mapping `spec`.

    Args:
        kind: the class; what a dataclass says of its fields with `setting` is held.
        spec: its settings; None for no settings.
        where: their key path, for error texts.
        defaults: arguments that the constructor gets where `spec` has none.

    Raises:
        ConfigError: `spec` is no mapping, or see `check_arguments`.
    """
    if isinstance(spec, kind):
        return spec
    spec = {} if spec is None else spec
    if not isinstance(spec, Mapping):
        known = inspect.signature(kind).parameters
        raise ConfigError(f"{where} must be a dict with keys among {listing(known)}; got {spec!r}.")
    arguments = {**defaults, **spec}
    check_arguments(kind, arguments, where, shown=kind.__name__)
    for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
        if field.name in arguments:
            check_setting(field, arguments[field.name], f"{where}.{field.name}")
    return kind(**arguments)


def build_one_of(kinds: Mapping[str, type[T]], spec: Mapping[str, Any], where: str, default: str | None = None) -> T:
    """Build the one of `kinds` that `spec["type"]` names (`default` where there is no type) from the rest of `spec`.

    Raises:
        ConfigError: `spec` is no mapping, its type is not among `kinds`, or see `check_arguments`.
    """
    if not isinstance(spec, Mapping):
        raise ConfigError(f"{where} must be a dict with a type among {listing(kinds)}; got {spec!r}.")
    kind = kinds[choose(f"{where}.type", spec.get("type", default), kinds)]
    return build(kind, {key: value for key, value in spec.items() if key != "type"}, where)


def check_arguments(
    cls: type, arguments: Mapping[str, Any], where: str, shown: str, hidden: tuple[str, ...] = ()
) -> None:
    """Refuse arguments the constructor of `cls` does not take, and missing ones, before calling it.

    Args:
        cls: the class.
        arguments: what a config gives it.
        where, shown: key path and name of the component, for error texts.
        hidden: arguments of the constructor that no config may give.

    Raises:
        ConfigError: the text names the argument, the key path and the nearest argument there is.
    """
    parameters = list(inspect.signature(cls).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {p.name: p for p in parameters if p.kind in kinds and p.name not in hidden}
    for name in arguments:
        if name not in known:
            raise ConfigError(
                f"{where}.{name}: {shown} has no argument {name!r}.{did_you_mean(name, known)} "
                f"It takes: {listing(known)}."
            )
    missing = [name for name, p in known.items() if p.default is p.empty and name not in arguments]
    if missing:
        raise ConfigError(f"{where}: {shown} needs {listing(missing)}, which the config does not give.")


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `changes` merged over `base`: dicts key by key, everything else replaced; neither is touched or shared.

    `_delete_=True` in a dict of `changes` drops what `base` had there.
    """
    result = {} if changes.get("_delete_") else {key: copy.deepcopy(value) for key, value in base.items()}
    for key, value in changes.items():
        if key != "_delete_":
            below = result.get(key)
            result[key] = (
                merged(below if isinstance(below, Mapping) else {}, value)
                if isinstance(value, Mapping)
                else copy.deepcopy(value)
            )
    return result
