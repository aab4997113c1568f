"""Batches that the parity tests of RSKP and GauFuse share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tests.parity import host_files
from wtal_bench.interfaces import Batch


def settings(golden: dict) -> dict:
    """The plain values of a golden file's cfg."""
    plain = {key: value for key, value in golden.items() if key.startswith("cfg/") and value.ndim == 0}
    return {key.removeprefix("cfg/"): value.item() for key, value in plain.items()}


def batch_of(features: list[np.ndarray], labels: np.ndarray, epoch: int = 0, index: list[int] | None = None) -> Batch:
    """Whole videos [T,D] with tags [B,C], padded to one length; a video's id is its index."""
    batch = host_files.batch_of(features, labels)
    if index is not None:
        named = tuple(replace(meta, id=str(i)) for i, meta in zip(index, batch.meta))
        batch = replace(batch, index=torch.tensor(index), meta=named)
    return replace(batch, epoch=epoch)
