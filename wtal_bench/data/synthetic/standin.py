"""Stand-in features over a real annotation file: true time lines, durations and tags, drawn features.

They let everything that is made for a real data set run in full size without its videos. Nothing measured on them
says anything about the real data set; the manifest says `synthetic`.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wtal_bench.data.annotations import Annotations, VideoAnnotation, beside
from wtal_bench.data.composed.scenes import film
from wtal_bench.data.composed.timeline import TimeLine
from wtal_bench.data.folders import make_folder
from wtal_bench.data.locate import ANNOTATIONS
from wtal_bench.data.progress import track
from wtal_bench.data.store import StoredVideo
from wtal_bench.data.synthetic.build import write_dataset_features
from wtal_bench.data.synthetic.clips import DrawnClips, Look
from wtal_bench.data.synthetic.profiles import (
    CUT,
    FPS,
    GENERATOR,
    GENERATOR_VERSION,
    STAND_IN,
    STRIDE,
    check_world,
    generator_for,
    streams,
)
from wtal_bench.errors import DataError
from wtal_bench.files import atomic_write, write_json
from wtal_bench.reading import decode_json, read_bytes

CLAIMS = {
    "claimed": ["durations, frame rates, tags and time lines of the annotation file named here"],
    "not_claimed": ["anything about the real data set: the features were drawn, no video was seen"],
}


def stand_in(
    annotation_file: str | Path,
    folder: str | Path,
    dim: int = 64,
    *,
    world: int = 0,
    fps: float | None = None,
    limit: int | None = None,
) -> Path:
    """Draw features for the videos of an annotation file: `features/` and `annotations.json` in one folder.

    Tag lists that lie beside the annotations are written beside the new ones.

    Args:
        annotation_file: real annotations, in the layout of `wtal_bench.data.annotations`.
        folder: where to write.
        dim: columns of one stream; there are two (real I3D features have 1024).
        world: seed of everything random. A video's features depend on it, on the file's classes and tags, and on the
            video's own entry; not on the other videos drawn.
        fps: frame rate of the pretended decoding; None = that of every video in the file, else 25. The public I3D
            features were taken at 25.
        limit: take only the first videos of every subset. The annotations written are cut to them; without a limit
            they are the source, byte for byte.

    Returns:
        The folder.

    Raises:
        DataError: bad annotations, arguments that cannot be, or a folder that holds something else.
    """
    annotations = Annotations.load(annotation_file)
    _check(dim, fps, limit)
    chosen = _first_videos(annotations, limit)
    generator = {
        "name": f"{GENERATOR}.stand_in",
        "version": GENERATOR_VERSION,
        "world": check_world(world),
        "dim": dim,
        "fps": fps,
        "limit": limit,
        "source": {"version": annotations.version, "sha256": annotations.sha256},
    }

    def write(target: Path) -> None:
        _write_annotations(target / ANNOTATIONS, Path(annotation_file), chosen, annotations)
        _write_tag_lists(target, chosen, annotations)
        videos = track(
            _videos(annotations, chosen, dim, world, fps), len(chosen), f"making stand-ins for {annotations.version}"
        )
        write_dataset_features(
            target,
            videos,
            {
                "name": f"stand-in-{annotations.version}",
                "fps": fps,
                "streams": streams(dim),
                "generator": generator,
                "claims": CLAIMS,
            },
        )

    return make_folder(Path(folder), generator, write)


LARGEST_DIM, LONGEST = 65_536, 1_000_000
"""Columns of a stream and snippets of a video that are made at most (a million snippets last a week)."""


def _check(dim: int, fps: float | None, limit: int | None) -> None:
    for name, value in (("dim", dim), ("limit", 1 if limit is None else limit)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
            raise DataError(f"{name} of stand-in features must be a whole number of at least 1, got {value!r:.80}.")
    if dim > LARGEST_DIM:
        raise DataError(f"dim of stand-in features must be at most {LARGEST_DIM} columns a stream, got {dim}.")
    if fps is not None and not 0.01 <= fps <= 1000:
        raise DataError(f"fps of stand-in features must be a number from 0.01 to 1000, or None, got {fps!r}.")


def _first_videos(annotations: Annotations, limit: int | None) -> list[str]:
    by_subset: dict[str, list[str]] = {}
    for name, video in annotations.videos.items():
        by_subset.setdefault(video.subset, []).append(name)
    kept = set(itertools.chain.from_iterable(names[:limit] for names in by_subset.values()))
    return [name for name in annotations.videos if name in kept]


def _write_annotations(target: Path, source: Path, chosen: list[str], annotations: Annotations) -> None:
    content = read_bytes(source)
    if hashlib.sha256(content).hexdigest() != annotations.sha256:
        raise DataError(f"{source} changed while it was read; try again.")
    if len(chosen) == len(annotations.videos):
        with atomic_write(target, "wb") as stream:
            stream.write(content)
        return
    value = decode_json(content, source)
    kept = set(chosen)
    value["version"] += f" (first {len(chosen)} of {len(annotations.videos)} videos)"
    value["videos"] = {name: entry for name, entry in value["videos"].items() if name in kept}
    if "tags" in value:
        value["tags"] = {
            name: {video: tags for video, tags in lists.items() if video in kept}
            for name, lists in value["tags"].items()
        }
    value["exclude"] = {
        name: [video for video in videos if video in kept] for name, videos in value.get("exclude", {}).items()
    }
    write_json(target, value)


def _write_tag_lists(folder: Path, chosen: list[str], annotations: Annotations) -> None:
    """Write the lists that are not in the annotation file itself."""
    inside = Annotations.load(folder / ANNOTATIONS).tag_lists
    for name in annotations.tag_lists.keys() - inside.keys():
        tags = annotations.tag_list(name)
        named = {video: [annotations.classes[label] for label in tags[video]] for video in chosen if video in tags}
        write_json(beside(folder / ANNOTATIONS, name), {"tags": named})


def _videos(
    annotations: Annotations, chosen: list[str], dim: int, world: int, fps: float | None
) -> Iterator[StoredVideo]:
    clips = DrawnClips(generator_for(world, STAND_IN), Look(), len(annotations.classes), dim, alike(annotations))
    for name in chosen:
        video = annotations.videos[name]
        digest = hashlib.sha256(name.encode()).digest()
        rng = generator_for(world, STAND_IN, int.from_bytes(digest[:8], "big"))
        rate = fps or video.fps or FPS
        frames = max(1, round(video.duration * rate)) if fps or not video.frames else video.frames
        if frames // STRIDE > LONGEST:
            raise DataError(
                f"{annotations.path}: video {name!r} lasts {video.duration:g} s, {frames // STRIDE} snippets at "
                f"{rate:g} frames a second; stand-ins have at most {LONGEST}. Is its duration right?"
            )
        line = _time_line(rng, video, annotations.tags(name), len(annotations.classes), max(1, frames // STRIDE))
        yield StoredVideo(name, film(rng, CUT, clips, line, STRIDE / rate), video.duration, rate, frames)


def _time_line(
    rng: np.random.Generator, video: VideoAnnotation, tags: tuple[int, ...], num_classes: int, snippets: int
) -> TimeLine:
    label = np.array([segment.label for segment in video.segments], dtype=np.int64)
    start = np.array([segment.start for segment in video.segments], dtype=np.float64)
    end = np.array([segment.end for segment in video.segments], dtype=np.float64)
    # The surroundings are those of the most frequent class; of any class where the file names none.
    shown = label if len(label) else np.array(tags or [rng.integers(num_classes)])
    scene = int(np.bincount(shown).argmax())
    return TimeLine.sorted(scene, start, np.minimum(end, video.duration), label, snippets)


def alike(annotations: Annotations) -> tuple[tuple[int, int], ...]:
    """Return the pairs of classes made to look alike: at least two videos, and half of one's, show both."""
    shown = np.zeros((len(annotations.videos), len(annotations.classes)))
    for row, name in enumerate(annotations.videos):
        shown[row, list(annotations.tags(name))] = 1
    both = shown.T @ shown
    count = np.diag(both)
    close = (both >= 2) & (2 * both >= np.minimum(count[:, None], count))
    return tuple((int(a), int(b)) for a, b in np.argwhere(np.triu(close, 1)))
