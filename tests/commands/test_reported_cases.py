"""Situations from public reports in which the harness once answered wrongly or not at all, with the right value."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import shared_file
from wtal_bench.cli import main
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.store import FeatureStore

PMIL = "detections/thumos14_pmil_base_test.json.gz"


@pytest.fixture
def thumos(monkeypatch) -> Path:
    monkeypatch.setenv("WTAL_DATA", str(shared_file("data/thumos14.json").parent))
    return shared_file(PMIL)


def spoiled(tmp_path: Path, change) -> Path:
    """The real detections, changed: {video: rows} -> {video: rows}."""
    with gzip.open(shared_file(PMIL)) as stream:
        value = json.load(stream)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps({"version": "x", "videos": change(value["videos"])}))
    return path


def half(videos):
    return {name: videos[name] for name in list(videos)[:106]}


def lower(videos):
    return {name: [{**row, "label": row["label"].lower()} for row in rows] for name, rows in videos.items()}


def mp4(videos):
    return {f"{name}.mp4": rows for name, rows in videos.items()}


def shares(videos):
    durations = Annotations.load(shared_file("data/thumos14.json")).videos
    return {
        name: [{**row, **{end: row[end] / durations[name].duration for end in ("start", "end")}} for row in rows]
        for name, rows in videos.items()
    }


# ---- 04: rows with missing results compared with full ones, names that do not match ----


def test_half_of_the_videos_differ_by_nothing_on_those_both_have(thumos, tmp_path, capsys):
    out = tmp_path / "out.json"
    words = ["compare", str(spoiled(tmp_path, half)), str(thumos), "--protocol", "thumos14/v1", "--resamples", "100"]
    assert main([*words, "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert "note: A: 106 of 212 videos have no detection" in said
    assert "A has 106 of the 212 videos, B 212" in said
    assert "On the 106 videos that both have: not distinguishable: A - B = +0.00 [+0.00, +0.00]" in said
    assert "is better" not in said
    found = json.loads(out.read_text())
    assert found["shared"]["averages"]["0.1:0.7"]["difference"] == 0
    assert (found["shared"]["videos"], found["shared"]["of"], found["shared"]["a"], found["shared"]["b"]) == (
        106,
        212,
        106,
        212,
    )
    assert [note["code"] for note in found["data"]["a"][0]] == ["summary", "coverage"]
    assert [note["code"] for note in found["data"]["b"][0]] == ["summary"]


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lower, "20 of them are known but for case: write 'CricketBowling' for 'cricketbowling'"),
        (mp4, "212 are known but for the ending '.mp4': write 'video_test_0000004' for 'video_test_0000004.mp4'"),
    ],
)
def test_names_that_do_not_match_get_a_hint_and_no_verdict(thumos, tmp_path, capsys, change, hint):
    path = str(spoiled(tmp_path, change))
    assert main(["compare", path, str(thumos), "--protocol", "thumos14/v1", "--resamples", "100"]) == 0
    said = capsys.readouterr().out
    assert hint in said
    assert "No verdict: of A nothing counts" in said
    assert main(["evaluate", path, "--protocol", "thumos14/v1"]) == 0
    assert hint in capsys.readouterr().err
    words = ["leaderboard", "add", path, "--protocol", "thumos14/v1", "--method", "x", "--folder", str(tmp_path / "b")]
    assert main(words) == 2
    assert hint in capsys.readouterr().err
    assert not list((tmp_path / "b").rglob("*.json*"))


def test_times_as_shares_are_told_by_evaluate(thumos, tmp_path, capsys):
    assert main(["evaluate", str(spoiled(tmp_path, shares)), "--protocol", "thumos14/v1"]) == 0
    said = capsys.readouterr().err
    assert "are the times shares of the video" in said
    assert "the average mAP is 0.0" in said


# ---- one's own data: 05, 08, 09, 10 ----


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """The reported data set with features in which every class has columns of its own, and a run on it."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "my_data").mkdir()
    (folder / "arrays").mkdir()
    source = shared_file("cases/05-own-data-cannot-be-scored-again/annotations.json")
    shutil.copy(source, folder / "my_data" / "annotations.json")
    truth, rng = Annotations.load(source), np.random.default_rng(1)
    for name, video in truth.videos.items():
        features = rng.gamma(0.7, 0.5, (int(video.duration * 25 / 16), 32)).astype(np.float32)
        for segment in video.segments:
            rows = slice(int(segment.start * 25 / 16), int(segment.end * 25 / 16) + 1)
            features[rows, segment.label * 4 : segment.label * 4 + 4] += 2
        np.save(folder / "arrays" / f"{name}.npy", features)
    config = shared_file("cases/09-infer-duration-and-resolution/my_config.py").read_text()
    (folder / "my_config.py").write_text(config.replace("configs/ecm_thumos.py", "wtal::ecm_thumos.py"))
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setattr("wtal_bench.running.run.draw_example", lambda session, path: None)
    imported(folder / "my_data")
    assert main(["train", "my_config.py", "--work-dir", "run"]) == 0
    patch.undo()
    return folder


def imported(folder: Path, stride: int = 16, arrays: str = "arrays") -> None:
    words = ["import-features", arrays, "--out", str(folder / "features"), "--extractor", "toy", "--fps", "25"]
    annotations = str(folder / "annotations.json")
    assert main([*words, "--stride", str(stride), "--annotations", annotations]) == 0


@pytest.fixture
def here(lab, monkeypatch) -> Path:
    monkeypatch.chdir(lab)
    monkeypatch.setattr("wtal_bench.running.run.draw_example", lambda session, path: None)
    return lab


def test_what_train_scores_on_ones_own_data_evaluate_scores_alike(here, tmp_path, capsys):
    (record,) = Path("run/record").glob("*.json")
    (found,) = Path("run/record").glob("*.json.gz")
    trained = json.loads(record.read_text())["metrics"]["variants"]
    words = ["evaluate", str(found), "--protocol", "own", "--annotations", "my_data/annotations.json"]
    assert main([*words, "--json", str(tmp_path / "scores.json")]) == 0
    assert json.loads((tmp_path / "scores.json").read_text())["metrics"]["variants"] == trained
    assert trained["activitynet"]["averages"]["0.1:0.7"] > 0.5
    assert main(["compare", str(record), str(found), "--protocol", "own", "--resamples", "100"]) == 0
    assert "A - B = +0.00" in capsys.readouterr().out


def test_the_reported_detections_of_ones_own_data_are_scored(tmp_path):
    folder = shared_file("cases/05-own-data-cannot-be-scored-again/annotations.json").parent
    words = [
        "evaluate",
        str(folder / "o1.json"),
        "--protocol",
        "own",
        "--annotations",
        str(folder / "annotations.json"),
    ]
    assert main([*words, "--json", str(tmp_path / "scores.json")]) == 0
    (table,) = json.loads((tmp_path / "scores.json").read_text())["metrics"]["variants"].values()
    assert (table["videos"], table["instances"]) == (6, 18)


def test_a_result_of_before_there_were_records_of_ones_own_says_what_to_do(capsys):
    old = str(shared_file("cases/05-own-data-cannot-be-scored-again/result.json"))
    assert main(["compare", old, old]) == 2
    assert "is no record (it has no schema" in capsys.readouterr().err


def test_files_named_in_another_unicode_form_are_found(tmp_path, capsys):
    tags = shared_file("cases/08-lookalike-names/nf_tags.csv")
    (tmp_path / "arrays").mkdir()
    with open(tags, encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            name = unicodedata.normalize("NFD", row["video"])
            features = np.ones((int(float(row["duration"]) * 25 / 16), 4), np.float32)
            np.save(tmp_path / "arrays" / f"{name}.npy", features)
    assert main(["import-annotations", str(tags), str(tmp_path / "annotations.json"), "--version", "nf"]) == 0
    assert "4 videos, 2 classes" in capsys.readouterr().out
    imported(tmp_path, arrays=str(tmp_path / "arrays"))
    printed = capsys.readouterr()
    assert "left out" not in printed.err
    assert "without features" not in printed.err
    assert set(FeatureStore.open(tmp_path / "features").ids) == set(
        Annotations.load(tmp_path / "annotations.json").videos
    )
    words = ["check-data", str(tmp_path / "features"), "--annotations", str(tmp_path / "annotations.json")]
    assert main(words) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out


def test_class_names_that_look_alike_are_warned_of(tmp_path, capsys):
    table = shared_file("cases/08-lookalike-names/case.csv")
    assert main(["import-annotations", str(table), str(tmp_path / "a.json"), "--version", "c"]) == 0
    said = capsys.readouterr()
    assert "classes: Deep squat, Hand  stand, Hand stand, Jumping jack, deep squat" in said.out
    assert "'Deep squat' and 'deep squat' differ only in case" in said.err
    assert "'Hand  stand' and 'Hand stand' differ only in spaces" in said.err


INFER = {
    "as trained": ([], [], ["nothing to note"]),
    "a duration that is none": (["--duration", "10"], [], ["span 40.3 s, its duration is given as 10.0 s"]),
    "another stride": (
        [],
        ["--stride", "4"],
        ["trained on 1.562 snippets a second", "moves every time by 0.25"],
    ),
    "another rate": ([], ["--fps", "50"], ["moves every time by 0.5"]),
}


@pytest.mark.parametrize("name", INFER)
def test_infer_says_what_does_not_fit(here, tmp_path, capsys, name):
    more, instead, texts = INFER[name]
    clip = str(shared_file("cases/09-infer-duration-and-resolution/clip_13.npy"))
    words = ["infer", "my_config.py", "run/last.pth", clip, "--fps", "25", "--stride", "16", *more, *instead]
    assert main([*words, "--out", str(tmp_path / "found.json")]) == 0
    said = capsys.readouterr().err
    assert all(text in said for text in texts), said


def test_infer_says_how_coarse_a_long_video_is(here, tmp_path, capsys):
    clip = np.load(shared_file("cases/09-infer-duration-and-resolution/clip_13.npy"))
    np.save(tmp_path / "long.npy", np.tile(clip, (900, 1)))
    words = ["infer", "my_config.py", "run/last.pth", str(tmp_path / "long.npy"), "--fps", "25", "--stride", "1"]
    assert main([*words, "--out", str(tmp_path / "found.json")]) == 0
    assert "video 'long': 56700 snippets, 200 samples, one every 11.3 s" in capsys.readouterr().err


def test_infer_names_the_type_of_numbers_that_are_no_features(here, tmp_path, capsys):
    np.save(tmp_path / "int.npy", np.ones((63, 32), np.int64))
    words = ["infer", "my_config.py", "run/last.pth", str(tmp_path / "int.npy"), "--fps", "25", "--stride", "16"]
    assert main([*words, "--out", str(tmp_path / "found.json")]) == 2
    assert "int64 numbers" in capsys.readouterr().err


def test_features_imported_at_the_wrong_rate_are_told_by_test(here, tmp_path, capsys):
    shutil.copy("my_data/annotations.json", tmp_path / "annotations.json")
    imported(tmp_path, stride=8)
    capsys.readouterr()
    words = ["test", "my_config.py", "run/last.pth", "--work-dir", str(tmp_path / "test"), "--cfg-options"]
    assert main([*words, f"data.root={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "note: the model was trained on 1.562 snippets a second (25 fps, stride 16)" in said
    assert "note: 6 of 6 videos: the features span another time than the video, 0.500 of it in the median" in said
    (record,) = (tmp_path / "test" / "record").glob("*.json")
    codes = {note["code"] for note in json.loads(record.read_text())["data"]["notes"]}
    assert {"summary", "trained_on", "rate", "length"} <= codes


def test_a_duration_column_that_holds_a_segments_length_is_refused(tmp_path, capsys):
    table = shared_file("cases/10-duration-column-holds-segment-length/tsp1.csv")
    assert main(["import-annotations", str(table), str(tmp_path / "a.json"), "--version", "x"]) == 2
    said = capsys.readouterr().err
    assert "in 18 of 18 videos annotated segments end after the video: `duration` holds the length of a segment" in said
    assert not (tmp_path / "a.json").exists()


def test_durations_that_are_wrong_in_a_file_of_ones_own_are_blamed_and_the_alarm_rings(here, tmp_path, capsys):
    value = json.loads(Path("my_data/annotations.json").read_text())
    for video in value["videos"].values():
        video["duration"] = video["segments"][0]["end"] - video["segments"][0]["start"]
    (tmp_path / "annotations.json").write_text(json.dumps(value))
    imported(tmp_path)
    words = ["check-data", str(tmp_path / "features"), "--annotations", str(tmp_path / "annotations.json")]
    assert main(words) == 1
    errors = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ERROR")]
    assert "`duration` holds the length of a segment" in errors[0]
    assert "it is the annotated durations that are wrong" in errors[1]
    assert not any("manifest is wrong" in line for line in errors)
    words = ["train", "my_config.py", "--work-dir", str(tmp_path / "run"), "--cfg-options", f"data.root={tmp_path}"]
    assert main(words) == 0
    assert "warning: videos are classified well and localised hardly at all" in capsys.readouterr().out
