"""How features of trimmed clips vary: between classes, scenes, clips and moments, and how alike the streams are.

Measured of real clips, this is what the synthetic benchmark's clips are drawn by; measured of those, with as many
classes, scenes, clips and moments, it says how near they come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from wtal_bench.data.synthetic.clips import DrawnClips, Look

LEVELS = ("class", "scene", "clip", "moments")
LAGS = (1, 4, 16)
"""Moments between which the change inside a clip is measured."""


class Seen(NamedTuple):
    """One clip: its class, its scene (a name of its own in every class), and a [moments, D] array a stream."""

    label: str
    scene: str
    parts: list[np.ndarray]


def levels(clips: Sequence[Seen], names: Sequence[str]) -> dict[str, float]:
    """Measure clips of equally many moments, columns standardized over all of them.

    Args:
        clips: some of every class and scene; only the moments that all of them have are used.
        names: of the streams.

    Returns:
        For every stream and level: its share of the variance, the share of that in which all columns go together, and
        over how many axes the rest spreads, (sum of variances)^2 / sum of their squares; "change after N" (half the
        mean squared difference of moments N apart), mean / spread, skewness. For two streams and every level: the
        correlation of the rests. Shares are not corrected for the number of clips.
    """
    moments = min(len(part) for clip in clips for part in clip.parts)
    found: dict[str, float] = {}
    parts_of: list[dict[str, np.ndarray]] = []
    for at, name in enumerate(names):
        values = np.stack([clip.parts[at][:moments] for clip in clips]).astype(np.float64)
        flat = values.reshape(-1, values.shape[2])
        mean, spread = flat.mean(axis=0), flat.std(axis=0)
        spread = np.where(spread > 0, spread, 1)
        values = (values - mean) / spread
        parts_of.append(_parted(values, clips))
        for level, part in parts_of[-1].items():
            found |= {f"{name}, {level}: {what}": value for what, value in _described(part).items()}
        for lag in (lag for lag in LAGS if lag < moments):
            change = ((values[:, lag:] - values[:, :-lag]) ** 2).mean() / 2
            found[f"{name}, moments: change after {lag}"] = float(change)
        found[f"{name}: mean / spread"] = float((mean / spread).mean())
        found[f"{name}: skewness"] = float((values**3).mean())
    if len(names) == 2:
        for level in LEVELS:
            found[f"{level}: streams alike"] = _alike(*(_rest(parts[level]) for parts in parts_of))
    return found


def drawn_like(clips: Sequence[Seen], world: int, step: float, look: Look | None = None) -> list[Seen]:
    """Draw clips of as many classes, scenes, moments and columns as those given.

    Args:
        clips: what to draw the like of.
        world: seed.
        step: seconds between two moments.
        look: settings; None = the synthetic benchmark's.
    """
    labels = list(dict.fromkeys(clip.label for clip in clips))
    rng = np.random.default_rng(world)
    # of so many clips of a scene the same one is hardly shown twice
    look = replace(look or Look(), backgrounds=0, clips=64)
    library = DrawnClips(rng, look, len(labels), clips[0].parts[0].shape[1])
    scenes = {key: library.scene(rng, labels.index(key[0])) for key in dict.fromkeys(clip[:2] for clip in clips)}
    return [Seen(*clip[:2], library.clip(rng, scenes[clip[:2]], len(clip.parts[0]), step)) for clip in clips]


def _parted(values: np.ndarray, clips: Sequence[Seen]) -> dict[str, np.ndarray]:
    """Return level -> [n, D] deviations: of classes, of scenes from their class, and so on."""
    mean = values.mean(axis=1)
    scene_of = {key: at for at, key in enumerate(dict.fromkeys((clip.label, clip.scene) for clip in clips))}
    in_scene = np.array([scene_of[clip.label, clip.scene] for clip in clips])
    scenes = _means(mean, in_scene)
    labels = list(dict.fromkeys(label for label, _ in scene_of))
    in_label = np.array([labels.index(label) for label, _ in scene_of])
    classes = _means(scenes, in_label)
    return {
        "class": classes - classes.mean(axis=0),
        "scene": scenes - classes[in_label],
        "clip": mean - scenes[in_scene],
        "moments": (values - mean[:, None]).reshape(-1, values.shape[2]),
    }


def _means(rows: np.ndarray, group: np.ndarray) -> np.ndarray:
    total = np.zeros((group.max() + 1, rows.shape[1]))
    np.add.at(total, group, rows)
    return total / np.bincount(group)[:, None]


def _described(part: np.ndarray) -> dict[str, float]:
    power = (part**2).sum()
    if not power:
        return {"share": 0.0}
    rest = _rest(part)
    axes = np.linalg.svd(rest.T @ rest, compute_uv=False)
    return {
        "share": float(power / part.size),
        "together": float(1 - (rest**2).sum() / power),
        "axes": float(axes.sum() ** 2 / (axes**2).sum()) if axes.any() else 0.0,
    }


def _rest(part: np.ndarray) -> np.ndarray:
    """Return what is left without the direction in which all columns go together."""
    return part - part.mean(axis=1, keepdims=True)


def _alike(first: np.ndarray, second: np.ndarray) -> float:
    if first.shape != second.shape:
        return float("nan")
    size = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / size) if size else float("nan")
