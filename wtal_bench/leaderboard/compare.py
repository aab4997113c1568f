"""What separates two methods, each of one run or several, and whether the difference means anything."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.detection_notes import refusal
from wtal_bench.data.note import Note
from wtal_bench.data.notes import as_recorded
from wtal_bench.errors import RecordError, did_you_mean, listing
from wtal_bench.evaluation import (
    BootstrapDifference,
    DetectionFile,
    EvaluationResult,
    Interval,
    Preset,
    bootstrap_difference,
    read_detections,
    refuse_unread,
    run_name,
    video_influence,
)
from wtal_bench.leaderboard.build import find_folder
from wtal_bench.leaderboard.identity import hash_rows
from wtal_bench.leaderboard.own import own_annotations, recorded_protocol
from wtal_bench.leaderboard.record import UNSCORED, StoredRecord, is_unscored, load_record, newest_record, read_record
from wtal_bench.leaderboard.rescore import Truth
from wtal_bench.leaderboard.side_notes import Shared, on_shared_videos, side_notes
from wtal_bench.protocols import OWN, Protocol, is_composed, is_own, open_protocol


@dataclass(frozen=True)
class Run:
    """One run: its name, where its detections lie, its record if it has one, and whether it had nothing to score."""

    name: str
    detections: Path
    stored: StoredRecord | None
    unscored: bool = False

    @property
    def seed(self) -> int | None:
        """The seed its record names."""
        return self.stored.record["seed"] if self.stored else None


@dataclass(frozen=True)
class Compared:
    """Two sides under one evaluator and what separates them (A minus B, fractions, means over the runs of a side).

    Attributes:
        sides: the runs of A and of B.
        results: what each of them scores.
        difference: with intervals over videos, and over runs where a side has several.
        moved: what a video adds to the average mAP of A less what it adds to that of B.
        notes: what a reader must know of the sides.
        data: what is to be said of their data: of A, of B, and of every run of it (`data.notes`).
        shared: the difference on the videos both sides have, where one lacks some.
        unscored: why nothing of A, or of B, counts; there is no verdict then.
    """

    sides: tuple[tuple[Run, ...], tuple[Run, ...]]
    protocol: str
    evaluator: str
    results: tuple[tuple[EvaluationResult, ...], tuple[EvaluationResult, ...]]
    difference: BootstrapDifference
    moved: dict[str, float]
    notes: tuple[str, ...] = ()
    data: tuple[tuple[list[Note], ...], ...] = ()
    shared: Shared | None = None
    unscored: tuple[str, ...] = ()


def find_side(words: Sequence[str], folder: str | None = None) -> tuple[Run, ...]:
    """Understand one side: any of record files, detection files, folders of runs, and ids of filed records.

    Args:
        words: as given; a folder stands for the records of the run, or of the runs one a seed, in it.
        folder: the leaderboard that ids are looked up in.

    Raises:
        RecordError: one is nothing of that, a folder holds no run, or one run stands there twice.
    """
    runs = [run for word in words for run in _find(word, folder)]
    places = [run.detections.resolve() for run in runs]
    twice = [run.name for place, run in enumerate(runs) if places[place] in places[:place]]
    if twice:
        raise RecordError(
            f"{listing(twice)}: twice on one side, with the very same detections. A run counts once, or the spread "
            "between runs would look smaller than it is."
        )
    return tuple(runs)


def _find(word: str, folder: str | None) -> list[Run]:
    path = Path(word)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        refuse_unread(path)
        if path.suffix == ".gz" or {"videos", "results"} & set(read_record(path)):
            return [Run(path.name, path, None)]
        return [_from_file(path)]
    records = sorted((find_folder(folder) / "records").rglob("*.json"))
    found = [record for record in records if record.stem == word]
    if not found:
        raise RecordError(
            f"{word!r} is no file, no folder and no record id in {find_folder(folder) / 'records'} ({len(records)} "
            f"records).{did_you_mean(word, [record.stem for record in records])}"
        )
    return [_run(load_record(found[0]))]


def _from_file(path: Path) -> Run:
    """A run by its record; of one that is none (a run of one's own before those were), its detections."""
    value = read_record(path)
    if "schema" in value or "metrics" not in value:
        return _run(load_record(path))
    name = (value.get("detections") or {}).get("file")
    found = path.parent / name if isinstance(name, str) and Path(name).name == name else None
    if found is None or not found.is_file():
        raise RecordError(
            f"{path} is no record (it has no schema: nothing was scored, or an older version wrote it), and its "
            f"detections {name!r} are not beside it. Compare detection files, or train or test again."
        )
    return Run(path.parent.parent.name or path.name, found, None, is_unscored(value))


def _in_folder(path: Path) -> list[Run]:
    runs = [path] if newest_record(path) else [run for run in sorted(path.glob("seed*")) if run.is_dir()]
    records = [record for run in runs if (record := newest_record(run)) is not None]
    if not records:
        raise RecordError(
            f"{path} holds no finished run: no record lies in {path / 'record'} or {path / 'seed*' / 'record'}. Name "
            "the --work-dir of a `train`, or a record."
        )
    return sorted(map(_from_file, records), key=lambda run: (run.seed is not None, run.seed, run.name))


def _run(stored: StoredRecord) -> Run:
    return Run(stored.record["id"], stored.detections_path, stored)


def common_truth(
    runs: Sequence[Run], asked: str | None, path: str | Path | None = None
) -> tuple[Protocol, Annotations]:
    """The one protocol all runs were, or are to be, scored by, and its annotations.

    Args:
        runs: of both sides; one without a record leaves the choice to `asked`.
        asked: a protocol's name ("own": that of `path`), or None.
        path: annotation file; of one's own data, found beside a run or on its leaderboard where it is not given.

    Raises:
        RecordError: nobody names a protocol, or two are named.
        DataError: no annotations.
    """
    stored = {run.stored.record["protocol"]["name"]: run.stored for run in runs if run.stored}
    named = set(stored)
    named |= {asked} if asked and not (asked == OWN and named and all(map(is_own, named))) else set()
    bare = next((run for run in runs if run.unscored), None)
    if not named and bare:
        raise RecordError(
            f"{bare.detections.parent} is of a run without a record: {UNSCORED}. Compare by annotations that "
            "have times: --protocol own --annotations FILE."
        )
    if not named:
        raise RecordError("detection files do not say by which protocol they are scored: add --protocol thumos14/v1.")
    if len(named) > 1:
        raise RecordError(
            f"{' and '.join(sorted(named))} cannot be compared: numbers of two protocols are on two scales. Score the "
            "detections of both by one (give the .json.gz files and --protocol)."
        )
    name = named.pop()
    if (is_own(name) or is_composed(name)) and path is None and name in stored:
        path = own_annotations(stored[name].path.parent, recorded_protocol(stored[name].record["protocol"]))
    return open_protocol(name, path)


def refuse_other_annotations(runs: Sequence[Run], truth: Annotations) -> None:
    """Refuse to score a record's detections on other annotations than it was scored on.

    Raises:
        RecordError: the text names both.
    """
    for run in (run for run in runs if run.stored):
        why = Truth(truth, recorded_protocol(run.stored.record["protocol"])).refuses(run.stored.record)
        if why:
            raise RecordError(
                f"{run.name} was {why}. Give the right file with --annotations, or compare the detection files "
                "themselves."
            )


def compare(
    sides: Sequence[Sequence[Run]],
    protocol: Protocol,
    truth: Annotations,
    evaluator: str | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Compared:
    """Score the runs of both sides and bootstrap the difference of their means.

    Raises:
        WtalError: no such evaluator, or detections that cannot be scored.
    """
    name = evaluator or protocol.main
    if name not in protocol.variants:
        known = ", ".join(protocol.variants)
        raise RecordError(
            f"{protocol.name} has no evaluator {name!r}; it has {known}.{did_you_mean(name, protocol.variants)}"
        )
    preset = next(preset for preset in protocol.presets if preset.name == name)
    files = [[read_detections(run.detections, protocol.classes) for run in side] for side in sides]
    results = tuple(tuple(_result(file, preset, protocol, truth) for file in side) for side in files)
    data = tuple(
        tuple(side_notes(*run, protocol, truth) for run in zip(read, scored, (run.stored for run in side)))
        for side, read, scored in zip(sides, files, results)
    )
    shared = on_shared_videos(files, preset, protocol, truth, resamples, seed)
    difference = bootstrap_difference(*results, resamples=resamples, seed=seed, averages=protocol.averages)
    first, second = ([video_influence(result) for result in side] for side in results)
    moved = {video: _mean(first, video) - _mean(second, video) for video in first[0]}
    both = (tuple(sides[0]), tuple(sides[1]))
    noted = (*_notes(both, results), *_alike(both, files, results, protocol), *_lengths(both))
    unscored = tuple(_unscored(files, protocol, truth))
    return Compared(both, protocol.name, name, results, difference, moved, noted, data, shared, unscored)


def _unscored(files: Sequence[Sequence[DetectionFile]], protocol: Protocol, truth: Annotations) -> Iterator[str]:
    """Sides of which no row counts: names that fit nothing, not a bad method."""
    for letter, side in zip("AB", files):
        reasons = [refusal(file, truth, protocol.subset) for file in side]
        if all(reasons):
            yield f"of {letter} nothing counts: {reasons[0].partition(':')[0]}"


def _mean(influences: Sequence[dict[str, float]], video: str) -> float:
    return float(np.mean([influence[video] for influence in influences]))


def _notes(sides: Sequence[Sequence[Run]], results: Sequence[Sequence[EvaluationResult]]) -> list[str]:
    """What makes the runs of a side other than one experiment repeated with other seeds."""
    notes = []
    for letter, side, scored in zip("AB", sides, results):
        names = [run_name([*result.mAP, *result.ap.ravel()]) for result in scored]
        copies = [
            run.name for run, name, result in zip(side, names, scored) if names.count(name) > 1 and result.average
        ]
        if copies:
            notes.append(
                f"{listing(copies)} of {letter} score the same in every class: copies of one run make the spread "
                "between runs look smaller than it is"
            )
        stored = [run.stored.record for run in side if run.stored]
        keys = ("method", "variant", "config_hash", "selection")
        differs = [key for key in keys if len({record[key] for record in stored}) > 1]
        if differs:
            notes.append(
                f"the runs of {letter} differ in their {' and '.join(differs)}: they are not one experiment repeated, "
                "and their spread is not that between seeds"
            )
        seeds = [record["seed"] for record in stored if record["seed"] is not None]
        doubled = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if doubled and not differs:
            notes.append(f"seed {listing(map(str, doubled))} stands twice in {letter}: runs of one seed are no sample")
    return notes


def _alike(
    sides: Sequence[Sequence[Run]],
    files: Sequence[Sequence[DetectionFile]],
    results: Sequence[Sequence[EvaluationResult]],
    protocol: Protocol,
) -> Iterator[str]:
    """What stands on both sides: the same run, or the same detections under another name."""
    runs, read = list(itertools.product(*sides)), itertools.product(*files)
    for (a, b), (ours, theirs), scored in zip(runs, read, itertools.product(*results)):
        if a.detections.resolve() == b.detections.resolve():
            yield f"{a.name} stands on both sides: a run compared with itself says nothing"
        elif len({run_name(result.mAP) for result in scored}) == 1 and _rows(ours, protocol) == _rows(theirs, protocol):
            yield f"{a.name} of A and {b.name} of B have identical detections: they are one run under two names"


def _rows(file: DetectionFile, protocol: Protocol) -> str:
    return hash_rows(file.videos, protocol.classes)


def _lengths(sides: Sequence[Sequence[Run]]) -> Iterator[str]:
    """How long the two were trained, where their records say that it was not equally long."""
    trained = [
        dict.fromkeys(
            ", ".join(f"{count} {unit}" for unit, count in run.stored.record["trained"].items())
            for run in side
            if run.stored and run.stored.record.get("trained")
        )
        for side in sides
    ]
    if all(trained) and set(trained[0]) != set(trained[1]):
        a, b = map(listing, trained)
        yield f"A was trained for {a}, B for {b}: part of the difference may be that"


def gain(
    ours: Sequence[Run],
    theirs: Sequence[Run],
    protocol: Protocol,
    truth: Annotations,
    resamples: int = 2000,
    seed: int = 0,
    evaluator: str | None = None,
    tious: Sequence[float] | None = None,
) -> Interval:
    """An average of one experiment less that of another, means over their runs; the interval covers videos and runs.

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
    preset = next(preset for preset in protocol.presets if preset.name == (evaluator or protocol.main))
    scored = (
        [_result(read_detections(run.detections, protocol.classes), preset, protocol, truth) for run in runs]
        for runs in (ours, theirs)
    )
    wanted = protocol.averages[protocol.headline] if tious is None else tious
    return bootstrap_difference(*scored, resamples=resamples, seed=seed, averages={"": wanted}).averages[""]


def _result(file: DetectionFile, preset: Preset, protocol: Protocol, truth: Annotations) -> EvaluationResult:
    return preset.evaluate(file.table(), protocol.ground_truth(truth), protocol.tious)


def as_json(compared: Compared) -> dict[str, Any]:
    """Everything, unrounded: fractions, A minus B, means over the runs of a side, and what each run has."""
    found = compared.difference
    letters = dict(zip("ab", zip(compared.sides, compared.results)))
    return {
        **{letter: [run.name for run in runs] for letter, (runs, _) in letters.items()},
        "protocol": compared.protocol,
        "evaluator": compared.evaluator,
        "tious": list(found.tious),
        "mAP": {
            letter: np.mean([result.mAP for result in results], axis=0).tolist()
            for letter, (_, results) in letters.items()
        },
        "runs": {
            letter: [
                {"name": run.name, "seed": run.seed, "mAP": result.mAP.tolist()} for run, result in zip(runs, results)
            ]
            for letter, (runs, results) in letters.items()
        },
        "resamples": found.resamples,
        "draw": found.draw,
        "covers_runs": {letter: count > 1 for letter, count in zip("ab", found.runs)},
        "per_tiou": [_interval(item, found) for item in found.per_tiou],
        "averages": {name: _interval(item, found) for name, item in found.averages.items()},
        "classes": {name: _interval(item, found) for name, item in found.per_class.items()},
        "videos": compared.moved,
        "notes": list(compared.notes),
        "data": {
            letter: [as_recorded(notes) for notes in side] for letter, side in zip("ab", compared.data, strict=False)
        },
        "shared": _shared(compared.shared),
        "unscored": list(compared.unscored),
    }


def _shared(shared: Shared | None) -> dict[str, Any] | None:
    if shared is None:
        return None
    averages = {} if shared.difference is None else shared.difference.averages
    return {
        "videos": shared.videos,
        "of": shared.of,
        "a": shared.counts[0],
        "b": shared.counts[1],
        "averages": {name: _interval(item, shared.difference) for name, item in averages.items()},
    }


def _interval(item: Interval, of: BootstrapDifference) -> dict[str, Any]:
    """An interval; where no replicate lies beyond 0, its p-value is the bound that so many replicates give."""
    least = 1 / (of.resamples + 1)
    return {**asdict(item), "p_value": max(item.p_value, least), "distinguishable": item.distinguishable}
