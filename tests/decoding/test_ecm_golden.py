"""ECM's test path: classes, min-max, half-pixel resize, runs, contrast, +1 second NMS, and the fusions of Table 5."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.helpers import golden_files, load_golden
from wtal_bench.decoding import PooledDecoder, ThresholdDecoder
from wtal_bench.structures import VideoMeta


def settings(video: dict, plus_one: bool, **more) -> dict:
    """The decoder settings of one golden video."""
    thumos = video["dataset"].startswith("THUMOS")
    return {
        "scores_activation": "none",
        "class_threshold": video["tau"],
        "upsample": "frames",
        "thresholds": {"arange": (video["th_min"], video["th_max"], video["th_step"])},
        "above": ">=",
        "positive": True,
        "zero_below": True,
        "contrast": {"outer": video["oic_lambda"], "ring": "exclusive", "video_score": video["oic_gamma"]},
        "time": "fps" if thumos else "duration",
        "nms": {"iou": video["nms"], "offset": 1.0 if plus_one else 0.0},
        "clamp": "none",
        **more,
    }


def meta(video: dict) -> VideoMeta:
    """A video whose frame count, frame rate or duration is the golden one."""
    value, frames = video["fps_or_duration"], video["frames"]
    thumos = video["dataset"].startswith("THUMOS")
    fps, duration = (value, frames / value) if thumos else (frames / value, value)
    return VideoMeta("v", duration=duration, fps=fps, stride=16, num_snippets=1, num_frames=frames)


def same_rows(ours, rows: np.ndarray, tol: float) -> None:
    assert ours.rows().shape == rows.shape
    np.testing.assert_allclose(ours.rows(), rows, rtol=0, atol=tol)


@pytest.mark.parametrize("path", golden_files("ecm", "ecm_proposals*.npz"))
def test_ecm_proposals_equal_the_released_code(path):
    golden = load_golden(path)
    cfg = json.loads(str(golden["cfg"]))
    for i, video in enumerate(cfg["videos"]):
        tol = max(video["tol"], 1e-9)
        outputs = {"cas": golden[f"in/cas/{i}"].T, "video_logits": golden[f"in/prob/{i}"]}
        for name, lone in (("out", "drop"), ("keep0", "keep")):
            more = {"normalize": "rectified", "lone_first_sample": lone}
            decoder = ThresholdDecoder(**settings(video, cfg["nms_plus_one_seconds"], **more))
            same_rows(decoder(outputs, meta(video)), golden[f"{name}/proposals/{i}"], tol)
            if name == "out":
                kept, curve, _ = decoder.curves(outputs, meta(video))
                np.testing.assert_array_equal(kept, golden[f"out/classes/{i}"])
                np.testing.assert_allclose(curve, golden[f"out/curve/{i}"].T, rtol=0, atol=tol)
                if f"out/cas_norm/{i}" in golden:
                    stored = golden[f"out/cas_norm/{i}"].T
                    np.testing.assert_allclose(decoder.snippet_scores(outputs), stored, rtol=0, atol=1e-9)
                same_rows(decoder.candidates(outputs, meta(video)).detections(), golden[f"out/candidates/{i}"], tol)


@pytest.mark.parametrize("path", golden_files("ecm", "ecm_fusion*.npz"))
def test_ecm_stream_fusions_of_table_5(path):
    golden = load_golden(path)
    cfg = json.loads(str(golden["cfg"]))
    for i, video in enumerate(cfg["videos"]):
        outputs = {}
        for stream in ("pre", "post"):
            outputs[f"{stream}.cas"] = golden[f"in/cas_{stream}/{i}"].T
            outputs[f"{stream}.prob"] = golden[f"in/prob_{stream}/{i}"]
        # the fusions follow the official profile: a lone first sample is lost
        common = settings(video, cfg["nms_plus_one_seconds"], lone_first_sample="drop")
        single = dict(common, normalize="rectified")
        nms = single.pop("nms")
        clamp = single.pop("clamp")
        passes = {s: {"curve": f"{s}.cas", "scores": f"{s}.prob"} for s in ("pre", "post")}
        merge = PooledDecoder(passes=passes, shared=single, nms=nms, clamp=clamp)
        same_rows(merge(outputs, meta(video)), golden[f"out/merge/{i}"], 1e-8)
        for key in (k for k in golden if k.startswith("out/weighted_") and k.endswith(f"/{i}")):
            share = float(key.split("/")[1].removeprefix("weighted_"))
            scores = {"pre.prob": share, "post.prob": 1 - share}
            fused = [
                {"field": f"{s}.cas", "normalize": "rectified", "weight": w}
                for s, w in (("pre", share), ("post", 1 - share))
            ]
            decoder = ThresholdDecoder(**{**common, "curve": {"sum": fused}, "scores": scores})
            same_rows(decoder(outputs, meta(video)), golden[key], 1e-8)


@pytest.mark.parametrize("path", golden_files("ecm", "ecm_case*.npz", holding="out/proposals_b0"))
def test_ecm_network_cases_decode_as_stored(path):
    golden = load_golden(path)
    cfg = json.loads(str(golden["cfg"]))
    label, factor = int(golden["in/proposal_class"]), int(cfg["upsample"])
    cas = golden["out/cas" if cfg["streams"] != "post" else "out/cas_post"][0, label][:, None]
    prob = golden["out/prob"][0, label : label + 1]
    samples = factor * len(cas)
    video = VideoMeta("v", duration=samples / 25, fps=25.0, stride=16, num_snippets=1, num_frames=samples)
    common = {
        "scores_activation": "none",
        "class_threshold": 0.0,
        "normalize": "rectified",
        "upsample": "frames",
        "thresholds": golden["in/act_thresh"],
        "above": ">=",
        "positive": True,
        "zero_below": True,
        "contrast": {"outer": cfg["oic_lambda"], "ring": "exclusive", "video_score": cfg["oic_gamma"]},
        "time": "fps",
    }
    outputs = {"cas": cas, "video_logits": prob}
    decoder = ThresholdDecoder(**common)
    np.testing.assert_allclose(decoder.curves(outputs, video)[1][:, 0], golden["out/curve_b0_x8"], rtol=0, atol=1e-9)
    found = decoder.candidates(outputs, video)
    rows = np.stack([found.start, found.end, found.score], axis=1)
    for column in range(3):
        np.testing.assert_allclose(rows[:, column], golden["out/proposals_b0"][:, column], rtol=0, atol=1e-9)
    keys = {"out/nms06_seconds_fps25": 0.0, "out/nms06_plus1_seconds_fps25": 1.0}
    for key, offset in ((key, offset) for key, offset in keys.items() if key in golden):
        kept = ThresholdDecoder(**common, nms={"iou": 0.6, "offset": offset}, clamp="none")(outputs, video)
        np.testing.assert_allclose(kept.rows()[:, 1:], golden[key], rtol=0, atol=1e-9)
