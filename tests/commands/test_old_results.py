"""Old results are not passed off as new: a sweep, a parent and a resumed run are compared with what is asked for."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import pytest
import torch

from tests.helpers import REPOSITORY, shared_file
from tests.running.conftest import make_dataset, tiny_config
from wtal_bench.cli import main
from wtal_bench.leaderboard.record import newest_record
from wtal_bench.running.checkpoint import read_checkpoint
from wtal_bench.running.config import load_config
from wtal_bench.running.plan import BEGUN, DONE, NEW, execute, plan_seeds

ROWS = """
base: my.json
rows:
  - name: a
    options: {train.lr: 0.002}
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own(here) -> Path:
    """A data set that a test may change."""
    return make_dataset(here / "data")


def write(name: str, dataset: Path, **train) -> None:
    Path(name).write_text(json.dumps(tiny_config(dataset, **({"epochs": 1} | train))))


def record(run: Path) -> dict:
    (path,) = (run / "record").glob("*.json")
    return json.loads(path.read_text())


def sweep(*words: str) -> int:
    return main(["sweep", "rows.yaml", "--work-dir", "out", "--metric", "average", *words])


def edit_tree(path: Path, change) -> None:
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def other_features(folder: Path) -> None:
    other = make_dataset(folder.parent / "other", videos=13)
    shutil.rmtree(folder / "features")
    shutil.move(other / "features", folder / "features")
    shutil.rmtree(other)


# ---- sweep ----


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda own: Path("rows.yaml").write_text(ROWS.replace("0.002", "0.9")), "train.lr (0.002 -> 0.9)"),
        (lambda own: write("my.json", own, weight_decay=0.1), "train.weight_decay (0.0 -> 0.1)"),
        (lambda own: write("my.json", own, epochs=3), "train.epochs (1 -> 3)"),
        (other_features, "the features (manifest hash "),
        (
            lambda own: edit_tree(own / "annotations.json", lambda tree: tree.update(version="2")),
            "the annotations (SHA-256 ",
        ),
    ],
    ids=["row", "base", "epochs", "features", "annotations"],
)
def test_a_sweep_refuses_what_an_earlier_call_left_of_another_run_or_trains_again(own, here, capsys, change, said):
    write("my.json", own)
    Path("rows.yaml").write_text(ROWS)
    assert sweep() == 0
    old = record(here / "out" / "rows" / "a" / "seed0")
    assert "1 runs: 1 to train" in capsys.readouterr().out
    assert sweep() == 0
    assert "1 runs: 1 done (read, not trained again)" in capsys.readouterr().out
    change(own)
    assert sweep() == 2
    error = capsys.readouterr().err
    assert said in error
    assert "--again" in error
    assert record(here / "out" / "rows" / "a" / "seed0") == old
    assert sweep("--again") == 0
    assert said in capsys.readouterr().out
    new = record(here / "out" / "rows" / "a" / "seed0")
    assert (new["config"], new["features"], new["annotations"]) != (old["config"], old["features"], old["annotations"])
    assert record(here / "out" / "rows" / "a" / "replaced" / "seed0-1") == old
    assert sweep() == 0


def test_a_record_of_another_seed_is_not_taken_for_this_one(dataset, here, capsys):
    write("my.json", dataset)
    Path("rows.yaml").write_text(ROWS)
    assert sweep("--seeds", "1") == 0
    shutil.copytree(here / "out" / "rows" / "a" / "seed1", here / "out" / "rows" / "a" / "seed0")
    capsys.readouterr()
    assert sweep() == 2
    assert "seed (1 -> 0)" in capsys.readouterr().err
    write("my.json", dataset, checkpoint_interval=7)  # which changes no bit
    assert sweep("--seeds", "1") == 0
    assert "1 done (read, not trained again)" in capsys.readouterr().out
    assert sweep("--seeds", "2", "2") == 2
    assert "seed 2 stands twice" in capsys.readouterr().err


def test_an_unfinished_run_of_another_config_is_found_before_anything_trains(dataset, here, capsys):
    write("my.json", dataset, epochs=2)
    Path("rows.yaml").write_text(ROWS)
    assert sweep() == 0
    run = here / "out" / "rows" / "a" / "seed0"
    shutil.rmtree(run / "record")
    write("my.json", dataset, epochs=2, clip=1.0)
    capsys.readouterr()
    assert sweep("--seeds", "3", "0") == 2
    assert "seed0 (begun): train.clip (None -> 1.0)" in capsys.readouterr().err
    assert not (here / "out" / "rows" / "a" / "seed3").exists()
    write("my.json", dataset, epochs=1)
    assert sweep() == 2
    assert "has been trained for 2 epochs" in capsys.readouterr().err
    write("my.json", dataset, epochs=3)
    assert sweep() == 0
    assert "1 begun (resumed)" in capsys.readouterr().out
    assert read_checkpoint(run / "last.pth")["meta"]["epoch"] == 3


def test_the_shared_case_of_a_stale_sweep(here, capsys):
    case = shared_file("cases/attack-sweep_stale/rows.yaml").parent
    folder = here / "w" / "resume"
    shutil.copytree(case, folder, copy_function=shutil.copyfile)
    (folder / "configs").symlink_to(REPOSITORY / "configs")
    config = folder / "ecm.py"  # written when the first generator was there
    config.write_text(config.read_text().replace("synthetic_tiny/v1", "synthetic_tiny/v2"))
    rows = folder / "rows.yaml"
    rows.write_text(rows.read_text().replace("w/resume/", ""))
    stale = rows.read_text()
    rows.write_text(stale.replace("0.9", "0.001").replace("train.epochs: 2", "train.epochs: 1"))
    words = ["sweep", str(rows), "--work-dir", "out"]
    assert main(words) == 0
    rows.write_text(stale)
    capsys.readouterr()
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "train.epochs (1 -> 2), train.lr (0.001 -> 0.9)" in error


# ---- init_from ----


def test_a_parent_of_another_config_is_not_begun_from(dataset, here, capsys):
    write("parent.json", dataset)
    write("child.json", dataset, init_from={"config": "parent.json"})
    assert main(["train", "child.json", "--work-dir", "run"]) == 0
    write("parent.json", dataset, lr=0.5)
    capsys.readouterr()
    words = ["train", "child.json", "--work-dir", "run", "--resume", "--cfg-options", "train.epochs=2"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "run/init holds the run that child.json begins from" in error
    assert "train.lr (0.001 -> 0.5)" in error
    # killed between the parent's training and the child's first checkpoint: the old parent is no start for the new one
    for path in (here / "run").iterdir():
        shutil.rmtree(path) if path.is_dir() and path.name != "init" else path.is_file() and path.unlink()
    assert main(["train", "child.json", "--work-dir", "run"]) == 2
    assert "remove run" in capsys.readouterr().err
    assert main(["train", "child.json", "--work-dir", "anew"]) == 0
    assert record(here / "anew" / "init")["config"]["train"]["lr"] == 0.5


def test_a_sweep_sees_through_to_the_parent_of_a_row(dataset, here, capsys):
    write("parent.json", dataset)
    write("my.json", dataset, init_from={"config": "parent.json"})
    Path("rows.yaml").write_text(ROWS)
    assert sweep() == 0
    write("parent.json", dataset, lr=0.5)
    capsys.readouterr()
    assert sweep() == 2
    assert "init: train.lr (0.001 -> 0.5)" in capsys.readouterr().err
    assert sweep("--again") == 0
    assert record(here / "out" / "rows" / "a" / "seed0" / "init")["config"]["train"]["lr"] == 0.5


def test_what_a_row_is_compared_with_is_trained_again_and_begun_from_anew(dataset, here, capsys):
    write("host.json", dataset)
    write("my.json", dataset, init_from={"config": "host.json"})
    Path("rows.yaml").write_text("rows: [{name: a, base: my.json, against: host.json}]")
    words = ["sweep", "rows.yaml", "--work-dir", "out"]
    assert main(words) == 0
    write("host.json", dataset, lr=0.5)
    assert main(words) == 2
    assert main([*words, "--again"]) == 0
    row, host = (here / "out" / "rows" / name / "seed0" for name in ("a", "against_host"))
    assert record(host)["config"]["train"]["lr"] == 0.5
    assert record(row)["parent"] == record(host)["id"]
    assert (here / "out" / "rows" / "a" / "replaced" / "seed0-1").is_dir()


def test_a_run_begun_from_another_run_of_the_same_folder_is_not_resumed(dataset, here, capsys):
    write("parent.json", dataset)
    write("child.json", dataset, init_from="parent")
    assert main(["train", "parent.json", "--work-dir", "parent"]) == 0
    assert main(["train", "child.json", "--work-dir", "run"]) == 0
    shutil.rmtree("parent")
    assert main(["train", "parent.json", "--seed", "4", "--work-dir", "parent"]) == 0
    capsys.readouterr()
    assert main(["train", "child.json", "--work-dir", "run", "--resume", "--cfg-options", "train.epochs=2"]) == 2
    assert "the run whose weights it began from (train.init_from; record ecm-s0-" in capsys.readouterr().err


# ---- resume ----


def resume(*options: str) -> int:
    return main(["train", "my.json", "--work-dir", "run", "--resume", "--cfg-options", *options])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_features, "the features (manifest hash "),
        (
            lambda own: edit_tree(
                own / "annotations.json", lambda tree: tree["videos"]["train_000"]["segments"][0].update(start=0.5)
            ),
            "the annotations (SHA-256 ",
        ),
        (lambda own: Path("ids.txt").write_text("\n".join(f"{s}_{n:03d}" for s in ("train", "test") for n in range(9))),
         "the list of videos of data.only (hash "),
    ],
    ids=["features", "annotations", "only"],
)  # fmt: skip
def test_a_run_is_not_resumed_on_other_data(own, here, capsys, change, said):
    ids = [f"{subset}_{number:03d}" for subset in ("train", "test") for number in range(8)]
    Path("ids.txt").write_text("\n".join(ids))
    tree = tiny_config(own, epochs=1)
    tree["data"]["only"] = "ids.txt"
    Path("my.json").write_text(json.dumps(tree))
    assert main(["train", "my.json", "--work-dir", "run"]) == 0
    before = (here / "run" / "last.pth").read_bytes(), (here / "run" / "config.json").read_bytes()
    change(own)
    capsys.readouterr()
    assert resume("train.epochs=2") == 2
    error = capsys.readouterr().err
    assert "run cannot be resumed" in error
    assert said in error
    assert before == ((here / "run" / "last.pth").read_bytes(), (here / "run" / "config.json").read_bytes())


def test_the_shared_case_of_changed_features(own, here, capsys):
    source = shared_file("cases/attack-resume_features_changed/own.py").read_text()
    Path("configs").symlink_to(REPOSITORY / "configs")
    text = source.replace("w/resume/own", "data").replace("in_channels=32", "in_channels=8")
    Path("own.py").write_text(text.replace("epochs=12", "epochs=1"))
    assert main(["train", "own.py", "--work-dir", "run"]) == 0
    other_features(own)
    Path("own.py").write_text(text)
    capsys.readouterr()
    assert main(["train", "own.py", "--work-dir", "run", "--resume"]) == 2
    assert "cannot be resumed: it began with other data" in capsys.readouterr().err


@pytest.mark.parametrize(("unit", "first", "fewer"), [("epochs", 3, 2), ("iterations", 8, 7)])
def test_less_training_than_there_was_is_refused(dataset, here, capsys, unit, first, fewer):
    tree = tiny_config(dataset)
    del tree["train"]["epochs"]
    tree["train"][unit] = first
    Path("my.json").write_text(json.dumps(tree))
    assert main(["train", "my.json", "--work-dir", "run"]) == 0
    old = record(here / "run")
    assert resume(f"train.{unit}={fewer}") == 2
    error = capsys.readouterr().err
    assert f"has been trained for {first} {unit}, train.{unit}={fewer} asks for fewer" in error
    assert json.loads((here / "run" / "config.json").read_text())["train"][unit] == first
    assert record(here / "run") == old
    assert resume(f"train.{unit}={first}") == 0


def test_another_processor_is_said_when_a_run_is_resumed_and_its_record_keeps_both(dataset, here, capsys, monkeypatch):
    write("my.json", dataset)
    processor = "wtal_bench.running.provenance.processor"
    monkeypatch.setattr(processor, lambda: "Old, AVX2")
    assert main(["train", "my.json", "--work-dir", "run"]) == 0
    monkeypatch.setattr(processor, lambda: "New, AVX512")
    assert resume("train.epochs=2") == 0
    assert "resumed with device cpu (New, AVX512) (was cpu (Old, AVX2))" in capsys.readouterr().out
    records = [json.loads(path.read_text()) for path in (here / "run" / "record").glob("*.json")]
    first, environment = sorted((kept["environment"] for kept in records), key=lambda found: "before" in found)
    assert (first["device"], environment["device"]) == ("cpu (Old, AVX2)", "cpu (New, AVX512)")
    assert [machine["device"] for machine in environment["before"]] == ["cpu (Old, AVX2)"]


def test_a_checkpoint_says_what_it_was_made_from_and_another_thread_count_is_said(dataset, here, capsys):
    write("my.json", dataset)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert main(["train", "my.json", "--work-dir", "run"]) == 0
        meta, kept = read_checkpoint(here / "run" / "last.pth")["meta"], record(here / "run")
        assert meta["made_from"]["features"] == kept["features"]["manifest_hash"]
        assert meta["made_from"]["annotations"] == kept["annotations"]["sha256"]
        (machine,) = meta["machines"]
        assert (machine["threads"], machine["torch"]) == (1, torch.__version__)
        assert kept["environment"]["threads"] == 1
        assert resume("train.epochs=2") == 0
        assert "resumed with" not in capsys.readouterr().out
        torch.set_num_threads(2)
        assert resume("train.epochs=3") == 0
        assert "note: resumed with threads 2 (was 1): the same bits come only from" in capsys.readouterr().out
        assert resume("train.epochs=4") == 0  # nothing new to say, and nothing forgotten
        assert "resumed with" not in capsys.readouterr().out
    finally:
        torch.set_num_threads(threads)
    meta = read_checkpoint(here / "run" / "last.pth")["meta"]
    assert [machine["threads"] for machine in meta["machines"]] == [1, 2]
    newest = json.loads(newest_record(here / "run").read_text())
    assert newest["environment"]["threads"] == 2
    assert [machine["threads"] for machine in newest["environment"]["before"]] == [1]


# ---- plans ----


def test_a_plan_is_plain_data_that_another_process_executes(dataset, here):
    write("my.json", dataset)
    runs = plan_seeds(load_config("my.json"), [0, 1], lambda seed: here / f"seed{seed}")
    assert [(run.state, run.config.runtime.seed) for run in runs] == [(NEW, 0), (NEW, 1)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (left,) = pool.map(execute, runs[:1])
    assert left.record["seed"] == 0
    again = plan_seeds(load_config("my.json"), [0, 1], lambda seed: here / f"seed{seed}")
    assert [run.state for run in again] == [DONE, NEW]
    assert execute(again[0], out=lambda line: None).record == left.record
    (here / "seed0" / "record").rename(here / "gone")
    assert plan_seeds(load_config("my.json"), [0], lambda seed: here / f"seed{seed}")[0].state == BEGUN
