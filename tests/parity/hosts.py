"""Hosts whose golden files name parameters by prefix and hold videos of different lengths (see also `host_files`)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.parity.host_files import load
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.model import Model
from wtal_bench.options import merged
from wtal_bench.recipes import read_tree


def recipe(name: str, **changes: Any) -> dict[str, Any]:
    """The `model` of the shipped config `name` with `changes` merged in."""
    model = copy.deepcopy(read_tree(name)["model"])
    return merged(model, changes)


def host(model: Mapping[str, Any], parameters: Mapping[str, np.ndarray], name_of: Callable[[str], str]) -> Model:
    """The model in float64 with dropout off and the authors' parameters, all of them."""
    built = build_model(model, "golden").double().eval()
    names = {name: name_of(name) for name in built.state_dict()}
    assert set(names.values()) == set(parameters), "a stored parameter has no place"
    load(built, {name: parameters[theirs] for name, theirs in names.items()})
    return built


def renamed(prefixes: Mapping[str, str]) -> Callable[[str], str]:
    """Our name of a parameter -> theirs, by prefix (ours -> theirs)."""

    def name_of(name: str) -> str:
        prefix = next(prefix for prefix in prefixes if name.startswith(prefix))
        return prefixes[prefix] + name.removeprefix(prefix)

    return name_of
