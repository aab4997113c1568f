"""A record says whose code made it: of every distribution that supplied a component, the state of its own checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from wtal_bench.running.checkouts import hash_sources, unrepeatable

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

PLUGIN = """
from wtal_bench.plugins import hookimpl
WTAL_API_VERSION = 1
@hookimpl
def wtal_register(registrar):
    registrar.head("toy.Head", "toy.heads:Head")
"""


def install(folder: Path, module: str = "toy", name: str = "toy-plugin", entry: str = "toy") -> Path:
    """A stranger's plugin as an installer leaves it in a folder of sys.path; return its package."""
    package = folder / module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGIN.replace("toy.", f"{entry}."))
    (package / "heads.py").write_text("class Head:\n    pass\n")
    info = folder / f"{name.replace('-', '_')}-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(f"[wtal_bench.plugins]\n{entry} = {module}\n")
    return package


def git(folder: Path, *words: str) -> str:
    own = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def checkout(folder: Path) -> str:
    """Make a folder a git checkout of what it holds; return the commit."""
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def ask(folder: Path, code: str, **environment: str) -> str:
    """Run code in a process that has the folder first on its path."""
    path = os.pathsep.join([str(folder), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def supplied(folder: Path, **environment: str) -> dict:
    """What a record would say of the toy plugin's distribution."""
    code = (
        "import json; from wtal_bench.running.checkouts import distributions\n"
        "part = {'kind': 'head', 'name': 'toy.Head', 'plugin': 'toy', 'version': '2.5'}\n"
        "print(json.dumps(distributions([part])))"
    )
    rows = json.loads(ask(folder, code, **environment))
    assert [row["name"] for row in rows] == ["wtal-bench", "toy-plugin"]
    assert rows[0]["plugins"] == ["core"]
    assert (rows[1]["version"], rows[1]["plugins"]) == ("2.5", ["toy"])
    return rows[1]


def test_a_plugin_in_a_clean_checkout_has_its_own_commit(tmp_path):
    install(tmp_path)
    commit = checkout(tmp_path)
    row = supplied(tmp_path)
    assert (row["commit"], row["dirty"], row["sources"]) == (commit, False, None)
    elsewhere = REPOSITORY / ".git"
    assert supplied(tmp_path, GIT_DIR=str(elsewhere))["commit"] == commit


def test_bytecode_of_an_import_does_not_make_a_checkout_dirty_where_git_is_not_told_to_ignore_it(tmp_path):
    package = install(tmp_path)
    checkout(tmp_path)
    for _ in range(2):
        assert supplied(tmp_path, PYTHONDONTWRITEBYTECODE="")["dirty"] is False
    assert list((package / "__pycache__").glob("*.pyc")), "nothing was compiled, so this shows nothing"


@pytest.mark.parametrize("change", ["edited", "untracked", "staged", "ignored", "nested"])
def test_whatever_differs_from_the_commit_makes_its_checkout_dirty(tmp_path, change):
    package = install(tmp_path)
    (tmp_path / ".gitignore").write_text("secret.py\n__pycache__/\n")
    checkout(tmp_path)
    if change == "edited":
        (package / "heads.py").write_text("class Head:\n    better = True\n")
    elif change == "nested":
        (package / "deep").mkdir()
        (package / "deep" / "__init__.py").write_text("")
    else:
        (package / ("secret.py" if change == "ignored" else "more.py")).write_text("x = 1\n")
        if change == "staged":
            git(tmp_path, "add", "-A")
    assert supplied(tmp_path)["dirty"] is True


@pytest.mark.parametrize("where", ["nowhere", "ignored by the checkout around it", "a repository without a commit"])
def test_a_plugin_in_no_checkout_is_known_by_its_sources(tmp_path, where):
    folder = tmp_path / "site-packages"
    if where == "ignored by the checkout around it":
        (tmp_path / ".gitignore").write_text("/site-packages/\n")
        checkout(tmp_path)
    elif where == "a repository without a commit":
        git(tmp_path, "init", "-q")
    package = install(folder)
    before = supplied(folder)
    assert (before["commit"], before["dirty"], before["sources"]) == (None, False, hash_sources([package]))
    (package / "heads.py").write_text("class Head:\n    better = True\n")
    assert supplied(folder)["sources"] != before["sources"]


def test_the_run_says_at_its_start_what_will_keep_it_out_of_the_ranking():
    row = {
        "name": "toy-plugin",
        "version": "1",
        "plugins": ["toy"],
        "commit": None,
        "dirty": False,
        "sources": "0" * 64,
    }
    (note,) = unrepeatable([row])
    assert "toy-plugin lies in no git checkout" in note
    assert note.endswith("the leaderboard will show this run, but not rank it.")
    assert unrepeatable([{**row, "commit": "0123456"}]) == []


def test_nobody_takes_a_name_of_ours_by_lying_first_on_the_path(tmp_path):
    for number, name in enumerate(("core", "ecm")):
        install(tmp_path, f"hijack{number}", f"hijack-{name}", name)
    code = (
        "from wtal_bench.plugins import failed_plugins, load_plugins, registry\n"
        "known = 'ecm.Trunk' in registry('backbone').names()\n"
        "print(load_plugins()['core'].module, load_plugins()['ecm'].module, known)\n"
        "print([(plugin.name, plugin.reason, plugin.distribution) for plugin in failed_plugins()])"
    )
    loaded, failed = ask(tmp_path, code).splitlines()
    assert loaded == "wtal_bench.builtin wtal_plugins.ecm True"
    assert "its name is taken by wtal_bench.builtin" in failed
    assert "its name is taken by wtal_plugins.ecm" in failed
    assert "hijack-core" in failed


def test_a_plugin_that_leaves_python_is_quarantined(tmp_path):
    package = install(tmp_path)
    (package / "__init__.py").write_text("import sys\nsys.exit(3)\n")
    code = "from wtal_bench.plugins import failed_plugins; print([p.reason for p in (load(), failed_plugins())[1]])"
    said = ask(tmp_path, f"from wtal_bench.plugins import load_plugins as load; {code}")
    assert "SystemExit: 3" in said


def test_a_stranger_with_a_module_named_like_ours_is_a_stranger(tmp_path):
    install(tmp_path, "wtal_plugins_extra", "stranger", "extra")
    info = tmp_path / "stranger-2.5.dist-info" / "entry_points.txt"
    info.write_text("[wtal_bench.plugins]\nextra = wtal_plugins.extra_of_a_stranger\n")
    code = "from wtal_bench.plugins import failed_plugins, load_plugins; load_plugins(); print(len(failed_plugins()))"
    assert ask(tmp_path, code) == "1"  # refused and listed, not fatal
