"""Components known by name, one registry per kind, imported on first use.

A registry is a table `name -> "module:attribute"`; `wtal_bench.plugins` holds one of every kind and fills them.
Looking a name up imports its module; listing names imports nothing. A `type` in a config is only ever looked up in
this table, never imported, so a config cannot name `os.system`.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from wtal_bench.discovery import quarantine
from wtal_bench.errors import ConfigError, PluginError, did_you_mean, listing
from wtal_bench.interfaces import Backbone, ComponentInfo, Extractor, Head, Hook, Layout, Loss, PostProcessor, View
from wtal_bench.options import check_arguments, check_values

KINDS: dict[str, type] = {
    "backbone": Backbone,
    "head": Head,
    "loss": Loss,
    "view": View,
    "postprocessor": PostProcessor,
    "layout": Layout,
    "extractor": Extractor,
    "hook": Hook,
}
"""Kind -> the interface what is registered implements."""

CONTRACT_KINDS = ("backbone", "head", "loss", "view", "postprocessor", "hook")
"""The kinds that are held to the contract suite: what a model is made of, and hooks."""

_MODULE_KINDS = ("backbone", "head")


class Registry:
    """Names of one kind of component, with where each came from.

    Args:
        kind: a key of `KINDS`.
        why_missing: name -> a sentence on why it may be missing, or "": who fills the table knows.
    """

    def __init__(self, kind: str, why_missing: Callable[[str], str] = lambda name: "") -> None:
        self.kind = kind
        self._why_missing = why_missing
        self._table: dict[str, ComponentInfo] = {}
        self._classes: dict[str, type] = {}

    def add(self, info: ComponentInfo) -> None:
        """Add one name.

        Raises:
            PluginError: the name is taken; both origins are named.
        """
        known = self._table.get(info.name)
        if known is not None:
            raise PluginError(
                f"{self.kind} {info.name!r} is registered twice: by plugin {known.plugin!r} ({known.target}) and by "
                f"plugin {info.plugin!r} ({info.target}). Rename one of them."
            )
        self._table[info.name] = info

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._table)

    def infos(self) -> list[ComponentInfo]:
        """Where every name comes from, sorted by name."""
        return [self._table[name] for name in self.names()]

    def info(self, name: str) -> ComponentInfo:
        """Where `name` comes from.

        Raises:
            PluginError: no such name; the text gives the nearest one and any failed plugin it belongs to.
        """
        if not isinstance(name, str):
            raise PluginError(f"the type of a {self.kind} is a registered name, a text; got {name!r}.")
        if name not in self._table:
            raise PluginError(self._unknown(name))
        return self._table[name]

    def get(self, name: str) -> type:
        """Import and return the class behind `name`, checked to implement its kind.

        Raises:
            PluginError: unknown name, broken import, wrong kind or missing docstring.
        """
        info = self.info(name)
        if name not in self._classes:
            self._classes[name] = self._load(info)
        return self._classes[name]

    def build(self, config: Mapping[str, Any], where: str, beside: Collection[str] = ()) -> Any:
        """Build a component from `dict(type=name, **arguments)`.

        Args:
            config: its `type` and the constructor's arguments.
            where: file and key path for error texts, e.g. "configs/ecm.py: model.heads.pre".
            beside: keys the harness itself takes beside them, for error texts.

        Raises:
            ConfigError: no type, or arguments that the constructor does not take or lacks.
            PluginError: see `get`.
        """
        if not isinstance(config, Mapping) or "type" not in config:
            raise ConfigError(f"{where}: a {self.kind} needs a type, one of: {listing(self.names())}.")
        arguments = {key: value for key, value in config.items() if key != "type"}
        try:
            cls = self.get(config["type"])
        except PluginError as error:
            raise PluginError(f"{where}.type: {error}") from error
        check_arguments(cls, arguments, where, shown=f"{self.kind} {config['type']!r}", typed=True, beside=beside)
        try:
            made = cls(**arguments)
        except (ConfigError, PluginError) as error:
            text = str(error)
            raise type(error)(text if text.startswith(where) else f"{where} ({config['type']}): {text}") from error
        except (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError, AttributeError) as error:
            # an argument of the wrong kind or size may surface anywhere in a constructor
            raise ConfigError(f"{where} ({config['type']}): {error}") from error
        check_values(cls, arguments, where, containers=True)
        return made

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Registry]:
        """Restore today's names on exit: for tests that register their own."""
        table, classes = dict(self._table), dict(self._classes)
        try:
            yield self
        finally:
            self._table, self._classes = table, classes

    def discard(self, name: str) -> None:
        """Forget one name, if it is there."""
        self._table.pop(name, None)
        self._classes.pop(name, None)

    def _load(self, info: ComponentInfo) -> type:
        module_name, _, attribute = info.target.partition(":")
        try:
            with quarantine():  # a stranger's module may fail in any way; the report names it
                cls = getattr(importlib.import_module(module_name), attribute)
                fault = self._fault(cls)
        except PluginError as error:
            raise PluginError(
                f"{self.kind} {info.name!r} of plugin {info.plugin!r} cannot be imported from {info.target}: {error}"
            ) from error
        if fault:
            raise PluginError(f"{self.kind} {info.name!r} of plugin {info.plugin!r} ({info.target}) {fault}")
        return cls

    def _fault(self, cls: Any) -> str:
        """What keeps something from being a component of this kind, or ""."""
        base = KINDS[self.kind]
        if not (inspect.isclass(cls) and issubclass(cls, base)):
            return f"must be a class that inherits wtal_bench.interfaces.{base.__name__}."
        if self.kind in _MODULE_KINDS:
            from torch import nn

            if not issubclass(cls, nn.Module):
                return f"must also be a torch module: class {cls.__name__}(nn.Module, ...)."
        if not str(cls.__doc__ or "").strip():
            return "has no docstring; say what it computes, with shapes and its source."
        return ""

    def _unknown(self, name: str) -> str:
        text = f"no {self.kind} is called {name!r}.{did_you_mean(name, self._table)}"
        why = self._why_missing(name)
        if not why and (name.count(".") > 1 or ":" in name or name.split(".")[0] in _PYTHON_MODULES):
            why = "A type is a registered name, never an import path."
        return f"{text}{why and ' ' + why} Known: {listing(self.names())}. See `wtal-bench list --kind {self.kind}`."


_PYTHON_MODULES = ("os", "sys", "subprocess", "builtins", "torch", "numpy", "wtal_bench", "wtal_plugins", "mmengine")
