"""All probes of a data set in one report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.locate import ANNOTATIONS, FEATURES
from wtal_bench.data.progress import track
from wtal_bench.data.store import FeatureStore
from wtal_bench.decoding import ThresholdDecoder
from wtal_bench.evaluation import DetectionTable, GroundTruth, evaluate
from wtal_bench.probing.curves import plain_signals, random_cas
from wtal_bench.probing.linear import fit, probabilities
from wtal_bench.probing.material import Lesson, Material, Watched
from wtal_bench.probing.statistics import statistics
from wtal_bench.structures import Detections, VideoMeta

TIOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
BOUNDS = ("oracle", "random", "slow random", "whole video")


@dataclass(frozen=True)
class Report:
    """What the probes found. Scores are average mAP over tIoU 0.1 to 0.7, as fractions, with true video labels.

    Attributes:
        bounds: "oracle" (the annotations themselves as a curve), "random" (uniform noise), "slow random" (the same,
            as slow as things change), "whole video".
        plain: one plain number a snippet as the curve of every class, by stream, and its negative.
        chosen: the plain number that scores highest on the training subset. Its score on `subset` is what somebody
            could have known to expect; the largest there is picked among many after the fact, and scatters upwards.
        linear: linear snippet classifiers trained on the training subset's times, by stream and of all columns.
        statistics: stream -> what `statistics.statistics` measures.
    """

    bounds: dict[str, float]
    plain: dict[str, float]
    chosen: str
    linear: dict[str, float]
    statistics: dict[str, dict[str, float]]

    def as_dict(self) -> dict:
        """As JSON holds it; what could not be measured is null."""
        return _finite(vars(self))

    def rows(self) -> Iterator[tuple[str, float, float]]:
        """Yield (figure, value, factor to print it by)."""
        for name, value in self.bounds.items():
            yield f"mAP: {name}", value, 100
        name, value = max(self.plain.items(), key=lambda item: item[1])
        yield "mAP: largest plain number", value, 100
        yield "mAP: plain number chosen on training videos", self.plain[self.chosen], 100
        for name, value in self.linear.items():
            yield f"mAP: supervised linear, {name}", value, 100
        for stream, found in self.statistics.items():
            for name, value in found.items():
                yield f"{stream}: {name}", value, 1

    @property
    def loudest(self) -> str:
        """The plain number that scores highest."""
        return max(self.plain, key=self.plain.__getitem__)


def decoder() -> ThresholdDecoder:
    """The one post-processing every probe shares."""
    return ThresholdDecoder(
        thresholds=[round(0.05 * step, 2) for step in range(1, 19)],
        scores="labels",
        scores_activation="none",
        class_threshold=0.5,
        normalize="minmax",
        upsample=8,
        contrast=dict(outer=0.25, video_score=0.2),
        nms=dict(iou=0.45),
    )


def probe(
    folder: str | Path,
    subset: str = "test",
    *,
    train_subset: str = "train",
    features: str | Path | None = None,
    annotations: str | Path | None = None,
) -> Report:
    """Probe a data set.

    Args:
        folder: holds `features/` and `annotations.json`.
        subset: the videos that are scored.
        train_subset: the videos that linear scores learn from.
        features, annotations: where they lie, if elsewhere.

    Raises:
        DataError: no such store, annotations or subset, or videos without annotated times.
    """
    store = FeatureStore.open(features or Path(folder) / FEATURES)
    material = Material(store, Annotations.load(annotations or Path(folder) / ANNOTATIONS))
    lesson = material.lesson(train_subset)
    streams = {name: slice(first, end) for name, (first, end) in store.streams.items()}
    scores = _scores(material, lesson, subset, streams)
    tried = _average(_decoded(material, train_subset, _plain), material, train_subset)
    return Report(
        bounds={name: scores.pop(name) for name in BOUNDS},
        linear={name[8:]: scores.pop(name) for name in list(scores) if name.startswith("linear, ")},
        plain=scores,
        chosen=max(tried, key=tried.__getitem__),
        statistics={name: statistics(material, lesson, subset, columns) for name, columns in streams.items()},
    )


Curves = Iterable[tuple[str, np.ndarray]]
"""(name, [T] or [T,C]) of one video."""


def _scores(material: Material, lesson: Lesson, subset: str, streams: dict[str, slice]) -> dict[str, float]:
    """Score every curve: name -> average mAP."""
    parts = dict(streams) if len(streams) == 1 else {**streams, "all": slice(None)}
    learned = {name: fit(lesson.features[:, part], lesson.covered > 0.5) for name, part in parts.items()}

    def curves(video: Watched, meta: VideoMeta, row: int, columns: dict) -> Curves:
        rng = np.random.default_rng([5, row])
        yield "oracle", video.covered
        yield "random", random_cas(rng, meta.num_snippets)
        yield "slow random", random_cas(rng, meta.num_snippets, 5)
        yield from _plain(video, meta, row, columns)
        for name, part in parts.items():
            yield f"linear, {name}", probabilities(video.features[:, part], learned[name])

    found = _decoded(material, subset, curves)
    found["whole video"] = {name: _whole(material, name) for name in material.ids(subset)}
    return _average(found, material, subset)


def _plain(video: Watched, meta: VideoMeta, row: int, columns: dict) -> Curves:
    return plain_signals(video.features, columns)


def _whole(material: Material, name: str) -> Detections:
    """The whole video, as every class it has."""
    labels = np.sort(material.annotations.tags(name))
    return Detections(0.0 * labels, np.full(len(labels), material.store.meta(name).duration), labels, labels * 0 + 1.0)


def _decoded(
    material: Material, subset: str, curves: Callable[[Watched, VideoMeta, int, dict], Curves]
) -> dict[str, dict[str, Detections]]:
    """Curve's name -> video -> what the one decoder finds under the true labels."""
    decode, found = decoder(), {}
    ids = material.ids(subset)
    for row, video in enumerate(track(map(material.watch, ids), len(ids), f"probing {subset}")):
        meta, labels = material.store.meta(video.name), video.labels.astype(np.float64)
        for name, curve in curves(video, meta, row, material.store.streams):
            cas = np.broadcast_to(curve.reshape(meta.num_snippets, -1), (meta.num_snippets, len(labels)))
            found.setdefault(name, {})[video.name] = decode({"labels": labels, "cas": cas}, meta)
    return found


def _average(found: dict[str, dict[str, Detections]], material: Material, subset: str) -> dict[str, float]:
    truth = GroundTruth.from_annotations(material.annotations, subset)
    return {name: evaluate(DetectionTable.from_videos(made), truth, TIOUS).average for name, made in found.items()}


def table(reports: dict[str, Report]) -> str:
    """Lay out reports side by side; with two or more, the last column is how far the last is from the first."""
    names = list(reports)
    rows = {name: {figure: (value, by) for figure, value, by in report.rows()} for name, report in reports.items()}
    figures = list(dict.fromkeys(figure for found in rows.values() for figure in found))
    width = max(map(len, figures))
    heads = [*names, *(["difference"] if len(names) > 1 else [])]
    lines = [" " * width + "".join(f"  {head:>12}" for head in heads)]
    for figure in figures:
        cells = [rows[name].get(figure, (math.nan, 1)) for name in names]
        values = [value * by for value, by in cells]
        values += [values[-1] - values[0]] if len(names) > 1 else []
        digits = 1 if any(by == 100 for _, by in cells) else 3
        signs = [""] * len(names) + ["+"]
        lines.append(f"{figure:{width}}" + _cells(values, signs, digits, heads))
    return "\n".join(lines)


def _cells(values: Sequence[float], signs: Iterable[str], digits: int, heads: Sequence[str]) -> str:
    texts = ("-" if math.isnan(value) else f"{value:{sign}.{digits}f}" for value, sign in zip(values, signs))
    return "".join(f"  {text:>{max(12, len(head))}}" for text, head in zip(texts, heads))


def _finite(value):
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
