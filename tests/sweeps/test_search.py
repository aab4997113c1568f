"""A search: trials are drawn once and for all, scored on held-out videos, and shown best first."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from tests.running.conftest import PROTOCOL, dataset, no_pictures, tiny_config
from wtal_bench.cli import main
from wtal_bench.errors import ConfigError
from wtal_bench.running import plan
from wtal_bench.running.config import load_config
from wtal_bench.sweeps.search import config_lines, load_search

__all__ = ["dataset", "no_pictures"]

SPACE = (
    "train.lr: {log_uniform: [1e-4, 1e-1]}, train.batch_size: [2, 4], model.heads.pre.dropout: {uniform: [0.1, 0.7]}"
)


def search_file(folder: Path, space: str = SPACE, **keys) -> Path:
    lines = [f"  {key}: {value}" for key, value in keys.items()]
    path = folder / "search.yaml"
    path.write_text("\n".join(["base: base.json", "search:", *lines, f"  space: {{{space}}}"]))
    return path


@pytest.fixture
def here(dataset, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.json").write_text(json.dumps(tiny_config(dataset, epochs=1)))
    return tmp_path


def records(here: Path) -> dict[str, dict]:
    return {
        path.parents[2].name: json.loads(path.read_text())
        for path in here.glob("work_dirs/sweep/search/*/seed0/record/*.json")
    }


def test_a_search_tries_the_recipe_first_and_shows_all_trials_best_first(here, capsys):
    search_file(here, trials=3)
    assert main(["sweep", "search.yaml", "--out", "trials.csv"]) == 0
    printed = capsys.readouterr().out
    found = records(here)
    assert len(found) == 3
    assert "recipe" in found
    for record in found.values():
        assert record["protocol"]["name"] == f"{PROTOCOL}@holdout"
    scores = {
        name: record["metrics"]["variants"]["activitynet"]["averages"]["0.1:0.7"] for name, record in found.items()
    }
    rows = list(csv.DictReader((here / "trials.csv").open()))
    assert [row["trial"] for row in rows] == sorted(scores, key=scores.get, reverse=True)
    assert [float(row["mAP@0.1:0.7"]) for row in rows] == pytest.approx(
        [100 * scores[row["trial"]] for row in rows], abs=0.006
    )
    best = next(row for row in rows if row["trial"] != "recipe")
    assert found[best["trial"]]["config"]["train"]["lr"] == float(best["train.lr"])
    assert ("in the config:" in printed) == (rows[0]["trial"] != "recipe")
    assert main(["sweep", "search.yaml", "--out", "trials.md"]) == 0
    assert "3 done (read, not trained again)" in capsys.readouterr().out
    assert "| train.lr |" in (here / "trials.md").read_text()


def test_more_trials_and_further_keys_leave_the_draws_what_they_were(tmp_path):
    first = load_search(search_file(tmp_path, trials=5)).points()
    more = load_search(search_file(tmp_path, trials=9)).points()
    assert more[:5] == first
    assert (len(more), first[0]) == (9, {})
    wider = load_search(search_file(tmp_path, SPACE + ", train.eps: {choice: [1e-8, 1e-6]}", trials=5)).points()
    assert [{key: point[key] for key in first[1]} for point in wider[1:]] == first[1:]
    assert load_search(search_file(tmp_path, trials=5, seed=1)).points() != first
    for point in first[1:]:
        assert 1e-4 <= point["train.lr"] <= 1e-1


def test_a_grid_is_tried_whole_or_as_many_points_of_it_as_asked_for(tmp_path):
    space = "train.lr: [1e-3, 1e-4], train.batch_size: [2, 4, 8]"
    whole = load_search(search_file(tmp_path, space)).points()
    assert len(whole) == 7
    assert whole[1] == {"train.lr": 1e-3, "train.batch_size": 2}
    some = load_search(search_file(tmp_path, space, trials=4)).points()
    assert len(some) == 4
    assert all(point in whole for point in some)
    few = load_search(search_file(tmp_path, "train.lr: {choice: [1e-3, 1e-4]}", trials=9)).points()
    assert len(few) == 3, "a small space runs out, and no trial is made twice"


@pytest.mark.parametrize(
    ("space", "trials"),
    [
        ("train.lr: [1e-3, 1e-2], train.batch_size: [2, 4]", 4),  # its own: 1e-3 and 4
        ("train.eps: [1.0e-8, 1e-6]", 2),  # the default of a setting it leaves out
        ("model.postprocessor.thresholds_of: [null, 20]", 2),  # a component's default
        ("model.postprocessor.min_length: [null, 3]", 3),  # which is not null
        ("train.lr: [3e-3, 1e-2]", 3),  # not in the grid
        ("train.lr: {choice: [1e-3, 1e-2]}", 2),
    ],
)
def test_the_recipes_own_point_of_a_grid_is_tried_once(here, space, trials):
    search = load_search(search_file(here, space))
    rows = search.rows(load_config(here / "base.json"))
    assert rows[0].name == "recipe"
    assert len({row.name for row in rows}) == len(rows) == trials


@pytest.mark.parametrize(
    ("space", "keys", "said"),
    [
        (SPACE, {"held_out": "test"}, "have seen the test"),
        (SPACE, {"held_out": "world0"}, "have seen the test"),
        (SPACE, {"held_out": "train"}, "trained on"),
        (SPACE, {"held_out": "valid"}, "hold no video of subset 'valid'"),
        (SPACE, {"trails": 3}, "Did you mean 'trials'"),
        (SPACE, {"trials": 1}, "from 2 to"),
        (SPACE, {"seed": -1}, "from 0 to"),
        (SPACE, {"metric": "mAP@7"}, "expected 'average' or a tIoU"),
        ("train.lr: {log_uniform: [0, 1]}", {}, "has no logarithm"),
        ("train.lr: {uniform: [1, 0]}", {}, "the lower one first"),
        ("train.lr: {unifrom: [0, 1]}", {}, "Did you mean 'uniform'"),
        ("train.lr: 3", {}, "write a list of values"),
        ("train.lr: []", {}, "a list of values is needed"),
        ("model.backbone.dropout: [0.1, 0.2]", {}, "has no argument 'dropout'"),
        ("train.lrr: [1, 2]", {}, "Did you mean 'lr'"),
        ("data.protocol: [synthetic/v2]", {}, "no setting of a method"),
        ("runtime.seed: [1, 2]", {}, "no setting of a method"),
        ("", {}, "dotted keys and what they may be"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_anything_trains(here, capsys, space, keys, said):
    search_file(here, space, **keys)
    assert main(["sweep", "search.yaml"]) == 2
    assert said in capsys.readouterr().err
    assert not list(here.rglob("last.pth"))


def test_rows_and_a_search_are_two_files(here):
    (here / "both.yaml").write_text("base: base.json\nrows: [{name: a}]\nsearch: {space: {train.lr: [1, 2]}}\n")
    with pytest.raises(ConfigError, match="Make two files of it"):
        load_search("both.yaml")


def test_the_plan_is_shown_with_an_estimate_from_the_runs_that_are_done(here, capsys):
    search_file(here, trials=4)
    assert main(["sweep", "search.yaml", "--dry-run"]) == 0
    assert "4 runs to make; how long they take is known when the first is done" in capsys.readouterr().out
    assert main(["sweep", "search.yaml", "--rows", "recipe"]) == 0
    capsys.readouterr()
    assert main(["sweep", "search.yaml", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "3 runs to make, about" in printed
    assert "done" in printed


def test_settings_are_written_as_a_config_has_them():
    point = {"train.lr": 0.001, "model.backbone.dropout": 0.5, "model.heads.a b.c": [1, 2], "train.epochs": 3}
    assert config_lines(point) == [
        "train = dict(lr=0.001, epochs=3)",
        "model = dict(backbone=dict(dropout=0.5), heads={'a b': dict(c=[1, 2])})",
    ]


def test_a_trial_that_diverges_is_shown_as_failed_and_the_others_go_on(here, capsys):
    search_file(here, "train.lr: [1e30, 1e-2]")
    assert main(["sweep", "search.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "failed: " in printed
    (last,) = (line for line in printed.splitlines() if "  failed  " in line)
    assert "1e+30" in last
    assert len(records(here)) == 2


SHIPPED = sorted((REPOSITORY / "configs" / "searches").glob("*.yaml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_method_gets_twelve_trials_and_its_recipe_is_a_point_of_its_search(file):
    search = load_search(file)
    recipe = load_config(search.base, named_by=file)
    assert (len(search.rows(recipe)), search.part) == (12, "world1.val")
    for key, value in search._own(recipe.resolved()).items():
        # FTCL's recipe leaves the first stage's rate to the config it names
        assert value in search.space[key].values or key == "train.init_from.options", (key, value)


DECODERS = "train.lr: [1e-3, 1e-2], model.postprocessor.class_threshold: [0.1, 0.3]"


@pytest.fixture
def trainings(monkeypatch) -> list[str]:
    """Folders of the runs that train."""
    begun, plain = [], plan.train

    def counted(config, work_dir, **options):
        begun.append(work_dir.path.parent.name)
        return plain(config, work_dir, **options)

    monkeypatch.setattr(plan, "train", counted)
    return begun


def test_trials_that_differ_in_their_decoder_alone_train_once(here, trainings, capsys):
    search_file(here, DECODERS)
    assert main(["sweep", "search.yaml", "--dry-run"]) == 0
    assert capsys.readouterr().out.count("trained alike") == 2
    assert main(["sweep", "search.yaml", "--seeds", "0", "1"]) == 0
    assert "4 to train, 4 to score (trained as another)" in capsys.readouterr().out
    assert len(trainings) == 4  # two rates, two seeds
    shared = records(here)
    assert len(shared) == 4
    assert main(["sweep", "search.yaml", "--seeds", "0", "1"]) == 0
    assert "8 done (read, not trained again)" in capsys.readouterr().out
    for name, record in shared.items():  # each is what its own training would have left
        alone = trained_alone(here, name, record["config"])
        for key in ("metrics", "trained", "seed", "parent", "selection", "data", "diagnosis"):
            assert record[key] == alone[key], (name, key)
        assert record["detections"]["sha256"] == alone["detections"]["sha256"]
        assert set(record["cost"]) == set(alone["cost"])
        assert (here / f"work_dirs/sweep/search/{name}/seed0/last.pth").is_file()


def trained_alone(here: Path, name: str, like: dict) -> dict:
    config = load_config(
        here / "base.json",
        [f"train.lr={like['train']['lr']}", f"data.protocol={like['data']['protocol']}",
         f"model.postprocessor.class_threshold={like['model']['postprocessor']['class_threshold']}"],
    )  # fmt: skip
    return plan.execute(plan.Planned(config, here / "alone" / name)).record


def test_a_trial_trains_itself_where_the_shared_weights_are_gone(here, trainings):
    search_file(here, DECODERS)
    assert main(["sweep", "search.yaml", "--rows", "recipe"]) == 0
    (here / "work_dirs/sweep/search/recipe/seed0/last.pth").unlink()
    assert main(["sweep", "search.yaml"]) == 0
    assert len(trainings) == 3  # the recipe once, its neighbour, the other rate
    assert len(records(here)) == 4


@pytest.mark.parametrize("change", ["train.selection=val_holdout", "train.val_interval=1"])
def test_what_is_picked_by_its_scores_is_not_shared(here, capsys, change):
    search_file(here, DECODERS)
    assert main(["sweep", "search.yaml", "--dry-run", "--cfg-options", change]) == 0
    assert "trained alike" not in capsys.readouterr().out
