"""Detections -> numbers: detection mAP in every published variant, classification mAP, frame accuracy, errors.

Plain numpy on column tables; no torch. Numbers are fractions 0..1 and unrounded.
"""

from wtal_bench.evaluation.beside import Beside, ToldSnippets
from wtal_bench.evaluation.bootstrap import (
    Resample,
    bootstrap_ap,
    bootstrap_map,
    resample_videos,
    video_influence,
)
from wtal_bench.evaluation.classification import classification_ap, classification_map, exact_match_accuracy
from wtal_bench.evaluation.detection_files import DetectionFile
from wtal_bench.evaluation.difference import (
    BootstrapDifference,
    Interval,
    Sample,
    bootstrap_difference,
    draw_runs,
    interval,
    run_name,
    t_over_z,
)
from wtal_bench.evaluation.error_analysis import (
    COUNTS_ACTIVITYNET,
    COUNTS_THUMOS,
    KINDS,
    LENGTHS_ACTIVITYNET,
    LENGTHS_THUMOS,
    Bucket,
    ErrorAnalysis,
    detection_kinds,
    error_analysis,
    sensitivity,
)
from wtal_bench.evaluation.formats import read_detections, refuse_unread, write_detections
from wtal_bench.evaluation.frames import frame_accuracy, frame_counts, snippet_labels, told_classes
from wtal_bench.evaluation.matching import Counts, Matches, Rules, match
from wtal_bench.evaluation.metric import PRESETS, EvaluationResult, Preset, evaluate, get_preset, summarize
from wtal_bench.evaluation.parts import DetectionParts
from wtal_bench.evaluation.streamed import StreamedResult, evaluate_parts
from wtal_bench.evaluation.tables import DetectionTable, GroundTruth, TableError

__all__ = [
    "COUNTS_ACTIVITYNET",
    "COUNTS_THUMOS",
    "KINDS",
    "LENGTHS_ACTIVITYNET",
    "LENGTHS_THUMOS",
    "PRESETS",
    "Beside",
    "BootstrapDifference",
    "Bucket",
    "Counts",
    "DetectionFile",
    "DetectionParts",
    "DetectionTable",
    "ErrorAnalysis",
    "EvaluationResult",
    "GroundTruth",
    "Interval",
    "Matches",
    "Preset",
    "Resample",
    "Rules",
    "Sample",
    "StreamedResult",
    "TableError",
    "ToldSnippets",
    "bootstrap_ap",
    "bootstrap_difference",
    "bootstrap_map",
    "classification_ap",
    "classification_map",
    "detection_kinds",
    "draw_runs",
    "error_analysis",
    "evaluate",
    "evaluate_parts",
    "exact_match_accuracy",
    "frame_accuracy",
    "frame_counts",
    "get_preset",
    "interval",
    "match",
    "read_detections",
    "refuse_unread",
    "resample_videos",
    "run_name",
    "sensitivity",
    "snippet_labels",
    "summarize",
    "t_over_z",
    "told_classes",
    "video_influence",
    "write_detections",
]
