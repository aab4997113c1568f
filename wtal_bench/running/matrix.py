"""Which idea runs on which host, found by building every pair; nothing is trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from wtal_bench.errors import WtalError
from wtal_bench.modeling.build import build_model
from wtal_bench.recipes import PLUS, SCOPE, shipped_ideas, shipped_names
from wtal_bench.running.config import load_config

SMALL = "_synthetic"
"""A host is what has a recipe of that name for the embedded benchmark: the smallest model of it there is."""


@dataclass(frozen=True)
class Cell:
    """One idea on one host.

    Attributes:
        host, idea: their names.
        recipe: how the mix is named, e.g. "wtal::ecm_synthetic.py+cw".
        reason: why it cannot be built, or "".
    """

    host: str
    idea: str
    recipe: str
    reason: str


def hosts() -> dict[str, str]:
    """Every host by name -> its recipe for the embedded benchmark; variants of a method count as hosts of their own."""
    paths = [PurePosixPath(name) for name in shipped_names()]
    return {
        path.stem.removesuffix(SMALL): f"{SCOPE}{path}"
        for path in paths
        if path.stem.endswith(SMALL) and len(path.parts) == 1
    }


def matrix(only: Iterable[str] | None = None) -> list[Cell]:
    """Build every idea on every host (on those of `only`, if given): cells, host by host."""
    chosen = {name: recipe for name, recipe in hosts().items() if only is None or name in only}
    return [built(host, recipe, idea.name) for host, recipe in chosen.items() for idea in shipped_ideas()]


def built(host: str, recipe: str, idea: str) -> Cell:
    """Build one idea on one host: the cell says why it cannot be, if so."""
    name = f"{recipe}{PLUS}{idea}"
    try:
        config = load_config(name)
        build_model(config.model, config.path)
    except WtalError as error:
        return Cell(host, idea, name, _reason(str(error), idea))
    return Cell(host, idea, name, "")


def _reason(text: str, idea: str) -> str:
    """An error's text without the file and the idea, which the cell says."""
    _, _, after = text.partition(f"{PLUS}{idea}: ")
    _, mark, said = after.partition(".py): ")
    return said if mark and after.startswith("idea ") else after or text
