"""A CAS pass and an attention pass pooled before NMS (ACM-Net, FTCL), and CMCS-style contrast (BGES)."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.decoding.compare import same_ap, same_multiset, same_rows, score, video_rows
from tests.helpers import golden_files, load_golden
from wtal_bench.decoding import PooledDecoder, ThresholdDecoder
from wtal_bench.structures import Detections, VideoMeta


def acm_decoder(meta: dict) -> PooledDecoder:
    """ACM-Net's two passes: each scores on the mix of both curves, the thresholded one zeroed below its threshold."""

    def one(curve: str, other: str, share: float, rest: float, gamma: float, thresholds: np.ndarray) -> dict:
        mix = {"run_share": share, "zero_below": True, "score_curve": {"field": other, "weight": rest}}
        contrast = {"outer": float(meta["oic_ratio"]), "video_score": float(gamma)}
        return {"curve": curve, "thresholds": thresholds, "contrast": contrast, **mix}

    cas, attention = float(meta["fuse_cas"]), float(meta["fuse_att"])
    return PooledDecoder(
        shared={
            "num_classes": int(meta["classes"]),
            "scores_activation": "none",
            "class_threshold": float(meta["cls_threshold"]),
            "class_test": ">",
            "fallback": "argmax",
            "upsample": int(meta["upscale"]),
            "above": ">=",
            "min_length": 2,
        },
        passes={
            "cas": one("cas", "attention", cas, attention, meta["gamma_cas"], meta["cas_thresholds"]),
            "attention": one("attention", "cas", attention, cas, meta["gamma_att"], meta["att_thresholds"]),
        },
        nms={"iou": float(meta["nms_thresh"]), "offset": 1.0},
        clamp="none",
    )


def class_rows(found: Detections, label: int) -> np.ndarray:
    """Rows (class, score, start, end) of one class, in order."""
    rows = found.rows()[:, [0, 3, 1, 2]]
    return rows[rows[:, 0] == label]


@pytest.mark.parametrize("path", golden_files("ftcl", "ftcl_proposals_*.npz"))
def test_acm_net_and_ftcl_test_path(path):
    golden = load_golden(path)
    made = {key.removeprefix("meta/"): value for key, value in golden.items() if key.startswith("meta/")}
    decoder = acm_decoder(made)
    videos = int(made["n_videos"])
    found, truth = [], []
    for v in range(videos):
        outputs = {
            "cas": golden[f"in/vid{v}/cas_inst"],
            "attention": golden[f"in/vid{v}/att"][:, 0],
            "video_logits": golden[f"in/vid{v}/video_inst"],
        }
        snippets, fps = int(golden[f"in/vid{v}/vid_len"]), float(made["fps"])
        stride = int(made["segment_frames"])
        video = VideoMeta(str(v), snippets * stride / fps, fps=fps, stride=stride, num_snippets=snippets)
        found.append(decoder(outputs, video))
        pooled = Detections.concatenate(part.detections() for part in decoder.parts(outputs, video))
        for name, ours in (("pre_nms", pooled), ("proposals", found[-1])):
            stored = golden[f"out/vid{v}/{name}"]
            assert len(ours) == len(stored)
            # the stored class blocks stand in order of a class's first proposal, ours ascend
            for label in np.unique(stored[:, 0]):
                same_rows(class_rows(ours, label), stored[stored[:, 0] == label], where=f"video {v} {name} {label}")
        truth.append(np.insert(golden[f"in/vid{v}/gt"], 0, v, axis=1))
    result = score(video_rows(found), np.concatenate(truth), golden["in/tiou_thresholds"], videos, int(made["classes"]))
    by_class = np.full((len(result.tious), int(made["classes"])), np.nan)
    by_class[:, golden["out/ap_class_order"]] = golden["out/ap_per_class"]
    same_ap(result, by_class, golden["out/mAP"])


def bges_decoder(cfg: dict, from_curve: bool, nms: dict | None) -> ThresholdDecoder:
    mix = [
        {"field": "cas", "activation": "softmax", "weight": cfg["fuse"]},
        {"field": "attention", "weight": 1 - cfg["fuse"]},
    ]
    return ThresholdDecoder(
        num_classes=cfg["num_classes"],
        class_threshold=cfg["rho_cls"],
        class_test=">",
        fallback=cfg["fallback"],
        scores="prob",
        scores_activation="none",
        curve="curve" if from_curve else {"sum": mix},
        normalize=cfg["curve_norm"],
        upsample=cfg["upsample"],
        thresholds=cfg["act_thresh"],
        contrast={"outer": cfg["oic_lambda"], "ring": "at_least_one", "video_score": cfg["oic_gamma"]},
        nms=nms,
        clamp="before_nms",
    )


@pytest.mark.parametrize(
    "path", golden_files("bges_ten", "bges_proposals_*.npz") + golden_files("bges_ten", "bges_decode_*.npz")
)
def test_bges_test_path(path):
    golden = load_golden(path)
    cfg = json.loads(str(golden["cfg"]))
    videos = len(golden["in/num_snippets"])
    from_curve = "in/curve/0" in golden
    decoder = bges_decoder(cfg, from_curve, {"iou": cfg["nms"]})
    unsuppressed = bges_decoder(cfg, from_curve, None)
    found, candidates = [], []
    for v in range(videos):
        outputs = {"prob": golden["in/prob" if from_curve else "out/p_fg"][v]}
        for name, key in (("curve", "curve"), ("cas", "cas"), ("attention", "att")):
            if f"in/{key}/{v}" in golden:
                outputs[name] = golden[f"in/{key}/{v}"]
        video = VideoMeta(
            str(v),
            float(golden["in/duration"][v]),
            fps=cfg["fps"],
            stride=cfg["stride"],
            num_snippets=int(golden["in/num_snippets"][v]),
        )
        kept, curve, _ = decoder.curves(outputs, video)
        np.testing.assert_array_equal(kept, golden[f"out/classes/{v}"])
        np.testing.assert_allclose(curve, golden[f"out/curve_up/{v}"], rtol=0, atol=1e-9)
        found.append(decoder(outputs, video).check(str(v), video.duration))
        candidates.append(unsuppressed(outputs, video))
    same_multiset(video_rows(candidates), golden["out/candidates"])
    same_multiset(video_rows(found), golden["out/proposals"])
    result = score(golden["out/proposals"], golden["in/gt"], golden["in/tious"], videos, cfg["num_classes"])
    same_ap(result, golden["out/ap"], golden["out/map"] / 100)
