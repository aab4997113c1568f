"""`HOST+IDEA`: a recipe's layers become one config, every idea fitted to the host below it.

What lies over an idea (the mix's own settings, `--cfg-options`, an ablation row) wins over it. What of it is about the
host's model, as far as the host has such a key, reaches the host before the idea looks at it: sizes are taken from the
host as it will be trained, so `model.backbone.channels=32` is enough for both.
"""

from __future__ import annotations

import copy
import functools
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from wtal_bench.errors import ConfigError, WtalError, did_you_mean, listing
from wtal_bench.files import unplain
from wtal_bench.options import check_type, choose, merged
from wtal_bench.overlay import REPLACE, overlaid
from wtal_bench.reading import read_text
from wtal_bench.recipes import IDEAS, PLUS, Idea, Layers, Tree
from wtal_bench.registry import check_arguments
from wtal_bench.running.host import Host

GROUPS = ("heads", "losses", "views")
GIVES = ("model", "train", "test")
"""Sections an idea may add to."""


def settled(layers: Layers, over: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A recipe as nested dicts, ideas and all; what was chosen for them stands in the section `ideas`.

    Args:
        layers: as read.
        over: what will be set on the result, so that the ideas' hosts know of it; it is not part of the result.

    Raises:
        ConfigError: an idea that the host lacks a field for, would replace a part of or has already.
    """
    above = Tree(over or {}, layers.where)
    tree: dict[str, Any] = {}
    for number, step in enumerate(layers.steps):
        if isinstance(step, Tree):
            tree = overlaid(tree, step.content, step.where)
        else:
            tree = _with(tree, step, [*layers.trees(number), above], layers)
    names = [idea.name for idea in layers.ideas]
    for name in tree.get(IDEAS) or {}:
        if names and name not in names:
            raise ConfigError(
                f"{layers.where}: {IDEAS}.{name}: no such idea here.{did_you_mean(str(name), names)} There are: "
                f"{listing(names)}."
            )
    return tree


def as_tree(options: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """[(dotted key, value), ...] as nested dicts."""
    tree: dict[str, Any] = {}
    for key, value in options:
        for name in reversed(key.split(".")):
            value = {name: value}
        tree = merged(tree, value)
    return tree


def _with(tree: Mapping[str, Any], idea: Idea, above: Sequence[Tree], layers: Layers) -> dict[str, Any]:
    """`tree` with one idea on it."""
    where = f"{layers.where}: idea {idea.name!r} ({idea.path})"
    for section in GIVES[:2]:
        if not isinstance(tree.get(section), Mapping):
            raise ConfigError(f"{where}: the host has no section {section!r}; an idea needs a whole recipe below it.")
    models = (layer.content["model"] for layer in above if isinstance(layer.content.get("model"), Mapping))
    host_tree = {**tree, "model": functools.reduce(_reaching, models, tree["model"])}
    host = Host(host_tree, layers.host or str(layers.path), f"{layers.where}: host")
    switches = _switches(idea, above, where)
    patch = _call(idea, host, switches, where)
    added = patch.get("model", {})
    _refuse_doubles(tree["model"], added, where)
    tree = overlaid(tree, {"model": host.inside(host.asked)}, where)
    tree = overlaid(tree, {**patch, "model": host.inside(added)}, where)
    tree.setdefault("host", {"method": tree.get("method"), "variant": str(tree.get("variant") or "")})
    tree["variant"] = PLUS.join(filter(None, (str(tree.get("variant") or ""), idea.name)))
    return merged(tree, {IDEAS: {idea.name: switches}})


def _reaching(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` with those of `changes` whose keys it has already."""
    result = dict(tree)
    for key, value in changes.items():
        if key not in tree:
            continue
        under = tree[key] if isinstance(tree[key], Mapping) else {}
        if not isinstance(value, Mapping):
            result[key] = copy.deepcopy(value)
        elif value.get("_delete_") or value.get("type", under.get("type")) != under.get("type"):
            result[key] = {name: item for name, item in value.items() if name not in (REPLACE, "_delete_")}
        else:
            result[key] = _reaching(under, value)
    return result


# ---- the file of an idea ----


def switches_of(idea: Idea) -> dict[str, Any]:
    """The idea's switches with their defaults."""
    parameters = list(inspect.signature(_function(idea)).parameters.values())
    return {parameter.name: parameter.default for parameter in parameters[1:]}


def _function(idea: Idea) -> Callable[..., dict[str, Any]]:
    """The function `idea` of an idea's file; the file is a program and is run."""
    return _loaded(idea.path.resolve(), idea.path.stat().st_mtime_ns)


@functools.cache
def _loaded(path: Path, changed: int) -> Callable[..., dict[str, Any]]:
    names: dict[str, Any] = {"__file__": str(path), "__name__": path.stem}
    try:
        exec(compile(read_text(path, kind=ConfigError), str(path), "exec"), names)
    except (Exception, SystemExit) as error:  # a program may fail in any way
        raise ConfigError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    function = names.get("idea")
    if not isinstance(function, types.FunctionType) or not inspect.signature(function).parameters:
        raise ConfigError(f"{path} is no idea: it needs a function `idea(host, ...)` that returns what it adds.")
    return function


def _switches(idea: Idea, above: Sequence[Tree], where: str) -> dict[str, Any]:
    """What is chosen for every switch of an idea: the defaults, and what the layers above say."""
    given: dict[str, Any] = {}
    for layer in above:
        section = layer.content.get(IDEAS) or {}
        own = section.get(idea.name) if isinstance(section, Mapping) else section
        if own is None and isinstance(section, Mapping):
            continue
        if not isinstance(own, Mapping):
            raise ConfigError(
                f"{layer.where}: {IDEAS} holds a dict of switches for every idea, e.g. "
                f"dict({idea.name}=dict(scale_weights=False)); got {section!r}."
            )
        given |= own
    key, function = f"{where}: {IDEAS}.{idea.name}", _function(idea)
    check_arguments(function, given, key, f"idea {idea.name!r}", hidden=("host",))
    hints, switches = get_type_hints(function), {**switches_of(idea), **given}
    for name, value in switches.items():
        if get_origin(hints.get(name)) is Literal:
            choose(f"{key}.{name}", value, get_args(hints[name]))
        elif isinstance(switches_of(idea)[name], bool) and not isinstance(value, bool):
            raise ConfigError(f"{key}.{name}={value!r} must be True or False.")
    return switches


def _call(idea: Idea, host: Host, switches: Mapping[str, Any], where: str) -> dict[str, Any]:
    try:
        patch = _function(idea)(host, **copy.deepcopy(dict(switches)))
    except WtalError as error:
        text = str(error)
        raise type(error)(text if text.startswith(where) else f"{where}: {text}") from error
    except (Exception, SystemExit) as error:  # a program may fail in any way
        raise ConfigError(f"{where}: {type(error).__name__}: {error}") from error
    sound = isinstance(patch, Mapping) and not set(patch) - set(GIVES)
    if not sound or not all(isinstance(section, Mapping) for section in patch.values()):
        raise ConfigError(f"{where}: returns a dict of dicts with keys among {listing(GIVES)}; got {patch!r:.300}.")
    problem = unplain(patch)
    if problem:
        raise ConfigError(f"{where}: returns {problem}.")
    for group in (*GROUPS, "backbone", "postprocessor"):
        check_type(patch.get("model", {}).get(group), Mapping | None, f"{where}: model.{group}")
    return dict(patch)


def _refuse_doubles(model: Mapping[str, Any], added: Mapping[str, Any], where: str) -> None:
    """Refuse an idea whose part the host has already, under its own name or another.

    A name that is taken by something else is refused too, unless the idea says `replace=True`.
    """
    own = model.get("member", {}) if model.get("type") == "Streams" else model
    for group, name, part in _parts(added):
        there = own.get(group) or {}
        taken = there.get(name)
        if taken is not None and not part.get(REPLACE):
            plugins = {str(config.get("type")).rpartition(".")[0] for config in (taken, part)}
            if len(plugins) == 1 and "" not in plugins:
                raise ConfigError(f"{where}: the host has this idea already: {group}.{name} is {taken.get('type')}.")
            raise ConfigError(
                f"{where}: adds {group}.{name} ({part.get('type')}), but the host has a part of that name "
                f"({taken.get('type')}). Give one of them another name, or let the idea say replace=True."
            )
        kind = str(part.get("type"))
        for other, config in there.items():
            if "." in kind and config is not None and config.get("type") == kind:  # of the core, any number may be used
                raise ConfigError(f"{where}: the host has this idea already: {group}.{other} is {kind}.")


def _parts(added: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for group in GROUPS:
        for name, part in (added.get(group) or {}).items():
            if isinstance(part, Mapping) and "type" in part:
                yield group, name, part
