"""Non-maximum suppression of segments: hard and soft, all classes and videos in one call, no compiled code.

Hard suppression gives the kept set of the greedy loop exactly: pairs that suppress each other are listed sparsely
(sort, searchsorted), then every segment without an undecided better neighbour is accepted, round by round.

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

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wtal_bench.decoding.soft_nms import soften
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.options import at_least, choose, positive, within

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
            by_key = np.argsort(segments.key)
            for better, worse in segments.conflicts_across(by_key[~dropped[by_key]], by_key[dropped[by_key]]):
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
        rows = np.arange(len(group))
        if self.min_score is not None:
            rows = np.flatnonzero(score > score.dtype.type(self.min_score))
        if self.ties == "earlier_first":
            order = rows[np.argsort(-score[rows], kind="stable")]
        else:
            order = rows[np.argsort(score[rows], kind="stable")[::-1]]
        label = group[order]
        if len(order) and int(label.max()) - int(label.min()) < 2**15:
            label = (label - label.min()).astype(np.int16)  # numpy sorts 16-bit integers by counting
        order = order[np.argsort(label, kind="stable")]
        return order, _Segments(self, start[order], end[order], group[order])

    def ratio(self, inter: np.ndarray, better: np.ndarray, worse: np.ndarray) -> np.ndarray:
        """Overlap from the intersection and the lengths of the better- and the lower-scored segment; empty: 0."""
        whole = worse if self.overlap == "self" else better + worse - inter
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
    """Segments in ranking order (group ascending, best first), with what listing overlapping pairs needs."""

    def __init__(self, rule: NMS, start: np.ndarray, end: np.ndarray, group: np.ndarray) -> None:
        self.rule, self.start, self.end = rule, start, end
        self.length = end - start + start.dtype.type(rule.offset)
        if not len(start):
            return
        # Groups are laid side by side on one axis, so far apart that no pair reaches across. Rounding on that axis is
        # covered by a slack: it only ever lists a pair too many, and every listed pair is then tested exactly.
        block = np.cumsum(np.diff(group, prepend=group[0]) != 0)
        origin, span = float(start.min()), float(end.max() - start.min()) + rule.offset + 1.0
        self.key = start.astype(np.float64) - origin + block * (2 * span)
        window = self.length.astype(np.float64)
        if rule.overlap == "union":
            # inter <= length - distance and union >= length, so IoU >= t needs distance <= (1 - t) * length
            window = window * (1.0 - rule.iou)
        if rule.suppresses(np.zeros(1, dtype=start.dtype))[0]:
            window = np.full(len(start), span)
        exact = start.dtype == np.float64
        self.limit = self.key + window + (1e-9 if exact else 4e-6) * (self.key[-1] + span + abs(origin))
        self.block = block

    def reached(self, earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
        """For rows `earlier`: how many of `later` (sorted by key) start before the end of their window."""
        return np.searchsorted(self.key[later], self.limit[earlier], side="right")

    def conflicts(
        self, earlier: np.ndarray, later: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (better, worse) of rows that suppress, among `earlier[i]` with `later[first[i]:last[i]]`."""
        count = np.maximum(last - first, 0)
        a = np.repeat(earlier, count)
        b = later[np.arange(len(a)) + np.repeat(first - (np.cumsum(count) - count), count)]
        rule = self.rule
        inter = np.minimum(self.end[a], self.end[b]) - np.maximum(self.start[a], self.start[b])
        inter = np.maximum(inter + inter.dtype.type(rule.reach), 0)
        better, worse = np.minimum(a, b), np.maximum(a, b)
        hit = rule.suppresses(rule.ratio(inter, self.length[better], self.length[worse]))
        return better[hit], worse[hit]

    def conflicts_across(self, one: np.ndarray, other: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs (better, worse) with one row from each of two disjoint sets (sorted by key), in two parts."""
        for earlier, later in ((one, other), (other, one)):
            first = np.searchsorted(self.key[later], self.key[earlier])
            yield self.conflicts(earlier, later, first, self.reached(earlier, later))

    def dropped(self) -> np.ndarray:
        """[N] bool: what the greedy loop drops."""
        dropped = np.zeros(len(self.start), dtype=bool)
        if len(dropped):
            self._decide(np.argsort(self.key), dropped)
        return dropped

    def _decide(self, rows: np.ndarray, dropped: np.ndarray) -> None:
        """Mark in `dropped` those of `rows` (sorted by key) that the greedy loop over `rows` drops."""
        first, last = np.arange(1, len(rows) + 1), self.reached(rows, rows)
        if (last - first).sum() > _PAIRS_PER_ROW * len(rows):
            best = np.zeros(len(dropped), dtype=bool)
            best[_best_quarter(np.sort(rows), self.block)] = True
            head = best[rows]
            if not head.all():
                self._decide(rows[head], dropped)
                kept, rest = rows[head & ~dropped[rows]], rows[~head]
                for _, worse in self.conflicts_across(kept, rest):
                    dropped[worse] = True
                self._decide(rest[~dropped[rest]], dropped)
                return
        better, worse = self.conflicts(rows, rows, first, last)
        while len(better):
            # A row that no live pair calls worse has no undecided better neighbour: it stays and drops its neighbours.
            blocked = np.zeros(len(dropped), dtype=bool)
            blocked[worse] = True
            dropped[worse[~blocked[better]]] = True
            live = ~(dropped[better] | dropped[worse])
            better, worse = better[live], worse[live]


_PAIRS_PER_ROW = 6
"""Above so many pairs a row it is cheaper to decide the best rows first: what they drop needs no pairs of its own."""


def _best_quarter(rows: np.ndarray, block: np.ndarray) -> np.ndarray:
    """The first rows (ascending) of every block: a quarter of the longest block's number, at least 16."""
    block = block[rows]
    begins = np.flatnonzero(np.concatenate([[True], block[1:] != block[:-1]]))
    sizes = np.diff(begins, append=len(block))
    place = np.arange(len(block)) - np.repeat(begins, sizes)
    return rows[place < max(16, sizes.max() // 4)]
