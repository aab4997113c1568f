"""What is odd about annotations: durations, units, names that look alike, classes that nothing shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from wtal_bench.data.annotations import Annotations, Oddity, VideoAnnotation
from wtal_bench.data.coverage import TEST, TRAIN, Coverage
from wtal_bench.data.note import Note
from wtal_bench.errors import listing

EARLY = 0.02
"""Segments of most videos that end before this share of it are taken for minutes, or shares."""


def annotation_notes(annotations: Annotations, subsets: Sequence[str], coverage: Sequence[Coverage] = ()) -> list[Note]:
    """Look at the videos of some subsets.

    Args:
        annotations: the file.
        subsets: those that are trained or scored on.
        coverage: the splits of a run: their classes are looked at, of the videos used.
    """
    videos = {key: video for key, video in annotations.videos.items() if video.subset in subsets}
    return [*duration_notes(videos.values()), *name_notes(annotations.lookalikes()), *_classes(annotations, coverage)]


def duration_notes(videos: Iterable[VideoAnnotation]) -> list[Note]:
    """Say when the segments of most videos cannot lie in them: past their end, or all in the first instant."""
    timed = [video for video in videos if video.segments]
    if not timed:
        return []
    last = np.array([max(segment.end for segment in video.segments) for video in timed])
    duration = np.array([video.duration for video in timed])
    past = last > duration * 1.02 + 1
    if past.mean() > 0.5:
        own = np.mean([_is_a_segments(video) for video in timed]) > 0.5
        cause = (
            "`duration` holds the length of a segment, and must hold that of the whole video in seconds"
            if own
            else f"the durations are wrong, or the times are no seconds (the last segment ends at "
            f"{np.median(last / duration):.3g} times the duration in the median: frames? milliseconds?)"
        )
        return [
            Note(
                "duration",
                f"in {np.count_nonzero(past)} of {len(timed)} videos annotated segments end after the video: {cause}.",
                "error",
            )
        ]
    if len(timed) > 4 and np.median(last / duration) < EARLY:
        unit = "shares of the video" if last.max() <= 1 else "minutes"
        return [
            Note(
                "unit",
                f"annotated segments end within the first {100 * np.median(last / duration):.2g} % of their video in "
                f"the median: are the times {unit}? Seconds are needed.",
            )
        ]
    return []


def _is_a_segments(video: VideoAnnotation) -> bool:
    """Whether the duration is the length of one of the video's segments."""
    lengths = [segment.end - segment.start for segment in video.segments]
    return bool(np.isclose(video.duration, lengths, rtol=0.01, atol=0.02).any())


def name_notes(oddities: Iterable[Oddity]) -> list[Note]:
    """Notes on classes or videos that look alike."""
    return [Note("names", f"{oddity.text}.") for oddity in oddities]


def _classes(annotations: Annotations, coverage: Sequence[Coverage]) -> list[Note]:
    notes = []
    for split in coverage:
        if split.split == TRAIN:
            # a checkpoint may have been trained on videos that these annotations do not name
            there = [video for video in split.ids if video in annotations.videos]
            shown = {label for video in there for label in annotations.tags(video)}
            lack = "have no training video and cannot be learned"
        elif split.split == TEST:
            entries = [annotations.videos[video] for video in split.ids]
            shown = {segment.label for video in entries for segment in video.segments}
            lack = "have no instance in the test videos and do not count"
        else:
            continue
        lacking = [name for label, name in enumerate(annotations.classes) if label not in shown]
        if lacking and shown:  # test videos of one's own may have no times at all: nothing is scored then
            notes.append(
                Note("classes", f"{len(lacking)} of {len(annotations.classes)} classes {lack}: {listing(lacking, 5)}.")
            )
    return notes
