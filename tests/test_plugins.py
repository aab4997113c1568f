"""Plugins: found through entry points, checked, quarantined when broken, named in errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.distributions import install
from wtal_bench.cli import main
from wtal_bench.errors import PluginError
from wtal_bench.testing import contract_cases, uncovered_components

REPOSITORY = Path(__file__).resolve().parents[1]
API = "WTAL_API_VERSION = 1"


def write_distribution(folder: Path, name: str, module: str) -> Path:
    """A minimal third-party distribution with one module."""
    source = folder / f"{name}_source"
    (source / name).mkdir(parents=True)
    (source / "pyproject.toml").write_text(
        textwrap.dedent(
            f"""
            [build-system]
            requires = ["setuptools"]
            build-backend = "setuptools.build_meta"
            [project]
            name = "{name}"
            version = "3.2.1"
            [project.entry-points."wtal_bench.plugins"]
            {name} = "{name}"
            [tool.setuptools]
            packages = ["{name}"]
            """
        )
    )
    (source / name / "__init__.py").write_text(f"{API}\n{textwrap.dedent(module)}")
    return source


def pip_install(source: Path, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--no-index", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def wtal(*words: str, path: Path | None = None, cwd: Path = REPOSITORY, **environment: str):
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    if path is not None:
        variables["PYTHONPATH"] = os.pathsep.join([str(path), variables.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "wtal_bench", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=variables)


REGISTER = """
from wtal_bench.plugins import hookimpl

@hookimpl
def wtal_register(registrar):
    registrar.head("{name}.Head", "{name}:Head")
"""


@pytest.fixture(scope="module")
def third_party(tmp_path_factory) -> Path:
    """A folder of installed strangers: a good one, by pip, and four that fail, as pip would leave them."""
    root = tmp_path_factory.mktemp("strangers")
    target = root / "site"
    good = """
    from wtal_bench.plugins import hookimpl

    @hookimpl
    def wtal_register(registrar):
        registrar.head("stranger.Doubled", "stranger.parts:Doubled")
    """
    source = write_distribution(root, "stranger", good)
    (source / "stranger" / "parts.py").write_text(
        textwrap.dedent(
            '''
            from torch import nn
            from wtal_bench.interfaces import Head

            class Doubled(nn.Module, Head):
                """Twice the video logits."""

                requires = ("video_logits",)
                provides = ("doubled_logits",)
                video_level = ("doubled_logits",)

                def forward(self, outputs, batch):
                    return {"doubled_logits": 2 * outputs["video_logits"]}
            '''
        )
    )
    pip_install(source, target)
    install(target, "broken", f"{API}\nimport a_module_nobody_has")
    install(target, "outdated", f"WTAL_API_VERSION = 0\n{REGISTER.format(name='outdated')}")
    install(target, "misspelt", f"{API}\ndef wtal_registre(registrar): ...")
    install(target, "intruder", f"{API}\n{REGISTER.format(name='ecm')}")
    return target


def test_a_strangers_head_trains_by_name(third_party, tmp_path):
    from tests.running.conftest import make_dataset, tiny_config

    tree = tiny_config(make_dataset(tmp_path / "data"), epochs=1)
    tree["model"]["heads"]["twice"] = dict(type="stranger.Doubled")
    tree["model"]["losses"]["twice"] = dict(type="VideoCrossEntropy", reads="doubled_logits")
    config = tmp_path / "config.json"
    config.write_text(json.dumps(tree))
    done = wtal("train", str(config), "--work-dir", str(tmp_path / "run"), path=third_party)
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "run" / "record").glob("*.json")
    used = {(c["kind"], c["name"], c["plugin"], c["version"]) for c in json.loads(record.read_text())["components"]}
    assert ("head", "stranger.Doubled", "stranger", "3.2.1") in used


def test_list_shows_origin_and_failures_and_loads_no_torch(third_party):
    done = wtal("list", "--json", path=third_party)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    row = next(row for row in shown["components"] if row["name"] == "stranger.Doubled")
    assert row == {
        "kind": "head",
        "name": "stranger.Doubled",
        "plugin": "stranger",
        "version": "3.2.1",
        "source": "stranger.parts:Doubled",
        "summary": "Twice the video logits.",
    }
    reasons = {row["name"]: row["reason"] for row in shown["failed"]}
    assert "a_module_nobody_has" in reasons["broken"]
    assert "plugin API 0" in reasons["outdated"]
    assert set(reasons) == {"broken", "outdated", "misspelt", "intruder"}
    assert "'intruder.<Name>'" in reasons["intruder"]


def test_discovery_and_listing_import_no_torch():
    code = (
        "import sys; from wtal_bench.cli import main; main(['list', '--json']); "
        "bad = {'torch', 'mmengine', 'scipy', 'pandas'} & set(sys.modules); sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_plugin_of_ours_that_the_installation_does_not_know_says_what_to_run():
    done = wtal("train", "configs/rskp_synthetic.py", "--dry-run", WTAL_PLUGINS="ecm")
    assert done.returncode == 2
    assert "The plugin 'rskp' lies in plugins/, but this installation does not know it yet" in done.stderr
    assert "pip install -e ." in done.stderr


def test_asking_for_a_component_of_a_failed_plugin_says_why(third_party, tmp_path):
    from tests.running.conftest import tiny_config

    tree = tiny_config(tmp_path)
    tree["model"]["heads"]["x"] = dict(type="broken.Head")
    code = "import json, sys; from wtal_bench.modeling.build import build_model; build_model(json.load(sys.stdin))"
    variables = {**os.environ, "PYTHONPATH": str(third_party)}
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(tree["model"]), capture_output=True, text=True, env=variables
    )
    assert "Plugin 'broken' could not be loaded: ModuleNotFoundError" in done.stderr


def test_plugins_can_be_limited(third_party):
    done = wtal("list", "--json", path=third_party, WTAL_PLUGINS="stranger")
    assert {row["plugin"] for row in json.loads(done.stdout)["components"]} == {"core", "stranger"}
    done = wtal("list", path=third_party, WTAL_PLUGINS="stranegr")
    assert done.returncode == 2
    assert "Did you mean 'stranger'?" in done.stderr


@pytest.mark.slow
def test_a_new_plugin_is_green_at_once(tmp_path):
    folder = tmp_path / "my_idea"
    assert wtal("new-plugin", "my_idea", "--out", str(folder)).returncode == 0
    site = tmp_path / "site"
    pip_install(folder, site)
    variables = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    config = str(folder / "configs" / "my_idea_synthetic.py")
    done = wtal("train", config, "--dry-run", path=site, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "one step gives" in done.stdout


@pytest.mark.slow
def test_a_plugins_own_folder_hides_neither_the_plugin_nor_its_suite(tmp_path):
    """Installed as editable, with its project's folder of the same name in the current one."""
    assert wtal("new-plugin", "my_idea", cwd=tmp_path).returncode == 0
    site = tmp_path / "site"
    site.mkdir()
    # what `pip install -e` leaves: a finder at the end of sys.meta_path, which plain folders on sys.path come before
    (site / "sitecustomize.py").write_text(
        textwrap.dedent(
            f"""
            import importlib.util, os, sys

            class Finder:
                @staticmethod
                def find_spec(name, path=None, target=None):
                    first, _, rest = name.partition(".")
                    folder = os.path.join({str(tmp_path / "my_idea")!r}, *name.split("."))
                    if first == "my_idea":
                        file = folder + ".py" if rest else os.path.join(folder, "__init__.py")
                        inside = None if rest else [folder]
                        return importlib.util.spec_from_file_location(name, file, submodule_search_locations=inside)

            sys.meta_path.append(Finder)
            """
        )
    )
    info = site / "my_idea-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_idea\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wtal_bench.plugins]\nmy_idea = my_idea\n")
    variables = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    listed = wtal("list", path=site, cwd=tmp_path)
    assert "my_idea 1.0" in listed.stdout
    assert "FAILED" not in listed.stdout
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "my_idea"]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    variables["PYTHONPATH"] = ""  # not installed: nothing is held to the contract, and that is no success
    command[-1] = "tests"
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=tmp_path / "my_idea")
    assert done.returncode != 0
    assert "plugin 'my_idea' is not installed here" in done.stdout


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ecm", "the harness has a plugin of that name"),
        ("core", "the harness has a plugin of that name"),
        ("co_la", "readers would take it for cola"),
        ("thumos14", "the harness has a data set of that name"),
        ("json", "Python's own library"),
        ("numpy", "pip would replace it"),
        ("scikit_learn", "pip would replace it"),
        ("yaml", "a module of that name is installed here"),
        ("wtal_plugins", "the harness uses it itself"),
        ("tests", "the harness uses it itself"),
    ],
)
def test_new_plugin_refuses_names_that_are_taken(name, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", name]) == 2
    assert why in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_suite_without_a_case_is_not_green():
    with pytest.raises(PluginError, match=r"plugin 'cola_' is not installed here.*Did you mean 'cola'"):
        contract_cases("cola_")
    with pytest.raises(PluginError, match="plugin 'core' registers no example"):
        contract_cases("core")
    with pytest.raises(PluginError, match="plugin 'nobody' is not installed here"):
        uncovered_components("nobody")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_what_runs_leave_in_a_new_plugins_folder_is_no_change_of_its_code(tmp_path):
    folder = tmp_path / "my_idea"
    assert main(["new-plugin", "my_idea", "--out", str(folder)]) == 0
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    for left in ("work_dirs/a/last.pth", "my_idea/__pycache__/a.pyc", "my_idea.egg-info/PKG-INFO"):
        (folder / left).parent.mkdir(parents=True)
        (folder / left).touch()
    status = [*git, "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.run(status, cwd=folder, check=True, capture_output=True, text=True).stdout == ""


def test_new_plugin_refuses_bad_names_and_existing_folders(tmp_path):
    done = wtal("new-plugin", "My-Idea", cwd=tmp_path)
    assert (done.returncode, "no plugin name" in done.stderr) == (2, True)
    (tmp_path / "taken").mkdir()
    done = wtal("new-plugin", "taken", cwd=tmp_path)
    assert (done.returncode, "already exists" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]
