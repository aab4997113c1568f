"""Codes that zero the curve below the threshold and suppress with +1 second: BaS-Net, CoLA, UM."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.decoding.compare import same_ap, same_multiset, score, video_rows
from tests.helpers import golden_files, load_golden
from wtal_bench.decoding import PooledDecoder, ThresholdDecoder
from wtal_bench.structures import VideoMeta


def meta(number: int, snippets: int, fps: float, stride: int) -> VideoMeta:
    return VideoMeta(str(number), duration=snippets * stride / fps, fps=fps, stride=stride, num_snippets=snippets)


@pytest.mark.parametrize("path", golden_files("basnet", "basnet_proposals_*.npz"))
@pytest.mark.parametrize(("stored", "rule"), [("out", "drop"), ("fixed", "keep")])
def test_basnet_test_path(path, stored, rule):
    golden = load_golden(path)
    made = json.loads(str(golden["meta"]))
    assert made["score_is_binarised"]
    decoder = ThresholdDecoder(
        num_classes=made["num_classes"],
        scores_activation="none",
        class_threshold=made["class_threshold"],
        lone_first_class=rule,
        normalize="rectified",
        upsample=made["scale"],
        thresholds=golden["in/cas_thresholds"],
        above=">=",
        positive=True,
        lone_first_sample=rule,
        zero_below=True,
        contrast={"outer": made["oic_lambda"], "video_score": made["gamma"], "video_score_binary": True},
        nms={"iou": made["nms"], "offset": 1.0},
        clamp="none",
    )
    found, candidates = [], []
    for v in range(made["num_videos"]):
        outputs = {"cas": golden[f"in/cas_supp/{v}"], "video_logits": golden["in/score_supp"][v]}
        video = meta(v, int(golden["in/num_snippets"][v]), made["fps"], made["snippet_frames"])
        found.append(decoder(outputs, video))
        candidates.append(decoder.candidates(outputs, video).detections())
        kept, curve, _ = decoder.curves(outputs, video)
        if rule == "keep" and len(kept):
            np.testing.assert_array_equal(kept, golden[f"fixed/classes/{v}"])
            np.testing.assert_allclose(curve, golden[f"fixed/cas_up/{v}"], rtol=0, atol=1e-10)
    same_multiset(video_rows(candidates), golden[f"{stored}/candidates"])
    same_multiset(video_rows(found), golden[f"{stored}/proposals"])
    result = score(video_rows(found), golden["in/gt"], golden["in/tious"], made["num_videos"], made["num_classes"])
    same_ap(result, golden[f"{stored}/ap"], golden[f"{stored}/map"] / 100)


@pytest.mark.parametrize("path", golden_files("cola", "cola_proposals_*.npz"))
def test_cola_test_path(path):
    golden = load_golden(path)
    made = json.loads(str(golden["meta"]))
    decoder = PooledDecoder(
        shared={
            "num_classes": made["num_classes"],
            "scores_activation": "none",
            "class_threshold": made["class_threshold"],
            "fallback": "argmax",
            "normalize": "rectified_clip",
            "upsample": made["scale"],
            "above": ">=",
            "positive": True,
            "min_length": made["min_fine_len"],
            "contrast": {"outer": made["oic_lambda"], "video_score": made["gamma"]},
        },
        passes={
            "cas": {"curve": "cas", "thresholds": golden["in/cas_thresholds"], "zero_below": True},
            "actionness": {
                "curve": "actionness",
                "thresholds": golden["in/actionness_thresholds"],
                "score_curve": "cas",
            },
        },
        nms={"iou": made["nms"], "offset": 1.0},
        clamp="none",
    )
    found, parts = [], {name: [] for name in decoder.passes}
    for v in range(made["num_videos"]):
        outputs = {
            "cas": golden[f"in/cas/{v}"],
            "actionness": golden[f"in/actionness/{v}"],
            "video_logits": golden["in/video_scores"][v],
        }
        video = meta(v, int(golden["in/num_snippets"][v]), made["fps"], made["snippet_frames"])
        found.append(decoder(outputs, video))
        for name, part in zip(parts, decoder.parts(outputs, video)):
            parts[name].append(part.detections())
        kept, curve, cas = decoder.passes["actionness"][0].curves(outputs, video)
        np.testing.assert_array_equal(kept, golden[f"out/classes/{v}"])
        np.testing.assert_allclose(cas, golden[f"out/cas_up/{v}"], rtol=0, atol=1e-10)
        np.testing.assert_allclose(curve[:, 0], golden[f"out/actionness_up/{v}"], rtol=0, atol=1e-10)
    for name, part in parts.items():
        same_multiset(video_rows(part), golden[f"out/candidates_{name}"])
    same_multiset(video_rows(found), golden["out/proposals"])
    result = score(video_rows(found), golden["in/gt"], golden["in/tious"], made["num_videos"], made["num_classes"])
    same_ap(result, golden["out/ap"], golden["out/map"] / 100)


@pytest.mark.parametrize("path", golden_files("um", "um_test_*.npz"))
def test_um_test_path(path):
    golden = load_golden(path)
    made = json.loads(str(golden["meta"]))
    decoder = PooledDecoder(
        shared={
            "num_classes": made["num_classes"],
            "scores_activation": "none",
            "class_threshold": made["class_threshold"],
            "fallback": "argmax",
            "upsample": made["scale"],
            "above": ">=",
            "min_length": 2,
            "contrast": {"outer": made["oic_lambda"], "video_score": made["oic_gamma"]},
        },
        passes={
            "cas": {
                "curve": {"product": ["cas", "magnitude"], "normalize": "rectified_clip"},
                "thresholds": golden["in/thresholds_cas"],
                "positive": True,
                "zero_below": True,
            },
            "magnitude": {
                "curve": "magnitude",
                "thresholds": golden["in/thresholds_magnitude"],
                "score_curve": {"product": ["cas", "magnitude"], "normalize": "rectified_clip"},
            },
        },
        nms={"iou": made["nms"], "offset": 1.0},
        clamp="none",
    )
    found, candidates = [], []
    videos = sum(key.startswith("in/features/") for key in golden)
    for v in range(videos):
        outputs = {
            "cas": golden[f"out/cas_softmax/{v}"],
            "magnitude": golden[f"out/magnitude_norm/{v}"],
            "video_logits": golden[f"out/score_act/{v}"],
        }
        video = meta(v, len(golden[f"in/features/{v}"]), made["fps"], made["snippet"])
        found.append(decoder(outputs, video))
        candidates += [np.insert(p.detections().rows(), 0, v, axis=1) for p in decoder.parts(outputs, video)]
        kept, curve, cas = decoder.passes["magnitude"][0].curves(outputs, video)
        np.testing.assert_array_equal(kept, golden[f"out/classes/{v}"])
        np.testing.assert_allclose(cas, golden[f"out/cas_up/{v}"], rtol=0, atol=1e-10)
        np.testing.assert_allclose(curve[:, 0], golden[f"out/magnitude_up/{v}"], rtol=0, atol=1e-10)
    same_multiset(np.concatenate(candidates), golden["out/candidates"][:, :5])
    same_multiset(video_rows(found), golden["out/proposals"])
    result = score(video_rows(found), golden["in/gt"], golden["out/ious"], videos, made["num_classes"])
    same_ap(result, golden["out/ap"], golden["out/map"])
