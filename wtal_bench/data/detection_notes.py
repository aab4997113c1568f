"""What is odd about detections: videos and classes nobody knows, times in another unit, scores of nearly nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.note import Note
from wtal_bench.data.units import Spans, unit_text
from wtal_bench.errors import did_you_mean, listing
from wtal_bench.names import alike_hint, difference, folded
from wtal_bench.structures import Detections
from wtal_bench.text import percent, span_order

NEAR_ZERO = 0.02
"""A mean mAP below this is nearly nothing."""

CLASSIFIED_WELL = 0.7
"""Classification mAP above which localisation of nearly nothing has causes of its own."""


class DetectionsLike(Protocol):
    """Detections as a file holds them (`wtal_bench.evaluation.DetectionFile`)."""

    videos: Mapping[str, Detections]
    classes: Sequence[str]
    unknown_labels: Mapping[str, int]
    duplicates: int


def detection_notes(
    detections: DetectionsLike, annotations: Annotations, subset: str, exclude: Collection[str] = ()
) -> list[Note]:
    """Sentences on what scores, but is probably not meant.

    Args:
        detections: the file.
        annotations: what it is scored on.
        subset: of the videos scored.
        exclude: videos of it the ranking evaluator leaves out.
    """
    notes = counted_notes(detections, annotations, subset, exclude)
    return notes + (_unit(detections, annotations) if any(map(len, detections.videos.values())) else [])


def counted_notes(
    detections: DetectionsLike, annotations: Annotations, subset: str, exclude: Collection[str] = ()
) -> list[Note]:
    """Those of `detection_notes` that need no more of a video's detections than how many they are."""
    count = sum(map(len, detections.videos.values()))
    notes = _unknown_classes(detections)
    if not count:
        notes.append(Note("nothing", "there is no detection at all, so every average precision is 0."))
        return notes
    notes += _videos(detections, annotations, subset, exclude)
    if detections.duplicates:
        notes.append(
            Note(
                "repeated",
                f"{detections.duplicates} of {count} detections repeat an earlier row exactly; at most one of each can "
                "be right, the others are false positives. Was the NMS left out?",
            )
        )
    return notes


def strangers(detections: DetectionsLike, annotations: Annotations, subset: str, exclude: Collection[str] = ()) -> list:
    """Videos of a file that are not in the subset (nor left out on purpose by `exclude`)."""
    known = annotations.videos
    return [
        name
        for name in detections.videos
        if name not in exclude and (name not in known or known[name].subset != subset)
    ]


def refusal(detections: DetectionsLike, annotations: Annotations, subset: str) -> str:
    """Why a file cannot be filed at all: none of its rows is of a known class in a video of the subset; else empty."""
    known = annotations.videos
    counted = sum(
        len(found) for name, found in detections.videos.items() if name in known and known[name].subset == subset
    )
    unknown = sum(detections.unknown_labels.values())
    if counted or not (unknown or any(len(found) for found in detections.videos.values())):
        return ""
    notes = [*_unknown_classes(detections), *_videos(detections, annotations, subset, ())]
    total = unknown + sum(map(len, detections.videos.values()))
    told = " ".join(note.text for note in notes)
    return f"none of its rows is of a known class in a video of subset {subset!r} ({total} rows): {told}"


def _unknown_classes(detections: DetectionsLike) -> list[Note]:
    unknown = detections.unknown_labels
    if not unknown:
        return []
    name = max(unknown, key=unknown.get)
    forms = {folded(label): label for label in detections.classes}
    alike = {label: forms[folded(label)] for label in unknown if folded(label) in forms}
    hint = did_you_mean(name, detections.classes)
    if alike:
        shown, known = next(iter(alike.items()))
        hint = f" {len(alike)} of them are known but for {difference(shown, known)}: write {known!r} for {shown!r}."
    return [
        Note(
            "classes",
            f"{sum(unknown.values())} detections have a class that is not in the class list and are ignored: "
            f"{listing(f'{key!r} ({rows})' for key, rows in unknown.items())}.{hint}",
        )
    ]


def _videos(detections: DetectionsLike, annotations: Annotations, subset: str, exclude: Collection[str]) -> list[Note]:
    notes, known = [], annotations.videos
    odd = strangers(detections, annotations, subset, exclude)
    if odd:
        rows = sum(len(detections.videos[name]) for name in odd)
        elsewhere = Counter(known[name].subset for name in odd if name in known)
        hint = alike_hint(odd, known)
        hint += "".join(f" {count} belong to subset {name!r}." for name, count in elsewhere.items())
        notes.append(
            Note(
                "videos",
                f"{len(odd)} videos are not among those of subset {subset!r}: {listing(odd, 5)}; the official rule "
                f"counts their {rows} detections as false positives.{hint}",
            )
        )
    wanted = [name for name, video in known.items() if video.subset == subset and name not in exclude]
    missing = [name for name in wanted if not len(detections.videos.get(name, ()))]
    if missing:
        text = f"{len(missing)} of {len(wanted)} videos have no detection: {listing(missing, 5)}."
        notes.append(Note("coverage", text))
    return notes


def _unit(detections: DetectionsLike, annotations: Annotations) -> list[Note]:
    rows = [(annotations.videos[name], found) for name, found in detections.videos.items()
            if name in annotations.videos and len(found)]  # fmt: skip
    if not rows:
        return []
    spans = Spans(
        end=np.concatenate([found.end for _, found in rows]),
        sizes=np.array([len(found) for _, found in rows]),
        duration=np.array([video.duration for video, _ in rows]),
        fps=np.array([video.fps or np.nan for video, _ in rows]),
        truth=np.array([max((segment.end for segment in video.segments), default=np.nan) for video, _ in rows]),
    )
    text = unit_text(spans)
    return [Note("unit", text)] if text else []


def main_average(metrics: Mapping[str, Any] | None) -> float | None:
    """The average that ranks, of a record's metrics; None without anything scored."""
    table = metrics["variants"].get(metrics["main"]) if metrics else None
    # the widest: a record read back has its averages in the order of their names
    return None if table is None else table["averages"][max(table["averages"], key=span_order)]


def score_notes(metrics: Mapping[str, Any] | None) -> list[Note]:
    """A sentence for a mean mAP of nearly nothing, whoever's data it is.

    Args:
        metrics: as a record holds them; None, or without anything scored, says nothing.
    """
    average = main_average(metrics)
    if average is None or average >= NEAR_ZERO:
        return []
    if (metrics.get("classification_mAP") or 0) > CLASSIFIED_WELL:
        return [
            Note(
                "localised_hardly",
                "videos are classified well and localised hardly at all. Usual causes: thresholds that do not fit the "
                "curve, a wrong fps or stride in the manifest, wrong durations or times in another unit, or training "
                "that ended too early or collapsed.",
            )
        ]
    return [
        Note(
            "near_zero",
            f"the average mAP is {percent(average)} %: nearly nothing is found where it is annotated. Usual causes: "
            "times in another unit than seconds, names of videos or classes that do not match, features of another "
            "rate than said, or a model that has learned nothing.",
        )
    ]
