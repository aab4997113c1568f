"""ActivityNet's own layout becomes an annotation file; what is no table is told at once."""

from __future__ import annotations

import json
import time

import pytest

from tests.helpers import shared_file
from wtal_bench.cli import main
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.importers.activitynet import is_json, read_activitynet
from wtal_bench.data.importers.table import read_table
from wtal_bench.errors import DataError

OFFICIAL = {
    "version": "VERSION 1.3",
    "taxonomy": [{"nodeName": "Run"}],
    "database": {
        "v_0": {
            "subset": "training",
            "duration": 10.5,
            "resolution": "320x240",
            "annotations": [{"label": "Run", "segment": [1.0, 2.5]}, {"label": "Jump", "segment": [0.25, 9.0]}],
        },
        "v_1": {"subset": "Validation", "duration": 8, "fps": 29.97, "annotations": []},
        "v_2": {"subset": "testing", "duration": 7.5},
    },
}


def write(tmp_path, value) -> str:
    path = tmp_path / "official.json"
    path.write_text(json.dumps(value))
    return str(path)


def test_the_layout_is_read(tmp_path, capsys):
    out = tmp_path / "ann.json"
    assert main(["import-annotations", write(tmp_path, OFFICIAL), str(out), "--version", "mine"]) == 0
    assert "3 videos, 2 classes, 2 instances" in capsys.readouterr().out
    found = Annotations.load(out)
    assert found.classes == ("Jump", "Run")
    assert {name: video.subset for name, video in found.videos.items()} == {"v_0": "train", "v_1": "val", "v_2": "test"}
    first = found.videos["v_0"]
    assert [(found.classes[s.label], s.start, s.end) for s in first.segments] == [
        ("Run", 1.0, 2.5),
        ("Jump", 0.25, 9.0),
    ]
    assert (first.duration, first.fps, found.videos["v_1"].fps) == (10.5, None, 29.97)


def test_the_order_of_the_classes_may_be_given(tmp_path):
    value = read_activitynet(write(tmp_path, OFFICIAL), version="x", classes=["Run", "Jump", "Swim"])
    assert value["classes"] == ["Run", "Jump", "Swim"]
    with pytest.raises(DataError, match=r"video 'v_0': segment 1: label 'Jump' is not in the class list"):
        read_activitynet(write(tmp_path, OFFICIAL), version="x", classes=["Run"])


def changed(**fields):
    return {**OFFICIAL, "database": {"v_0": {**OFFICIAL["database"]["v_0"], **fields}}}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1], "is JSON, but not in ActivityNet's layout: it holds a list"),
        ({"databse": {}}, "it holds the keys databse. Did you mean 'databse'"),
        ({"database": []}, "not in ActivityNet's layout"),
        ({"version": "x", "classes": [], "videos": {}}, "is an annotation file of this harness already"),
        (changed(subset=3), r"database\['v_0'\]: `subset` is 3"),
        (changed(duration=-1), r"video 'v_0': `duration` is -1"),
        (changed(annotations={}), r"`annotations` is \{\}"),
        (changed(annotations=[{"label": "Run"}]), r"annotations\[0\]: `segment` is missing"),
        (
            changed(annotations=[{"lable": "Run", "segment": [1, 2]}]),
            r"annotations\[0\]: `label` is missing. Did you mean",
        ),
        (changed(annotations=[{"label": "Run", "segment": [1, 2, 3]}]), r"`segment` is \[1, 2, 3\]"),
        (changed(annotations=[{"label": "Run", "segment": [3, 2]}]), "segment 0 is reversed"),
        (changed(annotations=[{"label": "", "segment": [1, 2]}]), "`label` is ''"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, value, said):
    with pytest.raises(DataError, match=said):
        read_activitynet(write(tmp_path, value), version="x")


def test_the_official_file_of_3_mb_is_read_in_seconds(tmp_path):
    """It was once searched for the names of columns, which did not end in ten minutes."""
    ours = json.loads(shared_file("data/activitynet1.3.json").read_text())
    names = {"train": "training", "val": "validation", "test": "testing"}
    database = {
        name: {
            "subset": names[video["subset"]],
            "duration": video["duration"],
            "annotations": [{"label": s["label"], "segment": [s["start"], s["end"]]} for s in video["segments"]],
        }
        for name, video in ours["videos"].items()
    }
    path = write(tmp_path, {"version": "VERSION 1.3", "taxonomy": [], "database": database})
    began = time.monotonic()
    value = read_activitynet(path, version="x", classes=ours["classes"])
    assert time.monotonic() - began < 60
    assert {n: (v["subset"], v["segments"]) for n, v in value["videos"].items()} == {
        n: (v["subset"], v["segments"]) for n, v in ours["videos"].items()
    }


def test_json_is_told_from_a_table(tmp_path):
    for content, expected in (
        (b'\xef\xbb\xbf \n{"a": 1}', True),
        (b"[1]", True),
        (b"video,label\n", False),
        (b"", False),
    ):
        path = tmp_path / "x"
        path.write_bytes(content)
        assert is_json(path) is expected


def test_a_first_line_of_a_megabyte_is_refused_as_no_table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\xe9c," * 200_000)
    began = time.monotonic()
    with pytest.raises(DataError, match="its first line has 1200000 characters"):
        read_table(path, version="x")
    assert time.monotonic() - began < 5


def test_a_verb_that_is_given_the_layout_says_how_to_convert_it(tmp_path):
    with pytest.raises(DataError, match=r"is in ActivityNet's own layout .* wtal-bench import-annotations"):
        Annotations.load(write(tmp_path, OFFICIAL))
