"""One recipe laid over another: what a merge does, and what it refuses to do by accident.

Dicts are merged key by key, everything else is replaced, `_delete_=True` in a dict drops what lay below it
(`wtal_bench.options.merged`). Inside `model` one thing more: a component of another `type` than the one below takes its
place only where it says so, `replace=True`. Otherwise a loss of one's own that happens to be called like one of the
host's would silently take the host's away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.options import merged

REPLACE = "replace"
MANY = ("heads", "losses", "views", "passes")
"""Where there may be any number of components, by name."""


def overlaid(below: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`changes` over `below`, two trees of a recipe; neither is touched or shared.

    Args:
        below: what is there already.
        changes: what lies over it.
        where: the file that says so, for error texts.

    Raises:
        ConfigError: a component would take the place of one of another type and does not say `replace=True`, or says it
            where there is nothing to replace.
    """
    if not isinstance(changes.get("model"), Mapping):
        return merged(below, changes)
    model = below.get("model")
    said = _said(model if isinstance(model, Mapping) else {}, changes["model"], f"{where}: model")
    return merged(below, {**changes, "model": said})


def _said(below: Mapping[str, Any], changes: Mapping[str, Any], key: str) -> dict[str, Any]:
    """`changes` with every `replace=True` turned into the `_delete_=True` it stands for."""
    if changes.get("_delete_"):
        below = {}
    said: dict[str, Any] = {}
    for name, value in changes.items():
        if not isinstance(value, Mapping):
            said[name] = value
            continue
        under, path = below.get(name), f"{key}.{name}"
        replaces = _replaces(under, value, path, below)
        own = {inner: item for inner, item in value.items() if inner != REPLACE or "type" not in value}
        kept = under if isinstance(under, Mapping) and not replaces else {}
        said[name] = _said(kept, own, path) | ({"_delete_": True} if replaces else {})
    return said


def _replaces(under: Any, value: Mapping[str, Any], path: str, siblings: Mapping[str, Any]) -> bool:
    """Whether the component `value` says that it takes the place of `under`; refused where it would without a word."""
    old = under.get("type") if isinstance(under, Mapping) else None
    new = value.get("type")
    if new is None or value.get("_delete_"):
        return False
    if value.get(REPLACE):
        if old is None:
            raise ConfigError(
                f"{path}: {REPLACE}=True, but there is nothing of that name to replace."
                f"{did_you_mean(path.rpartition('.')[2], siblings)} There are: {listing(siblings)}."
            )
        return True
    if old is not None and new != old:
        *_, group, name = path.split(".")
        both = f" To keep both, give yours another name, e.g. {_free(name, new, siblings)!r}." if group in MANY else ""
        raise ConfigError(
            f"{path} is {old!r} in the base, and {new!r} would take its place.{both} To put it in the place of the "
            f"other, say {REPLACE}=True beside its type."
        )
    return False


def _free(name: str, kind: str, taken: Mapping[str, Any]) -> str:
    """A name nobody has: the plugin's before the old one."""
    plugin = kind.partition(".")[0].lower() if "." in kind else "my"
    free = f"{plugin}_{name}"
    while free in taken:
        free += "_"
    return free
