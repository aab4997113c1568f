"""Named tag lists: where they lie, what they give, and that they are never taken for the labels of the segments."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from tests.data.importers.test_feature_importers import release
from tests.data.stores import LENGTHS, toy_annotations, toy_store
from tests.helpers import shared_file
from wtal_bench.commands import import_features as import_command
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.check import check_data
from wtal_bench.data.dataset import VideoSet
from wtal_bench.data.importers.wtalc import wtalc_release
from wtal_bench.data.store import FeatureStore
from wtal_bench.data.synthetic.standin import stand_in
from wtal_bench.errors import DataError

TAGS = {"v0": ["B"], "v1": ["B"], "v2": []}
"""Of the toy videos A, B, AB and A: v0 and v2 differ, v3 is not named."""


def tagged(tags=TAGS, **more) -> Annotations:
    return toy_annotations(classes=["A", "B"], tags={"theirs": tags}, **more)


def test_a_list_gives_its_own_tags_and_the_segments_stay_the_default():
    annotations = tagged()
    assert [annotations.tags(f"v{row}") for row in range(4)] == [(0,), (1,), (0, 1), (0,)]
    assert [annotations.tags(f"v{row}", "segments") for row in range(4)] == [(0,), (1,), (0, 1), (0,)]
    assert [annotations.tags(f"v{row}", "theirs") for row in range(4)] == [(1,), (1,), (), ()]
    assert annotations.tag_differences("theirs", annotations.videos) == ["v0", "v2", "v3"]
    assert annotations.tag_count("theirs", "train") == "3 of 4 train videos"
    with pytest.raises(DataError, match=r"no tag list 'thiers'; it has segments, theirs\. Did you mean 'theirs'"):
        annotations.tags("v0", "thiers")


def test_the_hash_of_a_list_is_of_what_it_says():
    assert tagged().tag_hash("theirs") == tagged(dict(reversed(TAGS.items()))).tag_hash("theirs")
    assert tagged().tag_hash("theirs") != tagged({**TAGS, "v2": ["A"]}).tag_hash("theirs")


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({"theirs": [1]}, r"`tags\.theirs` must be an object of video id -> class names"),
        ({"theirs": {"v9": ["A"]}}, r"`tags\.theirs` names 'v9', which is no video of the annotations"),
        ({"theirs": {"v0": ["D"]}}, r"`tags\.theirs`: video 'v0': label 'D' is not in the class list"),
        ({"theirs": {"v0": ["A", "A"]}}, r"`tags\.theirs`: video 'v0' names a class twice"),
        ({"theirs": {"v0": "A"}}, r"`tags\.theirs`: video 'v0' must be a list"),
        ({"segments": {}}, "no tag list may be called 'segments'"),
        ([1], "`tags` must be an object of list name"),
    ],
)
def test_a_bad_list_is_refused_with_its_place(tags, text):
    with pytest.raises(DataError, match=text):
        toy_annotations(classes=["A", "B"], tags=tags)


def written(folder, name="annotations.json", **beside):
    """The toy annotations as a file, with tag lists beside it; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    annotations = toy_annotations(classes=["A", "B"])
    videos = {
        key: {
            "subset": "train",
            "duration": video.duration,
            "segments": [{"label": "AB"[s.label], "start": s.start, "end": s.end} for s in video.segments],
        }
        for key, video in annotations.videos.items()
    }
    (folder / name).write_text(json.dumps({"version": "toy", "classes": ["A", "B"], "videos": videos}))
    for file, tags in beside.items():
        (folder / f"{file}.json").write_text(json.dumps({"source": "them", "tags": tags}))
    return folder / name


def test_a_list_beside_the_file_leaves_the_hash_of_the_annotations_alone(tmp_path):
    bare = Annotations.load(written(tmp_path / "a"))
    assert bare.tag_lists == {}
    for name, beside in (("annotations.json", "thumos14_tags_theirs"), ("toy.json", "toy_tags_theirs")):
        found = Annotations.load(written(tmp_path / name, name, **{beside: TAGS}))
        assert found.tags("v0", "theirs") == (1,)
        assert found.sha256 == bare.sha256
        assert found.tag_hash("theirs") == tagged().tag_hash("theirs")
    # the lists of another data set in the same folder are not this one's
    assert Annotations.load(written(tmp_path / "c", "toy.json", other_tags_theirs=TAGS)).tag_lists == {}
    with pytest.raises(DataError, match="both give the tag list 'theirs'"):
        Annotations.load(written(tmp_path / "d", a_tags_theirs=TAGS, b_tags_theirs=TAGS))
    with pytest.raises(DataError, match=r"annotations_tags_theirs\.json: `tags` names 'v7'"):
        Annotations.load(written(tmp_path / "e", annotations_tags_theirs={"v7": []}))
    (tmp_path / "a" / "annotations_tags_x.json").write_text("{")
    with pytest.raises(DataError, match=r"annotations_tags_x\.json: it is not valid JSON"):
        Annotations.load(tmp_path / "a" / "annotations.json")


def test_labels_come_from_the_list_that_is_named(tmp_path):
    store, annotations = toy_store(tmp_path / "s"), tagged()
    ids = ["v0", "v1", "v2"]
    assert VideoSet.build(store, annotations, ids, tags="theirs").labels.tolist() == [[0, 1], [0, 1], [0, 0]]
    assert VideoSet.build(store, annotations, ids).labels.tolist() == [[1, 0], [0, 1], [1, 1]]
    with pytest.raises(DataError, match=r"1 training videos of .* have no tag: v2"):
        VideoSet.build(store, annotations, ids, tags="theirs", training=True)


# ---- THUMOS14's two lists ----


def test_thumos14_has_the_known_differences():
    annotations = Annotations.load(shared_file("data/thumos14.json"))
    found = {
        subset: annotations.tag_differences(
            "labels_all", [v for v in annotations.subset(subset) if annotations.videos[v].segments]
        )
        for subset in ("train", "test")
    }
    numbers = [int(video.rpartition("_")[2]) for video in found["train"]]
    assert sorted(numbers) == [171, 173, 178, 183, 316, 665, 786, 932]
    assert len(found["test"]) == 20
    assert annotations.tags("video_test_0000270", "labels_all") == ()
    both = [set(annotations.tags("video_validation_0000316", name)) for name in ("segments", "labels_all")]
    assert [annotations.classes[label] for label in both[1] - both[0]] == ["ThrowDiscus"]
    assert annotations.tag_count("labels_all", "test") == "20 of 212 test videos"


# ---- check-data, stand-ins, the W-TALC release ----


def test_check_data_counts_the_differences(tmp_path):
    annotations = tagged(subsets=("train", "train", "test", "test"))
    report = check_data(toy_store(tmp_path / "s"), annotations)
    assert "  tags 'theirs': other than the labels of the segments for 1 of 2 train videos, 2 of 2 test videos" in (
        report.facts
    )


@pytest.mark.parametrize("limit", [None, 2])
def test_stand_ins_keep_the_lists(tmp_path, limit):
    source = written(tmp_path / "real", "toy.json", toy_tags_theirs=TAGS)
    made = Annotations.load(stand_in(source, tmp_path / "made", 4, limit=limit) / "annotations.json")
    assert made.tags("v0", "theirs") == (1,)
    assert set(made.tag_lists["theirs"]) == set(TAGS) & set(made.videos)


def labelled(folder, name, rows):
    column = np.empty(len(rows), dtype=object)
    column[:] = rows
    np.save(folder / f"{name}.npy", column, allow_pickle=True)


def run_import(*arguments) -> int:
    parser = argparse.ArgumentParser()
    import_command.configure(parser)
    return import_command.run(parser.parse_args(list(map(str, arguments))))


@pytest.mark.parametrize("kind", [list, lambda row: np.array(row, dtype="U5"), lambda row: [n.encode() for n in row]])
def test_a_wtalc_release_keeps_both_lists(tmp_path, kind, capsys):
    features, folder = release(tmp_path)
    labelled(folder, "labels", [kind(["A", "A"]), kind(["B"]), kind(["A", "B", "A"]), kind(["A"])])
    labelled(folder, "labels_all", [kind(["B"]), kind(["B"]), kind([]), kind(["A"])])
    source = wtalc_release(features, folder)
    assert source.tags["labels"] == {"v0": ["A"], "v1": ["B"], "v2": ["A", "B"], "v3": ["A"]}
    assert source.tags["labels_all"] == {"v0": ["B"], "v1": ["B"], "v2": [], "v3": ["A"]}

    path = written(tmp_path / "data")
    common = ("--out", tmp_path / "data" / "features", "--extractor", "mine", "--fps", 25, "--stride", 16)
    assert run_import(features, folder, *common, "--format", "wtalc", "--annotations", path) == 0
    assert "annotations_tags_labels_all.json" in capsys.readouterr().out
    found = Annotations.load(path)
    assert set(found.tag_lists) == {"labels", "labels_all"}
    assert found.tag_differences("labels", found.videos) == []
    assert found.tag_differences("labels_all", found.videos) == ["v0", "v2"]
    assert len(FeatureStore.open(tmp_path / "data" / "features")) == len(LENGTHS)


def test_a_release_with_other_videos_or_hostile_tags_is_refused(tmp_path):
    features, folder = release(tmp_path)
    labelled(folder, "labels_all", [["A"]])
    with pytest.raises(DataError, match=r"labels_all\.npy holds 1 videos, videoname.npy beside it 4"):
        wtalc_release(features, folder)
    labelled(folder, "labels_all", [["A"], ["A"], 3, ["A"]])
    with pytest.raises(DataError, match="video 'v2' has the tags 3; needed: a list of class names"):
        wtalc_release(features, folder)

    class Hostile:
        def __reduce__(self):
            return eval, ("1 / 0",)  # not `print`, which Ray replaces in a process that has used it

    labelled(folder, "labels_all", [["A"], [Hostile()], ["A"], ["A"]])
    with pytest.raises(DataError, match=r"asks for builtins\.eval"):
        wtalc_release(features, folder)


def test_tags_that_are_no_classes_of_the_annotations_are_left_out_aloud(tmp_path, capsys):
    features, folder = release(tmp_path)
    labelled(folder, "labels", [["A"], ["B"], ["Z"], ["A"]])
    path = written(tmp_path / "data")
    common = ("--out", tmp_path / "data" / "features", "--extractor", "mine", "--fps", 25, "--stride", 16)
    assert run_import(features, folder, *common, "--format", "wtalc", "--annotations", path) == 0
    assert "tag list 'labels' left out: no classes of the annotations: Z" in capsys.readouterr().err
    assert Annotations.load(path).tag_lists == {}
