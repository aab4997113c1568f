"""Small GauFuse models and training passes over random videos, light to import for tests over several processes."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from wtal_bench.interfaces import Batch
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.localizer import Localizer
from wtal_plugins.gaufuse.examples import official

LENGTHS = (13, 1, 40, 21)


def a_model(example=official, **labels) -> Localizer:
    torch.manual_seed(0)
    config = copy.deepcopy(example().model)
    config["heads"]["labels"] |= labels
    return build_model(config, "test").double().eval()


def one_by_one(model: Localizer, batch: Batch, fail_after: int | None = None):
    """A training pass over the videos of a batch."""

    def run():
        for i in range(len(batch)):
            if fail_after is not None and i == fail_after:
                raise KeyboardInterrupt
            length = int(batch.mask[i].sum())
            single = replace(
                batch,
                features=batch.features[i : i + 1, :length],
                mask=batch.mask[i : i + 1, :length],
                labels=batch.labels[i : i + 1],
                index=batch.index[i : i + 1],
                meta=batch.meta[i : i + 1],
                snippet_index=batch.snippet_index[i : i + 1, :length],
            )
            with torch.no_grad():
                yield model.compute(single), single

    return run


def flat(state: dict) -> dict:
    """Tensors of a state dict, those in extra states included."""
    found = {}
    for name, value in state.items():
        if isinstance(value, dict):
            found |= {f"{name}.{key}": item for key, item in flat(value).items()}
        else:
            found[name] = value
    return found
