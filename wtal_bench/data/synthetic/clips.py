"""Drawing what trimmed clips look like, with the statistics of real CNN features.

A clip's features at one moment are a sum of five levels: what its class, its scene (group), the clip itself, a slow and
a fast change have in common, each normal, with the share of the variance that real features have there. Every level has
one direction in which all columns rise and fall together (how much there is to see, or moves), and the rest in axes
that levels and streams share, which matter less and less; in that rest the streams are alike, in the common direction
they are not. Then the columns are bent a little, as averages of rectified values are. Nothing tells action from
background as such: action and background classes are drawn alike.

All numbers were measured on 1865 clips of 14 classes of UCF101 (VGG16, 64 columns a stream); README.md of this folder
has them beside what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from wtal_bench.data.composed.scenes import StreamColumns

STREAMS = ("rgb", "flow")


@dataclass(frozen=True)
class Level:
    """One level of variation.

    Attributes:
        share: of the variance of a column.
        common: share of this level's variance in which all columns go together.
        decay: the axes' variances fall by exp(-decay) from the first to the last.
    """

    share: float
    common: float
    decay: float


@dataclass(frozen=True)
class StreamLook:
    """How one stream's columns vary.

    Attributes:
        label, scene, clip: between classes, between scenes of a class, between clips of a scene.
        slow, fast: within a clip.
        slow_seconds, fast_seconds: times after which a change is forgotten (correlation 1/e).
        mean: of a column, in its standard deviations.
        bend: standard deviation of the log-normal shape of the columns; 0 leaves them normal.
    """

    label: Level
    scene: Level
    clip: Level
    slow: Level
    fast: Level
    slow_seconds: float
    fast_seconds: float
    mean: float
    bend: float


@dataclass(frozen=True)
class Look:
    """The drawn clips' settings.

    Attributes:
        rgb, flow: the two streams.
        backgrounds: number of background classes.
        backgrounds_alike: share of a background class's variance, apart from the common direction, that all of them
            have in common.
        clips: of a scene.
        uneven_scenes: standard deviation of the log of how far a class's scenes lie apart.
        uneven_changes: standard deviation of the log of how much a clip changes.
        alike: correlation of the two streams, apart from the common direction, of label, scene, clip, slow
            and fast.
        pair_overlap: correlation of two classes that look alike, apart from the common direction.
        between: whether the scenes of a video's actions lie between those of its background in loudness, so that no
            energy, norm or peak tells them apart in most videos by luck. The loudnesses drawn are kept and only
            change places.
    """

    rgb: StreamLook = StreamLook(
        label=Level(0.297, 0.46, 8.0),
        scene=Level(0.324, 0.39, 3.0),
        clip=Level(0.081, 0.36, 2.2),
        slow=Level(0.190, 0.35, 1.6),
        fast=Level(0.120, 0.35, 1.6),
        slow_seconds=3.0,
        fast_seconds=0.2,
        mean=3.9,
        bend=0.2,
    )
    flow: StreamLook = StreamLook(
        label=Level(0.296, 0.91, 8.0),
        scene=Level(0.226, 0.85, 3.0),
        clip=Level(0.035, 0.83, 2.2),
        slow=Level(0.200, 0.76, 0.8),
        fast=Level(0.250, 0.76, 0.8),
        slow_seconds=6.0,
        fast_seconds=0.7,
        mean=2.5,
        bend=0.2,
    )
    backgrounds: int = 6
    backgrounds_alike: float = 0.15
    clips: int = 5
    uneven_scenes: float = 0.25
    uneven_changes: float = 0.3
    alike: tuple[float, float, float, float, float] = (0.86, 0.80, 0.80, 0.55, 0.10)
    pair_overlap: float = 0.60
    between: bool = True


@dataclass(frozen=True)
class Scene:
    """One scene: for each stream the [clips, D] columns, before bending, that its clips vary around."""

    clips: tuple[np.ndarray, ...]


class DrawnClips:
    """The clips of one world: a `composed.scenes.Library` that draws what it is asked for.

    Args:
        rng: draws what the world's classes look like.
        look: settings.
        num_classes: action classes.
        dim: columns of one stream.
        hard_pairs: (a, b) action classes that look alike.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        look: Look,
        num_classes: int,
        dim: int,
        hard_pairs: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.look = look
        self.actions = num_classes
        self.backgrounds = tuple(range(num_classes, num_classes + look.backgrounds))
        self.near: dict[int, int] = {}
        self._looks = (look.rgb, look.flow)
        self.streams = tuple(
            StreamColumns(name, dim, np.full(dim, one.mean), np.ones(dim), name == "flow")
            for name, one in zip(STREAMS, self._looks)
        )
        count = num_classes + look.backgrounds
        self._axes = _axes(rng, dim)
        self._labels = self._labelled(rng, count, hard_pairs)
        self._spread = np.exp(look.uneven_scenes * rng.standard_normal(count))

    def scene(self, rng: np.random.Generator, label: int) -> Scene:
        """Draw a scene of a class, and its clips."""
        places, clips = self._draw(rng, "scene", 1), self._draw(rng, "clip", self.look.clips)
        parts = zip(self._labels, places, clips)
        return Scene(tuple(labels[label] + self._spread[label] * place + clip for labels, place, clip in parts))

    def clip(self, rng: np.random.Generator, scene: Scene, count: int, step: float) -> list[np.ndarray]:
        """Play a clip: [count, D] columns a stream, a moment every `step` seconds."""
        which = rng.integers(self.look.clips)
        change = np.exp(self.look.uneven_changes * rng.standard_normal())
        moved = zip(self._draw(rng, "slow", count, step), self._draw(rng, "fast", count, step))
        return [
            _bent(look, clips[which] + change * (slow + fast))
            for look, clips, (slow, fast) in zip(self._looks, scene.clips, moved)
        ]

    def mean(self, rng: np.random.Generator, scene: Scene) -> list[np.ndarray]:
        """The [D] columns a stream that one clip of a scene varies around."""
        which = rng.integers(self.look.clips)
        return [_bent(look, clips[which]) for look, clips in zip(self._looks, scene.clips)]

    def together(self, acted: list[Scene], around: list[Scene]) -> tuple[list[Scene], list[Scene]]:
        """Deal the loudnesses of one video's scenes anew, each stream's: half of the background's get the quietest,
        the others the loudest, the actions' what lies between; among themselves they keep their order."""
        if not self.look.between or not around:
            return acted, around
        scenes = [*acted, *around]
        moved = zip(*(_dealt([scene.clips[at] for scene in scenes], len(acted)) for at in range(len(STREAMS))))
        made = [Scene(clips) for clips in moved]
        return made[: len(acted)], made[len(acted) :]

    def _labelled(self, rng: np.random.Generator, count: int, pairs: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """Draw [count, D] what classes look like, one array a stream, with a mean of 0 over actions and backgrounds."""
        draws = self._normal(rng, "label", count)
        shared = self._normal(rng, "label", 1)
        alike, overlap = self.look.backgrounds_alike, self.look.pair_overlap
        for rows, common in zip(draws, shared):
            # the same spread of loudness on either side, dealt to its classes
            for side in (rows[: self.actions], rows[self.actions :]):
                ranks = rng.permutation(len(side))
                side[:, 0] = [NormalDist().inv_cdf((rank + 0.5) / len(side)) for rank in ranks]
            rows[self.actions :, 1:] *= np.sqrt(1 - alike)
            rows[self.actions :, 1:] += np.sqrt(alike) * common[:, 1:]
            for first, second in pairs:
                rows[second, 1:] = overlap * rows[first, 1:] + np.sqrt(1 - overlap**2) * rows[second, 1:]
        made = [self._columns(look.label, rows) for look, rows in zip(self._looks, draws)]
        return [rows - rows.mean(axis=0) for rows in made]

    def _draw(self, rng: np.random.Generator, name: str, count: int, step: float | None = None) -> list[np.ndarray]:
        """Draw [count, D] values of a level, one array a stream, each column of variance `share`.

        With `step` they are moments that many seconds apart, which remember those before.
        """
        made = []
        for look, drawn in zip(self._looks, self._normal(rng, name, count)):
            if step is not None:
                drawn = slow_noise(drawn, np.exp(-step / getattr(look, f"{name}_seconds")))
            made.append(self._columns(getattr(look, name), drawn))
        return made

    def _normal(self, rng: np.random.Generator, name: str, count: int) -> list[np.ndarray]:
        """Draw [count, 1 + D] standard normal values a stream: the common direction, then the axes."""
        alike = self.look.alike[_ALIKE[name]]
        first, second = (rng.standard_normal((count, len(self._axes) + 1)) for _ in STREAMS)
        second[:, 1:] = alike * first[:, 1:] + np.sqrt(1 - alike**2) * second[:, 1:]
        return [first, second]

    def _columns(self, level: Level, drawn: np.ndarray) -> np.ndarray:
        """Turn [n, 1 + D] standard normal values into [n, D] columns of variance `level.share`."""
        dim = len(self._axes)
        power = np.exp(-level.decay * np.arange(dim) / dim)
        rest = (drawn[:, 1:] * np.sqrt((1 - level.common) * power / power.sum())) @ self._axes
        return np.sqrt(level.share) * (np.sqrt(level.common) * drawn[:, :1] + rest)


def _dealt(clips: list[np.ndarray], acted: int) -> list[np.ndarray]:
    """Move [clips, D] columns of scenes, the first `acted` of them the actions', to the loudnesses they are dealt."""
    loud = np.array([columns.mean() for columns in clips])
    own, others = loud[:acted], loud[acted:]
    # of an odd number of background scenes, one more lies on the side where the first is
    quiet = (len(others) + int(others[0] < own.mean())) // 2
    dealt, ranked = np.empty_like(loud), np.sort(loud)
    dealt[np.argsort(own)] = ranked[quiet : quiet + acted]
    dealt[acted + np.argsort(others)] = np.r_[ranked[:quiet], ranked[quiet + acted :]]
    return [columns + shift for columns, shift in zip(clips, dealt - loud)]


_ALIKE = {"label": 0, "scene": 1, "clip": 2, "slow": 3, "fast": 4}


def _axes(rng: np.random.Generator, dim: int) -> np.ndarray:
    """Draw [dim, dim] rows: random axes at right angles, of length sqrt(dim)."""
    axes, triangle = np.linalg.qr(rng.standard_normal((dim, dim)))
    # which of two opposite axes comes out is the linear algebra library's choice; this makes it ours
    return np.sqrt(dim) * (axes * np.where(np.diag(triangle) < 0, -1, 1)).T


def _bent(look: StreamLook, values: np.ndarray) -> np.ndarray:
    """Turn normal values of variance 1 into skewed ones of variance 1 around the columns' mean; none is negative."""
    if look.bend:
        spread = np.sqrt(np.expm1(look.bend**2))
        values = (np.exp(look.bend * values - look.bend**2 / 2) - 1) / spread
    return np.maximum(look.mean + values, 0)


def slow_noise(draws: np.ndarray, memory: float) -> np.ndarray:
    """Turn [T,D] independent normal draws into n[t] = memory n[t-1] + sqrt(1 - memory^2) draws[t], of variance 1.

    The recursion is summed by doubling: after the pass of step k, row t holds its last 2k draws, weighted.
    """
    if memory == 0:
        return draws
    noise = draws * np.sqrt(1 - memory**2)
    noise[0] = draws[0]
    step, weight = 1, memory
    # Older draws weigh nothing in float64.
    while step < len(noise) and weight > 1e-18:
        noise[step:] += weight * noise[:-step]
        step, weight = 2 * step, weight**2
    return noise
