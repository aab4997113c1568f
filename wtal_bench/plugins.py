"""How plugins are found, checked and reported. Ours come through the same door as strangers'.

A plugin is a light module (no torch at import) named by an entry point of the group `wtal_bench.plugins`::

    # pyproject.toml                              # my_plugin/__init__.py
    [project.entry-points."wtal_bench.plugins"]   from wtal_bench.plugins import hookimpl
    my_plugin = "my_plugin"
                                                  WTAL_API_VERSION = 1

                                                  @hookimpl
                                                  def wtal_register(registrar):
                                                      registrar.head("my_plugin.MyHead", "my_plugin.heads:MyHead")

Names start with the entry point's name and a dot; our names are ours, whatever else is installed. A broken plugin of
a stranger is quarantined: listed with its reason, and named when one of its components is asked for. A broken plugin
of ours is fatal. `wtal-bench list --check` imports every component and says what is wrong with it.

Environment: WTAL_PLUGINS="ecm,ftcl" loads only those beside the core (empty string: the core alone).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pluggy

from wtal_bench import discovery
from wtal_bench.discovery import Found, quarantine
from wtal_bench.errors import PluginError, did_you_mean, listing
from wtal_bench.interfaces import API_VERSION, ComponentInfo
from wtal_bench.registry import KINDS, Registry

GROUP = "wtal_bench.plugins"
CORE = "core"

LONGEST_TITLE = 40
"""Characters of a title: it stands in a table's first column."""

hookspec = pluggy.HookspecMarker("wtal_bench")
hookimpl = pluggy.HookimplMarker("wtal_bench")
"""Marks a plugin's `wtal_register`."""


class Hooks:
    """The hooks a plugin may implement."""

    @hookspec
    def wtal_register(self, registrar: Registrar) -> None:
        """Register components with `registrar`. Called once, at discovery: import nothing heavy."""


@dataclass(frozen=True)
class Plugin:
    """One loaded (or refused) plugin: its entry point's name, version, module, failure and distribution, if any."""

    name: str
    version: str
    module: str
    reason: str = ""
    distribution: str = ""
    in_tree: bool = False
    """Whether it ships with the harness."""


@dataclass(frozen=True)
class Titles:
    """How a plugin's names are shown to readers.

    Attributes:
        method: what the method is called, e.g. "BGES + TEN".
        words: how the words that its variants and ideas are named with are spelled, e.g. "bl" -> "BL".
    """

    method: str
    words: Mapping[str, str]


class Registrar:
    """What a plugin registers its components with. Remembers where each name came from."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin
        self.shown: Titles | None = None
        self.added: list[ComponentInfo] = []
        self.examples: list[ComponentInfo] = []
        self.protocols: list[ComponentInfo] = []

    def backbone(self, name: str, target: str) -> None:
        """Register a backbone `name` found at `target` ("module:Class")."""
        self._add("backbone", name, target)

    def head(self, name: str, target: str) -> None:
        """Register a head."""
        self._add("head", name, target)

    def loss(self, name: str, target: str) -> None:
        """Register a loss."""
        self._add("loss", name, target)

    def view(self, name: str, target: str) -> None:
        """Register a view."""
        self._add("view", name, target)

    def postprocessor(self, name: str, target: str) -> None:
        """Register a post-processor."""
        self._add("postprocessor", name, target)

    def hook(self, name: str, target: str) -> None:
        """Register a hook of training."""
        self._add("hook", name, target)

    def layout(self, name: str, target: str) -> None:
        """Register a layout of feature files, for `import-features --format NAME`."""
        self._add("layout", name, target)

    def extractor(self, name: str, target: str) -> None:
        """Register what turns pictures of a video into features, for `extract --extractor NAME`."""
        self._add("extractor", name, target)

    def protocol(self, name: str, target: str) -> None:
        """Register the protocol of a data set, "<plugin>/v1" or "<plugin>.<set>/v1", found at `target`.

        `target` is "module:NAME" of a `wtal_bench.protocols.Protocol` of that name. Configs then say
        `data.protocol="<plugin>/v1"`, and its data are looked for in `$WTAL_DATA/<plugin>/`.
        """
        self._check_text("protocol", name)
        dataset, _, version = name.partition("/")
        plugin = self._plugin.name
        fits = dataset == plugin or (dataset.startswith(f"{plugin}.") and dataset[len(plugin) + 1 :].isidentifier())
        if not (fits and version.startswith("v") and version[1:].isdigit()):
            raise PluginError(
                f"plugin {plugin!r} registers protocol {name!r}; its names must be '{plugin}/v1' or "
                f"'{plugin}.<set>/v1', so that no two data sets can clash."
            )
        self._check_target(name, target)
        self.protocols.append(ComponentInfo("protocol", name, target, plugin, self._plugin.version))

    def titles(self, method: str, **words: str) -> None:
        """Say how a leaderboard spells the method that is called as the plugin is, and the words of its variants.

        Args:
            method: the method's name for readers, e.g. "BGES + TEN".
            words: a word of a variant or an idea -> its spelling, e.g. bl="BL": variant "bl_k2" then reads "BL k2".
        """
        for text in (method, *words.values()):
            self._check_text("title", text)
            if not 0 < len(text.strip()) == len(text) <= LONGEST_TITLE or not text.isprintable():
                raise PluginError(
                    f"plugin {self._plugin.name!r}: a title is a printable text of 1 to {LONGEST_TITLE} characters, "
                    f"without spaces around it, got {text!r}."
                )
        taken = entitled(method)
        if taken is not None:
            raise PluginError(
                f"plugin {self._plugin.name!r} calls itself {method!r}, as plugin {taken!r} does: readers could not "
                "tell the two apart. Choose another title."
            )
        self.shown = Titles(method, dict(words))

    def example(self, name: str, target: str) -> None:
        """Register an example model for the contract suite: a function without arguments that gives a tiny config.

        It returns a `wtal_bench.testing.Example`. Every component must be part of an example.
        """
        self._check(name, target, "example")
        self.examples.append(ComponentInfo("example", name, target, self._plugin.name, self._plugin.version))

    def _add(self, kind: str, name: str, target: str) -> None:
        self._check(name, target, kind)
        info = ComponentInfo(kind, name, target, plugin=self._plugin.name, version=self._plugin.version)
        registries()[kind].add(info)
        self.added.append(info)

    def _check(self, name: str, target: str, kind: str) -> None:
        self._check_text(kind, name)
        prefix, dot, rest = name.partition(".")
        core = self._plugin.name == CORE
        if not ((core and not dot) or (prefix == self._plugin.name and rest.isidentifier())):
            raise PluginError(
                f"plugin {self._plugin.name!r} registers {kind} {name!r}; its names must be "
                f"'{self._plugin.name}.<Name>', so that no two plugins can clash."
            )
        self._check_target(name, target)

    def _check_target(self, name: str, target: str) -> None:
        module, colon, attribute = target.partition(":") if isinstance(target, str) else ("", "", "")
        if not (module and colon and attribute.isidentifier()):
            raise PluginError(
                f"plugin {self._plugin.name!r}: the target of {name!r} must be 'module:Class', got {target!r}."
            )

    def _check_text(self, kind: str, name: object) -> None:
        if not isinstance(name, str):
            raise PluginError(f"plugin {self._plugin.name!r}: the name of a {kind} must be a text, got {name!r}.")


def entitled(title: str) -> str | None:
    """The plugin, of those loaded so far, that has this title or one the eye takes for it; None where none has."""
    return next((name for name, other in _titles.items() if _alike(other.method) == _alike(title)), None)


def _alike(title: str) -> str:
    """A title without what the eye overlooks."""
    return "".join(filter(str.isalnum, title.casefold()))


def _why_missing(name: str) -> str:
    """Where a name that one registry lacks may be: in another one, or in a plugin that could not be loaded."""
    said = [f"There is a {kind} of that name: is it under the right key?"
            for kind, table in _REGISTRIES.items() if name in table.names()][:1]  # fmt: skip
    failed = failure_of(name)
    if failed:
        said.append(f"Plugin {failed.name!r} could not be loaded: {failed.reason}")
    prefix = name.partition(".")[0]
    if not (said or prefix in (_loaded or {})) and _lies_there(prefix):
        said.append(
            f"The plugin {prefix!r} lies in plugins/, but this installation does not know it yet: run `pip install -e "
            ".` again (and look at WTAL_PLUGINS, where that is set)."
        )
    return " ".join(said)


def _lies_there(name: str) -> bool:
    """Whether one of our own plugins has that name: its folder may have come after the entry points were written."""
    return name.isidentifier() and importlib.util.find_spec(f"wtal_plugins.{name}") is not None


_REGISTRIES = {kind: Registry(kind, _why_missing) for kind in KINDS}


def registries() -> dict[str, Registry]:
    """The registries by kind, without loading plugins."""
    return _REGISTRIES


def registry(kind: str) -> Registry:
    """The registry of one kind, with all plugins loaded.

    Raises:
        PluginError: no such kind, or an in-tree plugin is broken.
    """
    if kind not in _REGISTRIES:
        raise PluginError(
            f"no kind of component is called {kind!r}.{did_you_mean(kind, KINDS)} Kinds: {listing(KINDS)}."
        )
    load_plugins()
    return _REGISTRIES[kind]


@contextlib.contextmanager
def snapshot() -> Iterator[None]:
    """Restore every registry on exit: for tests."""
    load_plugins()  # now: loaded inside, they would be forgotten on exit and never loaded again
    with contextlib.ExitStack() as stack:
        for table in _REGISTRIES.values():
            stack.enter_context(table.snapshot())
        yield


_loaded: dict[str, Plugin] | None = None
_loading = False
_failed: dict[str, Plugin] = {}
_examples: list[ComponentInfo] = []
_protocols: list[ComponentInfo] = []
_titles: dict[str, Titles] = {}
_fatal: PluginError | None = None


def load_plugins() -> dict[str, Plugin]:
    """Find and register every plugin once; return those that loaded, by name.

    Raises:
        PluginError: a plugin of ours is broken, or the package is not installed (no entry points at all).
    """
    global _loaded, _loading
    if _fatal is not None:
        raise _fatal
    if _loaded is not None:
        return _loaded
    if _loading:
        raise PluginError("plugins are being loaded: at discovery a plugin registers, and asks for no component.")
    _loading = True
    try:
        _loaded = {point.name: plugin for point in _wanted() if (plugin := _load(point)) is not None}
    finally:
        _loading = False
    return _loaded


def _load(point: Found) -> Plugin | None:
    """Import and register one plugin; None where it had to be refused."""
    global _fatal
    plugin = Plugin(point.name, point.version, point.module, distribution=point.distribution, in_tree=point.ours)
    try:
        with quarantine():
            _register(plugin, point.load())
    except PluginError as error:
        if plugin.in_tree:
            _fatal = PluginError(f"the built-in plugin {plugin.name!r} ({plugin.module}) is broken: {error}")
            raise _fatal from error
        _failed[plugin.name] = replace(plugin, reason=str(error))
        return None
    return plugin


def failed_plugins() -> list[Plugin]:
    """Plugins that were found and refused, with their reasons."""
    return [_failed[name] for name in sorted(_failed)]


def examples() -> list[ComponentInfo]:
    """The example models that plugins registered for the contract suite."""
    load_plugins()
    return list(_examples)


def protocol_infos() -> list[ComponentInfo]:
    """The protocols that plugins registered; the harness's own stand in `wtal_bench.protocols`."""
    load_plugins()
    return list(_protocols)


def titles() -> dict[str, Titles]:
    """How readers are shown the names of the plugins that say so, by plugin."""
    load_plugins()
    return dict(_titles)


def failure_of(component: str) -> Plugin | None:
    """The failed plugin a component name belongs to, if any."""
    prefix = component.partition(".")[0]
    return next((plugin for plugin in failed_plugins() if plugin.name == prefix), None)


def _wanted() -> list[Found]:
    """The entry points to load, the core first; those that lost their name to another are noted as failed."""
    found, refused = discovery.find(GROUP, CORE)
    for point, reason in refused:
        key = f"{point.name} ({point.value})" if point.value else point.name
        _failed[key] = Plugin(point.name, point.version, point.module, reason, point.distribution)
    if CORE not in found or not found[CORE].ours:
        raise PluginError("wtal-bench is not installed in this environment: run `pip install -e .` in its checkout.")
    wanted = os.environ.get("WTAL_PLUGINS")
    if wanted is not None:
        names = [name.strip() for name in wanted.split(",") if name.strip()]
        for name in names:
            if name not in found:
                raise PluginError(
                    f"WTAL_PLUGINS names {name!r}, which is not installed.{did_you_mean(name, found)} "
                    f"Installed: {listing(sorted(found))}."
                )
        found = {name: found[name] for name in {CORE, *names}}
    core = found.pop(CORE)
    return [core, *(found[name] for name in sorted(found, key=lambda name: (not found[name].ours, name)))]


def _register(plugin: Plugin, module: object) -> None:
    declared = getattr(module, "WTAL_API_VERSION", None)
    if type(declared) is not int or declared != API_VERSION:  # True == 1, and so is 1.0
        raise PluginError(
            f"it was written for plugin API {declared!r}, this harness speaks {API_VERSION}: set WTAL_API_VERSION = "
            f"{API_VERSION} in {plugin.module} after reading wtal_bench/interfaces.py, or install a matching release."
        )
    # a manager each: what one plugin leaves behind in it is no other's trouble
    manager = pluggy.PluginManager("wtal_bench")
    manager.add_hookspecs(Hooks)
    registrar = Registrar(plugin)
    try:
        manager.register(module, name=plugin.name)
        manager.check_pending()  # a misspelt hook would otherwise be ignored in silence
        manager.hook.wtal_register(registrar=registrar)
        if not (registrar.added or registrar.protocols):
            raise PluginError(
                f"{plugin.module} registers nothing: decorate `def wtal_register(registrar)` with @hookimpl."
            )
    except BaseException:
        for info in registrar.added:
            registries()[info.kind].discard(info.name)
        raise
    _examples.extend(registrar.examples)
    _protocols.extend(registrar.protocols)
    if registrar.shown is not None:
        _titles[plugin.name] = registrar.shown
