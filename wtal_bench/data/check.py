"""Does a feature store fit its annotations? The questions that otherwise show as a bad number weeks later."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.dataset import length_oddity
from wtal_bench.data.progress import track
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import listing


@dataclass
class DataReport:
    """What `check_data` found: `facts` to know, `warnings` to read, `errors` to mend before training."""

    facts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the three lists as JSON can hold them."""
        return asdict(self)

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
    subsets: Sequence[str] = (),
    checksums: bool = True,
    examples: int = 5,
) -> DataReport:
    """Compare features and annotations.

    Looks for annotated videos without features and the reverse, features that do not span their video, durations that
    disagree, oddities of the annotations (segments past the end, of no length, twice), and, reading every feature,
    checksums, NaN and infinities.

    Args:
        store: the features.
        annotations: what they are for; None checks the features alone.
        subsets: subsets that must have features; empty = all, where one without any feature is only warned of.
        checksums: read all features; without it only their index is looked at.
        examples: how many videos each line names.

    Raises:
        DataError: a subset the annotations do not have.
    """
    report = DataReport()
    _describe(store, report)
    if annotations is not None:
        _describe_annotations(annotations, report)
        _check_presence(store, annotations, subsets, examples, report)
        _check_lengths(store, annotations, examples, report)
        _check_oddities(annotations, subsets, examples, report)
    if checksums:
        rows = track(range(len(store)), len(store), "checking features")
        problems = [problem for row in rows if (problem := store.check_video(row))]
        report.errors += problems[:examples]
        if len(problems) > examples:
            report.errors.append(f"{len(problems) - examples} more videos with damaged features")
        report.facts.append(f"checksums: {len(store) - len(problems)} of {len(store)} videos intact")
    else:
        report.facts.append("checksums: not looked at")
    return report


def _describe(store: FeatureStore, report: DataReport) -> None:
    manifest, lengths = store.manifest, store.lengths
    streams = ", ".join(f"{name} {first}:{end}" for name, (first, end) in store.streams.items())
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


def _check_presence(
    store: FeatureStore, annotations: Annotations, subsets: Sequence[str], examples: int, report: DataReport
) -> None:
    names = subsets or list(dict.fromkeys(video.subset for video in annotations.videos.values()))
    for name in names:
        ids = annotations.subset(name)
        missing = [video for video in ids if video not in store]
        if len(missing) == len(ids) and not subsets:
            report.warnings.append(f"subset {name!r}: none of its {len(ids)} videos has features")
        elif missing:
            report.errors.append(
                f"subset {name!r}: {len(missing)} of {len(ids)} videos have no features: {listing(missing, examples)}"
            )
    if not any(video in store for video in annotations.videos):
        report.errors.append(
            f"no video has both features and annotation: ids of features look like {store.ids[0]!r}, annotated ids "
            f"like {next(iter(annotations.videos))!r}"
        )
    extra = [video for video in store.ids if video not in annotations.videos]
    if extra:
        report.warnings.append(f"{len(extra)} videos have features but no annotation: {listing(extra, examples)}")


def _check_lengths(store: FeatureStore, annotations: Annotations, examples: int, report: DataReport) -> None:
    stored = [store.meta(video) for video in annotations.videos if video in store]
    metas = [replace(meta, duration=annotations.videos[meta.id].duration) for meta in stored]
    odd = [text for meta in metas if (text := length_oddity(store, meta))]
    if len(odd) > len(metas) / 2:
        ratio = float(np.median([meta.num_snippets * meta.snippet_seconds / meta.duration for meta in metas]))
        report.errors.append(
            f"{len(odd)} of {len(metas)} videos: the features span another time than the video, {ratio:.3f} of it in "
            "the median: the fps or stride of the manifest is wrong"
        )
    _report_some(odd, examples, "videos whose features do not span their duration", report.warnings)
    differ = [
        f"video {known.id!r}: {known.duration:.1f} s when its features were made, {meta.duration:.1f} s annotated"
        for known, meta in zip(stored, metas)
        if abs(known.duration - meta.duration) > max(1.0, 0.02 * meta.duration)
    ]
    _report_some(differ, examples, "videos with two durations", report.warnings)
    single = [meta.id for meta in metas if meta.num_snippets == 1]
    if single:
        report.warnings.append(f"{len(single)} videos have a single snippet: {listing(single, examples)}")


def _check_oddities(annotations: Annotations, subsets: Sequence[str], examples: int, report: DataReport) -> None:
    kinds: dict[str, list[str]] = defaultdict(list)
    for oddity in annotations.lint():
        if not subsets or not oddity.video or annotations.videos[oddity.video].subset in subsets:
            kinds[oddity.kind].append(f"video {oddity.video!r}: {oddity.text}" if oddity.video else oddity.text)
    for kind, texts in kinds.items():
        report.warnings.append(f"annotations, {kind}: {len(texts)}, e.g. {'; '.join(texts[:examples])}")


def _report_some(texts: list[str], examples: int, what: str, into: list[str]) -> None:
    into += texts[:examples]
    if len(texts) > examples:
        into.append(f"{len(texts) - examples} more {what}")
