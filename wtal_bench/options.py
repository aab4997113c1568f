"""Declaring and reading switches: unknown names and values are refused with the nearest right one."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping
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


def setting(
    default: Any = dataclasses.MISSING,
    *,
    choices: Iterable[str] = (),
    span: str = "",
    factory: Any = dataclasses.MISSING,
) -> Any:
    """Declare a dataclass field with what it takes, for `check_setting`.

    Args:
        default, factory: as in `dataclasses.field` (`factory` is its `default_factory`).
        choices: the texts it takes.
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
        raise ConfigError(f"{where}={value!r}.{did_you_mean(str(value), choices)} Options: {listing(choices)}.")
    if span and value is not None:
        within(where, value, span)


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


def build(kind: type[T], spec: T | Mapping[str, Any], where: str) -> T:
    """Return `spec` itself if it is a `kind`, else the dataclass `kind` made from the mapping `spec`.

    Raises:
        ConfigError: `spec` is no mapping or holds an unknown key; the text gives the known keys and the nearest one.
    """
    if isinstance(spec, kind):
        return spec
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    names = list(fields)
    if not isinstance(spec, Mapping):
        raise ConfigError(f"{where} must be a dict with keys among {listing(names)}; got {spec!r}.")
    for key, value in spec.items():
        if key not in names:
            raise ConfigError(f"{where}: unknown key {key!r}; it takes {listing(names)}.{did_you_mean(key, names)}")
        check_setting(fields[key], value, f"{where}.{key}")
    try:
        return kind(**spec)
    except TypeError as error:  # a required key is missing
        raise ConfigError(f"{where}: {error}; it takes {listing(names)}.") from error


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
