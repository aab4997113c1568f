"""What an idea may ask a host for, and what the host answers."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from tests.modeling.toys import OneDetection, config, registered
from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import ComponentInfo
from wtal_bench.modeling.build import build_model
from wtal_bench.plugins import registry
from wtal_bench.running.config import load_config
from wtal_bench.running.host import MANY_THRESHOLDS, Host

MODEL = config(
    backbone={"type": "toy.Trunk", "width": 8, "channels": 6},
    heads={"cas": {"type": "toy.Cas", "channels": 6}, "attention": {"type": "toy.Attention", "channels": 6}},
)
TRAIN = dict(lr=2e-3, iterations=900, lr_schedule=[(500, 1e-4)], checkpoint_interval=50)


class Lending(OneDetection):
    """Lends a decoder of the core's."""

    def as_core_decoder(self):
        return dict(type="ThresholdDecoder", num_classes=3, thresholds=[0.3], nms=dict(iou=0.4))


@pytest.fixture(autouse=True)
def _toys():
    with registered():
        info = ComponentInfo("postprocessor", "toy.Lending", f"{__name__}:Lending", plugin="toy")
        registry("postprocessor").add(info)
        yield


def host(train=TRAIN, **changes) -> Host:
    return Host(dict(model={**copy.deepcopy(MODEL), **changes}, train=train), "wtal::host.py", "mix.py: host")


def shipped(name: str) -> Host:
    found = load_config(name)
    return Host(dict(model=found.model, train=found.resolved()["train"]), name, name)


# ---- fields ----


def test_a_field_that_is_not_there_is_told_with_those_that_are_and_what_to_do():
    with pytest.raises(ConfigError, match=r"makes no `class_weights`; it makes embedding, cas, .* Or do without"):
        host().need("class_weights", "Or do without.")
    assert host().need("attention") == "attention"


def test_a_cas_of_another_width_is_no_background():
    wide = {**MODEL["heads"], "cas": {"type": "toy.Cas", "channels": 6, "classes": 3}}
    with_more = {"type": "toy.OneDetection", "reads": {"cas": "cas"}}
    assert host(heads=wide, postprocessor=with_more).background is False
    decoder = {"type": "ThresholdDecoder", "num_classes": 2, "thresholds": [0.5]}
    assert host(postprocessor=decoder).background is True
    with pytest.raises(ConfigError, match="`cas` has 3 columns for 1 classes"):
        _ = host(postprocessor={**decoder, "num_classes": 1}).background


def test_a_background_is_the_hosts_own_or_derived_on_demand():
    decoder = {"type": "ThresholdDecoder", "num_classes": 2, "thresholds": [0.5]}
    own = host(postprocessor=decoder)
    assert own.with_background("zero") == "cas"
    assert own.asked == {}
    lacking = host()
    with pytest.raises(ConfigError, match=r"no background class: `cas` has 3 columns for 3 .* background='zero'"):
        lacking.with_background("host")
    assert lacking.with_background("zero") == "cas_with_background"
    assert "cas_with_background" in build_model(lacking.model, "mix.py").fields
    assert MODEL["heads"].keys() == {"cas", "attention"}, "the host's own config is left alone"


def test_what_ranks_snippets_is_the_hosts_own_where_there_is_one():
    asked = host()
    assert asked.actionness() == "attention"
    assert asked.asked == {}


# ---- candidates ----


def test_candidates_are_the_hosts_without_what_chooses_among_them():
    found = shipped("acm_net_synthetic").candidates()
    own = load_config("acm_net_synthetic").model["postprocessor"]
    assert found["type"] == "PooledDecoder"
    assert not {"nms", "nms_units", "clamp", "shared"} & set(found)
    for name, settings in found["passes"].items():
        assert settings == {**own["shared"], **own["passes"][name]}, "nothing else changed"
    ring = dict(outer=0.1)
    rings = shipped("acm_net_synthetic").candidates(contrast=ring)["passes"]
    assert [settings["contrast"] for settings in rings.values()] == [ring, ring]


def test_a_single_threshold_becomes_many_and_a_list_stays():
    single = {"type": "ThresholdDecoder", "num_classes": 3, "thresholds": [0.5], "nms": {"iou": 0.5}}
    assert host(postprocessor=single).candidates()["thresholds"] == {"relative": MANY_THRESHOLDS}
    assert host(postprocessor=single).candidates("host")["thresholds"] == [0.5]
    several = {**single, "thresholds": [0.2, 0.5]}
    assert host(postprocessor=several).candidates()["thresholds"] == [0.2, 0.5]
    assert host(postprocessor=several).candidates("many")["thresholds"] == {"relative": MANY_THRESHOLDS}
    one = {**single, "thresholds": {"relative": [0.5]}}
    assert host(postprocessor=one).candidates()["thresholds"] == {"relative": MANY_THRESHOLDS}
    assert (len(MANY_THRESHOLDS), MANY_THRESHOLDS[0], MANY_THRESHOLDS[-1]) == (20, 0.05, 0.95)
    np.testing.assert_allclose(np.diff(MANY_THRESHOLDS), 0.9 / 19, atol=1e-4)


def test_a_decoder_of_a_plugins_own_lends_its_candidates_or_is_refused():
    lent = host(postprocessor={"type": "toy.Lending"}).candidates("host")
    assert lent == dict(type="ThresholdDecoder", num_classes=3, thresholds=[0.3])
    with pytest.raises(ConfigError, match=r"decodes by 'toy\.OneDetection', .* \(as_core_decoder\)"):
        host().candidates()


def test_the_candidates_of_one_stream_read_its_members_own_fields():
    decoder = shipped("fac_net_synthetic").candidates(stream=True)
    assert (decoder["type"], decoder["scores"]) == ("ThresholdDecoder", "video_logits")
    assert decoder["curve"] == dict(field="cas", activation="softmax")
    assert "score_scale" not in decoder
    member = load_config("fac_net_synthetic").model["member"]
    build_model(dict(type="Localizer", **member, postprocessor=decoder), "member")


def test_a_score_of_several_streams_is_left_out_and_a_curve_of_several_is_refused():
    def streams(**settings) -> Host:
        member = {key: value for key, value in MODEL.items() if key not in ("type", "postprocessor")}
        settings = dict(scores="rgb.video_logits", thresholds=[0.2, 0.3], num_classes=3) | settings
        decoder = dict(type="PooledDecoder", passes=dict(rgb=settings))
        model = dict(type="Streams", streams=dict(rgb=(0, 8), flow=(8, 16)), member=member, postprocessor=decoder)
        return Host(dict(model=model, train=TRAIN), "wtal::host.py", "mix.py: host")

    both = dict(sum=[dict(field="rgb.cas", weight=0.5), dict(field="flow.cas", weight=0.5)])
    found = streams(curve="rgb.cas", score_curve=both).candidates(stream=True)
    assert "score_curve" not in found
    assert found["curve"] == "cas"
    assert streams(curve="rgb.cas", score_curve=both).candidates()["passes"]["rgb"]["score_curve"] == both
    with pytest.raises(ConfigError, match="no pass of the host's decoder reads stream 'rgb' alone"):
        streams(curve=both).candidates(stream=True)


# ---- training ----


def test_what_follows_a_host_starts_from_it_and_counts_epochs_whatever_the_host_counts():
    train = host().continued(20, [(0, 0.5), (8, 0.1)])
    assert train["init_from"]["config"] == "wtal::host.py"
    assert (train["epochs"], train["iterations"]) == (20, None)
    assert train["lr"] == 1e-3
    assert train["lr_schedule"] == [(8, pytest.approx(2e-4))]
    assert (train["val_interval"], train["checkpoint_interval"]) == (None, 1)
    picky = host(dict(lr=1.0, epochs=7, selection="best_on_test", val_interval=3))
    assert picky.continued(2)["val_interval"] == 1
    assert picky.epochs == 7
    with pytest.raises(ConfigError, match=r"counts iterations.* schedule='warm_start'"):
        _ = host().epochs
    assert (host().pairs, host(dict(TRAIN, pairs=dict(source="in_batch"))).pairs) == ("", "in_batch")
