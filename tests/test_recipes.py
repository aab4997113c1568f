"""Where a name of a recipe leads: one rule for `_base_`, `init_from`, ablations and the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from wtal_bench.cli import main
from wtal_bench.errors import ConfigError
from wtal_bench.recipes import describe, find, name_of, read_tree, shipped_ideas, shipped_names, shipped_recipes
from wtal_bench.running.ablation import load_rows
from wtal_bench.running.config import load_config

SHIPPED = REPOSITORY / "configs"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# ---- finding ----


@pytest.mark.parametrize(
    "name",
    ["ecm_thumos", "ecm_thumos.py", "configs/ecm_thumos", "configs/ecm_thumos.py", "./configs/ecm_thumos.py",
     "wtal::ecm_thumos", "wtal::ecm_thumos.py", "wtal::configs/ecm_thumos.py"],
)  # fmt: skip
def test_every_spelling_leads_to_the_shipped_recipe(here, name):
    assert find(name).resolve() == SHIPPED / "ecm_thumos.py"
    assert find(name, here / "own.py").resolve() == SHIPPED / "ecm_thumos.py"


def test_folders_and_ablation_files_are_found_too(here):
    assert find("mixes/ten_on_ecm_synthetic").resolve() == SHIPPED / "mixes" / "ten_on_ecm_synthetic.py"
    assert find("ablations/ecm").resolve() == SHIPPED / "ablations" / "ecm.yaml"


@pytest.mark.parametrize("place", ["ecm_thumos.py", "configs/ecm_thumos.py"])
def test_an_own_file_hides_the_shipped_one_and_is_told_from_it(here, place):
    own = write(here / place, "")
    assert find("ecm_thumos").resolve() == own
    assert describe(find("ecm_thumos")) == f"{place}, not the shipped wtal::ecm_thumos.py"
    found = find("wtal::ecm_thumos")
    assert describe(found) == f"wtal::ecm_thumos.py ({found})"
    assert describe(write(here / "mine.py", "")) == str(here / "mine.py")
    (here / "ecm_synthetic").mkdir()  # a run's folder is no recipe
    assert name_of(find("ecm_synthetic")) == "wtal::ecm_synthetic.py"


def test_a_name_in_a_file_leads_beside_that_file_and_not_to_the_current_folder(here):
    write(here / "base.py", "variant = 'current folder'\n")
    write(here / "a" / "base.py", "variant = 'beside'\n")
    write(here / "a" / "own.py", "_base_ = 'base'\n")
    assert read_tree("a/own.py") == {"variant": "beside"}
    write(here / "b" / "own.py", "_base_ = 'base'\n")
    with pytest.raises(ConfigError, match=r"b/own\.py: _base_: no recipe 'base'"):
        read_tree("b/own.py")


def test_an_unknown_recipe_is_told_with_the_nearest_ones_and_where_it_was_looked_for(here):
    write(here / "my_ecm_thumos.py", "")
    for name, named_by, first, looked in (
        ("ecm_tumos", None, "wtal::ecm_thumos.py", "the current folder"),
        ("my_ecm_tumos.py", None, "my_ecm_thumos.py", str(here)),
        ("configs/ecm_thumoss.py", here / "x.py", "wtal::ecm_thumos.py", str(here)),
        ("wtal::mixes/ten_on_ecm", None, "wtal::mixes/ten_on_ecm_synthetic.py", "Looked in the shipped recipes"),
    ):
        with pytest.raises(ConfigError) as caught:
            find(name, named_by)
        assert f"Did you mean '{first}'?" in str(caught.value)
        assert looked in str(caught.value)
        assert str(SHIPPED) in str(caught.value)
        assert "list --configs" in str(caught.value)


@pytest.mark.parametrize("name", ["", ".", "..", "/", "wtal::", "wtal::../pyproject.toml", "x" * 5000, "a\0b", "tests"])
def test_names_that_lead_nowhere_are_refused_in_words(here, name):
    with pytest.raises(ConfigError, match="no recipe"):
        find(name)


# ---- bases ----


def test_later_bases_lie_over_earlier_ones_key_by_key(here):
    write(here / "a.py", "data = dict(protocol='p', root=None)\nrows = [1]\nmodel = dict(n=1)\n")
    write(here / "b.py", "data = dict(protocol='q', synthetic=dict(world=0))\nrows = [2]\n")
    write(
        here / "own.py",
        "_base_ = ['a.py', 'b.py']\ndata = dict(synthetic=dict(world=1))\nmodel = dict(_delete_=True)\n",
    )
    assert read_tree("own.py") == {
        "data": {"protocol": "q", "root": None, "synthetic": {"world": 1}}, "rows": [2], "model": {},
    }  # fmt: skip


def test_a_recipe_of_ones_own_builds_on_a_shipped_one_in_any_folder(here):
    for name in ("wtal::ecm_thumos.py", "configs/ecm_thumos.py", "ecm_thumos"):
        write(here / "own.py", f"_base_ = ['{name}']\ntrain = dict(epochs=3)\n")
        config = load_config("own.py")
        assert (config.method, config.train.epochs, config.path) == ("ecm", 3, "own.py")


def test_a_file_that_is_its_own_base_is_refused(here):
    write(here / "ecm_thumos.py", "_base_ = 'ecm_thumos.py'\n")
    with pytest.raises(ConfigError, match=r"is its own _base_\. The shipped one of that name is wtal::ecm_thumos\.py"):
        read_tree("ecm_thumos.py")
    write(here / "a.py", "_base_ = 'b.py'\n")
    write(here / "b.py", "_base_ = 'a.py'\n")
    with pytest.raises(ConfigError, match=r"its own _base_ \(a\.py -> b\.py -> a\.py\)"):
        read_tree("a.py")
    write(here / "a.py", "_base_ = [3]\n")
    with pytest.raises(ConfigError, match=r"a\.py: _base_ is the name of a recipe or a list"):
        read_tree("a.py")


def test_a_folder_is_never_offered_as_the_recipe_that_was_meant(here):
    (here / "dir.py").mkdir()
    with pytest.raises(ConfigError) as caught:
        read_tree("dir.py")
    assert "Did you mean 'dir.py'" not in str(caught.value)


def test_two_uses_of_one_helper_stay_apart(here):
    write(here / "a.py", "import math\n_shared = dict(n=1)\nmodel = dict(x=_shared, y=_shared, pi=math.pi)\n")
    tree = read_tree("a.py")
    tree["model"]["x"]["n"] = 2
    assert tree == {"model": {"x": {"n": 2}, "y": {"n": 1}, "pi": 3.141592653589793}}


# ---- init_from ----


def parent_of(config) -> str:
    return load_config(config.train.init_from["config"], named_by=Path(config.path)).method


def test_the_recipe_to_start_from_is_the_one_its_namer_meant_wherever_the_heir_lies(here):
    assert load_config("ftcl_thumos").train.init_from["config"] == "wtal::ablations/ftcl_in_batch_thumos.py"
    write(here / "ablations" / "ftcl_in_batch_thumos.py", "method = 'not me'\n")  # beside the heir
    write(here / "own.py", "_base_ = 'wtal::ftcl_thumos.py'\n")
    assert parent_of(load_config("own.py")) == "acm_net"
    plain = dict(method="mine", model={}, train=dict(lr=1, epochs=1), data=dict(protocol="synthetic/v2"))
    write(here / "lib" / "parent.json", json.dumps(plain))
    write(
        here / "lib" / "child.json",
        json.dumps({**plain, "train": {**plain["train"], "init_from": {"config": "parent"}}}),
    )
    write(here / "runs" / "own.py", "_base_ = '../lib/child.json'\n")
    for name in ("runs/own.py", here / "runs" / "own.py"):
        config = load_config(name)
        assert config.train.init_from["config"] == "../lib/parent.json"  # the same text on every machine
        assert parent_of(config) == "mine"
    config = load_config("runs/own.py", ["train.init_from.config=lib/parent"])  # the command line's: from here
    assert config.train.init_from["config"] == "../lib/parent.json"
    with pytest.raises(ConfigError, match=r"train\.init_from\.config: no recipe 'nowhere'"):
        load_config("runs/own.py", ["train.init_from.config=nowhere"])


# ---- ablations ----


def test_the_bases_of_an_ablation_file_lie_beside_it(here):
    rows = {row.name: row for row in load_rows("ablations/ecm")}
    assert name_of(Path(rows["pre_only"].config().path)) == "wtal::ecm_thumos.py"
    for base in ("ecm_synthetic", "configs/ecm_synthetic.py", str(SHIPPED / "ecm_synthetic.py")):
        found = {name: name_of(Path(rows[name].config(base).path)) for name in ("pre_only", "fusion_merge")}
        assert found == {
            "pre_only": "wtal::ecm_synthetic.py",
            "fusion_merge": "wtal::ablations/ecm_fusion_synthetic.py",
        }
    shutil.copy(SHIPPED / "ecm_thumos.py", here / "mine.py")
    shutil.copytree(SHIPPED / "_base_", here / "_base_")
    write(here / "rows" / "own.yaml", "base: ../mine.py\nrows:\n  - name: a\n  - {name: b, base: nowhere.py}\n")
    a, b = load_rows("rows/own.yaml")
    assert Path(a.config().path).resolve() == here / "mine.py"
    with pytest.raises(ConfigError, match=r"own\.yaml: row b: no recipe 'nowhere\.py'"):
        b.config()


# ---- listing ----


def test_every_shipped_recipe_is_listed_with_what_it_is():
    found = shipped_recipes()
    assert len(found) == len(shipped_names()) + len(shipped_ideas())
    assert {f"{recipe.name}.py" for recipe in found} >= {path.name for path in SHIPPED.glob("*.py")}
    assert not [recipe for recipe in found if not (recipe.method and recipe.protocol and len(recipe.header) > 20)]
    assert not [recipe for recipe in found if "_base_" in recipe.name]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("rskp_thumos", ["rskp_thumos"]), ("rskp_*", ["rskp_anet13", "rskp_synthetic", "rskp_thumos"]),
     ("ten_on", ["mixes/ten_on_ecm_synthetic"])],
)  # fmt: skip
def test_a_pattern_or_a_part_of_a_name_chooses(pattern, names, capsys):
    assert main(["list", "--configs", pattern, "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == names
    assert main(["list", "--configs", pattern]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == names


def test_a_pattern_that_fits_nothing_is_told(capsys):
    assert main(["list", "--configs", "ecm_tumos"]) == 2
    assert "no shipped recipe fits 'ecm_tumos'. Did you mean 'ecm_thumos'?" in capsys.readouterr().err


def test_listing_loads_neither_torch_nor_mmengine(here):
    code = "import sys; from wtal_bench.cli import main; main(['list', '--configs']); "
    code += "print([m for m in ('torch', 'mmengine') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
