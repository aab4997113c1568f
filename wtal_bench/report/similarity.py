"""How alike the snippets of two videos are, or those of one video among themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wtal_bench.interfaces import SeenVideo
from wtal_bench.report.figures import new_figure
from wtal_bench.report.fonts import legible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def cosine_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[T1,T2] cosines of rows [T1,E] and [T2,E]; a row of zeros is like nothing (0)."""
    units = []
    for rows in (np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)):
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        units.append(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))
    return units[0] @ units[1].T


def draw_similarity(first: SeenVideo, second: SeenVideo, fields: Sequence[str], title: str = "") -> Figure:
    """The matrix of cosines of fields [T,E], time along both axes; green along them what is annotated, for the reader.

    Raises:
        DataError: a field that is not there or has no such shape.
    """
    figure, axis = matrix(cosine_similarity(first.rows(fields), second.rows(fields)), first, second)
    axis.set_title(title, fontsize=9)
    return figure


def matrix(values: np.ndarray, first: SeenVideo, second: SeenVideo) -> tuple[Figure, Axes]:
    """A figure with a matrix [T1,T2] of two videos, its axes in seconds; `first` runs downwards."""
    figure = new_figure(7.5, 7, (first.meta.id, second.meta.id))
    axis = figure.subplots()
    (top, bottom), (left, right) = (video.span() for video in (first, second))
    image = axis.imshow(values, cmap="magma", extent=(left, right, bottom, top), aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=axis, shrink=0.8)
    axis.set_xlabel(f"{legible(second.meta.id, 50)} (seconds)")
    axis.set_ylabel(f"{legible(first.meta.id, 50)} (seconds)")
    for video, across in ((second, True), (first, False)):
        strip = axis.inset_axes((0, 1.01, 1, 0.02) if across else (-0.03, 0, 0.02, 1))
        strip.axis("off")
        strip.set_xlim(axis.get_xlim() if across else (0, 1))
        strip.set_ylim((0, 1) if across else axis.get_ylim())
        for _, start, end in video.truth:
            (strip.axvspan if across else strip.axhspan)(start, end, color="tab:green")
    if first.truth:
        axis.tick_params(axis="y", pad=14)
    return figure, axis
