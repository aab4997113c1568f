"""Bad input to a run: a clear text, exit code 2, nothing half-written, and no work dir where no run began."""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.running.conftest import FPS, PROTOCOL, STRIDE, WIDTH, make_dataset, tiny_config
from wtal_bench.cli import main
from wtal_bench.data.store import StoredVideo, write_store
from wtal_bench.running.checkpoint import read_checkpoint


@pytest.fixture
def data(dataset, tmp_path) -> Path:
    """A copy of the tiny data set that a test may damage."""
    return Path(shutil.copytree(dataset, tmp_path / "data"))


class Run:
    """A config file and a work dir beside it, run through the command line."""

    def __init__(self, folder: Path, root: Path, capsys) -> None:
        self.folder, self.capsys = folder, capsys
        self.work_dir = folder / "run"
        self.tree = tiny_config(root, epochs=1)

    def __call__(self, *options: str, verb: str = "train", words: tuple[str, ...] = ()) -> tuple[int, str]:
        """Return (exit code, what was said on stderr)."""
        path = self.folder / "my.json"
        path.write_text(json.dumps(self.tree))
        command = [verb, str(path), *words]
        command += ["--work-dir", str(self.work_dir)] if verb in ("train", "test") else []
        command += ["--cfg-options", *options] if options else []
        code = main(command)
        return code, self.capsys.readouterr().err

    def refused(self, *options: str, **others) -> str:
        """Run what must be refused; return the text."""
        code, text = self(*options, **others)
        assert code == 2, text
        assert text.startswith("wtal-bench ")
        assert "Traceback" not in text
        return text

    def refused_before_it_began(self, *options: str, **others) -> str:
        """The same, and no folder is left."""
        text = self.refused(*options, **others)
        assert not self.work_dir.exists(), list(self.work_dir.rglob("*"))
        return text


@pytest.fixture
def run(tmp_path, data, capsys) -> Run:
    return Run(tmp_path, data, capsys)


# ---- features ----


def change_array(data: Path, change) -> None:
    path = data / "features" / "features.npy"
    array = np.load(path)
    np.save(path, change(array), allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: shutil.rmtree(data / "features"), "not found"),
        (lambda data: (data / "features" / "index.json").unlink(), "index.json: there is no such file"),
        (lambda data: (data / "features" / "features.npy").write_bytes(b""), "truncated"),
        (lambda data: change_array(data, lambda a: a[:-1]), "damaged"),
        (lambda data: change_array(data, lambda a: a[:, :-1]), "damaged"),
        (lambda data: change_array(data, lambda a: a.astype(object)), "features.npy"),
    ],
    ids=["no store", "no index", "truncated", "rows disagree with the index", "columns disagree", "objects"],
)
def test_damaged_feature_stores(run, data, damage, expected):
    damage(data)
    text = run.refused_before_it_began()
    assert expected in text
    assert str(data) in text


def test_features_of_another_width(run):
    run.tree["model"]["backbone"]["in_channels"] = WIDTH + 2
    text = run.refused_before_it_began()
    assert f"have {WIDTH} columns (rgb 0..4, flow 4..8), model.backbone.in_channels={WIDTH + 2} in the config" in text
    assert f"set model.backbone.in_channels to {WIDTH} there, or add" in text
    assert text.rstrip().endswith(f"--cfg-options model.backbone.in_channels={WIDTH}.")
    assert "mat1" not in text


def test_a_width_that_does_not_fit_within_the_model_stays_the_models_own_words(run):
    run.tree["model"]["backbone"]["channels"] += 2
    assert "the model cannot take video" in run.refused_before_it_began()


def test_another_number_of_classes_is_told_with_the_file_and_the_field(run):
    heads = run.tree["model"]["heads"].values()
    for head in [head for head in heads if "num_classes" in head]:
        head["num_classes"] = 9
    text = run.refused_before_it_began()
    assert re.search(r"my\.json: model\.heads\.\w+\.num_classes=9, but .* has 5 classes: set num_classes=5", text), text


def set_nan(rows: slice):
    def change(array):
        array[rows, 3] = np.nan
        return array

    return change


def test_nan_features_everywhere_are_told_before_the_run_begins(run, data):
    change_array(data, set_nan(slice(None)))
    text = run.refused_before_it_began()
    assert "hold NaN or infinity" in text
    assert "wtal-bench check-data" in text


@pytest.mark.parametrize("losses", [["cls_pre", "cls_post", "a2c"], ["cls_pre"]])
def test_nan_features_of_one_video_stop_the_run_before_a_checkpoint(run, data, losses):
    """With a loss that raises an error at NaN, and without."""
    index = json.loads((data / "features" / "index.json").read_text())
    longest = index["lengths"][:12].index(max(index["lengths"][:12]))  # the model is tried on the shortest
    first = index["offsets"][longest]
    change_array(data, set_nan(slice(first, first + index["lengths"][longest])))
    run.tree["model"]["losses"] = {name: run.tree["model"]["losses"][name] for name in losses}
    text = run.refused()
    if len(losses) > 1:
        assert f"the features of {index['ids'][longest]} hold NaN or infinity" in text
    else:
        assert "training stopped at iteration" in text
        assert "No checkpoint was written yet." in text
    assert not list(run.work_dir.rglob("*.pth"))


# ---- annotations and splits ----


def annotate(data: Path, change) -> None:
    path = data / "annotations.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def set_segment(**fields):
    return lambda value: value["videos"]["train_000"]["segments"][0].update(fields)


def move_all(value, subset: str) -> None:
    for video in value["videos"].values():
        video["subset"] = "unused" if video["subset"] == subset else video["subset"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (set_segment(label="Juggling"), "label 'Juggling' is not in the class list"),
        (set_segment(start=3.0, end=2.0), "is reversed"),
        (lambda value: value["videos"]["train_000"].update(duration=0), "duration"),
        (lambda value: value["videos"].update(lost={**value["videos"]["train_000"]}), "lost"),
        (lambda value: move_all(value, "train"), "no video is in subset 'train'"),
        (lambda value: move_all(value, "test"), "no video of subset 'test'"),
        (lambda value: value["classes"].reverse(), "class"),
    ],
    ids=["label", "reversed", "zero length", "no features", "empty train split", "empty test split", "class list"],
)
def test_annotations_that_cannot_be(run, data, change, expected):
    annotate(data, change)
    assert expected in run.refused_before_it_began()


def test_annotations_cut_off(run, data):
    path = data / "annotations.json"
    path.write_bytes(path.read_bytes()[:-20])
    assert "is not valid JSON" in run.refused_before_it_began()


def test_a_train_split_without_any_tag(run, data):
    def bare(value):
        for video in value["videos"].values():
            video["segments"] = [] if video["subset"] == "train" else video["segments"]

    annotate(data, bare)
    assert "holds no video" in run.refused_before_it_began()


def test_videos_without_features_are_skipped_when_asked_and_told(run, data, capsys):
    annotate(data, lambda value: value["videos"].update(lost={**value["videos"]["train_000"]}))
    assert "Import them with `wtal-bench import-features`" in run.refused_before_it_began()
    path = run.folder / "my.json"
    assert main(["train", str(path), "--work-dir", str(run.work_dir), "--cfg-options", "data.missing=skip"]) == 0
    assert "lost" in capsys.readouterr().out


def test_a_segment_past_the_end_is_taken(run, data):
    annotate(data, set_segment(start=1.0, end=10_000.0))
    assert run()[0] == 0


def test_videos_of_one_snippet_train_and_decode(run, tmp_path):
    """Alone in a batch and beside longer ones, at any sampling."""
    root = make_dataset(tmp_path / "short", videos=6)
    classes = json.loads((root / "annotations.json").read_text())["classes"]

    def one_snippet(value):
        for name in ("train_000", "test_000"):
            segment = {"label": classes[0], "start": 0.0, "end": 0.3}
            value["videos"][name] |= {"duration": STRIDE / FPS, "segments": [segment]}

    annotate(root, one_snippet)
    rng = np.random.default_rng(0)
    videos = json.loads((root / "annotations.json").read_text())["videos"]
    stored = []
    for name, video in videos.items():
        length = max(1, round(video["duration"] * FPS / STRIDE))
        stored.append(StoredVideo(name, rng.gamma(0.7, 1.0, (length, WIDTH)), video["duration"], FPS))
    assert len(stored[0].features) == 1
    manifest = json.loads((root / "features" / "manifest.json").read_text())
    kept = {key: manifest[key] for key in ("name", "extractor", "stride", "streams", "synthetic")}
    shutil.rmtree(root / "features")
    write_store(root / "features", stored, manifest=kept, dtype="float32")
    for number, options in enumerate((["train.sampling=whole"], ["train.batch_size=1", "test.batch_size=3"])):
        run.tree = tiny_config(root, epochs=1)
        run.work_dir = tmp_path / f"run{number}"
        code, text = run(*options, "runtime.example=true")  # which could fail too
        assert code == 0, text
        (path,) = (run.work_dir / "record").glob("*.json")
        assert json.loads(path.read_text())["detections"]["videos"] == 6


# ---- what cannot work on this machine, or at all ----


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("option", ["runtime.device=cuda", "data.resident=gpu"])
def test_a_gpu_where_there_is_none(run, option):
    text = run.refused_before_it_began(option, *(["runtime.device=auto"] if option.startswith("data") else []))
    assert "GPU" in text
    assert option.split("=")[0] in text


def test_another_number_of_classes(run):
    run.tree["model"]["heads"]["pre"]["num_classes"] = 7
    run.tree["model"]["heads"]["weights"]["num_classes"] = 7
    run.tree["model"]["postprocessor"]["num_classes"] = 7
    assert "num_classes" in run.refused_before_it_began()


def test_an_unknown_protocol(run):
    text = run.refused_before_it_began("data.protocol=synthetic_tini/v1")
    assert "data.protocol" in text
    assert f"Did you mean '{PROTOCOL}'?" in text


def test_a_selection_by_what_the_protocol_does_not_measure(run):
    text = run.refused_before_it_began("train.selection=best_on_test", "train.select_by=0.55")
    assert "train.select_by=0.55: expected 'average' or a tIoU of synthetic_tiny/v2" in text


def test_a_pair_loss_without_pairs_and_a_batch_that_is_dropped(run):
    assert "train.drop_last leaves no batch" in run.refused_before_it_began(
        "train.batch_size=99", "train.drop_last=True"
    )


def test_a_diverging_run_stops_with_words_and_keeps_the_last_good_checkpoint(run):
    text = run.refused("train.epochs=30", "train.lr=1e18", "train.optimizer=SGD")
    assert "training stopped at iteration" in text
    assert "not finite are " in text
    kept = run.work_dir / "last.pth"
    if "No checkpoint was written yet." not in text:
        assert f"{kept} is from before." in text
        assert all(bool(torch.isfinite(value).all()) for value in read_checkpoint(kept)["state_dict"].values())
    assert kept.exists() == (f"{kept} is from before." in text)


@pytest.mark.parametrize("losses", [["cls_pre", "cls_post", "a2c"], ["cls_pre"]])
def test_a_run_that_diverges_late_keeps_what_it_had(run, losses):
    # three steps an epoch: the rate of epoch 3 ruins the weights, between two looks at the loss
    run.tree["model"]["losses"] = {name: run.tree["model"]["losses"][name] for name in losses}
    text = run.refused(
        "train.epochs=30", "train.optimizer=SGD", "train.lr_schedule=[(2, 1e30)]", "runtime.checkpoint_seconds=0"
    )
    assert f"{run.work_dir / 'last.pth'} is from before." in text
    state = read_checkpoint(run.work_dir / "last.pth")
    assert state["meta"]["epoch"] == 2
    assert all(bool(torch.isfinite(value).all()) for value in state["state_dict"].values())


# ---- checkpoints ----


class Payload:
    """Runs a command when unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self):
        return os.system, (f"touch {self.sentinel}",)


def craft(path: Path, payload: Payload, form: str) -> None:
    value = {"state_dict": {"x": torch.zeros(1)}, "optimizer": payload, "meta": {"epoch": 1, "iter": 3}}
    if form == "pickle":
        path.write_bytes(pickle.dumps(value, protocol=2))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=form == "zip")


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_crafted_checkpoint_does_not_run(run, tmp_path, form):
    sentinel = tmp_path / "it-ran"
    evil = tmp_path / "evil.pth"
    craft(evil, Payload(sentinel), form)
    os.system("true")  # what the payload would call works here
    for text in (
        run.refused_before_it_began(f"train.init_from={evil}"),
        run.refused_before_it_began(verb="test", words=(str(evil),)),
        run.refused(verb="infer", words=(str(evil), "x.npy", "--fps", "25", "--stride", "16")),
    ):
        assert str(evil) in text
        assert "was not loaded, since such a file can run code" in text
        assert "weights_only" not in text, "torch's advice to load it all the same"
    run.work_dir.mkdir()
    evil.rename(run.work_dir / "last.pth")
    assert "was not loaded" in run.refused(words=("--resume",))
    assert not sentinel.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no such file"),
        (b"", "is damaged or no checkpoint"),
        (b"not a checkpoint at all", "evil.pth is no checkpoint but text: it begins with 'not a checkpoint at all'"),
        (b"import os\n_base_ = ['wtal::ecm_thumos.py']\n", "Give the .pth file that training wrote"),
        ([1, 2], "holds a list, not a checkpoint"),
        ({}, "belongs to another model"),
        ({"state_dict": 3}, "holds no weights"),
        ({"state_dict": {"backbone.conv1.weight": 5}}, "belongs to another model"),
        ({"state_dict": {"other.weight": torch.zeros(2)}}, "belongs to another model"),
    ],
    ids=["missing", "empty", "text", "config", "list", "nothing", "no dict", "number", "other"],
)
def test_checkpoints_that_are_none_of_this_model(run, tmp_path, content, expected):
    path = tmp_path / "evil.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    for text in (
        run.refused_before_it_began(f"train.init_from={path}"),
        run.refused_before_it_began(verb="test", words=(str(path),)),
    ):
        assert expected in text
        assert str(path) in text
        assert "weights_only" not in text


def test_a_checkpoint_of_another_shape_is_refused_by_every_verb(run, tmp_path):
    run.tree["model"]["backbone"]["channels"] = run.tree["model"]["heads"]["pre"]["channels"] = 8
    assert run()[0] == 0
    trained = run.work_dir
    run.work_dir = tmp_path / "other"
    run.tree["model"]["backbone"]["channels"] = run.tree["model"]["heads"]["pre"]["channels"] = 6
    features = tmp_path / "video.npy"
    np.save(features, np.ones((9, WIDTH), np.float32))
    last = str(trained / "last.pth")
    out = tmp_path / "found.json"
    infer = (last, str(features), "--fps", "25", "--stride", "16", "--out", str(out))
    for text in (
        run.refused_before_it_began(f"train.init_from={last}"),
        run.refused_before_it_began(verb="test", words=(last,)),
        run.refused(verb="infer", words=infer),
    ):
        assert "belongs to another model" in text
        assert "(here (6," in text
        assert "Use the config it was trained with" in text
    assert not out.exists()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda state: state.pop("optimizer"), "cannot be resumed"),
        (lambda state: state.pop("meta"), "cannot be resumed"),
        (lambda state: state["meta"].pop("iter"), "cannot be resumed"),
        (lambda state: state["optimizer"].update(param_groups=[]), "cannot be resumed, its optimiser differs"),
    ],
    ids=["weights alone", "no position", "no iteration", "another optimiser"],
)
def test_a_checkpoint_that_cannot_be_resumed(run, spoil, expected):
    assert run()[0] == 0
    last = run.work_dir / "last.pth"
    state = torch.load(last, weights_only=True)
    spoil(state)
    torch.save(state, last)
    text = run.refused("train.epochs=2", words=("--resume",))
    assert expected in text
    assert str(last) in text


def test_a_truncated_checkpoint_is_told(run):
    assert run()[0] == 0
    last = run.work_dir / "last.pth"
    last.write_bytes(last.read_bytes()[:-500])
    assert "is damaged or no checkpoint" in run.refused("train.epochs=2", words=("--resume",))


# ---- disks ----


@pytest.mark.parametrize(("call", "number"), [("fsync", errno.ENOSPC), ("replace", errno.EROFS)])
def test_a_disk_that_fills_up_costs_nothing_that_was_kept(run, monkeypatch, call, number):
    run.tree["train"]["epochs"] = 4
    assert run("train.epochs=2")[0] == 0
    before = (run.work_dir / "last.pth").read_bytes()
    real = getattr(os, call)

    def full(target, *others):
        name = target if call == "replace" else os.readlink(f"/proc/self/fd/{target}")
        if ".last.pth." in str(name):
            raise OSError(number, os.strerror(number))
        return real(target, *others)

    monkeypatch.setattr(os, call, full)
    text = run.refused(words=("--resume",))
    monkeypatch.undo()
    assert f"cannot write {run.work_dir / 'last.pth'}: {os.strerror(number)}" in text
    assert "nothing was left half-written" in text
    assert (run.work_dir / "last.pth").read_bytes() == before
    assert not list(run.work_dir.glob(".last*"))
    assert run(words=("--resume",))[0] == 0
    assert read_checkpoint(run.work_dir / "last.pth")["meta"]["epoch"] == 4


@pytest.mark.parametrize("place", ["file/run", "file", "/proc/nobody/run", "x" * 300])
def test_a_work_dir_that_cannot_be_made(run, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    run.work_dir = tmp_path / "new" / place if place.startswith("x") else tmp_path / place
    text = run.refused()
    assert f"cannot use {run.work_dir} as a work dir" in text
    assert "--work-dir" in text
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "new").exists()


# ---- two runs and one folder ----


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_is_not_overwritten(run):
    assert run()[0] == 0
    before = contents(run.work_dir)
    assert "already holds a run: add --resume" in run.refused()
    assert contents(run.work_dir) == before


def test_a_run_that_lives_in_another_process_is_left_alone(run, tmp_path):
    code = "import sys\nfrom wtal_bench.running.workdir import WorkDir\n"
    code += "held = WorkDir(sys.argv[1])\nprint(flush=True)\ninput()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(run.work_dir)], **pipes) as other:
        other.stdout.readline()
        for _ in range(2):  # a refused run must not take the other one's lock away
            assert "another run is using" in run.refused()
            assert (run.work_dir / ".lock").is_file()
        other.kill()
    assert run()[0] == 0  # nobody holds it now, however the other one ended


def test_a_run_is_not_resumed_under_another_config(run):
    assert run()[0] == 0
    before = (run.work_dir / "config.json").read_bytes()
    options = ["train.lr=0.5", "model.heads.pre.dropout=0.1", "runtime.seed=3"]
    text = run.refused(*options, words=("--resume",))
    assert "differs from the one this run began with in model.heads.pre.dropout, runtime.seed, train.lr" in text
    assert (run.work_dir / "config.json").read_bytes() == before
    assert run("train.epochs=2", "test.batch_size=3", words=("--resume",))[0] == 0  # longer, and where it runs


def test_what_changes_no_result_may_differ_when_a_run_is_resumed(run):
    assert run("train.epochs=1")[0] == 0
    words = ("train.epochs=2", "runtime.decode_workers=1", "runtime.example=true", "runtime.log_interval=5")
    assert run(*words, words=("--resume",)) == (0, "")
    config = run.work_dir / "config.json"
    before = json.loads(config.read_text())
    del before["runtime"]["example"]  # as runs left it that began before there was the setting
    config.write_text(json.dumps(before))
    assert run("train.epochs=3", words=("--resume",))[0] == 0


def test_nothing_is_resumed_where_nothing_ran(run):
    assert "holds no run to resume; start without --resume" in run.refused_before_it_began(words=("--resume",))


@pytest.mark.parametrize("words", [(), ("--resume",)])
def test_a_run_killed_before_its_first_checkpoint_begins_anew(run, words):
    run.work_dir.mkdir()
    (run.work_dir / "config.json").write_text('{"method": "what was begun"}')
    assert run(words=words)[0] == 0
    assert json.loads((run.work_dir / "config.json").read_text())["method"] == "ecm"


def test_a_folder_somebody_made_is_not_taken_away(run):
    run.work_dir.mkdir()
    (run.work_dir / "notes.txt").write_text("mine")
    run.refused("model.heads.pre.dropuot=0.1")
    assert [path.name for path in run.work_dir.iterdir()] == ["notes.txt"]
