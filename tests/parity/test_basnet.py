"""BaS-Net against numbers of the authors' code: outputs, losses, gradients, Adam steps and the test path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.decoding.compare import same_ap, same_multiset, score, video_rows
from tests.helpers import golden_files
from tests.parity.host_files import Golden, assert_gradients, assert_near, assert_steps, batch_of, build, shipped_model
from wtal_bench.decoding import ThresholdDecoder
from wtal_bench.evaluation import exact_match_accuracy
from wtal_bench.structures import VideoMeta

NAMES = {
    "backbone.filter1.weight": "filter.conv1.weight",
    "backbone.filter1.bias": "filter.conv1.bias",
    "backbone.filter2.weight": "filter.conv2.weight",
    "backbone.filter2.bias": "filter.conv2.bias",
    "backbone.conv1.weight": "cas.conv1.weight",
    "backbone.conv1.bias": "cas.conv1.bias",
    "backbone.conv2.weight": "cas.conv2.weight",
    "backbone.conv2.bias": "cas.conv2.bias",
    "heads.cls.cls.weight": "cas.conv3.weight",
}


def options(meta: dict) -> list[str]:
    assert meta["background_column"] == meta["num_classes"]
    return [
        f"model.backbone.in_channels={meta['feature_dim']}",
        f"model.backbone.channels={meta['hidden']}",
        f"model.backbone.filter_channels={meta['filter_hidden']}",
        f"model.backbone.slope={meta['leaky_slope']}",
        f"model.heads.base.slope={meta['leaky_slope']}",
        f"model.heads.cls.channels={meta['hidden']}",
        f"model.heads.cls.num_classes={meta['num_classes']}",
        f"model.heads.pool.divisor={meta['r']}",
        f"model.heads.base_pool.divisor={meta['r']}",
        f"model.losses.norm.weight={meta['alpha']}",
    ]


@pytest.mark.parametrize("path", golden_files("basnet", "basnet_case*.npz"))
def test_outputs_losses_gradients_and_steps(path):
    golden = Golden(path)
    meta = golden.settings("meta")
    model = build("basnet_thumos", options(meta), {ours: golden[f"param/{theirs}"] for ours, theirs in NAMES.items()})
    batch = batch_of(golden["in/features"], golden["in/labels"])
    outputs = model.compute(batch)
    losses = model.losses(batch, outputs)
    base, supp = (model._losses[name].component for name in ("base", "supp"))
    assert model.heads["pool"].count(batch.mask).tolist() == [meta["k"]] * meta["batch"]
    ours = {
        "fore_weights": outputs["attention"],
        "x_supp": outputs["attention"].unsqueeze(-1) * batch.features,
        "cas_base": outputs["base_cas"],
        "cas_supp": outputs["cas"],
        "logits_base": outputs["base_video_logits"],
        "logits_supp": outputs["video_logits"],
        "score_base": outputs["base_video_logits"].softmax(1),
        "score_supp": outputs["video_logits"].softmax(1),
        "target_base": base.target(batch.labels, outputs["base_video_logits"]),
        "target_supp": supp.target(batch.labels, outputs["video_logits"]),
    }
    for name, value in ours.items():
        assert_near(value, golden[f"out/{name}"], what=name)
    for name in ("base", "supp", "norm", "total"):
        assert_near(losses[name], golden[f"loss/{name}"], what=name)
    for field, cas in (("embedding", "cas"), ("base_embedding", "base_cas")):
        torch.testing.assert_close(F.linear(outputs[field], outputs["class_weights"]), outputs[cas], rtol=0, atol=1e-12)
    assert_gradients(model, losses["total"], golden, "grad/", NAMES.get)
    assert_steps(model, batch, meta["optimizer"], golden, NAMES.get)
    golden.assert_all_read()


@pytest.mark.parametrize("path", golden_files("basnet", "basnet_proposals_*.npz"))
@pytest.mark.parametrize(("stored", "rule"), [("out", "drop"), ("fixed", "keep")])
def test_the_shipped_decoder_gives_the_authors_proposals_and_map(path, stored, rule):
    """`fixed` is what ships; `out`, the authors' faults at index 0 included, is two switches away."""
    golden = Golden(path)
    made = golden.settings("meta")
    config = shipped_model("basnet_thumos")["postprocessor"]
    assert (made["fps"], made["snippet_frames"]) == (25, 16)
    assert (config["class_threshold"], config["upsample"]) == (made["class_threshold"], made["scale"])
    binary = made["score_is_binarised"]
    assert config["contrast"] == dict(outer=made["oic_lambda"], video_score=made["gamma"], video_score_binary=binary)
    assert config["nms"] == {"iou": made["nms"], "offset": 1.0}
    config |= dict(num_classes=made["num_classes"], scores_activation="none", clamp="none")
    if rule == "drop":
        config |= dict(lone_first_class=rule, lone_first_sample=rule)
    config.pop("type")
    decoder = ThresholdDecoder(**config)
    np.testing.assert_array_equal(decoder.thresholds.levels(np.zeros((1, 1))), golden["in/cas_thresholds"])
    found, candidates, scores, kept_by_video = [], [], [], {}
    for v in range(made["num_videos"]):
        outputs = {"cas": golden[f"in/cas_supp/{v}"], "video_logits": golden["in/score_supp"][v]}
        assert len(outputs["cas"]) == made["num_segments"]
        snippets = int(golden["in/num_snippets"][v])
        video = VideoMeta(str(v), snippets * 16 / 25, fps=25.0, stride=16, num_snippets=snippets)
        found.append(decoder(outputs, video))
        candidates.append(decoder.candidates(outputs, video).detections())
        scores.append(decoder.video_scores(outputs))
        kept, curve, _ = decoder.curves(outputs, video)
        kept_by_video[v] = kept.tolist()
        if rule == "keep" and len(kept):
            np.testing.assert_array_equal(kept, golden[f"fixed/classes/{v}"])
            assert_near(curve, golden[f"fixed/cas_up/{v}"], 1e-10)
    if rule == "keep":
        assert [v for v, kept in kept_by_video.items() if kept == [0]] == made["class0_only_videos"]
        assert [v for v, kept in kept_by_video.items() if not kept] == made["no_class_videos"]
    same_multiset(video_rows(candidates), golden[f"{stored}/candidates"])
    same_multiset(video_rows(found), golden[f"{stored}/proposals"])
    result = score(video_rows(found), golden["in/gt"], golden["in/tious"], made["num_videos"], made["num_classes"])
    same_ap(result, golden[f"{stored}/ap"], golden[f"{stored}/map"] / 100)
    assert_near(100 * result.average, golden[f"{stored}/average_map"], 1e-10)
    assert_near(100 * result.mAP[:7].mean(), golden[f"{stored}/map_avg_01_07"], 1e-10)
    accuracy = exact_match_accuracy(np.array(scores), golden["in/labels"], made["class_threshold"])
    assert_near(accuracy, golden[f"{stored}/video_accuracy"], 1e-7)  # theirs is in single precision
    other = "fixed/" if stored == "out" else "out/"
    golden.read |= {name for name in golden if name.startswith(other)}  # the other run of this test reads those
    golden.assert_all_read()
