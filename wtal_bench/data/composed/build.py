"""Composing a data set: features, annotations and a manifest that says so, in one folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.data.composed.clips import SPLITS, Clip, ClipLibrary, ClipSet, Survey, clips_of, split_groups
from wtal_bench.data.composed.recipe import COMPOSER_VERSION, Recipe
from wtal_bench.data.composed.scenes import StreamColumns, film
from wtal_bench.data.composed.timeline import TimeLine
from wtal_bench.data.folders import check_folder, make_folder
from wtal_bench.data.locate import ANNOTATIONS, FEATURES
from wtal_bench.data.progress import track
from wtal_bench.data.store import StoredVideo, write_store
from wtal_bench.errors import DataError
from wtal_bench.files import digest, write_json

COMPOSER = "wtal_bench.data.composed"
CLAIMS = {
    "claimed": [
        "features of real clips, with exact boundaries",
        "the same numbers from the same clips, recipe and composer version",
        "no group of clips, a scene of its class as their table names it, is in two of train, val and test; clips of "
        "two groups that are equal nonetheless, and in two of them, are counted under equal_clips",
    ],
    "not_claimed": ["any result on untrimmed videos as people film them: cuts, time lines and scenes are composed"],
}
# Every purpose has random streams of its own: which class, when, and how it looks.
_DEAL, _TIME, _FILM = range(3)
_EXAMPLES = 20
"""Sets of equal clips that a manifest names."""
_BEYOND_HALF = 65520
"""The least number that half precision rounds to infinity, not to 65504."""

Groups = dict[str, dict[str, dict[str, list[Clip]]]]


def compose(clips: ClipSet, recipe: Recipe, folder: str | Path, *, motion: tuple[str, ...] = ("flow",)) -> Path:
    """Compose untrimmed videos: `features/` (a feature store) and `annotations.json` in one folder.

    Every video depends on (clips, recipe, subset, index) alone, not on how many there are. A folder that is complete is
    used as it is; one that is damaged is made again.

    Args:
        clips: features of trimmed clips.
        recipe: what is made of them.
        folder: where to write.
        motion: streams that show what moves; a scene's own movement is blended into them.

    Returns:
        The folder.

    Raises:
        DataError: clips that cannot be read or split, a folder that holds something else or the clips, a full disk;
            nothing half-written.
    """
    folder = Path(folder)
    groups = _split(clips, recipe)
    generator = {
        "name": COMPOSER,
        "version": COMPOSER_VERSION,
        "recipe": recipe.as_dict(),
        "dim": clips.dim,
        "motion": [name for name in clips.streams if name in motion],
    }
    # asked before the clips are read, which takes an hour for Kinetics
    _check_apart(clips.folder, folder)
    check_folder(folder, generator)
    used = [clip for split in SPLITS for clip in clips_of(groups[split])]
    survey = clips.survey(list(clips_of(groups["train"])), used, motion)
    generator["clips_sha256"] = survey.sha256
    generator["composition"] = digest(generator)

    def write(target: Path) -> None:
        write_json(target / ANNOTATIONS, annotations_dict(recipe, generator["composition"]))
        manifest = _manifest(target, recipe, survey, generator, _equal_clips(survey, groups))
        videos = track(_videos(clips, survey, groups, recipe), sum(recipe.videos), f"composing {recipe.name}")
        write_store(target / FEATURES, videos, manifest=manifest, dtype="float16")

    return make_folder(folder, generator, write)


def annotations_dict(recipe: Recipe, composition: str) -> dict[str, Any]:
    """Return the content of the annotation file; its version names recipe and clips."""
    videos = {}
    for split, index in track(_keys(recipe), sum(recipe.videos), "drawing time lines"):
        line = _time_line(recipe, split, index)
        rows = zip(line.label.tolist(), line.start.tolist(), line.end.tolist())
        videos[_id(recipe, split, index)] = {
            "subset": split,
            "duration": recipe.duration(line.snippets),
            "fps": recipe.fps,
            "frames": line.snippets * recipe.stride,
            "segments": [{"label": recipe.actions[label], "start": start, "end": end} for label, start, end in rows],
        }
    return {
        "version": f"composed-{recipe.name}-{composition[:12]}",
        "classes": list(recipe.actions),
        "videos": dict(sorted(videos.items())),
    }


def _check_apart(clips: Path, folder: Path) -> None:
    """Refuse to write over the clips, or among them, where the next call would take the data set for a stream."""
    place, target = clips.resolve(), folder.resolve()
    if place == target:
        what = "is the folder of the clips"
    elif place in target.parents:
        what = f"lies in the folder of the clips, {clips}"
    elif target in place.parents:
        what = f"holds the clips, {clips}"
    else:
        return
    raise DataError(f"{folder} {what}; a data set needs a folder of its own beside it: choose another with --out.")


def _equal_clips(survey: Survey, groups: Groups) -> dict[str, Any]:
    """Count the sets of equal clips that lie in more than one split, with a clip of each split for the first of them.

    Real clips have such: one take may be uploaded twice, and stand in two groups.
    """
    split_of = {clip.name: split for split in SPLITS for clip in clips_of(groups[split])}
    sets = [{split_of[clip.name]: clip.name for clip in reversed(clips)} for clips in survey.equal]
    apart = [found for found in sets if len(found) > 1]
    return {"sets": len(apart), "examples": apart[:_EXAMPLES]}


def _manifest(
    target: Path, recipe: Recipe, survey: Survey, generator: dict[str, Any], equal: dict[str, Any]
) -> dict[str, Any]:
    ends = np.cumsum([stream.width for stream in survey.columns]).tolist()
    return {
        "name": f"composed-{recipe.name}",
        "extractor": f"composed by {COMPOSER} of trimmed clips; no untrimmed video was seen",
        "fps": recipe.fps,
        "stride": recipe.stride,
        "window": recipe.stride,
        "streams": {stream.name: [end - stream.width, end] for stream, end in zip(survey.columns, ends)},
        "synthetic": False,
        "composed": True,
        "generator": generator,
        "claims": CLAIMS,
        "equal_clips": equal,
        "annotations_sha256": hashlib.sha256((target / ANNOTATIONS).read_bytes()).hexdigest(),
    }


def _split(clips: ClipSet, recipe: Recipe) -> Groups:
    names = {*recipe.actions, *recipe.backgrounds}
    return split_groups([clip for clip in clips.clips if clip.label in names])


def _videos(clips: ClipSet, survey: Survey, groups: Groups, recipe: Recipe) -> Iterator[StoredVideo]:
    libraries = {
        split: ClipLibrary(
            clips, survey.columns, groups[split], recipe.actions, recipe.backgrounds, recipe.near, recipe.clip_step
        )
        for split in SPLITS
    }
    for split, index in _keys(recipe):
        line = _time_line(recipe, split, index)
        rng = _random(recipe, _FILM, split, index)
        features = film(rng, recipe.cut, libraries[split], line, recipe.snippet_seconds)
        _check_half(features, survey.columns, recipe, f"video {_id(recipe, split, index)!r}")
        frames = line.snippets * recipe.stride
        yield StoredVideo(_id(recipe, split, index), features, recipe.duration(line.snippets), recipe.fps, frames)


def _check_half(features: np.ndarray, columns: tuple[StreamColumns, ...], recipe: Recipe, place: str) -> None:
    """Refuse a video with a number that half precision does not hold, and say what becomes of the column."""
    largest = np.abs(features).max()
    if not _BEYOND_HALF <= largest < np.inf:  # what is not finite, the store refuses
        return
    column = int(np.abs(features).max(axis=0).argmax())
    for stream in columns:
        if column < stream.width:
            break
        column -= stream.width
    if recipe.cut.standardize:
        advice = (
            f"In training its mean is {stream.mean[column]:g} and its spread {stream.std[column]:g}: clips of other "
            "splits are far from both. Leave the column out of the clips' features, or bring it to one scale in all."
        )
    else:
        advice = "Leave out --raw-columns, so that columns come to one scale, or divide the stream's features."
    raise DataError(
        f"{place}: a feature of size {largest:g} in column {column} of {stream.name} is more than the data set's half "
        f"precision holds (65504). {advice}"
    )


def _keys(recipe: Recipe) -> Iterator[tuple[str, int]]:
    for split, count in zip(SPLITS, recipe.videos):
        for index in range(count):
            yield split, index


def _time_line(recipe: Recipe, split: str, index: int) -> TimeLine:
    # dealt in shuffled blocks of all classes: balanced, and a video's number tells nothing of its class
    block, place = divmod(index, len(recipe.actions))
    deal = _random(recipe, _DEAL, split, block).permutation(len(recipe.actions))
    return recipe.time_line(_random(recipe, _TIME, split, index), int(deal[place]))


def _random(recipe: Recipe, purpose: int, split: str, index: int) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, purpose, SPLITS.index(split), index])


def _id(recipe: Recipe, split: str, index: int) -> str:
    return f"{recipe.name}_{split}_{index:05d}"
