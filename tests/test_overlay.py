"""One recipe over another: arguments are free, a component of another type needs a word."""

from __future__ import annotations

import copy

import pytest

from wtal_bench.errors import ConfigError
from wtal_bench.overlay import overlaid
from wtal_bench.recipes import read_tree

HOST = dict(
    method="host",
    model=dict(
        backbone=dict(type="a.Trunk", channels=8),
        heads=dict(cls=dict(type="a.Classifier", channels=8)),
        losses=dict(sparse=dict(type="a.Sparsity", power=2, weight=0.1), cls=dict(type="VideoCrossEntropy")),
        postprocessor=dict(type="ThresholdDecoder", thresholds=[0.5], nms=dict(iou=0.5)),
    ),
    train=dict(sampling=dict(type="random_segments"), lr=1e-3),
)


def over(**model) -> dict:
    return overlaid(HOST, dict(model=model), "mix.py")["model"]


def test_arguments_of_the_same_component_are_free():
    before = copy.deepcopy(HOST)
    found = over(
        losses=dict(sparse=dict(type="a.Sparsity", weight=0.2), cls=dict(target="tags")), backbone=dict(channels=4)
    )
    assert found["losses"]["sparse"] == dict(type="a.Sparsity", power=2, weight=0.2)
    assert found["losses"]["cls"] == dict(type="VideoCrossEntropy", target="tags")
    assert found["backbone"] == dict(type="a.Trunk", channels=4)
    assert before == HOST, "neither tree is touched"


def test_a_component_of_another_type_does_not_take_a_place_without_a_word():
    with pytest.raises(ConfigError) as caught:
        over(losses=dict(sparse=dict(type="my_idea.Sparsity", weight=0.1)))
    text = str(caught.value)
    assert text.startswith("mix.py: model.losses.sparse is 'a.Sparsity' in the base, and 'my_idea.Sparsity' would")
    assert "another name, e.g. 'my_idea_sparse'" in text
    assert "replace=True" in text
    for name, part in (("backbone", dict(type="b.Trunk")), ("postprocessor", dict(type="b.Decoder"))):
        with pytest.raises(ConfigError, match=rf"mix\.py: model\.{name} is .* replace=True") as caught:
            over(**{name: part})
        assert "another name" not in str(caught.value), "there is one backbone and one post-processor"


def test_the_suggested_name_is_free():
    taken = copy.deepcopy(HOST)
    taken["model"]["losses"]["b_sparse"] = dict(type="c.Loss")
    with pytest.raises(ConfigError, match="'b_sparse_'"):
        overlaid(taken, dict(model=dict(losses=dict(sparse=dict(type="b.Sparsity")))), "mix.py")


def test_replace_puts_the_whole_component_in_the_place_of_the_other():
    found = over(losses=dict(sparse=dict(type="b.Sparsity", replace=True)))
    assert found["losses"]["sparse"] == dict(type="b.Sparsity"), "no argument of the old one is left"
    assert found["losses"]["cls"] == HOST["model"]["losses"]["cls"]
    assert over(backbone=dict(type="b.Trunk", _delete_=True))["backbone"] == dict(type="b.Trunk")
    assert over(losses=dict(_delete_=True, sparse=dict(type="b.Sparsity")))["losses"] == {
        "sparse": dict(type="b.Sparsity")
    }
    assert over(losses=dict(sparse=None))["losses"]["sparse"] is None


def test_replace_where_there_is_nothing_is_a_slip():
    with pytest.raises(ConfigError, match=r"model\.losses\.spars: replace=True, but .* Did you mean 'sparse'\?"):
        over(losses=dict(spars=dict(type="b.Sparsity", replace=True)))


def test_the_rule_reaches_parts_inside_parts_and_members_of_streams():
    fused = dict(type="f.Fused", _delete_=True, decoder=dict(type="ThresholdDecoder", thresholds=[0.1]))
    below = overlaid(HOST, dict(model=dict(postprocessor=fused)), "mix.py")
    with pytest.raises(ConfigError, match=r"model\.postprocessor\.decoder is 'ThresholdDecoder'"):
        overlaid(below, dict(model=dict(postprocessor=dict(decoder=dict(type="PooledDecoder")))), "own.py")
    streams = dict(model=dict(type="Streams", member=HOST["model"]))
    with pytest.raises(ConfigError, match=r"model\.member\.losses\.sparse"):
        overlaid(streams, dict(model=dict(member=dict(losses=dict(sparse=dict(type="b.Sparsity"))))), "own.py")


def test_outside_the_model_nothing_is_asked():
    found = overlaid(HOST, dict(train=dict(sampling=dict(type="uniform"), lr=1e-4)), "mix.py")
    assert found["train"] == dict(sampling=dict(type="uniform"), lr=1e-4)


def test_two_bases_that_bring_one_name_are_told_apart_by_the_file_that_lays_them(tmp_path):
    (tmp_path / "a.py").write_text("model = dict(losses=dict(cas=dict(type='a.Loss')))\n")
    (tmp_path / "b.py").write_text("model = dict(losses=dict(cas=dict(type='b.Loss')))\n")
    (tmp_path / "own.py").write_text("_base_ = ['a.py', 'b.py']\n")
    with pytest.raises(ConfigError, match=r"b\.py: model\.losses\.cas is 'a\.Loss' in the base, and 'b\.Loss'"):
        read_tree(tmp_path / "own.py")
    (tmp_path / "b.py").write_text("model = dict(losses=dict(cas=dict(type='b.Loss', replace=True)))\n")
    with pytest.raises(ConfigError, match="nothing of that name to replace"):
        read_tree(tmp_path / "b.py")
