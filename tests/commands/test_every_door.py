"""What one verb writes, every other reads: on data of one's own, from a table and feature files to a leaderboard."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.running.conftest import WIDTH, tiny_config
from wtal_bench.cli import main
from wtal_bench.data.annotations import Annotations
from wtal_bench.evaluation import read_detections
from wtal_bench.leaderboard.own import recorded_protocol
from wtal_bench.leaderboard.record import load_records, read_record
from wtal_bench.protocols import is_own, own_protocol

CLASSES = ("Deep squat", "Hand stand", "Jump", "Turn", "Pli\u00e9")


def table(folder: Path) -> Path:
    """Eight training and five test videos, as a table and as a feature file each."""
    rng, lines = np.random.default_rng(2), ["video,label,duration,subset,start,end"]
    (folder / "arrays").mkdir()
    for number in range(15):
        name, label = f"clip_{number:02d}", number % 5
        length = int(rng.integers(30, 60))
        start = int(rng.integers(2, length - 12))
        features = rng.gamma(0.7, 1.0, (length, WIDTH)).astype(np.float32)
        features[start : start + 10, label] += 4
        np.save(folder / "arrays" / f"{name}.npy", features)
        row = [name, CLASSES[label], f"{length * 0.64:.2f}", "train" if number < 10 else "test"]
        lines.append(",".join([*row, f"{start * 0.64:.2f}", f"{(start + 10) * 0.64:.2f}"]))
    path = folder / "mine.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder in which every verb that writes has written: imports, two runs, a test, detections, a sweep, a board."""
    folder = tmp_path_factory.mktemp("lab")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setenv("WTAL_CACHE", str(folder / "cache"))
    patch.setattr("wtal_bench.running.run.draw_example", lambda session, path: None)

    def do(*words: object) -> None:
        assert main(list(map(str, words))) == 0, words

    do("import-annotations", table(folder), "data/annotations.json", "--version", "Mine 1")
    do("import-features", "arrays", "--out", "data/features", "--annotations", "data/annotations.json",
       "--extractor", "toy", "--fps", 25, "--stride", 16, "--streams", "rgb=4", "flow=4")  # fmt: skip
    config = tiny_config(Path("data"), epochs=1)
    config["data"]["protocol"] = "own"
    (folder / "my.json").write_text(json.dumps(config))
    for seed in (0, 1):
        do("train", "my.json", "--work-dir", f"runs/seed{seed}", "--seed", seed)
    do("test", "my.json", "runs/seed0/last.pth", "--work-dir", "tested")
    clips = [f"arrays/clip_{number}.npy" for number in range(10, 15)]
    do("infer", "my.json", "runs/seed0/last.pth", *clips, "--fps", 25, "--stride", 16, "--out", "found.json.gz")
    rows = "rows:\n- name: plain\n- name: faster\n  options: {train.lr: 0.01}\n"
    (folder / "rows.yaml").write_text(f"base: my.json\nmethod: ecm\n{rows}")
    do("sweep", "rows.yaml", "--work-dir", "sweeps", "--metric", "average", "--rows", "plain")
    do("leaderboard", "add", *(record(run) for run in ("runs/seed0", "runs/seed1")), "--folder", "board")
    do("evaluate", "found.json.gz", "--protocol", "own", "--annotations", "data", "--errors", "--json", "scores.json")
    patch.undo()
    return folder


def record(run: str) -> Path:
    (path,) = Path(run, "record").glob("*.json")
    return path


def detections(run: str) -> Path:
    (path,) = Path(run, "record").glob("*.json.gz")
    return path


@pytest.fixture(autouse=True)
def here(lab, monkeypatch) -> Path:
    monkeypatch.chdir(lab)
    monkeypatch.setenv("WTAL_CACHE", str(lab / "cache"))
    monkeypatch.setattr("wtal_bench.running.run.draw_example", lambda session, path: None)
    return lab


RESULTS = {
    "the record of train": lambda: record("runs/seed0"),
    "the folder of train": lambda: Path("runs/seed0"),
    "the folder of several seeds": lambda: Path("runs"),
    "the record of test": lambda: record("tested"),
    "a record of sweep": lambda: next(Path("sweeps").rglob("plain/seed0/record/*.json")),
    "a record on a board": lambda: next(Path("board/records").rglob("*-s0-*.json")),
}
FOUND = {
    "the detections of train": lambda: detections("runs/seed0"),
    "the detections of infer": lambda: Path("found.json.gz"),
    "the detections of a board": lambda: next(Path("board/records").rglob("*.json.gz")),
}


@pytest.mark.parametrize("name", RESULTS)
def test_compare_reads_every_result_and_finds_its_annotations(name, capsys):
    assert main(["compare", str(RESULTS[name]()), str(record("runs/seed1")), "--resamples", "100"]) == 0
    said = capsys.readouterr().out
    assert "own/mine-1-" in said
    assert "  data: 5 test videos with 5 instances" in said


@pytest.mark.parametrize("name", RESULTS)
def test_report_shows_every_result(name, tmp_path, capsys):
    path = RESULTS[name]()
    if name == "the folder of several seeds":
        path = path / "seed0"
    assert main(["report", str(path), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "own/mine-1-" in page
    assert "train 10/10, test 5/5" in page


@pytest.mark.parametrize("name", FOUND)
def test_compare_reads_every_detection_file(name):
    words = ["compare", str(FOUND[name]()), str(detections("runs/seed1")), "--resamples", "100"]
    assert main([*words, "--protocol", "own", "--annotations", "data"]) == 0


@pytest.mark.parametrize("name", FOUND)
def test_evaluate_scores_every_detection_file(name, capsys):
    words = ["evaluate", str(FOUND[name]()), "--protocol", "own", "--annotations", "data/annotations.json"]
    assert main([*words, "--errors", "--per-class", "--strict"]) == 0
    printed = capsys.readouterr()
    assert "errors at tIoU 0.5" in printed.out
    assert printed.err.startswith("data: 5 test videos with 5 instances; 5 classes;")


@pytest.mark.parametrize("name", ["the record of train", "the record of test", "a record of sweep"])
def test_a_board_of_ones_own_takes_every_record(name, tmp_path, capsys):
    board = tmp_path / "board"
    assert main(["leaderboard", "add", str(RESULTS[name]()), "--folder", str(board)]) == 0
    said = capsys.readouterr().out
    assert "its detections give its numbers" in said
    assert "data: train 10/10 videos; test 5/5 videos with 5 instances" in said
    assert main(["leaderboard", "--check", "--verify", "--folder", str(board)]) == 0


@pytest.mark.parametrize("name", ["the detections of train", "the detections of infer"])
def test_a_board_of_ones_own_takes_detections_as_external_rows(name, tmp_path):
    words = ["leaderboard", "add", str(FOUND[name]()), "--folder", str(tmp_path), "--protocol", "own"]
    assert main([*words, "--annotations", "data", "--method", "theirs", "--selection", "last"]) == 0
    (stored,) = load_records(tmp_path / "records")
    assert stored.record["data"]["splits"]["test"]["used"] == 5
    assert "| 1 | theirs" in (tmp_path / "README.md").read_text()


def test_test_scores_what_train_scored_and_evaluate_what_infer_found():
    trained, tested = read_record(record("runs/seed0")), read_record(record("tested"))
    assert tested["metrics"] == trained["metrics"]
    assert tested["data"]["splits"] == trained["data"]["splits"]  # the checkpoint knows what it was trained on
    scores = json.loads(Path("scores.json").read_text())
    assert scores["protocol"]["name"] == trained["protocol"]["name"]
    assert scores["metrics"]["variants"] == trained["metrics"]["variants"]


def test_picture_and_training_from_a_run_read_it_too(tmp_path):
    assert main(["picture", "runs/seed0", "--kind", "curves", "--out", str(tmp_path)]) in (0, 2)
    child = json.loads(Path("my.json").read_text())
    child["train"] |= {"epochs": 1, "init_from": "runs/seed0"}
    Path("child.json").write_text(json.dumps(child))
    assert main(["train", "child.json", "--work-dir", str(tmp_path / "child")]) == 0
    assert read_record(record(str(tmp_path / "child")))["parent"] == record("runs/seed0").stem


def test_a_board_keeps_the_annotations_it_is_scored_on(tmp_path, monkeypatch, capsys):
    away = Path("data").rename("moved")
    try:
        assert main(["leaderboard", "--check", "--verify", "--folder", "board"]) == 0
        assert "2 scored again with equal numbers, 0 differ, 0 not verified" in capsys.readouterr().out
        pair = [str(path) for path in sorted(Path("board/records").rglob("*.json"))]
        assert main(["compare", *pair, "--resamples", "100"]) == 0
    finally:
        away.rename("data")


def test_rows_of_other_annotations_never_share_a_table(tmp_path, capsys):
    value = json.loads(Path("data/annotations.json").read_text())
    value["version"] = "Mine 2"
    (tmp_path / "annotations.json").write_text(json.dumps(value))
    (tmp_path / "features").symlink_to(Path("data/features").resolve())
    words = ["train", "my.json", "--work-dir", str(tmp_path / "run"), "--cfg-options", f"data.root={tmp_path}"]
    assert main(words) == 0
    board = str(tmp_path / "board")
    assert main(["leaderboard", "add", str(record("runs/seed0")), "--folder", board]) == 0
    assert main(["leaderboard", "add", str(record(str(tmp_path / "run"))), "--folder", board]) == 0
    text = (tmp_path / "board" / "README.md").read_text()
    assert (text.count("\n## own/mine-1-"), text.count("\n## own/mine-2-")) == (1, 1)
    capsys.readouterr()
    assert main(["compare", str(record("runs/seed0")), str(record(str(tmp_path / "run")))]) == 2
    assert "cannot be compared: numbers of two protocols" in capsys.readouterr().err


def test_ones_own_rows_stay_off_the_shared_board(tmp_path, capsys):
    assert main(["leaderboard", "add", str(record("runs/seed0"))]) == 2
    assert "--folder my_leaderboard" in capsys.readouterr().err
    words = ["leaderboard", "add", "found.json.gz", "--protocol", "own", "--annotations", "data", "--method", "x"]
    assert main(words) == 2
    assert "--folder my_leaderboard" in capsys.readouterr().err


def test_own_needs_its_annotations_and_only_its_own(tmp_path, capsys):
    words = ["evaluate", "found.json.gz", "--protocol"]
    assert main([*words, "own"]) == 2
    assert "name it with --annotations" in capsys.readouterr().err
    assert main([*words, "own/mine-1-000000000000", "--annotations", "data"]) == 2
    assert "asked for was own/mine-1-000000000000: other annotations" in capsys.readouterr().err
    assert main([*words, "owm", "--annotations", "data"]) == 2
    assert "no protocol 'owm'" in capsys.readouterr().err


def test_a_record_of_ones_own_carries_its_protocol():
    stored = read_record(record("runs/seed0"))
    protocol = own_protocol(Annotations.load("data/annotations.json"))
    assert is_own(stored["protocol"]["name"])
    assert recorded_protocol(stored["protocol"]).hash == stored["protocol"]["hash"] == protocol.hash
    assert pickle.loads(pickle.dumps(protocol)) == protocol  # loader workers receive it
    edited = {**stored["protocol"], "classes": stored["protocol"]["classes"][::-1]}
    assert recorded_protocol(edited).hash != protocol.hash


def test_a_run_with_few_features_says_so_in_record_summary_and_board(tmp_path, capsys):
    (tmp_path / "arrays").mkdir()
    for path in [*Path("arrays").glob("*.npy")]:
        if path.stem not in ("clip_03", "clip_12"):
            (tmp_path / "arrays" / path.name).write_bytes(path.read_bytes())
    words = ["import-features", str(tmp_path / "arrays"), "--out", str(tmp_path / "features"), "--annotations"]
    assert main([*words, "data/annotations.json", "--extractor", "toy", "--fps", "25", "--stride", "16"]) == 0
    (tmp_path / "annotations.json").write_bytes(Path("data/annotations.json").read_bytes())
    run = tmp_path / "run"
    options = [f"data.root={tmp_path}", "data.missing=skip"]
    assert main(["train", "my.json", "--work-dir", str(run), "--cfg-options", *options]) == 0
    said = capsys.readouterr().out
    assert "data: train 9/10 videos; test 4/5 videos with 5 instances" in said
    assert "note: train: 9 of 10 videos are used: 1 have no features (clip_03)" in said
    assert (
        "note: test: 4 of 5 videos are used: 1 have no features (clip_12); 1 of 5 annotated instances are lost" in said
    )
    stored = read_record(record(str(run)))
    assert stored["data"]["splits"]["test"]["missing"] == ["clip_12"]
    assert [note["code"] for note in stored["data"]["notes"]].count("coverage") == 2
    assert main(["leaderboard", "add", str(record(str(run))), "--folder", str(tmp_path / "board")]) == 0
    assert "train 9/10, test 4/5" in (tmp_path / "board" / "README.md").read_text()


def test_held_out_videos_are_a_split_of_the_record(tmp_path):
    run = tmp_path / "run"
    assert main(["train", "my.json", "--work-dir", str(run), "--cfg-options", "train.selection=val_holdout"]) == 0
    splits = read_record(record(str(run)))["data"]["splits"]
    train, held = splits["train"], splits["validation"]
    assert (train["used"] + train["held_out"], train["held_out"]) == (10, held["used"])
    assert not set(train["ids"]) & set(held["ids"])
    assert held["used"] == 2


def test_detections_read_back_as_written():
    classes = own_protocol(Annotations.load("data/annotations.json")).classes
    found = read_detections("found.json.gz", classes)
    assert sorted(found.videos) == [f"clip_{number}" for number in range(10, 15)]
