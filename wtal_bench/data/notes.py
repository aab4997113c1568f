"""Notes about data: what scores or trains, but is probably not meant. One function, for every verb.

`data_notes` looks at whatever is at hand - annotations, the videos a run used, its features and those its model was
trained on, detections, scores - and returns its notes, a summary of the data first. `train`, `test`, `infer`,
`evaluate`, `compare`, `leaderboard add` and `check-data` print them; a record keeps them with their codes:

    summary           what the data are, in one line; how many notes follow
    split             the annotations hold other videos than the protocol is defined on
    tags              other tags than the segments' are trained on
    coverage          videos without features, left out, without detections, or not in a detection file
    rate              features of most videos span another time than the video: fps or stride of the manifest
    length            features of some videos do
    two_durations     a duration differs between features and annotations
    single_snippet    videos of one snippet
    trained_on        features of another rate, width, stream order or extractor than the model was trained on
    resolution        videos sampled so coarsely that times are coarse too
    duration          segments of most videos lie past its end: the durations are wrong
    unit              times that look like frames, snippets, minutes, milliseconds or shares of the video
    names             names that differ only by case, spaces, Unicode form or ending
    classes           classes that no video shows, or that a detection file has and the class list has not
    videos            videos of a detection file that are not in the subset
    nothing           no detection at all, or none that counts
    repeated          detections that repeat each other
    near_zero         a mAP of nearly nothing
    localised_hardly  videos are classified well and localised hardly
    annotations       other oddities of an annotation file (`Annotations.lint`; check-data)
    damaged           features that are not what their checksum says (check-data)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from wtal_bench.data.annotation_notes import annotation_notes
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.coverage import TEST, Coverage, coverage_text
from wtal_bench.data.detection_notes import DetectionsLike, detection_notes, score_notes
from wtal_bench.data.feature_notes import EXAMPLES, length_notes, resolution_notes, trained_notes
from wtal_bench.data.note import SUMMARY, Note
from wtal_bench.structures import VideoMeta


class Rule(Protocol):
    """What is asked of a protocol (`wtal_bench.protocols.Protocol`)."""

    subset: str
    train_subset: str
    classes: tuple[str, ...]

    def split_notes(self, annotations: Annotations) -> list[str]:
        """Where the annotations depart from the protocol's videos."""
        ...


def data_notes(
    rule: Rule | None = None,
    annotations: Annotations | None = None,
    *,
    subsets: Sequence[str] = (),
    coverage: Sequence[Coverage] = (),
    features: Mapping[str, Any] | None = None,
    metas: Sequence[VideoMeta] = (),
    durations: Mapping[str, float] | None = None,
    trained: Mapping[str, Any] | None = None,
    sampled: Mapping[str, int] | None = None,
    detections: DetectionsLike | None = None,
    exclude: Iterable[str] = (),
    metrics: Mapping[str, Any] | None = None,
    more: Iterable[Note] = (),
    examples: int = EXAMPLES,
) -> list[Note]:
    """Look at the data and return the notes, the summary first.

    Args:
        rule: the protocol; None where nothing is scored (`infer`).
        annotations: what is scored and trained on.
        subsets: of the annotations that are looked at; those of the splits, else the one the rule scores.
        coverage: the splits of a run.
        features: what the features are (`feature_notes.feature_facts`).
        metas: videos with the durations they are taken to have.
        durations: by video id, the durations they had when their features were made.
        trained: the `features` a checkpoint keeps of what it was trained on.
        sampled: by video id, how many samples the model saw of its snippets.
        detections: a detection file, or what a run found.
        exclude: test videos the ranking evaluator leaves out.
        metrics: of a record: `protocol.score` and classification mAP.
        more: what the caller knows besides.
        examples: videos a note names.
    """
    notes = list(more)
    if annotations is not None:
        notes += [Note("split", text) for text in (rule.split_notes(annotations) if rule is not None else ())]
        notes += annotation_notes(annotations, subsets or _subsets(rule, coverage), coverage)
    notes += [Note("coverage", f"{text}.") for split in coverage if (text := coverage_text(split, _lacking(features)))]
    notes += trained_notes(trained, features)
    wrong = any(note.code == "duration" for note in notes)
    notes += length_notes(metas, features, durations or {}, durations_wrong=wrong, examples=examples)
    notes += resolution_notes(metas, sampled or {}, examples)
    if detections is not None and annotations is not None and rule is not None:
        told = any(split.missing for split in coverage)  # of a file's videos, with their instances
        found = detection_notes(detections, annotations, rule.subset, tuple(exclude))
        notes += [note for note in found if not (told and note.code == "coverage")]
    notes += score_notes(metrics)
    return [
        Note(SUMMARY, _summary(rule, annotations, coverage, features, metas, detections, len(notes)), "fact"),
        *notes,
    ]


def printed(notes: Iterable[Note]) -> list[str]:
    """Spell notes as the verbs print them: the summary, then a line a note."""
    return [note.text if note.code == SUMMARY else f"note: {note.text}" for note in notes]


def as_recorded(notes: Iterable[Note]) -> list[dict[str, str]]:
    """What a record keeps of notes."""
    return [{"code": note.code, "text": note.text} for note in notes]


def _subsets(rule: Rule | None, coverage: Sequence[Coverage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(split.subset for split in coverage)) or (() if rule is None else (rule.subset,))


def _lacking(features: Mapping[str, Any] | None) -> str:
    return "are not in the file" if features is None else "have no features"


def _summary(
    rule: Rule | None,
    annotations: Annotations | None,
    coverage: Sequence[Coverage],
    features: Mapping[str, Any] | None,
    metas: Sequence[VideoMeta],
    detections: DetectionsLike | None,
    notes: int,
) -> str:
    parts = []
    for split in coverage:
        counted = f" with {split.instances} instances" if split.split == TEST else ""
        parts.append(f"{split.split} {split.text} videos{counted}")
    if not coverage and annotations is not None and rule is not None:
        ids = [video for video in annotations.videos.values() if video.subset == rule.subset]
        parts.append(f"{len(ids)} {rule.subset} videos with {sum(len(video.segments) for video in ids)} instances")
    if not coverage and annotations is None and metas:
        parts.append(f"{len(metas)} videos, {sum(meta.num_snippets for meta in metas)} snippets")
    if rule is not None:
        parts.append(f"{len(rule.classes)} classes")
    if features is not None:
        parts.append(_features(features))
    if detections is not None:
        parts.append(f"{sum(map(len, detections.videos.values()))} detections in {len(detections.videos)} videos")
    count = "nothing to note" if not notes else "1 note" if notes == 1 else f"{notes} notes"
    return f"data: {'; '.join([*parts, count])}"


def _features(features: Mapping[str, Any]) -> str:
    rate = f"{features['fps']:g} fps" if features.get("fps") else "fps per video"
    stride = "resized to a fixed length" if features.get("stride") is None else f"stride {features['stride']:g}"
    extractor = f"{features['extractor']}, " if features.get("extractor") else ""
    return f"features {extractor}{rate}, {stride}, {features['width']} columns"
