"""Detection mAP: one function equal to every evaluator the field quotes, by switches, and the named sets of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from wtal_bench.errors import WtalError, did_you_mean, listing
from wtal_bench.evaluation.average_precision import average_precision
from wtal_bench.evaluation.matching import Counts, Matches, Rules, TieRule, match
from wtal_bench.evaluation.tables import DetectionTable, GroundTruth
from wtal_bench.files import digest


@dataclass(frozen=True)
class EvaluationResult:
    """mAP and what it is made of, as fractions 0..1, unrounded.

    Attributes:
        classes: the C classes that have an instance in the videos under evaluation.
        tious: [T] thresholds.
        ap: [C,T] average precision; NaN everywhere where `empty_class="zero_all"` made the whole mAP 0.
        mAP: [T] mean over the classes.
        counts: videos, instances, detections and what was ignored.
        matches: which detection took which instance (the bootstrap and the error analysis read it); None where the
            detections were never together (`streamed`).
        never_predicted: classes with an instance and without a detection.
    """

    classes: tuple[str, ...]
    tious: np.ndarray
    ap: np.ndarray = field(repr=False)
    mAP: np.ndarray  # noqa: N815 - the field's own name
    counts: Counts
    matches: Matches | None = field(repr=False)
    never_predicted: tuple[str, ...] = ()

    @cached_property
    def average(self) -> float:
        """Mean of the mAP over all thresholds."""
        return float(np.mean(self.mAP))

    def average_over(self, tious: Sequence[float]) -> float:
        """Mean of the mAP over some of the thresholds.

        Raises:
            WtalError: one of them was not evaluated.
        """
        places = []
        for tiou in tious:
            found = np.flatnonzero(self.tious == tiou)
            if not len(found):
                raise WtalError(f"tIoU {tiou} was not evaluated; there are {listing(self.tious.tolist())}.")
            places.append(found[0])
        return float(np.mean(self.mAP[places]))


def evaluate(
    detections: DetectionTable,
    ground_truth: GroundTruth,
    tious: Sequence[float],
    *,
    grid: float | None = None,
    ambiguous: Literal["drop", "ignore_fp"] | None = None,
    matching: Literal["official", "first"] = "official",
    ap: Literal["interpolated", "sum"] = "interpolated",
    ties: TieRule = "last_first",
    instance_ties: TieRule = "last_first",
    videos: Literal["all", "annotated"] = "all",
    empty_class: Literal["zero", "zero_all"] = "zero",
    unknown_labels: Literal["ignore", "refuse"] = "ignore",
    strict_official: bool = False,
) -> EvaluationResult:
    """Score detections. The defaults are the official ActivityNet rule (toolkit `Evaluation/eval_detection.py`).

    Args:
        detections: N rows whose labels index `ground_truth.classes`; seconds, or snippets together with `grid`.
        ground_truth: the videos under evaluation and their G instances, seconds.
        tious: T thresholds; write literals (0.1, 0.2, ...), for real data hit them exactly.
        grid, ambiguous, matching, ap, ties, instance_ties, videos, empty_class: see `Rules`; `PRESETS` names sets.
        unknown_labels: detections of a class without an instance are ignored and counted, or refused.
        strict_official: reproduce the official code on NaN scores, reversed segments and 0/0 overlaps.

    Raises:
        TableError: (also a ValueError) NaN score or reversed segment, with video and row; nothing to score; bad switch.
    """
    rules = Rules(grid, ambiguous, matching, ap, ties, instance_ties, videos, empty_class)
    matches = match(
        detections, ground_truth, tious, rules, unknown_labels=unknown_labels, strict_official=strict_official
    )
    return summarize(matches)


def summarize(matches: Matches) -> EvaluationResult:
    """Average precision, mAP and counts of matched detections."""
    values = average_precision(matches)
    predicted = np.diff(matches.class_bounds()) > 0
    mean = values.mean(axis=0)
    if matches.rules.empty_class == "zero_all" and not predicted.all():
        values, mean = np.full_like(values, np.nan), np.zeros_like(mean)
    absent = tuple(name for name, there in zip(matches.classes, predicted) if not there)
    return EvaluationResult(matches.classes, matches.tious, values, mean, matches.counts, matches, absent)


@dataclass(frozen=True)
class Preset:
    """A published way of evaluating: its switches and the videos it leaves out.

    Attributes:
        name: as in `PRESETS`.
        title: one line for tables and messages.
        rules: the switches.
        exclude: video ids left out of the ground truth and of the detections.
        untested: video ids left out of the detections alone: their instances count as missed.
    """

    name: str
    title: str
    rules: Rules = field(default_factory=Rules)
    exclude: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over everything that can change a number: the videos left out, and the switches.

        A switch at its default is left out, and so is an empty list of untested videos: what is added later, off by
        default, changes no hash there is.
        """
        given = ((switch.name, getattr(self.rules, switch.name), switch.default) for switch in fields(self.rules))
        rules = {name: value for name, value, default in given if value != default}
        untested = {"untested": sorted(self.untested)} if self.untested else {}
        return digest({"rules": rules, "exclude": sorted(self.exclude), **untested})

    def tables(self, detections: DetectionTable, ground_truth: GroundTruth) -> tuple[DetectionTable, GroundTruth]:
        """Both tables without the videos that are left out."""
        return detections.without((*self.exclude, *self.untested)), ground_truth.without(self.exclude)

    def evaluate(
        self, detections: DetectionTable, ground_truth: GroundTruth, tious: Sequence[float], **options: Any
    ) -> EvaluationResult:
        """`evaluate` with the preset's switches on `tables`. `options`: unknown_labels, strict_official."""
        return evaluate(*self.tables(detections, ground_truth), tious, **asdict(self.rules), **options)


_ONLY_AMBIGUOUS = "video_test_0001292"
"""THUMOS14 test video without any instance of the 20 classes: 213 listed, 212 evaluated."""

_WRONG_ANNOTATION = ("video_test_0000270", "video_test_0001496")
"""THUMOS14 test videos whose annotations belong to other footage; repositories with 210 videos leave them out."""

_SNIPPET_LOOP = Rules(
    grid=25 / 16,
    ambiguous="drop",
    ties="first_first",
    instance_ties="first_first",
    videos="annotated",
    empty_class="zero_all",
)

_WTALC_LOOP = Rules(
    grid=25 / 16,
    ambiguous="drop",
    matching="first",
    ap="sum",
    ties="first_first",
    instance_ties="first_first",
    videos="annotated",
    empty_class="zero_all",
)

PRESETS = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset("activitynet", "official ActivityNet rule, seconds"),
            Preset("thumos_seconds_212", "official rule, seconds, 212 videos", exclude=(_ONLY_AMBIGUOUS,)),
            Preset(
                "thumos_seconds_210",
                "official rule, seconds, 210 videos",
                exclude=(_WRONG_ANNOTATION[0], _ONLY_AMBIGUOUS, _WRONG_ANNOTATION[1]),
            ),
            Preset(
                "thumos_seconds_210_of_212",
                "official rule, seconds, 210 videos tested and scored against 212 (ACM-Net, FTCL)",
                exclude=(_ONLY_AMBIGUOUS,),
                untested=_WRONG_ANNOTATION,
            ),
            Preset(
                "thumos_snippet",
                "loop of FAC-Net, RSKP and GauFuse, 25/16 snippet grid",
                _SNIPPET_LOOP,
                (_ONLY_AMBIGUOUS,),
            ),
            Preset(
                "thumos_snippet_official",
                "official rule on the 25/16 snippet grid, ambiguous spans dropped (CO2-Net's code)",
                Rules(grid=25 / 16, ambiguous="drop"),
                (_ONLY_AMBIGUOUS,),
            ),
            Preset("wtalc", "loop of W-TALC, 25/16 snippet grid", _WTALC_LOOP, (_ONLY_AMBIGUOUS,)),
        )
    }
)
"""Evaluators by name."""


def get_preset(name: str) -> Preset:
    """Return the evaluator of that name.

    Raises:
        WtalError: there is none; the text lists those there are.
    """
    if name not in PRESETS:
        raise WtalError(f"no evaluator {name!r}; there are {listing(PRESETS)}.{did_you_mean(name, PRESETS)}")
    return PRESETS[name]
