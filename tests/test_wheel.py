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


PROGRAM = """
import contextlib, io, json, os, sys
from wtal_bench.cli import main
ends = []
for argv in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        status = main(argv)
    ends.append([status, sorted(os.listdir()), said.getvalue()])
print(json.dumps(ends))
"""
"""Verbs one after the other in one process: torch is imported once."""


@pytest.fixture
def bench(installed, tmp_path):
    """Run verbs of the wheel in an empty folder: of each its status, what lies in the folder then, what it printed."""

    def run(*commands: list[str]) -> list[tuple[int, list[str], str]]:
        paths = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
        words = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

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


def test_what_the_wheel_holds_is_listed(bench):
    (status, _, recipes), (read, _, rows), (refused, left, said) = bench(
        ["list", "--configs", "--json"],
        ["sweep", "ablations/ecm", "--list"],
        ["sweep", "ablations/ecm", "--base", "ecm_synthetics"],
    )
    assert (status, read, refused, left) == (0, 0, 2, [])
    names = {row["name"] for row in json.loads(recipes)}
    assert {f"{name}.py" for name in names} | {f"{name}.yaml" for name in names} >= set(shipped_names())
    assert "fusion_weighted_0.8" in rows
    assert "Did you mean 'wtal::ecm_synthetic.py'?" in said


def test_a_recipe_trains_in_an_empty_folder(bench, installed, tmp_path):
    before = sorted(installed.rglob("*"))
    options = ["--cfg-options", "train.epochs=1", "train.length=20", "test.length=20"]
    (tmp_path / "own.py").write_text("_base_ = ['wtal::ecm_synthetic.py']\nvariant = 'mine'\n")
    own, dry, trained = bench(
        ["train", "own", "--print-config"],
        ["train", "ecm_synthetic", "--dry-run", *options],
        ["train", "ecm_synthetic", *options],
    )
    assert [status for status, *_ in (own, dry, trained)] == [0, 0, 0], (own, dry, trained)
    assert json.loads(own[2])["variant"] == "mine"
    assert f"config wtal::ecm_synthetic.py ({installed}" in dry[2]
    assert dry[1] == ["own.py"], "a dry run leaves nothing"
    (record,) = tmp_path.glob("work_dirs/ecm_synthetic/*/record/*.json")
    assert json.loads(record.read_text())["method"] == "ecm"
    assert sorted(installed.rglob("*")) == before


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
