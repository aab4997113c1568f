"""Positions on a grid of samples <-> seconds. The only place of the harness where the two are converted.

A decoder lays N equal samples over a video. Sample i covers the positions [i, i+1), so the run of samples a..b (b the
last one) is the segment [a, b+1) and a position is a number between 0 and N:

    sample       |  0  |  1  |  2  |  3  | ... | N-1 |
    position     0     1     2     3     4    N-1    N
    run 1..2           [===========)                        a = 1, b = 2  ->  start 1, end 3
    seconds      0          stride: position * f            N * f (about the duration)

Where the N samples come from: T snippets enter the decoder (all V stored snippets, or T sampled out of V), up-sampling
by a factor u makes N = u T of them, resizing to frames makes N = number of frames. Conventions, by name:

    stride    position * f,  f = stride * V / (fps * N)      BaS-Net, ACM-Net, FTCL, CoLA, UM, STPN, BM, CMCS, BGES:
              f = 16 V / (25 u T). The time line is that of the V snippets, stretched over N samples.
    snippet   position * stride / fps                        FAC-Net, RSKP, GauFuse, CO2-Net, W-TALC: x 16/25. Right
              only where every sample is one stored snippet (N = V).
    fps       position / fps                                 ECM on THUMOS14. Right only where a sample is a frame.
    duration  position / N * duration                        ECM on ActivityNet. The N samples share the duration.

No convention shifts by half a snippet. With V snippets of `stride` frames the time line ends at V * stride / fps, which
is up to one snippet short of, or (padded features) past, the true duration: see `Detections` and `clamp`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wtal_bench.errors import ConfigError
from wtal_bench.options import choose
from wtal_bench.structures import VideoMeta

CONVENTIONS = ("stride", "snippet", "fps", "duration")
"""Names of the ways to read a position in seconds."""


@dataclass(frozen=True)
class TimeAxis:
    """How the N samples of one video lie on its time line.

    Attributes:
        convention: one of `CONVENTIONS`.
        samples: N.
        meta: the video (stride, fps, num_snippets and duration are read).

    Raises:
        ConfigError: unknown convention, or one that does not fit a grid of N samples of this video.
    """

    convention: str
    samples: int
    meta: VideoMeta

    def __post_init__(self) -> None:
        choose("time", self.convention, CONVENTIONS)
        expected = {"snippet": self.meta.num_snippets, "fps": self.meta.frames}.get(self.convention, self.samples)
        if expected != self.samples:
            thing = "stored snippet" if self.convention == "snippet" else "frame"
            raise ConfigError(
                f"video {self.meta.id!r}: time={self.convention!r} needs one sample per {thing} ({expected}), the "
                f"curve has {self.samples}. Use time='stride' for sampled or up-sampled snippets, or time='duration'."
            )

    def seconds(self, position: np.ndarray) -> np.ndarray:
        """Positions (any shape, fractions allowed) -> seconds, float64, in the authors' order of operations."""
        position = np.asarray(position, dtype=np.float64)
        meta = self.meta
        if self.convention == "fps":
            return position / meta.fps
        if self.convention == "duration":
            return position / self.samples * meta.duration
        if self.convention == "snippet":
            return position * meta.stride / meta.fps
        return position * self.step

    def position(self, seconds: np.ndarray) -> np.ndarray:
        """Seconds (any shape) -> positions, float64, not rounded: the inverse of `seconds`."""
        return np.asarray(seconds, dtype=np.float64) / self.step

    @property
    def snippet_rate(self) -> float | None:
        """Snippets a second where a position is one of stored snippets by convention, else None."""
        return self.meta.fps / self.meta.stride if self.convention == "snippet" else None

    @property
    def step(self) -> float:
        """Seconds a sample."""
        meta = self.meta
        if self.convention == "fps":
            return 1.0 / meta.fps
        if self.convention == "duration":
            return meta.duration / self.samples
        if self.convention == "snippet":
            return meta.stride / meta.fps
        return meta.stride * meta.num_snippets / (self.samples * meta.fps)
