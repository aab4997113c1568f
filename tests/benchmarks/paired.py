"""Two ways to do one thing, timed in turns: the machine is shared and its clock drifts, so only pairs compare."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

NOTES = "WTAL_BENCHMARK_NOTES"
"""Environment variable: the file that `python -m tests.benchmarks` reads its table from."""


@dataclass(frozen=True)
class Paired:
    """Seconds of every round, ours and the peer's.

    Attributes:
        ours, peer: of equal length.
    """

    ours: list[float]
    peer: list[float]

    @property
    def ratio(self) -> float:
        """Median over the rounds of peer / ours: above 1 ours is faster."""
        return statistics.median(peer / ours for ours, peer in zip(self.ours, self.peer))

    def note(self, work: str, peer: str) -> None:
        """Keep the line of the table."""
        note(work, peer, statistics.median(self.ours), statistics.median(self.peer), self.ratio)

    def text(self, unit: str = "ms", peer: str = "peer") -> str:
        """Medians and ratio in words."""
        scale = {"s": 1.0, "ms": 1e3}[unit]
        ours, other = (scale * statistics.median(side) for side in (self.ours, self.peer))
        return f"ours {ours:.3g} {unit}, {peer} {other:.3g} {unit}, {self.ratio:.2f}x"


def paired(
    ours: Callable[[], object], peer: Callable[[], object], repeats: int, clock: Callable[[], float] = time.process_time
) -> Paired:
    """Time both in turns, `repeats` rounds; run them once before, where the first run costs more than the others."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(repeats):
        # the one that goes second finds its arrays pushed out of the cache: take turns at that, too
        for side in (0, 1) if number % 2 else (1, 0):
            began = clock()
            (ours, peer)[side]()
            times[side].append(clock() - began)
    return Paired(*times)


def note(work: str, peer: str, ours: float, theirs: float | None = None, ratio: float | None = None) -> None:
    """Keep one line of the table, where somebody collects one: seconds of ours and, where there is one, of the peer."""
    if NOTES in os.environ:
        if theirs is not None and ratio is None:
            ratio = theirs / ours
        line = {"work": work, "peer": peer, "ours": ours, "theirs": theirs, "ratio": ratio}
        with Path(os.environ[NOTES]).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
