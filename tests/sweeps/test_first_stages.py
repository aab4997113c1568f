"""What several rows begin from (`train.init_from`) is trained once a seed, and each row is what training it gives."""

from __future__ import annotations

import json
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


def test_rows_with_one_first_stage_train_it_once_a_seed(here, capsys):
    assert main(["sweep", "rows.yaml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if ": begins from init_first-" in line] == ["slow", "fast"]
    assert main(["sweep", "rows.yaml", "--seeds", "0", "1"]) == 0
    printed = capsys.readouterr().out
    assert "8 runs: 8 to train" in printed  # three rows, and the first stage of two of them
    assert printed.count("first (train.init_from)") == 2, "a row that shares its first stage with none trains its own"
    stages = first_stages(here)
    assert [stage.name for stage in stages] == ["seed0", "seed1"]
    for stage in stages:
        for row in ("slow", "fast"):
            run = here / "work_dirs/sweep/rows" / row / stage.name
            assert (run / "init").resolve() == stage
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
    assert (here / "work_dirs/sweep/rows/faster/seed0/init").resolve() == stage


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
