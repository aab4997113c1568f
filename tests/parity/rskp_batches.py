"""Batches and comparisons that the parity tests of RSKP and GauFuse share."""

from __future__ import annotations

import numpy as np
import torch

from wtal_bench.interfaces import Batch, VideoMeta


def settings(golden: dict) -> dict:
    """The plain values of a golden file's cfg."""
    plain = {key: value for key, value in golden.items() if key.startswith("cfg/") and value.ndim == 0}
    return {key.removeprefix("cfg/"): value.item() for key, value in plain.items()}


def batch_of(features: list[np.ndarray], labels: np.ndarray, epoch: int = 0, index: list[int] | None = None) -> Batch:
    """Whole videos [T,D] with tags [B,C], padded to one length; a video's id is its index."""
    lengths = [len(rows) for rows in features]
    padded = np.zeros((len(features), max(lengths), features[0].shape[-1]))
    for row, values in enumerate(features):
        padded[row, : len(values)] = values
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    index = list(range(len(features))) if index is None else index
    return Batch(
        features=torch.from_numpy(padded),
        mask=torch.from_numpy(mask),
        labels=torch.from_numpy(np.asarray(labels, dtype=np.float64)),
        index=torch.tensor(index),
        meta=tuple(VideoMeta(str(i), n * 0.64, 25.0, 16, n) for i, n in zip(index, lengths)),
        snippet_index=torch.from_numpy(np.where(mask, np.arange(max(lengths)), 0.0)),
        epoch=epoch,
    )


def near(ours, theirs, tolerance: float = 1e-9, what: str = "") -> None:
    """Equal to `tolerance`, relative and absolute."""
    ours = ours.detach().numpy() if isinstance(ours, torch.Tensor) else np.asarray(ours)
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=what)
