"""Sampling stored videos into one padded mini-batch. The one place of this package that imports torch at the top."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wtal_bench.data.sampling import Sampling, build_sampling
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.interfaces import Batch
from wtal_bench.packing import Packing, Tags, note_packing, note_tags, send
from wtal_bench.structures import VideoMeta

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def gather(
    store: FeatureStore,
    indices: Sequence[int] | np.ndarray,
    sampling: str | Mapping[str, Any] | Sampling = "whole",
    *,
    labels: Any = None,
    seed: int = 0,
    epoch: int = 0,
    device: Any = None,
    streams: Sequence[str] | None = None,
    dtype: str = "float32",
    index: Any = None,
    meta: Sequence[VideoMeta] | None = None,
) -> Batch:
    """Sample some stored videos into one padded mini-batch.

    Args:
        store: the features.
        indices: B positions in it.
        sampling: see `wtal_bench.data.sampling.build_sampling`.
        labels: [B,C] multi-hot tags of these videos, or None.
        seed, epoch: key the random draws, together with each video's id (and how often it came before in `indices`,
            so that a video drawn twice gets two draws).
        device: where the batch goes; None = where the features are, else the CPU.
        streams: stream names, None for all columns.
        dtype: "float32" or "float64" of features and labels.
        index: [B] position of each video in its data set; None = `indices`.
        meta: B `VideoMeta` to use instead of the store's own.

    Returns:
        Batch with features [B,T,D], zero where the mask is False.

    Raises:
        DataError: no video, or a position that is not in the store.
    """
    rows = _checked_rows(store, indices)
    if dtype not in _DTYPES:
        raise ConfigError(f"a batch is float32 or float64, not {dtype!r}.")
    kind = _DTYPES[dtype]
    if device is None:
        device = torch.device("cpu") if store.on_host else store.bank.device
    device = torch.device(device)
    meta = [store.meta(row) for row in rows] if meta is None else list(meta)
    positions = _draw(build_sampling(sampling), store, rows, seed, epoch)
    columns = store.columns(streams)
    lengths = np.array([len(drawn) for drawn in positions])
    snippet_index = np.zeros((len(rows), lengths.max()))
    mask = np.arange(lengths.max()) < lengths[:, None]
    snippet_index[mask] = np.concatenate(positions)
    if store.on_host:
        features = _gather_host(store, rows, positions, columns, kind, pin=device.type == "cuda")
    else:
        features = _gather_resident(store, store.bank, rows, snippet_index, mask, columns, kind)

    def moved(value: Any, kind: torch.dtype | None = None) -> Tensor:
        return send(torch.as_tensor(value, dtype=kind), device)

    batch = Batch(
        features=moved(features),
        mask=moved(mask),
        labels=None if labels is None else moved(labels, kind),
        index=moved(rows if index is None else index, torch.int64),
        meta=tuple(_sampled(known, drawn) for known, drawn in zip(meta, positions, strict=True)),
        snippet_index=moved(snippet_index),
        epoch=epoch,
    )
    note_packing(batch.mask, Packing.of(mask, moved))
    if labels is not None:
        note_tags(batch.labels, Tags.of(np.asarray(labels), moved))
    return batch


def _checked_rows(store: FeatureStore, indices: Sequence[int] | np.ndarray) -> list[int]:
    rows = np.asarray(indices)
    if rows.ndim != 1 or len(rows) == 0 or rows.dtype.kind not in "iu":
        raise DataError(f"gather needs at least one video position as a whole number, got {indices!r}.")
    if rows.min() < 0 or rows.max() >= len(store):
        last = len(store) - 1
        raise DataError(f"gather was asked for videos {rows.min()} .. {rows.max()}, the store holds 0 .. {last}.")
    return rows.tolist()


def _draw(sampling: Sampling, store: FeatureStore, rows: list[int], seed: int, epoch: int) -> list[np.ndarray]:
    before: Counter[int] = Counter()
    positions = []
    for row in rows:
        drawn = sampling.draw(
            int(store.lengths[row]), seed=seed, epoch=epoch, video=store.ids[row], occurrence=before[row]
        )
        before[row] += 1
        positions.append(drawn)
    return positions


def _sampled(known: VideoMeta, drawn: np.ndarray) -> VideoMeta:
    whole = len(drawn) == known.num_snippets and np.array_equal(drawn, np.arange(len(drawn)))
    return known if whole else known.sampled(drawn)


def _gather_host(
    store: FeatureStore,
    rows: list[int],
    positions: list[np.ndarray],
    columns: list[tuple[int, int]],
    kind: torch.dtype,
    pin: bool,
) -> Tensor:
    """Copy from the map or RAM: each video's rows go once, straight to their place."""
    longest = max(len(drawn) for drawn in positions)
    width = sum(end - first for first, end in columns)
    features = _room((len(rows), longest, width), kind, pin)
    store.prepare(rows)
    for place, row, drawn in zip(features, rows, positions):
        video = store.tensor(row)
        place[len(drawn) :] = 0
        at = 0
        for low, high in columns:
            _copy_rows(place[: len(drawn), at : at + high - low], video[:, low:high], drawn)
            at += high - low
    return features


def _room(shape: tuple[int, int, int], kind: torch.dtype, pin: bool) -> Tensor:
    if pin:
        return torch.empty(shape, dtype=kind, pin_memory=True)
    # numpy asks the system for huge pages, torch does not: a fresh batch of 100 MB costs a third of the time
    return torch.from_numpy(np.empty(shape, dtype=str(kind).removeprefix("torch.")))


def sample_video(features: Tensor, positions: np.ndarray) -> Tensor:
    """Sample one video outside any store: [V,D] at `positions` [T] (fractions interpolate) -> [T,D]."""
    place = torch.empty((len(positions), features.shape[1]), dtype=features.dtype)
    _copy_rows(place, features, positions)
    return place


def _copy_rows(place: Tensor, video: Tensor, drawn: np.ndarray) -> None:
    if drawn.dtype == np.float64:
        low, high, weight = _neighbours(torch.from_numpy(drawn), len(video))
        place.copy_(video.index_select(0, low))
        place.lerp_(video.index_select(0, high).to(place.dtype), weight.to(place.dtype).unsqueeze(1))
    elif np.array_equal(drawn, np.arange(drawn[0], drawn[0] + len(drawn))):
        place.copy_(video[drawn[0] : drawn[0] + len(drawn)])
    else:
        place.copy_(video.index_select(0, torch.from_numpy(drawn)))


def _gather_resident(
    store: FeatureStore,
    bank: Tensor,
    rows: list[int],
    snippet_index: np.ndarray,
    mask: np.ndarray,
    columns: list[tuple[int, int]],
    kind: torch.dtype,
) -> Tensor:
    """Gather on the device that holds all features: indices go over, no feature does."""
    spans = np.array([store.span(row) for row in rows])
    host = (spans[:, :1], spans[:, 1:] - spans[:, :1], snippet_index, mask)
    first, length, positions, real = (send(torch.from_numpy(x), bank.device) for x in host)
    low, high, weight = _neighbours(positions, length)
    parts = [bank[:, begin:end] for begin, end in columns]

    def take(index: Tensor) -> Tensor:
        flat = (first + index).flatten()
        taken = [part.index_select(0, flat).to(kind) for part in parts]
        return (taken[0] if len(taken) == 1 else torch.cat(taken, dim=1)).unflatten(0, mask.shape)

    features = take(low)
    if (snippet_index != np.floor(snippet_index)).any():
        features = features.lerp_(take(high), weight.to(kind).unsqueeze(-1))
    return features.masked_fill_(~real.unsqueeze(-1), 0)


def _neighbours(position: Tensor, length: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the stored rows around fractional positions and how far each lies towards the second."""
    low = position.floor().long()
    high = torch.minimum(low + 1, torch.as_tensor(length - 1, device=position.device))
    return low, high, position - low
