"""STPN and STPN + embedding against an oracle of the reproduction: network, losses, gradients, both streams decoded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.decoding.compare import same_multiset
from tests.helpers import golden_files
from tests.parity.host_files import Golden, assert_gradients, assert_near, batch_of
from tests.parity.hosts import host, recipe, renamed
from wtal_bench.data.sampling import uniform_positions
from wtal_bench.decoding import sigmoid
from wtal_bench.modeling.build import build_model
from wtal_bench.structures import VideoMeta

NAMES = renamed({"backbone.": "embed.", "heads.attention.": "att.", "heads.classifier.cls.": "cls."})
LAYERS = {"mlp1": 1, "mlp2": 2}
CLASSIFICATION = {
    "bce": dict(form="binary_sigmoid", normalize=False, class_reduction="mean"),
    "bce_sum": dict(form="binary_sigmoid", normalize=False, class_reduction="sum"),
    "softmax": dict(form="softmax", normalize=True, class_reduction="sum"),
}


def member_of(golden: Golden, made: dict) -> dict:
    """One stream of the shipped recipe (with or without embedding) as a golden file sets it."""
    hidden, channels = golden["param/att.fc1.weight"].shape
    embedded = made["embed"] != "none"
    member = recipe("stpn_embedding_thumos" if embedded else "stpn_thumos")["member"]
    if embedded:
        width = golden["in/features"].shape[2]
        layers = LAYERS[made["embed"]]
        member["backbone"] |= dict(in_channels=width, hidden=channels, channels=channels, layers=layers)
    member["heads"]["attention"] |= dict(channels=channels, hidden=hidden)
    classes = len(golden["param/cls.weight"])
    member["heads"]["classifier"] |= dict(channels=channels, num_classes=classes, pool=made["pool"], eps=made["eps"])
    member["losses"]["cls"] |= CLASSIFICATION[made["cls_loss"]]
    member["losses"]["sparse"] |= dict(reduction=made["sparse"], weight=made["beta"])
    return dict(type="Localizer", **member)


@pytest.mark.parametrize("path", golden_files("stpn", "stpn_case*.npz"))
def test_network_losses_and_gradients(path):
    golden = Golden(path)
    made = golden.settings("cfg")
    model = host(member_of(golden, made), golden.under("param/"), NAMES)
    batch = batch_of(golden["in/features"], golden["in/labels"])
    outputs = model.compute(batch)
    attention = model.heads["attention"]
    hidden = torch.relu(attention.fc1(outputs["embedding"]))
    probability = outputs["video_logits"].softmax(1) if made["cls_loss"] == "softmax" else None
    expected = {
        "emb": outputs["embedding"],
        "att_hidden": hidden,
        "att": outputs["attention"],
        "pooled": outputs["pooled"],
        "logits": outputs["video_logits"],
        "prob": torch.sigmoid(outputs["video_logits"]) if probability is None else probability,
        "tcam_raw": outputs["cas"],
        "tcam": torch.sigmoid(outputs["cas"]),
        "wtcam": outputs["attention"].unsqueeze(-1) * torch.sigmoid(outputs["cas"]),
    }
    for name, value in expected.items():
        assert_near(value, golden[f"out/{name}"], what=name)
    assert torch.equal(outputs["actionness"], outputs["attention"])
    losses = model.losses(batch, outputs)
    for name in ("cls", "sparse", "total"):
        assert_near(losses[name], golden[f"loss/{name}"], what=name)
    assert_gradients(model, losses["total"], golden, "grad/", NAMES)
    assert_near(batch.features.grad, golden["grad/features"], what="grad/features")
    golden.assert_all_read("in/loc/", "out/loc/")  # the test below


@pytest.mark.parametrize("path", golden_files("stpn", "stpn_case*.npz"))
def test_both_streams_are_decoded_and_pooled(path):
    golden = Golden(path)
    made = golden.settings("cfg")
    if "in/loc/length" not in golden:
        pytest.skip("this case stores no localization")
    config = recipe("stpn_thumos")["postprocessor"]
    config["shared"] |= dict(
        num_classes=golden["in/loc/rgb/tcam_raw"].shape[1],
        scores_activation="none",  # the file holds what the activation has made
        class_threshold=made["class_thr"],
        fallback="argmax" if made["fallback_argmax"] else "none",
        lone_first_class="drop" if made["drop_index0"] else "keep",
        lone_first_sample="drop" if made["drop_index0"] else "keep",
        upsample=made["scale"],
        thresholds=[made["thr"]],
    )
    config["nms"] |= dict(iou=made["nms"])
    for decoder in config["passes"].values():
        for field, share in zip(decoder["score_curve"]["product"][1]["sum"], (made["alpha"], 1 - made["alpha"])):
            field |= dict(weight=share, activation="sigmoid" if made["score"] == "sigmoid" else "none")
    length, index = int(golden["in/loc/length"]), golden["in/loc/sample_index"]
    np.testing.assert_array_equal(uniform_positions(length, len(index)), index)
    outputs = {}
    for stream in ("rgb", "flow"):
        for name, field in (("att", "attention"), ("tcam_raw", "cas"), ("prob", "video_logits")):
            outputs[f"{stream}.{field}"] = golden[f"in/loc/{stream}/{name}"]
    decoder = built_decoder({**config, "clamp": "none"})
    meta = VideoMeta("v", 1e9, fps=made["fps"], stride=made["clip"], num_snippets=length)
    for stream, part in zip(("rgb", "flow"), decoder.parts(outputs, meta), strict=True):
        same_multiset(stored(part.detections()), golden[f"out/loc/{stream}/proposals"])
    same_multiset(stored(decoder(outputs, meta)), golden["out/loc/fused"])
    golden.assert_all_read("in/features", "in/labels", "param/", "out/", "loss/", "grad/")  # the test above


def built_decoder(config: dict):
    """The decoder of the shipped model, by the way a run builds it."""
    return build_model({**recipe("stpn_thumos"), "postprocessor": config}, "golden")._decoder.component


def stored(found) -> np.ndarray:
    """Columns (class, score, start s, end s)."""
    return found.rows()[:, [0, 3, 1, 2]]


def test_the_sigmoid_of_a_curve_is_the_network_s():
    x = np.linspace(-40, 40, 9)
    np.testing.assert_allclose(sigmoid(x), torch.sigmoid(torch.from_numpy(x)), rtol=1e-15)
