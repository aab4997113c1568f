"""Reading annotation files: classes, videos, their temporal segments and video-level tags.

Temporal segments live here and with the evaluator alone. Training code sees `Annotations.tags` only, reduced to
multi-hot labels by `wtal_bench.data.dataset.VideoSet`.

Layout of a file (times in seconds, float64):

    {"version": str, "classes": [str, ...], "exclude"?: {list name: [video id, ...]},
     "tags"?: {list name: {video id: [str, ...]}},
     "videos": {id: {"subset": str, "duration": float, "fps"?: float, "frames"?: int,
                     "segments": [{"label": str, "start": float, "end": float}, ...],
                     "ambiguous"?: [[start, end], ...], "labels"?: [str, ...]}}}

`labels` gives the video-level tags by hand; without it they are the labels of the segments. A video with `labels` may
leave `segments` out. Real files hold segments that run past the end of their video, segments of length zero and
duplicates: those load, and `Annotations.lint` lists them. What no reading can make sense of is refused.

`tags` holds further lists of tags by name, for data sets whose authors trained on others than the segments' labels
(`labels_all` of THUMOS14); a video that a list does not name has no tag in it. A list may also lie beside the file, as
`<its name>_tags_<list>.json` with {"tags": {video id: [str, ...]}}: the hash of the annotations, which says what a
number was scored on, then stays what it is. Beside an `annotations.json` the first part of that name is free.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wtal_bench.data.locate import ANNOTATIONS
from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.files import digest, unplain
from wtal_bench.names import composed, difference, joined, lookalikes, near_twins
from wtal_bench.reading import GIB, decode_json, read_bytes, read_json

SEGMENTS = "segments"
"""What the tags are called that follow from the segments (or the file's `labels`); no list may have the name."""

SMALLEST, LARGEST = 1e-3, 1e7
"""Seconds of the shortest and the longest video (four months), and frames a second beyond those of any camera."""
LOOKALIKES = ("classes look alike", "videos look alike", "subsets look alike", "classes in one")
"""Kinds of `Annotations.lint` that `Annotations.lookalikes` lists."""

USUAL_SUBSETS = ("train", "val", "test")
"""What recipes call the subsets they train, choose and test on."""
RARE = 2
"""Videos of a class up to which its name may be a slip of a commoner one's."""

_TOP_KEYS = ("version", "classes", "exclude", "tags", "videos")
_VIDEO_KEYS = ("subset", "duration", "fps", "frames", "segments", "ambiguous", "labels")
_SEGMENT_KEYS = ("label", "start", "end")


@dataclass(frozen=True)
class Segment:
    """One annotated instance: `label` indexes the class list, `start` <= `end` in seconds."""

    label: int
    start: float
    end: float


@dataclass(frozen=True)
class VideoAnnotation:
    """What an annotation file says of one video.

    Attributes:
        subset: the split it belongs to ("train", "val", "test", ...).
        duration: seconds, > 0.
        fps: frames a second of the original video, None if unknown.
        frames: frames of the original video, None if unknown.
        segments: in file order; they may end past `duration` (see `Annotations.lint`).
        ambiguous: (start, end) spans in seconds that are neither action nor background.
        tags: explicit video-level classes (sorted indices), None when they follow from the segments.
    """

    subset: str
    duration: float
    fps: float | None
    frames: int | None
    segments: tuple[Segment, ...]
    ambiguous: tuple[tuple[float, float], ...]
    tags: tuple[int, ...] | None


@dataclass(frozen=True)
class Oddity:
    """Something that loads but that a person should know of; `kind` is a short name to count by."""

    kind: str
    video: str
    text: str


@dataclass(frozen=True)
class Annotations:
    """An annotation file, read and checked.

    Attributes:
        version: the file's own name for itself.
        classes: class names; every label is an index into them.
        videos: id -> `VideoAnnotation`, in file order.
        exclude: named lists of video ids a protocol may leave out.
        tag_lists: name -> video id -> sorted class indices, of the file itself and of the lists beside it.
        sha256: hex digest of the file's bytes.
        path: where it was read from, None for annotations made in memory.
        unknown_keys: (video id or "", key) of every key that was not read.
    """

    version: str
    classes: tuple[str, ...]
    videos: dict[str, VideoAnnotation]
    exclude: dict[str, tuple[str, ...]]
    sha256: str
    path: Path | None = None
    unknown_keys: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    tag_lists: dict[str, dict[str, tuple[int, ...]]] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, path: str | Path) -> Annotations:
        """Read and check a file.

        Raises:
            DataError: the file is missing or no JSON, or something in it cannot be (the text names video and key).
        """
        path = Path(path)
        hint = (
            "Give an annotation file, JSON in the layout of wtal_bench.data.annotations; `wtal-bench "
            "import-annotations` makes one from a CSV table or from ActivityNet's own JSON."
        )
        content = read_bytes(path, hint=hint, limit=GIB)
        value = decode_json(content, path)
        if isinstance(value, Mapping) and "database" in value and "videos" not in value:
            raise DataError(
                f"{path}: is in ActivityNet's own layout (`database`). Convert it once: wtal-bench import-annotations "
                f"{path} annotations.json --version NAME."
            )
        annotations = _Reader(str(path)).read(value, hashlib.sha256(content).hexdigest(), path)
        for name, file in lists_beside(path).items():
            if name in annotations.tag_lists:
                raise DataError(f"{path}: the tag list {name!r} is in it and in {file} too; remove one of them.")
            annotations.tag_lists[name] = _Reader(str(file)).list_beside(file, annotations)
        return annotations

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], source: str = "annotations made in memory") -> Annotations:
        """Check annotations made in memory; `sha256` is that of the file `files.write_json` would write.

        Raises:
            DataError: as `load`; `source` stands in the text where a path would.
        """
        problem = unplain(value)
        if problem:
            raise DataError(f"{source}: {problem}.")
        text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
        # Reading the caller's own mapping, not the sorted text, keeps the order of its videos.
        digest = hashlib.sha256(text.encode()).hexdigest()
        return _Reader(source).read(value, digest, None)

    def subset(self, name: str, exclude: str | None = None) -> list[str]:
        """Return the ids of one subset in file order, without the videos of the list `exclude` names.

        Raises:
            DataError: no video is in that subset, or there is no such list; the text names those there are.
        """
        names = {video.subset for video in self.videos.values()}
        where = self.path or self.version
        if name not in names:
            raise DataError(
                f"{where}: no video is in subset {name!r}; it has {listing(sorted(names))}.{did_you_mean(name, names)}"
            )
        if exclude is not None and exclude not in self.exclude:
            raise DataError(
                f"{where}: has no exclude list {exclude!r}; it has {listing(self.exclude)}."
                f"{did_you_mean(exclude, self.exclude)}"
            )
        out = set() if exclude is None else set(self.exclude[exclude])
        return [key for key, video in self.videos.items() if video.subset == name and key not in out]

    def tags(self, video: str, named: str = SEGMENTS) -> tuple[int, ...]:
        """Return the video-level classes of a video, sorted.

        Args:
            video: its id.
            named: a tag list; "segments" = the explicit `labels` of the video, else those of its segments.

        Raises:
            DataError: no such video or list.
        """
        if video not in self.videos:
            raise DataError(f"{self.path or self.version}: has no video {video!r}.{did_you_mean(video, self.videos)}")
        if named != SEGMENTS:
            return self.tag_list(named).get(video, ())
        entry = self.videos[video]
        return entry.tags if entry.tags is not None else tuple(sorted({segment.label for segment in entry.segments}))

    def timed(self, video: str) -> bool:
        """Whether it is known when something happens in a video, if only that nothing does.

        Not where it has tags and no times, nor where no video of its subset has times.
        """
        own = self.videos[video]
        if own.segments or own.tags:
            return bool(own.segments)
        return any(other.segments for other in self.videos.values() if other.subset == own.subset)

    def tag_list(self, name: str) -> dict[str, tuple[int, ...]]:
        """Return a named tag list: video id -> sorted class indices.

        Raises:
            DataError: there is none of that name; the text says how to get it.
        """
        if name not in self.tag_lists:
            where, known = self.path or self.version, [SEGMENTS, *self.tag_lists]
            file = beside(self.path or Path(ANNOTATIONS), name).name
            raise DataError(
                f"{where}: has no tag list {name!r}; it has {listing(known)}.{did_you_mean(name, known)} Put the list "
                f'beside the file, as {file} ({{"tags": {{video: [class, ...]}}}}; `wtal-bench import-features '
                f"--format wtalc` writes W-TALC's), or train on the segments' labels: data.tags={SEGMENTS!r}."
            )
        return self.tag_lists[name]

    def tag_differences(self, name: str, videos: Iterable[str]) -> list[str]:
        """Those of some videos whose tags in a list are not the ones that follow from their segments."""
        return [video for video in videos if set(self.tags(video, name)) != set(self.tags(video))]

    def tag_count(self, name: str, subset: str) -> str:
        """How many annotated videos of a subset have other tags in a list than their segments say, in words."""
        ids = [video for video in self.subset(subset) if self.videos[video].segments]
        return f"{len(self.tag_differences(name, ids))} of {len(ids)} {subset} videos"

    def tag_hash(self, name: str) -> str:
        """SHA-256 (hex) of a named tag list: what was trained on, whatever file it came from."""
        return digest({video: [self.classes[label] for label in tags] for video, tags in self.tag_list(name).items()})

    def lint(self) -> list[Oddity]:
        """List every oddity in file order; count them by `Oddity.kind`.

        Kinds: "unknown key", "ends past the video", "starts past the video", "zero length", "duplicate segment",
        "ambiguous past the video", "tags differ from segments", "no tags", "class without a video", and those of
        `lookalikes`.
        """
        found = [
            Oddity("unknown key", video, f"key {key!r} is not known and not read") for video, key in self.unknown_keys
        ]
        found += self.lookalikes()
        for key, video in self.videos.items():
            found += self._lint_video(key, video)
        used = {label for key in self.videos for label in self.tags(key)}
        found += [
            Oddity("class without a video", "", f"no video shows class {name!r}")
            for label, name in enumerate(self.classes)
            if label not in used
        ]
        return found

    def lookalikes(self) -> list[Oddity]:
        """List names that are probably not meant (kinds: `LOOKALIKES`).

        Classes, videos and subsets whose names differ only by case, spaces or Unicode form; a class of few videos, or a
        subset, that is a letter off another; a class that is several in one, as `Red;Stripes` is.
        """
        found = []
        for kind, what, names in zip(LOOKALIKES, ("class names", "video ids"), (self.classes, self.videos)):
            for group in lookalikes(names):
                shown = " and ".join(map(repr, group))
                differ = difference(*group[:2])
                found.append(
                    Oddity(
                        kind, "", f"the {what} {shown} differ only in {differ}; if one is meant, write it in one way"
                    )
                )
        return [*found, *self._slips()]

    def _slips(self) -> list[Oddity]:
        """Classes and subsets that are a slip of another."""
        found = []
        shown = Counter(self.classes[label] for key in self.videos for label in self.tags(key))
        for pair in near_twins(self.classes):
            rare, usual = sorted(pair, key=lambda name: shown[name])
            if shown[rare] <= RARE and shown[rare] < shown[usual]:
                text = (
                    f"the class {rare!r} ({_videos(shown[rare])}) is a letter off {usual!r} ({_videos(shown[usual])}); "
                    "if one is meant, write it in one way"
                )
                found.append(Oddity(LOOKALIKES[0], "", text))
        held = Counter(video.subset for video in self.videos.values())
        names = list(dict.fromkeys((*USUAL_SUBSETS, *held)))
        told: set[str] = set()
        for pair in (*(group[:2] for group in lookalikes(names)), *near_twins(names)):
            usual, odd = sorted(pair, key=lambda name: (name not in USUAL_SUBSETS, -held[name]))
            if held[odd] and odd not in USUAL_SUBSETS and not {odd, usual} & told:
                told.add(odd)
                text = f"the subset {odd!r} ({_videos(held[odd])}) is nearly {usual!r}; if that is meant, write it so"
                found.append(Oddity(LOOKALIKES[2], "", text))
        for name in self.classes:
            parts = joined(name, self.classes)
            if parts:
                text = f"the class {name!r} is several in one; if they are, give its videos each of {listing(parts)}"
                found.append(Oddity(LOOKALIKES[3], "", text))
        return found

    def _lint_video(self, key: str, video: VideoAnnotation) -> list[Oddity]:
        found = []
        seen: set[Segment] = set()
        for row, segment in enumerate(video.segments):
            place = f"segment {row} ({self.classes[segment.label]}, {segment.start} to {segment.end} s)"
            if segment.start >= video.duration:
                found.append(Oddity("starts past the video", key, f"{place} lies after the end, {video.duration} s"))
            if segment.end > video.duration:
                found.append(Oddity("ends past the video", key, f"{place} ends after the video, {video.duration} s"))
            if segment.start == segment.end:
                found.append(Oddity("zero length", key, f"{place} has no length"))
            if segment in seen:
                found.append(Oddity("duplicate segment", key, f"{place} is annotated twice"))
            seen.add(segment)
        found += [
            Oddity("ambiguous past the video", key, f"ambiguous span {start} to {end} s ends after {video.duration} s")
            for start, end in video.ambiguous
            if end > video.duration
        ]
        labels = {segment.label for segment in video.segments}
        if video.tags is not None and video.segments and set(video.tags) != labels:
            difference = sorted(self.classes[label] for label in labels ^ set(video.tags))
            found.append(Oddity("tags differ from segments", key, f"they disagree on {listing(difference)}"))
        if not self.tags(key):
            found.append(Oddity("no tags", key, f"a video of subset {video.subset!r} without any class"))
        return found


def _videos(count: int) -> str:
    return f"{count} video" if count == 1 else f"{count} videos"


def beside(annotations: Path, name: str) -> Path:
    """Where a tag list of that name lies beside an annotation file."""
    return annotations.with_name(f"{annotations.stem}_tags_{name}.json")


def lists_beside(path: Path) -> dict[str, Path]:
    """The tag lists beside an annotation file: name -> file."""
    first = "*" if path.name == ANNOTATIONS else glob.escape(path.stem)
    found: dict[str, Path] = {}
    for file in sorted(path.parent.glob(f"{first}_tags_*.json")):
        name = file.stem.partition("_tags_")[2]
        if name in found:
            raise DataError(f"{path}: {found[name]} and {file} both give the tag list {name!r}; remove one of them.")
        found[name] = file
    return found


class _Reader:
    """Turns decoded JSON into `Annotations`, naming the place of whatever is wrong."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.index: dict[str, int] = {}
        self.unknown: list[tuple[str, str]] = []

    def read(self, value: Any, sha256: str, path: Path | None) -> Annotations:
        self.mapping(value, "the file", ("version", "classes", "videos"), _TOP_KEYS, "")
        version = value["version"]
        if not isinstance(version, str):
            self.fail(f"`version` must be a string, got {version!r}")
        classes = value["classes"]
        if not isinstance(classes, list | tuple) or not classes or not all(isinstance(name, str) for name in classes):
            self.fail("`classes` must be a list of at least one class name")
        classes = [composed(name) for name in classes]
        self.index = {name: label for label, name in enumerate(classes)}
        if len(self.index) != len(classes):
            self.fail(f"`classes` holds {Counter(classes).most_common(1)[0][0]!r} twice; labels would be ambiguous")
        if not isinstance(value["videos"], Mapping) or not value["videos"]:
            self.fail("`videos` must be an object of at least one video id -> its annotation")
        videos: dict[str, VideoAnnotation] = {}
        for key, entry in value["videos"].items():
            video = self.video(key, entry)
            if composed(key) in videos:
                self.fail(f"video {composed(key)!r} stands twice, in two Unicode forms of its name; keep one")
            videos[composed(key)] = video
        exclude = self.exclude(value.get("exclude") or {}, videos)
        lists = value.get("tags") or {}
        if not isinstance(lists, Mapping):
            self.fail("`tags` must be an object of list name -> video id -> class names")
        tags = {str(name): self.tag_list(entries, f"`tags.{name}`", videos) for name, entries in lists.items()}
        if SEGMENTS in tags:
            self.fail(f"no tag list may be called {SEGMENTS!r}: that is what the labels of the segments are called")
        return Annotations(version, tuple(classes), videos, exclude, sha256, path, tuple(self.unknown), tags)

    def list_beside(self, path: Path, annotations: Annotations) -> dict[str, tuple[int, ...]]:
        """A tag list that lies beside the annotations."""
        value = read_json(path, hint="It should be a tag list.", limit=GIB)
        self.mapping(value, "the file", ("tags",), ("source", "tags"), "")
        self.index = {name: label for label, name in enumerate(annotations.classes)}
        return self.tag_list(value["tags"], "`tags`", annotations.videos)

    def tag_list(self, entries: Any, place: str, videos: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        if not isinstance(entries, Mapping):
            self.fail(f"{place} must be an object of video id -> class names")
        entries = {composed(str(key)): names for key, names in entries.items()}
        for key in entries:
            if key not in videos:
                self.fail(f"{place} names {key!r}, which is no video of the annotations.{did_you_mean(key, videos)}")
        return {key: self.tags(names, f"{place}: video {key!r}") for key, names in entries.items()}

    def video(self, key: Any, entry: Any) -> VideoAnnotation:
        if not isinstance(key, str) or not key.strip() or "/" in key or not key.isprintable():
            self.fail(f"video id {key!r} must be a printable name without '/'")
        place = f"video {key!r}"
        self.mapping(entry, place, ("subset", "duration"), _VIDEO_KEYS, key)
        if "segments" not in entry and "labels" not in entry:
            self.fail(f"{place}: has neither `segments` nor `labels`; write `segments: []` if nothing happens in it")
        if not isinstance(entry["subset"], str) or not entry["subset"]:
            self.fail(f"{place}: `subset` must be the name of its split, got {entry['subset']!r}")
        duration = self.number(entry["duration"], f"{place}: `duration`")
        fps = entry.get("fps")
        fps = None if fps is None else self.number(fps, f"{place}: `fps`")
        for name, number in (("duration", duration), ("fps", fps)):
            if number is not None and number <= 0:
                self.fail(f"{place}: `{name}` is {number}, but must be above 0; leave the video out if it is empty")
            if number is not None and not SMALLEST <= number <= LARGEST:
                self.fail(f"{place}: `{name}` is {number:g}, which no video has; is the unit right?")
        frames = entry.get("frames")
        if frames is not None and (isinstance(frames, bool) or not isinstance(frames, int) or frames <= 0):
            self.fail(f"{place}: `frames` must be a whole number above 0 or absent, got {frames!r}")
        return VideoAnnotation(
            subset=entry["subset"],
            duration=duration,
            fps=fps,
            frames=frames,
            segments=tuple(
                self.segment(row, key, f"{place}: segment {number}")
                for number, row in enumerate(self.rows(entry.get("segments", []), f"{place}: `segments`"))
            ),
            ambiguous=tuple(
                self.span(row, f"{place}: ambiguous span {number}")
                for number, row in enumerate(self.rows(entry.get("ambiguous", []), f"{place}: `ambiguous`"))
            ),
            tags=self.tags(entry["labels"], f"{place}: `labels`") if "labels" in entry else None,
        )

    def segment(self, row: Any, key: str, place: str) -> Segment:
        self.mapping(row, place, _SEGMENT_KEYS, _SEGMENT_KEYS, key)
        start, end = self.span([row["start"], row["end"]], place)
        return Segment(self.label(row["label"], place), start, end)

    def span(self, row: Any, place: str) -> tuple[float, float]:
        if not isinstance(row, list | tuple) or len(row) != 2:
            self.fail(f"{place} must be [start, end] in seconds, got {row!r}")
        start, end = (self.number(value, f"{place}: `{name}`") for name, value in zip(("start", "end"), row))
        if end < start:
            self.fail(f"{place} is reversed: it starts at {start} s and ends at {end} s; swap the two times")
        if start < 0:
            self.fail(f"{place} starts at {start} s, before the video; times count from 0")
        return start, end

    def label(self, name: Any, place: str) -> int:
        name = composed(name) if isinstance(name, str) else name
        if not isinstance(name, str) or name not in self.index:
            self.fail(
                f"{place}: label {name!r} is not in the class list.{did_you_mean(name, self.index)} "
                "Add it to `classes` or correct the label"
            )
        return self.index[name]

    def tags(self, labels: Any, place: str) -> tuple[int, ...]:
        found = [self.label(name, place) for name in self.rows(labels, place)]
        if len(set(found)) != len(found):
            self.fail(f"{place} names a class twice: {labels}")
        return tuple(sorted(found))

    def exclude(self, lists: Any, videos: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        if not isinstance(lists, Mapping):
            self.fail("`exclude` must be an object of list name -> video ids")
        for name, ids in lists.items():
            for key in self.rows(ids, f"`exclude.{name}`"):
                if not isinstance(key, str) or composed(key) not in videos:
                    self.fail(
                        f"`exclude.{name}` names {key!r}, which is no video of the file."
                        f"{did_you_mean(str(key), videos)}"
                    )
        return {str(name): tuple(map(composed, ids)) for name, ids in lists.items()}

    def mapping(self, value: Any, place: str, required: tuple[str, ...], known: tuple[str, ...], where: str) -> None:
        if not isinstance(value, Mapping):
            self.fail(f"{place} must be a JSON object with {listing(required)}, got {type(value).__name__}")
        unknown = [key for key in value if key not in known]
        # A key that nearly is one of ours is a slip that would silently drop data; anything else is somebody's extra.
        for key in unknown:
            near = did_you_mean(key, [name for name in known if name not in value])
            if near:
                self.fail(f"{place}: unknown key {key!r}.{near}")
            self.unknown.append((where, str(key)))
        for key in required:
            if key not in value:
                self.fail(f"{place}: the key `{key}` is missing; needed are {listing(required)}")

    def rows(self, value: Any, place: str) -> list:
        if not isinstance(value, list | tuple):
            self.fail(f"{place} must be a list, got {value!r}")
        return list(value)

    def number(self, value: Any, place: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(f"{place} must be a number, got {value!r}")
        if not math.isfinite(value):
            self.fail(f"{place} must be finite, got {value!r}")
        return float(value)

    def fail(self, text: str) -> None:
        raise DataError(f"{self.source}: {text}.")
