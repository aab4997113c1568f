"""Frames at a constant rate -> snippets: which frames each snippet sees, and their pictures, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wtal_bench.errors import ConfigError
from wtal_bench.extraction.decode import FrameReader


@dataclass(frozen=True)
class SnippetGrid:
    """Where snippets lie: snippet i sees the frames `i * stride + offset` of a video of `fps` frames a second.

    Attributes:
        fps: frames a second.
        stride: frames between the starts of two neighbouring snippets.
        offsets: frames of a snippet's window that are looked at.
    """

    fps: float
    stride: int
    offsets: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 0 < self.fps <= 1000:
            raise ConfigError(f"the rate must be above 0 and at most 1000 frames a second, got {self.fps!r}.")
        if self.stride < 1:
            raise ConfigError(f"the stride must be at least 1 frame, got {self.stride!r}.")

    def count(self, frames: int) -> int:
        """Snippets of a video of that many frames: those at least half of whose stride lies in it, at least 1."""
        return max(1, (2 * frames + self.stride) // (2 * self.stride))

    def sees(self, snippet: int, frames: int) -> list[int]:
        """Frames that a snippet sees in a video of `frames` frames; past the end, the last one."""
        return [min(snippet * self.stride + offset, frames - 1) for offset in self.offsets]

    def wants(self, frame: int) -> bool:
        """Whether any snippet looks at that frame."""
        return any(frame >= offset and (frame - offset) % self.stride == 0 for offset in self.offsets)


def read_snippets(reader: FrameReader, grid: SnippetGrid) -> Iterator[np.ndarray]:
    """Yield every snippet's pictures, [N,H,W,3] uint8, N = `len(grid.offsets)`; holds those of open windows alone.

    Raises:
        DataError: see `decode`.
    """
    held: dict[int, np.ndarray] = {}
    snippet, total = 0, 0
    # a snippet is due once all it sees has come, and enough of its stride to know that it counts
    due = max(*grid.offsets, (grid.stride + 1) // 2 - 1)
    for k, shown in reader:
        total = k + 1
        if shown is not None:
            held[k] = shown
        while snippet * grid.stride + due <= k:
            yield np.stack([held[at] for at in grid.sees(snippet, total)])
            snippet += 1
            for at in [at for at in held if at < snippet * grid.stride]:
                del held[at]
    last = reader.last()
    for at in range(snippet, grid.count(total)):
        yield np.stack([held.get(frame, last) for frame in grid.sees(at, total)])
