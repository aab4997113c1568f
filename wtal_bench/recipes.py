"""Recipes (configs): where a name of one leads, and a file with its bases as nested dicts.

One rule holds for every place that names a recipe: `_base_`, `train.init_from.config`, an ablation's `base` and
`instead`, and the command line. A name is looked up

1. as a path beside the file that names it (for the command line: in the current folder, then in its `configs/`);
2. among the shipped recipes, which are `configs/` of the repository and travel inside the wheel. A leading `configs/`
   may be left out or not. `wtal::NAME` looks here alone.

The suffix may be left out. So `ecm_thumos`, `configs/ecm_thumos.py` and `wtal::ecm_thumos.py` are one recipe, unless a
file of one's own is nearer; what was read is said (`describe`).

A name may go on with ideas, `HOST+IDEA` or `HOST+A+B`: the host's recipe with what a file of `ideas/` adds to it. An
idea's name leads, by the same rule, to `ideas/NAME`, or else to NAME itself. This module only says which they are;
`wtal_bench.running.ideas` puts them on the host, which must be built for that.

mmengine's `Config` could not do it: it knows step 1 alone (its `pkg::` names need setuptools at run time), refuses two
bases that share a section (a method and a data set), and reads YAML with a loader that runs code.
"""

from __future__ import annotations

import difflib
import fnmatch
import itertools
import os
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.files import expand, shipped, unplain
from wtal_bench.overlay import overlaid
from wtal_bench.reading import TEXT_LIMIT, read_json, read_text, read_yaml

SCOPE = "wtal::"
FOLDER = "configs"
SUFFIXES = (".py", ".yaml", ".yml", ".json")
BASES = "_base_"
IDEAS = "ideas"
PLUS = "+"


def find(name: str | Path, named_by: Path | None = None, key: str = "") -> Path:
    """Where a name leads, by the rule above.

    Args:
        name: as written.
        named_by: the file that names it; None for the command line.
        key: where in that file, for the error's text.

    Raises:
        ConfigError: nowhere; the text says where was looked and what is near.
    """
    for path in _candidates(str(name), named_by):
        if os.path.isfile(path):  # pathlib's own raises for a name no file can have
            return path
    by = "" if named_by is None else f"{named_by}: "
    by += f"{key}: " if key else ""
    places = "" if str(name).startswith(SCOPE) else f"{_beside(named_by)}, then "
    raise ConfigError(
        f"{by}no recipe {str(name)!r}.{_nearest(str(name), named_by)} Looked in {places}the shipped recipes "
        f"({shipped(FOLDER)}); `wtal-bench list --configs` shows those."
    )


def split_ideas(name: str | Path, named_by: Path | None = None) -> tuple[str, list[str]]:
    """`HOST+A+B` -> ("HOST", ["A", "B"]); a file whose own name holds a "+" is no such thing.

    Raises:
        ConfigError: nothing before or after a "+".
    """
    name = str(name)
    if PLUS not in name or any(os.path.isfile(path) for path in _candidates(name, named_by)):
        return name, []
    host, *ideas = (part.strip() for part in name.split(PLUS))
    if not (host and all(ideas)):
        by = "" if named_by is None else f"{named_by}: "
        raise ConfigError(f"{by}{name!r}: write HOST+IDEA, e.g. 'acm_net_synthetic+ftcl'.")
    return host, ideas


def find_idea(name: str, named_by: Path | None = None) -> Path:
    """Where the name of an idea leads: to `ideas/NAME`, or else to NAME, by the rule above.

    Raises:
        ConfigError: nowhere; the text says which ideas there are.
    """
    scope = SCOPE if name.startswith(SCOPE) else ""
    inner = name.removeprefix(SCOPE)
    for spelt in (f"{scope}{IDEAS}/{inner}", name):
        for path in _candidates(spelt, named_by):
            if os.path.isfile(path):
                return path
    known = [idea.name for idea in shipped_ideas()]
    folder = (Path() if named_by is None else named_by.parent) / IDEAS
    known += [path.stem for path in folder.glob("*.py")]
    by = "" if named_by is None else f"{named_by}: "
    raise ConfigError(
        f"{by}no idea {name!r}.{did_you_mean(name, known)} There are: {listing(sorted(set(known)))}. An idea of one's "
        f"own is a file {IDEAS}/{PurePosixPath(inner).stem}.py in {_beside(named_by)}."
    )


def name_of(path: Path) -> str | None:
    """The name under which a file is shipped, e.g. "wtal::ecm_thumos.py", or None."""
    whole, root = path.resolve(), shipped(FOLDER)
    return f"{SCOPE}{whole.relative_to(root).as_posix()}" if whole.is_relative_to(root) else None


def describe(path: str | Path) -> str:
    """Which file was read, in words; a file that hides a shipped recipe of its name is told from it."""
    path = Path(path)
    name = name_of(path)
    if name is not None:
        return f"{name} ({path})"
    hidden = [f"{SCOPE}{other}" for other in shipped_names() if PurePosixPath(other).name == path.name]
    return f"{path}, not the shipped {listing(hidden)}" if hidden else str(path)


def _beside(named_by: Path | None) -> str:
    if named_by is None:
        return f"the current folder ({Path.cwd()})"
    return str(named_by.parent.absolute())


def _candidates(name: str, named_by: Path | None) -> Iterator[Path]:
    inner = name.removeprefix(SCOPE)
    if inner == name:
        folders = [Path(), Path(FOLDER)] if named_by is None else [named_by.parent]
        for folder in folders:
            yield from _spelt(folder / expand(inner))
    inside = PurePosixPath(os.path.normpath(inner).replace(os.sep, "/"))
    if inside.parts and not (inside.is_absolute() or inside.parts[0] == ".."):
        parts = inside.parts[1:] if inside.parts[0] == FOLDER else inside.parts
        yield from _spelt(shipped(FOLDER).joinpath(*parts))


def _spelt(path: Path) -> Iterator[Path]:
    yield path
    if path.name and path.suffix not in SUFFIXES:
        yield from (path.with_name(path.name + suffix) for suffix in SUFFIXES)


def _nearest(name: str, named_by: Path | None) -> str:
    """The recipes whose names are nearest: shipped ones, and those in the folder where was looked first."""
    inner = Path(name.removeprefix(SCOPE))
    known = {PurePosixPath(text).stem: SCOPE + text for text in reversed(shipped_names())}
    folder = (Path() if named_by is None else named_by.parent) / inner.parent
    if not name.startswith(SCOPE) and folder.is_dir():
        known |= {path.stem: path.name for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file()}
    near = [known[stem] for stem in difflib.get_close_matches(inner.stem, known, n=4)]
    if not near:
        return ""
    return f" Did you mean {near[0]!r}?" + (f" Also near: {listing(near[1:])}." if near[1:] else "")


# ---- reading ----


@dataclass(frozen=True)
class Idea:
    """An idea as a recipe names it.

    Attributes:
        name: how it is called in the recipe's `ideas` section and in the variant, e.g. "ftcl".
        path: its file.
    """

    name: str
    path: Path

    @property
    def header(self) -> str:
        """The comment its file begins with, on one line."""
        return _header(self.path)


@dataclass(frozen=True)
class Tree:
    """What one recipe says, as nested dicts.

    Attributes:
        content: the sections.
        where: its file, for error texts.
    """

    content: Mapping[str, Any]
    where: str


@dataclass(frozen=True)
class Layers:
    """A recipe as it was read: its file, and what lies over what, lowest first.

    Attributes:
        path: the host's file, where relative names lead from.
        steps: a recipe without ideas is one tree.
        where: how it was named, for error texts: the file, and the ideas that the command line added to it.
        host: what the steps before the first idea were named, so that they can be trained alone; None without ideas.
    """

    path: Path
    steps: tuple[Tree | Idea, ...]
    where: str
    host: str | None = None

    @property
    def ideas(self) -> list[Idea]:
        """The ideas, in the order in which they are put on the host."""
        return [step for step in self.steps if isinstance(step, Idea)]

    def trees(self, start: int = 0) -> list[Tree]:
        """The trees from step `start` on."""
        return [step for step in self.steps[start:] if isinstance(step, Tree)]

    def without_ideas(self) -> dict[str, Any]:
        """The recipe as nested dicts, its ideas left out."""
        return _stacked(self.trees())


def read_layers(name: str | Path, named_by: Path | None = None, key: str = "") -> Layers:
    """Read a recipe, its bases and the ideas it names.

    Later bases are laid over earlier ones, the file itself over all of them (`wtal_bench.overlay`). Python files are
    run, YAML and JSON are data. What begins with `_` at the top is a file's own.

    Args:
        name: as written, `HOST` or `HOST+IDEA`.
        named_by: the file that names it; None for the command line.
        key: where in that file, for error texts.

    Raises:
        ConfigError: a file that is not there or cannot be read, is its own base, or replaces a component by accident.
    """
    host, ideas = split_ideas(name, named_by)
    path = find(host, named_by, key)
    below = _read(path, path, ())
    return _with_ideas(below, host, ideas, named_by, path)


def read_tree(name: str | Path, named_by: Path | None = None) -> dict[str, Any]:
    """`read_layers` as nested dicts, ideas left out: what can be said of a recipe before its model is built."""
    return read_layers(name, named_by).without_ideas()


def _read(path: Path, top: Path, above: tuple[Path, ...]) -> Layers:
    if path.resolve() in above:
        chain = [*above[above.index(path.resolve()) :], path.resolve()]
        way = f" ({' -> '.join(step.name for step in chain)})" if len(chain) > 2 else ""
        hint = f" The shipped one of that name is {SCOPE}{path.name}." if path.name in shipped_names() else ""
        raise ConfigError(f"{path} is its own {BASES}{way}.{hint}")
    own = _own(path)
    bases = own.get(BASES, ())
    bases = [bases] if isinstance(bases, str) else bases
    if not (isinstance(bases, (list, tuple)) and all(isinstance(base, str) for base in bases)):
        raise ConfigError(f"{path}: {BASES} is the name of a recipe or a list of such names, got {bases!r}.")
    steps: list[Tree | Idea] = []
    first: str | None = None
    for base in bases:
        name, ideas = split_ideas(base, path)
        below = _read(find(name, path, BASES), top, (*above, path.resolve()))
        below = _with_ideas(below, _leading(name, path, top), ideas, path, top)
        first = first or below.host
        steps += below.steps
    own = {key: value for key, value in own.items() if not str(key).startswith("_")}
    profiles = own.get("profiles")
    for part in (own, *(profiles.values() if isinstance(profiles, Mapping) else ())):
        if isinstance(part, Mapping):
            anchor(part, path, top)
    steps.append(Tree(own, str(path)))
    if not any(isinstance(step, Idea) for step in steps):
        steps = [Tree(_stacked(steps), str(path))]
    return Layers(path, tuple(steps), str(path), first)


def _with_ideas(below: Layers, host: str, ideas: list[str], named_by: Path | None, top: Path) -> Layers:
    """`below` with some more ideas on it."""
    if not ideas:
        return below
    found = [Idea(PurePosixPath(name.removeprefix(SCOPE)).stem, find_idea(name, named_by)) for name in ideas]
    steps = (*below.steps, *found)
    names = [step.name for step in steps if isinstance(step, Idea)]
    where = PLUS.join([below.where, *(idea.name for idea in found)])
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{where}: the idea {name!r} is there twice.")
    return Layers(below.path, steps, where, below.host or _leading(host, named_by, top))


def _leading(name: str, named_by: Path | None, top: Path) -> str:
    """What `named_by` calls `name`, as the recipe `top` must call it: the same text on every machine.

    `wtal::NAME` for a shipped recipe, else the path relative to `top`.
    """
    found = find(name, named_by)
    beside = Path(os.path.relpath(found.resolve(), top.resolve().parent)).as_posix()
    return name_of(found) or beside


def _stacked(trees: Iterable[Tree]) -> dict[str, Any]:
    stack: dict[str, Any] = {}
    for tree in trees:
        stack = overlaid(stack, tree.content, tree.where)
    return stack


def anchor(tree: Mapping[str, Any], named_by: Path | None, top: Path) -> None:
    """Rewrite `train.init_from.config`, in place, so that it leads from the recipe `top` to what its namer meant.

    The text is the same on every machine: `wtal::NAME` for a shipped recipe, else the path relative to `top`.

    Raises:
        ConfigError: it leads nowhere.
    """
    train = tree.get("train")
    source = train.get("init_from") if isinstance(train, Mapping) else None
    if isinstance(source, dict) and isinstance(source.get("config"), str):
        host, ideas = split_ideas(source["config"], named_by)
        find(host, named_by, "train.init_from.config")
        source["config"] = PLUS.join([_leading(host, named_by, top), *ideas])


def _own(path: Path) -> dict[str, Any]:
    """What one file says, its bases unread."""
    try:
        tree = _parse(path)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # a Python file is a program: it may fail in any way
        raise ConfigError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} cannot be read: it holds a {type(tree).__name__}, not sections by name.")
    problem = unplain({key: value for key, value in tree.items() if not str(key).startswith("_")})
    if problem:
        raise ConfigError(f"{path}: {problem}.")
    return tree


def _parse(path: Path) -> Any:
    if path.suffix == ".py":
        text = read_text(path, kind=ConfigError)
        names: dict[str, Any] = {"__file__": str(path), "__name__": path.stem}
        exec(compile(text, str(path), "exec"), names)
        if isinstance(names.get("idea"), types.FunctionType):
            raise ConfigError(f"{path} is an idea, which runs on a host: name both, e.g. acm_net_thumos+{path.stem}.")
        code = (types.ModuleType, types.FunctionType)
        return {key: value for key, value in names.items() if not (key.startswith("__") or isinstance(value, code))}
    if path.suffix == ".json":
        return read_json(path, kind=ConfigError, limit=TEXT_LIMIT)
    if path.suffix in (".yaml", ".yml"):
        return read_yaml(path, kind=ConfigError)
    raise ValueError(f"a recipe is one of {listing(SUFFIXES)}")


# ---- listing ----


@dataclass(frozen=True)
class Recipe:
    """A shipped recipe, or an idea.

    Attributes:
        name: as the command line takes it, without the suffix.
        method, protocol: what it says itself; an ablation file has a number of rows instead of a protocol; an idea is
            called "idea", and says how it is put on a host.
        header: the comment it begins with, on one line.
    """

    name: str
    method: str
    protocol: str
    header: str


def shipped_names() -> list[str]:
    """Path below `configs/` of every shipped recipe that can be run, sorted; `_base_/` and `ideas/` hold none."""
    folder = shipped(FOLDER)
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix in SUFFIXES)
    return sorted(path.as_posix() for path in found if path.parts[0] not in (BASES, IDEAS))


def shipped_ideas() -> list[Idea]:
    """The shipped ideas, sorted by name."""
    return [Idea(path.stem, path) for path in sorted((shipped(FOLDER) / IDEAS).glob("*.py"))]


def shipped_recipes(pattern: str = "*") -> list[Recipe]:
    """The shipped recipes, then the ideas, whose name fits a pattern or holds a plain text.

    Args:
        pattern: with "*", "?" or "[...]" as in a shell, or a plain text.

    Raises:
        ConfigError: none does.
    """
    wanted = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    names = {os.path.splitext(name)[0]: name for name in shipped_names()}
    ideas = {f"{IDEAS}/{idea.name}": idea for idea in shipped_ideas()}
    fitting = [name for name in (*names, *ideas) if fnmatch.fnmatchcase(name, wanted)]
    if not fitting:
        raise ConfigError(f"no shipped recipe fits {pattern!r}.{did_you_mean(pattern, (*names, *ideas))}")
    return [
        Recipe(name, "idea", f"HOST+{ideas[name].name}", ideas[name].header)
        if name in ideas
        else _recipe(name, shipped(FOLDER) / names[name])
        for name in fitting
    ]


def _recipe(name: str, path: Path) -> Recipe:
    tree = read_tree(path)
    return Recipe(name, tree["method"], _what(tree), _header(path))


def _what(tree: Mapping[str, Any]) -> str:
    """The protocol of a recipe, how many rows or recipes a sweep file has, the videos a search is scored on."""
    if "rows" in tree:
        return f"{len(tree['rows'])} rows"
    if "reproduce" in tree:
        return f"{len(tree['reproduce']['recipes'])} recipes"
    return f"search on {tree['search'].get('held_out', 'holdout')}" if "search" in tree else tree["data"]["protocol"]


def _header(path: Path) -> str:
    """The comment a file begins with, on one line."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.lstrip("# ") for line in lines)
