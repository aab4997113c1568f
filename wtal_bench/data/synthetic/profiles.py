"""The benchmark's sizes, and which random numbers every part of it is drawn from."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.composed.scenes import Cut, film
from wtal_bench.data.composed.timeline import THUMOS14_TIMING, LongActions, RepeatedActions, TimeLine
from wtal_bench.data.synthetic.clips import STREAMS, DrawnClips, Look
from wtal_bench.errors import DataError, did_you_mean, listing

GENERATOR = "wtal_bench.data.synthetic"
GENERATOR_VERSION = 3
"""Raised with every change of a single generated number: results of two versions are not results on the same data."""
TIME_LINES_VERSION = 2
"""The same of the annotations alone, which protocols are defined on: features may change without them."""

FPS = 25.0
STRIDE = 16
SNIPPET_SECONDS = STRIDE / FPS
SPLITS = MappingProxyType({"train": 0, "test": 1, "val": 2})
"""Split -> its part of the random streams' keys; `val` is for tuning, so that nobody needs the test split for it."""

CUT = Cut(spread_back=0.65)
"""How drawn clips are cut into videos: as real ones are, but for what a peak or norm would give away."""

# Every purpose has random streams of its own: time lines can be drawn without features and never change with them.
_WORLD, _LOOKS, _DEAL, _TIME, STAND_IN = range(5)


@dataclass(frozen=True)
class Profile:
    """One size of the benchmark.

    Attributes:
        name: as in `PROFILES`.
        timing: how time lines are drawn; fixes the number of classes.
        videos: split -> number of videos. It changes no video, only how many there are.
        dim: columns of one stream.
        max_snippets: longest video.
        look: how clips are drawn.
        cut: how videos are made of them.
    """

    name: str
    timing: RepeatedActions | LongActions
    videos: Mapping[str, int]
    dim: int
    max_snippets: int
    look: Look = field(default_factory=Look)
    cut: Cut = CUT

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return class_names(self.timing.num_classes)

    @property
    def settings_sha256(self) -> str:
        """Hash over every setting that shapes the data."""
        settings = {**asdict(self), "videos": dict(self.videos)}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def video_keys(self) -> Iterator[tuple[str, int]]:
        """Yield (split, index) of every video, in stored order."""
        for split, count in self.videos.items():
            for index in range(count):
                yield split, index


def _videos(train: int, val: int, test: int) -> Mapping[str, int]:
    return {"train": train, "val": val, "test": test}


_DEMO_ROWS = (0, 2, 3, 4, 7, 5, 6, 10, 13, 15)

PROFILES = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            Profile(
                name="tiny",
                timing=RepeatedActions(
                    tuple(THUMOS14_TIMING[row] for row in _DEMO_ROWS[:5]), twin=(3, 4), max_instances=12
                ),
                videos=_videos(10, 10, 10),
                dim=16,
                max_snippets=120,
            ),
            Profile(
                name="demo",
                timing=RepeatedActions(
                    tuple(THUMOS14_TIMING[row] for row in _DEMO_ROWS), twin=(3, 4), follow=(5, 6), max_instances=60
                ),
                videos=_videos(100, 50, 100),
                dim=64,
                max_snippets=400,
            ),
            Profile(
                name="full",
                timing=RepeatedActions(
                    THUMOS14_TIMING, twin=(4, 7), follow=(5, 6), max_instances=150, min_length=0.3, min_gap=0.1
                ),
                videos=_videos(200, 100, 212),
                dim=1024,
                max_snippets=3000,
            ),
            Profile(name="anet", timing=LongActions(), videos=_videos(400, 100, 200), dim=64, max_snippets=375),
        )
    }
)
"""Profiles by name: `tiny` for tests of the plumbing alone, `demo` for a run in minutes, `full` in the size and with
the time lines of THUMOS14, `anet` with the time lines of ActivityNet 1.3."""


def get_profile(profile: str | Profile) -> Profile:
    """Return a profile by name.

    Raises:
        DataError: there is none of that name.
    """
    if isinstance(profile, Profile):
        return profile
    if not isinstance(profile, str) or profile not in PROFILES:
        raise DataError(
            f"no synthetic profile {profile!r:.80}; there are {listing(PROFILES)}."
            f"{did_you_mean(str(profile), PROFILES)}"
        )
    return PROFILES[profile]


def check_world(world: int) -> int:
    """Return a world's seed.

    Raises:
        DataError: it is no whole number of at least 0.
    """
    if isinstance(world, bool) or not isinstance(world, int | np.integer) or not 0 <= world < 2**63:
        raise DataError(
            f"the world of synthetic data must be a whole number of at least 0, below 2**63, got {world!r:.80}."
        )
    return int(world)


def class_names(count: int) -> tuple[str, ...]:
    """Return `count` class names syn_00, syn_01, ..."""
    return tuple(f"syn_{label:02d}" for label in range(count))


def video_id(split: str, index: int) -> str:
    """Return the id of a synthetic video."""
    return f"syn_{split}_{index:05d}"


def streams(dim: int) -> dict[str, list[int]]:
    """Return stream name -> its columns [first, end) for a manifest."""
    return {name: [place * dim, (place + 1) * dim] for place, name in enumerate(STREAMS)}


def generator_for(world: int, purpose: int, *key: int) -> np.random.Generator:
    """Return the random stream of one purpose and video of a world; no other purpose or video shares it."""
    return np.random.default_rng([world, purpose, *key])


def draw_world(profile: Profile, world: int) -> DrawnClips:
    """Draw what the classes of a world look like."""
    return DrawnClips(
        generator_for(world, _WORLD, _salt(profile)),
        profile.look,
        profile.timing.num_classes,
        profile.dim,
        profile.timing.hard_pairs,
    )


def draw_time_line(profile: Profile, world: int, split: str, index: int) -> TimeLine:
    """Draw one video's time line, which depends on (profile, world, split, index) alone."""
    # Dealt in shuffled blocks of all classes: balanced, and a video's number tells nothing of its class.
    classes = profile.timing.num_classes
    block, place = divmod(index, classes)
    deal = generator_for(world, _DEAL, _salt(profile), SPLITS[split], block).permutation(classes)
    rng = generator_for(world, _TIME, _salt(profile), SPLITS[split], index)
    return profile.timing.draw(rng, int(deal[place]), profile.max_snippets, SNIPPET_SECONDS)


def draw_features(world: DrawnClips, profile: Profile, seed: int, split: str, index: int) -> np.ndarray:
    """Draw one video's [T, 2 dim] float64 features in the world `draw_world` gave for `seed`."""
    line = draw_time_line(profile, seed, split, index)
    rng = generator_for(seed, _LOOKS, _salt(profile), SPLITS[split], index)
    return film(rng, profile.cut, world, line, SNIPPET_SECONDS)


def _salt(profile: Profile) -> int:
    return zlib.crc32(profile.name.encode())


def annotations_dict(profile: Profile, world: int) -> dict[str, Any]:
    """Return the content of the annotation file of a profile and world."""
    names = profile.classes
    videos = {}
    for split, index in profile.video_keys():
        line = draw_time_line(profile, world, split, index)
        rows = zip(line.label.tolist(), line.start.tolist(), line.end.tolist())
        videos[video_id(split, index)] = {
            "subset": split,
            "duration": duration(line),
            "fps": FPS,
            "frames": line.snippets * STRIDE,
            "segments": [{"label": names[label], "start": start, "end": end} for label, start, end in rows],
        }
    # write_json sorts keys; videos in that order make the annotations in memory equal to those read from the file
    videos = dict(sorted(videos.items()))
    version = f"synthetic-{profile.name}-world{world}-v{TIME_LINES_VERSION}"
    return {"version": version, "classes": list(names), "videos": videos}


def duration(line: TimeLine) -> float:
    """Return the seconds of a generated video: its snippets cover it exactly."""
    return round(line.snippets * SNIPPET_SECONDS, 2)


def synthetic_annotations(profile: str | Profile = "demo", world: int = 0) -> Annotations:
    """Make the annotations of a profile and world without any feature, equal to those of the generated file.

    Raises:
        DataError: unknown profile, or a world that is no whole number of at least 0.
    """
    profile = get_profile(profile)
    source = f"synthetic profile {profile.name}, world {check_world(world)}"
    return Annotations.from_dict(annotations_dict(profile, check_world(world)), source)
