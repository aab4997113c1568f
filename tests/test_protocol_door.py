"""A data set comes in by a plugin: configs train on it, `evaluate` scores it, its records are filed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from tests.running.conftest import make_dataset, tiny_config
from wtal_bench import plugins, protocols
from wtal_bench.cli import main
from wtal_bench.errors import PluginError, WtalError
from wtal_bench.interfaces import ComponentInfo
from wtal_bench.plugins import Plugin, Registrar
from wtal_bench.protocols import Protocol, get_protocol

TINY = get_protocol("synthetic_tiny/v2")
PROTOCOL = Protocol(
    name="zoo/v1",
    subset="test",
    train_subset="train",
    classes=TINY.classes,
    tious=(0.3, 0.5),
    averages={"0.3:0.5": (0.3, 0.5)},
    variants=("activitynet",),
)


def door(monkeypatch, protocol: object) -> None:
    """Register it as the plugin `zoo` would."""
    monkeypatch.setattr(sys.modules[__name__], "REGISTERED", protocol, raising=False)
    plugins.load_plugins()
    monkeypatch.setattr(plugins, "_protocols", [ComponentInfo("protocol", "zoo/v1", f"{__name__}:REGISTERED", "zoo")])
    protocols._stranger.cache_clear()


def test_train_evaluate_and_file_on_a_plugins_data_set(tmp_path, monkeypatch, capsys):
    door(monkeypatch, PROTOCOL)
    data = make_dataset(tmp_path / "zoo")
    tree = tiny_config(data, epochs=1)
    tree["data"] = {"protocol": "zoo/v1", "root": None}
    monkeypatch.setenv("WTAL_DATA", str(tmp_path))
    (tmp_path / "my.json").write_text(json.dumps(tree))
    assert main(["train", str(tmp_path / "my.json"), "--work-dir", str(tmp_path / "run")]) == 0
    (record,) = (tmp_path / "run" / "record").glob("*.json")
    held = json.loads(record.read_text())
    assert held["protocol"] == {"name": "zoo/v1", "hash": PROTOCOL.hash}
    detections = next((tmp_path / "run" / "record").glob("*.gz"))
    assert main(["evaluate", str(detections), "--protocol", "zoo/v1", "--json", str(tmp_path / "scores.json")]) == 0
    again = json.loads((tmp_path / "scores.json").read_text())["metrics"]
    assert again["variants"] == held["metrics"]["variants"]
    assert main(["list", "--kind", "protocol"]) == 0
    assert "zoo/v1" in capsys.readouterr().out


def test_a_protocol_nobody_registered_is_told_with_a_plugins_name(monkeypatch):
    door(monkeypatch, PROTOCOL)
    with pytest.raises(WtalError, match="Did you mean 'zoo/v1'"):
        get_protocol("zoos/v1")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "zoo/v2"}, "must be a wtal_bench.protocols.Protocol of that name"),
        ({"variants": ("activitinet",)}, "Did you mean 'activitynet'"),
        ({"variants": ()}, "is no evaluator"),
        ({"averages": {"0.3:0.7": (0.3, 0.7)}}, "averages 0.3:0.7 must be means"),
        ({"classes": ("a", "a")}, "classes must be different names"),
        ({"profile": "demo"}, "leave `profile` out"),
    ],
)
def test_what_is_no_protocol_is_refused_by_its_origin(monkeypatch, changes, expected):
    door(monkeypatch, replace(PROTOCOL, **changes))
    with pytest.raises(PluginError, match=expected) as caught:
        get_protocol("zoo/v1")
    assert "plugin 'zoo'" in str(caught.value)


@pytest.mark.parametrize("name", ["zoo", "zoo/1", "zoo/vx", "park/v1", "zoo.a.b/v1", "zoo./v1", "thumos14/v1"])
def test_a_plugin_names_its_own_data_sets_alone(name):
    registrar = Registrar(Plugin("zoo", "1.0", "zoo"))
    with pytest.raises(PluginError, match=r"must be 'zoo/v1' or 'zoo\.<set>/v1'"):
        registrar.protocol(name, "zoo.sets:PROTOCOL")
    registrar.protocol("zoo/v1", "zoo.sets:PROTOCOL")
    registrar.protocol("zoo.birds/v2", "zoo.sets:BIRDS")
    assert [info.name for info in registrar.protocols] == ["zoo/v1", "zoo.birds/v2"]
