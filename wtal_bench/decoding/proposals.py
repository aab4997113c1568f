"""Runs above thresholds and their scores, for all classes and thresholds of a video at once.

A run [start, end) is a maximal stretch of samples above one threshold in one column of a curve; n = end - start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from wtal_bench.decoding.curves import Upsampled
from wtal_bench.errors import DataError
from wtal_bench.options import at_least, choose, within

RINGS = ("inclusive", "exclusive", "inside", "at_least_one", "one_more")


@dataclass(frozen=True)
class Runs:
    """Runs as columns of equal length R, sorted by (column, level, start).

    Attributes:
        start, end: [R] int64 first sample and one past the last sample.
        column: [R] int64 column of the curve (class) the run was found in.
        level: [R] int64 index of its threshold.
        threshold: [R] the threshold itself, in the curve's type.
    """

    start: np.ndarray
    end: np.ndarray
    column: np.ndarray
    level: np.ndarray
    threshold: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def take(self, index: np.ndarray) -> Runs:
        """The runs `index` selects (indices or a mask), in that order."""
        return Runs(self.start[index], self.end[index], self.column[index], self.level[index], self.threshold[index])

    def tiled(self, columns: int) -> Runs:
        """The runs of a one-column curve, repeated for each of `columns` classes."""
        count = len(self)
        again = np.tile(np.arange(count), columns)
        return Runs(
            self.start[again],
            self.end[again],
            np.repeat(np.arange(columns), count),
            self.level[again],
            self.threshold[again],
        )


def find_runs(
    curve: np.ndarray | Upsampled,
    thresholds: np.ndarray,
    *,
    above: str = ">",
    positive: bool = False,
    min_length: int = 1,
    lone_first_sample: str = "keep",
) -> Runs:
    """List the runs of every column above every threshold.

    Args:
        curve: [N,K] or [N] (one column), or [N,K] up-sampled: its points are then not laid out.
        thresholds: [H] for all columns, or [K,H].
        above: ">" or ">=" (compared in the curve's type: float32 curves meet float32 thresholds).
        positive: a sample must also be > 0 (BaS-Net, CoLA, ECM: they zero what is below and look for > 0).
        min_length: shortest run kept, in samples.
        lone_first_sample: "drop" loses a run that is sample 0 alone where no other sample of that column is above
            that threshold: what `any(indices)` does in several published codes. "keep" is right.

    Raises:
        ConfigError: unknown switch value.
        DataError: the curve or the thresholds have the wrong shape.
    """
    choose("above", above, (">", ">="))
    choose("lone_first_sample", lone_first_sample, ("keep", "drop"))
    at_least("min_length", min_length, 1, whole=True)
    if isinstance(curve, np.ndarray) and curve.ndim == 1:
        curve = curve[:, None]
    levels = np.asarray(thresholds, dtype=curve.dtype)
    if len(curve.shape) != 2 or levels.ndim not in (1, 2) or (levels.ndim == 2 and len(levels) != curve.shape[1]):
        raise DataError(f"a curve [N,K] and thresholds [H] or [K,H] are needed, got {curve.shape} and {levels.shape}.")
    if levels.ndim == 1:
        levels = np.broadcast_to(levels, (curve.shape[1], len(levels)))
    test = _Test(np.greater if above == ">" else np.greater_equal, positive)
    row, start, end = (_fine_runs if isinstance(curve, Upsampled) else _runs)(curve, levels, test)
    if lone_first_sample == "drop":
        lone = (start == 0) & (end == 1) & (np.bincount(row, minlength=levels.size)[row] == 1)
        row, start, end = row[~lone], start[~lone], end[~lone]
    column, level = np.divmod(row, levels.shape[1])
    runs = Runs(start, end, column, level, levels[column, level])
    return runs if min_length == 1 else runs.take(end - start >= min_length)


@dataclass(frozen=True)
class _Test:
    """Whether values are above their limits."""

    above: np.ufunc
    positive: bool

    def __call__(self, values: np.ndarray, limits: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        on = self.above(values, limits, out=out)
        if self.positive:
            on &= values > 0
        return on


def _runs(curve: np.ndarray, levels: np.ndarray, test: _Test) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a curve [N,K] and levels [K,H], every run's row of the table [K*H], first sample, and one past its last."""
    samples = len(curve)
    on = np.zeros((*levels.shape, samples + 2), dtype=bool)
    test(np.ascontiguousarray(curve.T)[:, None, :], levels[:, :, None], out=on[:, :, 1:-1])
    # rises and falls alternate in the flattened table, because every row begins and ends with False
    edges = np.flatnonzero(on.ravel()[1:] != on.ravel()[:-1])
    rise, fall = edges[::2], edges[1::2]
    row, start = np.divmod(rise, samples + 2)
    return row, start, start + (fall - rise)


def _fine_runs(curve: Upsampled, levels: np.ndarray, test: _Test) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_runs`: only the points between two snippets that lie on both sides of a level are looked at."""
    below, slope, past = curve.below, curve.slope, curve.past
    snippets, factor = past.shape
    on = np.zeros((*levels.shape, 2 * snippets + 2), dtype=bool)
    for point in (0, -1):  # the first and the last point of every snippet
        ends = slope * past[:, point] + below
        test(ends[:, None, :], levels[:, :, None], out=on[:, :, 1 - point : 2 * snippets + 1 : 2])
    edges = np.flatnonzero(on.ravel()[1:] != on.ravel()[:-1])
    row, at = np.divmod(edges, 2 * snippets + 2)
    snippet, within = np.divmod(at, 2)
    place = snippet * factor
    inner = np.flatnonzero(within)
    column, level = np.divmod(row[inner], levels.shape[1])
    snippet = snippet[inner]
    points = slope[column, snippet][:, None] * past[snippet] + below[column, snippet][:, None]
    passed = test(points, levels[column, level][:, None]).sum(axis=1)
    place[inner] += np.where(inner % 2, passed, factor - passed)  # edges with an odd number are falls
    return row[::2], place[::2], place[1::2]


@dataclass(frozen=True)
class Contrast:
    """Outer-inner contrast: statistic(inside) - weight * mean(outside) + video_score * (score of the class).

    With f = outer * n ** power samples of flank, int() truncating towards zero, N samples in all, and the left flank
    [max(0, int(start - f)), start) where nothing else is said, the rings are:

    - `inclusive`: right [end, min(N, int(end-1 + f) + 1)). BaS-Net, ACM-Net, FTCL, CO2-Net, CoLA, UM.
    - `exclusive`: right [end, min(N, int(end-1 + f))). ECM.
    - `inside`: right [end + overhang, min(N-1, int(end + f + 1))), so never the last sample. FAC-Net, RSKP, GauFuse.
    - `at_least_one`: left [max(0, min(int(start - f), start-1)), start), right [end, min(N, max(int(end + f), end+1))).
      CMCS, BGES (clamped at 0, where CMCS lets the left flank wrap).
    - `one_more`: left [max(0, start - int(f) - 1), start), right [end, min(N, end + int(f) + 1)). BM.

    Attributes:
        outer: flank as a share of the run's length; None = no outside term (STPN, W-TALC).
        power: exponent of the length in the flank (GauFuse: outer 0.0785, power 0.9).
        ring: one of the above.
        overhang: samples past the run's end that count as inside, cut at N (FAC-Net, RSKP, GauFuse: 1).
        weight: of the outside mean (FAC-Net 0.6, BM 0.3).
        sides: "joined" = one mean over both flanks; "separate" = the sum of the flanks' means (BM). Empty: 0.
        inside: "mean", or "max" (W-TALC).
        video_score: factor of the class's video-level score (BaS-Net, CO2-Net, CoLA, UM 0.2; ECM 0.15; W-TALC 0.7).
        video_score_binary: use 1 in its place, as for every class that is kept (what BaS-Net's code does).
    """

    outer: float | None = 0.25
    power: float = 1.0
    ring: str = "inclusive"
    overhang: int = 0
    weight: float = 1.0
    sides: str = "joined"
    inside: str = "mean"
    video_score: float = 0.0
    video_score_binary: bool = False

    def __post_init__(self) -> None:
        choose("contrast.ring", self.ring, RINGS)
        choose("contrast.sides", self.sides, ("joined", "separate"))
        choose("contrast.inside", self.inside, ("mean", "max"))
        at_least("contrast.overhang", self.overhang, 0, whole=True)
        if self.outer is not None:
            within("contrast.outer", self.outer, "[0, 100]")

    def flanks(self, runs: Runs, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First sample of the left flank, first and one-past-last sample of the right flank, [R] int64 each.

        A flank is empty where its end does not exceed its start; the left one ends at the run's start.
        """
        start, end = runs.start, runs.end
        length = end - start
        flank = self.outer * (length if self.power == 1.0 else length**self.power)
        left, right = (start - flank).astype(np.int64), end + self.overhang
        if self.ring == "inclusive":
            stop = (end - 1 + flank).astype(np.int64) + 1
        elif self.ring == "exclusive":
            stop = (end - 1 + flank).astype(np.int64)
        elif self.ring == "inside":
            stop, samples = (end + flank + 1).astype(np.int64), samples - 1
        elif self.ring == "at_least_one":
            left, stop = np.minimum(left, start - 1), np.maximum((end + flank).astype(np.int64), end + 1)
        else:
            whole = flank.astype(np.int64) + 1
            left, stop = start - whole, end + whole
        return np.maximum(left, 0), right, np.minimum(stop, samples)

    def score(
        self,
        runs: Runs,
        curve: np.ndarray | Upsampled,
        video_scores: np.ndarray | None = None,
        *,
        zero_below: bool = False,
        share: float = 1.0,
        plus: np.ndarray | Upsampled | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score runs on `share * curve + plus`.

        Means have the very bits of `numpy.mean` over the slice (prefix sums would not), so equal scores stay equal and
        ties fall where the published codes let them fall.

        Args:
            runs: R runs whose `column` names a column of `curve`.
            curve: [N,K]; its type (float32 or float64) is that of the arithmetic.
            video_scores: [K] class scores for the `video_score` term.
            zero_below: samples of `curve` below a run's own threshold count as 0; `curve` is then the one the runs were
                found in, so this concerns what lies outside of them (and an overhang).
            share: factor of `curve`, applied after the zeroing.
            plus: [N,K] curve that is added.

        Returns:
            [R] float64 scores, [R] float64 inside statistics.
        """
        table = _Samples(curve, zero_below, share, plus)
        parts = [self._statistics(runs.take(block), table) for block in _blocks(runs)]
        inside, outside = (np.concatenate(p) for p in zip(*parts)) if parts else np.zeros((2, 0), curve.dtype)
        score = inside if self.outer is None else inside - curve.dtype.type(self.weight) * outside
        if self.video_score and video_scores is not None:
            scores = np.ones_like(video_scores) if self.video_score_binary else video_scores
            score = score + curve.dtype.type(self.video_score) * scores.astype(curve.dtype)[runs.column]
        return score.astype(np.float64), inside.astype(np.float64)

    def _statistics(self, runs: Runs, table: _Samples) -> tuple[np.ndarray, np.ndarray]:
        """[R] inside statistics and [R] outside means, in the curve's type."""
        inside = self._inside(runs, table)
        if self.outer is None:
            return inside, np.zeros_like(inside)
        left, right, stop = self.flanks(runs, table.count)
        flanks = [(left, runs.start), (right, stop)]
        if self.sides == "joined":
            return inside, _mean(*table.of(runs, flanks))
        return inside, _mean(*table.of(runs, flanks[:1])) + _mean(*table.of(runs, flanks[1:]))

    def _inside(self, runs: Runs, table: _Samples) -> np.ndarray:
        if self.inside == "mean" and self.overhang == 0:
            means = table.means(runs)
            if means is not None:
                return means
        if self.overhang == 0 and self.inside == "max":
            return table.maxima(runs)
        inner = (runs.start, np.minimum(runs.end + self.overhang, table.count))
        values, first, count = table.of(runs, [inner], below=self.overhang > 0)
        if self.inside == "mean":
            return _mean(values, first, count)
        values[first] = -np.inf
        return np.maximum.reduceat(values, first)


_BLOCK = 1 << 18
"""Samples inside runs that are gathered at a time; bounds the memory for long videos and many thresholds."""


def _blocks(runs: Runs) -> Iterator[slice]:
    """Cut the runs into stretches of about `_BLOCK` samples."""
    if len(runs):
        samples = np.cumsum(runs.end - runs.start)
        if samples[-1] < _BLOCK:
            yield slice(None)
            return
        block = samples // _BLOCK
        cuts = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(runs)]
        yield from (slice(begin, end) for begin, end in pairwise(cuts))


class _Samples:
    """The samples of a curve [N,K], read run by run. Column after column, each led by a 0, and a last 0."""

    def __init__(
        self,
        curve: np.ndarray | Upsampled,
        zero_below: bool,
        share: float,
        plus: np.ndarray | Upsampled | None,
    ) -> None:
        self.count = len(curve)
        self.zero_below, self.share = zero_below, curve.dtype.type(share)
        self.flat = _led(curve)
        self.plus = None if plus is None else _led(plus)

    def first(self, runs: Runs) -> np.ndarray:
        """[R] where sample 0 of the run's column lies."""
        return runs.column * (self.count + 1) + 1

    @cached_property
    def summed(self) -> np.ndarray:
        """What a run's mean is taken of, where the run holds no sample below its threshold."""
        values = self.flat if self.share == 1 else self.flat * self.share
        return values if self.plus is None else values + self.plus

    def means(self, runs: Runs) -> np.ndarray | None:
        """[R] means of runs, added up where they lie: nothing is copied. None where runs of a level touch or go back.

        The sample before a run belongs to no other run of its level and is 0 for the moment: the 0 that `of` tells of.
        """
        table, lead, count = self.summed, self.first(runs) + (runs.start - 1), runs.end - runs.start
        edges = np.empty((len(runs), 2), dtype=np.int64)
        edges[:, 0] = lead
        np.add(lead + 1, count, out=edges[:, 1])
        sums = np.empty(len(runs), dtype=table.dtype)
        levels = np.flatnonzero(np.bincount(runs.level))
        for level in levels:
            rows = slice(None) if len(levels) == 1 else np.flatnonzero(runs.level == level)
            before, ends = lead[rows], edges[rows].ravel()
            if (ends[1:] < ends[:-1]).any():
                return None
            covered, table[before] = table[before], 0
            sums[rows] = np.add.reduceat(table[: ends[-1] + 1], ends)[::2]
            table[before] = covered
        return sums / np.maximum(count, 1).astype(table.dtype)

    def maxima(self, runs: Runs) -> np.ndarray:
        """[R] largest sample of every run, found where it lies."""
        edges = np.empty((len(runs), 2), dtype=np.int64)
        edges[:, 0] = self.first(runs) + runs.start
        np.add(edges[:, 0], runs.end - runs.start, out=edges[:, 1])
        return np.maximum.reduceat(self.summed, edges.ravel())[::2]  # the others are of what lies between runs

    def of(
        self, runs: Runs, ranges: list[tuple[np.ndarray, np.ndarray]], below: bool = True
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples of [lo, hi) of every range of run 0, then of run 1, ...; each run is led by one 0.

        The 0 makes `reduceat` add a run exactly as `numpy.sum` adds the slice, and gives a run without samples a sum.

        Args:
            ranges: pairs of [R] columns lo, hi; hi <= lo is empty.
            below: whether a range may hold samples below the run's threshold.

        Returns:
            the samples; [R] where each run begins; [R] how many samples it has, its 0 not counted.
        """
        base = self.first(runs)
        lengths = np.stack([np.ones_like(base), *(np.maximum(hi - lo, 0) for lo, hi in ranges)], axis=1)
        starts = np.stack([np.zeros_like(base), *(base + lo for lo, _ in ranges)], axis=1)
        count = lengths[:, 1:].sum(axis=1)
        filled = lengths.ravel() > 0
        length, start = lengths.ravel()[filled], starts.ravel()[filled]
        # steps of 1 inside a range and one jump into the next, summed up: the cheapest way to write many ranges
        index = np.ones(length.sum(), dtype=np.int64)
        index[0] = start[0]
        index[np.cumsum(length[:-1])] = start[1:] - (start[:-1] + length[:-1] - 1)
        np.cumsum(index, out=index)
        values = self.flat[index]
        if self.zero_below and below:
            values = np.where(values < np.repeat(runs.threshold, count + 1), 0, values)
        if self.share != 1:
            values = values * self.share
        if self.plus is not None:
            values = values + self.plus[index]
        return values, np.cumsum(count + 1) - (count + 1), count


def _led(curve: np.ndarray | Upsampled) -> np.ndarray:
    count, columns = curve.shape
    flat = np.empty(columns * (count + 1) + 1, dtype=curve.dtype)
    table = flat[:-1].reshape(columns, count + 1)
    if isinstance(curve, Upsampled):
        curve.lay_out(table[:, 1:])
    else:
        table[:, 1:] = curve.T
    table[:, 0], flat[-1] = 0, 0
    return flat


def _mean(values: np.ndarray, first: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values, first) / np.maximum(count, 1).astype(values.dtype)
