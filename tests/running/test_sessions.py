"""Training and testing are built apart and share one model; testing looks at no training video."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.running.conftest import tiny_config
from tests.running.test_training import run
from wtal_bench.cli import main
from wtal_bench.data.store import FeatureStore, StoredVideo, write_store
from wtal_bench.errors import DataError
from wtal_bench.running import model_checks
from wtal_bench.running.config import check_config
from wtal_bench.running.run import dry_run, score_checkpoint


@pytest.fixture
def tests_alone(dataset, tmp_path) -> Path:
    """The data set without its training videos: neither features nor annotations."""
    folder = tmp_path / "tests_alone"
    store = FeatureStore.open(dataset / "features")
    names = [name for name in store.ids if name.startswith("test")]
    videos = [StoredVideo(name, store.video(name), store.meta(name).duration, store.meta(name).fps) for name in names]
    kept = ("name", "extractor", "fps", "stride", "window", "streams", "synthetic")
    write_store(folder / "features", videos, manifest={key: store.manifest[key] for key in kept}, dtype="float32")
    value = json.loads((dataset / "annotations.json").read_text())
    value["videos"] = {name: video for name, video in value["videos"].items() if name in names}
    (folder / "annotations.json").write_text(json.dumps(value))
    return folder


def test_a_checkpoint_is_tested_where_only_test_videos_are(dataset, tests_alone, tmp_path):
    trained, _ = run(tiny_config(dataset), tmp_path / "run")
    config = check_config(tiny_config(tests_alone), "test")
    again = score_checkpoint(config, tmp_path / "run" / "last.pth", tmp_path / "again", out=lambda line: None)
    assert again.record["metrics"] == trained.record["metrics"]
    assert again.record["detections"]["sha256"] == trained.record["detections"]["sha256"]


def test_the_command_line_does_so_too(dataset, tests_alone, tmp_path, capsys):
    run(tiny_config(dataset), tmp_path / "run")
    path = tmp_path / "alone.json"
    path.write_text(json.dumps(tiny_config(tests_alone)))
    assert main(["test", str(path), str(tmp_path / "run" / "last.pth")]) == 0
    assert "mAP (%) at tIoU" in capsys.readouterr().out
    assert {item.name for item in (tmp_path / "run" / "test").iterdir()} == {"config.json", "record"}


def test_training_there_is_still_refused(tests_alone, tmp_path):
    with pytest.raises(DataError, match="no video is in subset 'train'; it has test"):
        run(tiny_config(tests_alone), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("act", ["train", "test", "dry run", "resume"])
def test_a_model_is_built_once(dataset, tmp_path, monkeypatch, act):
    tree = tiny_config(dataset, epochs=1)
    if act in ("test", "resume"):
        run(tree, tmp_path / "run")
    built, plain = [], model_checks.build_model
    monkeypatch.setattr(model_checks, "build_model", lambda *given: built.append(1) or plain(*given))
    if act in ("train", "resume"):
        run(tree | {"train": tree["train"] | {"epochs": 2}}, tmp_path / "run", resume=act == "resume")
    elif act == "test":
        config = check_config(tree, "test")
        score_checkpoint(config, tmp_path / "run" / "last.pth", tmp_path / "again", out=lambda line: None)
    else:
        dry_run(check_config(tree, "test"), tmp_path / "dry", out=lambda line: None)
    assert built == [1]


def test_what_refuses_to_train_leaves_no_folder(dataset, tmp_path):
    """A test split without features is refused before anything of the run is on disk."""
    folder = tmp_path / "broken"
    shutil.copytree(dataset, folder)
    value = json.loads((folder / "annotations.json").read_text())
    value["videos"]["test_absent"] = value["videos"]["test_000"]
    (folder / "annotations.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match="split 'test'"):
        run(tiny_config(folder), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("beside", [True, False])
def test_weights_that_were_trained_for_another_time_are_refused_before_they_are_tested(
    dataset, tmp_path, capsys, beside
):
    run(tiny_config(dataset, epochs=1), tmp_path / "run")
    path = tmp_path / "longer.json"
    path.write_text(json.dumps(tiny_config(dataset, epochs=3)))
    kept = tmp_path / "run" / "config.json"
    if not beside:
        kept.unlink()
    assert main(["test", str(path), str(tmp_path / "run" / "last.pth")]) == 2
    said = capsys.readouterr().err
    assert f"was trained for 1 epochs, {path} trains 3: nothing was tested" in said
    assert (f"{kept} is the config it was trained with" in said) == beside
    assert ("train.epochs=1" in said) != beside
    assert not (tmp_path / "run" / "test").exists()
    words = [str(kept)] if beside else [str(path), "--cfg-options", "train.epochs=1"]
    assert main(["test", words[0], str(tmp_path / "run" / "last.pth"), *words[1:]]) == 0, "what is advised works"
