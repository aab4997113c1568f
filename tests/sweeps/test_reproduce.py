"""A whole field in one line: from imported features to a page of published and measured values.

The features are stand-ins on the real data set's names, durations and annotations, widths and epochs are small.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import shared_file
from wtal_bench.cli import main
from wtal_bench.data.store import FeatureStore
from wtal_bench.data.synthetic import stand_in
from wtal_bench.errors import ConfigError
from wtal_bench.modeling.facts import Facts
from wtal_bench.recipes import find, shipped_names
from wtal_bench.running.config import load_config
from wtal_bench.running.hooks import seed_everything
from wtal_bench.running.model_checks import check_model
from wtal_bench.sweeps import pilot
from wtal_bench.sweeps.plan import Asked
from wtal_bench.sweeps.reproduce import Known, load_field, plan_field

FILE = """
reproduce:
  profiles: [honest, published]
  seeds: [0, 1]
  recipes:
    - recipe: ecm_thumos.py
      options: &small
        model.backbone.in_channels: 16
        model.backbone.channels: 8
        model.heads.pre.channels: 8
        train.epochs: 1
        train.length: 60
        test.length: 60
    - recipe: mixes/cw_on_um_thumos.py
      options:
        model.backbone.in_channels: 16
        model.backbone.channels: 8
        model.heads.classifier.channels: 8
        train.iterations: 2
        train.length: 60
        test.length: 60
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    """A folder of data sets with THUMOS14 in it, written by `import-features` from one file a video and stream."""
    drawn = stand_in(
        shared_file("data/thumos14.json"), tmp_path_factory.mktemp("drawn") / "a", dim=8, fps=25.0, limit=8
    )
    store = FeatureStore.open(drawn / "features")
    files = tmp_path_factory.mktemp("files")
    for name in store.ids:
        np.save(files / f"{name}.npy", store.video(name))
    root = tmp_path_factory.mktemp("data")
    words = ["import-features", str(files), "--out", str(root / "thumos14" / "features"), "--extractor", "stand-in"]
    words += ["--fps", "25", "--stride", "16", "--streams", "rgb=8", "flow=8"]
    assert main([*words, "--annotations", str(drawn / "annotations.json")]) == 0
    (root / "thumos14" / "annotations.json").write_bytes((drawn / "annotations.json").read_bytes())
    return root


@pytest.fixture
def here(imported, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WTAL_DATA", str(imported))
    monkeypatch.setattr("wtal_bench.running.run.draw_example", lambda session, path: None)
    (tmp_path / "field.yaml").write_text(FILE)
    return tmp_path


@pytest.mark.slow
def test_one_line_goes_from_imported_features_to_a_page(here, capsys):
    assert main(["sweep", "field.yaml", "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert "hours of this CPU one after another, by 3 timed steps of each recipe here" in planned
    assert "6 runs" in planned
    assert main(["sweep", "field.yaml"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("hours of this CPU") < printed.index("epoch 1/")
    page = (here / "work_dirs/sweep/field/README.md").read_text()
    (ecm,) = (line for line in page.splitlines() if line.startswith("| ecm"))
    (mix,) = (line for line in page.splitlines() if "cw" in line and line.startswith("|"))
    cells = [cell.strip() for cell in ecm.split("|")[1:-1]]
    known = Known.read().printed(load_config("ecm_thumos"))
    assert cells[1:3] == [known.metric, f"{known.value:g}"]
    assert "±" in cells[3]
    assert "±" in cells[6]
    measured, difference = float(cells[3].split()[0]), float(cells[4])
    assert difference == pytest.approx(measured - float(cells[2]), abs=0.011)
    assert "40.8" in mix
    assert "FAC-Net Table 5" in mix
    records = list(here.glob("work_dirs/sweep/field/*/seed*/record/*.json"))
    assert len(records) == 6, "an idea on another's host has no published way to pick its checkpoint"
    assert main(["sweep", "field.yaml"]) == 0
    assert "nothing is left to do" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "dataset"), [("thumos14", "thumos"), ("activitynet13", "anet13")])
def test_the_shipped_fields_name_every_recipe_of_their_data_set_and_all_are_published(name, dataset):
    field = load_field(f"reproduce/{name}")
    files = {find(row.base, row.file, "row").resolve() for row in field.rows}
    shipped = [path for path in shipped_names() if path.endswith(f"_{dataset}.py") and "ablations" not in path]
    assert {path.name for path in files} == {Path(path).name for path in shipped}
    assert field.seeds == (0, 1, 2, 3, 4)
    assert field.profiles == ("honest", "published")
    known = Known.read()
    bare = [row.name for row in field.rows if known.printed(load_config(row.base, named_by=row.file)) is None]
    assert bare == []
    plan = plan_field(Asked(f"reproduce/{name}", Path("nowhere"), seeds=[0]), field)
    assert {contest.entry.config.profile for contest in plan.contests} == {"honest", "published"}
    assert sum(contest.entry.config.profile == "honest" for contest in plan.contests) == len(field.rows)


def test_planning_a_field_looks_at_a_host_once_and_draws_no_weights(tmp_path, monkeypatch):
    (tmp_path / "field.yaml").write_text(FILE)
    hosts, methods = [], []
    look = Facts.__init__

    def looked(self, config, where) -> None:
        hosts.append(where)
        look(self, config, where)

    def checked(config, **given):
        model = check_model(config, **given)
        methods.append(config.method)
        after = torch.get_rng_state()
        seed_everything(config.runtime.seed)
        # a plugin may draw in its own way, by torch.rand
        assert config.method != "ecm" or torch.equal(after, torch.get_rng_state()), "a weight was drawn"
        return model

    monkeypatch.setattr(Facts, "__init__", looked)
    monkeypatch.setattr("wtal_bench.sweeps.plan.check_model", checked)
    field = load_field(tmp_path / "field.yaml")
    plan = plan_field(Asked("field.yaml", tmp_path, seeds=[0, 1]), field)
    assert methods == [contest.entry.config.method for contest in plan.contests] == ["ecm", "um", "ecm"]
    assert len(hosts) == 2, "with its own settings, and with the row's; other profiles and its metric cost no look"


def test_recipes_with_the_same_steps_are_timed_once_and_pay_for_their_own_scoring(tmp_path, monkeypatch):
    (tmp_path / "field.yaml").write_text(FILE)
    field = load_field(tmp_path / "field.yaml")
    timed: list[str] = []

    def pace(config) -> pilot.Pace:
        timed.append(config.path)
        return pilot.Pace(training=100.0, test=10.0, end=4, device="cuda")

    monkeypatch.setattr(pilot, "timed", pace)
    lines: list[str] = []
    whole = pilot.hours(plan_field(Asked("field.yaml", tmp_path, seeds=[0]), field), lines.append)
    assert len(timed) == 2, "ecm once for its two profiles, and the mix"
    assert [line.split("about ")[1] for line in lines] == [
        "110 s a run, 1 to make",
        "110 s a run, 1 to make",
        "2.5 minutes a run, 1 to make",  # scored once an epoch
    ]
    assert whole.startswith("3 runs, about 0.1 GPU hours")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reproduce: []", "is a mapping with `recipes`"),
        ("reproduce: {recipes: []}", "is a list of configs"),
        ("reproduce: {recipes: [a.py], seed: [0]}", "Did you mean 'seeds'"),
        ("reproduce: {recipes: [a.py], seeds: [-1]}", "whole numbers"),
        ("reproduce: {recipes: [a.py], profiles: [published]}", "'honest' among them"),
        ("reproduce: {recipes: [a.py, b/a.py]}", "stand there twice"),
        ("reproduce: {recipes: [3]}", "is a config, or"),
    ],
)
def test_a_field_that_cannot_be_is_refused(tmp_path, text, said):
    (tmp_path / "field.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_field(tmp_path / "field.yaml")


def test_words_that_a_field_has_of_its_own_are_refused(tmp_path):
    (tmp_path / "field.yaml").write_text(FILE)
    field = load_field(tmp_path / "field.yaml")
    with pytest.raises(ConfigError, match="leave --profile"):
        plan_field(Asked("field.yaml", tmp_path, profile="published"), field)
    with pytest.raises(ConfigError, match="Did you mean 'ecm'"):
        plan_field(Asked("field.yaml", tmp_path, rows=["ecn"]), field)
