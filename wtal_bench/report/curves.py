"""A video's class curves and detections, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wtal_bench.interfaces import VideoOutputs
from wtal_bench.report.figures import new_figure, save_figure
from wtal_bench.structures import Detections, VideoMeta

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 3
"""Classes shown: those with the best detections."""


def draw_video(
    path: Path,
    outputs: VideoOutputs,
    meta: VideoMeta,
    detections: Detections,
    classes: tuple[str, ...],
    truth: Sequence[tuple[int, float, float]] | None = None,
) -> None:
    """Write `draw_curves` of a video to a PNG."""
    save_figure(draw_curves(outputs, meta, detections, classes, truth), path)


def draw_curves(
    outputs: VideoOutputs,
    meta: VideoMeta,
    detections: Detections,
    classes: tuple[str, ...],
    truth: Sequence[tuple[int, float, float]] | None = None,
) -> Figure:
    """Draw per class the CAS over time, below it the best detections, and the ground truth if known.

    Args:
        outputs: the video's outputs; fields [T] or [T,C] are drawn.
        meta: the video.
        detections: what was found.
        classes: class names.
        truth: (label, start s, end s) rows.
    """
    shown = _best_classes(detections, truth)
    figure = new_figure(10, 1.2 + 1.5 * len(shown))
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    curves = {name: value for name, value in outputs.items() if np.ndim(value) == 2}
    times = None
    if meta.snippet_index is not None:
        times = (np.asarray(meta.snippet_index) + 0.5) * meta.snippet_seconds
    for axis, label in zip(axes, shown, strict=True):
        for name, value in curves.items():
            if label < value.shape[1] and times is not None and len(times) == len(value):
                axis.plot(times, _unit(value[:, label]), lw=1, label=name)
        _bars(axis, detections, label)
        for number, start, end in truth or []:
            if number == label:
                axis.hlines(-0.35, start, end, color="tab:green", lw=6)
        axis.set_ylim(-0.5, 1.05)
        axis.set_yticks([])
        axis.set_ylabel(classes[label], rotation=0, ha="right", va="center")
    axes[-1].set_xlabel("seconds")
    axes[-1].set_xlim(0, meta.duration)
    axes[0].set_title(
        f"{meta.id}: curve (line), detections (red, darker = higher score)"
        + ("" if truth is None else ", ground truth (green)"),
        fontsize=9,
    )
    return figure


def _best_classes(detections: Detections, truth: Sequence[tuple[int, float, float]] | None) -> list[int]:
    order = detections.label[np.argsort(-detections.score, kind="stable")].tolist()
    wanted = [label for label, _, _ in truth or []] + order
    return list(dict.fromkeys(wanted))[:ROWS] or [0]


def _bars(axis, detections: Detections, label: int) -> None:
    own = detections.take(detections.label == label)
    best = own.take(np.argsort(-own.score, kind="stable")[:20])
    for rank in range(len(best)):
        axis.hlines(-0.15, best.start[rank], best.end[rank], color="tab:red", lw=6, alpha=max(0.15, 0.9 - 0.08 * rank))


def _unit(curve: np.ndarray) -> np.ndarray:
    low, high = curve.min(), curve.max()
    return (curve - low) / (high - low) if high > low else np.zeros_like(curve)
