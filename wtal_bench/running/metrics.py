"""mmengine metrics around the evaluators: what a validation or test pass over a split says."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.dataset import VideoSet
from wtal_bench.evaluation import PRESETS, Beside, DetectionTable, ToldSnippets, classification_map, told_classes
from wtal_bench.modeling.model import Prediction
from wtal_bench.protocols import Protocol
from wtal_bench.running.measure import Measure
from wtal_bench.structures import Detections


class SplitMetric(BaseMetric):
    """Collects the predictions of every rank, by video, and hands them to `score` on the main process.

    Args:
        videos: the split; results come in its order.
    """

    default_prefix = "split"

    def __init__(self, videos: VideoSet) -> None:
        super().__init__()
        self.videos = videos

    def process(self, data_batch: Any, data_samples: list[Prediction]) -> None:
        """Keep what a batch gave."""
        self.results.extend(data_samples)

    def evaluate(self, size: int) -> dict[str, float]:
        """Score the split. Ranks may hold unequal shares, which mmengine's own gathering would cut."""
        parts = [self.results]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, self.results)
        self.results = []
        found = {prediction.meta.id: prediction for part in parts for prediction in part}
        return self.score({video: found[video] for video in self.videos.ids if video in found})

    def compute_metrics(self, results: list[Prediction]) -> dict[str, float]:
        """Score a list of predictions."""
        return self.score({prediction.meta.id: prediction for prediction in results})

    def score(self, predictions: dict[str, Prediction]) -> dict[str, float]:
        """Say what the predictions are worth."""
        raise NotImplementedError

    def classification(self, predictions: dict[str, Prediction]) -> float:
        """Video-level classification mAP as a fraction; NaN when the decoder gives no video scores."""
        if not predictions or any(p.video_scores is None for p in predictions.values()):
            return float("nan")
        scores = np.stack([predictions[video].video_scores for video in self.videos.ids if video in predictions])
        kept = [at for at, video in enumerate(self.videos.ids) if video in predictions]
        return float(classification_map(scores, self.videos.labels[kept]))


class TagMetric(SplitMetric):
    """Video-level classification mAP on held-out training videos: all that weak supervision may select by."""

    @staticmethod
    def names() -> tuple[str, ...]:
        """What `score` gives."""
        return ("holdout/classification_mAP",)

    def score(self, predictions: dict[str, Prediction]) -> dict[str, float]:
        """Return {"holdout/classification_mAP": fraction}."""
        return {"holdout/classification_mAP": self.classification(predictions)}


class ProtocolMetric(SplitMetric):
    """Everything a protocol says of the test split. The one place where temporal annotations meet predictions.

    Args:
        videos: the test split.
        protocol: what is measured.
        annotations: the ground truth, kept by the evaluator alone.
        frame_threshold: class threshold for frame accuracy (ECM Table 6), or None to leave it out.
        select_by: what the best checkpoint goes by, or None; computed besides what the protocol says.
        streams: streams whose checkpoints are picked one by one; predictions then hold what each finds alone.

    Attributes:
        report: what `protocol.score` gave last, with "classification_mAP".
        detections: what was scored, by video id.
        beside: what was scored beside them.
    """

    def __init__(
        self,
        videos: VideoSet,
        protocol: Protocol,
        annotations: Annotations,
        frame_threshold: float | None = None,
        select_by: Measure | None = None,
        streams: tuple[str, ...] = (),
    ) -> None:
        super().__init__(videos)
        self.select_by, self.streams = select_by, streams
        self.protocol, self.annotations, self.frame_threshold = protocol, annotations, frame_threshold
        self.report: dict[str, Any] = {}
        self.detections: dict[str, Detections] = {}
        self.beside = Beside()

    @staticmethod
    def names(protocol: Protocol) -> tuple[str, ...]:
        """What `score` gives under a protocol."""
        return ("test/average", *(f"test/{tiou:g}" for tiou in protocol.tious), "test/classification_mAP")

    def _beside(self, predictions: dict[str, Prediction]) -> Beside:
        """What classification mAP and frame accuracy are scored from, for the record to keep."""
        scores = {video: p.video_scores for video, p in predictions.items()}
        told = {}
        if self.frame_threshold is not None:
            told = {video: self._told(p) for video, p in predictions.items()}
        return Beside({} if any(row is None for row in scores.values()) else scores, told)

    def _told(self, prediction: Prediction) -> ToldSnippets:
        """The classes told at a video's snippets as sampled."""
        meta, curve = prediction.meta, prediction.snippet_scores
        index = np.arange(len(curve)) if meta.snippet_index is None else meta.snippet_index
        at = np.floor(index + 0.5).astype(np.int64).clip(0, meta.num_snippets - 1)
        told = told_classes(curve, prediction.video_scores, self.frame_threshold)
        return ToldSnippets(told, at, meta.num_snippets, meta.snippet_seconds)

    def _segments(self, video: str) -> list[tuple[int, float, float]]:
        return [(part.label, part.start, part.end) for part in self.annotations.videos[video].segments]

    def score(self, predictions: dict[str, Prediction]) -> dict[str, float]:
        """Return {"test/average": main average, "test/<tIoU>": mAP, "test/classification_mAP"} as fractions.

        With `select_by`, what the best checkpoint goes by too, under its own name, for every stream if there are any.
        """
        self.detections = {video: prediction.detections for video, prediction in predictions.items()}
        if not any(self.annotations.videos[video].segments for video in predictions):
            self.report = {"main": self.protocol.main, "variants": {}}  # nothing annotated, nothing to score
            return {}
        self.report = self.protocol.score(self.detections, self.annotations)
        self.beside = self._beside(predictions)
        classification = self.classification(predictions)
        if classification == classification:
            self.report["classification_mAP"] = classification
        if self.frame_threshold is not None and predictions:
            segments = {video: self._segments(video) for video in predictions}
            self.report["frame_accuracy"] = self.beside.frame_accuracy(segments, len(self.protocol.classes))
        main = self.report["variants"][self.report["main"]]
        average = main["averages"][self.protocol.headline]
        named = {f"test/{tiou:g}": value for tiou, value in zip(main["tious"], main["mAP"], strict=True)}
        selecting = self._selecting(predictions) if self.select_by is not None else {}
        return {**selecting, "test/average": average, **named, "test/classification_mAP": classification}

    def _selecting(self, predictions: dict[str, Prediction]) -> dict[str, float]:
        by, preset = self.select_by, PRESETS[self.select_by.evaluator]
        truth = self.protocol.ground_truth(self.annotations)

        def value(found: dict[str, Detections]) -> float:
            return preset.evaluate(DetectionTable.from_videos(found), truth, by.tious).average

        if not self.streams:
            scored = self.report["variants"] if set(by.tious) <= set(self.protocol.tious) else {}
            known = by.of(self.report) if by.evaluator in scored else None
            return {by.name(self.protocol): value(self.detections) if known is None else known}
        return {
            by.name(self.protocol, stream): value({video: p.alone[stream] for video, p in predictions.items()})
            for stream in self.streams
        }
