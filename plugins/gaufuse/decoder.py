"""Fusion as a post-processor of any host, and the candidates that decoding and labelling share."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from wtal_bench.decoding import Candidates, PooledDecoder, ThresholdDecoder, clamped
from wtal_bench.errors import ConfigError, listing
from wtal_bench.interfaces import LocatedCurve, Picture, PostProcessor, VideoOutputs
from wtal_bench.options import build, build_one_of
from wtal_bench.structures import Detections, VideoMeta
from wtal_plugins.gaufuse.fusion import Fusion
from wtal_plugins.gaufuse.snippet_classes import snapped

DECODERS = {"ThresholdDecoder": ThresholdDecoder, "PooledDecoder": PooledDecoder}


def build_decoder(spec: Mapping[str, Any], where: str = "decoder") -> ThresholdDecoder | PooledDecoder:
    """Build the decoder whose candidates are fused, from `dict(type="ThresholdDecoder"|"PooledDecoder", ...)`.

    Raises:
        ConfigError: another type, an unknown argument, or an NMS, which the fusion takes the place of.
    """
    decoder = build_one_of(DECODERS, spec, where, default="ThresholdDecoder")
    if decoder.nms is not None:
        raise ConfigError(
            f"{where}.nms: the fusion takes the place of the NMS; leave it out, or set fusion.distribution='nms' with "
            "fusion.overlap and overlap_kind to suppress instead."
        )
    return decoder


def candidates_of(decoder: ThresholdDecoder | PooledDecoder, outputs: VideoOutputs, meta: VideoMeta) -> Candidates:
    """Every candidate of one video, on one grid, sorted by class.

    A `PooledDecoder`'s passes are pooled before anything is fused; the `score_scale` of a pass scales its inner means
    too, so that a weak stream also weighs less in the fusion.

    Raises:
        ConfigError: passes over different grids.
    """
    if isinstance(decoder, ThresholdDecoder):
        return decoder.candidates(outputs, meta)
    scales = [scale for _, scale in decoder.passes.values()]
    parts = [
        part if scale == 1.0 else replace(part, inside=part.inside * scale)
        for part, scale in zip(decoder.parts(outputs, meta), scales, strict=True)
    ]
    grids = {part.axis.samples for part in parts}
    if len(grids) > 1:
        raise ConfigError(
            f"video {meta.id!r}: the passes lie on grids of {listing(map(str, sorted(grids)))} samples; candidates can "
            "only be fused on one grid. Give every pass the same upsample."
        )
    names = [field.name for field in fields(Candidates) if field.name != "axis"]
    pooled = Candidates(*(np.concatenate([getattr(part, name) for part in parts]) for name in names), parts[0].axis)
    return pooled.take(np.argsort(pooled.label, kind="stable"))


class FusedDecoder(PostProcessor):
    """Candidates of any threshold decoder, fused per class instead of suppressed (GauFuse Sec. 3.1, at test).

    Args:
        decoder: `dict(type="ThresholdDecoder"|"PooledDecoder", ...)`: the host's curve, class rule, thresholds and
            contrast; without `nms`. Its `clamp` is not used.
        fusion: settings of `wtal_plugins.gaufuse.fusion.Fusion`; test temperature 0.2 (code), 0.03 (paper).
        clamp: whether segments are cut to [0, duration] (the authors do not; the harness needs it).
        snap: evaluators on the snippet grid cut fused positions to whole snippets; put those within 1e-6 of one on it
            first (see `snippet_classes.snapped`). False is the literal code. Seconds are the same either way.

    Raises:
        ConfigError: unknown or impossible setting.

    Example:
        `dict(type="gaufuse.FusedDecoder", decoder=dict(num_classes=20, scores="video_prob", curve="cas", ...),
        fusion=dict(temperature=0.2))`
    """

    pictures = MappingProxyType(
        {
            "fusion": Picture(
                "wtal_plugins.gaufuse.picture:draw_run", "a video's candidates, what they fuse into, a label"
            )
        }
    )

    def __init__(
        self,
        decoder: Mapping[str, Any],
        fusion: Mapping[str, Any] | None = None,
        clamp: bool = True,
        snap: bool = True,
    ) -> None:
        self.decoder = build_decoder(decoder)
        self.fusion = build(Fusion, fusion, "fusion")
        self.clamp = clamp
        self.snap = snap
        self.requires = self.decoder.requires

    def __call__(self, outputs: VideoOutputs, meta: VideoMeta) -> Detections:
        """Decode one video: detections sorted by class, then by falling score.

        Raises:
            DataError: a field is missing, misshapen or NaN; the text names video, field and class.
        """
        found = self.fusion.candidates(candidates_of(self.decoder, outputs, meta)).detections()
        grid = found.snippets
        if self.snap and grid is not None:
            found = replace(found, snippets=replace(grid, start=snapped(grid.start), end=snapped(grid.end)))
        if not self.clamp:
            return found
        rows, inside = clamped(found, meta.duration)
        return rows.take(inside)

    def video_scores(self, outputs: VideoOutputs) -> np.ndarray:
        """[C] the decoder's class scores."""
        return self.decoder.video_scores(outputs)

    def told(self, classes: Collection[int]) -> FusedDecoder:
        """This decoder for a video whose classes are known: these alone are decoded, each with a class score of 1."""
        decoder = copy.copy(self)
        decoder.decoder = self.decoder.told(classes)
        return decoder

    def located_curves(self, outputs: VideoOutputs, meta: VideoMeta, classes: Sequence[int]) -> dict[str, LocatedCurve]:
        """What the decoder whose candidates are fused thresholds."""
        return self.decoder.located_curves(outputs, meta, classes)
