"""BM against an oracle of the reference's losses and localization: network, losses, gradients, both streams decoded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.decoding.compare import same_multiset
from tests.helpers import golden_files
from tests.parity.host_files import Golden, assert_gradients, assert_near, batch_of
from tests.parity.hosts import host, recipe, renamed
from wtal_bench.data.sampling import uniform_positions
from wtal_bench.modeling.build import build_model
from wtal_bench.structures import VideoMeta

NAMES = renamed(
    {
        "backbone.": "embed.",
        "heads.attention.": "att.",
        "heads.classifier.cls.": "cls.",
        "heads.clusters.": "clu.",
    }
)
LAYERS = {"mlp1": 1, "mlp2": 2}


def member_of(golden: Golden, made: dict) -> dict:
    """One stream of the shipped recipe (with or without embedding) as a golden file sets it."""
    hidden, channels = golden["param/att.fc1.weight"].shape
    embedded = made["embed"] != "none"
    member = recipe("bm_embedding_thumos" if embedded else "bm_thumos")["member"]
    if embedded:
        width = golden["in/features"].shape[2]
        layers = LAYERS[made["embed"]]
        member["backbone"] |= dict(in_channels=width, hidden=channels, channels=channels, layers=layers)
    heads, losses = member["heads"], member["losses"]
    heads["attention"] |= dict(channels=channels, hidden=hidden)
    heads["clusters"] |= dict(channels=channels)
    heads["classifier"] |= dict(channels=channels, num_classes=len(golden["param/cls.weight"]) - 1)
    heads["classifier"] |= {name: made[name] for name in ("pool", "fg_eps", "bg_eps", "test_eps")}
    losses["guide"] |= dict(sigma=made["guide_sigma"], bias=made["guide_bias"], foreground=made["guide_fg"])
    for name in ("bg", "guide", "cluster"):
        losses[name]["weight"] = made[f"w_{name}"]
    return dict(type="Localizer", **member)


@pytest.mark.parametrize("path", golden_files("bm", "bm_case*.npz"))
def test_network_losses_and_gradients(path):
    golden = Golden(path)
    made = golden.settings("cfg")
    model = host(member_of(golden, made), golden.under("param/"), NAMES)
    batch = batch_of(golden["in/features"], golden["in/labels"])
    outputs = model.compute(batch)
    guide = model._losses["guide"].component
    smooth, foreground, background = guide.targets(outputs, batch)
    expected = {
        "emb": outputs["embedding"],
        "att_hidden": torch.relu(model.heads["attention"].fc1(outputs["embedding"])),
        "att": outputs["attention"],
        "feat_fg": outputs["foreground_feature"],
        "feat_bg": outputs["background_feature"],
        "logits_fg": outputs["video_logits"],
        "logits_bg": outputs["background_logits"],
        "prob_fg": outputs["video_logits"].softmax(dim=1),
        "prob_bg": outputs["background_logits"].softmax(dim=1),
        "gap_fg": outputs["foreground_gap"],
        "gap_bg": outputs["background_gap"],
        "tcam_raw": outputs["cas"],
        "tcam_prob": guide.scores(outputs),
        "tcam_smooth": smooth,
        "guide_fg": foreground,
        "guide_bg": background,
        "test_prob": outputs["test_logits"].softmax(dim=1)[:, :-1],
    }
    for name, value in expected.items():
        assert_near(value, golden[f"out/{name}"], what=name)
    losses = model.losses(batch, outputs)
    for name in ("fg", "bg", "guide", "cluster", "total"):
        assert_near(losses[name], golden[f"loss/{name}"], what=name)
    assert_gradients(model, losses["total"], golden, "grad/", NAMES)
    assert_near(batch.features.grad, golden["grad/features"], what="grad/features")
    golden.assert_all_read("in/loc/", "out/loc/")  # the test below


@pytest.mark.parametrize("path", golden_files("bm", "bm_case*.npz"))
def test_both_streams_are_decoded_and_pooled(path):
    golden = Golden(path)
    made = golden.settings("cfg")
    if "in/loc/length" not in golden:
        pytest.skip("this case stores no localization")
    config = recipe("bm_thumos")["postprocessor"]
    config |= dict(
        streams={s: dict(threshold=made[f"thr_{s}"], share=made[f"a_{s}"]) for s in ("rgb", "flow")},
        num_classes=golden["in/loc/rgb/tcam_raw"].shape[1] - 1,
        scores_activation="none",  # the file holds what the activation has made
        class_threshold=made["class_thr"],
        mix=made["mix"],
        upsample=made["scale"],
        sigma=made["curve_sigma"],
        activation=made["tcam"],
        attention_power=made["score_att_power"],
        clamp="none",
    )
    config["contrast"] |= dict(weight=made["oic"])
    config["nms"] |= dict(iou=made["nms"])
    length, index = int(golden["in/loc/length"]), golden["in/loc/sample_index"]
    np.testing.assert_array_equal(uniform_positions(length, len(index)), index)
    outputs = {}
    for stream in ("rgb", "flow"):
        for name, field in (("att", "attention"), ("tcam_raw", "cas"), ("prob", "test_logits")):
            outputs[f"{stream}.{field}"] = golden[f"in/loc/{stream}/{name}"]
    decoder = build_model({**recipe("bm_thumos"), "postprocessor": config}, "golden")._decoder.component
    meta = VideoMeta("v", 1e9, fps=made["fps"], stride=made["clip"], num_snippets=length)
    for stream, part in zip(("rgb", "flow"), decoder.parts(outputs, meta), strict=True):
        same_multiset(stored(part.detections()), golden[f"out/loc/{stream}/proposals"])
    same_multiset(stored(decoder(outputs, meta)), golden["out/loc/fused"])
    golden.assert_all_read("in/features", "in/labels", "param/", "out/", "loss/", "grad/")  # the test above


def stored(found) -> np.ndarray:
    """Columns (class, score, start s, end s)."""
    return found.rows()[:, [0, 3, 1, 2]]
