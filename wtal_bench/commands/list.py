"""The verb `list`: components with where they come from, shipped recipes and ideas, which idea runs on which host.

Only the last, and `--check`, import components.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import importlib.util
import json
import shutil
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from wtal_bench import __version__
from wtal_bench.discovery import quarantine
from wtal_bench.errors import PluginError, WtalError
from wtal_bench.interfaces import ComponentInfo
from wtal_bench.plugins import examples, failed_plugins, load_plugins, protocol_infos, registry
from wtal_bench.protocols import PROTOCOLS, get_protocol, why_refused
from wtal_bench.recipes import shipped_recipes
from wtal_bench.registry import KINDS

PROTOCOL = "protocol"
SUMMARY = "List components and plugins with their origin; or the shipped configs; or which idea runs on which host."
EXAMPLE = """wtal-bench list --kind head
  wtal-bench list --configs '*_synthetic'
  wtal-bench list --matrix
  wtal-bench list --check"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--kind", help=f"one of: {', '.join((*KINDS, PROTOCOL))}")
    parser.add_argument(
        "--configs", nargs="?", const="*", metavar="PATTERN", help="shipped configs instead, e.g. ecm or '*_thumos'"
    )
    parser.add_argument("--matrix", action="store_true", help="which idea runs on which host, and why not, instead")
    parser.add_argument(
        "--check",
        action="store_true",
        help="import every component and say what is wrong with it; exit status 1 if any",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    if args.configs is not None:
        return _list_configs(args.configs, args.json)
    if args.matrix:
        return _list_matrix(args.json)
    if args.check:
        return _check(args.json)
    plugins = load_plugins()
    kinds = [args.kind] if args.kind else [*KINDS, PROTOCOL]
    rows = [row for kind in kinds for row in (_protocols() if kind == PROTOCOL else map(_row, registry(kind).infos()))]
    failed = _failed()
    if args.json:
        loaded = [{"name": p.name, "version": p.version, "module": p.module} for p in plugins.values()]
        print(json.dumps({"components": rows, "plugins": loaded, "failed": failed}, indent=1))
        return 0
    for kind in kinds:
        own = [row for row in rows if row["kind"] == kind]
        width = max((len(row["name"]) for row in own), default=0)
        print(f"{kind} ({len(own)})")
        for row in own:
            print(f"  {row['name']:{width}}  {row['plugin']} {row['version']}  {row['summary']}")
    print("plugins  " + ", ".join(f"{p.name} {p.version}" for p in plugins.values()))
    for plugin in failed:
        print(f"FAILED   {plugin['name']} ({plugin['module']}): {plugin['reason']}")
    return 0


def _failed() -> list[dict[str, Any]]:
    """Plugins and protocols that are not used, with the reason."""
    rows = [{"name": p.name, "version": p.version, "module": p.module, "reason": p.reason} for p in failed_plugins()]
    for info in protocol_infos():
        if reason := why_refused(info):
            rows.append({"name": info.plugin, "version": info.version, "module": info.target, "reason": reason})
    return rows


def _check(as_json: bool) -> int:
    """Import everything that is registered, as a run that names it would."""
    problems = [f"plugin {row['name']} ({row['module']}): {row['reason']}" for row in _failed()]
    checked = 0
    for load in _loads():
        checked += 1
        try:
            load()
        except WtalError as error:
            problems.append(str(error))
    if as_json:
        print(json.dumps({"checked": checked, "problems": problems}, indent=1))
    else:
        for problem in problems:
            print(f"FAILED   {problem}")
        print(f"{checked} components, protocols and examples checked, {len(problems)} problems")
    return 1 if problems else 0


def _loads() -> Iterator[Callable[[], object]]:
    """One call for each thing registered; it raises a WtalError where the thing is not what it should be."""
    from wtal_bench.testing import Case

    for kind in KINDS:
        table = registry(kind)
        yield from (functools.partial(table.get, name) for name in table.names())
    yield from (functools.partial(get_protocol, info.name) for info in protocol_infos() if not why_refused(info))
    yield from (Case(info).load for info in examples())


def _protocols() -> list[dict[str, Any]]:
    """Ours by what they hold; a plugin's as it was registered, not imported."""
    ours = [
        {
            **{"kind": PROTOCOL, "name": name, "plugin": "core", "version": __version__},
            "source": "wtal_bench.protocols",
            "summary": f"{len(p.classes)} classes, mAP over {p.headline}, ranked by {p.main}",
        }
        for name, p in PROTOCOLS.items()
    ]
    theirs = [info for info in protocol_infos() if not why_refused(info)]
    return ours + [{**_row(info), "summary": f"a data set of {info.plugin}"} for info in theirs]


def _list_configs(pattern: str, as_json: bool) -> int:
    found = shipped_recipes(pattern)
    if as_json:
        print(json.dumps([dataclasses.asdict(recipe) for recipe in found], indent=1))
        return 0
    widths = [max(len(getattr(recipe, key)) for recipe in found) for key in ("name", "method", "protocol")]
    room = shutil.get_terminal_size((160, 24)).columns - sum(widths) - 6
    for number, recipe in enumerate(found):
        if recipe.method == "idea" and number and found[number - 1].method != "idea":
            print("\nideas, for any host:")
        cells = (text.ljust(width) for text, width in zip((recipe.name, recipe.method, recipe.protocol), widths))
        print("  ".join([*cells, textwrap.shorten(recipe.header, max(room, 40), placeholder=" ...")]))
    return 0


def _list_matrix(as_json: bool) -> int:
    from wtal_bench.running.matrix import matrix

    cells = matrix()
    if as_json:
        print(json.dumps([dataclasses.asdict(cell) for cell in cells], indent=1))
        return 0
    ideas = list(dict.fromkeys(cell.idea for cell in cells))
    names = list(dict.fromkeys(cell.host for cell in cells))
    reasons = list(dict.fromkeys(cell.reason for cell in cells if cell.reason))
    width = max(map(len, names))
    print("HOST+IDEA, each built on its recipe for the embedded benchmark: yes, or the number of the reason below")
    print("  ".join([" " * width, *ideas]))
    for name in names:
        row = {cell.idea: cell.reason for cell in cells if cell.host == name}
        marks = (f"({reasons.index(row[idea]) + 1})" if row[idea] else "yes" for idea in ideas)
        print("  ".join([name.ljust(width), *(mark.ljust(len(idea)) for mark, idea in zip(marks, ideas))]).rstrip())
    for number, reason in enumerate(reasons, 1):
        print(textwrap.fill(reason, 120, initial_indent=f"({number})".ljust(5), subsequent_indent=" " * 5))
    return 0


def _row(info: ComponentInfo) -> dict[str, Any]:
    module, _, name = info.target.partition(":")
    return {
        "kind": info.kind,
        "name": info.name,
        "plugin": info.plugin,
        "version": info.version,
        "source": info.target,
        "summary": _summaries(module).get(name, ""),
    }


@functools.cache
def _summaries(module: str) -> dict[str, str]:
    """First docstring line of every class of a module, read from its source: importing it may load torch."""
    try:
        with quarantine():  # a parent package is imported, and its loader may be a stranger's
            spec = importlib.util.find_spec(module)
            tree = ast.parse(spec.loader.get_source(module))
    except PluginError:
        return {}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {node.name: (ast.get_docstring(node) or "").partition("\n")[0] for node in classes}
