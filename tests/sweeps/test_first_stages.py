"""What several rows begin from (`train.init_from`) is trained once a seed, and each row is what training it gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.running.conftest import dataset, no_pictures, tiny_config
from wtal_bench.cli import main
from wtal_bench.running import plan
from wtal_bench.running.config import load_config

__all__ = ["dataset", "no_pictures"]

ROWS = """
base: second.json
method: ecm
rows:
  - {name: slow, options: {train.lr: 1.0e-4}}
  - {name: fast, options: {train.lr: 1.0e-2}}
  - {name: longer_before, options: {train.init_from: {config: first.json, options: [train.epochs=2]}}}
"""


@pytest.fixture
def here(dataset, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first.json").write_text(json.dumps(tiny_config(dataset, epochs=1)))
    (tmp_path / "second.json").write_text(
        json.dumps(tiny_config(dataset, epochs=1, init_from={"config": "first.json"}))
    )
    (tmp_path / "rows.yaml").write_text(ROWS)
    return tmp_path


def record(run: Path) -> dict:
    (path,) = run.glob("record/*.json")
    return json.loads(path.read_text())


def first_stages(here: Path) -> list[Path]:
    return sorted(here.glob("work_dirs/sweep/rows/init_*/seed*"))


def began_from(run: Path) -> str:
    """The folder whose weights lie in a run's `init/`."""
    weights = run / "init" / "last.pth"
    assert not weights.is_symlink()
    stages = [stage for stage in run.parents[1].glob("*/seed*/last.pth") if stage.samefile(weights)]
    return stages[0].parents[1].name


def test_rows_with_one_first_stage_train_it_once_a_seed(here, capsys):
    assert main(["sweep", "rows.yaml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if ": begins from init_first-" in line] == ["slow", "fast"]
    assert main(["sweep", "rows.yaml", "--seeds", "0", "1"]) == 0
    printed = capsys.readouterr().out
    assert "8 runs: 8 to train" in printed  # three rows, and the first stage of two of them
    assert "== slow/seed1 (" in printed, "which run the lines behind it are of"
    assert printed.count("first (train.init_from)") == 2, "a row that shares its first stage with none trains its own"
    stages = first_stages(here)
    assert [stage.name for stage in stages] == ["seed0", "seed1"]
    for stage in stages:
        for row in ("slow", "fast"):
            run = here / "work_dirs/sweep/rows" / row / stage.name
            assert began_from(run) == stage.parent.name
            assert record(run)["parent"] == record(stage)["id"]
    assert main(["sweep", "rows.yaml", "--seeds", "0", "1"]) == 0
    assert "6 runs: 6 done" in capsys.readouterr().out


def test_a_row_is_what_it_is_with_a_first_stage_of_its_own(here):
    assert main(["sweep", "rows.yaml", "--rows", "slow", "fast"]) == 0
    for name, rate in (("slow", 1e-4), ("fast", 1e-2)):
        config = load_config(here / "second.json", [f"train.lr={rate}"])
        alone = plan.execute(plan.Planned(config, here / "alone" / name)).record
        shared = record(here / "work_dirs/sweep/rows" / name / "seed0")
        for key in ("metrics", "trained", "seed", "selection", "data", "diagnosis"):
            assert shared[key] == alone[key], (name, key)
        assert shared["detections"]["sha256"] == alone["detections"]["sha256"]


def test_a_row_that_comes_later_begins_from_what_is_there(here, capsys):
    assert main(["sweep", "rows.yaml", "--rows", "slow"]) == 0
    assert first_stages(here) == [], "one row alone trains its own"
    assert main(["sweep", "rows.yaml", "--rows", "slow", "fast"]) == 0
    assert first_stages(here) == []
    (here / "work_dirs").rename(here / "before")
    assert main(["sweep", "rows.yaml", "--rows", "slow", "fast"]) == 0
    (stage,) = first_stages(here)
    (here / "rows.yaml").write_text(f"{ROWS}  - {{name: faster, options: {{train.lr: 0.1}}}}\n")
    capsys.readouterr()
    assert main(["sweep", "rows.yaml", "--rows", "faster"]) == 0
    assert "2 runs: 1 done (read, not trained again), 1 to train" in capsys.readouterr().out
    assert began_from(here / "work_dirs/sweep/rows/faster/seed0") == stage.parent.name


def test_a_first_stage_of_another_precision_is_another(here):
    text = "  - {name: bf16, options: {runtime.precision: bf16}}"
    (here / "rows.yaml").write_text(f"{ROWS}{text}\n")
    assert main(["sweep", "rows.yaml", "--rows", "slow", "bf16"]) == 0
    assert first_stages(here) == []


def test_a_first_stage_that_changed_is_refused_and_made_anew_on_demand(here, dataset, capsys):
    assert main(["sweep", "rows.yaml", "--rows", "slow", "fast"]) == 0
    (before,) = first_stages(here)
    (here / "first.json").write_text(json.dumps(tiny_config(dataset, epochs=2)))
    capsys.readouterr()
    assert main(["sweep", "rows.yaml", "--rows", "slow", "fast"]) == 2
    assert "are not passed off as them" in capsys.readouterr().err
    assert main(["sweep", "rows.yaml", "--rows", "slow", "fast", "--again"]) == 0
    (stage,) = [stage for stage in first_stages(here) if stage != before]
    assert record(stage)["trained"]["epochs"] == 2
    for row in ("slow", "fast"):
        assert record(here / "work_dirs/sweep/rows" / row / "seed0")["parent"] == record(stage)["id"]


def test_a_moved_sweep_goes_on_and_still_knows_what_its_rows_began_from(here, dataset, capsys):
    assert main(["sweep", "rows.yaml", "--rows", "slow", "fast"]) == 0
    moved = ["sweep", "rows.yaml", "--rows", "slow", "fast", "--work-dir", "moved"]
    (here / "work_dirs/sweep").rename(here / "moved")
    shutil.rmtree(here / "moved/rows/fast/seed0/record")  # as if it had been killed before its end
    assert main(moved) == 0
    assert "1 done (read, not trained again), 1 begun (resumed)" in capsys.readouterr().out
    (here / "first.json").write_text(json.dumps(tiny_config(dataset, epochs=2)))
    assert main(moved) == 2
    assert "init: train.epochs (1 -> 2)" in capsys.readouterr().err
    shutil.rmtree(here / "moved/rows/slow/seed0/init")
    assert main(moved) == 2
    assert "is gone, so what it began from" in capsys.readouterr().err


def test_a_row_trained_again_leaves_replaced_runs_and_other_rows_what_they_were(here):
    assert main(["sweep", "rows.yaml", "--rows", "slow", "fast"]) == 0
    runs = [here / "work_dirs/sweep/rows" / row / "seed0" for row in ("slow", "fast")]
    before = [(run / "init/last.pth").read_bytes() for run in runs]
    tree = json.loads((here / "second.json").read_text())
    tree["train"]["init_from"]["options"] = ["train.lr=0.05"]
    (here / "second.json").write_text(json.dumps(tree))
    assert main(["sweep", "rows.yaml", "--rows", "fast", "--again"]) == 0
    slow, fast = runs
    assert (slow / "init/last.pth").read_bytes() == before[0]
    assert (fast.parent / "replaced/seed0-1/init/last.pth").read_bytes() == before[1]
    assert (fast / "init/last.pth").read_bytes() != before[1]


@pytest.mark.parametrize("setting", ["runtime.num_workers=1", "runtime.checkpoint_seconds=9"])
def test_settings_that_change_no_bit_keep_the_first_stage(here, capsys, setting):
    assert main(["sweep", "rows.yaml", "--rows", "slow", "fast"]) == 0
    (stage,) = first_stages(here)
    for row in ("slow", "fast"):
        shutil.rmtree(here / "work_dirs/sweep/rows" / row)
    capsys.readouterr()
    assert main(["sweep", "rows.yaml", "--rows", "slow", "fast", "--cfg-options", setting]) == 0
    assert "3 runs: 1 done (read, not trained again), 2 to train" in capsys.readouterr().out
    assert first_stages(here) == [stage]


def test_a_first_stage_without_weights_is_trained_by_the_row_itself(here):
    assert main(["sweep", "rows.yaml", "--rows", "slow", "fast"]) == 0
    for weights in (here / "work_dirs").rglob("*.pth"):
        weights.unlink()
    (here / "rows.yaml").write_text(f"{ROWS}  - {{name: faster, options: {{train.lr: 0.1}}}}\n")
    assert main(["sweep", "rows.yaml", "--rows", "faster"]) == 0
    assert (here / "work_dirs/sweep/rows/faster/seed0/init/last.pth").is_file()


def test_a_rival_that_rows_begin_from_is_trained_for_all_of_them(here, capsys):
    (here / "rows.yaml").write_text(
        "base: second.json\nmethod: ecm\nrows:\n"
        "  - {name: gain, against: first.json}\n"
        "  - {name: slow, options: {train.lr: 1.0e-4}}\n"
    )
    assert main(["sweep", "rows.yaml"]) == 0
    assert "3 runs: 3 to train" in capsys.readouterr().out
    for row in ("gain", "slow"):
        assert began_from(here / "work_dirs/sweep/rows" / row / "seed0") == "against_first"


def test_a_scored_row_keeps_its_weights_when_the_row_that_trained_them_changes(here):
    row = "  - {{name: {}, options: {{train.init_from: null, {}}}}}\n"
    head = "base: second.json\nmethod: ecm\nrows:\n"
    trained, scored = (
        row.format("a", "train.lr: 0.01"),
        row.format("b", "train.lr: 0.01, model.postprocessor.class_threshold: 0.15"),
    )
    (here / "rows.yaml").write_text(head + trained + scored)
    assert main(["sweep", "rows.yaml"]) == 0
    folder = here / "work_dirs/sweep/rows"
    before = (folder / "b/seed0/last.pth").read_bytes()
    (here / "rows.yaml").write_text(head + row.format("a", "train.lr: 0.5") + scored)
    assert main(["sweep", "rows.yaml", "--again"]) == 0
    assert (folder / "b/seed0/last.pth").read_bytes() == before != (folder / "a/seed0/last.pth").read_bytes()
    later = row.format("c", "train.lr: 0.01, model.postprocessor.class_threshold: 0.1")
    (here / "rows.yaml").write_text(head + row.format("a", "train.lr: 0.5") + scored + later)
    assert main(["sweep", "rows.yaml"]) == 0
    options = ["train.init_from=null", "train.lr=0.01", "model.postprocessor.class_threshold=0.1"]
    alone = plan.execute(plan.Planned(load_config(here / "second.json", options), here / "alone")).record
    assert record(folder / "c/seed0")["detections"]["sha256"] == alone["detections"]["sha256"]


def test_weights_of_another_run_are_not_scored(here):
    config = load_config(here / "first.json", ["model.postprocessor.class_threshold=0.15"])
    other = plan.execute(plan.Planned(load_config(here / "first.json", ["train.lr=0.5"]), here / "other"))
    said: list[str] = []
    run = plan.Planned(config, here / "scored", start=other.work_dir, scores=True)
    result = plan.execute(run, said.append)
    assert any("has no such weights any more: " in line for line in said)
    alone = plan.execute(plan.Planned(config, here / "alone"))
    assert result.record["detections"]["sha256"] == alone.record["detections"]["sha256"]
