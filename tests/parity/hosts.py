"""What the parity tests of the hosts share: golden arrays that remember being read, shipped recipes made small."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.helpers import load_golden
from tests.parity.acm import assert_near
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.model import Model
from wtal_bench.options import merged
from wtal_bench.recipes import read_tree
from wtal_bench.running.optim import build_optimizer
from wtal_bench.running.settings import Train

MOVED = 1e-9
"""Of an optimiser's step: how far our weights may be from theirs, as a share of how far theirs moved."""


class Arrays(dict):
    """The arrays of a golden file; `unread` says which of them no test has looked at."""

    def __init__(self, path: Path) -> None:
        super().__init__(load_golden(path))
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        self.read.add(name)
        return super().__getitem__(name)

    def below(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays named `prefix/...`, without it."""
        return {name.removeprefix(f"{prefix}/"): self[name] for name in self if name.startswith(f"{prefix}/")}

    def settings(self) -> dict[str, Any]:
        """What the file says of itself, under `meta` or `cfg`."""
        return json.loads(str(self["meta" if "meta" in self else "cfg"]))

    def unread(self, *elsewhere: str) -> list[str]:
        """Names nobody read, but for those that begin with one of `elsewhere`: other tests read them."""
        return sorted(name for name in self if name not in self.read and not name.startswith(elsewhere))


def recipe(name: str, **changes: Any) -> dict[str, Any]:
    """The `model` of the shipped config `name` with `changes` merged in."""
    model = copy.deepcopy(read_tree(name)["model"])
    return merged(model, changes)


def host(model: Mapping[str, Any], parameters: Mapping[str, np.ndarray], names: Mapping[str, str]) -> Model:
    """The model in float64 with dropout off and the authors' parameters (`names`: ours -> theirs, by prefix)."""
    built = build_model(model, "golden").double().eval()
    own = {name: parameters[theirs(name, names)] for name in built.state_dict()}
    assert {theirs(name, names) for name in own} == set(parameters), "a stored parameter has no place"
    state = built.state_dict()
    built.load_state_dict({name: torch.from_numpy(value).reshape(state[name].shape) for name, value in own.items()})
    return built


def theirs(name: str, names: Mapping[str, str]) -> str:
    """Their name of our parameter `name`."""
    prefix = next(prefix for prefix in names if name.startswith(prefix))
    return names[prefix] + name.removeprefix(prefix)


def batch_of(features: list[np.ndarray], labels: np.ndarray | None, pairs: list | None = None) -> Batch:
    """A float64 batch of videos [T,D], padded to the longest; `features` takes gradients."""
    lengths = [len(x) for x in features]
    padded = np.zeros((len(features), max(lengths), features[0].shape[1]))
    for row, x in enumerate(features):
        padded[row, : len(x)] = x
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return Batch(
        features=torch.from_numpy(padded).requires_grad_(),
        mask=torch.from_numpy(mask),
        labels=None if labels is None else torch.from_numpy(np.asarray(labels, dtype=np.float64)),
        index=torch.arange(len(features)),
        meta=tuple(VideoMeta(str(i), length * 0.64, 25.0, 16, length) for i, length in enumerate(lengths)),
        snippet_index=torch.from_numpy(np.where(mask, np.arange(max(lengths), dtype=np.float64), 0.0)),
        pairs=None if pairs is None else torch.tensor(pairs, dtype=torch.int64),
        pair_same=None if pairs is None else torch.ones(len(pairs), dtype=torch.float64),
    )


def assert_gradients(model: nn.Module, total: torch.Tensor, golden: Arrays, names: Mapping[str, str]) -> None:
    """Every stored gradient of the total, shapes of width-1 convolutions apart."""
    model.zero_grad()
    total.backward(retain_graph=True)
    for name, parameter in model.named_parameters():
        expected = golden[f"grad/{theirs(name, names)}"]
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert_near(gradient.reshape(expected.shape), expected, what=f"grad/{theirs(name, names)}")


def assert_steps(model: Model, batch: Batch, golden: Arrays, names: Mapping[str, str]) -> None:
    """Parameters after each stored number of optimiser steps on the same batch, by the movement they made."""
    made = golden.settings()["optimizer"]
    assert (made["type"], made["coupled_l2"]) == ("Adam", True)
    settings = {key: made[key] for key in ("lr", "eps", "weight_decay")}
    optimizer = build_optimizer(model.parameters(), Train(**settings, betas=tuple(made["betas"]), epochs=1))
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    for step in range(1, made["steps"] + 1):
        optimizer.zero_grad()
        model.losses(batch)["total"].backward()
        optimizer.step()
        for name, value in model.named_parameters():
            expected = golden[f"after{step}/{theirs(name, names)}"]
            moved = np.abs(expected - start[name].numpy().reshape(expected.shape)).max()
            error = np.abs(value.detach().numpy().reshape(expected.shape) - expected).max()
            assert error <= MOVED * moved, f"{name} after {step} steps: {error:.2g} off, moved {moved:.2g}"
