"""Scoring the shortcut probes of the synthetic benchmark: activation sequences with true video labels -> mAP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.store import FeatureStore
from wtal_bench.data.synthetic.probes import CORE, coverage, plain_signals, random_cas
from wtal_bench.decoding import ThresholdDecoder
from wtal_bench.evaluation import DetectionTable, GroundTruth, evaluate
from wtal_bench.structures import Detections

TIOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
BOUNDS = ("oracle", "core only", "random", "slow random", "whole video")


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


def probe_scores(folder: Path, subset: str = "test") -> dict[str, float]:
    """Return the mAP (mean over tIoU 0.1 to 0.7) of every bound and every plain signal on one subset."""
    store, annotations = FeatureStore.open(folder / "features"), Annotations.load(folder / "annotations.json")
    truth = GroundTruth.from_annotations(annotations, subset)
    decode, classes = decoder(), len(annotations.classes)
    found: dict[str, dict] = {}
    for row, name in enumerate(annotations.subset(subset)):
        meta = store.meta(name)
        labels = np.zeros(classes)
        labels[list(annotations.tags(name))] = 1
        everything = np.flatnonzero(labels)
        whole = Detections(0 * everything, np.full(len(everything), meta.duration), everything, labels[everything])
        found.setdefault("whole video", {})[name] = whole
        for probe, curve in _curves(store, annotations, name, row):
            cas = np.broadcast_to(curve.reshape(meta.num_snippets, -1), (meta.num_snippets, classes))
            found.setdefault(probe, {})[name] = decode({"labels": labels, "cas": cas}, meta)
    return {
        probe: evaluate(DetectionTable.from_videos(videos), truth, TIOUS).average for probe, videos in found.items()
    }


def _curves(store: FeatureStore, annotations: Annotations, name: str, row: int) -> Iterator[tuple[str, np.ndarray]]:
    meta, video, classes = store.meta(name), annotations.videos[name], len(annotations.classes)
    rng = np.random.default_rng([5, row])
    for bound, part in (("oracle", (0.0, 1.0)), ("core only", CORE)):
        yield bound, coverage(video, classes, meta.num_snippets, meta.snippet_seconds, part)
    yield "random", random_cas(rng, meta.num_snippets)
    yield "slow random", random_cas(rng, meta.num_snippets, 5)
    yield from plain_signals(store.video(name), store.streams)
