"""What codes on the snippet grid share: decoder settings, the ambiguous filter and the weighted fusion."""

from __future__ import annotations

import numpy as np

from wtal_bench.decoding import NMS, Candidates
from wtal_bench.structures import VideoMeta

GRID = 25 / 16
LOOP = {"grid": GRID, "ties": "first_first", "instance_ties": "first_first", "videos": "annotated"}


def settings(outer: float, weight: float, shortest: int, power: float = 1.0, **more) -> dict:
    return {
        "scores_activation": "none",
        "min_length": shortest,
        "contrast": {"outer": outer, "power": power, "ring": "inside", "overhang": 1, "weight": weight},
        "end_overhang": 1,
        "time": "snippet",
        "nms_units": "samples",
        **more,
    }


def own_length(iou: float) -> dict:
    return {"iou": iou, "overlap": "self", "offset": 1.0, "drop": ">"}


def meta(number: int, snippets: int) -> VideoMeta:
    return VideoMeta(str(number), duration=snippets * 0.64, fps=25.0, stride=16, num_snippets=snippets)


def clear_of(found: Candidates, spans: list[tuple[float, float]], nudge: float = 0.0) -> Candidates:
    """Without the segments that share a whole snippet with an ambiguous span in seconds.

    Positions are truncated, so a fused one that should be whole may count as a snippet less; `nudge` moves it over.
    """
    start, end = (np.trunc(column + nudge).astype(int) for column in (found.start, found.end))
    meets = np.zeros(len(found), dtype=bool)
    for first, last in ((round(a * GRID), round(b * GRID)) for a, b in spans):
        meets |= np.minimum(end, last) > np.maximum(start, first)
    return found.take(~meets)


def grid_rows(found: Candidates, video: int) -> np.ndarray:
    """[R,5] rows (video, class, start, end, score) in snippets."""
    columns = (np.full(len(found), video), found.label, found.start, found.end, found.score)
    return np.stack(columns, axis=1).astype(np.float64)


def fused(found: Candidates, iou: float, temperature: float) -> Candidates:
    """Members of every group averaged with weights exp(inside / temperature)."""
    kept, leader = NMS(**own_length(iou)).groups(found.start, found.end, found.score, found.label)
    group = np.searchsorted(np.sort(kept), leader)
    peak = np.full(len(kept), -np.inf)
    np.maximum.at(peak, group, found.inside)
    weight = np.exp((found.inside - peak[group]) / temperature)
    total = np.bincount(group, weight, len(kept))
    mean = [np.bincount(group, weight * c, len(kept)) / total for c in (found.start, found.end, found.score)]
    at = np.searchsorted(np.sort(kept), kept)
    return Candidates(mean[0][at], mean[1][at], found.label[kept], mean[2][at], found.inside[kept], found.axis)
