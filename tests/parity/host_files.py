"""Hosts against golden files: a shipped config with a file's settings and weights, and what of the file was read."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from tests.helpers import REPOSITORY, load_golden
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.localizer import Localizer
from wtal_bench.running.config import Train, load_config
from wtal_bench.running.optim import build_optimizer


class Golden(dict):
    """The arrays of a golden file; remembers which were read."""

    def __init__(self, path: Path) -> None:
        super().__init__(load_golden(path))
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        self.read.add(name)
        return super().__getitem__(name)

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose names begin with `prefix`, without it."""
        return {name.removeprefix(prefix): self[name] for name in self if name.startswith(prefix)}

    def settings(self, name: str) -> dict:
        """A JSON text."""
        return json.loads(str(self[name]))

    def assert_all_read(self, *elsewhere: str) -> None:
        """No array of the file was left out, but for those that begin with one of `elsewhere`: other tests' part."""
        left = [name for name in self if name not in self.read and not name.startswith(elsewhere)]
        assert not left, f"never compared: {sorted(left)}"


def shipped_model(config: str, options: Iterable[str] = ()) -> dict:
    """The `model` section of a shipped config, with overrides written as on the command line."""
    return copy.deepcopy(load_config(REPOSITORY / "configs" / f"{config}.py", options).model)


def build(config: str, options: Iterable[str], state: dict[str, np.ndarray]) -> Localizer:
    """A shipped config's model in float64 with dropout off and the given parameters (reshaped to ours)."""
    model = build_model(shipped_model(config, options), config).double().eval()
    load(model, state)
    return model


def load(model: torch.nn.Module, state: dict[str, np.ndarray]) -> None:
    """Every parameter from `state`, by our names; the values are in the same order, the shapes may differ by ones."""
    ours = model.state_dict()
    assert set(ours) == set(state)
    model.load_state_dict({name: torch.from_numpy(state[name]).reshape(value.shape) for name, value in ours.items()})


def batch_of(
    features: Iterable[np.ndarray], labels: np.ndarray | None, pairs: Sequence[Sequence[int]] | None = None
) -> Batch:
    """A float64 batch of videos [T,D], padded to the longest; `features` takes gradients."""
    features = list(features)
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
        pairs=None if pairs is None else torch.as_tensor(pairs, dtype=torch.int64),
        pair_same=None if pairs is None else torch.ones(len(pairs), dtype=torch.float64),
    )


def assert_near(ours: object, theirs: np.ndarray, tolerance: float = 1e-9, what: str = "") -> None:
    """Equal to `tolerance` of the largest reference value."""
    ours = np.asarray(ours.detach() if isinstance(ours, torch.Tensor) else ours, dtype=np.float64)
    theirs = np.asarray(theirs, dtype=np.float64)
    assert ours.shape == theirs.shape, f"{what}: shape {ours.shape}, expected {theirs.shape}"
    if theirs.size:
        scale = max(np.abs(theirs).max(), 1e-12)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale, err_msg=what)


def assert_gradients(model: Localizer, loss: torch.Tensor, golden: Golden, prefix: str, name_of: Callable) -> None:
    """The gradient of `loss` by every parameter, under the authors' names."""
    model.zero_grad()
    loss.backward(retain_graph=True)
    for name, parameter in model.named_parameters():
        theirs = golden[prefix + name_of(name)]
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert_near(gradient, theirs.reshape(gradient.shape), what=prefix + name_of(name))


def assert_steps(model: Localizer, batch: Batch, optimizer: dict, golden: Golden, name_of: Callable) -> None:
    """The parameters after each of the file's optimiser steps on `batch`, made by the optimiser a config builds."""
    assert (optimizer["type"], optimizer["coupled_l2"]) == ("Adam", True)
    settings = {key: optimizer[key] for key in ("lr", "betas", "eps", "weight_decay")}
    adam = build_optimizer(model.parameters(), Train(**settings))
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for step in range(1, optimizer["steps"] + 1):
        adam.zero_grad()
        model.losses(batch)["total"].backward()
        adam.step()
        for name, parameter in model.named_parameters():
            theirs = golden[f"after{step}/{name_of(name)}"].reshape(parameter.shape)
            # the movement, not the weight, is what the step made
            assert_near(parameter - start[name], theirs - start[name].numpy(), 1e-9, f"after{step}/{name}")
