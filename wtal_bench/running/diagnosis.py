"""Why a run came out as it did: what its attention, curves, tags and candidates are worth on labelled test videos.

Made after the test, by the evaluator's side: training never sees any of it. Every number is a mean over videos, so a
long video does not speak for the others.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wtal_bench.data.detection_notes import NEAR_ZERO
from wtal_bench.decoding.postprocessors import ThresholdDecoder, finish
from wtal_bench.evaluation import DetectionTable, GroundTruth
from wtal_bench.evaluation.overlaps import temporal_iou
from wtal_bench.interfaces import LocatedCurve, VideoOutputs
from wtal_bench.protocols import Protocol
from wtal_bench.structures import Detections, VideoMeta
from wtal_bench.text import percent

if TYPE_CHECKING:
    from wtal_bench.modeling.model import Model
    from wtal_bench.running.runner import Testing

_LOG = logging.getLogger("wtal_bench")

OPEN, CLOSED = 0.95, 0.05
"""An attention above the first, below the second, says nothing more about its snippet."""

MIRRORED, BLIND, STUCK, TOLD_BADLY = 0.45, 0.6, 0.9, 0.6
"""Bounds of the patterns `causes` names: AUC of a mirrored foreground and of a curve that is blind, share of snippets
of a stuck attention, classification mAP of tags that fail."""

CHANCE = 1 - MIRRORED
"""AUC below which a foreground that is not mirrored is as good as drawn."""

MISSED = 0.4
"""Share of instances beyond which an attention that is stuck misses too many to be called sparse by design."""

ELSEWHERE = 0.2
"""Share of snippets by which a stuck attention must be less stuck with dropout on to be called stuck at test alone."""

BOUNDS = {"open": f"above {OPEN}", "closed": f"below {CLOSED}"}

POOR = 0.05
"""Average mAP below which what ran to an end is named though no other decoder does better: the run is lost."""

FOREGROUND = ("attention", "actionness")
"""Fields that say action or background, of the model or of a stream (`flow.attention`)."""

Instances = list[tuple[int, float, float]]
"""Rows (class index, start s, end s)."""


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive snippet scores above a negative one, ties counting half; NaN without both.

    Args:
        scores: [T] numbers.
        positive: [T] bool.
    """
    count = np.count_nonzero(positive)
    rest = len(positive) - count
    if not count or not rest:
        return float("nan")
    # scipy.stats, which has it, takes longer to import than all of the harness
    others = np.sort(scores[~positive])
    below, upto = (np.searchsorted(others, scores[positive], side) for side in ("left", "right"))
    return float((below.sum() + upto.sum()) / 2 / (count * rest))


@dataclass
class _Foreground:
    """What is kept of a foreground field, a number a video."""

    auc: list[float] = field(default_factory=list)
    missed: list[float] = field(default_factory=list)
    open: list[float] = field(default_factory=list)
    closed: list[float] = field(default_factory=list)

    def add(self, values: np.ndarray, inside: np.ndarray, spans: list[np.ndarray]) -> None:
        """Args: values [T] of one video, inside [T] bool any instance, spans: [T] bool of every instance."""
        self.auc.append(area_under_curve(values, inside))
        mean = values.mean()
        self.missed += [float(values[span].max() <= mean) for span in spans if span.any()]
        self.open.append(float((values > OPEN).mean()))
        self.closed.append(float((values < CLOSED).mean()))

    def summary(self) -> dict[str, float | None]:
        return {name: _mean(getattr(self, name)) for name in ("auc", "missed", "open", "closed")}


@dataclass
class _Located:
    """What is kept of a curve that classes are located by, a number a video and tagged class."""

    values: _Foreground = field(default_factory=_Foreground)
    flat: list[float] = field(default_factory=list)
    probability: bool = True
    shared: bool = True

    def add(self, values: np.ndarray, own: np.ndarray, spans: list[np.ndarray]) -> None:
        """Args: values [T] of one class in one video, own [T] bool its instances, spans: [T] bool of each."""
        self.values.add(values, own, spans)
        self.flat.append(float(np.ptp(values) < 1e-6))

    def summary(self) -> dict[str, float | bool | None]:
        """As of a foreground, flat, and whether classes share it; open and closed are None of no probability."""
        found = self.values.summary() | {"flat": _mean(self.flat), "shared": self.shared}
        return found if self.probability else found | dict.fromkeys(BOUNDS)


class Examiner:
    """Takes test videos one by one, and says in the end what the run's parts are worth.

    Args:
        protocol: what is measured.
        truth: instances of every video under evaluation.
        read: fields that the decoder reads, see `causes`.
    """

    def __init__(self, protocol: Protocol, truth: Mapping[str, Instances], read: Collection[str] = ()) -> None:
        self.protocol, self.truth, self.read = protocol, truth, read
        self._foregrounds: dict[str, _Foreground] = {}
        self._action: list[float] = []
        self._curves: dict[str, _Located] = {}
        self._found: dict[str, Detections] = {}
        self._told: dict[str, Detections] = {}
        self._own_curve: dict[str, Detections] = {}
        self._decoder = ThresholdDecoder(
            curve="curve",
            scores="tags",
            scores_activation="none",
            class_threshold=0.5,
            normalize="minmax",
            thresholds=dict(arange=(0.1, 0.91, 0.1)),
            contrast=dict(outer=0.25),
            nms=dict(iou=0.5),
        )

    def tags(self, video: str) -> list[int]:
        """Classes of the instances of a video, ascending."""
        return sorted({label for label, _, _ in self.truth.get(video, [])})

    def add(
        self,
        meta: VideoMeta,
        foregrounds: Mapping[str, np.ndarray],
        curves: Mapping[str, LocatedCurve],
        found: Detections,
        told: Detections | None = None,
    ) -> None:
        """Take one video.

        Args:
            meta: the video, its snippets as sampled.
            foregrounds: field name -> [T].
            curves: name -> what the decoder locates the K classes in `tags` by, [T,K] or [T,1].
            found: what was detected.
            told: what the decoder detects when it is told the tags, None for one that cannot be told.
        """
        self._found[meta.id] = found
        self.look(meta, foregrounds)
        if told is not None:
            self._told[meta.id] = told
        fitting = {name: curve for name, curve in curves.items() if len(curve.values) == len(_centres(meta))}
        if fitting and self.tags(meta.id):
            self._add_curves(meta, fitting)

    def look(self, meta: VideoMeta, foregrounds: Mapping[str, np.ndarray]) -> None:
        """Take the foregrounds (name -> [T]) of one video alone."""
        times = _centres(meta)
        spans = [(times >= start) & (times < end) for _, start, end in self.truth.get(meta.id, [])]
        inside = np.logical_or.reduce(spans) if spans else np.zeros(len(times), dtype=bool)
        self._action.append(float(inside.mean()))
        for name, values in foregrounds.items():
            if len(values) == len(times):
                self._foregrounds.setdefault(name, _Foreground()).add(values, inside, spans)

    def foregrounds(self) -> dict[str, dict[str, float | None]]:
        """Field -> auc, missed, open, closed."""
        return {name: values.summary() for name, values in sorted(self._foregrounds.items())}

    def _add_curves(self, meta: VideoMeta, curves: Mapping[str, LocatedCurve]) -> None:
        tags, times = self.tags(meta.id), _centres(meta)
        parts = []
        for name, curve in curves.items():
            values = np.broadcast_to(curve.values, (len(times), len(tags)))
            kept = self._curves.setdefault(name, _Located())
            kept.shared &= curve.shared
            kept.probability &= curve.probability and bool((values >= 0).all() and (values <= 1).all())
            for tag, column in zip(tags, values.T, strict=True):
                rows = [row for row in self.truth[meta.id] if row[0] == tag]
                spans = [(times >= start) & (times < end) for _, start, end in rows]
                kept.add(column, np.logical_or.reduce(spans), spans)
            parts.append(self._decoder.candidates({"curve": values, "tags": np.ones(len(tags))}, meta))
        found = finish(parts, meta.duration, self._decoder.nms)
        self._own_curve[meta.id] = replace(found, label=np.asarray(tags)[found.label])

    def report(self, classification: float | None) -> dict[str, Any]:
        """What was seen.

        Args:
            classification: video-level classification mAP of the run, or None.

        Returns:
            "foreground": field -> auc, missed, open, closed; "action": share of snippets inside instances; "curves":
            pass or stream -> auc, missed, open, closed, flat of the tagged classes, shared by all classes or not;
            "curve": auc and flat over those that are not shared, if there are such; "candidates" an instance;
            "oracles": average mAP as decoded, with wrong classes' detections left out, of the run's decoder when it is
            told the tags, of the run's own curves under the true tags and a plain decoder, and of its own segments in
            the true order; "chance" of the protocol, where it is known; "classification_mAP"; "collapsed"; "causes".
        """
        rows = {
            "as decoded": self._found,
            "true tags": {name: _of_classes(found, self.tags(name)) for name, found in self._found.items()},
            "true tags, own decoder": self._told,
            "true tags, own curve": self._own_curve,
            "own segments, true order": {
                name: _in_true_order(f, self.truth.get(name, [])) for name, f in self._found.items()
            },
        }
        instances = sum(map(len, self.truth.values()))
        curves = [curve for curve in self._curves.values() if not curve.shared] or [*self._curves.values()]
        seen = {
            "foreground": self.foregrounds(),
            "action": _mean(self._action),
            "curves": {name: curve.summary() for name, curve in self._curves.items()},
            "curve": {
                "auc": _mean(area for curve in curves for area in curve.values.auc),
                "flat": _mean(flat for curve in curves for flat in curve.flat),
            },
            "candidates": sum(map(len, self._found.values())) / max(1, instances),
            "oracles": {name: self._average(found) for name, found in rows.items() if found},
            "classification_mAP": classification,
        }
        if self.protocol.chance is not None:
            seen["chance"] = self.protocol.chance
        seen["collapsed"] = (seen["oracles"].get("as decoded") or 0.0) < max(NEAR_ZERO, seen.get("chance", 0.0))
        seen["causes"] = causes(seen, self.read)
        return seen

    def _average(self, videos: Mapping[str, Detections]) -> float:
        protocol = self.protocol
        named = {
            name: [(protocol.classes[label], start, end) for label, start, end in rows]
            for name, rows in self.truth.items()
        }
        truth = GroundTruth.from_rows(named, protocol.classes)
        preset = next(preset for preset in protocol.presets if preset.rules.grid is None)
        result = preset.evaluate(DetectionTable.from_videos(videos), truth, protocol.tious)
        return result.average_over(protocol.averages[protocol.headline])


def causes(seen: Mapping[str, Any], read: Collection[str] = ()) -> list[dict[str, str]]:
    """The known patterns in a report: [{"code", "text"}], the likeliest cause first; [] where none fits.

    Args:
        seen: what `Examiner.report` gives (but for "causes"), perhaps with "in_training": field -> as in "foreground",
            with dropout on.
        read: fields that the decoder reads: where there is an attention among them, no other is called stuck, since a
            branch that serves training alone may well be.
    """
    foreground = list(_foreground_causes(seen, read))
    found = [*foreground, *_tag_causes(seen), *_curve_causes(seen, {code for code, _ in foreground})]
    return [{"code": code, "text": text} for code, text in found]


def _foreground_causes(seen: Mapping[str, Any], read: Collection[str]) -> Iterable[tuple[str, str]]:
    foregrounds = seen["foreground"]
    attentions = [name for name in foregrounds if name.rpartition(".")[2] == FOREGROUND[0]]
    watched = [name for name in attentions if name in read] or attentions  # an actionness has any scale
    named = False
    for name, values in foregrounds.items():
        auc = values["auc"]
        if auc is not None and auc < MIRRORED:
            named = True
            yield (
                "mirrored",
                f"`{name}` is mirrored: inside videos it ranks action below background (AUC {auc:.2f}). Its loss is "
                "content with either sign, so another seed may turn out right.",
            )
        for share in BOUNDS if name in watched else ():
            if _ran_out(seen, values, share):
                named = True
                yield _saturated(seen, name, share)
    areas = {name: foregrounds[name]["auc"] for name in watched or foregrounds}
    if not named and areas and all(auc is not None and auc < CHANCE for auc in areas.values()):
        words = ", ".join(f"`{name}` {auc:.2f}" for name, auc in areas.items())
        yield (
            "blind foreground",
            f"no foreground tells action from the rest of the video (AUC {words}; 0.5 is chance): what it weighs, "
            "thresholds or pools is drawn, not located.",
        )


def _ran_out(seen: Mapping[str, Any], values: Mapping[str, float | None], share: str) -> bool:
    """Whether values that are nearly always at one end are the worse for it.

    They are due at the low end where there is background, at the high end where there is action. A method may want its
    attention sparser than that, and low values in the right order serve a decoder with low thresholds: a run works
    whose values rank, miss few instances and find what a plain decoder finds in them.
    """
    action = seen.get("action")  # not in records of before
    due = 0.0 if action is None else action if share == "open" else 1 - action
    decoded, own = seen["oracles"].get("as decoded"), seen["oracles"].get("true tags, own curve")
    poor = decoded is None or own is None or decoded < max(0.5 * own, POOR, seen.get("chance", 0.0))
    works = not poor and (values["auc"] or 0) >= BLIND and (values["missed"] or 0) <= MISSED
    return (values[share] or 0) > max(STUCK, due) and not works


def _saturated(seen: Mapping[str, Any], name: str, share: str) -> tuple[str, str]:
    """An attention that ran to an end: everywhere, or where dropout is off alone."""
    values, trained = seen["foreground"][name], seen.get("in_training", {}).get(name)
    words = _at_an_end(seen, values, share)
    if trained is None or values[share] - (trained[share] or 0.0) < ELSEWHERE:
        return (
            f"saturated {share}",
            f"`{name}` has run to an end: it is {words}, so what it weighs or thresholds stays out. Lower the rate, or "
            "its loss.",
        )
    return (
        f"saturated {share} at test",
        f"`{name}` has run to an end at test alone: it is {words}; as in training, with dropout on, on "
        f"{percent(trained[share])} % (AUC {trained['auc'] or 0:.2f}). Training never sees what the test reads: lower "
        "the dropout before it, or the loss that moves it.",
    )


def _at_an_end(seen: Mapping[str, Any], values: Mapping[str, float | None], share: str) -> str:
    action = "" if seen.get("action") is None else f", action fills {percent(seen['action'])} %"
    missed = "" if values["missed"] is None else f", {percent(values['missed'])} % of the instances missed"
    return (
        f"{BOUNDS[share]} on {percent(values[share])} % of the snippets{action} (AUC {values['auc'] or 0:.2f}{missed})"
    )


def _tag_causes(seen: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    told, oracles = seen["classification_mAP"], seen["oracles"]
    if not seen["candidates"]:
        yield (
            "nothing decoded",
            "not one detection was made: no class passes the decoder's threshold for classes, or no curve one of its "
            "thresholds. Look at the curves (`wtal-bench picture RUN --kind curves`).",
        )
    own = oracles.get("true tags, own curve")
    if told is not None and told < TOLD_BADLY:
        rest = "" if own is None else f" With the true tags a plain decoder gets {percent(own)} from the same curves."
        yield (
            "tags fail",
            f"videos are told apart badly (classification mAP {percent(told)}): detections are of classes that are not "
            f"there, or none of those that are.{rest}",
        )


def _curve_causes(seen: Mapping[str, Any], told: Collection[str]) -> Iterable[tuple[str, str]]:
    """Of curves and of thresholds, but for what `told`, the foregrounds' codes, say already."""
    curves, oracles = seen.get("curves") or {"curve": seen["curve"]}, seen["oracles"]
    for name, curve in curves.items():
        words = "the curve of all classes" if curve.get("shared") else "the class curve"
        if not (curve.get("shared") and told):
            yield from _curve_cause(seen, f"{words} `{name}`" if len(curves) > 1 else words, curve, told)
    decoded = oracles.get("true tags, own decoder", oracles.get("true tags"))
    own = oracles.get("true tags, own curve")
    if decoded is None or own is None:
        return
    if own > 0.05 and decoded < 0.5 * own:
        yield (
            "thresholds off",
            f"the curves are better than what is decoded from them: {percent(decoded)} with the recipe's decoder, "
            f"{percent(own)} with a plain one, both under the true tags. Thresholds that are probabilities or scores "
            "fit one number of classes and one scale.",
        )


def _curve_cause(
    seen: Mapping[str, Any], words: str, curve: Mapping[str, Any], told: Collection[str]
) -> Iterable[tuple[str, str]]:
    """What is wrong with a curve, the first that fits; the end that a foreground ran to is not told again.

    Args:
        seen: the report.
        words: what to call the curve.
        curve: its numbers, "auc" and "flat" alone in a record of before curves had names.
        told: codes of the foregrounds.
    """
    auc = curve["auc"]
    stuck = [share for share in BOUNDS if not any(code.startswith(f"saturated {share}") for code in told)]
    stuck = [share for share in stuck if share in curve and _ran_out(seen, curve, share)]
    if (curve["flat"] or 0) > 0.5:
        yield (
            "flat",
            f"{words} is flat over time in {percent(curve['flat'])} % of tagged videos: nothing to threshold.",
        )
    elif stuck:
        yield (
            f"curve {stuck[0]}",
            f"{words} has run to an end for the tagged classes: it is {_at_an_end(seen, curve, stuck[0])}. Lower the "
            "rate, or the loss that drives the classes apart.",
        )
    elif auc is not None and auc < MIRRORED:
        yield (
            "mirrored",
            f"{words} is mirrored: inside videos it ranks a class's own instances below the rest (AUC {auc:.2f}).",
        )
    elif auc is not None and auc < BLIND:
        yield (
            "blind",
            f"{words} hardly tells a class's own instances from the rest of the video (AUC {auc:.2f}; 0.5 is chance): "
            "the videos' tags are learnt from what surrounds the action.",
        )


def _asked(
    model: Model, outputs: VideoOutputs, meta: VideoMeta, tags: Sequence[int]
) -> tuple[Mapping[str, LocatedCurve], Detections | None] | None:
    """What the decoder says of itself, None where it fails: the run is made, and worth more than a look at it."""
    try:
        return model.located_curves(outputs, meta, tags) if tags else {}, model.decode_told(outputs, meta, tags)
    except Exception as error:  # a decoder from outside
        _LOG.warning(
            "the diagnosis goes without the decoder's curves, located_curves or told of it failed on video %r: %s: %s",
            meta.id,
            type(error).__name__,
            error,
        )
        return None


def diagnose(testing: Testing) -> dict[str, Any]:
    """Look at every test video of a finished test once more (see `Examiner.report`); {} where nothing is annotated."""
    model, metric, opened = testing.model, testing.metric, testing.opened
    annotated = {name: opened.annotations.videos[name].segments for name in testing.videos.ids}
    truth = {name: [(s.label, s.start, s.end) for s in segments] for name, segments in annotated.items()}
    if not any(truth.values()):
        return {}
    examiner = Examiner(opened.protocol, truth, model.decoder.readable)
    foregrounds = [name for name in model.fields if name.rpartition(".")[2] in FOREGROUND]
    wanted = list(dict.fromkeys([*model.decoder.readable, *foregrounds]))
    model.eval()
    answers = True
    for batch in testing.loader:
        for outputs, meta in model.video_outputs(batch.to(testing.device), wanted):
            tags = examiner.tags(meta.id)
            values = {name: _column(outputs[name]) for name in foregrounds if name in outputs}
            if answers:
                found = _asked(model, outputs, meta, tags)
                answers = found is not None
            curves, told = found if answers else ({}, None)
            examiner.add(meta, values, curves, metric.detections[meta.id], told)
    report = examiner.report(metric.report.get("classification_mAP"))
    if any(cause["code"].startswith("saturated") for cause in report["causes"]):
        try:
            report["in_training"] = _in_training(testing, truth, foregrounds)
        except Exception as error:  # a part may need in training what test videos lack; no run is lost for this look
            _LOG.debug("the attention was not looked at as in training: %s", error)
        report["causes"] = causes(report, model.decoder.readable)
    return report


def _in_training(testing: Testing, truth: Mapping[str, Instances], names: list[str]) -> dict[str, Any]:
    """What foregrounds are worth on the test videos as training sees them: one draw of dropout, seed 0.

    The model's buffers, its mode and the state of the random numbers are put back.
    """
    import torch

    model, examiner = testing.model, Examiner(testing.opened.protocol, truth)
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    try:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            for batch in testing.loader:
                for outputs, meta in model.video_outputs(batch.to(testing.device), names):
                    examiner.look(meta, {name: _column(outputs[name]) for name in names if name in outputs})
    finally:
        model.eval()
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])
    return examiner.foregrounds()


def _column(values: VideoOutputs) -> np.ndarray:
    return np.asarray(values).reshape(len(values), -1).mean(axis=1)


def _centres(meta: VideoMeta) -> np.ndarray:
    index = np.arange(meta.num_snippets) if meta.snippet_index is None else np.asarray(meta.snippet_index)
    return (index + 0.5) * meta.snippet_seconds


def _of_classes(found: Detections, kept: Sequence[int]) -> Detections:
    return found.take(np.isin(found.label, kept))


def _in_true_order(found: Detections, instances: Instances) -> Detections:
    """The same segments, each scored by its largest tIoU with an instance of its class."""
    score = np.zeros(len(found))
    for label, start, end in instances:
        same = found.label == label
        overlap = temporal_iou(found.start[same], found.end[same], start, end)
        score[same] = np.maximum(score[same], np.nan_to_num(overlap))
    return Detections(found.start, found.end, found.label, score)


def _mean(values: Iterable[float]) -> float | None:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else None


__all__ = ["Examiner", "area_under_curve", "causes", "diagnose"]
