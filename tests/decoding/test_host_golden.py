"""Decoders of the remaining hosts: CO2-Net (soft NMS), STPN and BM (two streams pooled), W-TALC (own threshold)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from tests.decoding.compare import same_multiset, same_rows
from tests.helpers import golden_files, load_golden
from wtal_bench.decoding import (
    NMS,
    Contrast,
    PooledDecoder,
    ThresholdDecoder,
    TimeAxis,
    find_runs,
    sigmoid,
    softmax,
    upsample_linear,
)
from wtal_bench.structures import VideoMeta

STORED = [0, 3, 1, 2]
"""Columns (class, score, start, end) of `Detections.rows()`."""


@pytest.mark.parametrize("path", golden_files("co2net", "co2net_case*.npz", holding="in/loc/cas"))
def test_co2net_soft_nms_order_and_scores(path):
    golden = load_golden(path)
    cfg = json.loads(str(golden["cfg"]))
    decoder = ThresholdDecoder(
        num_classes=golden["in/loc/cas"].shape[1] - 1,
        scores="prob",
        scores_activation="none",
        class_threshold=cfg["class_thr"],
        fallback="argmax",
        curve="attention",
        thresholds={"linspace": (0.1, 0.9, 10)},
        score_curve={"product": ["cas", "attention"]},
        contrast={"outer": cfg["oic"], "video_score": cfg["gamma"]},
        time="snippet",
        nms={"kind": "gaussian", "sigma": cfg["soft_nms_sigma"], "offset": 1.0},
        nms_units="samples",
        clamp="none",
    )
    outputs = {
        "cas": golden["in/loc/cas"],
        "attention": golden["in/loc/att"],
        "prob": golden["out/loc/video_prob"],
    }
    snippets = len(golden["in/loc/att"])
    video = VideoMeta("v", snippets * 0.64, fps=25.0, stride=16, num_snippets=snippets)
    rows = decoder(outputs, video).rows()[:, STORED] / [1, 1, 0.64, 0.64]
    same_rows(rows, golden["out/loc/proposals"])


def two_streams(golden: dict, passes: dict, shared: dict, cfg: dict) -> None:
    """Each stream's rows, and both pooled with plain NMS."""
    decoder = PooledDecoder(passes=passes, shared=shared, nms={"iou": cfg["nms"], "drop": ">"}, clamp="none")
    outputs = {}
    for stream in ("rgb", "flow"):
        for name in ("att", "tcam_raw", "prob"):
            outputs[f"{stream}.{name}"] = golden[f"in/loc/{stream}/{name}"]
    snippets = int(golden["in/loc/length"])
    video = VideoMeta("v", 1e9, fps=cfg["fps"], stride=cfg["clip"], num_snippets=snippets)
    for stream, part in zip(passes, decoder.parts(outputs, video)):
        same_multiset(part.detections().rows()[:, STORED], golden[f"out/loc/{stream}/proposals"])
    same_multiset(decoder(outputs, video).rows()[:, STORED], golden["out/loc/fused"])


@pytest.mark.parametrize("path", golden_files("stpn", "stpn_case*.npz", holding="in/loc/rgb/prob"))
def test_stpn_streams_and_their_fusion(path):
    golden = load_golden(path)
    cfg = json.loads(str(golden["cfg"]))
    activation = "sigmoid" if cfg["score"] == "sigmoid" else "none"
    raw = [
        {"field": f"{stream}.tcam_raw", "activation": activation, "weight": share}
        for stream, share in (("rgb", cfg["alpha"]), ("flow", 1 - cfg["alpha"]))
    ]
    passes = {
        stream: {
            "scores": f"{stream}.prob",
            "curve": {"product": [f"{stream}.att", {"field": f"{stream}.tcam_raw", "activation": "sigmoid"}]},
            "score_curve": {"product": [f"{stream}.att", {"sum": raw}]},
        }
        for stream in ("rgb", "flow")
    }
    shared = {
        "scores_activation": "none",
        "class_threshold": cfg["class_thr"],
        "class_test": ">",
        "fallback": "argmax" if cfg["fallback_argmax"] else "none",
        "lone_first_class": "drop" if cfg["drop_index0"] else "keep",
        "lone_first_sample": "drop" if cfg["drop_index0"] else "keep",
        "upsample": cfg["scale"],
        "thresholds": [cfg["thr"]],
        "above": ">=",
        "contrast": {"outer": None},
    }
    two_streams(golden, passes, shared, cfg)


@pytest.mark.parametrize("path", golden_files("bm", "bm_case*.npz", holding="in/loc/rgb/prob"))
def test_bm_streams_and_their_fusion_from_functions(path):
    """BM squares the up-sampled attention, which no single curve says: runs, contrast and NMS are used directly."""
    golden = load_golden(path)
    cfg = json.loads(str(golden["cfg"]))
    stream = {s: {name: golden[f"in/loc/{s}/{name}"] for name in ("att", "tcam_raw", "prob")} for s in ("rgb", "flow")}
    act = {s: (sigmoid if cfg["tcam"] == "sigmoid" else softmax)(stream[s]["tcam_raw"])[:, :-1] for s in stream}
    weighted = {s: stream[s]["att"][:, None] * act[s] for s in stream}
    contrast = Contrast(outer=0.25, ring="one_more", weight=cfg["oic"], sides="separate")
    snippets = int(golden["in/loc/length"])
    rows, pooled = {}, []
    for s, other in (("rgb", "flow"), ("flow", "rgb")):
        attention, share = stream[s]["att"], cfg[f"a_{s}"]
        kept = np.flatnonzero(stream[s]["prob"] > cfg["class_thr"])
        kept = kept if len(kept) else np.array([np.argmax(stream[s]["prob"])])
        foreign = attention[:, None] * act[other] * (attention[:, None] if cfg["score_att_power"] == 2 else 1)
        own = weighted[s] * (attention[:, None] if cfg["score_att_power"] == 2 else 1)
        scored = upsample_linear(share * own + (1 - share) * foreign, cfg["scale"])[:, kept]
        curve = cfg["mix"] * upsample_linear(weighted[s], cfg["scale"])[:, kept]
        curve = curve + (1 - cfg["mix"]) * upsample_linear(attention, cfg["scale"])[:, None] ** 2
        if cfg["curve_sigma"] > 0:
            curve = gaussian_filter1d(curve, cfg["curve_sigma"], axis=0, mode="reflect", truncate=4.0)
        runs = find_runs(curve, [cfg[f"thr_{s}"]])
        video = VideoMeta("v", 1e9, fps=cfg["fps"], stride=cfg["clip"], num_snippets=snippets)
        axis = TimeAxis("stride", len(curve), video)
        score, _ = contrast.score(runs, scored)
        rows[s] = np.stack([kept[runs.column], score, axis.seconds(runs.start), axis.seconds(runs.end)], axis=1)
        same_multiset(rows[s], golden[f"out/loc/{s}/proposals"])
        pooled.append(rows[s])
    pooled = np.concatenate(pooled)
    kept, _ = NMS(iou=cfg["nms"], drop=">")(pooled[:, 2], pooled[:, 3], pooled[:, 1], pooled[:, 0].astype(int))
    same_multiset(pooled[kept], golden["out/loc/fused"])


@pytest.mark.parametrize("path", golden_files("wtalc", "wtalc_test_*.npz"))
def test_wtalc_threshold_between_a_class_s_own_extremes(path):
    golden = load_golden(path)
    made = json.loads(str(golden["meta"]))
    assert made["rule"] == "max - 0.5*(max-min), strict"
    decoder = ThresholdDecoder(
        num_classes=made["num_classes"],
        scores_activation="none",
        class_threshold=made["class_threshold"],
        class_test=">",
        thresholds={"relative": [0.5]},
        min_length=made["min_len"],
        contrast={"outer": None, "inside": "max", "video_score": 0.7},
        time="snippet",
        clamp="none",
    )
    rows = []
    for v, class_score in zip(golden["out/class_score_videos"], golden["out/class_score"]):
        logits = golden[f"out/logits/{v}"]
        video = VideoMeta(str(v), 1e9, fps=25.0, stride=16, num_snippets=len(logits))
        found = decoder.candidates({"cas": logits, "video_logits": class_score}, video)
        columns = (np.full(len(found), v), found.label, found.start, found.end, found.score)
        rows.append(np.stack(columns, axis=1))
    same_multiset(np.concatenate(rows), golden["out/candidates"], 1e-10)
