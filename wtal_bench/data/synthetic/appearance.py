"""Drawing what a synthetic video looks like: snippet features of two streams over a given time line.

Every snippet shows a weighted sum of prototypes (sparse non-negative vectors), seen at `SUBSAMPLES` instants and
averaged; then come a bias of the video, slow noise, camera motion, rectification and multiplicative noise. Because
averaging and mixing are linear, the weights are averaged and multiplied with the bank of prototypes once a stream.

What makes it hard, as in real videos: an action's start and end look like those of other actions; its surroundings
are seen without it as well (context); some background moves a little like the action (teasers); twins look alike.
What must not make it easy: background is filled up with other things until it is as loud, and as dense, as action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wtal_bench.data.synthetic.timeline import TimeLine

SUBSAMPLES = 4
STREAMS = ("rgb", "flow")


@dataclass(frozen=True)
class StreamLook:
    """How strongly one stream shows what.

    Attributes:
        action: gain of an action.
        context: gain of a class's surroundings.
        generic: gain of background that belongs to no class.
        bias: of a constant vector per video.
        noise: standard deviation of the slow noise.
        camera: gain of bursts of camera motion.
    """

    action: float
    context: float
    generic: float
    bias: float
    noise: float
    camera: float = 0.0


@dataclass(frozen=True)
class Look:
    """The appearance model's settings; gains are in units of a prototype's root mean square.

    Attributes:
        rgb, flow: gains of the two streams.
        phases: where start turns to core and core to end, as shares of an instance.
        own_share: share of the class's own prototype in start and end; the rest is shared between classes.
        shared_phases: number of those shared prototypes.
        motion: weight of the class-agnostic motion in every phase of every action.
        instance_sd: standard deviation of an instance's log gain, and of a background segment's.
        edge_jitter: standard deviation of where an action is first and last seen, in instance lengths around the
            annotated edge, cut at `edge_jitter_max`.
        ramp_seconds: time over which an action appears and vanishes, at most a third of it each.
        pair_overlap, pair_scene_overlap: share of prototype and surroundings that two alike classes have in common.
        scenes: number of scene types; `scene_own` of a class's surroundings is its own.
        generics: number of prototypes of background that belongs to no class.
        segment_seconds: mean length of a homogeneous stretch of background.
        context_share: share of those that show the class's surroundings.
        context_in_action: how much of the surroundings is seen behind an action.
        teaser_share, teaser_gain: share of background segments with a weak action-like motion, and its largest weight.
        motion_floor: background is filled up with generic things to this share of an action's energy; without it the
            mere energy of a snippet gives actions away. A little over 1, because actions are filled up too where they
            are weak.
        noise_memory: correlation of the slow noise from snippet to snippet.
        camera_share, camera_stay: chance that a burst of camera motion begins, is followed by another snippet of it.
        heavy_sd: standard deviation of the log of the multiplicative noise of every value.
    """

    rgb: StreamLook = StreamLook(action=0.30, context=0.60, generic=0.55, bias=0.60, noise=0.65)
    flow: StreamLook = StreamLook(action=0.65, context=0.15, generic=0.35, bias=0.30, noise=0.70, camera=0.80)
    phases: tuple[float, float] = (0.30, 0.65)
    own_share: float = 0.20
    shared_phases: int = 4
    motion: float = 1.60
    instance_sd: float = 0.30
    edge_jitter: float = 0.15
    edge_jitter_max: float = 0.30
    ramp_seconds: float = 0.5
    pair_overlap: float = 0.60
    pair_scene_overlap: float = 0.90
    scenes: int = 4
    scene_own: float = 0.40
    generics: int = 24
    segment_seconds: float = 5.0
    context_share: float = 0.45
    context_in_action: float = 0.40
    teaser_share: float = 0.25
    teaser_gain: float = 0.45
    motion_floor: float = 1.06
    noise_memory: float = 0.75
    camera_share: float = 0.026
    camera_stay: float = 0.85
    heavy_sd: float = 0.35


@dataclass(frozen=True)
class Bank:
    """One stream's prototypes, [K,D] rows in five blocks; a block begins at the row its attribute names.

    Attributes:
        rows: [K,D] float64.
        scene: first of C rows of surroundings (the C rows of the classes themselves come first).
        shared: first of the start and end prototypes.
        motion: the one row every action shares.
        generic: first of the rows of class-less background.
        mean: [K] mean of every row over the columns.
    """

    rows: np.ndarray
    scene: int
    shared: int
    motion: int
    generic: int
    mean: np.ndarray


class World:
    """The prototypes of one world: what its classes, scenes and background things look like in both streams.

    Args:
        rng: draws the prototypes.
        look: settings.
        num_classes: C.
        dim: columns of one stream.
        hard_pairs: (a, b) classes that look alike.
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
        self.dim = dim
        self.start_phase = rng.integers(0, look.shared_phases, num_classes)
        self.end_phase = rng.integers(0, look.shared_phases, num_classes)
        self.banks = tuple(_bank(rng, look, num_classes, dim, hard_pairs) for _ in STREAMS)

    def render(self, rng: np.random.Generator, line: TimeLine, snippet_seconds: float) -> np.ndarray:
        """Return the [T, 2 D] float64 features of one video, rgb first."""
        instants = (np.arange(line.snippets * SUBSAMPLES) + 0.5) * (snippet_seconds / SUBSAMPLES)
        action = _Action.draw(rng, self.look, line, instants)
        background = _Background.draw(rng, self.look, instants, snippet_seconds)
        camera = _camera_bursts(rng, self.look, line.snippets)
        streams = []
        for stream, bank in zip((self.look.rgb, self.look.flow), self.banks):
            weights = self._weights(stream, bank, line.scene, action, background)
            clean = self._clean(weights, bank.rows)
            streams.append(_filmed(rng, self.look, stream, clean, camera))
        return np.concatenate(streams, axis=1)

    def _clean(self, weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the [T,D] mean over a snippet's instants of `weights` [instants,K] times `rows` [K,D]."""
        return weights.reshape(-1, SUBSAMPLES, len(rows)).mean(axis=1) @ rows

    def _weights(
        self, stream: StreamLook, bank: Bank, scene: int, action: _Action, background: _Background
    ) -> np.ndarray:
        """Return the [instants, K] weights of the bank's rows."""
        look = self.look
        at = np.arange(len(action.label))
        weights = np.zeros((len(at), len(bank.rows)))
        start, core, end = action.phase.T * (action.gain * stream.action)
        label = np.where(action.label < 0, scene, action.label)
        weights[at, label] = core + look.own_share * (start + end)
        weights[at, bank.shared + self.start_phase[label]] = (1 - look.own_share) * start
        weights[at, bank.shared + self.end_phase[label]] += (1 - look.own_share) * end
        weights[:, bank.motion] = look.motion * (start + core + end)
        seen = action.phase.sum(axis=1)
        scenery = look.context_in_action * seen + (1 - seen) * background.context
        weights[at, bank.scene + label] += scenery * stream.context
        first, second, third = bank.generic + background.things.T
        weights[at, first] += (1 - seen) * (1 - background.context) * stream.generic
        tease = np.where(seen == 0, background.tease * stream.action / 2, 0)
        weights[at, label] += tease
        weights[at, bank.shared + self.start_phase[label]] += tease
        missing = np.maximum(background.level * self._loudness(stream, bank) - weights @ bank.mean, 0)
        fill = missing / (bank.mean[second] + look.motion * bank.mean[third])
        weights[at, second] += fill
        weights[at, third] += look.motion * fill
        return weights

    def _loudness(self, stream: StreamLook, bank: Bank) -> float:
        """Return the energy background is filled up to: that of a mean action with its surroundings."""
        parts = stream.action * (1 + self.look.motion) + self.look.context_in_action * stream.context
        return self.look.motion_floor * parts * float(bank.mean[: bank.scene].mean())


def _prototypes(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    """Draw [count, dim] sparse, non-negative rows of root mean square 1."""
    rows = rng.gamma(0.7, 1.0, (count, dim)) * (rng.random((count, dim)) < 0.30)
    # A row without any entry can only come up in very narrow streams; it gets one.
    rows[~rows.any(axis=1), 0] = 1.0
    return rows / np.sqrt((rows**2).mean(axis=1, keepdims=True))


def _bank(rng: np.random.Generator, look: Look, num_classes: int, dim: int, hard_pairs: Sequence) -> Bank:
    own = _prototypes(rng, num_classes, dim)
    types = _prototypes(rng, look.scenes, dim)[np.arange(num_classes) % look.scenes]
    scene = look.scene_own * _prototypes(rng, num_classes, dim) + (1 - look.scene_own) * types
    for first, second in hard_pairs:
        own[second] = look.pair_overlap * own[first] + (1 - look.pair_overlap) * own[second]
        scene[second] = look.pair_scene_overlap * scene[first] + (1 - look.pair_scene_overlap) * scene[second]
    rest = _prototypes(rng, look.shared_phases + 1 + look.generics, dim)
    rows = np.concatenate([own, scene, rest])
    shared = 2 * num_classes
    motion = shared + look.shared_phases
    return Bank(rows, num_classes, shared, motion, motion + 1, rows.mean(axis=1))


@dataclass(frozen=True)
class _Action:
    """Which action is seen at every instant: `label` [n] (-1 none), `phase` [n,3] weights 0..1, `gain` [n]."""

    label: np.ndarray
    phase: np.ndarray
    gain: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, look: Look, line: TimeLine, instants: np.ndarray) -> _Action:
        start, end, label = _visible(line)
        jitter = look.edge_jitter * rng.standard_normal((len(start), 2))
        jitter = np.clip(jitter, -look.edge_jitter_max, look.edge_jitter_max) * (end - start)[:, None]
        gain = np.exp(look.instance_sd * rng.standard_normal(len(start)))
        start, end = start + jitter[:, 0], end + jitter[:, 1]
        owner = _last_covering(start, end, instants)
        inside = np.flatnonzero(owner >= 0)
        owner, now = owner[inside], instants[inside]
        first, last = start[owner], end[owner]
        ramp = np.minimum(look.ramp_seconds, (last - first) / 3)
        strength = np.clip(np.minimum(now - first, last - now) / ramp, 0.25, 1)
        phase = np.zeros((len(instants), 3))
        phase[inside, np.digitize((now - first) / (last - first), look.phases)] = strength
        labels, gains = np.full(len(instants), -1), np.ones(len(instants))
        labels[inside], gains[inside] = label[owner], gain[owner]
        return cls(labels, phase, gains)


def _visible(line: TimeLine) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return start, end and label of what is drawn: of instances with equal times the lowest label, none empty."""
    start, end, label = line.start, line.end, line.label
    again = np.r_[False, (start[1:] == start[:-1]) & (end[1:] == end[:-1])] if len(start) else np.zeros(0, bool)
    drawn = ~again & (end > start)
    return start[drawn], end[drawn], label[drawn]


def _last_covering(start: np.ndarray, end: np.ndarray, instants: np.ndarray) -> np.ndarray:
    """Return [n] the last interval that covers every instant, -1 where none does."""
    if not len(start):
        return np.full(len(instants), -1)
    covers = (instants >= start[:, None]) & (instants < end[:, None])
    last = len(start) - 1 - np.argmax(covers[::-1], axis=0)
    return np.where(covers.any(axis=0), last, -1)


@dataclass(frozen=True)
class _Background:
    """What goes on besides the action at every instant, constant within a segment.

    Attributes:
        context: [n] 1 where the class's surroundings are shown, else 0.
        things: [n,3] different generic prototypes: what is shown, and two to fill up with.
        tease: [n] weight of an action-like motion.
        level: [n] loudness, around 1.
    """

    context: np.ndarray
    things: np.ndarray
    tease: np.ndarray
    level: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, look: Look, instants: np.ndarray, snippet_seconds: float) -> _Background:
        # Every segment lasts at least one snippet, so these are always enough.
        count = len(instants) // SUBSAMPLES + 1
        length = rng.exponential(look.segment_seconds, count) + snippet_seconds
        segment = np.searchsorted(np.cumsum(length), instants, side="right")
        context = (rng.random(count) < look.context_share).astype(np.float64)
        things = np.argsort(rng.random((count, look.generics)), axis=1)[:, :3]
        tease = look.teaser_gain * rng.random(count) * (rng.random(count) < look.teaser_share)
        level = np.exp(look.instance_sd * rng.standard_normal(count))
        return cls(context[segment], things[segment], tease[segment], level[segment])


def _camera_bursts(rng: np.random.Generator, look: Look, snippets: int) -> np.ndarray:
    """Return [T] strength of camera motion: a two-state Markov chain times log-normal strengths."""
    chance = rng.random(snippets)
    strength = np.exp(0.4 * rng.standard_normal(snippets))
    # Below camera_share the next state is on, above camera_stay it is off, between them it stays what it was.
    forced = (chance < look.camera_share) | (chance >= look.camera_stay)
    last = np.maximum.accumulate(np.where(forced, np.arange(snippets), -1))
    return strength * ((last >= 0) & (chance[last] < look.camera_share))


def _filmed(
    rng: np.random.Generator, look: Look, stream: StreamLook, clean: np.ndarray, camera: np.ndarray
) -> np.ndarray:
    """Add to a clean [T,D] signal what filming and feature extraction add; the result is not negative."""
    snippets, dim = clean.shape
    shake = rng.dirichlet(np.full(4, 0.5)) @ _prototypes(rng, 4, dim)
    bias = stream.bias * _prototypes(rng, 1, dim)
    noise = _slow_noise(rng.standard_normal((snippets, dim)), look.noise_memory)
    seen = clean + bias + stream.noise * noise + stream.camera * camera[:, None] * shake
    heavy = np.exp(look.heavy_sd * rng.standard_normal((snippets, dim)) - look.heavy_sd**2 / 2)
    return np.maximum(seen, 0) * heavy


def _slow_noise(draws: np.ndarray, memory: float) -> np.ndarray:
    """Turn [T,D] independent normal draws into n[t] = memory n[t-1] + sqrt(1 - memory^2) draws[t], of variance 1.

    The recursion is summed by doubling: after the pass of step k, row t holds its last 2k draws, weighted.
    """
    noise = draws * np.sqrt(1 - memory**2)
    noise[0] = draws[0]
    step, weight = 1, memory
    # Older draws weigh nothing in float64.
    while step < len(noise) and weight > 1e-18:
        noise[step:] += weight * noise[:-step]
        step, weight = 2 * step, weight**2
    return noise
