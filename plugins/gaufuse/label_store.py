"""Where pseudo labels are kept: by video id, in a form that fits in a checkpoint and travels between processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wtal_bench.errors import DataError
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.blocks import gather_ranks, send, zero_padding
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


@dataclass(frozen=True)
class LabelStore:
    """The labels of one generation: video id -> its labels (with no column if it has none)."""

    videos: Mapping[str, VideoLabels] = field(default_factory=dict)

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


class LabelBank:
    """The labels of every video on a device, to be gathered there at the sampled snippets of a mini-batch.

    Args:
        latest: labels of a generation.
        less: those of another, taken off; an empty store has no labels at all.
        scale: factor of the difference.
        device: where they lie.

    Attributes:
        rows: video id -> its row below, in the order of `latest`.
    """

    def __init__(self, latest: LabelStore, less: LabelStore, scale: float, device: torch.device) -> None:
        videos = [_difference(own, less.videos.get(name)) for name, own in latest.videos.items()]
        self.rows = {name: row for row, name in enumerate(latest.videos)}
        self._known = [store.videos for store in (latest, less) if store.videos]
        self._lengths = [own.values.shape[1] for own in videos]
        most = max([1, *(len(own.columns) for own in videos)])
        columns, values = np.full((len(videos), most), -1), np.zeros((sum(self._lengths), most))
        first = np.cumsum([0, *self._lengths])[:-1]
        for row, own in enumerate(videos):
            columns[row, : len(own.columns)] = own.columns
            values[first[row] : first[row] + self._lengths[row], : len(own.columns)] = scale * own.values.T
        self.columns, self.values, self.first, self.last = (
            torch.from_numpy(np.ascontiguousarray(x)).to(device)
            for x in (columns, values, first, np.array(self._lengths, dtype=np.int64) - 1)
        )

    def rows_of(self, batch: Batch) -> Tensor:
        """[B] row of every video.

        Raises:
            DataError: a video without labels, or with those of another number of snippets.
        """
        if torch.compiler.is_compiling():  # names are no tensors; both number the training videos in order
            return batch.index
        for meta in batch.meta:
            self._check(meta)
        return send(torch.tensor([self.rows[meta.id] for meta in batch.meta]), batch.index.device)

    def _check(self, meta: VideoMeta) -> None:
        missing = next((store for store in self._known if meta.id not in store), None)
        if missing is not None:
            raise DataError(
                f"no pseudo labels for video {meta.id!r}; they were made for {len(missing)} other videos. The "
                "checkpoint belongs to another training set."
            )
        stored = self._lengths[self.rows[meta.id]]
        if stored != meta.num_snippets:
            raise DataError(
                f"video {meta.id!r} has {meta.num_snippets} snippets, its pseudo labels {stored}: they were made from "
                "other features. Start this run afresh."
            )

    def dense(self, batch: Batch, columns: int) -> Tensor:
        """[B,T,columns] float64, zero under padding, interpolated as features are between stored snippets."""
        rows = self.rows_of(batch)
        below = batch.snippet_index.floor()
        share = (batch.snippet_index - below).unsqueeze(-1)
        below = below.long()
        above = torch.minimum(below + 1, self.last[rows].unsqueeze(1))
        first = self.first[rows].unsqueeze(1)
        values = self.values[first + below] * (1 - share) + self.values[first + above] * share
        place = self.columns[rows].unsqueeze(-1) == torch.arange(columns, device=rows.device)
        return zero_padding(values @ place.to(values.dtype), batch.mask)


def _difference(own: VideoLabels, other: VideoLabels | None) -> VideoLabels:
    if other is None or other.values.shape[1] != own.values.shape[1]:
        return own
    columns = np.union1d(own.columns, other.columns)
    values = np.zeros((len(columns), own.values.shape[1]))
    values[np.searchsorted(columns, own.columns)] = own.values
    values[np.searchsorted(columns, other.columns)] -= other.values
    return VideoLabels(columns, values)


def _joined(parts: list[np.ndarray], kind: type) -> Tensor:
    return torch.from_numpy(np.concatenate([np.zeros(0, dtype=kind), *parts]).astype(kind))
