"""Runs on a named tag list or on some of the videos alone: what is trained on, what the record and the notes say."""

from __future__ import annotations

import json

import pytest

from tests.running.conftest import tiny_config
from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import DataError
from wtal_bench.leaderboard.coverage import coverage_cell, incomplete_reason
from wtal_bench.running.config import check_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.provenance import config_hash, recorded_config
from wtal_bench.running.run import train
from wtal_bench.running.workdir import WorkDir


@pytest.fixture
def theirs(dataset, tmp_path):
    """The toy data set with a list beside it in which the first training video has another tag."""
    (tmp_path / "features").symlink_to(dataset / "features")
    (tmp_path / "annotations.json").write_bytes((dataset / "annotations.json").read_bytes())
    annotations = Annotations.load(tmp_path / "annotations.json")
    tags = {video: [annotations.classes[label] for label in annotations.tags(video)] for video in annotations.videos}
    tags["train_000"] = [annotations.classes[3]]
    (tmp_path / "annotations_tags_theirs.json").write_text(json.dumps({"tags": tags}))
    return tmp_path


def config(root, **data):
    tree = tiny_config(root, epochs=1)
    tree["data"] |= data
    return check_config(tree, "my.py")


def test_a_run_trains_on_the_list_and_says_so(theirs, tmp_path):
    opened = {name: open_data(config(theirs, tags=name).data, "cpu", "x") for name in ("segments", "theirs")}
    labels = {name: one.training("refuse").labels for name, one in opened.items()}
    assert labels["segments"][0].argmax() == 0
    assert labels["theirs"][0].argmax() == 3
    assert (labels["segments"][1:] == labels["theirs"][1:]).all()
    lines, records = [], {}
    for name in ("segments", "theirs"):
        work_dir = WorkDir(tmp_path / name, resume=False)
        try:
            records[name] = train(config(theirs, tags=name), work_dir, out=lines.append).record
        finally:
            work_dir.release()
    notes = [line for line in lines if "tags are" in line]
    assert notes == [
        "note: tags are 'theirs': they differ from the labels of the segments for 1 of 12 train videos, 0 of 12 test "
        "videos"
    ]
    assert records["segments"]["annotations"]["tags"] == "segments"
    assert records["theirs"]["annotations"]["tags"] == "theirs"
    assert records["theirs"]["annotations"]["tags_sha256"] == opened["theirs"].annotations.tag_hash("theirs")
    assert records["theirs"]["annotations"]["sha256"] == records["segments"]["annotations"]["sha256"]
    assert records["theirs"]["config"]["data"]["tags"] == "theirs"
    assert records["theirs"]["config_hash"] != records["segments"]["config_hash"]


def test_settings_that_came_later_leave_the_hash_of_a_config_alone_at_their_defaults(theirs):
    plain = config(theirs)
    assert config_hash(plain) == config_hash(config(theirs, tags="segments", only=None))
    assert config_hash(config(theirs, tags="theirs")) != config_hash(plain)
    assert not {"tags", "only"} & set(recorded_config(plain)["data"])


def test_a_list_that_is_not_there_is_a_sentence_before_anything_trains(dataset, theirs):
    with pytest.raises(DataError, match=r"my\.py: data\.tags: .* has no tag list 'labels_all'.*data\.tags='segments'"):
        open_data(config(dataset, tags="labels_all").data, "cpu", "my.py")
    own = config(dataset, tags="labels_all", protocol="own")
    assert open_data(own.data, "cpu", "my.py").tags == "segments"  # somebody's own data need not have THUMOS14's lists


# ---- only some of the videos ----


def test_only_the_videos_of_a_list_are_trained_and_tested_the_others_count_as_missed(theirs, tmp_path):
    ids = [f"train_{n:03d}" for n in range(8)] + [f"test_{n:03d}" for n in range(9)]
    (theirs / "lists.txt").write_text("\n".join(ids) + "\n\n")
    chosen = config(theirs, only="lists.txt")
    opened = open_data(chosen.data, "cpu", "x")
    assert opened.training("refuse").ids == tuple(ids[:8])
    assert opened.test("refuse").ids == tuple(ids[8:])
    coverage = opened.test_coverage(opened.test("refuse"))
    (text,) = [note.text for note in opened.notes([coverage], ()) if note.code == "coverage"]
    assert text.startswith(
        "test: 9 of 12 videos are used: 3 are left out by data.only (test_009, test_010, test_011); "
    )
    assert text.endswith("3 of 12 annotated instances are lost and count as missed.")
    work_dir = WorkDir(tmp_path / "run", resume=False)
    try:
        record = train(chosen, work_dir, out=lambda line: None).record
    finally:
        work_dir.release()
    table = record["metrics"]["variants"]["activitynet"]
    assert (table["videos"], table["instances"]) == (12, 12)
    assert [coverage_cell(record, split) for split in ("train", "test")] == ["8/12", "9/12"]
    assert incomplete_reason(record) == "trained on 8/12 videos"
    (theirs / "other.txt").write_text("\n".join(sorted(ids, reverse=True)))  # the same videos in another file
    assert config_hash(config(theirs, only="other.txt")) == config_hash(chosen) != config_hash(config(theirs))
    (theirs / "other.txt").write_text("train_000\nv_unknown")
    with pytest.raises(DataError, match=r"data\.only='other\.txt' names 1 of 2 videos .* do not have: v_unknown"):
        open_data(config(theirs, only="other.txt").data, "cpu", "x")
    with pytest.raises(DataError, match=r"data\.only='none\.txt' cannot be read"):
        open_data(config(theirs, only="none.txt").data, "cpu", "x")
