"""Where pseudo labels are kept: by video id, in a form that fits in a checkpoint and travels between processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wtal_bench.errors import DataError
from wtal_bench.modeling.blocks import gather_ranks
from wtal_bench.structures import VideoMeta


@dataclass(frozen=True)
class VideoLabels:
    """The labelled columns of one video; all others are 0.

    Attributes:
        columns: [n] int64 classes, ascending.
        values: [n,T] float64.
    """

    columns: np.ndarray
    values: np.ndarray

    def at(self, meta: VideoMeta) -> np.ndarray:
        """[n,T'] labels at the sampled snippets, interpolated as features are where these lie between stored ones.

        Raises:
            DataError: labels of another number of snippets than the video has.
        """
        stored = self.values.shape[1]
        if stored != meta.num_snippets:
            raise DataError(
                f"video {meta.id!r} has {meta.num_snippets} snippets, its pseudo labels {stored}: they were made from "
                "other features. Start this run afresh."
            )
        if meta.snippet_index is None:
            return self.values
        below = np.floor(meta.snippet_index).astype(np.int64)
        share = meta.snippet_index - below
        if not share.any():
            return self.values[:, below]
        above = np.minimum(below + 1, stored - 1)
        return self.values[:, below] * (1 - share) + self.values[:, above] * share


@dataclass(frozen=True)
class LabelStore:
    """The labels of one generation: video id -> its labels (with no column if it has none)."""

    videos: Mapping[str, VideoLabels] = field(default_factory=dict)

    def dense(self, metas: Sequence[VideoMeta], shape: tuple[int, int, int]) -> np.ndarray:
        """[B,T,columns] float64, zero under padding. An empty store has no labels at all.

        Raises:
            DataError: a video this generation did not see.
        """
        labels = np.zeros(shape)
        for row, meta in enumerate(metas if self.videos else ()):
            if meta.id not in self.videos:
                raise DataError(
                    f"no pseudo labels for video {meta.id!r}; they were made for {len(self.videos)} other videos. The "
                    "checkpoint belongs to another training set."
                )
            own = self.videos[meta.id]
            values = own.at(meta)
            labels[row, : values.shape[1], own.columns] = values
        return labels

    def state(self) -> dict[str, Any]:
        """Plain tensors and texts."""
        videos = list(self.videos.values())
        return {
            "ids": list(self.videos),
            "sizes": torch.tensor([v.values.shape for v in videos], dtype=torch.int64).reshape(-1, 2),
            "columns": _joined([v.columns for v in videos], np.int64),
            "values": _joined([v.values.ravel() for v in videos], np.float64),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> LabelStore:
        """The inverse of `state`."""
        columns, values, videos = state["columns"].numpy(), state["values"].numpy(), {}
        for name, (count, length) in zip(state["ids"], state["sizes"].tolist(), strict=True):
            videos[name] = VideoLabels(columns[:count].copy(), values[: count * length].reshape(count, length).copy())
            columns, values = columns[count:], values[count * length :]
        return cls(videos)

    def over_ranks(self, ids: Sequence[str], device: torch.device) -> LabelStore:
        """Join the shares of all training processes; every rank gets the same store.

        Args:
            ids: all videos, in the order they are stored in; rank r of R holds every R-th of them.
            device: where the processes exchange tensors.
        """
        state = self.state()
        names = ("sizes", "columns", "values")
        parts = [gather_ranks(state[name].to(device)) for name in names]
        if len(parts[0]) == 1:
            return self
        world = len(parts[0])
        whole: dict[str, VideoLabels] = {}
        for rank, share in enumerate(zip(*parts, strict=True)):
            own = dict(zip(names, (tensor.cpu() for tensor in share)))
            whole.update(LabelStore.from_state({"ids": list(ids[rank::world]), **own}).videos)
        return LabelStore({name: whole[name] for name in ids})


def _joined(parts: list[np.ndarray], kind: type) -> Tensor:
    return torch.from_numpy(np.concatenate([np.zeros(0, dtype=kind), *parts]).astype(kind))
