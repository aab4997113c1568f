"""Outputs of one video -> detections in seconds: curves, runs, contrast scores, NMS, time. numpy only, no torch."""

from wtal_bench.decoding.curves import (
    Curve,
    Thresholds,
    normalize,
    resize_half_pixel,
    sigmoid,
    softmax,
    threshold_grid,
    upsample_linear,
)
from wtal_bench.decoding.nms import NMS
from wtal_bench.decoding.postprocessors import Candidates, PooledDecoder, ThresholdDecoder, clamped, finish
from wtal_bench.decoding.proposals import Contrast, Runs, find_runs
from wtal_bench.decoding.time import TimeAxis

__all__ = [
    "NMS",
    "Candidates",
    "Contrast",
    "Curve",
    "PooledDecoder",
    "Runs",
    "ThresholdDecoder",
    "Thresholds",
    "TimeAxis",
    "clamped",
    "find_runs",
    "finish",
    "normalize",
    "resize_half_pixel",
    "sigmoid",
    "softmax",
    "threshold_grid",
    "upsample_linear",
]
