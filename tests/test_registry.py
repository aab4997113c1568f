"""Registries: names with their origin, imported when asked for, refused with a text that teaches."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

from wtal_bench.errors import ConfigError, PluginError
from wtal_bench.interfaces import ComponentInfo, Head, Loss
from wtal_bench.plugins import Plugin, Registrar, registries, registry, snapshot
from wtal_bench.registry import KINDS, Registry


class Good(nn.Module, Head):
    """Gives nothing."""

    def __init__(self, width: int, dropout: float = 0.5) -> None:
        super().__init__()
        if width == 13:
            raise ConfigError("13 is unlucky")
        self.weights = [1, 2, 3][width]
        self.share = 1 / dropout


class Mute(nn.Module, Head):
    __doc__ = None


class Plain(Head):
    """A head that is no torch module."""


class Open(Loss):
    """Takes anything."""

    def __init__(self, **settings) -> None:
        self.settings = settings


NOT_A_CLASS = 3


def info(name: str, target: str = "tests.test_registry:Good", plugin: str = "mine", kind: str = "head"):
    return ComponentInfo(kind, name, target, plugin=plugin, version="1.0")


@pytest.fixture
def heads() -> Registry:
    table = Registry("head")
    for name in ("Good", "Mute", "Plain", "Open", "NOT_A_CLASS", "Absent"):
        table.add(info(f"mine.{name}", f"tests.test_registry:{name}"))
    table.add(info("mine.Lost", "a_module_nobody_has:Head"))
    return table


def test_names_are_sorted_with_their_origin(heads):
    assert heads.names() == sorted(heads.names())
    assert heads.info("mine.Good") == info("mine.Good")
    assert [row.name for row in heads.infos()] == heads.names()


def test_a_doubled_name_tells_both_origins(heads):
    with pytest.raises(PluginError) as caught:
        heads.add(info("mine.Good", "other.module:Head", plugin="other"))
    text = str(caught.value)
    assert "head 'mine.Good' is registered twice" in text
    assert "plugin 'mine' (tests.test_registry:Good)" in text
    assert "plugin 'other' (other.module:Head)" in text
    assert heads.info("mine.Good").plugin == "mine"


def test_an_unknown_name_tells_the_nearest_one_and_where_to_look(heads):
    with pytest.raises(PluginError) as caught:
        heads.get("mine.Goood")
    text = str(caught.value)
    assert "no head is called 'mine.Goood'. Did you mean 'mine.Good'?" in text
    assert "`wtal-bench list --kind head`" in text


@pytest.mark.parametrize("name", [None, 3, ["mine.Good"], {"type": "mine.Good"}])
def test_a_type_that_is_no_text_is_told(heads, name):
    with pytest.raises(PluginError, match="registered name, a text"):
        heads.get(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mine.Lost", "cannot be imported from a_module_nobody_has:Head: ModuleNotFoundError"),
        ("mine.Absent", "cannot be imported from tests.test_registry:Absent: AttributeError"),
        ("mine.NOT_A_CLASS", r"must be a class that inherits wtal_bench\.interfaces\.Head"),
        ("mine.Open", r"must be a class that inherits wtal_bench\.interfaces\.Head"),
        ("mine.Plain", "must also be a torch module"),
        ("mine.Mute", "has no docstring"),
    ],
)
def test_a_class_that_is_no_component_of_its_kind_is_refused(heads, name, expected):
    with pytest.raises(PluginError, match=expected) as caught:
        heads.get(name)
    assert "plugin 'mine'" in str(caught.value)


def test_building_checks_the_arguments_before_calling(heads):
    built = heads.build({"type": "mine.Good", "width": 2, "dropout": 0.25}, "my.py: model.heads.a")
    assert (built.weights, built.share) == (3, 4.0)
    for config, expected in (
        ({"width": 1}, "my.py: model.heads.a: a head needs a type"),
        (["mine.Good"], "my.py: model.heads.a: a head needs a type"),
        ({"type": "mine.Good"}, "my.py: model.heads.a: head 'mine.Good' needs width"),
        ({"type": "mine.Good", "width": 1, "drop": 0.1}, "my.py: model.heads.a.drop: head 'mine.Good' has no argument"),
    ):
        with pytest.raises(ConfigError) as caught:
            heads.build(config, "my.py: model.heads.a")
        assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"width": 13}, "13 is unlucky"),  # the component's own words
        ({"width": 3}, "list index out of range"),  # LookupError
        ({"width": 1, "dropout": 0}, "division by zero"),  # ArithmeticError
    ],
)
def test_a_constructor_that_fails_is_told_with_its_key_path(heads, arguments, expected):
    with pytest.raises(ConfigError) as caught:
        heads.build({"type": "mine.Good", **arguments}, "my.py: model.heads.a")
    assert str(caught.value).startswith("my.py: model.heads.a (mine.Good): ")
    assert expected in str(caught.value)


def test_a_constructor_that_takes_anything_is_given_anything():
    losses = Registry("loss")
    losses.add(info("mine.Open", "tests.test_registry:Open", kind="loss"))
    assert losses.build({"type": "mine.Open", "whatever": 1}, "here").settings == {"whatever": 1}


def test_a_snapshot_is_restored(heads):
    before = heads.names()
    with heads.snapshot():
        heads.add(info("mine.More"))
        heads.discard("mine.Good")
        assert heads.get("mine.More") is Good
    assert heads.names() == before

    everything = {kind: registry(kind).names() for kind in KINDS}
    for name, target in (("mine.More", "a:B"), ("mine.More", "c:D")):  # the second is added to a clean table again
        with snapshot():
            registry("head").add(info(name, target))
    assert {kind: table.names() for kind, table in registries().items()} == everything


def test_an_unknown_kind_tells_the_nearest_one():
    with pytest.raises(PluginError, match="Did you mean 'head'"):
        registry("heads")


def test_every_registered_name_begins_with_its_plugin_and_loads():
    for kind in KINDS:
        for row in registry(kind).infos():
            assert row.plugin == "core" if "." not in row.name else row.name.startswith(f"{row.plugin}.")
            assert issubclass(registry(kind).get(row.name), KINDS[kind])


@pytest.mark.parametrize(
    ("plugin", "name", "target", "expected"),
    [
        ("mine", "Head", "mine.parts:Head", r"its names must be 'mine\.<Name>'"),
        ("mine", "other.Head", "mine.parts:Head", r"its names must be 'mine\.<Name>'"),
        ("mine", "mine.a.b", "mine.parts:Head", r"its names must be 'mine\.<Name>'"),
        ("mine", "mine.", "mine.parts:Head", r"its names must be 'mine\.<Name>'"),
        ("mine", "mine.Head", "mine.parts.Head", "must be 'module:Class'"),
        ("mine", "mine.Head", "mine.parts:", "must be 'module:Class'"),
        ("mine", "mine.Head", ":Head", "must be 'module:Class'"),
    ],
)
def test_a_plugin_registers_its_own_names_alone(plugin, name, target, expected):
    with snapshot():
        registrar = Registrar(Plugin(plugin, "1.0", plugin))
        for add in (registrar.head, registrar.loss, registrar.view, registrar.postprocessor, registrar.example):
            with pytest.raises(PluginError, match=expected):
                add(name, target)
        assert registrar.added == []


def test_listing_imports_no_component():
    code = (
        "import sys; from wtal_bench.plugins import registry; from wtal_bench.registry import KINDS\n"
        "names = [info for kind in KINDS for info in registry(kind).infos()]\n"
        "loaded = [i.name for i in names if i.target.partition(':')[0] in sys.modules]\n"
        "sys.exit(f'imported: {loaded}' if loaded or not names else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
