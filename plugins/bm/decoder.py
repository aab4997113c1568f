"""BM's test path: two streams, each thresholded on a curve of its own, pooled before one suppression."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from wtal_bench.decoding import NMS, Candidates, ThresholdDecoder, finish, upsample_linear
from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import LocatedCurve, PostProcessor, VideoOutputs
from wtal_bench.options import at_least, build, choose
from wtal_bench.structures import Detections, VideoMeta

ACTIVATIONS = ("sigmoid", "softmax")

SHARED = ("num_classes", "scores_activation", "class_threshold", "class_test", "fallback", "upsample", "contrast")
"""Settings of both streams' passes that a decoder of the core has too."""


class StreamPass(ThresholdDecoder):
    """Candidates of one stream: runs of mix * l act(a) + (1 - mix) l^2, scored on a mix of both streams' T-CAM.

    l^2 is squared after the up-sampling, which no `Curve` says; everything else is a `ThresholdDecoder`.

    Args:
        own, other: names of the streams.
        share: of the own T-CAM in the score curve; the other has the rest.
        mix, sigma, activation, attention_power: see `TwoStreamDecoder`.
        settings: of `ThresholdDecoder`.
    """

    def __init__(
        self,
        own: str,
        other: str,
        share: float,
        mix: float,
        sigma: float,
        activation: str,
        attention_power: int,
        **settings: Any,
    ) -> None:
        self.attention, self.mix, self.sigma = f"{own}.attention", mix, sigma
        cams = [
            dict(field=f"{stream}.cas", activation=activation, weight=weight)
            for stream, weight in ((own, share), (other, 1 - share))
        ]
        super().__init__(
            scores=f"{own}.test_logits",
            curve=dict(product=[self.attention, dict(field=f"{own}.cas", activation=activation)]),
            score_curve=dict(product=[self.attention] * attention_power + [dict(sum=cams)]),
            **settings,
        )

    def fine_curves(self, outputs: VideoOutputs, meta: VideoMeta) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """As in `ThresholdDecoder`, with this stream's own curve."""
        kept, weighted, scored_on = super().fine_curves(outputs, meta)
        attention = upsample_linear(np.asarray(outputs[self.attention], dtype=self.precision), self.upsample)
        curve = self.mix * np.asarray(weighted) + (1 - self.mix) * attention[:, None] ** 2
        if self.sigma > 0:
            curve = gaussian_filter1d(curve, self.sigma, axis=0, mode="reflect", truncate=4.0)
        return kept, curve, scored_on

    def located_curve(self, outputs: VideoOutputs, meta: VideoMeta, classes: Sequence[int]) -> LocatedCurve:
        """As in `ThresholdDecoder`, of this stream's own curve: every `upsample`-th fine point lies on a snippet."""
        _, curve, _ = self.told(classes).fine_curves(outputs, meta)
        return LocatedCurve(curve[:: self.upsample], probability=True)


class TwoStreamDecoder(PostProcessor):
    """BM's decoder: two streams' candidates, pooled and suppressed per class.

    Of each stream m with attention l, T-CAM a (no bias) and the other stream n's T-CAM b, over the action classes:

    - classes: softmax(`test_logits`) over C+1 columns > `class_threshold`, else the best one;
    - runs, after linear up-sampling (tail extrapolated): mix * l act(a) + (1 - mix) * l^2 > the stream's threshold;
    - score: mean inside minus `contrast.weight` times the mean of each flank, on l^p (share * act(a) + (1 - share) *
      act(b)). The own attention weighs both, p = 2 times.

    Args:
        streams: two names -> dict(threshold=, share=); the second's share need not be one minus the first's.
        num_classes: C.
        class_threshold: of the class probability, exceeded.
        fallback: "argmax" or "none", for a stream in which no class passes.
        mix: see above.
        upsample: factor.
        sigma: > 0 smooths the finished up-sampled curve with a Gaussian of that many fine points before the threshold
            (ActivityNet 1.2: 25); the score curve stays as it is.
        activation: of the T-CAM, "sigmoid", or "softmax" over all C+1 columns.
        attention_power: p, 2 or 1.
        scores_activation: of `test_logits`.
        contrast, nms, clamp: as in `ThresholdDecoder`.

    Raises:
        ConfigError: not two streams, or an impossible setting.
    """

    def __init__(
        self,
        *,
        streams: Mapping[str, Mapping[str, float]],
        num_classes: int,
        class_threshold: float = 0.1,
        fallback: str = "argmax",
        mix: float = 0.8,
        upsample: int = 20,
        sigma: float = 0.0,
        activation: str = "sigmoid",
        attention_power: int = 2,
        scores_activation: str = "softmax",
        contrast: Mapping[str, Any] | None = None,
        nms: NMS | Mapping[str, Any] | None = None,
        clamp: str = "after_nms",
    ) -> None:
        if not isinstance(streams, Mapping) or len(streams) != 2:
            raise ConfigError(f"streams must be a dict of two streams, name -> settings; got {streams!r}.")
        if attention_power not in (1, 2):
            raise ConfigError(f"attention_power={attention_power!r}: the score holds the attention once or twice.")
        at_least("upsample", upsample, 1, whole=True)
        self.nms = None if nms is None else build(NMS, nms, "nms")
        self.clamp = choose("clamp", clamp, ("after_nms", "before_nms", "none"))
        common = dict(
            mix=at_least("mix", mix, 0),
            sigma=at_least("sigma", sigma, 0),
            activation=choose("activation", activation, ACTIVATIONS),
            attention_power=attention_power,
            num_classes=num_classes,
            scores_activation=scores_activation,
            class_threshold=class_threshold,
            class_test=">",
            fallback=fallback,
            upsample=upsample,
            contrast=dict(outer=0.25, ring="one_more", weight=0.3, sides="separate") if contrast is None else contrast,
        )
        first, second = streams
        self.passes = {}
        for own, other in ((first, second), (second, first)):
            given = streams[own]
            if not isinstance(given, Mapping) or set(given) != {"threshold", "share"}:
                raise ConfigError(f"streams.{own} must be dict(threshold=, share=), got {given!r}.")
            share = at_least(f"streams.{own}.share", given["share"], 0)
            self.passes[own] = StreamPass(own, other, share, thresholds=[given["threshold"]], **common)
        self.requires = tuple(dict.fromkeys(field for part in self.passes.values() for field in part.requires))
        self._shared = {key: common[key] for key in SHARED}
        self._thresholds = {own: given["threshold"] for own, given in streams.items()}

    def as_core_decoder(self) -> dict[str, Any]:
        """What comes nearest for ideas that take candidates over: runs of l softmax(a), each stream's own threshold."""
        passes = {
            own: dict(
                scores=f"{own}.test_logits",
                curve=dict(product=[f"{own}.attention", dict(field=f"{own}.cas", activation="softmax")]),
                thresholds=[threshold],
            )
            for own, threshold in self._thresholds.items()
        }
        return dict(type="PooledDecoder", shared=dict(self._shared), passes=passes)

    def __call__(self, outputs: VideoOutputs, meta: VideoMeta) -> Detections:
        """Decode one video: detections sorted by class, inside a class in NMS order."""
        return finish(self.parts(outputs, meta), meta.duration, self.nms, clamp=self.clamp)

    def parts(self, outputs: VideoOutputs, meta: VideoMeta) -> list[Candidates]:
        """Every stream's candidates, in order."""
        return [decoder.candidates(outputs, meta) for decoder in self.passes.values()]

    def told(self, classes: Collection[int]) -> TwoStreamDecoder:
        """This decoder for a video whose classes are known: both streams decode these alone, class score 1."""
        decoder = copy.copy(self)
        decoder.passes = {name: part.told(classes) for name, part in self.passes.items()}
        return decoder

    def located_curves(self, outputs: VideoOutputs, meta: VideoMeta, classes: Sequence[int]) -> dict[str, LocatedCurve]:
        """The curve that every stream thresholds, by the stream's name."""
        return {name: part.located_curve(outputs, meta, classes) for name, part in self.passes.items()}

    def video_scores(self, outputs: VideoOutputs, video: str = "?") -> np.ndarray:
        """[C] mean of the streams' class scores."""
        return np.mean([decoder.video_scores(outputs, video) for decoder in self.passes.values()], axis=0)
