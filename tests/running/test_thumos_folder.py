"""The THUMOS14 config on a THUMOS14 folder: real annotations, stand-in features of the real videos' durations."""

from __future__ import annotations

import json

import pytest

from tests.helpers import shared_file
from wtal_bench.cli import main
from wtal_bench.data.synthetic import stand_in

SMALL = [
    "model.backbone.in_channels=16",
    "model.backbone.channels=8",
    "model.heads.pre.channels=8",
    "train.epochs=1",
    "train.length=60",
    "test.length=60",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Features of some of the real videos, none of them real, beside the real annotations."""
    root = tmp_path_factory.mktemp("data") / "thumos14"
    return stand_in(shared_file("data/thumos14.json"), root, dim=8, fps=25.0, limit=12)


def test_ecm_trains_on_real_annotations_and_shows_both_grids(folder, tmp_path, capsys):
    options = [f"data.root={folder}", *SMALL]
    assert main(["train", "configs/ecm_thumos.py", "--work-dir", str(tmp_path / "run"), "--cfg-options", *options]) == 0
    printed = capsys.readouterr().out
    for evaluator in ("thumos_seconds_212", "thumos_seconds_210", "thumos_snippet", "wtalc"):
        assert evaluator in printed
    (path,) = (tmp_path / "run" / "record").glob("*.json")
    record = json.loads(path.read_text())
    assert record["protocol"]["name"] == "thumos14/v1"
    assert record["features"]["synthetic"] is True


def test_its_record_never_enters_the_leaderboard_of_the_real_benchmark(folder, tmp_path, capsys):
    options = [f"data.root={folder}", *SMALL]
    main(["train", "configs/ecm_thumos.py", "--work-dir", str(tmp_path / "run"), "--cfg-options", *options])
    (path,) = (tmp_path / "run" / "record").glob("*.json")
    (tmp_path / "board" / "records").mkdir(parents=True)
    capsys.readouterr()
    assert main(["leaderboard", "--folder", str(tmp_path / "board"), "add", str(path)]) == 2
    assert "synthetic features in thumos14/v1, a real benchmark" in capsys.readouterr().err


def test_without_features_for_every_video_it_says_which(folder, tmp_path, capsys):
    (tmp_path / "features").symlink_to(folder / "features")
    (tmp_path / "annotations.json").symlink_to(shared_file("data/thumos14.json"))
    assert main(["train", "configs/ecm_thumos.py", "--cfg-options", f"data.root={tmp_path}", *SMALL]) == 2
    error = capsys.readouterr().err
    assert "200 of 212 videos of split 'test' have no features" in error
    assert "missing='skip'" in error
    options = [f"data.root={tmp_path}", "data.missing=skip", *SMALL]
    assert main(["train", "configs/ecm_thumos.py", "--work-dir", str(tmp_path / "run"), "--cfg-options", *options]) == 0
    assert "test 12/212 videos" in capsys.readouterr().out


def test_without_the_data_it_says_in_three_lines_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "nowhere"))
    assert main(["train", "configs/ecm_thumos.py"]) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 3
    for part in ("not found", str(tmp_path / "nowhere"), "import-features", "configs/ecm_synthetic.py"):
        assert part in error
