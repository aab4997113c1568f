"""Reading switches: unknown names and values are refused with the nearest right one."""

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


def build(kind: type[T], spec: T | Mapping[str, Any], where: str) -> T:
    """Return `spec` itself if it is a `kind`, else the dataclass `kind` made from the mapping `spec`.

    Raises:
        ConfigError: `spec` is no mapping or holds an unknown key; the text gives the known keys and the nearest one.
    """
    if isinstance(spec, kind):
        return spec
    names = [field.name for field in dataclasses.fields(kind) if field.init]  # type: ignore[arg-type]
    if not isinstance(spec, Mapping):
        raise ConfigError(f"{where} must be a dict with keys among {listing(names)}; got {spec!r}.")
    for key in spec:
        if key not in names:
            raise ConfigError(f"{where}: unknown key {key!r}; it takes {listing(names)}.{did_you_mean(key, names)}")
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
