"""Whose code ran: every distribution that supplied a component, with the state of its own checkout.

What counts is where a distribution's modules lie. In a git checkout that knows them: its commit, and whether anything
differs from it, untracked files included (they can be imported like all others). Anywhere else (installed into
site-packages, or in a folder that no repository holds): a hash over the source files.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wtal_bench.errors import listing
from wtal_bench.leaderboard.origin_rules import CORE, HARNESS
from wtal_bench.plugins import Plugin, load_plugins, registries
from wtal_bench.protocols import Protocol

SOURCES = (".py", ".pyx", ".so", ".pyd", ".c", ".cpp", ".cu")
"""Files that may be code."""

NOT_CODE = ":!leaderboard"
"""Of the harness's own checkout: generated tables and filed records change no number."""

BYTECODE = ":(exclude,glob)**/__pycache__/**"
"""What the interpreter itself writes beside sources when they are imported, whether or not git ignores it."""


def distributions(components: Iterable[Mapping[str, str]], protocol: Protocol | None = None) -> list[dict[str, Any]]:
    """The distributions that supplied components, for a record: the harness first.

    Args:
        components: as `provenance.component_list` gives them.
        protocol: what is scored; a plugin's counts as one of its components.
    """
    loaded = load_plugins()
    # what was registered without an entry point is known by its components alone
    used = {part["plugin"]: Plugin(part["plugin"], part["version"], part["plugin"]) for part in components}
    used |= {name: loaded[name] for name in (CORE, *used) if name in loaded}
    if protocol is not None and (name := protocol.dataset.partition(".")[0]) in loaded:
        used[name] = loaded[name]
    suppliers: dict[str, list[Plugin]] = {HARNESS: []}
    for _, plugin in sorted(used.items()):
        suppliers.setdefault(HARNESS if plugin.in_tree else plugin.distribution or plugin.name, []).append(plugin)
    return [_row(name, plugins) for name, plugins in suppliers.items()]


def unrepeatable(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Sentences on the code that nobody else can check out: a run made by it is shown, but not ranked."""
    notes = []
    for row in rows:
        if row["commit"] is None:
            notes.append(f"{row['name']} lies in no git checkout, so nobody can look its code up by a commit")
        elif row["dirty"]:
            changed = changed_files(row["name"], _places(row["name"], row["plugins"]))
            shown = listing([line.strip() for line in changed], 3)
            notes.append(f"the checkout of {row['name']} has uncommitted or untracked files ({shown})")
    return [f"{note}: the leaderboard will show this run, but not rank it." for note in notes]


def _row(name: str, plugins: list[Plugin]) -> dict[str, Any]:
    own = [plugin.name for plugin in plugins]
    return {"name": name, "version": plugins[0].version, "plugins": own, **_state(name, _places(name, own))}


def _places(name: str, plugins: Iterable[str]) -> tuple[Path, ...]:
    """The folders (or single files) that the modules of a distribution's plugins and of their components lie in."""
    targets = [load_plugins()[plugin].module for plugin in plugins if plugin in load_plugins()]
    targets += [info.target for table in registries().values() for info in table.infos() if info.plugin in plugins]
    modules = dict.fromkeys(re.split("[.:]", target)[0] for target in targets)
    if name == HARNESS:
        modules |= dict.fromkeys(("wtal_bench", "wtal_plugins"))
    places: dict[Path, None] = {}
    for module in map(importlib.import_module, modules):
        # a package's folders, namespace packages included; a module's own file
        folders = list(getattr(module, "__path__", ())) or [module.__file__]
        places |= dict.fromkeys(Path(folder).resolve() for folder in folders)
    return tuple(places)


@functools.cache
def _state(name: str, places: tuple[Path, ...]) -> dict[str, Any]:
    root = _checkout(places)
    if root is None:
        return {"commit": None, "dirty": False, "sources": hash_sources(places)}
    commit = _git(root, "rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(changed_files(name, places)), "sources": None}


def changed_files(name: str, places: tuple[Path, ...]) -> list[str]:
    """What of a distribution's checkout is not as committed: untracked files count, and ignored Python too."""
    root = _checkout(places)
    spared = [BYTECODE, *([NOT_CODE] if name == HARNESS else [])]
    if root is None:
        return []
    listed = _git(root, "status", "--porcelain", "--untracked-files=all", "--", ".", *spared)
    # what git is told to ignore can be imported all the same
    others = _git(root, "ls-files", "--others", "--", *map(str, places))
    if listed is None or others is None:
        return ["its state is unknown"]  # which is not clean
    seen = {line[3:] for line in listed.splitlines()}
    return [*listed.splitlines(), *(f"!! {f}" for f in others.splitlines() if f.endswith(".py") and f not in seen)]


def _checkout(places: tuple[Path, ...]) -> Path | None:
    """The one checkout that all places belong to; None where there is none, or it ignores one of them or has no commit.

    A folder that merely lies below a checkout (site-packages of a virtual environment in it) is ignored there.
    """
    roots = set()
    for place in places:
        folder = place if place.is_dir() else place.parent
        top = _git(folder, "rev-parse", "--show-toplevel")
        if top is None or _git(folder, "check-ignore", "-q", str(place)) is not None:
            return None
        roots.add(Path(top).resolve())
    if len(roots) != 1:
        return None
    root = roots.pop()
    return root if _git(root, "rev-parse", "HEAD") else None


def hash_sources(places: Iterable[Path]) -> str:
    """SHA-256 (hex) over the source files in some folders (or single files): their paths and contents."""
    total = hashlib.sha256()
    for place in sorted(places, key=lambda path: path.name):
        files = (
            [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.suffix in SOURCES and p.is_file())
        )
        for file in files:
            inside = file.relative_to(place.parent).as_posix()
            total.update(f"{inside}\n{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def hash_everything() -> str:
    """SHA-256 (hex) over the sources of the harness and of every plugin that is installed."""
    return hash_sources(_places(HARNESS, load_plugins()))


def _git(folder: Path, *words: str) -> str | None:
    """What git says, None where it fails or is not there."""
    try:
        # variables such as GIT_DIR, set inside git's own hooks, would name another checkout
        own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=30, errors="replace", env=own
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip("\n") if done.returncode == 0 else None
