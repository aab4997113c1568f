"""Which videos meet in which mini-batch: a function of (seed, epoch), so workers and resuming change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from wtal_bench.data.dataset import VideoSet
from wtal_bench.errors import DataError
from wtal_bench.interfaces import Batch
from wtal_bench.packing import send

ORDER, PAIRS = 1, 2
"""Keys that keep the random streams of the visiting order and of the pairs apart."""


@dataclass(frozen=True)
class Request:
    """One mini-batch to gather: rows of a `VideoSet`, the epoch, and which rows form pairs.

    Attributes:
        indices: videos, in order.
        epoch: 0-based.
        pairs: rows of this batch that belong together, or None.
        same: for each pair, whether its videos share a class.
        share: see `Batch.share`.
    """

    indices: tuple[int, ...]
    epoch: int = 0
    pairs: tuple[tuple[int, int], ...] | None = None
    same: tuple[bool, ...] | None = None
    share: float = 1.0


class Plan:
    """The mini-batches of every epoch, for one rank; a batch sampler for torch's loader.

    Args:
        labels: [N,C] tags, read for pairs.
        batch_size: videos (pairs with `pairs=dict(source="dataset")`) per step over all ranks.
        seed: of the order and the pairs.
        shuffle, drop_last, pairs: as in `config.Train`.
        rank, world: this process and how many there are. Each rank takes every world-th video of a batch.
    """

    def __init__(
        self,
        labels: np.ndarray,
        batch_size: int,
        seed: int,
        *,
        shuffle: bool | str = False,
        drop_last: bool = False,
        pairs: dict[str, Any] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.labels, self.batch_size, self.seed = labels, batch_size, seed
        self.shuffle, self.drop_last = shuffle, drop_last
        self.rank, self.world = rank, world
        self.source = pairs["source"] if pairs else None
        self.by_class = {key: value for key, value in (pairs or {}).items() if key not in ("source", "negatives")}
        self.negatives = bool((pairs or {}).get("negatives"))
        self._pairs, self._same = None, None
        if self.source == "dataset":
            from wtal_bench.data.pairs import dataset_pairs

            self._pairs, self._same = dataset_pairs(labels, np.random.default_rng([seed, PAIRS]))
            if not len(self._pairs):
                raise DataError("no two training videos carry the same tags, so there is no pair to compare.")
        self.sampler = self  # where mmengine looks for set_epoch
        self.epoch, self.skip = 0, 0
        self._shuffled: tuple[int, np.ndarray] | None = None

    @cached_property
    def _in_order(self) -> np.ndarray:
        return np.arange(self.items)

    @property
    def items(self) -> int:
        """Videos, or pairs, visited in an epoch."""
        return len(self.labels) if self._pairs is None else len(self._pairs)

    def __len__(self) -> int:
        full, rest = divmod(self.items, self.batch_size)
        return full + bool(rest and not self.drop_last)

    def start_at(self, epoch: int, skip: int = 0) -> None:
        """Begin the next iteration in `epoch`, after its first `skip` batches."""
        self.epoch, self.skip = epoch, skip

    def __iter__(self) -> Iterator[list[Request]]:
        skip, self.skip = self.skip, 0
        for number in range(skip, len(self)):
            yield [self.batch(self.epoch, number)]

    def batch(self, epoch: int, number: int) -> Request:
        """The `number`-th mini-batch of `epoch`, this rank's part."""
        if self.source == "by_class":
            return self._by_class(epoch, number)
        order, number = self._order(epoch, number)
        chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
        own = chosen[self.rank :: self.world]
        share = len(own) * self.world / len(chosen)
        if not len(own):  # every rank must take part in a step: compute one video and count it zero times
            own = chosen[:1]
        if self.source == "dataset":
            videos = self._pairs[own]
            rows = tuple((2 * i, 2 * i + 1) for i in range(len(own)))
            return Request(tuple(videos.ravel().tolist()), epoch, rows, tuple(self._same[own].tolist()), share)
        request = Request(tuple(own.tolist()), epoch, share=share)
        if self.source == "in_batch":
            from wtal_bench.data.pairs import in_batch_pairs

            rng = np.random.default_rng([self.seed, PAIRS, epoch, number])
            pairs, same = in_batch_pairs(self.labels[own], rng)
            request = replace(request, pairs=tuple(map(tuple, pairs.tolist())), same=tuple(same.tolist()))
        return request

    def _order(self, epoch: int, number: int) -> tuple[np.ndarray, int]:
        """The videos (or pairs) in the order of which this batch is the `number`-th, and that number."""
        if not self.shuffle:
            return self._in_order, number
        if self.shuffle == "fresh" and epoch > 0:
            epoch, number = (epoch - 1) * len(self) + number + 1, 0
        if self._shuffled is None or self._shuffled[0] != epoch:  # once an epoch, not once a batch
            self._shuffled = epoch, np.random.default_rng([self.seed, ORDER, epoch]).permutation(self.items)
        return self._shuffled[1], number

    def _by_class(self, epoch: int, number: int) -> Request:
        from wtal_bench.data.pairs import by_class_batch, disjoint_pairs

        rng = np.random.default_rng([self.seed, PAIRS, epoch, number])
        videos = by_class_batch(self.labels, self.batch_size, rng=rng, **self.by_class)
        paired = 2 * self.by_class["count"]
        pairs = videos[:paired].reshape(-1, 2)[self.rank :: self.world]
        others = videos[paired:][self.rank :: self.world]
        own = np.concatenate([pairs.ravel(), others])
        share = len(own) * self.world / self.batch_size
        if not len(own):
            own = videos[:1]
        rows = tuple((2 * i, 2 * i + 1) for i in range(len(pairs)))
        same = (True,) * len(rows)
        if self.negatives:
            apart = disjoint_pairs(self.labels[own], len(rows), rng)
            rows, same = (*rows, *map(tuple, apart.tolist())), (*same, *(False,) * len(apart))
        return Request(tuple(own.tolist()), epoch, rows, same, share)


@dataclass(frozen=True)
class Gather:
    """Turns a request into a `Batch`.

    Attributes:
        videos: where from.
        sampling: sampling rule (built).
        seed: of random samplings.
    """

    videos: VideoSet
    sampling: Any
    seed: int

    def __call__(self, request: Request, device: Any = None) -> Batch:
        """Gather on `device`; None leaves the batch where the features are."""
        batch = self.videos.gather(request.indices, self.sampling, seed=self.seed, epoch=request.epoch, device=device)
        if request.pairs is None:
            return replace(batch, epoch=request.epoch, share=request.share)
        pairs = torch.tensor(request.pairs, dtype=torch.int64).reshape(-1, 2)
        same = torch.tensor(request.same, dtype=batch.features.dtype)
        pairs, same = send(pairs, batch.features.device), send(same, batch.features.device)
        return replace(batch, epoch=request.epoch, share=request.share, pairs=pairs, pair_same=same)


class _Requests:
    """A data set that is asked for requests and gives them back: the gathering happens in one piece, in collate."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, request: Request) -> Request:
        return request


@dataclass(frozen=True)
class Pending:
    """A batch that is gathered where it is wanted: features that live on the GPU never pass through the host."""

    gather: Gather
    request: Request

    def to(self, device: Any, non_blocking: bool = True) -> Batch:
        """Gather on `device`; on a GPU out of pinned memory, without waiting for it."""
        return self.gather(self.request, device)


@dataclass(frozen=True)
class _Collate:
    gather: Gather
    later: bool

    def __call__(self, requests: Sequence[Request]) -> Pending | Batch:
        return Pending(self.gather, requests[0]) if self.later else self.gather(requests[0], "cpu")


def build_loader(plan: Plan, gather: Gather, *, on_device: bool, num_workers: int = 0, pin: bool = False) -> DataLoader:
    """Build the loader of one split.

    Args:
        plan: the mini-batches.
        gather: turns requests into batches, in the workers or the main process.
        on_device: the features live on the GPU: pass requests through and gather when the model asks.
        num_workers: loader processes.
        pin: mini-batches go to a GPU: the main process gathers them into pinned memory at once, what workers gathered
            is pinned beside the training.
    """
    workers = 0 if on_device else num_workers
    return DataLoader(
        _Requests(len(plan.labels)),
        batch_sampler=plan,
        collate_fn=_Collate(gather, later=on_device or (pin and not workers)),
        num_workers=workers,
        pin_memory=pin and workers > 0,
        persistent_workers=workers > 0,
    )
