"""The checks that constructors share: what is taken, and what is refused in which words."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.parts import build_part
from wtal_bench.options import at_least, build, build_one_of, check_arguments, choose, columns, positive, within


@dataclass(frozen=True)
class Settings:
    """Settings with a made field, which no config may give."""

    width: int
    share: float = 0.5
    made: int = field(init=False, default=0)


class Plain:
    """No dataclass."""

    def __init__(self, width: int) -> None:
        self.width = width


@pytest.mark.parametrize(
    ("check", "arguments", "taken"),
    [
        (choose, (["a", "b"],), ["a", "b"]),
        (at_least, (0,), [0, 0.5, np.float64(2)]),
        (positive, (), [1, 1e-9, np.float64(2), float("inf")]),
        (within, ("[0, 1]",), [0, 1, 0.5, np.float64(1)]),
        (within, ("(0, inf)",), [1e-9, [1, 2.5]]),
    ],
)
def test_what_is_right_is_returned_as_it_is(check, arguments, taken):
    for value in taken:
        assert check("here", value, *arguments) is value


@pytest.mark.parametrize(
    ("check", "arguments", "refused", "words"),
    [
        (choose, (["tags", "uniform"],), ["tag", 1, None], "it takes tags, uniform"),
        (at_least, (0,), [-1, "1", None, True, float("nan")], "must be a number of at least 0"),
        (positive, (), [0, -1, "1", None, True, float("nan")], "must be positive"),
        (within, ("[0, 1]",), [-0.1, 1.1, float("nan"), [0.5, 2]], r"must lie in \[0, 1\], got"),
        (within, ("(0, 1)",), [0, 1], r"must lie in \(0, 1\), got"),
        (within, ("[0, 1]",), ["1", None, True], "expected float, int, got"),
    ],
)
def test_what_is_wrong_is_refused_with_its_name_and_value(check, arguments, refused, words):
    for value in refused:
        with pytest.raises(ConfigError, match=words) as caught:
            check("loss.here", value, *arguments)
        assert str(caught.value).startswith("loss.here")
        assert repr(value) in str(caught.value) or isinstance(value, list)


def test_whole_numbers_are_asked_for_by_name():
    assert at_least("k", np.int64(3), 1, whole=True) == 3
    with pytest.raises(ConfigError, match=r"k=1\.5 must be an integer of at least 1"):
        at_least("k", 1.5, 1, whole=True)


def test_columns_are_a_pair_with_something_between():
    assert columns("rgb", [0, 1024]) == (0, 1024)
    for wrong in ((4, 4), (4, 0), (-1, 4), (0, 4, 8), (0, 4.0), (False, 4), "04", 4, None):
        with pytest.raises(ConfigError, match=r"streams\.rgb must be \(first, end\) columns"):
            columns("streams.rgb", wrong)


@pytest.mark.parametrize("kind", [Settings, Plain])
def test_nested_settings_become_what_they_are_for(kind):
    made = build(kind, dict(width=3), "inner")
    assert made.width == 3
    assert build(kind, made, "inner") is made
    assert build(kind, None, "inner", width=4).width == 4
    assert build(kind, dict(width=3), "inner", width=4).width == 3


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (dict(width=1, shere=0.1), r"^inner\.shere: Settings has no argument 'shere'\. Did you mean 'share'\?"),
        (dict(width=1, made=3), r"^inner\.made: Settings has no argument 'made'"),
        (dict(share=0.1), r"^inner: Settings needs width"),
        (5, r"^inner must be a dict with keys among width, share; got 5"),
    ],
)
def test_unknown_keys_are_refused_with_key_path_and_nearest(spec, words):
    with pytest.raises(ConfigError, match=words):
        build(Settings, spec, "inner")


def test_one_of_several_is_built_by_its_type():
    kinds = {"Settings": Settings, "Plain": Plain}
    assert isinstance(build_one_of(kinds, dict(type="Plain", width=2), "decoder"), Plain)
    assert isinstance(build_one_of(kinds, dict(width=2), "decoder", default="Settings"), Settings)
    for spec, words in (
        (dict(type="Plane", width=2), r"^decoder\.type='Plane' is unknown.*Did you mean 'Plain'"),
        (dict(width=2), r"^decoder\.type=None is unknown"),
        (dict(type="Plain", wide=2), r"^decoder\.wide: Plain has no argument 'wide'"),
        ("Plain", r"^decoder must be a dict with a type among Settings, Plain; got 'Plain'"),
    ):
        with pytest.raises(ConfigError, match=words):
            build_one_of(kinds, spec, "decoder")


def test_hidden_arguments_are_neither_taken_nor_named():
    with pytest.raises(ConfigError, match=r"has no argument 'share'.*It takes: width\.") as caught:
        check_arguments(Settings, {"width": 1, "share": 0.1}, "here", "it", hidden=("share",))
    assert str(caught.value).startswith("here.share: it")


def test_keys_that_the_harness_takes_beside_the_arguments_are_named_too():
    """A misspelt weight of a loss is no argument of its constructor, but what was meant."""
    config = {"type": "VideoCrossEntropy", "wieght": 0.1}
    with pytest.raises(
        ConfigError, match=r"Did you mean 'weight'\? It takes: .*; beside them weight, reads, replace\."
    ):
        build_part("loss", config, "my.py: model.losses.cls")
    with pytest.raises(ConfigError, match=r"Did you mean 'replace'\?"):
        build_part("loss", {"type": "VideoCrossEntropy", "replaces": True}, "my.py: model.losses.cls")
