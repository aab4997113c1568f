"""What the host knows of a mini-batch whose tensors lie on a device: lengths, packed rows, tags.

Asking a GPU for a value stops the host until all work so far is done, and the GPU then idles until new work arrives.
The loader knows every length and every tag before anything is sent, so it notes them on the tensors themselves:
`packing_of(mask)` and `tags_of(labels)` read the note. A tensor without one (made by hand, or changed since) is looked
at once, which waits, and noted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "Packing",
    "Tags",
    "joined_packing",
    "joined_tags",
    "note_packing",
    "note_tags",
    "nothing_padded",
    "packing_of",
    "send",
    "tags_of",
    "version",
]

Move = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Packing:
    """The real rows of a padded mini-batch of B videos, N rows in all.

    Attributes:
        lengths: real snippets of every video.
        longest, shortest: of the lengths.
        counts: [B] int64 the lengths, on the mask's device.
        starts: [B] int64 packed row at which each video begins.
        rows: [N] int64 position of every real row among the B*T padded ones; None where nothing is padded.
        shape: (B, T).
    """

    lengths: tuple[int, ...]
    longest: int
    shortest: int
    counts: Tensor
    starts: Tensor
    rows: Tensor | None
    shape: tuple[int, int]
    _windows: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, mask: np.ndarray, move: Move = lambda x: x) -> Packing:
        """Of a [B,T] bool array on the host; `move` sends a tensor to where the mask goes."""
        counts = mask.sum(axis=1, dtype=np.int64)
        packed = np.concatenate([counts, np.cumsum(counts) - counts, np.flatnonzero(mask)])
        return cls._cut(tuple(counts.tolist()), mask.shape, move(torch.from_numpy(packed)))

    @classmethod
    def _cut(cls, lengths: tuple[int, ...], shape: tuple[int, int], packed: Tensor) -> Packing:
        """From one tensor, so that one copy brings all: counts, starts, rows."""
        videos = len(lengths)
        counts, starts, rows = packed[:videos], packed[videos : 2 * videos], packed[2 * videos :]
        whole = len(rows) == shape[0] * shape[1]
        ends = (max(lengths, default=0), min(lengths, default=0))
        return cls(lengths, *ends, counts, starts, None if whole else rows, tuple(shape))

    def moved(self, move: Move) -> Packing:
        """The same elsewhere."""
        rows = self.rows if self.rows is not None else self.counts.new_empty(0)
        packed = move(torch.cat([self.counts, self.starts, rows]))
        videos = len(self.lengths)
        rows = None if self.rows is None else packed[2 * videos :]
        counts, starts = packed[:videos], packed[videos : 2 * videos]
        return Packing(self.lengths, self.longest, self.shortest, counts, starts, rows, self.shape)

    def windows(self, taps: int) -> tuple[Tensor, Tensor]:
        """The rows a temporal convolution of `taps` (odd) multiplies; every video has a snippet, real ones first.

        Returns:
            [N*taps] int64 position among the padded rows of every tap of every real row, and [M] int64 which of these
            lie beyond their video's ends (some may be named twice).
        """
        if torch.compiler.is_compiling():  # a graph that remembers would be another one the second time
            return self._made_windows(taps)
        if taps not in self._windows:
            self._windows[taps] = self._made_windows(taps)
        return self._windows[taps]

    def _made_windows(self, taps: int) -> tuple[Tensor, Tensor]:
        device, half, padded = self.counts.device, taps // 2, self.shape[0] * self.shape[1]
        rows = torch.arange(padded, device=device) if self.rows is None else self.rows
        index = (rows.unsqueeze(1) + torch.arange(-half, half + 1, device=device)).clamp(0, padded - 1).flatten()
        if half == 1:  # only the first row looks before its video, only the last behind it
            return index, torch.cat([self.starts * taps, (self.starts + self.counts) * taps - 1])
        # the tap `far` snippets before row j, and the one as far behind the last but j, are outside for every j < far
        far = torch.arange(1, half + 1, device=device)
        far, own = torch.meshgrid(far, torch.arange(half, device=device), indexing="ij")
        own = torch.minimum(own, far - 1).flatten()
        far = far.flatten()
        own = torch.minimum(own, self.counts.unsqueeze(1) - 1)
        first = (self.starts.unsqueeze(1) + own) * taps + half - far
        last = (self.starts.unsqueeze(1) + self.counts.unsqueeze(1) - 1 - own) * taps + half + far
        return index, torch.cat([first.flatten(), last.flatten()])


@dataclass(frozen=True, eq=False)
class Tags:
    """Which classes the videos of a mini-batch have.

    Attributes:
        classes: class indices of every video, ascending.
        slots: [B,K] int64 a video's classes, first to last; K is the most any video has, at least 1. Behind them 0.
        present: [B,K] bool, which slots hold a class.
        cells: [R] int64 positions of those among the B*K slots, video after video.
    """

    classes: tuple[tuple[int, ...], ...]
    slots: Tensor
    present: Tensor
    cells: Tensor

    @classmethod
    def of(cls, labels: np.ndarray, move: Move = lambda x: x) -> Tags:
        """Of [B,C] multi-hot labels on the host."""
        classes = tuple(tuple(np.flatnonzero(row > 0).tolist()) for row in labels)
        most = max([1, *map(len, classes)])
        slots = np.zeros((len(classes), most), dtype=np.int64)
        for row, own in enumerate(classes):
            slots[row, : len(own)] = own
        present = np.arange(most) < np.array([len(own) for own in classes], dtype=np.int64).reshape(-1, 1)
        packed = np.concatenate([slots.ravel(), present.ravel(), np.flatnonzero(present)])
        return cls._cut(classes, most, move(torch.from_numpy(packed)))

    @classmethod
    def _cut(cls, classes: tuple[tuple[int, ...], ...], most: int, packed: Tensor) -> Tags:
        size = len(classes) * most
        slots, present = packed[:size].reshape(-1, most), packed[size : 2 * size].reshape(-1, most)
        return cls(classes, slots, present > 0, packed[2 * size :])

    def moved(self, move: Move) -> Tags:
        """The same elsewhere."""
        packed = torch.cat([self.slots.flatten(), self.present.flatten().long(), self.cells])
        return Tags._cut(self.classes, self.slots.shape[1], move(packed))


def send(x: Tensor, device: torch.device) -> Tensor:
    """`x` from the host to `device`: on a GPU out of pinned memory, so that nobody waits for what it still does."""
    if device.type == "cpu" or x.device == device:
        return x.to(device)
    pinned = x.pin_memory() if device.type == "cuda" and not x.is_pinned() else x
    return pinned.to(device, non_blocking=True)


def packing_of(mask: Tensor) -> Packing:
    """What the host knows of `mask` [B,T] bool."""
    known = _noted(mask, "_packing")
    return known if known is not None else note_packing(mask, Packing.of(*_looked_at(mask)))


def nothing_padded(mask: Tensor) -> bool:
    """Whether `mask` [B,T] is known to be all True. Of one that nothing is noted of, nothing is known."""
    known = _noted(mask, "_packing")
    return known is not None and known.rows is None


def tags_of(labels: Tensor) -> Tags:
    """What the host knows of multi-hot `labels` [B,C]."""
    known = _noted(labels, "_tags")
    return known if known is not None else note_tags(labels, Tags.of(*_looked_at(labels)))


def note_packing(mask: Tensor, packing: Packing) -> Packing:
    """Note on `mask` what the host knows of it, and return that."""
    return _note(mask, "_packing", packing)


def note_tags(labels: Tensor, tags: Tags) -> Tags:
    """Note on `labels` what the host knows of them, and return that."""
    return _note(labels, "_tags", tags)


def joined_packing(packings: Sequence[Packing], length: int) -> Packing:
    """The packing of masks stacked along B and padded to `length`, without asking the device."""
    lengths = tuple(length for packing in packings for length in packing.lengths)
    places, before, after = [], 0, 0
    starts = []
    for packing in packings:
        videos, own = packing.shape
        rows = packing.rows
        if rows is None:
            rows = torch.arange(videos * own, device=packing.counts.device)
        places.append(before + (rows if own == length else rows // own * length + rows % own))
        starts.append(after + packing.starts)
        before, after = before + videos * length, after + rows.shape[0]
    whole = all(packing.rows is None and packing.shape[1] == length for packing in packings)
    return Packing(
        lengths,
        max(packing.longest for packing in packings),
        min(packing.shortest for packing in packings),
        torch.cat([packing.counts for packing in packings]),
        torch.cat(starts),
        None if whole else torch.cat(places),
        (sum(packing.shape[0] for packing in packings), length),
    )


def joined_tags(tags: Sequence[Tags]) -> Tags:
    """The tags of labels stacked along B."""
    most = max(own.slots.shape[1] for own in tags)
    slots = [F.pad(own.slots, (0, most - own.slots.shape[1])) for own in tags]
    present = [F.pad(own.present, (0, most - own.present.shape[1])) for own in tags]
    cells, before = [], 0
    for own in tags:
        width = own.slots.shape[1]
        cells.append(before + (own.cells if width == most else own.cells // width * most + own.cells % width))
        before += own.slots.shape[0] * most
    classes = tuple(classes for own in tags for classes in own.classes)
    return Tags(classes, torch.cat(slots), torch.cat(present), torch.cat(cells))


def _looked_at(x: Tensor) -> tuple[np.ndarray, Move]:
    return x.detach().cpu().numpy(), lambda made: made.to(x.device)


def _noted(x: Tensor, name: str) -> Packing | Tags | None:
    note = getattr(x, name, None)
    if note is None or torch.compiler.is_compiling():  # a compiler knows no versions; nothing changes a mask in a graph
        return None if note is None else note[1]
    return note[1] if note[0] == version(x) else None


def _note(x: Tensor, name: str, known: Packing | Tags) -> Packing | Tags:
    setattr(x, name, (0 if torch.compiler.is_compiling() else version(x), known))
    return known


def version(x: Tensor) -> int:
    """Counts the changes of a tensor in place; tensors of inference mode do not."""
    return 0 if x.is_inference() else x._version
