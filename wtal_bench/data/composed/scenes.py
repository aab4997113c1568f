"""Cutting trimmed clips into one untrimmed video along a time line.

A video is seen at `INSTANTS` moments a snippet. Background comes first, in segments: a clip of a background class, or,
for `same_scene` of the segments, the scene of the nearest action without the action. Instances are laid over it with
short fades, each a clip of its class from the one scene that class has in this video. Then the moments of a snippet are
averaged, and every column is shifted and scaled as rectified features are.

Where clips come from is the business of a `Library`: files (`composed.clips`) or a generator (`synthetic.clips`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from wtal_bench.data.composed.timeline import TimeLine

INSTANTS = 4
"""Moments at which one snippet is seen, and averaged over."""


@dataclass(frozen=True)
class Cut:
    """How clips become a video.

    Attributes:
        segment_seconds: mean length of a stretch of background (exponential).
        same_scene: share of those that show the scene of the nearest action.
        scene_weight: least and greatest weight of that scene's mean, against the mean of the background clip whose
            movement is shown in full.
        motion_weight: share of that weight with which a motion stream takes the scene's own mean movement.
        near_share: share of the same-scene segments of a class with a `near` class that show that class instead; it
            is shown nowhere else, unless there is no other background.
        spread_back: a mean of two scenes differs less over columns than either, and is quieter. None makes it as loud
            as they are (root mean square); a share brings so much of the difference over columns back instead, so that
            no peak or norm tells such segments.
        kinds: background classes in one video.
        speed: slowest and fastest a clip is played.
        fade_seconds: time over which an instance appears and vanishes, at most a third of it each.
        least_fade: how much of an instance is seen in its first moment.
        standardize: whether columns become `scale` x max((x - mean) / std + 1, 0) of the training clips. Without it
            features with a large common mean stay so, and methods made for rectified features may learn nothing.
        scale: of the columns.
    """

    segment_seconds: float = 5.0
    same_scene: float = 0.65
    scene_weight: tuple[float, float] = (0.35, 0.75)
    motion_weight: float = 0.5
    near_share: float = 0.5
    spread_back: float | None = None
    kinds: int = 2
    speed: tuple[float, float] = (0.8, 1.25)
    fade_seconds: float = 0.5
    least_fade: float = 0.25
    standardize: bool = True
    scale: float = 0.3


@dataclass(frozen=True)
class StreamColumns:
    """One stream of a library: `width` columns, their `mean` and `std` [D] over training clips, and whether it shows
    `motion` (what moves) rather than appearance (what is there)."""

    name: str
    width: int
    mean: np.ndarray
    std: np.ndarray
    motion: bool


class Library(Protocol):
    """Where clips come from.

    Attributes:
        actions: number of action classes; they are 0 .. actions - 1.
        backgrounds: the background classes, numbered on.
        near: action class -> background class that looks like it.
        streams: what every clip has, in column order.
    """

    actions: int
    backgrounds: tuple[int, ...]
    near: dict[int, int]
    streams: tuple[StreamColumns, ...]

    def scene(self, rng: np.random.Generator, label: int) -> Any:
        """Choose one scene of a class: what its clips have in common."""

    def clip(self, rng: np.random.Generator, scene: Any, count: int, step: float) -> list[np.ndarray]:
        """Play one clip of a scene: [count, D] a stream, seen every `step` seconds."""

    def mean(self, rng: np.random.Generator, scene: Any) -> list[np.ndarray]:
        """The mean of one clip of a scene: [D] a stream."""

    def together(self, acted: list[Any], around: list[Any]) -> tuple[list[Any], list[Any]]:
        """The scenes of one video's actions and those of its background, fitted to each other; as they are, if the
        library leaves that to chance."""


def film(rng: np.random.Generator, cut: Cut, library: Library, line: TimeLine, snippet_seconds: float) -> np.ndarray:
    """Return the [T, D] float64 features of one video, streams side by side.

    Args:
        rng: everything random of this video comes from it.
        cut: how clips become a video.
        library: the clips.
        line: when what happens; `line.scene` is the class whose scene a video without any instance shows.
        snippet_seconds: length of a snippet.
    """
    step = snippet_seconds / INSTANTS
    reel = _Reel(rng, cut, library, step)
    now = (np.arange(line.snippets * INSTANTS) + 0.5) * step
    start, end, label = _visible(line)
    shown = sorted({int(line.scene), *label.tolist()})
    acted, around = library.together([library.scene(rng, c) for c in shown], _places(reel))
    scenes = dict(zip(shown, acted))
    seen = _background(reel, now, (start, end, label), line.scene, scenes, around)
    for first, last, c in zip(start, end, label):
        inside = np.flatnonzero((now >= first) & (now < last))
        if not len(inside):
            continue
        fade = min(cut.fade_seconds, (last - first) / 3)
        weight = np.clip(np.minimum(now[inside] - first, last - now[inside]) / fade, cut.least_fade, 1)[:, None]
        for stream, played in zip(seen, reel.play(scenes[int(c)], len(inside))):
            stream[inside] += weight * (played - stream[inside])
    return np.concatenate(
        [_columns(cut, known, stream) for known, stream in zip(library.streams, seen)],
        axis=1,
    )


def _visible(line: TimeLine) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return start, end and label of what is shown: of instances with equal times the lowest label, none empty."""
    start, end, label = line.start, line.end, line.label
    again = np.r_[False, (start[1:] == start[:-1]) & (end[1:] == end[:-1])] if len(start) else np.zeros(0, bool)
    shown = ~again & (end > start)
    return start[shown], end[shown], label[shown]


@dataclass(frozen=True)
class _Reel:
    """One video's random stream and what it is cut from."""

    rng: np.random.Generator
    cut: Cut
    library: Library
    step: float

    def play(self, scene: Any, count: int) -> list[np.ndarray]:
        """Play a clip of a scene at a speed of its own."""
        return self.library.clip(self.rng, scene, count, self.step * self.rng.uniform(*self.cut.speed))


def _places(reel: _Reel) -> list[Any]:
    """Choose the scenes of the background classes that one video shows."""
    library = reel.library
    apart = [kind for kind in library.backgrounds if kind not in library.near.values()] or library.backgrounds
    return [library.scene(reel.rng, int(kind)) for kind in reel.rng.permutation(apart)[: reel.cut.kinds]]


def _background(
    reel: _Reel, now: np.ndarray, shown: tuple, scene: int, scenes: dict[int, Any], places: list[Any]
) -> list[np.ndarray]:
    """Return [n, D] a stream: the video without its actions."""
    rng, cut, library = reel.rng, reel.cut, reel.library
    start, end, label = shown
    seen = [np.empty((len(now), stream.width)) for stream in library.streams]
    at = 0
    while at < len(now):
        # every segment lasts a snippet at least
        count = min(len(now) - at, INSTANTS + int(rng.exponential(cut.segment_seconds) / reel.step))
        played = reel.play(places[rng.integers(len(places))], count)
        if rng.random() < cut.same_scene:
            middle = now[at + count // 2]
            nearest = scene
            if len(start):
                nearest = int(label[np.argmin(np.maximum(np.maximum(start - middle, middle - end), 0))])
            if nearest in library.near and rng.random() < cut.near_share:
                played = reel.play(library.scene(rng, library.near[nearest]), count)
            else:
                played = _set_in(reel, scenes[nearest], played)
        for stream, part in zip(seen, played):
            stream[at : at + count] = part
        at += count
    return seen


def _set_in(reel: _Reel, scene: Any, played: list[np.ndarray]) -> list[np.ndarray]:
    """Move a background clip into a scene: half the scene's mean, the clip's own movement in full."""
    weight = reel.rng.uniform(*reel.cut.scene_weight)
    moved = []
    for stream, own, clip in zip(reel.library.streams, reel.library.mean(reel.rng, scene), played):
        if stream.motion:
            share = reel.cut.motion_weight * weight
            moved.append(share * own + (1 - share) * clip)
            continue
        mean = clip.mean(axis=0)
        mixed = weight * own + clip - weight * mean
        if reel.cut.spread_back is not None:
            apart = [_apart(row, stream.mean) for row in (own, mean, mixed.mean(axis=0))]
            wanted, left = weight * _rms(apart[0]) + (1 - weight) * _rms(apart[1]), _rms(apart[2])
            mixed += reel.cut.spread_back * (wanted / left - 1) * apart[2] if left > 0 else 0
            moved.append(np.maximum(mixed, 0))
            continue
        mixed = np.maximum(mixed, 0)
        wanted, left = weight * _rms(own) + (1 - weight) * _rms(mean), _rms(mixed.mean(axis=0))
        moved.append(mixed * (wanted / left) if left > 0 else mixed)
    return moved


def _apart(row: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """How columns differ from their mean, apart from what they all have in common."""
    return row - mean - (row - mean).mean()


def _rms(row: np.ndarray) -> float:
    return float(np.sqrt((row**2).mean()))


def _columns(cut: Cut, stream: StreamColumns, seen: np.ndarray) -> np.ndarray:
    """Average the moments of every snippet and bring the columns to one scale."""
    snippets = seen.reshape(-1, INSTANTS, stream.width).mean(axis=1)
    if not cut.standardize:
        return snippets
    return cut.scale * np.maximum((snippets - stream.mean) / stream.std + 1, 0)
