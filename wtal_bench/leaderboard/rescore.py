"""Scoring rows again: a row is ranked only where its stored detections were found to give its numbers, to the last bit.

Nothing a record says of itself counts for that, nor any mark kept beside it: whoever can edit the one can edit the
other. What was scored once is remembered in the user's own cache (`Remembered`), by content: the record's bytes (they
name the hash of its detections), what the annotations say, and the code that scores. An edited record, other
annotations or a changed evaluator are scored anew; a copy of the repository brings nothing along.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.data.annotations import SEGMENTS, Annotations
from wtal_bench.data.progress import track
from wtal_bench.errors import DataError, RecordError, WtalError
from wtal_bench.evaluation import (
    Beside,
    DetectionTable,
    EvaluationResult,
    Resample,
    bootstrap_map,
    read_detections,
    resample_videos,
)
from wtal_bench.files import cache_folder, digest, write_text
from wtal_bench.leaderboard.columns import held, lacking, shown
from wtal_bench.leaderboard.coverage import annotation_problems
from wtal_bench.leaderboard.identity import hash_rows
from wtal_bench.leaderboard.metric_rules import BESIDE_DETECTION, RESAMPLES
from wtal_bench.leaderboard.own import own_annotations, recorded_protocol
from wtal_bench.leaderboard.record import SHOWN, StoredRecord
from wtal_bench.leaderboard.validate import OLD_SCHEMA
from wtal_bench.protocols import Protocol, held_annotations, is_made_by, load_annotations, read_annotations
from wtal_bench.structures import Detections
from wtal_bench.text import span_order

_LOG = logging.getLogger("wtal_bench")

SCORE_TOLERANCE = 1e-12
"""Numpy builds add in different orders; anything beyond their last bits is another score."""

SAME, DIFFERS, NOT_VERIFIED = "same", "differs", "not verified"

KEPT = 20000
"""Rows remembered; the oldest make room."""


@dataclass(frozen=True)
class Verification:
    """Whether a record's numbers follow from its stored detections.

    `state` is "same", "differs" or "not verified"; `why` explains the last two. `lacks` names the evaluators of its
    protocol for which it has no column (`filing.complete` adds them); that is no fault of the record.
    """

    record: str
    state: str
    why: str = ""
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scored:
    """A record's stored detections under every evaluator of its protocol: the columns and their bootstrap."""

    variants: dict[str, Any]
    bootstrap: dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """Annotations of a protocol, with the hash of what they say of its subsets."""

    annotations: Annotations
    protocol: Protocol

    @cached_property
    def contents(self) -> dict[str, str]:
        """By subset (`Protocol.contents`)."""
        return self.protocol.contents(self.annotations)

    def refuses(self, record: Mapping[str, Any]) -> str:
        """Why a record was not scored on these; an empty string where it was."""
        here = f"here is {self.annotations.sha256[:12]} ({self.annotations.path})"
        if record["schema"] == OLD_SCHEMA:
            wanted = record["annotations"]["sha256"]
            return "" if wanted == self.annotations.sha256 else f"scored on annotations {wanted[:12]}, {here}"
        says = record["annotations"]["splits"]
        if says.get(self.protocol.subset) != self.contents[self.protocol.subset]:
            return f"scored on other annotations of subset {self.protocol.subset!r}, {here}"
        return ""


FindTruth = Callable[[StoredRecord], "Truth | str"]
"""Annotations for a record, or why there are none."""


def finder(annotations: Iterable[str | Path] = ()) -> FindTruth:
    """Look up what records are scored on: a file among those given that fits, else what their protocol finds."""
    given = [read_annotations(path) for path in annotations]

    known: dict[tuple[str, str, Path], tuple[Truth | str, ...]] = {}

    def candidates(protocol: Protocol, near: Path) -> tuple[Truth | str, ...]:
        key = (protocol.name, protocol.hash, near)
        if key not in known:
            fitting = (i for i in given if not protocol.made_by_annotations or is_made_by(protocol, i))
            parts = (held_annotations(protocol, item) for item in fitting)
            known[key] = (*(Truth(item, protocol) for item in parts), _found_truth(protocol, near))
        return known[key]

    def find(stored: StoredRecord) -> Truth | str:
        protocol = recorded_protocol(stored.record["protocol"])
        found = candidates(protocol, stored.path.parent if protocol.made_by_annotations else Path())
        fitting = (truth for truth in found if not isinstance(truth, str) and not truth.refuses(stored.record))
        return next(fitting, found[-1])

    return find


def truth_for(stored: StoredRecord, path: str | Path | None = None) -> Truth | str:
    """The annotations a record is scored on, or why there are none; a file asked for by name must be there."""
    protocol = recorded_protocol(stored.record["protocol"])
    if path is not None:
        return Truth(load_annotations(protocol, path), protocol)
    return _found_truth(protocol, stored.path.parent)


def _found_truth(protocol: Protocol, near: Path) -> Truth | str:
    """Annotations found without being named: those that make their protocol by the run or on the board that the record
    lies in.
    """
    try:
        path = own_annotations(near, protocol) if protocol.made_by_annotations else None
        return Truth(load_annotations(protocol, path), protocol)
    except WtalError as error:
        return str(error)


def score_again(stored: StoredRecord, truth: Truth | str) -> tuple[Verification, Scored | None]:
    """Compare a record with its detections' scores; give the scores where they could be made."""
    name = stored.record["id"]
    if isinstance(truth, str) or truth.refuses(stored.record):
        why = truth if isinstance(truth, str) else truth.refuses(stored.record)
        return Verification(name, NOT_VERIFIED, why), None
    record = stored.whole().record
    protocol, lacks = truth.protocol, tuple(lacking(record))
    try:
        found = read_detections(stored.detections_path, protocol.classes, strict=True)
        results = protocol.evaluate(DetectionTable.from_videos(found.videos), truth.annotations)
        beside = found.beside()
    except DataError as error:
        return Verification(name, DIFFERS, f"its stored detections cannot be scored: {error}", lacks), None
    if missing := _missing_tags(record, truth.annotations):
        return Verification(name, NOT_VERIFIED, missing, lacks), None
    block = bootstrap_block(protocol, results)
    report, names, mine = protocol.report(results), held(record), shown(record)
    report |= _scored_beside(record, beside, truth)
    differences = list(_block_differences(record, found.videos, protocol))
    differences += annotation_problems(record, truth.annotations, list(found.videos))
    differences += _differences(mine["metrics"], {**report, "variants": _only(report["variants"], names)}, "metrics")
    if "bootstrap" in record and not differences:
        again = {**block, **{part: _only(block[part], names) for part in ("draw", "values")}}
        differences += _differences(mine["bootstrap"], again, "bootstrap", tolerance=2e-6)
    scored = Scored(report["variants"], block)
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        why = f"its stored detections do not give its numbers: {'; '.join(differences[:3])}{more}"
        return Verification(name, DIFFERS, why, lacks), scored
    return Verification(name, SAME, lacks=lacks), scored


def bootstrap_block(protocol: Protocol, results: Mapping[str, EvaluationResult]) -> dict[str, Any]:
    """Return a record's `bootstrap`: replicates of its widest average, so that any two rows can be compared later.

    The draw depends on the ids of the evaluated videos alone; equal draws pair up across records.

    Args:
        protocol: what was scored.
        results: what `protocol.evaluate` returned.
    """
    span = max(protocol.averages, key=span_order)
    columns = [protocol.tious.index(tiou) for tiou in protocol.averages[span]]
    draw, values = {}, {}
    for name, result in results.items():
        resample = _draw(tuple(result.matches.videos[: result.matches.evaluated]))
        draw[name] = resample.draw
        values[name] = [round(value, 6) for value in bootstrap_map(result, resample)[:, columns].mean(axis=1).tolist()]
    return {"resamples": RESAMPLES, "draw": draw, "values": values}


@lru_cache(maxsize=8)
def _draw(videos: tuple[str, ...]) -> Resample:
    return resample_videos(videos, RESAMPLES)


def rescored(
    records: Iterable[StoredRecord], annotations: Iterable[str | Path] = (), remembered: Remembered | None = None
) -> list[StoredRecord]:
    """Score every record again, or recall that it was; those that could not be say so in `unverified`.

    Args:
        records: what is filed.
        annotations: files to score on; others are found by themselves.
        remembered: what was scored before; None: that of the user's cache.

    Raises:
        RecordError: listing the records whose detections do not give their numbers.
    """
    records = list(records)
    remembered = Remembered.load() if remembered is None else remembered
    truths, keys = _keyed(records, annotations, remembered)
    new = [at for at, key in enumerate(keys) if key not in remembered.keys]
    verdicts = {at: score_again(records[at], truths[at])[0] for at in track(new, len(new), "scoring again")}
    remembered.add(keys[at] for at, verdict in verdicts.items() if verdict.state == SAME and keys[at])
    wrong = [(records[at], verdict) for at, verdict in verdicts.items() if verdict.state == DIFFERS]
    if wrong:
        more = f"\n... and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise RecordError("\n".join(f"{item.path} is refused: {verdict.why}" for item, verdict in wrong[:SHOWN]) + more)
    _warn(verdicts.values())
    unsure = {at for at, verdict in verdicts.items() if verdict.state != SAME}
    return [replace(item, unverified="not scored again" if at in unsure else "") for at, item in enumerate(records)]


def recalled(records: Sequence[StoredRecord], annotations: Iterable[str | Path], unverified: Sequence[str]) -> bool:
    """Whether `rescored` would score none of some records and leave them with these words in `unverified`.

    What cannot be scored is warned of, as there. Of a record only its schema, id, protocol and annotations are read.

    Args:
        records: what is filed.
        annotations: files to score on; others are found by themselves.
        unverified: of each record, as it was found before.
    """
    remembered = Remembered.load()
    truths, keys = _keyed(records, annotations, remembered)
    if any(bool(key) == bool(word) or (key and key not in remembered.keys) for key, word in zip(keys, unverified)):
        return False
    _warn(score_again(stored, truth)[0] for stored, truth, key in zip(records, truths, keys) if not key)
    return True


def _keyed(
    records: Sequence[StoredRecord], annotations: Iterable[str | Path], remembered: Remembered
) -> tuple[list[Truth | str], list[str]]:
    """What every record is scored on, and what its verdict is remembered by."""
    find = finder(annotations)
    truths = [find(stored) for stored in records]
    return truths, [remembered.key(stored, truth) for stored, truth in zip(records, truths)]


def _warn(verdicts: Iterable[Verification]) -> None:
    reasons: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.state == NOT_VERIFIED:
            reasons.setdefault(verdict.why, []).append(verdict.record)
    for why, names in reasons.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        _LOG.warning("%s%s not scored again, hence not ranked: %s", names[0], more, why)


class Remembered:
    """Keys of the rows whose detections gave their numbers on this machine.

    Args:
        path: the file they are kept in; None keeps them in memory.
        keys: those there are.
    """

    def __init__(self, path: Path | None, keys: Iterable[str] = ()) -> None:
        self.path, self.keys = path, dict.fromkeys(keys)

    @classmethod
    def load(cls) -> Remembered:
        """Read the user's cache; without one nothing is remembered."""
        path = cache_folder() / "rescored.txt"
        try:
            return cls(path, path.read_text(encoding="ascii").split())
        except (OSError, ValueError):
            return cls(path)

    def key(self, stored: StoredRecord, truth: Truth | str) -> str:
        """Hash of all that the verdict on a record depends on; "" where it cannot be scored."""
        if isinstance(truth, str) or truth.refuses(stored.record):
            return ""
        tags = stored.record["annotations"].get("tags", SEGMENTS)
        lists = truth.annotations.tag_hash(tags) if tags in truth.annotations.tag_lists else ""
        return digest([stored.content, truth.annotations.sha256, lists, truth.protocol.hash, _scoring_code()])

    def add(self, keys: Iterable[str]) -> None:
        """Remember more; a cache that cannot be written is none."""
        new = dict.fromkeys(keys)
        if not new:
            return
        self.keys |= new
        if self.path is not None:
            try:
                write_text(self.path, "\n".join([*self.keys][-KEPT:]) + "\n")
            except DataError as error:
                _LOG.debug("%s", error)


@cache
def _scoring_code() -> str:
    """Hash of the code that scores, and of numpy's version."""
    package = Path(__file__).resolve().parents[1]
    files = [*sorted((package / "evaluation").glob("*.py")), package / "protocols.py", Path(__file__)]
    return digest([np.__version__, *(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)])


def _missing_tags(record: Mapping[str, Any], annotations: Annotations) -> str:
    """Why classification cannot be scored again: the tags it was scored by are not there. Empty when they are."""
    tags = record["annotations"].get("tags", SEGMENTS)
    if tags == SEGMENTS or record["metrics"].get("classification_mAP") is None:
        return ""
    there = tags in annotations.tag_lists and annotations.tag_hash(tags) == record["annotations"].get("tags_sha256")
    return "" if there else f"its classification mAP was scored by the tag list {tags!r}, which is not here as it was"


def _scored_beside(record: Mapping[str, Any], beside: Beside, truth: Truth) -> dict[str, Any]:
    """Classification mAP and frame accuracy from what the detections' file keeps for them."""
    if record["schema"] == OLD_SCHEMA:
        return {name: record["metrics"].get(name) for name in BESIDE_DETECTION}
    annotations, classes = truth.annotations, len(truth.protocol.classes)
    known = [video for video in (*beside.video_scores, *beside.snippets) if video in annotations.videos]
    tags = {video: annotations.tags(video, record["annotations"].get("tags", SEGMENTS)) for video in known}
    segments = {
        video: [(part.label, part.start, part.end) for part in annotations.videos[video].segments] for video in known
    }
    if set(known) != {*beside.video_scores, *beside.snippets}:
        return dict.fromkeys(BESIDE_DETECTION)
    return {
        "classification_mAP": beside.classification_map(tags, classes),
        "frame_accuracy": beside.frame_accuracy(segments, classes),
    }


def _only(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names}


def _block_differences(
    record: Mapping[str, Any], videos: Mapping[str, Detections], protocol: Protocol
) -> Iterator[str]:
    given = {"videos": len(videos), "count": sum(len(found) for found in videos.values())}
    if record["schema"] != OLD_SCHEMA:
        given["rows"] = hash_rows(videos, protocol.classes)
    for key, value in given.items():
        if record["detections"][key] != value:
            yield f"detections.{key} is {record['detections'][key]}, the file has {value}"


def _differences(filed: Any, scored: Any, path: str, tolerance: float = SCORE_TOLERANCE) -> Iterator[str]:
    """Name every place where two JSON values differ."""
    if isinstance(filed, Mapping) and isinstance(scored, Mapping):
        for key in sorted({*filed, *scored}):
            yield from _differences(filed.get(key), scored.get(key), f"{path}.{key}", tolerance)
    elif isinstance(filed, list) and isinstance(scored, list | tuple) and len(filed) == len(scored):
        for index, (a, b) in enumerate(zip(filed, scored)):
            yield from _differences(a, b, f"{path}[{index}]", tolerance)
    elif isinstance(filed, int | float) and isinstance(scored, float) and not isinstance(filed, bool):
        if abs(filed - scored) > tolerance:
            yield f"{path} is {filed!r}, the detections give {scored!r}"
    elif filed != scored or isinstance(filed, bool):
        yield f"{path} is {filed!r}, the detections give {scored!r}"
