"""The rooms' arrows point one way. Every import is read from the source, wherever in a file it stands."""

from __future__ import annotations

import ast
import functools
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY

try:
    import tomllib
except ImportError:  # Python 3.10, where pytest brings it
    import tomli as tomllib

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
ROOTS = {"wtal_bench": REPOSITORY / "wtal_bench", "wtal_plugins": REPOSITORY / "plugins"}

VOCABULARY = {"errors", "files", "temporary", "names", "reading", "plain_yaml", "arrays", "text", "options", "order"}
VOCABULARY |= {"structures", "packing", "interfaces"}
COMPONENTS = VOCABULARY | {"registry", "plugins", "discovery"}
MAY_IMPORT = {
    "names": set(),
    "errors": {"names"},
    "temporary": set(),
    "files": {"errors", "temporary"},
    "options": {"errors"},
    "order": set(),
    "overlay": {"errors", "options"},
    "reading": {"errors", "files", "plain_yaml"},
    "plain_yaml": {"files"},
    "arrays": {"errors", "reading"},
    "recipes": {"errors", "files", "overlay", "reading"},
    "text": set(),
    "lean": set(),
    "structures": {"errors"},
    "packing": set(),
    "interfaces": {"errors", "structures", "packing"},
    "discovery": {"errors", "files"},
    "registry": {"errors", "interfaces", "options", "discovery"},
    "plugins": {"errors", "interfaces", "registry", "discovery"},
    "builtin": {"plugins"},
    "data": VOCABULARY,
    "decoding": VOCABULARY,
    "extraction": VOCABULARY | {"data"},
    "evaluation": VOCABULARY,
    "modeling": COMPONENTS,
    "testing": COMPONENTS | {"modeling", "data", "running"},
    "protocol_checks": VOCABULARY,
    "protocol": VOCABULARY | {"data", "evaluation"},
    "held_out": VOCABULARY | {"data", "protocol"},
    "protocols": VOCABULARY | {"data", "evaluation", "plugins", "discovery", "protocol", "protocol_checks", "held_out"},
    "probing": VOCABULARY | {"data", "decoding", "evaluation"},
    "report": VOCABULARY
    | {"evaluation", "protocol", "protocols", "leaderboard"}
    | {f"data.{name}" for name in ("annotations", "coverage", "locate", "note")},
    "leaderboard": VOCABULARY
    | {"evaluation", "protocol", "protocols", "plugins"}
    | {f"data.{name}" for name in ("annotations", "coverage", "detection_notes", "note", "notes", "progress")},
    "running": COMPONENTS
    | {"recipes", "overlay", "data", "extraction", "modeling", "decoding", "evaluation", "protocol", "protocols"}
    | {"leaderboard", "report"},
    "engines": COMPONENTS | {"lean", "running"},
    "sweeps": COMPONENTS | {"recipes", "protocols", "held_out", "evaluation", "leaderboard", "running"},
    "commands": COMPONENTS
    | {"recipes", "data", "extraction", "evaluation", "probing", "protocols", "leaderboard", "report", "running"}
    | {"testing", "sweeps", "engines"},
    "library": VOCABULARY | {"data", "evaluation", "leaderboard", "protocols", "running"},
    "cli": {"errors", "lean"},
    "__main__": {"cli"},
}
"""Room -> rooms of the harness it may import; every other arrow points up. The command line finds its verbs by name."""

PLUGINS_MAY_IMPORT = {
    "wtal_bench.structures",
    "wtal_bench.interfaces",
    "wtal_bench.errors",
    "wtal_bench.files",
    "wtal_bench.reading",
    "wtal_bench.options",
    "wtal_bench.plugins",
    "wtal_bench.modeling.blocks",
    "wtal_bench.decoding",
    "wtal_bench.evaluation",
    "wtal_bench.protocols",
    "torch",
    "numpy",
    "scipy",
}
TORCH_FREE = ("errors", "files", "text", "options", "order", "overlay", "recipes", "structures", "interfaces")
TORCH_FREE += ("registry", "temporary", "discovery")
TORCH_FREE += ("reading", "plain_yaml", "arrays")
TORCH_FREE += ("plugins", "builtin", "cli", "decoding", "evaluation", "leaderboard", "report", "protocols", "probing")
TORCH_FREE += ("names", "data.annotations", "data.coverage", "data.notes", "extraction.decode", "extraction.snippets")


@functools.cache
def sources() -> dict[str, Path]:
    """Module name -> file, of the package and the plugins (the template of a plugin is text until it is written)."""
    found = {}
    for package, root in ROOTS.items():
        for path in sorted(root.rglob("*.py")):
            if "templates" in path.parts:
                continue
            parts = [package, *path.relative_to(root).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


def imports(module: str, typing_too: bool = True) -> Iterator[str]:
    """Names of all modules that `module` imports, lazily or not."""
    skipped = set()
    if not typing_too:
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
                skipped.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree_of(module)):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively: write the full name"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from [name for name in inner if name in sources()] or [node.module]


def room(module: str) -> str:
    return module.split(".")[1]


HARNESS = [module for module in sources() if module.startswith("wtal_bench.")]
PLUGIN_MODULES = [module for module in sources() if module.startswith("wtal_plugins.")]


@pytest.mark.parametrize("name", sorted({room(module) for module in HARNESS}))
def test_arrows_point_one_way(name):
    allowed = MAY_IMPORT[name]
    for module in HARNESS:
        if room(module) != name:
            continue
        for found in imports(module):
            package, _, inner = found.partition(".")
            assert package != "wtal_plugins", f"{module} imports {found}: the core never imports a plugin"
            if package == "wtal_bench" and inner and inner.split(".")[0] != name:
                fits = any(inner == other or inner.startswith(f"{other}.") for other in allowed)
                assert fits, f"{module} imports {found}; {name} may import {sorted(allowed)}"


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Every group of modules that reach one another (Tarjan)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in arrows[module]:
            if other not in number:
                visit(other)
            if other in stack:
                lowest[module] = min(lowest[module], lowest[other])
        if lowest[module] == number[module]:
            at = stack.index(module)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for module in arrows:
        if module not in number:
            visit(module)
    return found


def test_no_two_modules_import_each_other_lazily_or_for_types_alone():
    arrows = {module: {name for name in imports(module) if name in sources()} - {module} for module in sources()}
    assert circles(arrows) == []


def test_a_circle_of_three_is_found():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": set()}
    assert circles(arrows) == [["a", "b", "c"]]


def test_no_module_stands_outside_the_map():
    assert {room(module) for module in HARNESS} == set(MAY_IMPORT)


def test_only_running_and_modeling_know_mmengine():
    knowing = {room(module) for module in HARNESS if any(name.split(".")[0] == "mmengine" for name in imports(module))}
    assert knowing == {"running", "modeling"}
    assert not [module for module in PLUGIN_MODULES if any(n.startswith("mmengine") for n in imports(module))]


@pytest.mark.parametrize("module", PLUGIN_MODULES)
def test_a_plugin_imports_the_public_interface_alone(module):
    own = ".".join(module.split(".")[:2])
    name = module.rpartition(".")[2]
    allowed = set(PLUGINS_MAY_IMPORT)
    if name.startswith("examples"):
        allowed.add("wtal_bench.testing")
    if name.startswith(("picture", "figure", "plot")):
        allowed |= {"matplotlib", "wtal_bench.report"}
    for found in imports(module):
        standard = found.split(".")[0] in sys.stdlib_module_names
        mine = found == own or found.startswith(f"{own}.")
        fits = any(found == other or found.startswith(f"{other}.") for other in allowed)
        assert standard or mine or fits, f"{module} imports {found}"


def test_plugin_discovery_imports_are_light():
    for module in PLUGIN_MODULES:
        if module.count(".") == 1:
            heavy = [name for name in imports(module) if name.split(".")[0] in ("torch", "numpy", "scipy")]
            assert not heavy, f"{module} imports {heavy} at discovery"


def test_rooms_without_torch_name_it_nowhere():
    for module in HARNESS:
        inner = module.partition(".")[2]
        free = any(inner == name or inner.startswith(f"{name}.") for name in TORCH_FREE)
        if free and inner != "registry":  # which looks whether a class is a torch module, once torch is loaded anyway
            heavy = {name.split(".")[0] for name in imports(module, typing_too=False)} & {"torch", "mmengine"}
            assert not heavy, f"{module} imports {heavy}"


def test_rooms_without_torch_load_none():
    """Importing is not all: a module may come in through another one."""
    names = [m for m in HARNESS if any(m.partition(".")[2].startswith(name) for name in TORCH_FREE)]
    code = (
        "import importlib, json, sys\n"
        "bad = {}\n"
        f"for name in {['wtal_bench', *names]!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = [m for m in ('torch', 'mmengine') if m in sys.modules]\n"
        "    if heavy: bad[name] = heavy; break\n"
        "print(json.dumps(bad))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}


METHODS = {
    "acmnet",
    "basnet",
    "bges",
    "cola",
    "co2",
    "ecm",
    "facnet",
    "ftcl",
    "gaufuse",
    "rskp",
    "stpn",
    "tcb",
    "umnet",
}
METHODS |= {path.name.replace("_", "") for path in ROOTS["wtal_plugins"].iterdir() if path.is_dir()} - {"pycache"}
METHODS -= {"wtalc"}
"""The name also of a public release of features and of the evaluation script that came with it."""


def identifiers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        for attribute in ("id", "name", "arg", "attr"):
            value = getattr(node, attribute, None)
            if isinstance(value, str):
                yield getattr(node, "lineno", 0), value


def words(identifier: str) -> set[str]:
    """The words of a name, and its neighbours joined: `fac_net` and FACNet both hold `facnet`."""
    split = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", identifier)
    parts = [part.lower() for part in split]
    return {*parts, *map("".join, itertools.pairwise(parts)), identifier.lower().replace("_", "")}


def test_the_core_names_no_method():
    for module in HARNESS:
        for line, identifier in identifiers(tree_of(module)):
            named = words(identifier) & METHODS
            assert not named, (
                f"{module}:{line}: {identifier!r} names {named}; what is special to a method is its plugin's"
            )
        for node in ast.walk(tree_of(module)):
            compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            texts = [side.value for side in compared if isinstance(side, ast.Constant) and isinstance(side.value, str)]
            assert not [text for text in texts if words(text) & METHODS], (
                f"{module}:{node.lineno} asks which method it is"
            )


def test_the_words_of_a_name_find_methods():
    assert words("FACNetHead") & METHODS == {"facnet"}
    assert words("use_fac_net") & METHODS == {"facnet"}
    assert words("ecmTrunk") & METHODS == {"ecm"}
    assert not words("specmap_costs") & METHODS


def test_every_module_says_what_it_is():
    silent = [
        name for name, path in sources().items() if path.read_text().strip() and not ast.get_docstring(tree_of(name))
    ]
    assert silent == []


def test_no_file_is_too_long_to_read():
    long = {name: count for name, path in sources().items() if (count := len(path.read_text().splitlines())) > 600}
    assert long == {}


def test_the_packages_listed_are_the_folders_there_are():
    listed = PROJECT["tool"]["setuptools"]["packages"]
    packages = [name for name, path in sources().items() if path.name == "__init__.py"]
    assert listed == sorted(listed)
    assert sorted(listed) == sorted([*packages, "wtal_configs", "wtal_leaderboard"])
    folders = {path.parent for path in sources().values()}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_every_plugin_of_ours_has_its_entry_point():
    entries = PROJECT["project"]["entry-points"]["wtal_bench.plugins"]
    assert entries.pop("core") == "wtal_bench.builtin"
    folders = {module.split(".")[1] for module in PLUGIN_MODULES}
    assert entries == {name: f"wtal_plugins.{name}" for name in folders}
    assert list(entries) == sorted(entries)
