"""Filing rows and scoring them again: a row enters, and stays, only as far as its stored detections bear it out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from wtal_bench import __version__
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.progress import track
from wtal_bench.errors import RecordError, WtalError, listing
from wtal_bench.evaluation import DetectionTable, EvaluationResult, bootstrap_map, read_detections, resample_videos
from wtal_bench.files import atomic_write, write_json
from wtal_bench.leaderboard.columns import held, lacking, shown, with_columns
from wtal_bench.leaderboard.identity import record_folder
from wtal_bench.leaderboard.record import StoredRecord, load_record, load_records, read_record, write_record
from wtal_bench.leaderboard.rows import span_order
from wtal_bench.leaderboard.validate import BESIDE_DETECTION, duplicate_problems, filing_problems
from wtal_bench.protocols import Protocol, get_protocol, load_annotations
from wtal_bench.structures import Detections
from wtal_bench.temporary import temporary_for

_LOG = logging.getLogger("wtal_bench")

RESAMPLES = 1000
"""Bootstrap replicates stored with a filed record."""

SCORE_TOLERANCE = 1e-12
"""Numpy builds add in different orders; anything beyond their last bits is another score."""


@dataclass(frozen=True)
class Verification:
    """Whether a record's numbers follow from its stored detections.

    `state` is "same", "differs" or "not verified"; `why` explains the last two. `lacks` names the evaluators of its
    protocol for which it has no column (`complete` adds them); that is no fault of the record.
    """

    record: str
    state: str
    why: str = ""
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Scored:
    """A record's stored detections under every evaluator of its protocol: the columns and their bootstrap."""

    variants: dict[str, Any]
    bootstrap: dict[str, Any]


def bootstrap_block(
    protocol: Protocol, results: Mapping[str, EvaluationResult], resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Return a record's `bootstrap`: replicates of its widest average, so that any two rows can be compared later.

    The draw depends on the ids of the evaluated videos alone; equal draws pair up across records.

    Args:
        protocol: what was scored.
        results: what `protocol.evaluate` returned.
        resamples: replicates.
    """
    span = max(protocol.averages, key=span_order)
    columns = [protocol.tious.index(tiou) for tiou in protocol.averages[span]]
    draw, values = {}, {}
    for name, result in results.items():
        resample = resample_videos(result.matches.videos[: result.matches.evaluated], resamples)
        draw[name] = resample.draw
        values[name] = [round(value, 6) for value in bootstrap_map(result, resample)[:, columns].mean(axis=1).tolist()]
    return {"resamples": resamples, "draw": draw, "values": values}


def file_measured(
    root: Path, path: str | Path, annotations: str | Path | None = None, *, replace: bool = False
) -> tuple[Path, Verification]:
    """File a run's record: check it, score its detections again, copy both under `root`.

    Args:
        root: the leaderboard's `records` folder.
        path: the record in the run's folder, its detections beside it.
        annotations: file to score with; found by itself otherwise. Without any, the row is filed unverified.
        replace: take the place of filed records this one repeats.

    Returns:
        The filed JSON, and whether its numbers were borne out.

    Raises:
        RecordError: it breaks a rule, repeats a filed record, or its numbers do not follow from its detections.
    """
    stored = load_record(path)
    problems = filing_problems(stored.record)
    if problems:
        raise RecordError(f"{path} stays in its run's folder: {problems[0]}.")
    verdict, scored = _score_again(stored, _truth(stored.record["protocol"]["name"], annotations))
    if verdict.state == "differs":
        raise RecordError(f"{path} is refused: {verdict.why}. File what the detections give, not what was edited.")
    record = stored.record if scored is None else with_columns(stored.record, scored.variants, scored.bootstrap)
    repeated = _repeated(root, record, replace)
    folder = record_folder(root, record)
    target = folder / record["detections"]["file"]
    with atomic_write(target, "wb") as stream:
        stream.write(stored.detections_path.read_bytes())
    write_json(folder / f"{record['id']}.json", record)
    _remove(root, repeated, folder / f"{record['id']}.json")
    return folder / f"{record['id']}.json", verdict


def file_external(
    root: Path,
    detections: str | Path,
    protocol: Protocol,
    terms: Mapping[str, Any],
    annotations: str | Path | None = None,
    *,
    replace: bool = False,
) -> tuple[Path, list[str]]:
    """Score somebody's detections by a protocol and file them as an external row.

    Args:
        root: the leaderboard's `records` folder.
        detections: a detection file (`.json`, `.json.gz`).
        protocol: the protocol that scores it.
        terms: method, and optionally variant, selection, supervision, extractor, url.
        annotations: file to score with; found by itself otherwise.
        replace: take the place of filed records this one repeats.

    Returns:
        The filed JSON, and what the file has that is probably not meant.

    Raises:
        WtalError: no annotations, a detection file that cannot be scored, a broken rule or a repeated row.
    """
    truth = load_annotations(protocol, annotations)
    found = read_detections(detections, protocol.classes)
    results = protocol.evaluate(DetectionTable.from_videos(found.videos), truth)
    record = {
        "source": "external",
        "protocol": {"name": protocol.name, "hash": protocol.hash},
        "method": terms["method"],
        "variant": terms.get("variant", ""),
        "supervision": terms.get("supervision", "weak"),
        "selection": terms["selection"],
        "components": [],
        "config": {},
        "features": {"manifest_hash": None, "extractor": terms.get("extractor", ""), "synthetic": protocol.synthetic},
        "annotations": {"sha256": truth.sha256},
        "seed": None,
        "metrics": protocol.report(results),
        "bootstrap": bootstrap_block(protocol, results),
        "environment": {"wtal_bench": __version__},
        "cost": {},
        "git": {"commit": None, "dirty": None},
        **({"url": terms["url"]} if terms.get("url") else {}),
    }
    folder = record_folder(root, record)
    folder.mkdir(parents=True, exist_ok=True)
    # written whole in a hidden folder beside the target, then moved: a crash leaves nothing that looks filed
    with temporary_for(folder / "row", folder=True) as scratch:
        written = write_record(scratch, record, found.videos, protocol.classes)
        stored = load_record(written)
        repeated = _repeated(root, stored.record, replace)
        final = folder / written.name
        os.replace(stored.detections_path, folder / stored.detections_path.name)
        os.replace(written, final)
    _remove(root, repeated, final)
    return final, [*protocol.split_notes(truth), *found.review(truth, protocol.subset)]


def verify(root: Path, annotations: Iterable[str | Path] = ()) -> Iterator[Verification]:
    """Score the stored detections of every filed record again and compare every number, unrounded.

    Args:
        root: the leaderboard's `records` folder.
        annotations: annotation files to use; others are found by themselves. A record is scored on the file whose
            hash it names, or not at all.
    """
    find = _finder(annotations)
    records = load_records(root)
    for stored in track(records, len(records), "scoring again"):
        yield _score_again(stored, find(stored))[0]


def _truth(protocol: str, path: str | Path | None = None) -> Annotations | str:
    """The annotations of a protocol, or why there are none; a file asked for by name must be there."""
    try:
        return load_annotations(get_protocol(protocol), path)
    except WtalError as error:
        if path is not None:
            raise
        return str(error)


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
    wanting = [stored for stored in records if lacking(stored.record)]
    find = _finder(annotations)
    changed = []
    for stored in track(wanting, len(wanting), "adding columns"):
        verdict, scored = _score_again(stored, find(stored))
        if verdict.state == "same":
            write_json(stored.path, with_columns(stored.record, scored.variants, scored.bootstrap))
            changed.append(stored.path)
        else:
            names = listing(lacking(stored.record))
            _LOG.warning("%s gets no column %s (%s): %s", verdict.record, names, verdict.state, verdict.why)
    return changed


def _finder(annotations: Iterable[str | Path]) -> Callable[[StoredRecord], Annotations | str]:
    """Look up what a record is scored on: the file whose hash it names among those given, else its protocol's own."""
    given = {item.sha256: item for item in map(Annotations.load, annotations)}
    found = cache(_truth)

    def find(stored: StoredRecord) -> Annotations | str:
        return given.get(stored.record["annotations"]["sha256"]) or found(stored.record["protocol"]["name"])

    return find


def _score_again(stored: StoredRecord, truth: Annotations | str) -> tuple[Verification, _Scored | None]:
    """Compare a record with its detections' scores; give the scores where they could be made."""
    record, name = stored.record, stored.record["id"]
    protocol = get_protocol(record["protocol"]["name"])
    if isinstance(truth, str):
        return Verification(name, "not verified", truth), None
    wanted = record["annotations"]["sha256"]
    if truth.sha256 != wanted:
        why = f"scored on annotations {wanted[:12]}, here is {truth.sha256[:12]} ({truth.path})"
        return Verification(name, "not verified", why), None
    found = read_detections(stored.detections_path, protocol.classes, strict=True)
    results = protocol.evaluate(DetectionTable.from_videos(found.videos), truth)
    block = bootstrap_block(protocol, results, record.get("bootstrap", {}).get("resamples", RESAMPLES))
    report, names, mine = protocol.report(results), held(record), shown(record)
    differences = list(_count_differences(record, found.videos))
    differences += _differences(mine["metrics"], {**report, "variants": _only(report["variants"], names)}, "metrics")
    if "bootstrap" in record and not differences:
        again = {**block, **{part: _only(block[part], names) for part in ("draw", "values")}}
        differences += _differences(mine["bootstrap"], again, "bootstrap", tolerance=2e-6)
    scored, lacks = _Scored(report["variants"], block), tuple(lacking(record))
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        why = f"its stored detections do not give its numbers: {'; '.join(differences[:3])}{more}"
        return Verification(name, "differs", why, lacks), scored
    return Verification(name, "same", lacks=lacks), scored


def _only(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names}


def _count_differences(record: Mapping[str, Any], videos: Mapping[str, Detections]) -> Iterator[str]:
    given = {"videos": len(videos), "count": sum(len(found) for found in videos.values())}
    for key, number in given.items():
        if record["detections"][key] != number:
            yield f"detections.{key} is {record['detections'][key]}, the file has {number}"


def _differences(filed: Any, scored: Any, path: str, tolerance: float = SCORE_TOLERANCE) -> Iterator[str]:
    """Name every place where two JSON values differ; what cannot be scored again (tags' mAP) is left out."""
    if isinstance(filed, Mapping) and isinstance(scored, Mapping):
        for key in sorted({*filed, *scored} - set(BESIDE_DETECTION)):
            yield from _differences(filed.get(key), scored.get(key), f"{path}.{key}", tolerance)
    elif isinstance(filed, list) and isinstance(scored, list | tuple) and len(filed) == len(scored):
        for index, (a, b) in enumerate(zip(filed, scored)):
            yield from _differences(a, b, f"{path}[{index}]", tolerance)
    elif isinstance(filed, float) and isinstance(scored, int | float):
        if abs(filed - scored) > tolerance:
            yield f"{path} is {filed!r}, the detections give {scored!r}"
    elif filed != scored:
        yield f"{path} is {filed!r}, the detections give {scored!r}"


def _repeated(root: Path, record: Mapping[str, Any], replace: bool) -> list[StoredRecord]:
    """Return the filed records this one repeats; refuse unless they are to be replaced."""
    filed = load_records(root)
    repeated = [item for item in filed if duplicate_problems([(str(item.path), item.record), ("this record", record)])]
    if repeated and not replace:
        raise RecordError(duplicate_problems([(str(repeated[0].path), repeated[0].record), ("this record", record)])[0])
    return repeated


def _remove(root: Path, replaced: Iterable[StoredRecord], filed: Path) -> None:
    """Remove replaced records, and their detections unless another record keeps them (equal ones share a file)."""
    replaced = [item for item in replaced if item.path != filed]
    for item in replaced:
        item.path.unlink(missing_ok=True)
    kept = {read_record(path).get("detections", {}).get("file") for path in root.rglob("*.json")} if replaced else set()
    for item in replaced:
        if item.detections_path.name not in kept:
            item.detections_path.unlink(missing_ok=True)
