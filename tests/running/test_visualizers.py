"""Where curves go: mmengine's back-ends by name, each refused with the line that installs it."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.visualization import Visualizer

from tests.helpers import REPOSITORY
from tests.running.conftest import tiny_config
from tests.running.test_training import run
from wtal_bench.errors import ConfigError
from wtal_bench.running.config import check_config
from wtal_bench.running.device import be_deterministic
from wtal_bench.running.visualizers import BACKENDS, FIGURE, LateVisualizer, build_backends

try:
    import tomllib
except ImportError:  # Python 3.10, where pytest brings it
    import tomli as tomllib

EXTRAS = [name for name in BACKENDS if name != "files"]


def tree(dataset, visualizer) -> dict:
    made = tiny_config(dataset, epochs=1)
    made["runtime"]["visualizer"] = visualizer
    return made


def backends(dataset, visualizer) -> list[dict]:
    return build_backends(check_config(tree(dataset, visualizer), "my.py"))


@pytest.mark.parametrize("name", EXTRAS)
def test_a_missing_package_is_told_with_the_line_that_installs_it(dataset, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(ConfigError, match=rf"runtime\.visualizer='{name}' needs .*`pip install {name}` .*{name}"):
        run(tree(dataset, name), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_every_back_end_is_an_extra_of_the_package():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    assert all(extras[name][0].startswith(name) for name in EXTRAS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("tensorbord", "runtime.visualizer='tensorbord'. Did you mean 'tensorboard'?"),
        ([], "runtime.visualizer is empty"),
        (["files", "wandbb"], "runtime.visualizer[1]='wandbb'. Did you mean 'wandb'?"),
        ({"init_kwargs": {}}, "runtime.visualizer=None"),
        ({"type": "wandb", "init_kwarg": {}}, "Did you mean 'init_kwargs'?"),
        ({"type": "wandb", "save_dir": "x"}, "has no argument 'save_dir'"),
        (["files", {"type": "files"}], "runtime.visualizer[1] repeats the back-end of entry 0"),
        ({"type": "files", "img_save_dir": 3}, "runtime.visualizer.img_save_dir: expected str"),
        (3, "runtime.visualizer: expected"),
    ],
)
def test_what_is_no_back_end_is_refused(dataset, given, expected):
    with pytest.raises(ConfigError) as caught:
        backends(dataset, given)
    assert str(caught.value).startswith("my.py: runtime.visualizer")
    assert expected in str(caught.value)


def test_files_hold_the_curves_of_a_run(dataset, tmp_path):
    run(tree(dataset, "files"), tmp_path / "run")
    (path,) = (tmp_path / "run").glob("*/vis_data/scalars.json")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {"loss", "cls_pre", "lr"} <= set(rows[-1])


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package: it keeps what it is given."""
    module = ModuleType("wandb")
    module.logged, module.settings = [], {}
    module.init = lambda **settings: module.settings.update(settings)
    module.log = lambda values, commit=True: module.logged.append(dict(values))
    module.join = lambda: module.logged.append("closed")
    module.config = SimpleNamespace(update=lambda values, allow_val_change=False: module.settings.update(config=values))
    module.run = SimpleNamespace(log_code=lambda name: None)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_a_tracker_gets_the_config_and_the_curves_beside_the_files(dataset, tmp_path, wandb):
    given = ["files", {"type": "wandb", "init_kwargs": {"project": "wtal"}}]
    run(tree(dataset, given), tmp_path / "run")
    assert wandb.settings["project"] == "wtal"
    assert wandb.settings["config"]["work_dir"] == str(tmp_path / "run")  # some back-ends of mmengine read it
    assert given[1]["init_kwargs"] == {"project": "wtal"}  # mmengine adds to what it gets
    assert wandb.settings["config"]["run"]["method"] == "ecm"
    curves = [row for row in wandb.logged if row != "closed" and "loss" in row]
    assert curves
    assert "cls_pre" in curves[-1]
    assert wandb.logged[-1] == "closed"
    assert list((tmp_path / "run").glob("*/vis_data/scalars.json"))


def test_a_figure_is_made_when_somebody_draws():
    made = LateVisualizer.get_instance("late", vis_backends=[])
    assert Visualizer.get_current_instance() is made  # where hooks of mmengine look
    assert not set(FIGURE) & set(vars(made))
    made.set_image(np.zeros((8, 8, 3), np.uint8))
    made.draw_bboxes(np.array([1, 1, 5, 5]))
    assert made.get_image().shape == (8, 8, 3)
    assert made.get_image().any()
    with pytest.raises(AttributeError, match="no attribute 'figsave'"):
        _ = made.figsave


@pytest.mark.parametrize("compiled", [False, True])
def test_torch_is_asked_for_determinism_with_or_without_its_compiler(compiled):
    before = torch.are_deterministic_algorithms_enabled()
    try:
        for wanted in (True, False, True):
            be_deterministic(wanted, compiled)
            assert torch.are_deterministic_algorithms_enabled() == wanted
            assert torch.is_deterministic_algorithms_warn_only_enabled()
            if compiled:
                assert torch._inductor.config.deterministic == wanted
    finally:
        torch.use_deterministic_algorithms(before, warn_only=True)
