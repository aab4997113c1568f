"""The model: fields are checked when it is built, and what runs is what is needed, once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.modeling.toys import config, registered
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.modeling.build import build_model
from wtal_bench.testing import random_batch

HEADS = config()["heads"]
LOSSES = config()["losses"]


@pytest.fixture(autouse=True)
def _toys():
    with registered():
        yield


def build(**changes):
    torch.manual_seed(0)
    return build_model(config(**changes), "my.py").double()


def refused(**changes) -> str:
    with pytest.raises(ConfigError) as caught:
        build(**changes)
    return str(caught.value)


# ---- fields ----


def test_fields_are_listed_in_the_order_they_are_made():
    assert build().fields == ["embedding", "cas", "video_logits", "attention"]
    assert [path for path, _ in build(views={"half": {"type": "toy.Half"}}).components()] == [
        "backbone", "heads.cas", "heads.attention", "losses.cls", "losses.terms", "views.half", "postprocessor",
    ]  # fmt: skip


def test_a_field_nobody_makes_is_told_with_what_there_is_and_how_to_map_it():
    text = refused(heads={"cas": {"type": "toy.Cas"}})
    assert text.startswith("my.py: model.losses.terms (TwoTerms) reads `attention`, but the parts before it provide ")
    assert "embedding, cas, video_logits" in text
    assert "reads=dict(attention='<field>')" in text


def test_a_near_name_is_suggested_and_actionness_for_attention():
    writes = {"type": "toy.Attention", "writes": {"attention": "atention"}}
    assert "Did you mean 'atention'?" in refused(heads={**HEADS, "attention": writes})
    writes = {"type": "toy.Attention", "writes": {"attention": "actionness"}}
    assert "Did you mean 'actionness'?" in refused(heads={**HEADS, "attention": writes})


def test_heads_run_after_those_they_read_wherever_they_stand():
    model = build(heads={"twice": {"type": "toy.Doubled"}, **HEADS})
    assert model.fields == ["embedding", "cas", "video_logits", "attention", "doubled"]
    assert list(model.compute(random_batch([4]))) == model.fields


def test_heads_that_read_each_other_are_told():
    circle = {
        "one": {"type": "toy.Doubled", "reads": "b", "writes": "a"},
        "two": {"type": "toy.Doubled", "reads": "a", "writes": "b"},
    }
    text = refused(heads={**circle, **HEADS})
    assert text.startswith("my.py: model.heads.one (Doubled) reads `b`")
    assert "A head that waits for this one makes 'b': they read each other." in text


def test_a_head_that_waits_in_vain_hides_no_misspelt_field():
    lost = {"type": "toy.Attention", "reads": "embeddings"}
    text = refused(heads={"twice": {"type": "toy.Doubled"}, "cas": HEADS["cas"], "attention": lost})
    assert text.startswith("my.py: model.heads.attention (Attention) reads `embeddings`")
    assert "Did you mean 'embedding'?" in text


def test_the_decoder_reads_what_the_model_makes():
    text = refused(postprocessor={"type": "toy.ScoresOnly"})
    assert text.startswith("my.py: model.postprocessor (ScoresOnly) reads `scores`")


def test_two_makers_of_one_field_are_told_and_a_new_name_parts_them():
    more = {**HEADS, "own": {"type": "toy.Attention"}}
    text = refused(heads=more)
    assert text.startswith("my.py: model.heads.own makes 'attention', which my.py: model.heads.attention already makes")
    assert "writes=dict(attention='own.attention')" in text
    more["own"] = {"type": "toy.Attention", "writes": {"attention": "own.attention"}}
    model = build(heads=more, losses={**LOSSES, "own": {"type": "toy.TwoTerms", "reads": "own.attention"}})
    losses = model.losses(random_batch([5, 3]))
    assert losses["terms.first"] != losses["own.first"]


def test_a_single_text_maps_a_single_field():
    twice = {"type": "toy.Doubled", "writes": "attention"}
    first = {"type": "toy.Attention", "writes": {"attention": "raw"}}
    model = build(heads={"cas": HEADS["cas"], "first": first, "twice": {**twice, "reads": "raw"}})
    batch = random_batch([5, 3])
    outputs = model.compute(batch)
    assert torch.equal(outputs["attention"], 2 * outputs["raw"])


def test_a_single_text_for_several_fields_is_ambiguous():
    text = refused(heads={**HEADS, "cas": {"type": "toy.Cas", "writes": "own"}})
    assert text.startswith("my.py: model.heads.cas.writes: say which field is meant, e.g. dict(cas='own')")
    text = refused(heads={**HEADS, "liar": {"type": "toy.Liar", "reads": "cas"}})
    assert text.startswith("my.py: model.heads.liar.reads: the component has no field to map")


def test_an_unknown_field_in_a_mapping_is_told_with_the_nearest():
    text = refused(heads={**HEADS, "cas": {"type": "toy.Cas", "writes": {"video_logit": "x"}}})
    assert text.startswith("my.py: model.heads.cas.writes.video_logit: the component has no field 'video_logit'.")
    assert "Did you mean 'video_logits'?" in text


def test_optional_fields_are_read_when_they_are_there():
    batch = random_batch([5, 3])
    without = build().losses(batch)
    assert without["terms.second"] == without["terms.first"] ** 2
    model = build(heads={**HEADS, "twice": {"type": "toy.Doubled"}})
    assert model.losses(batch)["terms.second"] == model.compute(batch)["doubled"].mean()


def test_a_component_that_breaks_its_declaration_is_named():
    model = build(heads={**HEADS, "liar": {"type": "toy.Liar"}})
    with pytest.raises(ConfigError, match=r"my\.py: model\.heads\.liar: .*`provides` truth but returned fiction"):
        model.compute(random_batch([4]))


def test_a_field_without_a_time_axis_must_be_declared():
    heads = {**HEADS, "mean": {"type": "toy.Undeclared"}}
    model = build(heads=heads, postprocessor={"type": "toy.ScoresOnly"})
    with pytest.raises(ConfigError, match=r"'scores' has shape \(2, 3\), expected \[B,T,...\].*`video_level`"):
        model.predict(random_batch([5, 4]))


@pytest.mark.parametrize("name", ["a.b", "", 3, "a b"])
def test_names_that_make_no_field_name_are_refused(name):
    assert "cannot be used as a name" in refused(heads={**HEADS, name: {"type": "toy.Liar"}})


@pytest.mark.parametrize("name", ["half", "keys", "train"])
def test_names_of_torch_are_refused_where_torch_needs_them(name):
    text = refused(heads={**HEADS, name: {"type": "toy.Liar"}})
    assert text == f"my.py: model.heads.{name}: torch uses the name {name!r} itself; choose another."
    build(losses={**LOSSES, name: {"type": "toy.TwoTerms"}})  # a loss without parameters is no torch module


def test_none_removes_a_part():
    model = build(heads={**HEADS, "attention": None}, losses={**LOSSES, "terms": None})
    assert model.fields == ["embedding", "cas", "video_logits"]
    assert set(model.losses(random_batch([4]))) == {"cls", "total"}


# ---- test time ----


def test_only_the_heads_the_decoder_depends_on_run_at_test():
    model = build(heads={**HEADS, "twice": {"type": "toy.Doubled"}, "bank": {"type": "toy.Bank"}}).eval()
    plain = build(heads={**HEADS, "attention": None}, losses={"cls": LOSSES["cls"]}).eval()
    reader = {"type": "toy.OneDetection", "reads": {"attention": "nothing"}}
    pruned = build(postprocessor=reader).eval()
    batch = random_batch([5, 3])
    model.predict(batch)
    assert model.heads["attention"].calls == 1  # optional, and there
    pruned.predict(batch)
    assert pruned.heads["attention"].calls == 0
    assert len(plain.predict(batch)) == 2
    assert list(model.compute(batch, ["attention"])) == ["embedding", "attention"]
    assert list(model.compute(batch, ["doubled"])) == ["embedding", "attention", "doubled"]
    assert list(model.compute(batch, [])) == ["embedding"]


def test_a_head_that_serves_the_decoder_alone_is_not_run_in_training_unless_it_learns_or_a_loss_reads_it():
    doubled = {"type": "toy.Doubled", "writes": {"doubled": "twice"}}
    only_decoded = {**HEADS, "doubled": doubled, "bank": {"type": "toy.Bank"}}
    batch = random_batch([5, 3])
    model = build(heads=only_decoded)
    fields = model.compute_with_views(batch)
    assert {"attention", "class_weights"} <= fields.keys(), "what has parameters runs"
    assert "twice" not in fields
    assert "twice" in model.compute(batch), "whoever asks for all gets all"
    terms = {**LOSSES["terms"], "reads": {"attention": "twice"}}
    read = build(heads=only_decoded, losses={**LOSSES, "terms": terms})
    assert "twice" in read.compute_with_views(batch)
    through_view = {**LOSSES["terms"], "reads": {"attention": "half.twice"}}
    viewed = build(heads=only_decoded, losses={**LOSSES, "terms": through_view}, views={"half": {"type": "toy.Half"}})
    assert "half.twice" in viewed.compute_with_views(batch)


def test_outputs_of_a_video_are_float64_numpy_without_padding():
    heads = {**HEADS, "bank": {"type": "toy.Bank"}}
    model = build(heads=heads).float().eval()
    batch = replace(random_batch([5, 3]), features=random_batch([5, 3]).features.float())
    fields = ["cas", "attention", "video_logits", "class_weights"]
    shapes = [{name: value.shape for name, value in video.items()} for video, _ in model.video_outputs(batch, fields)]
    assert shapes == [
        {"cas": (length, 3), "attention": (length,), "video_logits": (3,), "class_weights": (5, 4)} for length in (5, 3)
    ]
    assert all(v.dtype == np.float64 for video, _ in model.video_outputs(batch, fields) for v in video.values())


def test_a_prediction_is_that_of_the_video_alone_and_decodes_again():
    model = build().eval()
    lengths = [7, 2, 5]
    together = model.predict(random_batch(lengths))
    for at, prediction in enumerate(together):
        batch = random_batch(lengths, keep=[at])
        (alone,) = model.predict(batch)
        assert alone.meta == prediction.meta
        np.testing.assert_allclose(alone.detections.rows(), prediction.detections.rows(), atol=1e-12)
        np.testing.assert_allclose(alone.video_scores, prediction.video_scores, atol=1e-12)
        ((outputs, meta),) = model.video_outputs(batch)
        again = model.decode(outputs, meta)
        assert np.array_equal(again.detections.rows(), alone.detections.rows())
        assert alone.snippet_scores is None
    model.keep_snippet_scores = True
    assert [p.snippet_scores.shape for p in model.predict(random_batch(lengths))] == [(7, 3), (2, 3), (5, 3)]


def test_a_decoder_that_says_nothing_of_its_curves_is_located_by_its_snippet_scores():
    model = build().eval()
    ((outputs, meta),) = model.video_outputs(random_batch([4]))
    (curve,) = model.located_curves(outputs, meta, [0, 2]).values()
    np.testing.assert_array_equal(curve.values, outputs["cas"][:, [0, 2]])
    assert not curve.probability
    assert model.decode_told(outputs, meta, [0]) is None


def test_a_decoder_that_leaves_the_video_is_stopped():
    model = build(postprocessor={"type": "toy.OneDetection", "end": 2.0})
    with pytest.raises(DataError, match="video 'video0': detection 0"):
        model.predict(random_batch([4]))


# ---- views ----


def test_views_in_one_forward_equal_two_forwards():
    heads = {**HEADS, "bank": {"type": "toy.Bank"}}
    half = {"type": "VideoCrossEntropy", "reads": "half.video_logits"}
    model = build(heads=heads, losses={**LOSSES, "half": half}, views={"half": {"type": "toy.Half"}})
    batch = random_batch([9, 4, 1])
    joined = model.compute_with_views(batch)
    assert model.backbone.calls == [6]  # one forward of twice the videos
    view = model._views["half"].component(batch)
    assert view.mask.shape[1] == 5
    for prefix, own in (("", batch), ("half.", view)):
        for field, value in model.compute(own).items():
            torch.testing.assert_close(joined[prefix + field], value, rtol=0, atol=1e-12)
            assert joined[prefix + field].shape == value.shape

    model.zero_grad()
    losses = model.losses(batch)
    losses["total"].backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    plain = build(heads=heads)
    plain.load_state_dict(model.state_dict())
    (plain.losses(batch)["total"] + plain.losses(view)["cls"]).backward()
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(ours[name], parameter.grad, rtol=0, atol=1e-12)


def test_a_loss_may_read_views_that_exist_only():
    reads = {"type": "toy.TwoTerms", "reads": {"attention": "hlaf.attention"}}
    text = refused(losses={**LOSSES, "half": reads}, views={"half": {"type": "toy.Half"}})
    assert "reads `hlaf.attention`" in text
    assert "Did you mean 'half.attention'?" in text


# ---- losses and their weights ----


def test_the_total_is_the_weighted_sum_and_scalars_stay_unweighted():
    batch = random_batch([5, 3])
    weights = {"first": 0.5, "second": {"schedule": "steps", "steps": [(0, 0.0), (3, 2.0)]}}
    model = build(losses={"cls": LOSSES["cls"], "terms": {"type": "toy.TwoTerms", "weight": weights}})
    for epoch, second in ((0, 0.0), (2, 0.0), (3, 2.0), (9, 2.0)):
        made = model.losses(replace(batch, epoch=epoch))
        expected = made["cls"] + 0.5 * made["terms.first"] + second * made["terms.second"]
        torch.testing.assert_close(made["total"], expected, rtol=0, atol=1e-14)
    assert set(made) == {"cls", "terms.first", "terms.second", "total"}


def test_a_weight_of_zero_switches_off_even_what_is_infinite():
    model = build(losses={**LOSSES, "bad": {"type": "toy.Infinite", "weight": 0}})
    made = model.losses(random_batch([5]))
    assert math.isinf(made["bad"])
    assert math.isfinite(made["total"].detach())


def test_a_step_with_every_weight_zero_runs_and_changes_nothing():
    losses = {"cls": {"type": "VideoCrossEntropy", "weight": {"schedule": "steps", "steps": [(0, 0.0), (1, 1.0)]}}}
    model = build(losses=losses)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for epoch, moves in ((0, False), (1, True)):
        optimizer.zero_grad()
        model.losses(replace(random_batch([5, 3]), epoch=epoch))["total"].backward()
        optimizer.step()
        assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items()) == moves


def test_gradients_are_means_or_sums_over_videos():
    batch = replace(random_batch([5, 3, 4]), share=0.5)
    for reduction, factor in (("mean", 0.5), ("sum", 3)):
        model = build()
        model.grad_reduction = reduction
        total, log = model.parse_losses(model(batch, mode="loss"))
        torch.testing.assert_close(total, factor * log["loss"])
        assert set(log) == {"loss", "cls", "terms.first", "terms.second"}


def test_every_component_hears_that_an_epoch_begins(monkeypatch):
    model = build(views={"half": {"type": "toy.Half"}})
    heard = []
    for path, component in model.components():
        monkeypatch.setattr(
            component, "begin_epoch", lambda epoch, run, path=path: heard.append((path, epoch, run())), raising=False
        )
    model.begin_epoch(3, lambda: "pass")
    assert heard == [(path, 3, "pass") for path, _ in model.components()]
