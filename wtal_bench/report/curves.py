"""A video over time, drawn: attention, the decoder's curve with its thresholds, detections, annotated instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wtal_bench.interfaces import VideoOutputs
from wtal_bench.report.figures import new_figure, save_figure
from wtal_bench.report.fonts import legible
from wtal_bench.structures import Detections, VideoMeta

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 16
"""Classes shown at most: the annotated ones, then those with the best detections, then those of the highest curve."""

TALL = 4
"""Classes whose curves are drawn tall; of more, each gets less."""

UNFOUND = 3
"""Classes shown of a video in which nothing was found or annotated: those of the highest curve."""

BARS = 25
"""Detections shown of a class: the best."""

LANES = 8
"""Rows of bars a class may take; more overlap than that is said in words."""

DENSE = 2000
"""Snippets of a curve beyond which its mean and range are drawn, in half as many steps: a line would be solid ink."""

NAME, TITLE = 18, 60
"""Columns a class name and a video's name may take; what is longer is cut in its middle."""

TRUTH = "#2a9d3a"

FAINTEST = 0.1
"""Where in Matplotlib's `plasma_r` the lowest score lies: the yellow before it is hard to see on white."""


@dataclass(frozen=True)
class DecoderView:
    """What a decoder looks at.

    Attributes:
        curve: [T,C] its curve at the snippets ([T,1]: one for all classes).
        levels: [H] its thresholds, or [C,H] of every class.
    """

    curve: np.ndarray
    levels: np.ndarray | None = None


def draw_video(
    path: Path,
    outputs: VideoOutputs,
    meta: VideoMeta,
    detections: Detections,
    classes: tuple[str, ...],
    truth: Sequence[tuple[int, float, float]] | None = None,
    view: DecoderView | None = None,
) -> None:
    """Write `draw_curves` of a video; the suffix says the format (.png, .pdf, .svg)."""
    save_figure(draw_curves(outputs, meta, detections, classes, truth, view), path)


def draw_curves(
    outputs: VideoOutputs,
    meta: VideoMeta,
    detections: Detections,
    classes: tuple[str, ...],
    truth: Sequence[tuple[int, float, float]] | None = None,
    view: DecoderView | None = None,
) -> Figure:
    """Draw attention (if there is one), and a class after the other: curve, detections as stacked bars, instances.

    Curves that leave 0..1 are scaled to it, and their thresholds with them. The colour of a bar is its score, as on the
    scale beside.

    Args:
        outputs: the video's outputs; `attention` [T] fields are drawn, and [T,C] fields where there is no `view`.
        meta: the video.
        detections: what was found.
        classes: class names.
        truth: (class index, start s, end s) rows; None where nobody knows.
        view: the curve the decoder thresholds.
    """
    everything = _ordered_classes(detections, truth, outputs, view)
    shown = everything[:ROWS]
    bars = {label: _lanes(_best(detections, label)) for label in shown}
    attention = {name: value for name, value in outputs.items() if _is_attention(name, value)}
    rows = _rows(shown, bars, truth, bool(attention))
    texts = (meta.id, *(classes[label] for label in shown))
    figure = new_figure(10, 0.9 + sum(height for _, _, height in rows), texts)
    axes = figure.subplots(
        len(rows), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [height for _, _, height in rows]}
    )[:, 0]
    times = _times(meta)
    drawn = [lane.score for lanes in bars.values() for lane in lanes]
    colours = _Colours(np.concatenate([*drawn, np.zeros(0)]))
    named: set[str] = set()
    for axis, (kind, label, _) in zip(axes, rows):
        if kind == "attention":
            for name, value in attention.items():
                _curve(axis, times, np.asarray(value).reshape(len(value)), None, name)
            _label(axis, "attention")
            _name_curves(axis, set() if len(attention) > 1 else {"attention"})
        elif kind == "curve":
            _class_curves(axis, times, outputs, label, view)
            _label(axis, legible(classes[label], NAME), bold=True)
            named |= _name_curves(axis, named)
        elif kind == "bars":
            _draw_bars(axis, bars[label], colours)
        else:
            _draw_truth(axis, [row for row in truth or () if row[0] == label])
    _time_axis(axes[-1], meta.duration)
    words = _found(detections, truth, sum(map(len, drawn)), len(everything) - len(shown))
    axes[0].set_title(legible(meta.id, TITLE), fontsize=10, loc="left", pad=20)
    axes[0].annotate(words, (0, 1), (0, 6), "axes fraction", "offset points", fontsize=8, color="0.35")
    if drawn:
        figure.colorbar(colours.mappable, ax=list(axes), label="score", fraction=0.025, pad=0.01, aspect=30, shrink=0.9)
    return figure


def _rows(
    shown: Sequence[int], bars: dict[int, list], truth: Sequence[tuple[int, float, float]] | None, attention: bool
) -> list[tuple[str, int, float]]:
    """(what, class, inches) of every row of axes."""
    rows = [("attention", -1, 0.6)] if attention else []
    for label in shown:
        rows.append(("curve", label, 0.8 if len(shown) <= TALL else 0.55))
        rows.append(("bars", label, 0.16 + 0.13 * max(1, len(bars[label]))))
        if truth is not None:
            rows.append(("truth", label, 0.2))
    return rows


def _is_attention(name: str, value: Any) -> bool:
    """A foreground weight of a stream or of the model: [T] or [T,1]."""
    return name.rpartition(".")[2] in ("attention", "actionness") and np.size(value) == np.shape(value)[0]


def _times(meta: VideoMeta) -> np.ndarray:
    index = np.arange(meta.num_snippets) if meta.snippet_index is None else np.asarray(meta.snippet_index)
    return (index + 0.5) * meta.snippet_seconds


def _class_curves(axis: Axes, times: np.ndarray, outputs: VideoOutputs, label: int, view: DecoderView | None) -> None:
    if view is not None and len(view.curve) == len(times):
        column = min(label, view.curve.shape[1] - 1)
        levels = view.levels if view.levels is None or view.levels.ndim == 1 else view.levels[column]
        _curve(axis, times, view.curve[:, column], levels, "decoder's curve")
        return
    for name, value in outputs.items():
        if np.ndim(value) == 2 and label < value.shape[1] and len(value) == len(times):
            _curve(axis, times, value[:, label], None, name)


def _curve(axis: Axes, times: np.ndarray, curve: np.ndarray, levels: np.ndarray | None, name: str) -> None:
    if len(curve) != len(times):
        return
    low, high = float(curve.min()), float(curve.max())
    scaled = low < -1e-6 or high > 1 + 1e-6
    size = (high - low) or 1.0
    unit = (curve - low) / size if scaled else curve
    at = [(level - low) / size if scaled else level for level in np.ravel(levels)] if levels is not None else []
    at = [level for level in at if 0 <= level <= 1]
    label = f"{name}{' (scaled)' if scaled else ''}{', thresholds dotted' if at else ''}"
    if len(times) > DENSE:
        edges = np.linspace(0, len(times), DENSE // 2, endpoint=False).astype(int)
        middles = np.add.reduceat(times, edges) / np.diff([*edges, len(times)])
        lowest, highest = np.minimum.reduceat(unit, edges), np.maximum.reduceat(unit, edges)
        means = np.add.reduceat(unit, edges) / np.diff([*edges, len(times)])
        (line,) = axis.plot(middles, means, lw=0.7, label=f"{label} (mean and range)")
        axis.fill_between(middles, lowest, highest, color=line.get_color(), alpha=0.25, linewidth=0)
    else:
        axis.plot(times, unit, "." if len(times) == 1 else "-", lw=1, label=label)
    for level in at:
        axis.axhline(level, color="0.5", lw=0.4, ls=":")
    axis.set_ylim(-0.03, 1.05)
    axis.set_yticks([0, 1])
    axis.tick_params(labelsize=7)


def _label(axis: Axes, text: str, bold: bool = False) -> None:
    weight = "bold" if bold else "normal"
    axis.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9, fontweight=weight)


def _name_curves(axis: Axes, known: set[str]) -> set[str]:
    """Name the curves above their axes, where they hide nothing, unless a row above has the same names."""
    lines = [line for line in axis.lines if not line.get_label().startswith("_")]
    names = {line.get_label() for line in lines}
    if names - known:
        axis.legend(
            loc="lower right", bbox_to_anchor=(1, 0.97), ncols=4, fontsize=7, frameon=False, borderaxespad=0,
            handlelength=1.2, labelcolor="0.35",
        )  # fmt: skip
    return names


def _time_axis(axis: Axes, duration: float) -> None:
    """Seconds; minutes or hours where a video is long enough for them."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    axis.set_xlim(0, duration)
    if duration < 600:
        axis.set_xlabel("seconds")
        return
    step = next((size for size in _STEPS if duration / size <= 12), duration / 10)
    axis.xaxis.set_major_locator(MultipleLocator(step))
    hours = duration >= 3600
    axis.xaxis.set_major_formatter(FuncFormatter(lambda second, _: _clock(second, hours)))
    axis.set_xlabel("hours:minutes:seconds" if hours else "minutes:seconds")


_STEPS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 4 * 3600, 12 * 3600)


def _clock(second: float, hours: bool) -> str:
    minutes, rest = divmod(round(second), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Colours:
    """Scores -> colours, opaque as the scale beside them, the same for all classes of a picture."""

    def __init__(self, scores: np.ndarray) -> None:
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, Normalize

        low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 1.0)
        self.norm = Normalize(min(low, 0.0), high if high > min(low, 0.0) else low + 1.0)
        shades = colormaps["plasma_r"](np.linspace(FAINTEST, 1, 256))
        self.mappable = ScalarMappable(self.norm, ListedColormap(shades))

    def __call__(self, score: float) -> tuple[float, ...]:
        red, green, blue, _ = self.mappable.to_rgba(score)
        return red, green, blue


def _draw_bars(axis: Axes, lanes: list[Detections], colours: _Colours) -> None:
    for lane, rows in enumerate(lanes):
        for start, end, score in zip(rows.start, rows.end, rows.score):
            axis.barh(-lane, end - start, left=start, height=0.8, color=colours(score), linewidth=0)
    _bare(axis, max(1, len(lanes)))
    text = "found" if lanes else "none found"
    axis.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=7, color="0.35")


def _draw_truth(axis: Axes, rows: Sequence[tuple[int, float, float]]) -> None:
    for _, start, end in rows:
        axis.barh(0, end - start, left=start, height=0.8, color=TRUTH, linewidth=0)
    _bare(axis, 1)
    axis.set_ylabel(
        "annotated" if rows else "none annotated", rotation=0, ha="right", va="center", fontsize=7, color=TRUTH
    )


def _bare(axis: Axes, lanes: int) -> None:
    axis.set_ylim(-lanes + 0.4, 0.6)
    axis.set_yticks([])
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _ordered_classes(
    detections: Detections,
    truth: Sequence[tuple[int, float, float]] | None,
    outputs: VideoOutputs,
    view: DecoderView | None,
) -> list[int]:
    """The classes worth a row: annotated, then found (best first); where there are none, those of the highest curve."""
    order = detections.label[np.argsort(-detections.score, kind="stable")].tolist()
    wanted = list(dict.fromkeys([label for label, _, _ in truth or []] + order))
    if wanted:
        return wanted
    curves = [view.curve] if view is not None else [value for value in outputs.values() if np.ndim(value) == 2]
    wide = next((np.asarray(curve) for curve in curves if np.shape(curve)[1] > 1), np.zeros((1, 1)))
    return np.argsort(-wide.max(axis=0), kind="stable")[:UNFOUND].tolist()


def _best(detections: Detections, label: int) -> Detections:
    own = detections.take(detections.label == label)
    return own.take(np.argsort(-own.score, kind="stable")[:BARS])


def _lanes(rows: Detections) -> list[Detections]:
    """Spread bars, best first, over as few lanes as hide none; those past `LANES` are left out."""
    lanes: list[list[int]] = []
    for row in range(len(rows)):
        start, end = rows.start[row], rows.end[row]
        for lane in lanes:
            if all(end <= rows.start[other] or start >= rows.end[other] for other in lane):
                lane.append(row)
                break
        else:
            if len(lanes) < LANES:
                lanes.append([row])
    return [rows.take(np.array(lane)) for lane in lanes]


def _found(detections: Detections, truth: Sequence[tuple[int, float, float]] | None, drawn: int, left_out: int) -> str:
    """How much there is, and what of it the picture leaves out."""
    count = len(detections)
    text = f"{count or 'no'} detection{'s' * (count != 1)}"
    if drawn < count:
        text += f", {drawn} drawn (of a class the best {BARS}, in at most {LANES} rows)"
    if truth is not None:
        text += f"; {len(truth)} instance{'s' * (len(truth) != 1)} annotated"
    return text + (f"; {left_out} more classes not drawn" if left_out else "")
