"""A comparison as text: the two sides, tables per tIoU, class and video, and a verdict in plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wtal_bench.errors import listing
from wtal_bench.evaluation import BootstrapDifference, EvaluationResult, Interval
from wtal_bench.leaderboard import side_notes
from wtal_bench.leaderboard.compare import Compared, Run
from wtal_bench.leaderboard.rows import Score
from wtal_bench.protocols import Protocol
from wtal_bench.text import signed, spread, table

FEWEST = 10
"""Test videos below which there is no verdict: so few, drawn with replacement, say nothing of other videos."""

LEVEL = 0.05
"""No verdict goes against a p-value from here on, whatever the interval leaves out."""

Row = tuple[str, Score, Score, Interval]
"""A name, what A and what B has, and their difference."""


def report(compared: Compared, protocol: Protocol, top: int = 10) -> str:
    """Spell the comparison as text: per tIoU, averages, classes, videos, and the verdict."""
    found, counts = compared.difference, compared.results[0][0].counts
    rows = [
        _row(compared, f"{tiou:g}", item, lambda result, at=place: result.mAP[at])
        for place, (tiou, item) in enumerate(zip(found.tious, found.per_tiou))
    ]
    for name, tious in protocol.averages.items():
        rows.append(_row(compared, name, found.averages[name], lambda result, at=tious: result.average_over(at)))
    named = [[run.name for run in side] for side in compared.sides]
    several = " (mean ± sample standard deviation over the runs)" if max(found.runs) > 1 else ""
    lines = [
        *(_names(letter, side) for letter, side in zip("AB", compared.sides)),
        *(
            line
            for letter, runs, names in zip("AB", compared.data, named)
            for line in side_notes.lines(letter, runs, names)
        ),
        f"{compared.protocol}, {compared.evaluator}: {counts.videos} videos, {counts.instances} instances{several}",
        f"A - B in percent points, 95 % interval and two-sided p: {covered(found)}, {found.resamples} resamples",
        *(f"note: {note}" for note in compared.notes),
        "",
        *_table("mAP at", rows, found.resamples),
        "",
        *_class_lines(compared, top),
        *_video_lines(compared, top),
        *_verdict(compared, protocol.headline),
    ]
    return "\n".join(lines)


def _verdict(compared: Compared, name: str) -> list[str]:
    """The verdict; of sides that have not the same videos, on those that both have."""
    shared = compared.shared
    if compared.unscored:
        return [f"No verdict: {'; '.join(compared.unscored)} (see the notes above)."]
    if shared is None:
        return [verdict(compared.difference, name, compared.results[0][0].counts.videos)]
    whole = compared.difference.averages[name].difference
    head = (
        f"A has {shared.counts[0]} of the {shared.of} videos, B {shared.counts[1]}: what a side lacks counts as missed "
        f"above (A - B = {signed(whole)}), which says nothing of the methods."
    )
    if shared.difference is None:
        return [head, "No video is in both: nothing to compare."]
    return [head, f"On the {shared.videos} videos that both have: {verdict(shared.difference, name, shared.videos)}"]


def covered(found: BootstrapDifference) -> str:
    """What the intervals are over."""
    several = [f"{count} of {letter}" for letter, count in zip("AB", found.runs) if count > 1]
    if not several:
        return "paired bootstrap over videos only"
    return f"bootstrap over runs ({', '.join(several)}) and videos, the videos paired across the sides"


def verdict(found: BootstrapDifference, name: str, videos: int) -> str:
    """Say plainly whether the two can be told apart, and what that covers.

    Args:
        found: the difference.
        name: of the average.
        videos: how many it rests on.
    """
    interval = found.averages[name]
    shown = (
        f"A - B = {signed(interval.difference)} [{signed(interval.low)}, {signed(interval.high)}] "
        f"({_p(interval, found.resamples)}) for {name}"
    )
    alone = [letter for letter, count in zip("AB", found.runs) if count == 1]
    if len(alone) == 2:
        limits = "Videos only: the spread between seeds is not covered; compare several runs of each (--a ... --b ...)."
    elif alone:
        other = "B" if alone == ["A"] else "A"
        limits = (
            f"Covers the choice of videos and the spread between the runs of {other}; {alone[0]} is one run, so on its "
            "side videos only."
        )
    else:
        limits = "Covers the choice of videos and the spread between runs."
    if videos < FEWEST:
        return (
            f"No verdict: {shown} rests on {videos} test video{'s' * (videos != 1)}, too few for a bootstrap to say "
            f"anything; {FEWEST} are needed."
        )
    limits = f"It rests on {videos} test videos. {limits}"
    if not interval.distinguishable or interval.p_value >= LEVEL:
        other = "test videos" if len(alone) == 2 else "test videos or seeds"
        return f"not distinguishable: {shown}; other {other} could turn the order round. {limits}"
    better = "A" if interval.difference > 0 else "B"
    where = " on these videos" if len(alone) == 2 else ""
    return f"{better} is better{where}: {shown}. {limits}"


def _p(interval: Interval, resamples: int) -> str:
    """Of R replicates none of which lies beyond 0 no more is known than p < 2 / R."""
    least = min(1.0, max(2 / resamples, 0.001))
    return f"p < {least:.3g}" if interval.p_value < least else f"p = {interval.p_value:.3f}"


def _names(letter: str, side: Sequence[Run]) -> str:
    if len(side) == 1:
        return f"{letter}  {side[0].name}"
    seeds = [str(run.seed) for run in side if run.seed is not None]
    of = f", seeds {listing(seeds)}" if len(seeds) == len(side) else ""
    return f"{letter}  {len(side)} runs{of}: {listing([run.name for run in side])}"


def _row(compared: Compared, name: str, item: Interval, number: Callable[[EvaluationResult], float]) -> Row:
    a, b = (Score.over([float(number(result)) for result in side]) for side in compared.results)
    return name, a, b, item


def _table(head: str, rows: Sequence[Row], resamples: int) -> list[str]:
    lines = []
    for name, a, b, item in rows:
        bounds = f"[{signed(item.low)}, {signed(item.high)}]"
        mark = "" if item.distinguishable else "not distinguishable"
        values = (spread(a.mean, a.std), spread(b.mean, b.std))
        lines.append([name, *values, signed(item.difference), bounds, _p(item, resamples), mark])
    return table([head, "A", "B", "A - B", "interval", "p", ""], lines, left=(0, 4, 5, 6))


def _class_lines(compared: Compared, top: int) -> list[str]:
    found = compared.difference.per_class
    if not found:
        return ["no AP per class: the evaluator gives 0 because a class is never predicted", ""]
    places = {name: place for place, name in enumerate(compared.results[0][0].classes)}
    names = sorted(found, key=lambda name: (-abs(found[name].difference), name))[: top or None]
    rows = [_row(compared, name, found[name], lambda result, at=places[name]: np.mean(result.ap[at])) for name in names]
    clear = sum(item.distinguishable for item in found.values())
    head = f"AP, mean over tIoUs; {clear} of {len(found)} classes distinguishable, the {len(rows)} that moved most:"
    return [head, *_table("class", rows, compared.difference.resamples), ""]


def _video_lines(compared: Compared, top: int) -> list[str]:
    names = sorted(compared.moved, key=lambda name: (-abs(compared.moved[name]), name))[: top or None]
    names = [name for name in names if compared.moved[name]]
    if not names:
        return []
    head = f"what a video adds to the average mAP, A less B; the {len(names)} videos that moved most:"
    return [head, *table([], [[name, signed(compared.moved[name])] for name in names]), ""]
