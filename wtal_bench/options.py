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

import argparse
import copy
import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from wtal_bench.errors import ConfigError, did_you_mean, listing

T = TypeVar("T")

BEYOND = 1e37
"""Larger numbers than this overflow float32, in a model, with its next sum."""

USUAL = {
    "dropout": "[0, 1)",
    "num_classes": "[1, 100000]",
    "channels": "[1, 1000000]",
    "hidden": "[1, 1000000]",
    "kernel": "[1, 99]",
}
"""What a number takes that a component calls so, or by a longer name that ends so: the field's words mean one thing."""


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


def number_in(span: str, whole: bool = False) -> Callable[[str], Any]:
    """A `type` for argparse: numbers inside `span`, e.g. "(0, inf)"; neither NaN nor infinity ever is one.

    Args:
        span: as in `within`.
        whole: integers alone.
    """

    def number(text: str) -> Any:
        try:
            value = int(text) if whole else float(text)
            if abs(value) == float("inf"):
                raise ValueError
            return within("it", value, span)
        except (ValueError, OverflowError):
            kind = "a whole number" if whole else "a number"
            raise argparse.ArgumentTypeError(f"expected {kind}, got {text!r:.80}") from None
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return number


def check_type(value: Any, hint: Any, where: str) -> None:
    """Refuse a value of another type than a hint says: what `isinstance` would mean if it knew `list[float]`.

    A whole number is a float, a truth value is no number, a list is a tuple and a tuple a list (configs have both).

    Raises:
        ConfigError: the text names the place, the types and the value.
    """
    if _is_of(value, hint):
        return
    kinds = dict.fromkeys(_names_of(hint))
    more = ""
    if isinstance(value, str) and "float" in kinds and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value):
        more = " YAML takes a number without a point for a text: write 1.0e-4, not 1e-4."
    raise ConfigError(f"{where}: expected {listing(kinds)}, got {value!r:.200}.{more}")


_LISTS = (tuple, list, Sequence, Iterable, Collection)
_DICTS = (dict, Mapping, MutableMapping)


def _is_of(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_is_of(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    kind = origin or hint
    if kind in (None, type(None)):
        return value is None
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    if kind in _LISTS:
        if not isinstance(value, (list, tuple)):
            return kind in (Iterable, Collection) and not isinstance(value, (str, Mapping)) and isinstance(value, kind)
        if kind is tuple and parts and parts[-1] is not Ellipsis:
            return len(value) == len(parts) and all(map(_is_of, value, parts))
        return not parts or all(_is_of(item, parts[0]) for item in value)
    if kind in _DICTS:
        given = isinstance(value, Mapping)
        return given and (not parts or all(_is_of(k, parts[0]) and _is_of(v, parts[1]) for k, v in value.items()))
    if kind is Callable:
        return callable(value)
    try:
        return kind is Any or not isinstance(kind, type) or isinstance(value, kind)
    except TypeError:  # a protocol class that cannot be asked
        return True


def _names_of(hint: Any) -> list[str]:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return [name for part in parts for name in _names_of(part)]
    if origin is Literal:
        return [repr(part) for part in parts]
    kind = origin or hint
    if kind is float:
        return ["float", "int"]
    if kind in (None, type(None)):
        return ["None"]
    if kind not in _LISTS and kind not in _DICTS:
        return [getattr(kind, "__name__", str(kind))]
    name = "dict" if kind in _DICTS else "tuple" if kind is tuple else "list"
    if kind is tuple and parts and parts[-1] is not Ellipsis:
        name = f"{len(parts)} values"
    kept = [part for part in parts if part is not Ellipsis]
    inner = [] if Any in kept else dict.fromkeys(name for part in kept[-1:] for name in _names_of(part))
    return [f"{name} of {' or '.join(inner)}" if inner else name]


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
    check_arguments(kind, arguments, where, shown=kind.__name__, typed=True)
    for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
        if field.name in arguments:
            check_setting(field, arguments[field.name], f"{where}.{field.name}")
    made = kind(**arguments)
    check_values(kind, arguments, where, containers=True)
    return made


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
    cls: type,
    arguments: Mapping[str, Any],
    where: str,
    shown: str,
    hidden: tuple[str, ...] = (),
    typed: bool = False,
    beside: Collection[str] = (),
) -> None:
    """Refuse arguments the constructor of `cls` does not take, and missing ones, before calling it.

    Args:
        cls: the class.
        arguments: what a config gives it.
        where, shown: key path and name of the component, for error texts.
        hidden: arguments of the constructor that no config may give.
        typed: hold the values to the constructor's type hints and to `USUAL` as well.
        beside: keys that whoever calls takes himself out of the same dict, for error texts.

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
                f"{where}.{name}: {shown} has no argument {name!r}.{did_you_mean(name, (*known, *beside))} "
                f"It takes: {listing(known)}{f'; beside them {listing(beside)}' if beside else ''}."
            )
    missing = [name for name, p in known.items() if p.default is p.empty and name not in arguments]
    if missing:
        raise ConfigError(f"{where}: {shown} needs {listing(missing)}, which the config does not give.")
    if typed:
        check_values(cls, arguments, where, containers=False)


def check_values(cls: type, arguments: Mapping[str, Any], where: str, *, containers: bool) -> None:
    """Hold a constructor's arguments to its type hints, and numbers to what their names usually take (`USUAL`).

    Args:
        cls, arguments, where: as in `check_arguments`.
        containers: look at lists and dicts instead of numbers, texts and truth values. A constructor that takes them
            apart words what is wrong with them better, so this is for after it took them.

    Raises:
        ConfigError: the text names the argument, the types and the value.
    """
    hints = _hints_of(cls)
    for name, value in arguments.items():
        if name in hints and containers == _has_containers(hints[name]):
            check_type(value, hints[name], f"{where}.{name}")
        if not isinstance(value, Real) or containers:
            continue
        if BEYOND < abs(value) < float("inf"):
            raise ConfigError(f"{where}.{name}={value!r:.80} is beyond what a model computes with (float32).")
        usual = USUAL.get(name, USUAL.get(name.rpartition("_")[2]))
        if usual is not None:
            within(f"{where}.{name}", value, usual)


def _has_containers(hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(map(_has_containers, parts))
    return (origin or hint) not in (int, float, str, bool, None, type(None), Literal)


@cache  # every hint is a text, to be compiled: a third of what building a model took
def _hints_of(maker: Any) -> Mapping[str, Any]:
    """Types of a constructor's arguments; {} where they cannot be known (names that only a type checker imports)."""
    try:
        return get_type_hints(maker.__init__ if inspect.isclass(maker) else maker)
    except (NameError, TypeError, AttributeError):
        return {}


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
