"""Does a feature store fit its annotations? The questions that otherwise show as a bad number weeks later."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from wtal_bench.data.annotations import LOOKALIKES, Annotations
from wtal_bench.data.feature_notes import feature_facts
from wtal_bench.data.note import Note
from wtal_bench.data.notes import Rule, data_notes
from wtal_bench.data.progress import track
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import listing
from wtal_bench.names import alike_hint


@dataclass
class DataReport:
    """What `check_data` found: facts to know, and notes to read (warnings) or to mend before training (errors)."""

    facts: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def warnings(self) -> list[str]:
        """What should be read."""
        return [note.text for note in self.notes if note.level != "error"]

    @property
    def errors(self) -> list[str]:
        """What should be mended."""
        return [note.text for note in self.notes if note.level == "error"]

    def as_dict(self) -> dict[str, Any]:
        """Return facts, warnings and errors, and the notes with their codes, as JSON can hold them."""
        texts = {"facts": self.facts, "warnings": self.warnings, "errors": self.errors}
        return {**texts, "notes": [asdict(note) for note in self.notes]}

    def text(self) -> str:
        """Return the report as lines for a person."""
        lines = list(self.facts)
        for title, entries in (("warning", self.warnings), ("ERROR", self.errors)):
            lines += [f"{title}: {entry}" for entry in entries]
        lines.append(f"{len(self.errors)} errors, {len(self.warnings)} warnings")
        return "\n".join(lines)


def check_data(
    store: FeatureStore,
    annotations: Annotations | None,
    *,
    rule: Rule | None = None,
    subsets: Sequence[str] = (),
    checksums: bool = True,
    examples: int = 5,
    shards: Sequence[int] | None = None,
) -> DataReport:
    """Compare features and annotations.

    Looks for annotated videos without features and the reverse, features that do not span their video, durations that
    disagree, names that look alike, oddities of the annotations (segments past the end, of no length, twice), and,
    reading every feature, checksums, NaN and infinities.

    Args:
        store: the features.
        annotations: what they are for; None checks the features alone.
        rule: the protocol they are for.
        subsets: subsets that must have features; empty = all, where one without any feature is only warned of.
        checksums: read all features; without it only their index is looked at.
        examples: how many videos each line names.
        shards: read the features of these shards alone; None reads all.

    Raises:
        DataError: a subset the annotations do not have.
    """
    report = DataReport()
    _describe(store, report)
    if annotations is None:
        metas = [store.meta(row) for row in range(len(store))]
        summary, *notes = data_notes(features=feature_facts(store), metas=metas, examples=examples)
        report.facts.insert(0, summary.text)
        report.notes += notes
    else:
        _describe_annotations(annotations, report)
        report.notes += _presence(store, annotations, subsets, examples)
        report.notes += _data_notes(store, annotations, rule, subsets, examples, report)
        report.notes += _oddities(annotations, subsets, examples)
    if checksums:
        rows = range(len(store)) if shards is None else [row for shard in shards for row in store.shards.videos(shard)]
        tracked = track(rows, len(rows), "checking features")
        problems = [problem for row in tracked if (problem := store.check_video(row))]
        report.notes += [Note("damaged", problem, "error") for problem in problems[:examples]]
        if len(problems) > examples:
            more = f"{len(problems) - examples} more videos with damaged features"
            report.notes.append(Note("damaged", more, "error"))
        report.facts.append(f"checksums: {len(rows) - len(problems)} of {len(rows)} videos intact")
    else:
        report.facts.append("checksums: not looked at")
    return report


def _describe(store: FeatureStore, report: DataReport) -> None:
    manifest, lengths = store.manifest, store.lengths
    streams = ", ".join(f"{name} {first}:{end}" for name, (first, end) in store.streams.items())
    strides = store.index.strides
    if strides is not None:
        stride = f"a stride a video, {strides.min()} to {strides.max()} frames"
    else:
        stride = "resized to a fixed length" if manifest["stride"] is None else f"stride {manifest['stride']} frames"
    report.facts += [
        f"features: {store.name} in {store.folder}{' (SYNTHETIC)' if store.synthetic else ''}",
        f"  extractor: {manifest['extractor']}; {stride}; fps {manifest.get('fps') or 'per video'}",
        f"  {len(store)} videos, {lengths.sum()} snippets (shortest {lengths.min()}, median {int(np.median(lengths))}, "
        f"longest {lengths.max()}), {store.width} columns ({streams}), {manifest['dtype']}",
        f"  manifest hash {store.manifest_hash}",
    ]


def _describe_annotations(annotations: Annotations, report: DataReport) -> None:
    report.facts.append(f"annotations: {annotations.version}, {len(annotations.classes)} classes, {annotations.path}")
    for subset in dict.fromkeys(video.subset for video in annotations.videos.values()):
        ids = annotations.subset(subset)
        instances = sum(len(annotations.videos[video].segments) for video in ids)
        tagged = sum(bool(annotations.tags(video)) for video in ids)
        report.facts.append(f"  {subset}: {len(ids)} videos, {tagged} with tags, {instances} instances")
    for name in annotations.tag_lists:
        subsets = dict.fromkeys(video.subset for video in annotations.videos.values() if video.segments)
        counts = listing(annotations.tag_count(name, subset) for subset in subsets)
        report.facts.append(f"  tags {name!r}: other than the labels of the segments for {counts}")
    report.facts.append(f"  sha256 {annotations.sha256}")


def _presence(store: FeatureStore, annotations: Annotations, subsets: Sequence[str], examples: int) -> Iterator[Note]:
    names = subsets or list(dict.fromkeys(video.subset for video in annotations.videos.values()))
    for name in names:
        ids = annotations.subset(name)
        missing = [video for video in ids if video not in store]
        if len(missing) == len(ids) and not subsets:
            yield Note("coverage", f"subset {name!r}: none of its {len(ids)} videos has features")
        elif missing:
            text = (
                f"subset {name!r}: {len(missing)} of {len(ids)} videos have no features: {listing(missing, examples)}"
            )
            yield Note("coverage", text + alike_hint(missing, store.ids), "error")
    if not any(video in store for video in annotations.videos):
        yield Note(
            "names",
            f"no video has both features and annotation: ids of features look like {store.ids[0]!r}, annotated ids "
            f"like {next(iter(annotations.videos))!r}",
            "error",
        )
    extra = [video for video in store.ids if video not in annotations.videos]
    if extra:
        yield Note("videos", f"{len(extra)} videos have features but no annotation: {listing(extra, examples)}")


def _data_notes(
    store: FeatureStore,
    annotations: Annotations,
    rule: Rule | None,
    subsets: Sequence[str],
    examples: int,
    report: DataReport,
) -> list[Note]:
    """What every verb says of such data (`data.notes`); its summary is the first fact."""
    there = [video for video in annotations.videos if video in store]
    summary, *notes = data_notes(
        rule,
        annotations,
        subsets=subsets or tuple(dict.fromkeys(video.subset for video in annotations.videos.values())),
        features=feature_facts(store),
        metas=[replace(store.meta(video), id=video, duration=annotations.videos[video].duration) for video in there],
        durations={video: store.meta(video).duration for video in there},
        examples=examples,
    )
    count = f"{len(there)} of {len(annotations.videos)} annotated videos have features"
    report.facts.insert(0, f"data: {count}; {summary.text.removeprefix('data: ')}")
    return notes


def _oddities(annotations: Annotations, subsets: Sequence[str], examples: int) -> Iterator[Note]:
    kinds: dict[str, list[str]] = defaultdict(list)
    for oddity in annotations.lint():
        if oddity.kind in LOOKALIKES:  # told by name
            continue
        if not subsets or not oddity.video or annotations.videos[oddity.video].subset in subsets:
            kinds[oddity.kind].append(f"video {oddity.video!r}: {oddity.text}" if oddity.video else oddity.text)
    for kind, texts in kinds.items():
        yield Note("annotations", f"annotations, {kind}: {len(texts)}, e.g. {'; '.join(texts[:examples])}")
