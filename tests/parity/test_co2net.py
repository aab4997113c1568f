"""CO2-Net against numbers of the authors' code: outputs, losses, gradients, the test path and its sampler."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.decoding.compare import same_rows
from tests.helpers import golden_files, load_golden
from tests.parity.host_files import Golden, assert_gradients, assert_near, batch_of, build, shipped_model
from wtal_bench.data.sampling import random_segment_positions
from wtal_bench.decoding import ThresholdDecoder

NAMES = {}
for theirs, ours in (("ccm_rgb", "rgb"), ("ccm_flow", "flow")):
    layers = dict(local="local.conv", summary="summary", att1="att1.conv", att2="att2.conv", att3="att3")
    for name, layer in layers.items():
        NAMES[f"backbone.{ours}.{layer}"] = f"{theirs}.{'global' if name == 'summary' else name}"
NAMES |= {
    "backbone.fusion": "fusion",
    "heads.classifier.cls1.conv": "cls1",
    "heads.classifier.cls2": "cls2",
}
NAMES = {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in NAMES.items() for kind in ("weight", "bias")}


def options(cfg: dict, golden: Golden) -> list[str]:
    channels, width = golden["param/fusion.weight"].shape[:2]
    return [
        f"model.backbone.in_channels={width}",
        f"model.backbone.channels={channels}",
        f"model.backbone.hidden={len(golden['param/ccm_rgb.att1.weight'])}",
        f"model.backbone.pool={cfg['pool_kernel'] or None}",
        f"model.heads.classifier.channels={channels}",
        f"model.heads.classifier.num_classes={golden['in/labels'].shape[1]}",
        f"model.heads.classifier.pool={cfg['pool_kernel'] or None}",
        f"model.heads.pool.divisor={cfg['topk_div']}",
        f"model.heads.supp_pool.divisor={cfg['topk_div']}",
        f"model.losses.norm.weight={cfg['w_norm']}",
        f"model.losses.guide.weight={cfg['w_guide']}",
        f"model.losses.coact.weight={cfg['w_coact']}",
        f"model.losses.mutual.weight={cfg['w_mutual']}",
    ]


@pytest.mark.parametrize("path", golden_files("co2net", "co2net_case*.npz"))
def test_outputs_losses_gradients_and_proposals(path):
    golden = Golden(path)
    cfg = golden.settings("cfg")
    model = build(
        "co2net_thumos", options(cfg, golden), {ours: golden[f"param/{theirs}"] for ours, theirs in NAMES.items()}
    )
    batch = batch_of(golden["in/features"], golden["in/labels"], pairs=[(0, 1), (2, 3), (4, 5)])
    outputs = model.compute(batch)
    ours = {
        "feat": outputs["embedding"],
        "cas": outputs["cas"],
        "att": outputs["attention"].unsqueeze(-1),
        "att_rgb": outputs["rgb_attention"].unsqueeze(-1),
        "att_flow": outputs["flow_attention"].unsqueeze(-1),
        "cas_supp": outputs["suppressed_cas"],
    }
    for name, value in ours.items():
        assert_near(value, golden[f"out/{name}"], what=name)
    losses = model.losses(batch, outputs)
    for name in ("mil", "mil_supp", "coact", "mutual", "norm", "guide", "total"):
        assert_near(losses[name], golden[f"loss/{name}"], what=name)
    assert_gradients(model, losses["total"], golden, "grad/", NAMES.get)
    assert_near(batch.features.grad, golden["grad/features"], what="grad/features")
    assert_localization(model, cfg, golden)
    golden.assert_all_read()


def assert_localization(model, cfg: dict, golden: Golden) -> None:
    """The shipped decoder on the file's own curves, with the class scores our heads make of them."""
    cas, attention = golden["in/loc/cas"], golden["in/loc/att"]
    snippets, columns = cas.shape
    config = shipped_model("co2net_thumos")["postprocessor"]
    assert config["class_threshold"] == cfg["class_thr"]
    assert config["contrast"] == {"outer": cfg["oic"], "video_score": cfg["gamma"]}
    assert config["nms"] == {"kind": "gaussian", "sigma": cfg["soft_nms_sigma"], "offset": 1.0}
    config.pop("type")
    decoder = ThresholdDecoder(**config | dict(num_classes=columns - 1))
    curves = {"cas": torch.from_numpy(cas)[None], "attention": torch.from_numpy(attention)[None]}
    batch = batch_of(np.zeros((1, snippets, 1)), np.zeros((1, 1)))
    weighted = model.heads["suppression"](curves, batch)["weighted_cas"]
    pooled = model.heads["test_pool"]({"cas": weighted}, batch)["video_logits"]
    largest = model.heads["tag_pool"](curves, batch)["video_logits"]
    outputs = {"cas": cas, "attention": attention, "video_logits": pooled[0].numpy(), "tag_logits": largest[0].numpy()}
    assert_near(decoder.class_scores(outputs), golden["out/loc/video_prob"])
    assert_near(largest[0], cas.max(axis=0))
    rows = decoder(outputs, batch.meta[0]).rows()[:, [0, 3, 1, 2]] / [1, 1, 0.64, 0.64]
    same_rows(rows, golden["out/loc/proposals"])


@pytest.mark.parametrize("path", golden_files("trajectory", "co2net*.npz"))
def test_the_training_rows_are_those_their_sampler_draws(path):
    golden = load_golden(path)
    stream = np.random.RandomState(77)
    for length, rows in zip(golden["perturb_lengths"], golden["perturb_rows"]):
        np.testing.assert_array_equal(random_segment_positions(int(length), len(rows), stream), rows)
