"""What a comparison must say of its sides: notes on their data, and which videos both of them have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.note import SUMMARY, Note
from wtal_bench.data.notes import data_notes
from wtal_bench.errors import listing
from wtal_bench.evaluation import (
    BootstrapDifference,
    DetectionFile,
    EvaluationResult,
    Preset,
    bootstrap_difference,
)
from wtal_bench.leaderboard.coverage import incomplete_reason
from wtal_bench.leaderboard.record import StoredRecord
from wtal_bench.protocols import Protocol


@dataclass(frozen=True)
class Shared:
    """Two sides on the videos both of them have, where that is not all.

    Attributes:
        videos: how many those are; 0 leaves nothing to compare.
        of: how many are evaluated.
        counts: videos each side has.
        difference: on those videos; None where they hold no instance.
    """

    videos: int
    of: int
    counts: tuple[int, int]
    difference: BootstrapDifference | None


def side_notes(
    file: DetectionFile, result: EvaluationResult, stored: StoredRecord | None, protocol: Protocol, truth: Annotations
) -> list[Note]:
    """Notes on one run of a side: on its detections, and on the videos its record says it was trained on.

    Args:
        file: its detections.
        result: what they score.
        stored: its record, if there is one.
        protocol, truth: what it is scored by and on.
    """
    averages = {name: result.average_over(tious) for name, tious in protocol.averages.items()}
    report = {"main": protocol.main, "variants": {protocol.main: {"averages": averages}}}
    if stored is not None:
        report["classification_mAP"] = stored.record["metrics"].get("classification_mAP")
    summary, *notes = data_notes(
        protocol, truth, detections=file, exclude=protocol.presets[0].exclude, metrics=report, more=_recorded(stored)
    )
    return [summary, *notes]


def _recorded(stored: StoredRecord | None) -> list[Note]:
    """What a record says of its videos, and what it noted of its features."""
    if stored is None:
        return []
    reason = incomplete_reason(stored.record)
    notes = [Note("coverage", f"{reason}: it is ranked nowhere.")] if reason else []
    kept = ("rate", "length", "trained_on", "duration", "names")
    said = stored.record.get("data", {}).get("notes", [])
    return notes + [Note(note["code"], note["text"]) for note in said if note["code"] in kept]


def lines(letter: str, runs: Sequence[Sequence[Note]], names: Sequence[str]) -> list[str]:
    """Spell the notes of a side's runs, each once, and of which run each is where not all have it.

    Args:
        letter: of the side.
        runs: the notes of every run.
        names: of the runs.
    """
    found: dict[tuple[bool, str], dict[str, None]] = {}
    for name, notes in zip(names, runs):
        for note in notes:
            found.setdefault((note.code == SUMMARY, note.text), {})[name] = None
    spoken = []
    for (is_summary, text), of in found.items():
        whose = f" ({listing(of)})" if len(of) < len(runs) else ""
        spoken.append(f"{letter}{whose}  {text}" if is_summary else f"note: {letter}{whose}: {text}")
    return spoken


def on_shared_videos(
    files: Sequence[Sequence[DetectionFile]],
    preset: Preset,
    protocol: Protocol,
    truth: Annotations,
    resamples: int,
    seed: int,
) -> Shared | None:
    """Compare on the videos that every run of both sides has; None where all have the same.

    A file has a video that it names, were it with no detection.

    Args:
        files: detections of the runs of both sides.
        preset: the evaluator.
        protocol, truth: what they are scored by and on.
        resamples, seed: of the bootstrap.
    """
    whole = protocol.ground_truth(truth).without(preset.exclude)
    wanted = {whole.videos[index] for index in set(whole.video.tolist())} - set(preset.untested)
    has = [set.intersection(*(wanted & set(file.videos) for file in side)) for side in files]
    both = has[0] & has[1]
    if all(wanted & set(file.videos) == both for side in files for file in side):
        return None
    counts = (len(has[0]), len(has[1]))
    others = [video for video in whole.videos if video not in both]
    if not both:
        return Shared(0, len(wanted), counts, None)
    results = [
        [preset.evaluate(file.table().without(others), whole.without(others), protocol.tious) for file in side]
        for side in files
    ]
    found = bootstrap_difference(*results, resamples=resamples, seed=seed, averages=protocol.averages)
    return Shared(len(both), len(wanted), counts, found)
