"""Detections -> numbers: detection mAP in every published variant, classification mAP, frame accuracy, errors.

Plain numpy on column tables; no torch. Numbers are fractions 0..1 and unrounded.
"""

from wtal_bench.evaluation.matching import Counts, Matches, Rules, match
from wtal_bench.evaluation.metric import PRESETS, EvaluationResult, Preset, evaluate, get_preset, summarize
from wtal_bench.evaluation.tables import DetectionTable, GroundTruth, TableError

__all__ = [
    "PRESETS",
    "Counts",
    "DetectionTable",
    "EvaluationResult",
    "GroundTruth",
    "Matches",
    "Preset",
    "Rules",
    "TableError",
    "evaluate",
    "get_preset",
    "match",
    "summarize",
]
