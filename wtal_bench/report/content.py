"""What a report shows of a run, gathered from its folder as plain values: scores, curves, errors, videos.

Everything is scored again from the stored detections, so the page shows nothing that the record alone claims; but for
the diagnosis, which needs the model: the page says that the run said so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.coverage import TEST, TRAIN
from wtal_bench.data.locate import ANNOTATIONS
from wtal_bench.data.note import SUMMARY
from wtal_bench.errors import DataError, listing
from wtal_bench.evaluation import DetectionTable, EvaluationResult, GroundTruth, read_detections
from wtal_bench.evaluation.error_analysis import (
    COUNTS_ACTIVITYNET,
    COUNTS_THUMOS,
    LENGTHS_ACTIVITYNET,
    LENGTHS_THUMOS,
    error_analysis,
)
from wtal_bench.files import JsonError, expand, parse_json
from wtal_bench.leaderboard.coverage import coverage_cell
from wtal_bench.leaderboard.own import own_annotations, recorded_protocol
from wtal_bench.leaderboard.published import published_file, published_for, read_published
from wtal_bench.leaderboard.record import check_own, load_record, newest_record, protocol_of, read_record
from wtal_bench.leaderboard.titles import row_title
from wtal_bench.leaderboard.validate import harness_commit
from wtal_bench.protocols import (
    Protocol,
    held_annotations,
    is_own,
    open_protocol,
    own_protocol,
    read_annotations,
)
from wtal_bench.reading import read_bytes

SHOWN = 60
"""Videos with a time line, where there are more: a third each of the worst, the best and those between."""

ROWS = 100
"""Detections of a video on its time line: the best."""

_TIMES = ("lr", "data_time", "time", "epoch", "iter", "step")


@dataclass(frozen=True)
class RunFiles:
    """Where the parts of a run lie."""

    record: Path
    scalars: Path | None


def find_run(path: Path) -> RunFiles:
    """A run's folder, or a record file -> its parts.

    Raises:
        DataError: there is no finished run.
    """
    if path.is_file():
        return RunFiles(path, None)
    if not path.is_dir():
        raise DataError(f"{path}: there is no such run. Give a run's folder, or a record file.")
    record = newest_record(path)
    if record is None:
        nested = sorted(found.parent.parent.name for found in path.glob("*/record/*.json"))
        hint = f" It holds runs: {listing(nested)}; name them." if nested else " Has its training ended?"
        raise DataError(f"{path}: holds no record of a finished run.{hint}")
    scalars = sorted(path.glob("*/vis_data/scalars.json"))
    return RunFiles(record, path if scalars else None)


def gather(path: Path, annotations: Path | None = None) -> dict[str, Any]:
    """Everything the page shows of one run.

    Args:
        path: the run's folder or its record.
        annotations: the annotation file; by default where the protocol, or the run's config, says it lies.

    Raises:
        DataError, RecordError: no finished run, other annotations than those it was scored on, lost detections.
    """
    files = find_run(path)
    record = read_record(files.record)
    if "schema" not in record and is_own(protocol_of(record, files.record)):
        check_own(record, files.record)
    else:
        record = load_record(files.record).record
    protocol, truth_of = _protocol(record, files.record, annotations)
    found = read_detections(files.record.parent / record["detections"]["file"], protocol.classes)
    truth, rows = protocol.ground_truth(truth_of), found.table()
    scored = any(truth_of.videos[name].segments for name in truth_of.subset(protocol.subset))
    presets = protocol.presets if scored else ()
    results = {preset.name: preset.evaluate(rows, truth, protocol.tious) for preset in presets}
    main = results.get(protocol.main)
    detections, annotated = protocol.presets[0].tables(rows, truth)
    label = _label(record, path)
    return {
        "label": label,
        "path": str(path),
        "facts": _facts(record, protocol, scored),
        "config": _flat(record.get("config", {})),
        "scores": {name: _scores(result, protocol) for name, result in results.items()},
        "main": protocol.main,
        "printed": _printed(record, protocol),
        "video_scores": {
            name: record["metrics"].get(key)
            for name, key in (("classification mAP", "classification_mAP"), ("frame accuracy", "frame_accuracy"))
        },
        "diagnosis": _diagnosis(record),
        "classes": [] if main is None else _classes(main),
        "confusion": _confusion(found.videos, truth_of, protocol),
        "errors": None if main is None else _errors(main, detections, annotated, protocol),
        "curves": _curves(files.scalars),
        "videos": _videos(main, detections, truth_of, protocol),
        "tious": list(protocol.tious),
        "names": list(protocol.classes),
    }


def _protocol(record: Mapping[str, Any], path: Path, given: Path | None) -> tuple[Protocol, Annotations]:
    name = record["protocol"]["name"]
    place = given or _place(record, path)
    if given is None and "classes" in record["protocol"]:
        place = own_annotations(path.parent, recorded_protocol(record["protocol"]))
    if is_own(name):
        annotations = read_annotations(place or Path(ANNOTATIONS))
        protocol = own_protocol(annotations, name)
        annotations = held_annotations(protocol, annotations)
    else:
        protocol, annotations = open_protocol(name, place)
    wanted = record["annotations"]["sha256"]
    if annotations.sha256 and annotations.sha256 != wanted:
        raise DataError(
            f"{path} was scored on annotations with the hash {wanted[:12]}, {annotations.path} has "
            f"{annotations.sha256[:12]}: give the file it was scored on with --annotations."
        )
    return protocol, annotations


def _place(record: Mapping[str, Any], path: Path) -> Path | None:
    """Where the run found its annotations: its folder's config says which data it read, a record does not."""
    kept = path.parent.parent / "config.json"
    config = read_record(kept) if kept.is_file() else record["config"]
    data = config.get("data") or {}
    if not data.get("root"):
        return None
    return expand(data["root"]) / (data.get("annotations") or ANNOTATIONS)


def _label(record: Mapping[str, Any], path: Path) -> str:
    ideas = record.get("config", {}).get("ideas")
    named = tuple(map(str, ideas)) if isinstance(ideas, Mapping) else ()
    return f"{row_title(record['method'], record.get('variant') or '', named)} seed {record['seed']}"


def _facts(record: Mapping[str, Any], protocol: Protocol, scored: bool) -> dict[str, str]:
    commit, dirty = harness_commit(record)
    environment = record.get("environment") or {}
    facts = {
        "method": record["method"],
        "variant": record.get("variant") or "-",
        "protocol": protocol.name,
        "scores": "-" if scored else "none: the test videos have no times",
        "checkpoint": str(record.get("selection", "-")),
        "seed": str(record["seed"]),
        "features": str((record.get("features") or {}).get("extractor", "-")),
        "detections": str(record["detections"]["count"]),
        "trained": f"{(record.get('cost') or {}).get('train_seconds', 0):.0f} s on {environment.get('device', '-')}",
        "code": f"{commit[:12] or '-'}{' with changes' if dirty else ''}",
        "created": str(record.get("created", "-")),
        "record": str(record.get("id", "-")),
        "videos": ", ".join(f"{split} {coverage_cell(record, split)}" for split in (TRAIN, TEST)),
    }
    notes = [note["text"] for note in record.get("data", {}).get("notes", []) if note["code"] != SUMMARY]
    return {**facts, **({"notes on its data": " ".join(notes)} if notes else {})}


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """A config as key path -> text."""
    if isinstance(value, Mapping) and value:
        return {
            key: text
            for name, item in value.items()
            for key, text in _flat(item, f"{path}.{name}" if path else name).items()
        }
    return {path: json.dumps(value)}


def _scores(result: EvaluationResult, protocol: Protocol) -> dict[str, Any]:
    return {
        "mAP": _numbers(result.mAP),
        "averages": {name: _number(result.average_over(tious)) for name, tious in protocol.averages.items()},
    }


def _printed(record: Mapping[str, Any], protocol: Protocol) -> dict[str, Any] | None:
    """The paper's own row, by tIoU or average; None for variants, generated data and one's own."""
    if protocol.own or protocol.synthetic or protocol.held_out or record.get("variant"):
        return None
    file = published_file(Path("leaderboard"))
    row = published_for(read_published(file), record["method"], protocol.dataset) if file.is_file() else None
    if row is None:
        return None
    evaluator = record["config"].get("test", {}).get("evaluator") or protocol.main
    return {
        "evaluator": evaluator,
        "values": {iou: cell.value for iou, cell in row.leading.cells.items() if cell.value},
    }


PARTS = ("auc", "missed", "open", "closed", "flat")
"""What a diagnosis counts of a foreground or a curve; `flat` of a curve alone."""


def _diagnosis(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the run said its parts are worth: numbers of each, oracles, sentences; None where it said nothing."""
    seen = _mapping(record.get("diagnosis"))
    causes = seen.get("causes")
    curves = _mapping(seen.get("curves")) or {"": seen.get("curve")}  # one without a name, of before there were several
    parts = {name: _mapping(values) for name, values in _mapping(seen.get("foreground")).items()}
    parts |= {f"curve {name}".removesuffix(" curve").strip(): _mapping(values) for name, values in curves.items()}
    if not seen:
        return None
    numbers = {name: {key: _known(values.get(key)) for key in PARTS} for name, values in parts.items()}
    return {
        "parts": {name: own for name, own in numbers.items() if set(own.values()) != {None}},
        "oracles": {name: _known(value) for name, value in _mapping(seen.get("oracles")).items()},
        "causes": [str(_mapping(cause).get("text", "")) for cause in causes] if isinstance(causes, list) else [],
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    """A part of a record that nobody checked, {} if it is of another kind."""
    return value if isinstance(value, Mapping) else {}


def _known(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _classes(result: EvaluationResult) -> list[dict[str, Any]]:
    matches = result.matches
    instances, bounds = matches.instances(), matches.class_bounds()
    return [
        {
            "name": name,
            "ap": _numbers(ap),
            "instances": int(instances[at]),
            "detections": int(bounds[at + 1] - bounds[at]),
        }
        for at, (name, ap) in enumerate(zip(result.classes, result.ap))
    ]


def _confusion(videos: Mapping[str, Any], annotations: Annotations, protocol: Protocol) -> dict[str, Any]:
    """Rows: a tag of the video. Columns: the class of its best detection, last none. Shares of the row."""
    count = len(protocol.classes)
    table = np.zeros((count, count + 1))
    for name, video in annotations.videos.items():
        if video.subset != protocol.subset:
            continue
        found = videos.get(name)
        best = count if found is None or not len(found) else int(found.label[np.argmax(found.score)])
        tags = annotations.tags(name)
        for tag in tags:
            table[tag, best if best not in tags else tag] += 1
    rows = table.sum(axis=1, keepdims=True)
    kept = np.flatnonzero(rows[:, 0])
    shares = table[kept] / rows[kept]
    return {
        "rows": [protocol.classes[at] for at in kept],
        "columns": [*protocol.classes, "nothing"],
        "shares": [_numbers(row) for row in shares.round(4)],
        "videos": rows[kept, 0].astype(int).tolist(),
    }


def _errors(
    result: EvaluationResult, detections: DetectionTable, truth: GroundTruth, protocol: Protocol
) -> dict[str, Any]:
    """False-positive profile at every tIoU, and sensitivity to the length of instances and to their number."""
    long = protocol.tious[0] >= 0.5
    lengths = LENGTHS_ACTIVITYNET if long else LENGTHS_THUMOS
    counts = COUNTS_ACTIVITYNET if long else COUNTS_THUMOS
    by_tiou = {}
    last = None
    for tiou in protocol.tious:
        low = min(0.1, tiou / 2)
        last = error_analysis(result, detections, truth, tiou=tiou, low=low, lengths=lengths, counts=counts)
        by_tiou[f"{tiou:g}"] = {
            "breakdown": [{kind: _number(share) for kind, share in step.items()} for step in last.breakdown],
            "gains": {kind: _number(gain) for kind, gain in last.gains.items()},
        }
    buckets = {"length (s)": last.by_length, "instances of the class in the video": last.by_count}
    return {
        "by_tiou": by_tiou,
        "buckets": {
            title: [
                {"name": _span(bucket), "instances": bucket.instances, "mAP": _number(bucket.normalized_mAP)}
                for bucket in rows
            ]
            for title, rows in buckets.items()
        },
    }


def _span(bucket: Any) -> str:
    if bucket.up_to is None:
        return f"{bucket.name}: all" if bucket.above is None else f"{bucket.name}: over {bucket.above:g}"
    return f"{bucket.name}: up to {bucket.up_to:g}"


def _curves(folder: Path | None) -> dict[str, Any] | None:
    """Scalar -> its values by epoch: the mean of what was logged in it; sessions of a resumed run joined."""
    if folder is None:
        return None
    rows: dict[int, dict[str, Any]] = {}
    for file in sorted(folder.glob("*/vis_data/scalars.json")):
        for row in _json_lines(file):
            if isinstance(row.get("step"), int) and _is_number(row.get("epoch")):
                rows[row["step"]] = row
    names = [name for name in dict.fromkeys(key for row in rows.values() for key in row) if name not in _TIMES]
    epochs: dict[Any, list[dict[str, Any]]] = {}
    for _, row in sorted(rows.items()):
        epochs.setdefault(row["epoch"], []).append(row)
    series = {name: [_mean(row.get(name) for row in group) for group in epochs.values()] for name in names}
    return {"epoch": list(epochs), "series": series, "lr": [_mean(r.get("lr") for r in g) for g in epochs.values()]}


def _json_lines(file: Path) -> Iterator[dict[str, Any]]:
    for line in read_bytes(file).decode("utf-8", "replace").splitlines():
        try:
            row = parse_json(line, nan=True)
        except JsonError:  # the last line of a run that was killed
            continue
        if isinstance(row, dict):
            yield row


def _mean(values: Any) -> float | None:
    numbers = list(filter(_is_number, values))
    return sum(numbers) / len(numbers) if numbers else None


def _is_number(value: Any) -> bool:
    """Whether a page can hold it: finite, and of 64 bits."""
    return (type(value) is int and abs(value) < 2**63) or (isinstance(value, float) and math.isfinite(value))


def _videos(
    result: EvaluationResult | None,
    detections: DetectionTable,
    annotations: Annotations,
    protocol: Protocol,
) -> list[dict[str, Any]]:
    """Test videos from the worst to the best by their own average precision at the middle tIoU, else by name."""
    middle = 0.5 if 0.5 in protocol.tious else protocol.tious[0]
    names = annotations.subset(protocol.subset)
    scores = dict.fromkeys(names) if result is None else video_precision(result, middle)
    order = sorted(scores, key=lambda name: (scores[name] or 0.0, name))
    if len(order) > SHOWN:
        third, centre = SHOWN // 3, len(order) // 2
        order = [*order[:third], *order[centre - third // 2 : centre + third // 2], *order[-third:]]
    by_video = _grouped(detections)
    places = {name: at for at, name in enumerate(detections.videos)}
    shown = []
    for name in order:
        own = by_video.get(places.get(name, -1), np.zeros(0, dtype=np.int64))
        own = own[np.argsort(-detections.score[own], kind="stable")][:ROWS]
        video = annotations.videos[name]
        shown.append(
            {
                "id": name,
                "duration": video.duration,
                "score": scores[name],
                "truth": [[segment.label, segment.start, segment.end] for segment in video.segments],
                "found": [_row(detections, at) for at in own],
            }
        )
    return shown


def _row(table: DetectionTable, at: int) -> list[float]:
    """A detection as [class, start s, end s, score], rounded for the page."""
    start, end = round(float(table.start[at]), 3), round(float(table.end[at]), 3)
    return [int(table.label[at]), start, end, float(f"{table.score[at]:.5g}")]


def _grouped(table: DetectionTable) -> dict[int, np.ndarray]:
    order = np.argsort(table.video, kind="stable")
    places, first = np.unique(table.video[order], return_index=True)
    return dict(zip(places.tolist(), np.split(order, first[1:])))


def video_precision(result: EvaluationResult, tiou: float) -> dict[str, float]:
    """Average precision of each video alone: its detections of all classes in one order, by score.

    Videos without an instance are left out.
    """
    matches = result.matches
    at = int(np.flatnonzero(matches.tious == tiou)[0])
    hit = np.zeros(len(matches.score), dtype=bool)
    hit[matches.true_positives(at)] = True
    instances = np.bincount(matches.instance_video, minlength=len(matches.videos))
    order = np.lexsort((-matches.score, matches.video))
    video = matches.video[order]
    scores = {}
    for place in range(matches.evaluated):
        if not instances[place]:
            continue
        low, high = np.searchsorted(video, [place, place + 1])
        hits = hit[order[low:high]]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        scores[matches.videos[place]] = float(precision[hits].sum() / instances[place])
    return scores


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _numbers(values: Any) -> list[float | None]:
    return [_number(value) for value in np.asarray(values).tolist()]
