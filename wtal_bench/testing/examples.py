"""Tiny models and random batches for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.packing import Packing, Tags, note_packing, note_tags


@dataclass(frozen=True)
class Example:
    """A model small enough for a test.

    Attributes:
        model: config of the model, dropout as published.
        width: D its features have.
        classes: C.
        pairs: whether its losses compare pairs of videos.
        shortest: fewest snippets a video may have (1 unless the method refuses less).
        hooks: hooks of training, as in a config's `runtime.hooks`; each is checked with this model.
        selection: of the runs with those hooks: what `after_val_epoch` scores.
    """

    model: dict[str, Any]
    width: int = 8
    classes: int = 3
    pairs: bool = False
    shortest: int = 1
    hooks: Sequence[dict[str, Any]] = ()
    selection: str = "val_holdout"


def random_batch(
    lengths: Sequence[int],
    *,
    width: int = 8,
    classes: int = 3,
    pairs: bool = False,
    padding: int = 0,
    seed: int = 0,
    keep: Sequence[int] | None = None,
) -> Batch:
    """Make a float64 batch of videos; a video's content depends on (seed, its position) alone, not on its mates.

    Args:
        lengths: snippets of each video.
        width, classes: D and C.
        pairs: add two pairs of videos, one of the same and one of different tags.
        padding: snippets of padding beyond the longest video.
        seed: of the content.
        keep: positions of the videos to keep, None for all.
    """
    positions = list(range(len(lengths))) if keep is None else list(keep)
    longest = max(lengths[p] for p in positions) + padding
    features = np.zeros((len(positions), longest, width))
    labels = np.zeros((len(positions), classes))
    for row, position in enumerate(positions):
        rng = np.random.default_rng([seed, position])
        features[row, : lengths[position]] = rng.gamma(0.7, 1.0, (lengths[position], width))
        labels[row, position // 2 % classes] = 1
        if position % 3 == 2 and classes > 1:
            labels[row, (position // 2 + 1) % classes] = 1
    mask = np.arange(longest) < np.array([lengths[p] for p in positions])[:, None]
    meta = tuple(
        VideoMeta(f"video{p}", lengths[p] * 16 / 25, 25.0, 16, lengths[p], np.arange(lengths[p], dtype=np.float64))
        for p in positions
    )
    count = len(positions)
    batch = Batch(
        features=torch.from_numpy(features),
        mask=torch.from_numpy(mask),
        labels=torch.from_numpy(labels),
        index=torch.tensor(positions),
        meta=meta,
        snippet_index=torch.from_numpy(np.where(mask, np.arange(longest, dtype=np.float64), 0.0)),
        pairs=torch.tensor([[0, 1], [0, count - 1]]) if pairs else None,
        pair_same=torch.tensor([1.0, 0.0], dtype=torch.float64) if pairs else None,
    )
    note_packing(batch.mask, Packing.of(mask))
    note_tags(batch.labels, Tags.of(labels))
    return batch
