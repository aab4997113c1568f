"""Annotation files: the real ones load with their known counts, and what cannot be is refused with its place."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
from collections import Counter

import pytest

from tests.helpers import shared_file
from wtal_bench.data.annotations import Annotations, Segment
from wtal_bench.errors import DataError
from wtal_bench.files import write_json

GOOD = {
    "version": "mine",
    "classes": ["Jump", "Throw"],
    "exclude": {"short": ["b"]},
    "videos": {
        "z": {
            "subset": "train",
            "duration": 10,
            "fps": 25.0,
            "frames": 250,
            "segments": [{"label": "Throw", "start": 1, "end": 2.5}, {"label": "Jump", "start": 3, "end": 4}],
            "ambiguous": [[5, 6]],
        },
        "b": {"subset": "test", "duration": 8.0, "labels": ["Jump"]},
        "a": {"subset": "test", "duration": 8.0, "segments": []},
    },
}


def changed(path: str, value) -> dict:
    """Return GOOD with the value at a dotted path replaced, or removed when it is `...`."""
    copied = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place = copied
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    if value is ...:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return copied


def test_reads_every_field_in_file_order(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(GOOD))
    read = Annotations.load(path)
    assert (read.version, read.classes, read.exclude) == ("mine", ("Jump", "Throw"), {"short": ("b",)})
    assert list(read.videos) == ["z", "b", "a"]
    first = read.videos["z"]
    assert first.segments == (Segment(1, 1.0, 2.5), Segment(0, 3.0, 4.0))
    assert (first.duration, first.fps, first.frames, first.ambiguous) == (10.0, 25.0, 250, ((5.0, 6.0),))
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read.path == path


def test_tags_are_explicit_or_follow_from_the_segments():
    read = Annotations.from_dict(GOOD)
    assert [read.tags(video) for video in ("z", "b", "a")] == [(0, 1), (0,), ()]
    with pytest.raises(DataError, match="has no video 'zz'"):
        read.tags("zz")


def test_tags_without_times_say_nothing_of_when_and_neither_does_a_subset_without_any():
    times = [{"label": "x", "start": 0.0, "end": 1.0}]
    videos = {
        "a": {"segments": times},
        "b": {"labels": ["x"]},
        "nothing happens": {"segments": []},
        "c": {"subset": "test", "labels": ["x"]},
        "d": {"subset": "test", "segments": []},
    }
    whole = {name: {"subset": "train", "duration": 5.0, **video} for name, video in videos.items()}
    read = Annotations.from_dict({"version": "1", "classes": ["x"], "videos": whole})
    assert [name for name in videos if read.timed(name)] == ["a", "nothing happens"]


def test_subsets_and_exclude_lists():
    read = Annotations.from_dict(GOOD)
    assert read.subset("test") == ["b", "a"]
    assert read.subset("test", exclude="short") == ["a"]
    with pytest.raises(DataError, match="Did you mean 'train'"):
        read.subset("tran")
    with pytest.raises(DataError, match="Did you mean 'short'"):
        read.subset("test", exclude="shorts")


def test_annotations_in_memory_have_the_hash_of_the_file_they_would_be(tmp_path):
    write_json(tmp_path / "mine.json", GOOD)
    assert Annotations.from_dict(GOOD).sha256 == Annotations.load(tmp_path / "mine.json").sha256
    assert list(Annotations.from_dict(GOOD).videos) == ["z", "b", "a"]


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("videos.z.segments.0.label", "Trow", "video 'z': segment 0: label 'Trow' is not in the class list. Did you "),
        ("videos.z.segments.1.end", 2.9, "video 'z': segment 1 is reversed: it starts at 3.0 s and ends at 2.9 s"),
        ("videos.z.segments.1.start", -0.1, "before the video"),
        ("videos.z.segments.1.start", True, "`start` must be a number, got True"),
        ("videos.z.segments.1.start", "3", "`start` must be a number, got '3'"),
        ("videos.z.segments.1.end", ..., "segment 1: the key `end` is missing"),
        ("videos.z.segments.1", [0, 3, 4], "segment 1 must be a JSON object"),
        ("videos.z.segments", {"label": "Jump"}, "`segments` must be a list"),
        ("videos.z.segments", None, "`segments` must be a list"),
        ("videos.a.segments", ..., "neither `segments` nor `labels`"),
        ("videos.z.ambiguous.0", [6, 5], "ambiguous span 0 is reversed"),
        ("videos.z.ambiguous.0", [6], r"must be \[start, end\]"),
        ("videos.z.duration", 0, "`duration` is 0.0, but must be above 0"),
        ("videos.z.duration", None, "`duration` must be a number"),
        ("videos.z.duration", ..., "the key `duration` is missing"),
        ("videos.z.fps", 0, "`fps` is 0.0"),
        ("videos.z.frames", 25.5, "`frames` must be a whole number"),
        ("videos.z.subset", 3, "`subset` must be the name"),
        ("videos.z.ambigous", [[1, 2]], None),
        ("videos.b.labels", ["Jump", "Jump"], "names a class twice"),
        ("videos.b.labels", ["Run"], "label 'Run' is not in the class list"),
        ("videos.b.lables", ["Jump"], None),
        ("videos.b", [], "video 'b' must be a JSON object"),
        ("videos", {}, "`videos` must be an object of at least one"),
        ("classes", ["Jump", "Jump"], "holds 'Jump' twice"),
        ("classes", [], "at least one class name"),
        ("version", 1, "`version` must be a string"),
        ("exclude.short", ["bb"], "names 'bb', which is no video of the file"),
    ],
)
def test_refuses_what_cannot_be_and_says_where(tmp_path, path, value, text):
    value = changed(path, value)
    if text is None:  # a misspelt key beside the right one is somebody's extra; alone it is a slip
        right = {"ambigous": "ambiguous", "lables": "labels"}[path.split(".")[-1]]
        del value["videos"][path.split(".")[1]][right]
        text = f"unknown key '{path.split('.')[-1]}'. Did you mean '{right}'"
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(value))
    with pytest.raises(DataError, match=text) as error:
        Annotations.load(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"version": "x", "version": "y"}', "key 'version' stands twice"),
        ('{"version": NaN}', "holds NaN"),
        ('{"version": -Infinity}', "holds -Infinity"),
        ('{"version": "x", "clas', "not valid JSON"),
        ("[]", "the file must be a JSON object"),
        (b"\xff\xfe\x00", "not valid JSON"),
    ],
)
def test_refuses_damaged_files(tmp_path, content, text):
    file = tmp_path / "bad.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=text):
        Annotations.load(file)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="import-annotations"):
        Annotations.load(tmp_path / "none.json")


def test_duplicate_video_ids_are_refused(tmp_path):
    file = tmp_path / "bad.json"
    video = '"a": {"subset": "train", "duration": 1, "segments": []}'
    file.write_text(f'{{"version": "x", "classes": ["A"], "videos": {{{video}, {video}}}}}')
    with pytest.raises(DataError, match="key 'a' stands twice"):
        Annotations.load(file)


def test_lint_lists_every_oddity():
    value = copy.deepcopy(GOOD)
    value["classes"].append("Never")
    value["note"] = "mine"
    video = value["videos"]["z"]
    jump = {"label": "Jump", "start": 3, "end": 4}
    video["segments"] += [jump, {"label": "Jump", "start": 9, "end": 11}, {"label": "Jump", "start": 10, "end": 10}]
    video["ambiguous"].append([9, 12])
    value["videos"]["b"]["segments"] = [{"label": "Throw", "start": 0, "end": 1, "by": "me"}]
    found = [(oddity.kind, oddity.video) for oddity in Annotations.from_dict(value).lint()]
    assert found == [
        ("unknown key", ""),
        ("unknown key", "b"),
        ("duplicate segment", "z"),
        ("ends past the video", "z"),
        ("starts past the video", "z"),
        ("zero length", "z"),
        ("ambiguous past the video", "z"),
        ("tags differ from segments", "b"),
        ("no tags", "a"),
        ("class without a video", ""),
    ]


@pytest.mark.parametrize(
    ("name", "videos", "instances", "oddities", "classes"),
    [
        ("thumos14", {"train": 200, "test": 213}, {"train": 3007, "test": 3358}, {"ends past the video": 30}, 20),
        (
            "activitynet1.2",
            {"train": 4441, "val": 2198, "test": 2268},
            {"train": 6588, "val": 3281, "test": 0},
            {"ends past the video": 172, "zero length": 9},
            100,
        ),
        (
            "activitynet1.3",
            {"train": 9649, "val": 4728, "test": 4851},
            {"train": 14859, "val": 7293, "test": 0},
            {"ends past the video": 215, "zero length": 12},
            200,
        ),
    ],
)
def test_the_real_files_load_with_their_known_counts(name, videos, instances, oddities, classes):
    read = Annotations.load(shared_file(f"data/{name}.json"))
    assert len(read.classes) == classes
    assert {subset: len(read.subset(subset)) for subset in videos} == videos
    found = {s: sum(len(read.videos[video].segments) for video in read.subset(s)) for s in videos}
    assert found == instances
    kinds = Counter(oddity.kind for oddity in read.lint())
    assert {kind: kinds[kind] for kind in oddities} == oddities
    assert kinds["unknown key"] == 0


def test_the_real_thumos_file_in_detail():
    read = Annotations.load(shared_file("data/thumos14.json"))
    test = read.subset("test")
    assert sum(bool(read.tags(video)) for video in test) == 212
    assert len(read.subset("test", exclude="test212")) == 212
    assert len(read.subset("test", exclude="test210")) == 210
    assert sum(len(read.videos[video].ambiguous) for video in test) == 99
    assert sum(len(read.videos[video].ambiguous) for video in read.subset("train")) == 89
    assert sum(len(read.tags(video)) > 1 for video in test) == 34
    assert sum(len(read.tags(video)) > 1 for video in read.subset("train")) == 27
    past = Counter(oddity.video for oddity in read.lint() if oddity.kind == "ends past the video")
    assert past["video_test_0000270"] == 22


def test_the_real_activitynet_duplicates_are_listed():
    read = Annotations.load(shared_file("data/activitynet1.3.json"))
    assert sum(oddity.kind == "duplicate segment" for oddity in read.lint()) == 45
    groups = Counter((video, segment) for video in read.videos for segment in read.videos[video].segments)
    assert sum(count > 1 for count in groups.values()) == 23


def test_reading_annotations_imports_no_torch():
    code = "import sys, wtal_bench.data.annotations; sys.exit('torch' in sys.modules or 'mmengine' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
