"""Decoders: one video's outputs -> detections in seconds. Every published threshold decoder is a setting of these.

The way of one pass: class scores pick the classes, a curve is normalised and up-sampled, runs above every threshold
become candidates with a contrast score, positions become seconds, NMS per class over all thresholds.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wtal_bench.decoding.curves import (
    ACTIVATIONS,
    Curve,
    ReadFields,
    Thresholds,
    Upsampled,
    action_scores,
    check_upsample,
    read_field,
    upsample,
)
from wtal_bench.decoding.nms import NMS
from wtal_bench.decoding.proposals import Contrast, find_runs
from wtal_bench.decoding.time import CONVENTIONS, TimeAxis
from wtal_bench.errors import ConfigError, DataError, did_you_mean, listing
from wtal_bench.interfaces import LocatedCurve, PostProcessor, VideoOutputs
from wtal_bench.options import at_least, build, choose
from wtal_bench.structures import Detections, SnippetPositions, VideoMeta

CLAMPS = ("after_nms", "before_nms", "none")
NMS_UNITS = ("seconds", "samples")


@dataclass(frozen=True)
class Candidates:
    """Scored segments of one video on the decoder's grid, as columns [R]. Sorted by (class, threshold, start) at first.

    Attributes:
        start, end: positions in samples (see `wtal_bench.decoding.time`); `end` carries the decoder's `end_overhang`.
        label: class index.
        score: contrast score.
        inside: the contrast's inside statistic (GauFuse fuses by it).
        axis: the grid's time axis.
    """

    start: np.ndarray
    end: np.ndarray
    label: np.ndarray
    score: np.ndarray
    inside: np.ndarray
    axis: TimeAxis

    def __len__(self) -> int:
        return len(self.start)

    def take(self, index: np.ndarray) -> Candidates:
        """The rows `index` selects (indices or a mask), in that order."""
        names = ("start", "end", "label", "score", "inside")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def suppressed(self, nms: NMS | None, units: str = "seconds") -> Candidates:
        """What `nms` keeps of every class, on the grid still: sorted by class, inside a class in NMS order."""
        if nms is None:
            return self
        seconds = self.detections()
        start, end = (self.start, self.end) if units == "samples" else (seconds.start, seconds.end)
        kept, score = nms(start, end, self.score, self.label)
        return replace(self.take(kept), score=score)

    def detections(self) -> Detections:
        """The rows in seconds, as they are: neither suppressed nor cut to the video.

        On the grid of stored snippets they keep their positions, for the evaluators that work on it.
        """
        rate = self.axis.snippet_rate
        snippets = None if rate is None else SnippetPositions(self.start, self.end, rate)
        return Detections(self.axis.seconds(self.start), self.axis.seconds(self.end), self.label, self.score, snippets)


class ThresholdDecoder(PostProcessor):
    """Runs of a curve above thresholds, scored by contrast, suppressed per class: the decoder of the field.

    Args:
        num_classes: C action classes; columns from C on (background) are dropped after any softmax and never proposed.
            None = every column of `scores` is an action class.
        scores: field of the video-level class scores, [C] or [C+1]; or a dict field -> weight, whose activated scores
            are summed (two streams fused: `{"pre.video_logits": 0.4, "post.post_logits": 0.6}`).
        scores_activation: "none", "softmax" (over all columns) or "sigmoid".
        tag_scores: what video-level classification is scored on where it is not `scores`, in the same form.
        tag_activation: as `scores_activation`, for `tag_scores`.
        class_threshold: a class is decoded if its score passes it.
        class_test: ">=" or ">".
        fallback: what to decode if no class passes: "none", or "argmax" (the best class, lowest index of equals).
        lone_first_class: "drop" decodes nothing where class 0 alone passes (`any(indices)` in BaS-Net's code).
        curve: what is thresholded: a field [T], [T,C] or [T,C+1], or sums and products of fields (see `Curve`). A
            class-agnostic curve [T] gives every decoded class the same runs.
        normalize: min-max over time of the finished `curve`, before up-sampling (see `normalize`); also applied to
            `score_curve`.
        upsample: None, a factor (linear, tail extrapolated), or "frames" (half-pixel, to the video's frame count).
        thresholds: list, dict(arange=...), dict(linspace=...) or dict(relative=[...]) (see `Thresholds`).
        thresholds_of: None, or the number N of classes that `thresholds` were chosen for, where they are probabilities
            over N + 1 columns: with `num_classes` C they are multiplied by (N + 1) / (C + 1), so that they lie as far
            from chance. With C = N nothing changes.
        above, positive, min_length, lone_first_sample: what a run is (see `find_runs`).
        score_curve: curve the contrast is taken on, if it is not (only) the thresholded one.
        run_share: factor with which the thresholded curve enters the contrast; None = 1 without `score_curve`, else 0.
        zero_below: samples of the thresholded curve below the threshold count as 0 in the contrast.
        contrast: dict of `Contrast` arguments.
        end_overhang: samples added to a run's stored end (FAC-Net, RSKP, GauFuse: 1).
        time: how positions become seconds (see `wtal_bench.decoding.time`).
        nms: dict of `NMS` arguments; None = no suppression.
        nms_units: whether NMS works on "seconds" or on "samples" (matters with an `offset`).
        clamp: when segments are cut to [0, duration] and empty ones dropped: "after_nms" (the published order plus the
            guarantee), "before_nms" (BGES), or "none" (for parity: code that never clamps may run past the end).
        precision: "float64", or "float32" for codes that compare and average float32 curves (GauFuse).

    Raises:
        ConfigError: unknown or impossible setting.

    Example:
        ECM on THUMOS14: `dict(type="ThresholdDecoder", num_classes=20, scores="pre.video_logits", curve="pre.cas",
        class_threshold=0.25, normalize="rectified", upsample="frames", thresholds=dict(arange=(0.01, 0.2, 0.025)),
        above=">=", positive=True, zero_below=True, contrast=dict(outer=0.4, ring="exclusive", video_score=0.15),
        time="fps", nms=dict(iou=0.6, offset=1.0))`
    """

    _told: np.ndarray | None = None

    def __init__(
        self,
        *,
        thresholds: Any,
        thresholds_of: int | None = None,
        num_classes: int | None = None,
        scores: str | Mapping[str, float] = "video_logits",
        scores_activation: str = "softmax",
        tag_scores: str | Mapping[str, float] | None = None,
        tag_activation: str = "softmax",
        class_threshold: float = 0.1,
        class_test: str = ">=",
        fallback: str = "none",
        lone_first_class: str = "keep",
        curve: Any = "cas",
        normalize: str = "none",
        upsample: int | str | None = None,
        above: str = ">",
        positive: bool = False,
        min_length: int = 1,
        lone_first_sample: str = "keep",
        score_curve: Any = None,
        run_share: float | None = None,
        zero_below: bool = False,
        contrast: Contrast | Mapping[str, Any] | None = None,
        end_overhang: int = 0,
        time: str = "stride",
        nms: NMS | Mapping[str, Any] | None = None,
        nms_units: str = "seconds",
        clamp: str = "after_nms",
        precision: str = "float64",
    ) -> None:
        self.num_classes = None if num_classes is None else at_least("num_classes", num_classes, 1, whole=True)
        self.scores = _weighted_fields(scores, "scores")
        self.scores_activation = choose("scores_activation", scores_activation, ACTIVATIONS)
        self.tag_scores = self.scores if tag_scores is None else _weighted_fields(tag_scores, "tag_scores")
        tag_activation = choose("tag_activation", tag_activation, ACTIVATIONS)
        self.tag_activation = self.scores_activation if tag_scores is None else tag_activation
        self.class_threshold = at_least("class_threshold", class_threshold, -np.inf)
        self.class_test = choose("class_test", class_test, (">=", ">"))
        self.fallback = choose("fallback", fallback, ("none", "argmax"))
        self.lone_first_class = choose("lone_first_class", lone_first_class, ("keep", "drop"))
        self.curve = Curve.normalized(curve, normalize, "curve")
        self.score_curve = None if score_curve is None else Curve.normalized(score_curve, normalize, "score_curve")
        self.upsample = check_upsample(upsample)
        self.thresholds = Thresholds(thresholds)
        if thresholds_of is not None:
            self.thresholds = self.thresholds.for_classes(thresholds_of, self.num_classes)
        self.runs = {
            "above": choose("above", above, (">", ">=")),
            "positive": bool(positive),
            "min_length": at_least("min_length", min_length, 1, whole=True),
            "lone_first_sample": choose("lone_first_sample", lone_first_sample, ("keep", "drop")),
        }
        default_share = 1.0 if score_curve is None else 0.0
        self.run_share = default_share if run_share is None else at_least("run_share", run_share, 0)
        self.zero_below = bool(zero_below)
        self.contrast = build(Contrast, contrast, "contrast")
        self.end_overhang = at_least("end_overhang", end_overhang, 0, whole=True)
        self.time = choose("time", time, CONVENTIONS)
        self.nms = None if nms is None else build(NMS, nms, "nms")
        self.nms_units = choose("nms_units", nms_units, NMS_UNITS)
        self.clamp = choose("clamp", clamp, CLAMPS)
        self.precision = np.dtype(choose("precision", precision, ("float64", "float32")))
        used = (
            *self.scores,
            *self.tag_scores,
            *self.curve.fields,
            *(self.score_curve.fields if self.score_curve else ()),
        )
        self.requires = tuple(dict.fromkeys(used))

    def __call__(self, outputs: VideoOutputs, meta: VideoMeta) -> Detections:
        """Decode one video: detections sorted by class, inside a class in NMS order.

        Raises:
            DataError: a field is missing, misshapen or NaN; the text names video, field and class.
        """
        return finish([self.candidates(outputs, meta)], meta.duration, self.nms, self.nms_units, self.clamp)

    def video_scores(self, outputs: VideoOutputs, video: str = "?") -> np.ndarray:
        """[C] scores for video-level classification (`tag_scores`, activated), background dropped."""
        return self._scores(self.tag_scores, self.tag_activation, outputs, video)

    def class_scores(self, outputs: VideoOutputs, video: str = "?") -> np.ndarray:
        """[C] scores that pick the classes to decode (`scores`, activated), background dropped."""
        scores = self._scores(self.scores, self.scores_activation, outputs, video)
        return scores if self._told is None else np.isin(np.arange(len(scores)), self._told).astype(scores.dtype)

    def _scores(self, fields: Mapping[str, float], activation: str, outputs: VideoOutputs, video: str) -> np.ndarray:
        total = 0.0
        for field, weight in fields.items():
            values = read_field(outputs, field, video, (1,), self.precision)
            classes = len(values) if self.num_classes is None else self.num_classes
            scores = action_scores(values, activation, classes, field, video)
            total = total + (scores if weight == 1.0 else scores.dtype.type(weight) * scores)
        return total

    def snippet_scores(self, outputs: VideoOutputs, video: str = "?") -> np.ndarray:
        """[T,C] the finished (normalised) curve at the snippets, before up-sampling; [T,1] if it is class-agnostic."""
        classes = len(self.class_scores(outputs, video))
        curve = self.curve.evaluate(outputs, classes, video, self.precision)
        return curve[:, None] if curve.ndim == 1 else curve

    def told(self, classes: Collection[int]) -> ThresholdDecoder:
        """This decoder for a video whose classes are known: these alone are decoded, each with a class score of 1."""
        decoder = copy.copy(self)
        decoder._told = np.array(sorted(set(classes)), dtype=np.int64)
        return decoder

    def located_curves(self, outputs: VideoOutputs, meta: VideoMeta, classes: Sequence[int]) -> dict[str, LocatedCurve]:
        """Its one curve, by the name "curve" (see `located_curve`)."""
        return {"curve": self.located_curve(outputs, meta, classes)}

    def located_curve(self, outputs: VideoOutputs, meta: VideoMeta, classes: Sequence[int]) -> LocatedCurve:
        """The finished curve of K classes at the snippets, before up-sampling.

        A decoder that overrides `fine_curves` overrides this too: what is diagnosed is what is decoded.
        """
        count = len(self.class_scores(outputs, meta.id))
        values = self.curve.evaluate(outputs, count, meta.id, self.precision, np.asarray(classes, dtype=np.int64))
        shared = values.ndim == 1
        return LocatedCurve(values[:, None] if shared else values, shared, self.curve.activated)

    def levels(self, curve: np.ndarray) -> np.ndarray:
        """[H] thresholds, or [C,H] where they are relative to a curve [T,C]: for pictures."""
        return self.thresholds.levels(curve)

    def kept_classes(self, scores: np.ndarray) -> np.ndarray:
        """Indices (ascending) of the classes that are decoded, for scores [C]."""
        if self._told is not None:
            return self._told
        limit = scores.dtype.type(self.class_threshold)
        kept = np.flatnonzero(scores >= limit if self.class_test == ">=" else scores > limit)
        if not len(kept) and self.fallback == "argmax":
            kept = np.array([int(np.argmax(scores))])
        if self.lone_first_class == "drop" and len(kept) == 1 and kept[0] == 0:
            kept = kept[:0]
        return kept

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Refuse a decoder whose own `curves` nothing would call."""
        super().__init_subclass__(**keywords)
        if "curves" in vars(cls):
            raise TypeError(f"{cls.__name__} overrides `curves`; `candidates` reads `fine_curves`: override that.")

    def curves(self, outputs: VideoOutputs, meta: VideoMeta) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """`fine_curves` as arrays."""
        kept, runs_on, scored_on = self.fine_curves(outputs, meta)
        return kept, np.asarray(runs_on), None if scored_on is None else np.asarray(scored_on)

    def fine_curves(
        self, outputs: VideoOutputs, meta: VideoMeta
    ) -> tuple[np.ndarray, np.ndarray | Upsampled, np.ndarray | Upsampled | None]:
        """What `candidates` thresholds and scores; a decoder with curves of its own overrides this and `located_curve`.

        Returns:
            [K] kept classes; the up-sampled curve [N,K], or [N,1] if it is class-agnostic; the up-sampled score curve
            [N,K] or None.
        """
        scores = self.class_scores(outputs, meta.id)
        kept = self.kept_classes(scores)

        def ready(curve: Curve) -> np.ndarray | Upsampled:
            values = curve.evaluate(outputs, len(scores), meta.id, self.precision, kept)
            values = values[:, None] if values.ndim == 1 else values
            return upsample(values, self.upsample, meta.frames)

        runs_on = ready(self.curve)
        scored_on = None if self.score_curve is None else ready(self.score_curve)
        if scored_on is not None and len(scored_on) != len(runs_on):
            raise DataError(
                f"video {meta.id!r}: curve ({', '.join(self.curve.fields)}) has {len(runs_on)} samples, score_curve "
                f"({', '.join(self.score_curve.fields)}) has {len(scored_on)}; they must lie on one time line."
            )
        return kept, runs_on, scored_on

    def candidates(self, outputs: VideoOutputs, meta: VideoMeta) -> Candidates:
        """Scored segments before NMS and clamping, sorted by (class, threshold, start)."""
        outputs = outputs if isinstance(outputs, ReadFields) else ReadFields(outputs)
        kept, runs_on, scored_on = self.fine_curves(outputs, meta)
        video_scores = self.class_scores(outputs, meta.id)[kept] if self.contrast.video_score else None
        runs_on = np.asarray(runs_on) if self.thresholds.relative else runs_on
        runs = find_runs(runs_on, self.thresholds.levels(runs_on), **self.runs)
        if runs_on.shape[1] == 1 and len(kept) != 1:
            runs = runs.tiled(len(kept))
        shape = (len(runs_on), len(kept))
        scored_on = None if scored_on is None else _wide(scored_on, shape)
        if self.run_share == 0.0 and scored_on is not None:
            score, inside = self.contrast.score(runs, scored_on, video_scores)
        else:
            score, inside = self.contrast.score(
                runs,
                _wide(runs_on, shape),
                video_scores,
                zero_below=self.zero_below,
                share=self.run_share,
                plus=scored_on,
            )
        return Candidates(
            runs.start.astype(np.float64),
            (runs.end + self.end_overhang).astype(np.float64),
            kept[runs.column],
            score,
            inside,
            TimeAxis(self.time, shape[0], meta),
        )


def _wide(curve: np.ndarray | Upsampled, shape: tuple[int, int]) -> np.ndarray | Upsampled:
    return curve if curve.shape == shape else np.broadcast_to(curve, shape)


def _weighted_fields(given: str | Mapping[str, float], where: str) -> dict[str, float]:
    fields = {given: 1.0} if isinstance(given, str) else dict(given)
    if not fields:
        raise ConfigError(f"{where} is empty; name a field, or give a dict field -> weight.")
    return fields


def finish(
    parts: Sequence[Candidates],
    duration: float,
    nms: NMS | None = None,
    nms_units: str = "seconds",
    clamp: str = "after_nms",
    only_shared: bool = False,
) -> Detections:
    """Pool candidates of one video, suppress per class, give detections in seconds.

    Args:
        parts: candidates of one or several passes over the video; pooled class by class, in this order.
        duration: of the video, in seconds.
        nms, nms_units, clamp: as in `ThresholdDecoder`.
        only_shared: leave a class alone, order included, that only one part proposes (FAC-Net's merge of two streams).

    Returns:
        Detections sorted by class; inside a class in NMS order (in pooled order without NMS).

    Raises:
        ConfigError: `nms_units="samples"` over grids that differ.
    """
    pooled = parts[0].detections() if len(parts) == 1 else Detections.concatenate(p.detections() for p in parts)
    rows = np.argsort(pooled.label, kind="stable")
    if clamp == "before_nms":
        pooled, inside = clamped(pooled, duration)
        rows = rows[inside[rows]]
    if nms is not None and len(rows):
        alone = rows[:0]
        if only_shared:
            owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
            shared = np.isin(pooled.label[rows], _shared(pooled.label, owner))
            alone, rows = rows[~shared], rows[shared]
        start, end = _positions(parts) if nms_units == "samples" else (pooled.start, pooled.end)
        kept, softened = nms(start[rows], end[rows], pooled.score[rows], pooled.label[rows])
        rows = rows[kept]
        if nms.kind != "hard":
            score = pooled.score.copy()
            score[rows] = softened
            pooled = replace(pooled, score=score)
        if len(alone):
            rows = np.concatenate([rows, alone])
            rows = rows[np.argsort(pooled.label[rows], kind="stable")]
    sorted_already = len(parts) == 1 and len(rows) == len(pooled) and bool((rows[1:] > rows[:-1]).all())
    found = pooled if sorted_already else pooled.take(rows)
    if clamp == "after_nms":
        found, inside = clamped(found, duration)
        found = found.take(inside)
    return found


def _positions(parts: Sequence[Candidates]) -> tuple[np.ndarray, np.ndarray]:
    """Pooled starts and ends in samples of the parts' common grid."""
    grids = sorted({part.axis.samples for part in parts})
    if len(grids) > 1:
        raise ConfigError(f"nms_units='samples' needs passes over one grid, got {grids} samples; use 'seconds'.")
    return np.concatenate([part.start for part in parts]), np.concatenate([part.end for part in parts])


def _shared(label: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Labels that more than one part has."""
    pairs = np.unique(np.stack([label, part]), axis=1)
    labels, count = np.unique(pairs[0], return_counts=True)
    return labels[count > 1]


def clamped(detections: Detections, duration: float) -> tuple[Detections, np.ndarray]:
    """Cut every row to [0, duration]. Positions on the snippet grid stay: its evaluators see what was decoded.

    Returns:
        the rows (same number), and a [N] bool mask of those that are not empty now.
    """
    start, end = (np.clip(column, 0.0, duration) for column in (detections.start, detections.end))
    return replace(detections, start=start, end=end), start < end


class PooledDecoder(PostProcessor):
    """Several threshold decoders over one video, pooled before one NMS per class.

    For codes that threshold more than one curve (ACM-Net: CAS pass then attention pass; CoLA; UM), or decode two
    streams and merge them (FAC-Net, STPN, BM; the merge row of ECM's Table 5).

    Args:
        passes: name -> dict of `ThresholdDecoder` arguments, pooled in this order; None removes a pass. A pass may add
            `score_scale`, a factor on its finished scores (FAC-Net: 0.1 for RGB). Its own `nms` (default None) runs
            before the pooling; `clamp` belongs to the pooled decoder.
        shared: arguments every pass starts from.
        nms: dict of `NMS` arguments for the pooled candidates; None = no suppression.
        nms_units: "seconds" or "samples" (of one common grid).
        nms_classes: "all", or "shared": suppress only classes that at least two passes propose.
        clamp: as in `ThresholdDecoder`.

    Raises:
        ConfigError: unknown or impossible setting; the pass is named.

    Example:
        ACM-Net on THUMOS14: `dict(type="PooledDecoder", shared=dict(num_classes=20, scores="inst.video_logits",
        class_threshold=0.25, fallback="argmax", upsample=20, above=">=", min_length=2, contrast=dict(outer=0.2)),
        passes=dict(cas=dict(curve="inst.cas", thresholds=[0.15, 0.2], zero_below=True), attention=dict(
        curve="attention", score_curve="inst.cas", thresholds=dict(arange=(0.15, 1, 0.05)))), nms=dict(iou=0.55,
        offset=1.0))`
    """

    def __init__(
        self,
        *,
        passes: Mapping[str, Mapping[str, Any] | None],
        shared: Mapping[str, Any] | None = None,
        nms: NMS | Mapping[str, Any] | None = None,
        nms_units: str = "seconds",
        nms_classes: str = "all",
        clamp: str = "after_nms",
    ) -> None:
        if not isinstance(passes, Mapping) or not any(spec is not None for spec in passes.values()):
            raise ConfigError(f"passes must be a dict of at least one pass, name -> dict of settings; got {passes!r}.")
        self.passes: dict[str, tuple[ThresholdDecoder, float]] = {}
        for name, spec in passes.items():
            if spec is not None:
                self.passes[name] = _build_pass(shared or {}, spec, f"passes.{name}")
        self.nms = None if nms is None else build(NMS, nms, "nms")
        self.nms_units = choose("nms_units", nms_units, NMS_UNITS)
        self.nms_classes = choose("nms_classes", nms_classes, ("all", "shared"))
        self.clamp = choose("clamp", clamp, CLAMPS)
        self.requires = tuple(dict.fromkeys(name for decoder, _ in self.passes.values() for name in decoder.requires))

    def __call__(self, outputs: VideoOutputs, meta: VideoMeta) -> Detections:
        """Decode one video: detections sorted by class, inside a class in NMS order.

        Raises:
            DataError: a field is missing, misshapen or NaN; the text names video, field and class.
        """
        parts = self.parts(outputs, meta)
        return finish(parts, meta.duration, self.nms, self.nms_units, self.clamp, self.nms_classes == "shared")

    def parts(self, outputs: VideoOutputs, meta: VideoMeta) -> list[Candidates]:
        """Every pass's candidates, after its own NMS and score scale, in order."""
        found, outputs = [], ReadFields(outputs)
        for decoder, scale in self.passes.values():
            part = decoder.candidates(outputs, meta).suppressed(decoder.nms, decoder.nms_units)
            found.append(part if scale == 1.0 else replace(part, score=part.score * scale))
        return found

    def told(self, classes: Collection[int]) -> PooledDecoder:
        """This decoder for a video whose classes are known: every pass decodes these alone, with a class score of 1."""
        decoder = copy.copy(self)
        decoder.passes = {name: (part.told(classes), scale) for name, (part, scale) in self.passes.items()}
        return decoder

    def located_curves(self, outputs: VideoOutputs, meta: VideoMeta, classes: Sequence[int]) -> dict[str, LocatedCurve]:
        """The curve that every pass thresholds, by the pass's name."""
        outputs = ReadFields(outputs)
        return {name: part.located_curve(outputs, meta, classes) for name, (part, _) in self.passes.items()}

    def video_scores(self, outputs: VideoOutputs, video: str = "?") -> np.ndarray:
        """[C] mean of the passes' scores for classification; passes that read the same scores count once."""
        decoders = {(*d.tag_scores.items(), d.tag_activation): d for d, _ in self.passes.values()}
        return np.mean([decoder.video_scores(outputs, video) for decoder in decoders.values()], axis=0)


def _build_pass(shared: Mapping[str, Any], own: Mapping[str, Any], where: str) -> tuple[ThresholdDecoder, float]:
    for name, given in (("shared", shared), (where, own)):
        if not isinstance(given, Mapping):
            raise ConfigError(f"{name} must be a dict of ThresholdDecoder settings; got {given!r}.")
    spec = {**shared, **own}
    scale = spec.pop("score_scale", 1.0)
    known = [name for name in inspect.signature(ThresholdDecoder).parameters if name != "clamp"]
    for key in spec:
        if key not in known:
            nearest = did_you_mean(key, [*known, "score_scale"])
            raise ConfigError(f"{where}: unknown key {key!r}.{nearest} A pass takes {listing(known, 40)}, score_scale.")
    if "thresholds" not in spec:
        raise ConfigError(f"{where} needs thresholds.")
    try:
        return ThresholdDecoder(**spec), at_least("score_scale", scale, 0)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
