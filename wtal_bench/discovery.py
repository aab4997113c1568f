"""Entry points, and running what they name: strangers' code that may be missing, broken, misnamed or ill-behaved.

What cannot be held: `os._exit`, a crash of the interpreter, and a loop without end. They stop every verb;
`WTAL_PLUGINS` (see `wtal_bench.plugins`) names what is loaded, and `pip uninstall` ends it.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType

from wtal_bench.errors import PluginError, WtalError
from wtal_bench.files import shipped

OURS = ("wtal_bench", "wtal_plugins")
"""Packages whose plugins come with the harness."""
DISTRIBUTION = "wtal-bench"


@dataclass(frozen=True)
class Found:
    """One entry point: its name, what it points at ("module" or "module:object"), and the distribution it is of."""

    name: str
    value: str
    distribution: str
    version: str
    ours: bool

    @property
    def module(self) -> str:
        """The module it names."""
        return self.value.partition(":")[0].strip()

    def load(self) -> object:
        """Import what it points at; call it inside `quarantine`.

        Raises:
            PluginError: it is no "module" or "module:object".
        """
        module, _, attributes = self.value.partition(":")
        parts = [*module.strip().split("."), *filter(None, attributes.strip().split("."))]
        if not all(part.isidentifier() for part in parts):
            raise PluginError(f"its entry point must be 'module' or 'module:object', got {self.value!r}.")
        loaded = import_installed(module.strip())
        for attribute in filter(None, attributes.strip().split(".")):
            loaded = getattr(loaded, attribute)
        return loaded


def find(group: str, core: str) -> tuple[dict[str, Found], list[tuple[Found, str]]]:
    """Find the entry points of a group in every installed distribution.

    Names of ours are ours, whatever else is installed, and in whichever order; of strangers, the first on `sys.path`
    has the name.

    Args:
        group: of entry points.
        core: the name only our own distribution has.

    Returns:
        entry points by name, and those refused, each with the reason.
    """
    ours: dict[str, Found] = {}
    others: list[Found] = []
    refused: list[tuple[Found, str]] = []
    for distribution in importlib.metadata.distributions():
        try:
            points = [point for point in distribution.entry_points if point.group == group]
            if not points:
                continue
            name, version = _named(distribution)
        except Exception as error:  # files of an installation that went wrong: no reason to stop every verb
            place = getattr(distribution, "_path", "a distribution")
            unread = Found(Path(str(place)).name, "", "", "", ours=False)
            refused.append((unread, f"{place}: its entry points cannot be read ({words(error)}); install it again."))
            continue
        found = [_found(point, name, version) for point in points]
        if any(point.ours and point.name == core for point in found):
            # a second one is the same checkout seen twice on sys.path, or an older installation: Python takes the first
            ours = ours or {point.name: point for point in found if point.ours}
        else:
            others += found
    kept: dict[str, Found] = dict(ours)
    for point in others:
        holder = kept.setdefault(point.name, point)
        if holder is point or (point.distribution and point.distribution == holder.distribution):
            continue  # itself, or another copy of a distribution: Python takes the first
        owner = "which comes with the harness" if holder.ours else f"of {holder.distribution or 'another plugin'}"
        refused.append((point, f"its name is taken by {holder.value}, {owner}: rename the entry point."))
    return kept, refused


def _named(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    """A distribution's normalised name and its version; a distribution without METADATA has neither."""
    try:
        return re.sub(r"[-_.]+", "-", distribution.name or "").lower(), distribution.version or ""
    except Exception:  # of which kind depends on Python's version
        return "", ""


def _found(point: importlib.metadata.EntryPoint, distribution: str, version: str) -> Found:
    ours = distribution == DISTRIBUTION and re.split(r"[.:]", point.value)[0] in OURS
    return Found(point.name, point.value, distribution, version, ours)


@contextlib.contextmanager
def quarantine() -> Iterator[None]:
    """Run a stranger's code: what it raises, SystemExit and KeyboardInterrupt too, comes out as one PluginError.

    What it prints goes to standard error: `list --json` is read by programs. The user's own Ctrl-C is passed on.

    Raises:
        PluginError: its text is the kind and the words of whatever was raised.
    """
    pressed = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    main_thread = threading.current_thread() is threading.main_thread()
    usual = main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if usual:
        signal.signal(signal.SIGINT, interrupt)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except WtalError:
        raise
    except BaseException as error:
        if pressed:
            raise
        raise PluginError(words(error)) from error
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def words(error: BaseException) -> str:
    """The kind of an error and its text on one line, whatever its `__str__` does."""
    try:
        text = " ".join(str(error).split())
    except BaseException:  # a stranger's __str__
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def import_installed(module: str) -> ModuleType:
    """Import a plugin's module; a folder or file of its name in the current folder does not come before it.

    `python -m` puts the current folder first, and a plain folder there would hide a package installed as editable.
    """
    top = module.partition(".")[0]
    known = sys.modules.get(top)
    if known is None or getattr(known, "__file__", None) is None:
        spec = _our_spec(top) or installed_spec(top)
        if spec is not None and spec.origin not in (None, "built-in", "frozen"):
            _execute(spec, known)
            _warn_of_shadow(top, spec)
    return importlib.import_module(module)


def _execute(spec: ModuleSpec, known: ModuleType | None) -> None:
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(spec.name, None)
        if known is not None:
            sys.modules[spec.name] = known
        raise


def installed_spec(top: str) -> ModuleSpec | None:
    """Where a top-level module would come from if the current folder came last and plain folders did not count."""
    here = _current_folder()
    elsewhere = [place for place in sys.path if here is None or not _same(place, here)]
    for finder in sys.meta_path:
        if finder is importlib.machinery.PathFinder:
            spec = finder.find_spec(top, elsewhere)
        else:
            spec = finder.find_spec(top, None) if hasattr(finder, "find_spec") else None
        if spec is not None and spec.origin is not None:
            return spec
    return None


def _our_spec(top: str) -> ModuleSpec | None:
    """The package of our own plugins: beside the harness, whatever else on `sys.path` has its name."""
    folder = shipped("plugins")
    if top != OURS[1] or not (folder / "__init__.py").is_file():
        return None
    return importlib.util.spec_from_file_location(top, folder / "__init__.py", submodule_search_locations=[str(folder)])


def _current_folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # somebody removed it
        return None


def _same(place: str | Path, folder: Path) -> bool:
    try:
        return Path(place).resolve() == folder.resolve()
    except OSError:
        return False


def _warn_of_shadow(top: str, spec: ModuleSpec) -> None:
    """Say so when the current folder holds another copy, which plain Python would have taken."""
    here = _current_folder()
    if here is None or not any(_same(place, here) for place in sys.path):
        return
    for place in (here / top / "__init__.py", here / f"{top}.py"):
        if place.is_file() and not place.samefile(spec.origin):
            warnings.warn(
                f"plugin {top!r} is loaded from {Path(spec.origin).parent}, where it is installed, not from "
                f"{place.parent}; `pip install -e` of your checkout makes the two one.",
                stacklevel=2,
            )
