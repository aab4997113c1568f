"""What separates two runs, and whether the difference means anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import RecordError, did_you_mean
from wtal_bench.evaluation import (
    BootstrapDifference,
    DetectionTable,
    EvaluationResult,
    Interval,
    bootstrap_difference,
    bootstrap_gain,
    read_detections,
    video_influence,
)
from wtal_bench.leaderboard.build import find_folder
from wtal_bench.leaderboard.record import StoredRecord, load_record, read_record
from wtal_bench.leaderboard.rescore import Truth
from wtal_bench.leaderboard.rows import span_order
from wtal_bench.protocols import Protocol, get_protocol
from wtal_bench.text import percent, signed, table


@dataclass(frozen=True)
class Side:
    """One of the two: its name, where its detections lie, and its record if it has one."""

    name: str
    detections: Path
    stored: StoredRecord | None


@dataclass(frozen=True)
class Compared:
    """Two results under one evaluator and what separates them (A minus B, fractions)."""

    names: tuple[str, str]
    protocol: str
    evaluator: str
    results: tuple[EvaluationResult, EvaluationResult]
    difference: BootstrapDifference
    moved: dict[str, float]


def find_side(text: str, folder: str | None = None) -> Side:
    """Understand one argument: a file, or the id of a filed record.

    Raises:
        RecordError: it is neither.
    """
    path = Path(text)
    if path.is_file():
        if path.suffix == ".gz" or {"videos", "results"} & set(read_record(path)):
            return Side(path.name, path, None)
        stored = load_record(path)
        return Side(stored.record["id"], stored.detections_path, stored)
    records = sorted((find_folder(folder) / "records").rglob("*.json"))
    found = [record for record in records if record.stem == text]
    if not found:
        raise RecordError(
            f"{text!r} is no file and no record id in {find_folder(folder) / 'records'} ({len(records)} records)."
            f"{did_you_mean(text, [record.stem for record in records])}"
        )
    stored = load_record(found[0])
    return Side(text, stored.detections_path, stored)


def common_protocol(sides: Sequence[Side], asked: str | None) -> Protocol:
    """The one protocol both sides were, or are to be, scored by.

    Args:
        sides: the two; a side without a record leaves the choice to `asked`.
        asked: a protocol's name, or None.

    Raises:
        RecordError: nobody names a protocol, or two are named.
    """
    named = {side.stored.record["protocol"]["name"] for side in sides if side.stored}
    named |= {asked} if asked else set()
    if not named:
        raise RecordError("detection files do not say by which protocol they are scored: add --protocol thumos14/v1.")
    if len(named) > 1:
        raise RecordError(
            f"{' and '.join(sorted(named))} cannot be compared: numbers of two protocols are on two scales. Score the "
            "detections of both by one (give the .json.gz files and --protocol)."
        )
    return get_protocol(named.pop())


def refuse_other_annotations(sides: Sequence[Side], truth: Annotations) -> None:
    """Refuse to score a record's detections on other annotations than it was scored on.

    Raises:
        RecordError: the text names both.
    """
    for side in (side for side in sides if side.stored):
        why = Truth(truth, get_protocol(side.stored.record["protocol"]["name"])).refuses(side.stored.record)
        if why:
            raise RecordError(
                f"{side.name} was {why}. Give the right file with --annotations, or compare the detection files "
                "themselves."
            )


def compare(
    sides: Sequence[Side],
    protocol: Protocol,
    truth: Annotations,
    evaluator: str | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Compared:
    """Score both sides and bootstrap the difference.

    Raises:
        WtalError: no such evaluator, or detections that cannot be scored.
    """
    name = evaluator or protocol.main
    if name not in protocol.variants:
        known = ", ".join(protocol.variants)
        raise RecordError(
            f"{protocol.name} has no evaluator {name!r}; it has {known}.{did_you_mean(name, protocol.variants)}"
        )
    a, b = (_result(side, protocol, truth, name) for side in sides)
    difference = bootstrap_difference(a, b, resamples=resamples, seed=seed, averages=protocol.averages)
    first, second = video_influence(a), video_influence(b)
    moved = {video: first[video] - second[video] for video in first}
    return Compared((sides[0].name, sides[1].name), protocol.name, name, (a, b), difference, moved)


def gain(
    ours: Sequence[Side],
    theirs: Sequence[Side],
    protocol: Protocol,
    truth: Annotations,
    resamples: int = 2000,
    seed: int = 0,
    evaluator: str | None = None,
    tious: Sequence[float] | None = None,
) -> Interval:
    """An average of one experiment less that of another, means over their runs.

    Args:
        ours, theirs: the runs.
        protocol, truth: what they are scored by and on.
        resamples, seed: of the bootstrap.
        evaluator: None = the protocol's main one.
        tious: what the average is over; None = the widest one of the protocol.

    Raises:
        WtalError: detections that cannot be scored, or runs that were scored on other annotations.
    """
    refuse_other_annotations((*ours, *theirs), truth)
    scored = (
        [_result(side, protocol, truth, evaluator or protocol.main) for side in sides] for sides in (ours, theirs)
    )
    widest = max(protocol.averages, key=span_order)
    return bootstrap_gain(
        *scored, protocol.averages[widest] if tious is None else tious, resamples=resamples, seed=seed
    )


def report(compared: Compared, protocol: Protocol, top: int = 10) -> str:
    """Spell the comparison as text: per tIoU, averages, classes, videos, and the verdict."""
    (a, b), found = compared.results, compared.difference
    widest = max(protocol.averages, key=span_order)
    rows = [(f"{t:g}", x, y, i) for t, x, y, i in zip(found.tious, a.mAP.tolist(), b.mAP.tolist(), found.per_tiou)]
    for name, tious in protocol.averages.items():
        rows.append((name, a.average_over(tious), b.average_over(tious), found.averages[name]))
    lines = [
        f"A  {compared.names[0]}",
        f"B  {compared.names[1]}",
        f"{compared.protocol}, {compared.evaluator}: {a.counts.videos} videos, {a.counts.instances} instances; "
        f"paired bootstrap over videos, {found.resamples} resamples, 95 % intervals of A - B, percent points",
        "",
        *_table("mAP at", rows),
        "",
        *_class_lines(compared, top),
        *_video_lines(compared, top),
        verdict(found.averages[widest], widest),
    ]
    return "\n".join(lines)


def verdict(interval: Interval, name: str) -> str:
    """Say plainly whether the two can be told apart."""
    text = f"{signed(interval.difference)} [{signed(interval.low)}, {signed(interval.high)}]"
    if not interval.distinguishable:
        return (
            f"not distinguishable: A - B = {text} for {name}; other test videos could turn the order round. "
            "This covers the choice of videos, not the spread between seeds."
        )
    better = "A" if interval.difference > 0 else "B"
    return (
        f"{better} is better on these videos: A - B = {text} for {name}. This covers the choice of videos, not the "
        "spread between seeds: compare several of each."
    )


def as_json(compared: Compared) -> dict[str, Any]:
    """Everything, unrounded: fractions, A minus B."""
    a, b = compared.results
    found = compared.difference
    return {
        "a": compared.names[0],
        "b": compared.names[1],
        "protocol": compared.protocol,
        "evaluator": compared.evaluator,
        "tious": list(found.tious),
        "mAP": {"a": a.mAP.tolist(), "b": b.mAP.tolist()},
        "resamples": found.resamples,
        "draw": found.draw,
        "per_tiou": [_interval(item) for item in found.per_tiou],
        "averages": {name: _interval(item) for name, item in found.averages.items()},
        "classes": {name: _interval(item) for name, item in found.per_class.items()},
        "videos": compared.moved,
    }


def _interval(item: Interval) -> dict[str, Any]:
    return {**asdict(item), "distinguishable": item.distinguishable}


def _result(side: Side, protocol: Protocol, truth: Annotations, evaluator: str) -> EvaluationResult:
    found = read_detections(side.detections, protocol.classes)
    preset = next(preset for preset in protocol.presets if preset.name == evaluator)
    return preset.evaluate(DetectionTable.from_videos(found.videos), protocol.ground_truth(truth), protocol.tious)


def _table(head: str, rows: Sequence[tuple[str, float | None, float | None, Interval]]) -> list[str]:
    lines = []
    for name, a, b, item in rows:
        bounds = f"[{signed(item.low)}, {signed(item.high)}]"
        mark = "" if item.distinguishable else "not distinguishable"
        lines.append([name, percent(a), percent(b), signed(item.difference), bounds, mark])
    return table([head, "A", "B", "A - B", "interval", ""], lines, left=(0, 4, 5))


def _class_lines(compared: Compared, top: int) -> list[str]:
    found = compared.difference.per_class
    if not found:
        return ["no AP per class: the evaluator gives 0 because a class is never predicted", ""]
    a, b = (dict(zip(result.classes, result.ap.mean(axis=1).tolist())) for result in compared.results)
    names = sorted(found, key=lambda name: (-abs(found[name].difference), name))
    rows = [(name, a[name], b[name], found[name]) for name in names[: top or None]]
    clear = sum(item.distinguishable for item in found.values())
    head = f"AP, mean over tIoUs; {clear} of {len(found)} classes distinguishable, the {len(rows)} that moved most:"
    return [head, *_table("class", rows), ""]


def _video_lines(compared: Compared, top: int) -> list[str]:
    names = sorted(compared.moved, key=lambda name: (-abs(compared.moved[name]), name))[: top or None]
    names = [name for name in names if compared.moved[name]]
    if not names:
        return []
    head = f"what a video adds to the average mAP, A less B; the {len(names)} videos that moved most:"
    return [head, *table([], [[name, signed(compared.moved[name])] for name in names]), ""]
