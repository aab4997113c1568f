"""ECM against numbers of the authors' network and loss: outputs, losses, gradients, through components of a config."""

from __future__ import annotations

import json

import pytest
import torch

from tests.helpers import golden_files, load_golden
from tests.parity.host_files import assert_near, batch_of
from wtal_bench.decoding.curves import normalize
from wtal_bench.evaluation import frame_accuracy
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.localizer import Localizer

PARAMETERS = {
    "base.": "backbone.trunk.",
    "cls.": "heads.pre.classifier.",
    "post_base.": "heads.own.trunk.",
    "post_cls.": "heads.own.classifier.",
    "trans.": "heads.weights.transition.",
    "self_att.": "heads.weights.self_attention.",
}
VARIANTS = {
    "T4_pre_only": {"streams": "pre"},
    "T4_pre_post": {"use_a2c": False, "use_c2c": False},
    "T4_pre_post_a2c": {"use_c2c": False},
    "T4_full": {},
    "fold_contiguous": {"fold_mode": "contiguous"},
    "norm_weight_sum": {"agg_norm": "weight_sum"},
    "norm_fold_len": {"agg_norm": "fold_len"},
    "a2c_sigmoid": {"a2c_prob": "sigmoid"},
    "a2c_softmax_c": {"a2c_prob": "softmax_c"},
    "c2c_softmax": {"c2c_space": "softmax"},
    "c2c_sigmoid": {"c2c_space": "sigmoid"},
    "official": {"bg_weight": "official", "a2c_absent": "mean_present"},
}


def config_of(cfg: dict, width: int, channels: int, classes: int) -> dict:
    """The model config that says what a golden file's cfg says."""
    assert (cfg["bg_weight"], cfg["a2c_absent"]) in {("official", "mean_present"), ("paper", "own")}
    post_only, own = cfg["streams"] == "post", not cfg["share_classifier"]
    stream = dict(fold_mode=cfg["fold_mode"], agg_norm=cfg["agg_norm"], slope=cfg["slope"], dropout=0.0)
    names = ("taps", "conv1_bias", "conv2_weight", "conv2_bias", "class_weights")
    reads = {name: f"post.{name}" for name in names} if own else {}
    has_post = cfg["streams"] != "pre"
    return dict(
        type="Localizer",
        backbone=dict(type="ecm.Trunk", in_channels=width, channels=channels, slope=cfg["slope"]),
        heads=dict(
            pre=dict(
                type="ecm.PreClassification",
                channels=channels,
                num_classes=classes,
                topk_ratio=cfg["topk_ratio"],
                dropout=0.0,
            ),
            own=dict(
                type="ecm.OwnTrunk",
                in_channels=width,
                channels=channels,
                num_classes=classes,
                slope=cfg["slope"],
                writes=reads,
            )
            if own and has_post
            else None,
            weights=dict(type="ecm.Weights", num_classes=classes, source=cfg["weight_source"], in_channels=width)
            if has_post
            else None,
            post=dict(type="ecm.PostClassification", reads=reads, **stream) if has_post else None,
            absence=dict(type="ecm.AbsenceClassification", background=cfg["bg_weight"], reads=reads, **stream)
            if has_post
            else None,
        ),
        losses=dict(
            cls_e=None if post_only else dict(type="VideoCrossEntropy"),
            cls_o=dict(type="VideoCrossEntropy", reads="post_logits") if has_post else None,
            c2c=dict(
                type="ecm.ScoreConsistency", space=cfg["c2c_space"], weight=cfg["alpha"] if cfg["use_c2c"] else 0.0
            )
            if cfg["streams"] == "both"
            else None,
            a2c=dict(
                type="ecm.AggregationConsistency",
                prob=cfg["a2c_prob"],
                weight=cfg["beta"] if cfg["use_a2c"] and not post_only else 0.0,
            )
            if has_post
            else None,
        ),
        postprocessor=None,
    )


def build(cfg: dict, data: dict) -> Localizer:
    channels, width, _ = data["param/base.conv1.weight"].shape
    classes = data["param/cls.weight"].shape[0]
    model = build_model(config_of(cfg, width, channels, classes), "golden").double().eval()
    state = model.state_dict()
    for name in state:
        state[name] = torch.from_numpy(data[f"param/{canonical(name)}"])
    model.load_state_dict(state)
    return model


def canonical(name: str) -> str:
    for ours, theirs in ((v, k) for k, v in PARAMETERS.items()):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise AssertionError(f"no canonical name for {name}")


@pytest.mark.parametrize("path", golden_files("ecm", "ecm_case*.npz"))
def test_network_losses_and_gradients(path):
    data = load_golden(path)
    cfg = json.loads(str(data["cfg"]))
    model, batch = build(cfg, data), batch_of(data["in/feature"], data["in/label"])
    outputs = model.compute(batch)
    scores = model.losses(batch, outputs)

    ours = {
        "cas": outputs["cas"].transpose(1, 2),
        "score_pre": outputs["video_logits"],
        "weight_action": outputs["weight_action"].transpose(1, 2),
        "score_post": outputs["post_logits"],
        "score_absent": outputs["absence_logits"],
        "prob": outputs["post_logits" if cfg["streams"] == "post" else "video_logits"].softmax(1),
    }
    a2c = model._losses["a2c"].component
    if cfg["a2c_prob"] == "softmax_2c":
        ours["prob_2c"] = torch.cat(a2c.probabilities(outputs["post_logits"], outputs["absence_logits"]), 1)
    if "out/cas_post" in data:
        own = model.heads["own"].cas(batch.features, batch.mask) if "own" in model.heads else outputs["cas"]
        ours["cas_post"] = own.transpose(1, 2)
    for name, value in ours.items():
        if f"out/{name}" in data:
            assert_near(value, data[f"out/{name}"], what=f"out/{name}")

    for name in ("cls_e", "cls_o", "c2c", "a2c", "total"):
        if f"loss/{name}" in data:
            assert_near(scores[name], data[f"loss/{name}"], what=f"loss/{name}")
    assert_gradients(model, scores["total"], data, "grad")
    for name in ("a2c", "c2c", "cls_o"):
        if any(key.startswith(f"grad_{name}/") for key in data):
            assert_gradients(model, scores[name], data, f"grad_{name}")


def assert_gradients(model, loss, data, prefix):
    model.zero_grad()
    loss.backward(retain_graph=True)
    compared = 0
    for name, parameter in model.named_parameters():
        key = f"{prefix}/{canonical(name)}"
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        if key in data:
            assert_near(gradient, data[key], 1e-6, key)
        elif f"{key}/index" in data:
            assert_near(gradient.flatten()[data[f"{key}/index"]], data[f"{key}/value"], 1e-6, key)
        else:
            continue
        compared += 1
    assert compared, f"no gradient of {prefix} was compared"


@pytest.mark.parametrize("path", golden_files("ecm", "ecm_case*.npz", holding="variant/"))
def test_variants_give_their_losses(path):
    data = load_golden(path)
    cfg = json.loads(str(data["cfg"]))
    rows = {key.split("/")[1] for key in data if key.startswith("variant/")}
    for row in sorted(rows):
        model = build(cfg | VARIANTS[row], data)
        scores = model.losses(batch_of(data["in/feature"], data["in/label"]))
        for name in ("cls_e", "cls_o", "c2c", "a2c", "total"):
            if f"variant/{row}/loss/{name}" in data:
                assert_near(scores[name], data[f"variant/{row}/loss/{name}"], what=f"{row} {name}")


@pytest.mark.parametrize("path", golden_files("ecm", "ecm_case*.npz", holding="out/cas_norm"))
def test_curve_is_normalised_over_time(path):
    data = load_golden(path)
    cas = data["out/cas" if json.loads(str(data["cfg"]))["streams"] != "post" else "out/cas_post"]
    for video, stored in zip(cas, data["out/cas_norm"]):
        assert_near(normalize(video.T, "rectified").T, stored)


@pytest.mark.parametrize("path", golden_files("ecm", "ecm_case*.npz", holding="in/frame_gt"))
def test_frame_accuracy(path):
    data = load_golden(path)
    cfg = json.loads(str(data["cfg"]))
    curve, prob, truth = data["out/cas_norm"][0].T, data["out/prob"][0], data["in/frame_gt"]
    accuracy = frame_accuracy([curve], [prob], [truth], threshold=cfg["frame_tau"])
    assert_near(accuracy, data["out/frame_accuracy"])
