"""From a wheel, in an empty folder: the recipes are there, one trains, and nothing is written where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from wtal_bench.recipes import shipped_names

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The wheel's files alone: built without isolation from a copy, so that no build folder is left in the checkout."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("wtal_bench", "plugins", "configs", "leaderboard"):
        ignored = shutil.ignore_patterns("__pycache__", "records")
        shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", "."]
    subprocess.run(wheel, cwd=source, check=True, timeout=300)
    (built,) = (source / "dist").glob("*.whl")
    install = [*pip, "install", "--no-deps", "--no-compile", "--target", str(target), str(built)]
    subprocess.run(install, check=True, timeout=300)
    return target


@pytest.fixture
def bench(installed, tmp_path):
    """Run `python -m wtal_bench ...` of the wheel in an empty folder; return what it printed."""

    def run(*words: str, code: int = 0) -> str:
        paths = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "wtal_bench", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def files_below(folder: Path) -> set[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def test_the_wheel_holds_everything_that_is_read(installed):
    for packed, folder in (("wtal_bench", "wtal_bench"), ("wtal_configs", "configs")):
        assert files_below(installed / packed) == files_below(REPOSITORY / folder)
    assert files_below(installed / "wtal_leaderboard") == {"published.csv"}
    tops = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"bin", "wtal_bench", "wtal_configs", "wtal_leaderboard", "wtal_plugins"}


def test_the_recipes_of_the_wheel_are_listed(bench):
    names = {row["name"] for row in json.loads(bench("list", "--configs", "--json"))}
    assert {f"{name}.py" for name in names} | {f"{name}.yaml" for name in names} >= set(shipped_names())


def test_a_recipe_trains_in_an_empty_folder(bench, installed, tmp_path):
    before = sorted(installed.rglob("*"))
    options = ["--cfg-options", "train.epochs=1", "train.length=20", "test.length=20"]
    said = bench("train", "ecm_synthetic", "--dry-run", *options)
    assert f"config wtal::ecm_synthetic.py ({installed}" in said
    assert list(tmp_path.iterdir()) == []
    bench("train", "ecm_synthetic", *options)
    (record,) = tmp_path.glob("work_dirs/ecm_synthetic/*/record/*.json")
    assert json.loads(record.read_text())["method"] == "ecm"
    (tmp_path / "own.py").write_text("_base_ = ['wtal::ecm_synthetic.py']\nvariant = 'mine'\n")
    assert json.loads(bench("train", "own", "--print-config"))["variant"] == "mine"
    assert sorted(installed.rglob("*")) == before


def test_every_ablation_row_of_the_wheel_is_read(bench):
    assert "fusion_weighted_0.8" in bench("sweep", "ablations/ecm", "--list")
    said = bench("sweep", "ablations/ecm", "--base", "ecm_synthetics", code=2)
    assert "Did you mean 'wtal::ecm_synthetic.py'?" in said


def test_published_numbers_are_read_from_the_wheel(installed, tmp_path):
    code = "from wtal_bench.leaderboard.build import find_folder\n"
    code += "from wtal_bench.leaderboard.published import published_file, read_published\n"
    code += "file = published_file(find_folder()); print(file, len(read_published(file)))"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    file, count = done.stdout.split()
    assert Path(file) == installed / "wtal_leaderboard" / "published.csv"
    assert int(count) > 20
