"""Rows of composed videos: filed with what makes their protocol, ranked without the clips, never beside others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.data.test_composed import BACKGROUNDS, clip_folder
from wtal_bench.cli import main
from wtal_bench.leaderboard.own import recorded_protocol
from wtal_bench.leaderboard.record import load_record

CONFIG = """
_base_ = ['wtal::ecm_synthetic.py']
data = dict(protocol='composed/mine/v1', root={root!r}, synthetic=None)
model = dict(backbone=dict(in_channels=24, channels=8), heads=dict(pre=dict(channels=8, num_classes=3),
    weights=dict(num_classes=3)), postprocessor=dict(num_classes=3))
train = dict(length=20, epochs=1)
runtime = dict(example=False)
"""


def run_on(folder: Path, clips: Path, seed: int) -> Path:
    """A record of videos composed with that seed, all under one name."""
    small = ["--videos", "6", "3", "4", "--max-snippets", "100", "--name", "mine", "--dim", "12", "--no-probes"]
    asked = ["--step", "0.3", "--background", *BACKGROUNDS, *small, "--seed", str(seed), "--out", str(folder / "data")]
    assert main(["compose", str(clips), *asked]) == 0
    (folder / "config.py").write_text(CONFIG.format(root=str(folder / "data")))
    assert main(["train", str(folder / "config.py"), "--work-dir", str(folder / "run")]) == 0
    return next(folder.rglob("record/*.json"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Folders of runs on two compositions of one name, whose data are gone."""
    root = tmp_path_factory.mktemp("composed")
    clips, folders = clip_folder(root / "clips"), []
    for seed in (0, 1):
        folder = root / f"seed{seed}"
        folder.mkdir()
        folders.append(run_on(folder, clips, seed).parent)
        shutil.copy(folder / "data" / "annotations.json", folder / "annotations.json")
    return folders


@pytest.fixture
def board(runs, tmp_path, monkeypatch) -> Path:
    """A leaderboard with both."""
    monkeypatch.chdir(tmp_path)
    for run in runs:
        (record,) = run.glob("*.json")
        assert main(["leaderboard", "add", str(record), "--folder", "board"]) == 0
    return tmp_path / "board"


@pytest.fixture
def alone(runs, board):
    """The board where neither clips nor data of the runs are at hand."""
    moved = [(run.parents[1] / "data", run.parents[1] / "away") for run in runs]
    for data, away in moved:
        data.rename(away)
    yield board
    for data, away in moved:
        away.rename(data)


def rebuilt(board: Path, *options: str) -> str:
    assert main(["leaderboard", "build", "--folder", str(board), *options]) == 0
    return (board / "README.md").read_text()


def test_rows_of_two_compositions_stand_in_two_tables_and_are_scored_again_without_the_clips(alone, capsys):
    capsys.readouterr()
    assert main(["leaderboard", "--check", "--verify", "--folder", str(alone)]) == 0
    assert "2 records: 2 scored again with equal numbers, 0 differ, 0 not verified" in capsys.readouterr().out
    assert rebuilt(alone).count("### Measured, composed/mine/v1") == 2
    records = [json.loads(path.read_text()) for path in alone.glob("records/**/*.json")]
    assert len({record["protocol"]["hash"] for record in records}) == 2


def test_a_row_whose_annotations_are_nowhere_is_shown_unranked_and_stops_no_other(alone, capsys, caplog):
    sorted((alone / "annotations").glob("*.json"))[0].unlink()
    lines = [line for line in rebuilt(alone, "--demote").splitlines() if line.startswith("| ") and "ECM" in line]
    assert len(lines) == 4  # overview and thresholds of each
    capsys.readouterr()
    assert main(["leaderboard", "--check", "--verify", "--folder", str(alone)]) == 0
    printed = capsys.readouterr().out
    assert "2 records: 1 scored again with equal numbers, 0 differ, 1 not verified" in printed
    assert "no annotation file that makes it was found" in caplog.text


def test_detections_are_scored_on_the_annotations_that_are_named(runs, alone, capsys):
    found = next(runs[0].glob("*.json.gz"))
    mine, others = (str(run.parents[1] / "annotations.json") for run in runs)
    named = ["--protocol", "composed/mine/v1", "--annotations"]
    assert main(["evaluate", str(found), *named, mine]) == 0
    assert "mAP" in capsys.readouterr().out
    external = ["leaderboard", "add", str(found), "--method", "Foo", "--folder", "elsewhere", *named]
    assert main([*external, mine]) == 0
    assert main(["leaderboard", "--check", "--verify", "--folder", "elsewhere"]) == 0
    assert main(["report", str(runs[0].parent), "--annotations", others]) == 2
    assert "give the file it was scored on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda block: block["splits"]["test"].__setitem__(0, 99), "protocol.hash is"),
        (lambda block: block["classes"].reverse(), "protocol.hash is"),
        (lambda block: block.update(composition="0" * 64), "made of other annotations"),
        (lambda block: block.pop("splits"), "protocol.classes, splits and composition say which"),
        (lambda block: block["splits"].update(test=["a"]), "protocol.classes, splits and composition say which"),
    ],
)
def test_a_record_that_says_another_composition_is_refused(runs, tmp_path, change, said, capsys):
    shutil.copytree(runs[0], tmp_path / "record")
    (path,) = (tmp_path / "record").glob("*.json")
    record = json.loads(path.read_text())
    change(record["protocol"])
    path.write_text(json.dumps(record))
    assert main(["leaderboard", "add", str(path), "--folder", str(tmp_path / "board")]) == 2
    assert said in capsys.readouterr().err


def test_a_record_keeps_the_protocol_it_was_made_under(runs):
    (path,) = runs[0].glob("*.json")
    block = load_record(path).record["protocol"]
    protocol = recorded_protocol(block)
    assert (protocol.name, protocol.hash) == (block["name"], block["hash"])
    assert set(protocol.splits) == {"train", "val", "test"}
