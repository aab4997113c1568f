"""Writing the benchmark: features and annotations of one profile and world, once, cached."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from wtal_bench.data.folders import locked, make_folder, problem_with
from wtal_bench.data.locate import ANNOTATIONS, FEATURES
from wtal_bench.data.progress import track
from wtal_bench.data.store import StoredVideo, write_store
from wtal_bench.data.synthetic.profiles import (
    FPS,
    GENERATOR,
    GENERATOR_VERSION,
    PROFILES,
    STRIDE,
    Profile,
    annotations_dict,
    check_world,
    draw_features,
    draw_world,
    get_profile,
    streams,
    video_id,
)
from wtal_bench.errors import DataError, listing
from wtal_bench.files import cache_folder, write_json

DTYPE = "float16"
"""Half precision: half the disk, and its rounding hides the last bits in which two machines' arithmetic may differ."""

CLAIMS = {
    "claimed": [
        "time lines with the measured statistics of real annotations",
        "the same numbers from the same profile, world and generator version",
        "room above every baseline: the annotations themselves, as an activation sequence, score far higher",
        "features that tell action from background, and class from class, as real composed ones were measured to",
        "no plain shortcut: energy, norm, peak, density, length, order and id of videos were probed",
    ],
    "not_claimed": ["the ranking of methods on real videos"],
}
"""What results on generated features say and what they do not; every manifest carries it."""


def identity(profile: Profile, world: int) -> dict[str, Any]:
    """Return what the manifest says of its generator: equal identities have equal data."""
    return {
        "name": GENERATOR,
        "version": GENERATOR_VERSION,
        "profile": profile.name,
        "world": world,
        "settings_sha256": profile.settings_sha256,
    }


def stored_videos(profile: Profile, world: int) -> Iterator[StoredVideo]:
    """Yield every video of a profile and world, features included, in stored order."""
    clips = draw_world(profile, world)
    for split, index in profile.video_keys():
        features = draw_features(clips, profile, world, split, index)
        frames = len(features) * STRIDE
        yield StoredVideo(video_id(split, index), features, round(frames / FPS, 2), FPS, frames)


def generate(
    profile: str | Profile = "demo",
    world: int = 0,
    folder: str | Path | None = None,
) -> Path:
    """Generate one profile and world: `features/` (a feature store) and `annotations.json` in one folder.

    A folder that is complete is used as it is; one that is damaged is made again.

    Args:
        profile: a name in `PROFILES`, or a profile of your own (which needs a folder).
        world: seed of everything random, at least 0.
        folder: where to write; None = the cache.

    Returns:
        The folder.

    Raises:
        DataError: unknown profile, bad seed, a folder that holds something else, a full disk; nothing half-written.
    """
    profile, world = get_profile(profile), check_world(world)
    if folder is None:
        if PROFILES.get(profile.name) != profile:
            raise DataError(f"the cache holds {listing(PROFILES)} only; give profile {profile.name!r} a folder.")
        return _cached(profile, world)
    return make_folder(Path(folder), identity(profile, world), _writer(profile, world))


def ensure_synthetic(profile: str = "demo", world: int = 0) -> Path:
    """Return the cached folder of a profile and world, generated first if need be; safe in many processes at once.

    Raises:
        DataError: unknown profile, bad seed, or a cache that cannot be written.
    """
    return generate(profile, world)


def _cached(profile: Profile, world: int) -> Path:
    generator = identity(profile, world)
    folder = cache_folder() / "synthetic" / f"{profile.name}-world{world}-v{GENERATOR_VERSION}"
    # A complete one needs no lock, so that a cache may be shared read-only.
    if folder.exists() and problem_with(folder, generator) is None:
        return folder
    with locked(folder):
        return make_folder(folder, generator, _writer(profile, world), replace=True)


def _writer(profile: Profile, world: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_json(folder / ANNOTATIONS, annotations_dict(profile, world))
        videos = track(
            stored_videos(profile, world),
            sum(profile.videos.values()),
            f"making synthetic data (profile {profile.name}, world {world})",
        )
        write_dataset_features(
            folder,
            videos,
            {
                "name": f"synthetic-{profile.name}-world{world}",
                "fps": FPS,
                "streams": streams(profile.dim),
                "generator": identity(profile, world),
                "claims": CLAIMS,
            },
        )

    return write


def write_dataset_features(folder: Path, videos: Iterable[StoredVideo], manifest: dict[str, Any]) -> None:
    """Write `features/` beside the `annotations.json` that is there, marked as synthetic."""
    fixed = {
        "extractor": f"none: drawn by {GENERATOR}, no video was seen",
        "stride": STRIDE,
        "window": STRIDE,
        "synthetic": True,
        "annotations_sha256": hashlib.sha256((folder / ANNOTATIONS).read_bytes()).hexdigest(),
    }
    write_store(folder / FEATURES, videos, manifest={**manifest, **fixed}, dtype=DTYPE)
