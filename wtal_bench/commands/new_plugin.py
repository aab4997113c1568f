"""The verb `new-plugin`: a plugin package that trains and passes its tests from the first minute."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import keyword
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import wtal_bench
from wtal_bench.discovery import installed_spec
from wtal_bench.errors import ConfigError
from wtal_bench.plugins import entitled, load_plugins
from wtal_bench.protocols import OWN, PROTOCOLS

TEMPLATE = Path(wtal_bench.__file__).with_name("templates") / "plugin"
"""A whole plugin package that is called `PLACEHOLDER`: linted, formatted and tested as it lies there."""
PLACEHOLDER = "my_idea"
HIDDEN = {"gitignore": ".gitignore"}
"""Files that begin with a dot in a plugin: in the template they would act on it, and wheels leave them out."""
RESERVED = ("tests", "test", "configs", "tools", "plugins", "leaderboard", "conftest", "setup")
"""Names of folders and modules that a plugin, or the harness, has beside it."""

SUMMARY = "Write a plugin package: one head, one loss, one config, tests that are green at once."
EXAMPLE = "wtal-bench new-plugin my_idea --out ../my_idea && pip install -e '../my_idea[test]' && pytest ../my_idea"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", help="the plugin's name: lower-case letters, digits, underscores")
    parser.add_argument("--out", help="folder to write (default: ./NAME)")


def run(args: argparse.Namespace) -> int:
    """Write the package and say what to do with it."""
    name = args.name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(f"{name!r} is no plugin name: use lower-case letters, digits and underscores, e.g. my_idea.")
    taken = _why_taken(name)
    if taken:
        raise ConfigError(f"{name!r} cannot be the plugin's name: {taken}. Choose another, e.g. my_{name}.")
    folder = Path(args.out or name)
    if folder.exists():
        raise ConfigError(f"{folder} already exists; choose another --out.")
    write_plugin(name, folder)
    print(f"written {folder}. Next:")
    shown = shlex.quote(str(folder))
    print(f"  pip install -e {shlex.quote(f'{folder}[test]')}")
    print(f"  pytest {shown}")
    print(f"  wtal-bench train {shown}/configs/{name}_synthetic.py")
    return 0


def _why_taken(name: str) -> str:
    """Why installing a package of that name would hide, replace or confuse another; "" where it would not."""
    if name in RESERVED or name.startswith("wtal_"):
        return "the harness uses it itself"
    if name in load_plugins():
        owner = "the harness" if load_plugins()[name].in_tree else "a package that is installed here"
        return f"{owner} has a plugin of that name"
    if (owner := entitled(name)) is not None:
        return f"readers would take it for {owner}"
    datasets = {protocol.partition("/")[0] for protocol in (*PROTOCOLS, OWN)}
    if name in datasets:
        return "the harness has a data set of that name"
    if name in sys.stdlib_module_names:
        return "Python's own library has a module of that name"
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found = importlib.metadata.distribution(name)
        return f"the package {found.name} {found.version} is installed here, and pip would replace it"
    spec = installed_spec(name)
    if spec is not None:
        return f"a module of that name is installed here ({spec.origin})"
    return ""


def write_plugin(name: str, folder: Path) -> None:
    """Write the package in one step: complete, or not at all.

    Args:
        name: the plugin's name; stands wherever the template says `my_idea`.
        folder: where; must not be there yet.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        draft = Path(scratch) / "draft"
        for source in sorted(TEMPLATE.rglob("*")):
            if source.is_dir() or source.suffix == ".pyc":
                continue
            place = source.relative_to(TEMPLATE)
            target = draft / HIDDEN.get(str(place), str(place)).replace(PLACEHOLDER, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text(encoding="utf-8").replace(PLACEHOLDER, name), encoding="utf-8")
        shutil.move(draft, folder)
