"""`wtal-bench evaluate`: score a detection file by every evaluator of a protocol, side by side."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.detection_notes import counted_notes, strangers
from wtal_bench.data.note import Note
from wtal_bench.data.notes import as_recorded, data_notes, printed
from wtal_bench.errors import ConfigError, DataError, listing
from wtal_bench.evaluation import (
    COUNTS_ACTIVITYNET,
    COUNTS_THUMOS,
    KINDS,
    LENGTHS_ACTIVITYNET,
    LENGTHS_THUMOS,
    Bucket,
    DetectionFile,
    DetectionParts,
    ErrorAnalysis,
    EvaluationResult,
    GroundTruth,
    StreamedResult,
    error_analysis,
    evaluate_parts,
    read_detections,
)
from wtal_bench.files import write_json
from wtal_bench.protocols import OWN, PROTOCOLS, Protocol, open_protocol
from wtal_bench.text import percent, signed, table

SUMMARY = "score a detection file by every evaluator of a protocol"
EXAMPLE = """\
wtal-bench evaluate detections.json.gz --protocol thumos14/v1 --per-class --json scores.json
  wtal-bench evaluate found/ --protocol activitynet13/v1
  wtal-bench evaluate found.json --protocol own --annotations my_data/annotations.json --errors"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "detections",
        help=".json or .json.gz file, our layout or ActivityNet's `results`; a .parquet table; or a folder of parts, "
        "which are read one after the other and need not fit into memory",
    )
    parser.add_argument("--protocol", required=True, help=f"one of {listing(PROTOCOLS)}, a plugin's, or {OWN}")
    parser.add_argument("--annotations", help="annotation file or its folder (default: found in $WTAL_DATA or data/)")
    parser.add_argument("--json", metavar="FILE", help="write unrounded numbers to FILE")
    parser.add_argument(
        "--strict", action="store_true", help="refuse unknown classes, unknown videos and annotations of other videos"
    )
    parser.add_argument(
        "--strict-official",
        action="store_true",
        help="score NaN scores and reversed segments as the official code does, instead of refusing them "
        "(evaluators in seconds only)",
    )
    parser.add_argument("--per-class", action="store_true", help="print the AP of every class, on each grid")
    parser.add_argument("--errors", action="store_true", help="print which kinds of error cost how much")


def run(args: argparse.Namespace) -> int:
    """Score, print, write."""
    protocol, annotations = open_protocol(args.protocol, args.annotations)
    truth = protocol.ground_truth(annotations)
    if Path(args.detections).is_dir():
        return _run_parts(args, protocol, annotations, truth)
    file = read_detections(args.detections, protocol.classes, strict=args.strict, allow_invalid=args.strict_official)
    if args.strict:
        _refuse_strangers(file, annotations, protocol)
    results = _results(protocol, file, truth, args.strict_official)
    notes = data_notes(
        protocol,
        annotations,
        detections=file,
        exclude=protocol.presets[0].exclude,
        metrics=protocol.report(results),
    )
    print(_overview(protocol, file, annotations, results))
    print("\n".join(printed(notes)), file=sys.stderr)
    if args.per_class:
        for name in _one_a_grid(protocol, results):
            print("\n" + _per_class(protocol, results[name], name))
    analysis = _analyse(protocol, file, truth, results) if args.errors else None
    if analysis is not None:
        print("\n" + _errors(analysis, protocol.main))
    if args.json:
        write_json(args.json, _report(protocol, file, annotations, results, notes, analysis))
        print(f"\nwritten to {args.json}")
    return 0


def _run_parts(args: argparse.Namespace, protocol: Protocol, annotations: Annotations, truth: GroundTruth) -> int:
    """Score a folder of parts, one part in memory at a time."""
    if args.errors or args.strict_official:
        raise ConfigError(
            f"{args.detections}: parts are scored one after the other, without --errors and --strict-official, which "
            "look at all detections at once; write one file for them."
        )
    parts = DetectionParts.open(Path(args.detections), protocol.classes, strict=args.strict)
    results = evaluate_parts(parts.tables, truth, protocol.tious, protocol.presets)
    if args.strict:
        _refuse_strangers(parts, annotations, protocol)
    exclude = protocol.presets[0].exclude
    notes = data_notes(protocol, annotations, exclude=exclude, metrics=protocol.report(results))
    notes += counted_notes(parts, annotations, protocol.subset, exclude)
    print(_overview(protocol, parts, annotations, results))
    print("\n".join(printed(notes)), file=sys.stderr)
    if args.per_class:
        for name in _one_a_grid(protocol, results):
            print("\n" + _per_class(protocol, results[name], name))
    if args.json:
        write_json(args.json, _report(protocol, parts, annotations, results, notes, None))
        print(f"\nwritten to {args.json}")
    return 0


def _refuse_strangers(file: DetectionFile | DetectionParts, annotations: Annotations, protocol: Protocol) -> None:
    odd = strangers(file, annotations, protocol.subset)
    if odd:
        raise DataError(
            f"{file.path}: {len(odd)} videos are not in subset {protocol.subset!r}: {listing(odd, 5)}. "
            "Remove them, or leave --strict out to count their detections as false positives."
        )
    changed = protocol.split_notes(annotations)
    if changed:
        raise DataError(f"{annotations.path or annotations.version}: {' '.join(changed)}")


def _results(
    protocol: Protocol, file: DetectionFile, truth: GroundTruth, strict_official: bool
) -> dict[str, EvaluationResult]:
    rows = file.table()
    return {
        preset.name: preset.evaluate(
            rows, truth, protocol.tious, strict_official=strict_official and preset.rules.grid is None
        )
        for preset in protocol.presets
        if not strict_official or preset.rules.grid is None
    }


def _overview(
    protocol: Protocol,
    file: DetectionFile | DetectionParts,
    annotations: Annotations,
    results: Mapping[str, EvaluationResult],
) -> str:
    spans = list(protocol.averages)
    head = ["evaluator", *(f"{tiou:g}" for tiou in protocol.tious), *spans, "videos", "instances", "ignored"]
    unknown = sum(file.unknown_labels.values())
    rows = [
        [
            f"{name} *" if name == protocol.main else name,
            *map(percent, result.mAP),
            *(percent(result.average_over(protocol.averages[span])) for span in spans),
            str(result.counts.videos),
            str(result.counts.instances),
            str(result.counts.ignored + unknown),
        ]
        for name, result in results.items()
    ]
    titles = [f"  {preset.name}: {preset.title}" for preset in protocol.presets if preset.name in results]
    return "\n".join(
        [
            f"{file.path}: {file.version or 'no version'}, {file.count + unknown} detections in {len(file.videos)} "
            f"videos ({unknown} of unknown classes)",
            f"{protocol.name} ({protocol.hash[:12]}) on {annotations.path or annotations.version}; mAP in percent",
            "",
            *table(head, rows),
            "",
            f"* ranks; the last average is the one. {len(protocol.classes)} classes.",
            *titles,
        ]
    )


def _one_a_grid(protocol: Protocol, results: Mapping[str, EvaluationResult]) -> list[str]:
    """The first evaluator in seconds and the first on a snippet grid."""
    first: dict[bool, str] = {}
    for preset in protocol.presets:
        if preset.name in results:
            first.setdefault(preset.rules.grid is None, preset.name)
    return list(first.values())


def _per_class(protocol: Protocol, result: EvaluationResult, name: str) -> str:
    if isinstance(result, StreamedResult):
        instances, detections = result.instances, result.detections.tolist()
    else:
        instances, detections = result.matches.instances(), np.diff(result.matches.class_bounds()).tolist()
    head = [f"AP, {name}", *(f"{tiou:g}" for tiou in protocol.tious), "average", "instances", "detections"]
    rows = [
        [label, *map(percent, ap), percent(ap.mean()), str(instances[index]), str(detections[index])]
        for index, (label, ap) in enumerate(zip(result.classes, result.ap))
    ]
    return "\n".join(table(head, rows))


def _analyse(
    protocol: Protocol, file: DetectionFile, truth: GroundTruth, results: Mapping[str, EvaluationResult]
) -> ErrorAnalysis:
    long = protocol.tious[0] >= 0.5
    detections, annotated = protocol.presets[0].tables(file.table(), truth)
    return error_analysis(
        results[protocol.main],
        detections,
        annotated,
        lengths=LENGTHS_ACTIVITYNET if long else LENGTHS_THUMOS,
        counts=COUNTS_ACTIVITYNET if long else COUNTS_THUMOS,
    )


def _errors(analysis: ErrorAnalysis, name: str) -> str:
    first, last = analysis.breakdown[0], analysis.breakdown[-1]
    kinds = [
        [
            kind,
            str(analysis.counts[kind]),
            percent(first[kind]),
            percent(last[kind]),
            signed(analysis.gains[kind]) if kind in analysis.gains else "",
        ]
        for kind in KINDS
    ]
    head = [f"errors at tIoU {analysis.tiou:g}", "all", "% of top 1G", f"% of top {len(analysis.breakdown)}G"]
    blocks = [f"errors under {name}; G = instances of the class; gain = mAP if all of a kind were deleted", ""]
    blocks += table([*head, "gain"], kinds)
    for title, unit, buckets in (
        ("length", " s", analysis.by_length),
        ("instances in the video", "", analysis.by_count),
    ):
        blocks += ["", *table([f"by {title}", "instances", "mAP", "normalised", "found %"],
                               [_bucket_row(bucket, unit) for bucket in buckets])]  # fmt: skip
    return "\n".join(blocks)


def _bucket_row(bucket: Bucket, unit: str) -> list[str]:
    if bucket.up_to is None:
        span = "all" if bucket.above is None else f"over {bucket.above:g}"
    else:
        span = f"to {bucket.up_to:g}" if bucket.above is None else f"{bucket.above:g} to {bucket.up_to:g}"
    shares = (bucket.mAP, bucket.normalized_mAP, bucket.found)
    return [f"{bucket.name}, {span}{unit}", str(bucket.instances), *map(percent, shares)]


def _report(
    protocol: Protocol,
    file: DetectionFile | DetectionParts,
    annotations: Annotations,
    results: Mapping[str, EvaluationResult],
    notes: Iterable[Note],
    analysis: ErrorAnalysis | None,
) -> dict[str, Any]:
    return {
        "protocol": {"name": protocol.name, "hash": protocol.hash},
        "annotations": {"version": annotations.version, "sha256": annotations.sha256},
        "detections": {
            "file": file.path.name,
            "version": file.version,
            "sha256": file.sha256,
            "videos": len(file.videos),
            "count": file.count,
            "unknown_labels": file.unknown_labels,
            "repeated_rows": file.duplicates,
        },
        "metrics": protocol.report(results),
        "errors": None if analysis is None else analysis.as_dict(),
        "notes": as_recorded(notes),
    }
