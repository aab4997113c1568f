"""What every model shows the runner: losses of a batch, predictions of a batch, and one video's outputs to decode."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import Tensor

from wtal_bench.errors import ConfigError, listing
from wtal_bench.interfaces import Batch, Component, LocatedCurve, Outputs, TrainingPass, VideoOutputs
from wtal_bench.modeling.parts import Part
from wtal_bench.structures import Detections, VideoMeta

__all__ = ["Decoding", "Model", "Prediction"]


def distributed() -> bool:
    """Whether several processes train together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


@dataclass(frozen=True)
class Prediction:
    """What the model says of one test video.

    Attributes:
        meta: the video.
        detections: what the decoder found.
        video_scores: [C] scores for video-level classification, or None.
        snippet_scores: [T,C] the decoder's curve at the snippets, for frame accuracy, or None.
        alone: what every stream finds without the others, for a model of streams that is asked for it; else empty.
    """

    meta: VideoMeta
    detections: Detections
    video_scores: np.ndarray | None
    snippet_scores: np.ndarray | None = None
    alone: Mapping[str, Detections] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Decoding:
    """All that decoding a video needs, apart from the network: it travels to other processes.

    Attributes:
        part: the post-processor in its place.
        keep_snippet_scores: whether predictions carry the decoder's curve.
        alone: a decoder of every stream, where each is decoded by itself too.
    """

    part: Part
    keep_snippet_scores: bool = False
    alone: Mapping[str, Part] = dataclasses.field(default_factory=dict)

    def __call__(self, outputs: VideoOutputs, meta: VideoMeta) -> Prediction:
        """Decode one video from its outputs."""
        inputs, decoder = self.part.inputs(dict(outputs)), self.part.component
        detections = decoder(inputs, meta).check(meta.id, meta.duration)
        scores = decoder.video_scores(inputs) if hasattr(decoder, "video_scores") else None
        curve = decoder.snippet_scores(inputs) if self.keep_snippet_scores else None
        alone = {
            name: part.component(part.inputs(dict(outputs)), meta).check(meta.id, meta.duration)
            for name, part in self.alone.items()
        }
        return Prediction(meta, detections, scores, curve, alone)


class ToDevice(BaseDataPreprocessor):
    """Moves a batch (or anything with `to(device) -> Batch`, such as a request to gather on the GPU) to the model."""

    def forward(self, data: Any, training: bool = False) -> dict[str, Batch]:
        """Give mmengine the batch as a keyword argument."""
        return {"batch": data.to(self.device, non_blocking=True)}


class Model(BaseModel):
    """The face of a model towards mmengine and the rest of the harness. Use a subclass.

    Attributes:
        grad_reduction: "mean" over the videos of a batch, or "sum" as authors do who add gradients up.
        keep_snippet_scores: whether predictions carry the decoder's curve (for frame accuracy).
        shared_fields: output fields without a batch axis.
        video_level_fields: output fields without a time axis.
    """

    grad_reduction = "mean"
    keep_snippet_scores = False
    shared_fields: set[str]
    video_level_fields: set[str]
    _decoder: Part | None = None

    def __init__(self) -> None:
        super().__init__(data_preprocessor=ToDevice())

    def parts(self) -> Iterator[tuple[str, str, Part]]:
        """Yield (key path below `model`, prefix of the fields it knows in the model's outputs, part) of every part."""
        raise NotImplementedError

    def components(self) -> Iterator[tuple[str, Component]]:
        """Yield (key path below `model`, component) of every part."""
        return ((path, part.component) for path, _, part in self.parts())

    @property
    def fields(self) -> list[str]:
        """Names of all output fields, in the order they are made."""
        raise NotImplementedError

    def compute(self, batch: Batch, wanted: Collection[str] | None = None) -> Outputs:
        """Run backbone and heads: {field: [B,...] tensor}; only what the `wanted` fields depend on, if given."""
        raise NotImplementedError

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Every loss scalar, unweighted, and "total", the weighted sum."""
        raise NotImplementedError

    def begin_epoch(self, epoch: int, training_pass: TrainingPass) -> None:
        """Tell every component that a training epoch begins (see `Component.begin_epoch`)."""
        raise NotImplementedError

    @property
    def needs(self) -> set[str]:
        """What training must put into the batch: "labels", "pairs"."""
        return {need for _, component in self.components() for need in component.needs}

    def stream_decoders(self) -> dict[str, Part]:
        """A decoder for every stream alone; {} for a model without streams, or one that cannot decode them apart."""
        return {}

    def decode_alone(self, wanted: bool) -> None:
        """Let predictions hold what every stream finds alone, or no longer: for a model of streams."""

    @property
    def decoder(self) -> Part | None:
        """The post-processor in its place; only a member of `Streams` has none."""
        return self._decoder

    @property
    def gives_snippet_scores(self) -> bool:
        """Whether the decoder has one curve at the snippets."""
        return hasattr(self._decoder.component, "snippet_scores")

    def decoder_view(self, outputs: VideoOutputs) -> tuple[np.ndarray, np.ndarray | None] | None:
        """What the decoder looks at in a video: its curve [T,C] at the snippets and its thresholds, if it has levels.

        None for a decoder without one curve.
        """
        decoder = self._decoder.component
        if not self.gives_snippet_scores:
            return None
        curve = decoder.snippet_scores(self._decoder.inputs(dict(outputs)))
        return curve, decoder.levels(curve) if hasattr(decoder, "levels") else None

    def located_curves(
        self, outputs: VideoOutputs, meta: VideoMeta, classes: Sequence[int]
    ) -> Mapping[str, LocatedCurve]:
        """What the decoder locates `classes` by in a video, of every pass or stream; {} where it does not say."""
        decoder, inputs = self._decoder.component, self._decoder.inputs(dict(outputs))
        if hasattr(decoder, "located_curves"):
            return decoder.located_curves(inputs, meta, classes)
        if not self.gives_snippet_scores:
            return {}
        curve = decoder.snippet_scores(inputs)
        shared = curve.shape[1] == 1
        return {"curve": LocatedCurve(curve if shared else curve[:, list(classes)], shared)}

    def decode_told(self, outputs: VideoOutputs, meta: VideoMeta, classes: Collection[int]) -> Detections | None:
        """What the decoder finds in a video when it is told its classes; None where it cannot be told."""
        decoder = self._decoder.component
        if not hasattr(decoder, "told"):
            return None
        return decoder.told(classes)(self._decoder.inputs(dict(outputs)), meta).check(meta.id, meta.duration)

    # ---- test ----

    def predict(self, batch: Batch) -> list[Prediction]:
        """Decode every video of the batch. Putting the model into eval mode is the caller's business."""
        return [self.decode(outputs, meta) for outputs, meta in self.video_outputs(batch)]

    def decode(self, outputs: VideoOutputs, meta: VideoMeta) -> Prediction:
        """Decode one video from its outputs alone: what was computed once can be decoded again in many ways."""
        return self.decoding()(outputs, meta)

    def decoding(self) -> Decoding:
        """The decoder with how it is to be used."""
        return Decoding(self._decoder, self.keep_snippet_scores)

    @torch.no_grad()
    def video_outputs(self, batch: Batch, fields: list[str] | None = None) -> Iterator[tuple[VideoOutputs, VideoMeta]]:
        """Yield each video's fields as float64 numpy without padding (default: those the decoder reads)."""
        wanted = self._decoder.readable if fields is None else fields
        outputs = self.compute(batch, wanted)
        arrays = {field: self._array(field, outputs[field], batch) for field in wanted if field in outputs}
        for i, (length, meta) in enumerate(zip(batch.lengths.tolist(), batch.meta, strict=True)):
            video = {}
            for field, array in arrays.items():
                if field in self.shared_fields:
                    video[field] = array
                else:
                    video[field] = array[i] if field in self.video_level_fields else array[i, :length]
            yield video, meta

    def _array(self, field: str, value: Tensor, batch: Batch) -> np.ndarray:
        timed = field not in self.shared_fields and field not in self.video_level_fields
        if timed and tuple(value.shape[:2]) != tuple(batch.mask.shape):
            raise ConfigError(
                f"output field {field!r} has shape {tuple(value.shape)}, expected [B,T,...] = "
                f"{tuple(batch.mask.shape)}: its component must list it in `video_level` (no time axis) or `shared` "
                f"(no batch axis). Fields: {listing(self.video_level_fields | self.shared_fields)} are declared so."
            )
        return value.detach().double().cpu().numpy()

    # ---- mmengine ----

    def forward(self, batch: Batch, mode: str = "loss") -> Any:
        """mmengine's entry: "loss" gives the scalars, "predict" a list of `Prediction`, "tensor" the outputs."""
        if mode == "loss":
            return {**self.losses(batch), "videos": len(batch), "share": batch.share}
        return self.predict(batch) if mode == "predict" else self.compute(batch)

    def parse_losses(self, losses: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the optimiser the total, and the log every unweighted scalar under its own name."""
        losses = dict(losses)
        videos, share, total = losses.pop("videos"), losses.pop("share"), losses.pop("total")
        log = {"loss": total.detach(), **{name: value.detach() for name, value in losses.items()}}
        if self.grad_reduction == "sum":
            # averaging over R ranks must give the sum over all of them: this rank's own sum, times R
            return total * (videos * torch.distributed.get_world_size() if distributed() else videos), log
        return total if share == 1 else total * share, log
