"""The verb `list`: every component with where it comes from, without importing any of them."""

from __future__ import annotations

import argparse
import ast
import functools
import importlib.util
import json
from typing import Any

from wtal_bench.interfaces import ComponentInfo
from wtal_bench.plugins import failed_plugins, load_plugins, registry
from wtal_bench.registry import KINDS

SUMMARY = "List components and plugins with their origin; failed plugins with the reason."
EXAMPLE = "python tools/list.py --kind head"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--kind", help=f"one of: {', '.join(KINDS)}")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    plugins = load_plugins()
    kinds = [args.kind] if args.kind else list(KINDS)
    rows = [_row(info) for kind in kinds for info in registry(kind).infos()]
    failed = [{"name": p.name, "version": p.version, "module": p.module, "reason": p.reason} for p in failed_plugins()]
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
        spec = importlib.util.find_spec(module)
        source = spec.loader.get_source(module)
        tree = ast.parse(source)
    except (ImportError, AttributeError, SyntaxError, TypeError):
        return {}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {node.name: (ast.get_docstring(node) or "").partition("\n")[0] for node in classes}
