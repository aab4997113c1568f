"""Filing rows: a row enters, and stays, only as far as its stored detections bear it out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wtal_bench import __version__
from wtal_bench.data.coverage import TEST, Coverage, cover
from wtal_bench.data.detection_notes import refusal
from wtal_bench.data.note import Note
from wtal_bench.data.notes import as_recorded, data_notes
from wtal_bench.data.progress import track
from wtal_bench.errors import RecordError, listing
from wtal_bench.evaluation import DetectionFile, DetectionTable, read_detections
from wtal_bench.files import write_json
from wtal_bench.leaderboard import shelf
from wtal_bench.leaderboard.columns import lacking, with_columns
from wtal_bench.leaderboard.duplicates import duplicate_problems, look_alike_problems
from wtal_bench.leaderboard.identity import record_folder
from wtal_bench.leaderboard.own import keep_annotations, protocol_block
from wtal_bench.leaderboard.recall import Memory
from wtal_bench.leaderboard.record import StoredRecord, load_record, load_records, write_record
from wtal_bench.leaderboard.rescore import (
    DIFFERS,
    SAME,
    Truth,
    Verification,
    bootstrap_block,
    finder,
    score_again,
    truth_for,
)
from wtal_bench.leaderboard.validate import filing_problems
from wtal_bench.protocols import Protocol, load_annotations
from wtal_bench.reading import read_bytes

_LOG = logging.getLogger("wtal_bench")


def file_measured(
    root: Path, path: str | Path, annotations: str | Path | None = None, *, replace: bool = False
) -> tuple[Path, Verification]:
    """File a run's record: check it, score its detections again, copy both under `root`.

    Args:
        root: the leaderboard's `records` folder.
        path: the record in the run's folder, its detections beside it.
        annotations: file to score with; found by itself otherwise. Without any, the row is filed, but not ranked.
        replace: take the place of filed records this one repeats.

    Returns:
        The filed JSON, and whether its numbers were borne out.

    Raises:
        RecordError: it breaks a rule, repeats a filed record, or its numbers do not follow from its detections.
    """
    stored = load_record(path)
    if problems := filing_problems(stored.record):
        raise RecordError(f"{path} stays in its run's folder: {problems[0]}.")
    truth = truth_for(stored, annotations)
    verdict, scored = score_again(stored, truth)
    if verdict.state == DIFFERS:
        raise RecordError(f"{path} is refused: {verdict.why}. File what the detections give, not what was edited.")
    record = stored.record if scored is None else with_columns(stored.record, scored.variants, scored.bootstrap)

    def write(folder: Path) -> Path:
        with open(folder / stored.detections_path.name, "wb") as stream:
            stream.write(read_bytes(stored.detections_path, kind=RecordError))
        write_json(folder / f"{record['id']}.json", record)
        return folder / f"{record['id']}.json"

    filed = _shelve(root, record, write, replace)
    if isinstance(truth, Truth) and truth.protocol.made_by_annotations and verdict.state == SAME:
        keep_annotations(root.parent, truth.annotations)
    return filed, verdict


def file_external(
    root: Path,
    detections: str | Path,
    protocol: Protocol,
    terms: Mapping[str, Any],
    annotations: str | Path | None = None,
    *,
    replace: bool = False,
) -> tuple[Path, list[Note]]:
    """Score somebody's detections by a protocol and file them as an external row.

    Args:
        root: the leaderboard's `records` folder.
        detections: a detection file (`.json`, `.json.gz`).
        protocol: the protocol that scores it.
        terms: method, and optionally variant, selection, supervision, extractor, url.
        annotations: file to score with; found by itself otherwise.
        replace: take the place of filed records this one repeats.

    Returns:
        The filed JSON, and the notes on its data.

    Raises:
        WtalError: no annotations, a detection file that cannot be scored, a broken rule or a repeated row.
    """
    truth = Truth(load_annotations(protocol, annotations), protocol)
    found = read_detections(detections, protocol.classes)
    if why := refusal(found, truth.annotations, protocol.subset):
        raise RecordError(f"{detections} is not filed: {why}")
    results = protocol.evaluate(DetectionTable.from_videos(found.videos), truth.annotations)
    coverage, notes = _looked_at(found, truth, protocol.report(results))
    record = {
        "source": "external",
        "protocol": protocol_block(protocol),
        "method": terms["method"],
        "variant": terms.get("variant", ""),
        "supervision": terms.get("supervision", "weak"),
        "selection": terms["selection"],
        "components": [],
        "distributions": [],
        "config": {},
        "features": {"manifest_hash": None, "extractor": terms.get("extractor", ""), "synthetic": protocol.synthetic},
        "annotations": {"sha256": truth.annotations.sha256, "splits": truth.contents},
        "seed": None,
        "trained": None,
        "metrics": protocol.report(results),
        "bootstrap": bootstrap_block(protocol, results),
        "environment": {"wtal_bench": __version__},
        "cost": {},
        **({"url": terms["url"]} if terms.get("url") else {}),
        "data": {"splits": {TEST: coverage.as_dict()}, "notes": as_recorded(notes)},
    }
    if problems := filing_problems(record):
        raise RecordError(f"{detections} is not filed: {problems[0]}.")

    def write(folder: Path) -> Path:
        return write_record(folder, record, found.videos, protocol.classes, source=detections)

    return _shelve(root, record, write, replace), notes


def _looked_at(found: DetectionFile, truth: Truth, metrics: Mapping[str, Any]) -> tuple[Coverage, list[Note]]:
    """Which test videos a detection file names, and what is odd about it."""
    protocol, annotations = truth.protocol, truth.annotations
    wanted = [video for video in annotations.subset(protocol.subset) if annotations.videos[video].segments]
    used = [video for video in wanted if video in found.videos]
    presets = {preset.name: (*preset.exclude, *preset.untested) for preset in protocol.presets}
    coverage = cover(TEST, protocol.subset, annotations, wanted, used, there=found.videos, presets=presets)
    notes = data_notes(
        protocol,
        annotations,
        coverage=[coverage],
        detections=found,
        exclude=protocol.presets[0].exclude,
        metrics=metrics,
    )
    return coverage, notes


def verify(root: Path, annotations: Iterable[str | Path] = ()) -> Iterator[Verification]:
    """Score the stored detections of every filed record again and compare every number, unrounded.

    Nothing is taken from the cache.

    Args:
        root: the leaderboard's `records` folder.
        annotations: annotation files to use; others are found by themselves. A record is scored on what it names, or
            not at all.
    """
    find = finder(annotations)
    records = load_records(root)
    for stored in track(records, len(records), "scoring again"):
        yield score_again(stored, find(stored))[0]


def complete(records: Iterable[StoredRecord], annotations: Iterable[str | Path] = ()) -> list[Path]:
    """Add the columns that filed records lack because their protocol has got further evaluators since.

    Each comes from the record's stored detections; what it holds already must be borne out by them, and stays as it is.
    A record whose annotations are not there keeps lacking the columns: the tables print `-`.

    Args:
        records: what is filed.
        annotations: annotation files to use; others are found by themselves.

    Returns:
        The records rewritten.
    """
    incomplete, find = [stored for stored in records if wanting(stored)], finder(annotations)
    changed = []
    for stored in track(incomplete, len(incomplete), "adding columns"):
        verdict, scored = score_again(stored, find(stored))
        if verdict.state == SAME:
            write_json(stored.path, with_columns(stored.whole().record, scored.variants, scored.bootstrap))
            changed.append(stored.path)
        elif lacking(stored.record):
            names = listing(lacking(stored.record))
            _LOG.warning("%s gets no column %s (%s): %s", verdict.record, names, verdict.state, verdict.why)
    return changed


def wanting(stored: StoredRecord) -> bool:
    """Whether a record lacks a column of its protocol, or its replicates."""
    return bool(lacking(stored.record)) or "bootstrap" not in stored.record


def _shelve(root: Path, record: Mapping[str, Any], write: Any, replace: bool) -> Path:
    def replaced(stored: StoredRecord) -> list[Path]:
        return [item.path for item in _repeated(root, stored.record, replace)]

    with shelf.writing(root):
        return shelf.place(record_folder(root, record), write, replaced)


def _repeated(root: Path, record: Mapping[str, Any], replace: bool) -> list[StoredRecord]:
    """Return the filed records this one repeats; refuse unless they are to be replaced."""
    memory = Memory(root.parent)
    filed = load_records(root, memory.seen, memory.parts.records)
    repeated = [item for item in filed if duplicate_problems([(str(item.path), item.record), ("this record", record)])]
    if repeated and not replace:
        raise RecordError(duplicate_problems([(str(repeated[0].path), repeated[0].record), ("this record", record)])[0])
    others = [(str(item.path), item.record) for item in filed if item not in repeated]
    if problems := look_alike_problems([*others, ("this record", record)]):
        raise RecordError(problems[0])
    return repeated
