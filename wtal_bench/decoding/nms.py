"""Non-maximum suppression of segments: hard and soft, all classes and videos in one call, no compiled code.

Hard suppression gives the kept set of the greedy loop exactly: pairs that suppress each other are listed sparsely
(sort, searchsorted), then every segment without an undecided better neighbour is accepted, round by round. Where
rounds decide little (a chain, each suppressing the next), the pairs that are left are walked through once, best first.

    overlap  "union"  inter / (length_i + length_j - inter)        BaS-Net, ACM-Net, FTCL, ECM, CoLA, UM, STPN, OpenTAD
             "self"   inter / length of the lower-scored segment   FAC-Net, RSKP, GauFuse
    offset   length = end - start + offset; inter = max(0, min(ends) - max(starts) + offset)
             0 (STPN, BM, BGES), 1 (most repositories, also where the unit is the second: segments less than a second
             apart then suppress each other), 1e-6 on lengths only (OpenTAD, `offset_on="length"`)
    drop     ">=" suppresses at overlap == threshold ("keep if IoU < threshold"), ">" does not
    ties     "later_first": of equal scores the later input row goes first (`argsort()[::-1]`: all published WTAL
             codes); "earlier_first" (OpenTAD)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wtal_bench.decoding.soft_nms import soften
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.options import at_least, choose, positive, within
from wtal_bench.order import by_group, falling

KINDS = ("hard", "gaussian", "linear")


@dataclass(frozen=True)
class NMS:
    """One suppression rule; call it on columns.

    Attributes:
        iou: threshold of the overlap. Ignored by "gaussian".
        kind: "hard"; "gaussian": score *= exp(-overlap^2 / sigma); "linear": score *= 1 - overlap where it suppresses.
        sigma: width of "gaussian" (CO2-Net, P-MIL 0.3; OpenTAD 0.5).
        overlap, offset, drop, ties: see the module's text. Soft rules always take the first of equal current scores.
        offset_on: "both" lengths and intersections carry the offset, or "length" alone.
        min_score: hard: only scores > min_score enter; soft: a segment is dropped when suppression brings its score
            below it (the first pick of a round is never tested). None = nothing is dropped.
        precision: "float64", or "float32" (OpenTAD).
    """

    iou: float = 0.5
    kind: str = "hard"
    sigma: float = 0.5
    overlap: str = "union"
    offset: float = 0.0
    drop: str = ">="
    ties: str = "later_first"
    offset_on: str = "both"
    min_score: float | None = None
    precision: str = "float64"

    def __post_init__(self) -> None:
        choose("nms.kind", self.kind, KINDS)
        choose("nms.overlap", self.overlap, ("union", "self"))
        choose("nms.drop", self.drop, (">=", ">"))
        choose("nms.ties", self.ties, ("later_first", "earlier_first"))
        choose("nms.offset_on", self.offset_on, ("both", "length"))
        choose("nms.precision", self.precision, ("float64", "float32"))
        at_least("nms.offset", self.offset, 0)
        within("nms.iou", self.iou, "[0, 1]")
        positive("nms.sigma", self.sigma)

    def __call__(
        self, start: np.ndarray, end: np.ndarray, score: np.ndarray, group: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Suppress within every group (class, or class and video) on its own.

        Args:
            start, end, score: [N] columns, in the unit the rule is stated in (seconds or snippets), start <= end.
            group: [N] integers; None = one group.

        Returns:
            ([M] int64 kept input rows, [M] float64 scores): groups ascending, inside a group in the order of picking.

        Raises:
            DataError: columns of different lengths, NaN, or a reversed segment (the row is named).
        """
        columns, group = self._columns(start, end, score, group)
        if self.kind != "hard":
            rule = {"decay": self._decay, "offset": self.offset, "reach": self.reach, "min_score": self.min_score}
            return soften(*columns, group, **rule)
        order, segments = self._ranked(columns, group)
        dropped = segments.dropped()
        kept = order[~dropped]
        return kept, np.asarray(score, dtype=np.float64)[kept]

    def groups(
        self, start: np.ndarray, end: np.ndarray, score: np.ndarray, group: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Hard suppression that also says who suppressed whom: the members a fusion averages (GauFuse).

        Returns:
            ([M] int64 kept rows as in `__call__`, [N] int64 for every input row the kept row that took it, itself for
            a kept row: the best-scored kept segment that suppresses it; -1 for a row `min_score` refused).
        """
        if self.kind != "hard":
            raise ConfigError(
                f"nms.kind={self.kind!r} suppresses nothing fully, so it forms no groups; use kind='hard'."
            )
        columns, group = self._columns(start, end, score, group)
        order, segments = self._ranked(columns, group)
        dropped = segments.dropped()
        takes = np.where(dropped, len(order), np.arange(len(order)))
        if len(order):
            lost = dropped[segments.rank]
            sides = np.flatnonzero(~lost), np.flatnonzero(lost)
            for earlier, later in (sides, sides[::-1]):
                better, worse = segments.conflicts_behind(earlier, later)
                by_kept = ~dropped[better]
                np.minimum.at(takes, worse[by_kept], better[by_kept])
        leader = np.full(len(group), -1, dtype=np.int64)
        leader[order] = order[takes]
        return order[~dropped], leader

    def _decay(self, inter: np.ndarray, picked: np.ndarray, others: np.ndarray) -> np.ndarray:
        """What a soft rule multiplies scores by, from intersections and the lengths on both sides."""
        overlap = self.ratio(inter, picked, others)
        if self.kind == "gaussian":
            return np.exp(-(overlap**2) / overlap.dtype.type(self.sigma))
        return np.where(self.suppresses(overlap), 1 - overlap, overlap.dtype.type(1))

    def _columns(
        self, start: np.ndarray, end: np.ndarray, score: np.ndarray, group: np.ndarray | None
    ) -> tuple[list[np.ndarray], np.ndarray]:
        columns = [np.asarray(column, dtype=self.precision) for column in (start, end, score)]
        group = np.zeros(len(columns[0]), dtype=np.int64) if group is None else np.asarray(group, dtype=np.int64)
        _check(*columns, group)
        return columns, group

    def _ranked(self, columns: list[np.ndarray], group: np.ndarray) -> tuple[np.ndarray, _Segments]:
        """Input rows in ranking order (group ascending, best first, ties as `ties` says), and their segments."""
        start, end, score = columns
        if self.min_score is None:
            order = falling(score, self.ties == "later_first")
        else:
            rows = np.flatnonzero(score > score.dtype.type(self.min_score))
            order = rows[falling(score[rows], self.ties == "later_first")]
        order = order[by_group(group[order])]
        return order, _Segments(self, start[order], end[order], group[order])

    def ratio(self, inter: np.ndarray, better: np.ndarray, worse: np.ndarray) -> np.ndarray:
        """Overlap from the intersection and the lengths of the better- and the lower-scored segment; empty: 0."""
        whole = worse if self.overlap == "self" else better + worse - inter
        if whole.size and whole.min() > 0:
            return inter / whole
        return np.divide(inter, whole, out=np.zeros_like(inter), where=whole > 0)

    def suppresses(self, overlap: np.ndarray) -> np.ndarray:
        """Whether an overlap reaches the threshold."""
        limit = overlap.dtype.type(self.iou)
        return overlap >= limit if self.drop == ">=" else overlap > limit

    @property
    def reach(self) -> float:
        """What is added to an intersection."""
        return self.offset if self.offset_on == "both" else 0.0


def _check(start: np.ndarray, end: np.ndarray, score: np.ndarray, group: np.ndarray) -> None:
    sizes = {name: column.shape for name, column in zip(("start", "end", "score", "group"), (start, end, score, group))}
    if len(set(sizes.values())) != 1 or start.ndim != 1:
        raise DataError(f"nms needs columns [N] of one length, got {sizes}.")
    bad = ~(np.isfinite(start) & np.isfinite(end)) | np.isnan(score) | (end < start)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"nms: row {row} (group {group[row]}) has start {start[row]}, end {end[row]}, score {score[row]}; needed: "
            "finite start <= end and a score that is a number. Look at what made this proposal."
        )


class _Segments:
    """Segments on one line, sorted by group and start, with what listing overlapping pairs needs.

    Attributes:
        rank: [N] of each segment on the line, its place in ranking order (group ascending, best first).
        start, end, length: [N] in the order of the line.
        reach: [N] the place on the line before which everything starts that a segment may suppress behind itself.
        begin: [N] rank of the best segment of its group.
    """

    def __init__(self, rule: NMS, start: np.ndarray, end: np.ndarray, group: np.ndarray) -> None:
        """Take [N] columns in ranking order."""
        self.rule, count = rule, len(start)
        if not count:
            self.rank = np.zeros(0, dtype=np.int64)
            return
        begins = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
        block = np.repeat(np.arange(len(begins)), np.diff(begins, append=count))
        line = np.argsort(start)
        line = line[by_group(block[line])]
        self.rank, self.start, self.end, block = line, start[line], end[line], block[line]
        self.length = self.end - self.start + start.dtype.type(rule.offset)
        self.begin, finish = begins[block], np.append(begins[1:], count)
        sizes = finish - begins
        if (sizes * (sizes - 1)).sum() <= 2 * _FEW_PAIRS:
            self.reach = finish[block]
            return
        # Groups are laid side by side on one axis. Rounding on that axis is covered by a slack: it only ever lists a
        # pair too many, and every listed pair is then tested exactly.
        origin, span = float(start.min()), float(end.max() - start.min()) + rule.offset + 1.0
        key = self.start.astype(np.float64) - origin + block * (2 * span)
        window = self.length.astype(np.float64)
        if rule.overlap == "union":
            # inter <= length - distance and union >= length, so IoU >= t needs distance <= (1 - t) * length
            window = window * (1.0 - rule.iou)
        if rule.suppresses(np.zeros(1, dtype=start.dtype))[0]:
            window = np.full(count, span)
        exact = start.dtype == np.float64
        limit = key + window + (1e-9 if exact else 4e-6) * (key[-1] + span + abs(origin))
        self.reach = np.minimum(_places_before(key, limit), finish[block])

    def conflicts(
        self, earlier: np.ndarray, later: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (better, worse) of ranks that suppress, among `earlier[i]` with `later[first[i]:last[i]]`.

        `earlier` and `later` are places on the line; every one of `later[first[i]:]` lies behind `earlier[i]`.
        """
        rule, count = self.rule, np.maximum(last - first, 0)
        after = np.cumsum(count)
        b = later[np.arange(after[-1] if len(after) else 0) + np.repeat(first - (after - count), count)]
        inter = np.minimum(np.repeat(self.end[earlier], count), self.end[b])
        inter -= self.start[b]  # the later start of the two
        inter += inter.dtype.type(rule.reach)
        np.maximum(inter, 0, out=inter)
        length, other = np.repeat(self.length[earlier], count), self.length[b]
        if rule.overlap == "self":
            swap = np.repeat(self.rank[earlier], count) > self.rank[b]
            length, other = np.where(swap, other, length), np.where(swap, length, other)
        hit = np.flatnonzero(rule.suppresses(rule.ratio(inter, length, other)))
        one, two = np.repeat(self.rank[earlier], count)[hit], self.rank[b[hit]]
        return np.minimum(one, two), np.maximum(one, two)

    def conflicts_behind(self, earlier: np.ndarray, later: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (better, worse) of ranks, one from each of two disjoint sets of places (ascending), `later` behind."""
        before = self._counts(later)
        return self.conflicts(earlier, later, before[earlier], before[self.reach[earlier]])

    def _counts(self, places: np.ndarray) -> np.ndarray:
        """[N+1] how many of `places` lie before each place."""
        counts = np.zeros(len(self.rank) + 1, dtype=np.int64)
        counts[places + 1] = 1
        return np.cumsum(counts, out=counts)

    def dropped(self) -> np.ndarray:
        """[N] bool in ranking order: what the greedy loop drops."""
        dropped = np.zeros(len(self.rank), dtype=bool)
        if len(dropped):
            self._decide(np.arange(len(dropped)), dropped)
        return dropped

    def _decide(self, places: np.ndarray, dropped: np.ndarray) -> None:
        """Mark in `dropped` those of `places` (ascending) that the greedy loop over them drops."""
        first, last = np.arange(1, len(places) + 1), self._counts(places)[self.reach[places]]
        if (last - first).sum() > max(_FEW_PAIRS, _PAIRS_PER_ROW * len(places)):
            head = self._best_quarter(places)
            if not head.all():
                self._decide(places[head], dropped)
                rest = places[~head]
                kept = places[head & ~dropped[self.rank[places]]]
                dropped[self.conflicts_behind(kept, rest)[1]] = True
                rest = rest[~dropped[self.rank[rest]]]
                dropped[self.conflicts_behind(rest, kept)[1]] = True
                self._decide(rest[~dropped[self.rank[rest]]], dropped)
                return
        _settle(*self.conflicts(places, places, first, last), dropped)

    def _best_quarter(self, places: np.ndarray) -> np.ndarray:
        """Which of `places` are the best of their group: a quarter of the longest group's number, at least 16."""
        rank = self.rank[places]
        counts = self._counts(rank)
        nth = counts[rank] - counts[self.begin[places]]
        return nth < max(16, (int(nth.max()) + 1) // 4)


def _places_before(key: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """[N] how many of the rising `key` are <= every limit, or a few more: a table where that is cheaper."""
    cells = 4 * len(key)
    span = key[-1] - key[0]
    if span > 1e-6:  # a cell must be wider than nothing
        scale = cells / span
        cell = ((key - key[0]) * scale).astype(np.int64)
        wanted = np.maximum(np.minimum((limit - key[0]) * scale, cells), 0).astype(np.int64)
        inside = np.bincount(cell, minlength=cells + 1)
        # all keys of a limit's own cell count: few, unless the keys crowd
        if inside[wanted].sum() <= len(key):
            return np.cumsum(inside)[wanted]
    return np.searchsorted(key, limit, side="right")


_FEW_PAIRS = 4096
"""Up to so many pairs it is cheapest to test them all."""

_PAIRS_PER_ROW = 6
"""Above so many pairs a row it is cheaper to decide the best rows first: what they drop needs no pairs of its own."""


def _settle(better: np.ndarray, worse: np.ndarray, dropped: np.ndarray) -> None:
    """Mark in `dropped` what the greedy loop drops, by all pairs of ranks that suppress."""
    before = 2 * len(better)
    while len(better) and 4 * len(better) < 3 * before:
        before = len(better)
        # A row that no live pair calls worse has no undecided better neighbour: it stays and drops its neighbours.
        blocked = np.zeros(len(dropped), dtype=bool)
        blocked[worse] = True
        dropped[worse[~blocked[better]]] = True
        live = ~(dropped[better] | dropped[worse])
        better, worse = better[live], worse[live]
    if len(better):
        order = np.argsort(better)
        lost = bytearray(len(dropped))
        for one, other in zip(better[order].tolist(), worse[order].tolist()):
            if not lost[one]:
                lost[other] = 1
        dropped |= np.frombuffer(lost, dtype=bool)
