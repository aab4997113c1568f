"""Coverage is data: a record holds which videos it saw; what left videos out is shown with its counts, never ranked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.leaderboard.fabricate import World
from wtal_bench.cli import main
from wtal_bench.data.coverage import ids_hash
from wtal_bench.errors import RecordError
from wtal_bench.evaluation import write_detections
from wtal_bench.leaderboard.build import build
from wtal_bench.leaderboard.coverage import UNRECORDED, coverage_cell, incomplete_reason
from wtal_bench.leaderboard.filing import file_external, file_measured, verify
from wtal_bench.leaderboard.record import load_record, read_record, write_record
from wtal_bench.leaderboard.validate import record_problems

TERMS = {"method": "theirs", "selection": "last"}


def changed(record: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(record))
    *parents, last = path.split("/")
    node = copy
    for key in parents:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value(node[last]) if isinstance(value, Callable) else value
    return copy


BROKEN = {
    "no test split": ("data/splits/test", ..., "needed: test, and of train, validation, test"),
    "another split": ("data/splits/tset", {}, "needed: test, and of"),
    "not a split": ("data/splits/train", 3, "data.splits.train is 3"),
    "unknown key": ("data/splits/test/useds", 3, "Did you mean 'used'"),
    "unknown section": ("data/more", 3, "data holds more"),
    "notes of another form": ("data/notes", ["odd"], "data.notes must be a list of {code, text}"),
    "count of another type": ("data/splits/test/used", "6", "test.used is '6'; needed: a whole number"),
    "flag for a count": ("data/splits/test/used", True, "test.used is True; needed"),
    "negative count": ("data/splits/test/instances", -1, "test.instances is -1; needed"),
    "more used than named": ("data/splits/test/used", 7, "test.used is 7, its ids are 6"),
    "more annotated than listed": ("data/splits/train/annotated", 200, "train.annotated is 200, but 4 used"),
    "features nobody lacks": ("data/splits/train/with_features", 3, "train.with_features is 3"),
    "instances lost of none": ("data/splits/test/instances_lost", 3, "instances_lost is 3 of 18, with 0 videos"),
    "an id more": ("data/splits/test/ids", lambda ids: [*ids, "v9"], "ids_hash is not the hash of its ids"),
    "an id less": ("data/splits/test/ids", lambda ids: ids[1:], "ids_hash is not the hash of its ids"),
    "ids in another order": ("data/splits/test/ids", lambda ids: ids[::-1], "test.ids must be a sorted list"),
    "ids that are none": ("data/splits/test/ids", [1, 2], "test.ids must be a sorted list"),
    "hash of other ids": ("data/splits/test/ids_hash", "0" * 64, "ids_hash is not the hash of its ids"),
    "held out without a split": ("data/splits/train/held_out", 1, "4 used, 1 held out and 0 missing"),
    "used and missing": ("data/splits/train/missing", ["t0"], "names t0 in two of its lists"),
    "subset unsaid": ("data/splits/test/subset", None, "test.subset is None"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_section_that_disagrees_with_itself_is_refused(world, tmp_path, name):
    record = load_record(world.write(tmp_path)).record
    assert record_problems(record) == []
    path, value, complaint = BROKEN[name]
    assert any(complaint in problem for problem in record_problems(changed(record, path, value)))


def test_the_test_videos_are_those_that_were_scored(world, tmp_path):
    record = load_record(world.write(tmp_path)).record
    fewer = world.data(tested=["v0", "v1"])["splits"]["test"]
    problems = record_problems(changed(record, "data/splits/test", fewer))
    assert problems == ["data.splits.test.used is 2, detections.videos is 6"]


def test_no_video_is_trained_and_tested_on(world, tmp_path):
    record = load_record(world.write(tmp_path)).record
    train = world.data()["splits"]["train"]
    ids = sorted([*train["ids"][1:], "v0"])
    spoiled = {**train, "ids": ids, "ids_hash": ids_hash(ids)}
    assert record_problems(changed(record, "data/splits/train", spoiled)) == [
        "data.splits: video 'v0' is in train and in test"
    ]


def test_a_selection_by_held_out_videos_names_them(world, tmp_path):
    record = load_record(world.write(tmp_path, selection="val_holdout")).record
    assert coverage_cell(record, "train") == "4/4"  # held-out videos are used too
    assert incomplete_reason(record) == ""
    assert record_problems(changed(record, "data/splits", world.data()["splits"])) == [
        "selection is 'val_holdout', but 0 training videos were held out"
    ]


FALSE = {
    "other test videos": ("test", lambda world: other(world), "data.splits.test.ids are not the videos of its"),
    "fewer training videos": ("train", lambda world: shrunk(world), "train names other videos than subset 'train'"),
    "more instances": ("train", lambda world: counted(world), "train.instances is 40, the annotations have 4"),
    "videos to learn from called bare": ("train", lambda world: barer(world), "train.bare names videos with tags to"),
    "videos to score called bare": ("test", lambda world: emptier(world), "test.bare names videos with annotated"),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_section_that_is_not_of_the_annotations_is_refused_when_scored_again(world, board, tmp_path, name):
    split, spoil, complaint = FALSE[name]
    splits = world.data()["splits"] | {split: spoil(world)}
    found = {name: rows for name, rows in world.detections().items() if name not in splits["test"]["bare"]}
    record, _ = world.record(
        data={"splits": splits, "notes": []}, metrics=world.protocol.score(found, world.annotations)
    )
    run = write_record(tmp_path / "run", record, found, world.protocol.classes)
    with pytest.raises(RecordError, match=complaint):
        file_measured(board / "records", run, world.path)


def other(world: World) -> dict[str, Any]:
    """Six test videos, one of which nobody detected anything in."""
    test = world.data()["splits"]["test"]
    ids = sorted([*test["ids"][1:], "w0"])
    return {**test, "ids": ids, "ids_hash": ids_hash(ids)}


def shrunk(world: World) -> dict[str, Any]:
    """A training split that never heard of two of its videos."""
    ids = ["t0", "t1"]
    train = world.data()["splits"]["train"]
    return {
        **train,
        "ids": ids,
        "ids_hash": ids_hash(ids),
        "annotated": 2,
        "used": 2,
        "with_features": 2,
        "instances": 2,
    }


def barer(world: World) -> dict[str, Any]:
    """Half of the training videos passed off as having nothing to learn from."""
    return {**shrunk(world), "bare": ["t2", "t3"]}


def emptier(world: World) -> dict[str, Any]:
    """Test videos left out and passed off as having nothing to score; the detections still name them."""
    test = world.data()["splits"]["test"]
    return {**test, "bare": ["v0"], "ids": test["ids"][1:], "ids_hash": ids_hash(test["ids"][1:]),
            **dict.fromkeys(("used", "annotated", "with_features"), 5), "instances": 15}  # fmt: skip


def counted(world: World) -> dict[str, Any]:
    return {**world.data()["splits"]["train"], "instances": 40}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"missing": "skip"}, ""),
        ({"missing": "refuse"}, "train.missing names videos, but its own config has data.missing='refuse'"),
    ],
)
def test_a_config_that_refuses_videos_without_features_had_none(world, tmp_path, settings, complaint):
    config = {"model": {"width": 8}, "data": {"protocol": "thumos14/v1", **settings}}
    made = dict(config=config, data=world.data(trained=["t0", "t1"]))
    if not complaint:
        assert record_problems(load_record(world.write(tmp_path, **made)).record) == []
    else:
        with pytest.raises(RecordError, match=complaint):
            world.write(tmp_path, **made)


# ---- what is ranked ----


def rows_of(board) -> str:
    build(board)
    return (board / "README.md").read_text()


def test_a_run_trained_on_half_of_the_videos_is_shown_with_its_counts_and_never_ranked(world, board):
    world.file(board / "records", seed=0, noise=3.0, method="whole")
    world.file(board / "records", seed=1, noise=0.1, method="half", data=world.data(trained=["t0", "t1"]))
    text = rows_of(board)
    assert re.search(r"\| 1 \| whole \| 1 \|(?: \d+\.\d+ \|)+ all \|", text)  # after what ranks
    assert "*half: trained on 2/4 videos*" in text
    assert "*train 2/4, test 6/6*" in text


def test_a_run_tested_without_a_video_is_never_ranked_however_well_it_scores(world, board, tmp_path):
    found = world.detections(noise=0.1)
    del found["v3"]
    record, _ = world.record(noise=0.1, method="fewer", data=world.data(tested=sorted(found)))
    record["metrics"] = world.protocol.score(found, world.annotations)
    run = write_record(tmp_path / "run", record, found, world.protocol.classes)
    filed, verdict = file_measured(board / "records", run, world.path)
    assert verdict.state == "same"
    assert incomplete_reason(read_record(filed)) == "tested on 5/6 videos"
    text = rows_of(board)
    assert "*fewer: tested on 5/6 videos*" in text
    assert "| 1 |" not in text


def test_a_record_that_does_not_say_is_not_ranked(world, board):
    path = world.file(board / "records")
    value = json.loads(path.read_text())
    del value["data"]
    path.write_text(json.dumps(value))
    assert load_record(path).record == value  # no broken rule
    assert UNRECORDED == "coverage not recorded"
    assert f"*ECM: {UNRECORDED}*" in rows_of(board)


def test_a_checkpoint_that_does_not_say_what_it_was_trained_on_is_not_ranked(world, tmp_path):
    splits = world.data()["splits"]
    del splits["train"]
    record = load_record(world.write(tmp_path, data={"splits": splits, "notes": []})).record
    assert incomplete_reason(record) == "coverage of its training videos not recorded"


def test_detections_of_some_of_the_videos_are_an_external_row_without_a_rank(world, board, tmp_path):
    found = world.detections(7)
    half = {name: found[name] for name in ("v0", "v1", "v2")}
    write_detections(tmp_path / "half.json", half, world.protocol.classes, "x")
    path, notes = file_external(board / "records", tmp_path / "half.json", world.protocol, TERMS, world.path)
    assert read_record(path)["data"]["splits"]["test"]["missing"] == ["v3", "v4", "v5"]
    (text,) = [note.text for note in notes if note.code == "coverage" and "are not in the file" in note.text]
    assert text.startswith(
        "test: 3 of 6 videos are used: 3 are not in the file (v3, v4, v5); 9 of 18 annotated instances"
    )
    assert "*theirs: tested on 3/6 videos*" in rows_of(board)
    assert [item.state for item in verify(board / "records", [world.path])] == ["same"]
    write_detections(tmp_path / "whole.json", found, world.protocol.classes, "x")
    file_external(board / "records", tmp_path / "whole.json", world.protocol, {**TERMS, "method": "all"}, world.path)
    assert re.search(r"\| 1 \| all \| 1 \|(?: \d+\.\d+ \|)+ all \|", rows_of(board))


@pytest.mark.parametrize("spoil", [str.lower, lambda name: f"{name}.mp4"], ids=["classes", "videos"])
def test_a_file_without_one_known_row_is_refused(world, board, tmp_path, spoil, capsys):
    found = world.detections(7)
    classes = world.protocol.classes
    if spoil is str.lower:
        classes = tuple(map(str.lower, classes))
    else:
        found = {spoil(name): rows for name, rows in found.items()}
    write_detections(tmp_path / "odd.json", found, classes, "x")
    words = ["leaderboard", "add", str(tmp_path / "odd.json"), "--protocol", "thumos14/v1", "--method", "x"]
    assert main([*words, "--folder", str(board)]) == 2
    assert "none of its rows is of a known class in a video of subset 'test' (30 rows)" in capsys.readouterr().err
    assert not list((board / "records").rglob("*.json*"))
