"""Codes that stay on the snippet grid with overlap over the weaker segment's own length: FAC-Net, RSKP, GauFuse."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.decoding.compare import same_ap, same_multiset, same_rows, score
from tests.decoding.snippet_loop import LOOP, clear_of, fused, grid_rows, meta, own_length, settings
from tests.helpers import golden_files, load_golden
from wtal_bench.decoding import NMS, Candidates, PooledDecoder, ThresholdDecoder, finish


def spans_of(golden: dict, video: int) -> list[tuple[float, float]]:
    rows = golden.get("in/ambiguous", np.zeros((0, 3)))
    return [(a, b) for v, a, b in rows if int(v) == video]


@pytest.mark.parametrize("path", golden_files("fac_net", "facnet_proposals_*.npz"))
def test_facnet_streams_and_their_merge(path):
    golden = load_golden(path)
    made = json.loads(str(golden["meta"]))
    assert made["background_column"] == made["num_classes"]
    shared = settings(
        made["outer_ratio"],
        made["outer_weight"],
        made["min_len"],
        num_classes=made["num_classes"],
        class_threshold=made["class_threshold"],
        thresholds=golden["in/thresholds"],
        nms=own_length(made["nms_single"]),
    )
    scales = {"rgb": made["rgb_scale"], "flow": 1.0}
    decoder = PooledDecoder(
        shared=shared,
        passes={
            name: {"curve": f"{name}.cas", "scores": f"{name}.prob", "score_scale": scale}
            for name, scale in scales.items()
        },
        nms=own_length(made["nms_fused"]),
        nms_units="samples",
        nms_classes="shared",
        clamp="none",
    )
    candidates, single, merged = {"rgb": [], "flow": []}, {"rgb": [], "flow": []}, []
    for v in range(made["num_videos"]):
        outputs = {}
        for name in scales:
            outputs[f"{name}.cas"] = golden[f"in/{name}/frame_prob/{v}"]
            outputs[f"{name}.prob"] = golden[f"in/{name}/video_prob"][v]
        video = meta(v, len(outputs["rgb.cas"]))
        parts = [clear_of(part, spans_of(golden, v)) for part in decoder.parts(outputs, video)]
        for (name, (stream, scale)), part in zip(decoder.passes.items(), parts):
            candidates[name].append(grid_rows(stream.candidates(outputs, video), v))
            rows = grid_rows(part, v)
            single[name].append(rows / [1, 1, 1, 1, scale])
        both = finish(parts, video.duration, decoder.nms, decoder.nms_units, "none", only_shared=True)
        merged.append(np.insert(both.rows(), 0, v, axis=1))
    for name in scales:
        same_multiset(np.concatenate(candidates[name]), golden[f"out/single/{name}/candidates"], 1e-10)
        stored = golden[f"out/single/{name}/proposals"]
        rows = np.concatenate(single[name])
        same_multiset(rows, stored, 1e-10)
        in_seconds = rows * [1, 1, 0.64, 0.64, 1]
        same_multiset(in_seconds, golden[f"out/single/{name}/proposals_seconds"], 1e-10)
        ap, mean = golden[f"out/single/{name}/ap"], golden[f"out/single/{name}/map"] / 100
        check_ap(rows, golden, made, ap, mean)
    scaled = np.concatenate(single["rgb"]) * [1, 1, 1, 1, scales["rgb"]]
    same_multiset(scaled, golden["out/two_stream/rgb_scaled_proposals"], 1e-10)
    rows = np.concatenate(merged)
    same_multiset(rows, golden["out/two_stream/proposals_seconds"], 1e-10)
    on_grid = golden["out/two_stream/proposals"]
    same_multiset(rows / [1, 1, 0.64, 0.64, 1], on_grid, 1e-9)
    check_ap(on_grid, golden, made, golden["out/two_stream/ap"], golden["out/two_stream/map"] / 100)


def check_ap(rows: np.ndarray, golden: dict, made: dict, ap: np.ndarray, mean: np.ndarray) -> None:
    result = score(
        rows, golden["in/gt"], golden["in/ious"], made["num_videos"], made["num_classes"], unit="snippets", **LOOP
    )
    same_ap(result, ap, mean)


def gaufuse_decoder(cfg: dict, classes: int) -> ThresholdDecoder:
    """RSKP's or GauFuse's candidates: float32 curves, thresholds and means."""
    rskp = str(cfg.get("code", "gaufuse")) == "rskp"
    flank = {"outer": 0.25} if rskp else {"outer": 0.0785, "power": 0.9}
    return ThresholdDecoder(
        **settings(weight=1.0, shortest=2, **flank),
        num_classes=classes,
        class_threshold=float(cfg["class_threshold"]),
        thresholds=cfg["thresholds"],
        precision="float32",
        clamp="none",
    )


def by_class(parts: list[tuple[int, Candidates]]) -> np.ndarray:
    """[R,5] rows (class, video, start, end, score): per class over all videos by falling score, stable."""
    rows = np.concatenate([grid_rows(part, video)[:, [1, 0, 2, 3, 4]] for video, part in parts])
    rows = rows[np.lexsort((-rows[:, 4], rows[:, 0]))]
    return rows


@pytest.mark.parametrize(
    "path", golden_files("gaufuse", "proposals__*.npz") + golden_files("gaufuse", "testpath__*.npz")
)
def test_rskp_and_gaufuse_candidates_and_instances(path):
    golden = load_golden(path)
    cfg = {key.removeprefix("cfg/"): value for key, value in golden.items() if key.startswith("cfg/")}
    source = "in" if "in/cas_0" in golden else "out"
    classes = int(cfg.get("n_classes", golden[f"{source}/vid_0"].shape[-1] - 1))
    decoder = gaufuse_decoder(cfg, classes)
    iou = float(cfg.get("h", 0.25))
    candidates, picked, means = [], [], []
    truth = golden.get("in/gt")  # the authors decode only videos and classes that have ground truth
    for v in range(int(cfg["n_videos"])):
        if truth is not None and v not in truth[:, 0]:
            continue
        outputs = {"cas": golden[f"{source}/cas_{v}"], "video_logits": golden[f"{source}/vid_{v}"]}
        found = decoder.candidates(outputs, meta(v, len(outputs["cas"])))
        if truth is not None:
            found = found.take(np.isin(found.label, truth[:, 1]))
        candidates.append((v, found))
        picked.append((v, found.suppressed(NMS(**own_length(iou)), "samples")))
        if "eval_temperature" in cfg:
            means.append((v, fused(found, iou, float(cfg["eval_temperature"]))))
    check_candidates(candidates, golden["out/candidates"])
    if "out/instances_nms" in golden:
        same_rows(by_class(picked), golden["out/instances_nms"], 0.0)
        same_rows(by_class(means), golden["out/instances_fused"])
        np.testing.assert_allclose(by_class(means)[:, 2:4] * 0.64, golden["out/seconds_fused"], rtol=0, atol=1e-9)
        return
    final = means if str(cfg["final"]) == "fused" else picked
    stored = golden.get("out/instances_unfiltered", golden["out/instances"])
    same_rows(by_class(final), stored)
    check_filtered(golden, cfg, stored, classes)


def check_candidates(parts: list[tuple[int, Candidates]], stored: np.ndarray) -> None:
    """Bit-exact, class-major over all videos."""
    rows = np.concatenate([np.column_stack([grid_rows(part, v), part.inside]) for v, part in parts])
    rows = rows[np.argsort(rows[:, 1], kind="stable")]
    same_rows(rows[:, [0, 2, 3, 4, 5]][:, : stored.shape[1]], stored, 0.0)


def check_filtered(golden: dict, cfg: dict, stored: np.ndarray, classes: int) -> None:
    """The ambiguous filter and the mAP, from the stored instances: fused positions sit an ulp off whole snippets."""
    rows = stored[:, [1, 0, 2, 3, 4]]
    videos = int(cfg["n_videos"])
    ambiguous = golden.get("in/ambiguous")
    switches = {**LOOP, "empty_class": "zero_all", "ambiguous": None if ambiguous is None else "drop"}
    result = score(rows, golden["in/gt"], cfg["iou"], videos, classes, ambiguous, unit="snippets", **switches)
    np.testing.assert_allclose(result.mAP * 100, golden["out/map"], rtol=0, atol=1e-9)
    if "out/ap" in golden:
        np.testing.assert_allclose(result.ap.T, golden["out/ap"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("path", golden_files("gaufuse", "gaussian_fusion__*.npz"))
def test_groups_pick_what_the_fusion_picks(path):
    golden = load_golden(path)
    for i in range(int(golden["cfg/n_cases"])):
        start, end, conf, _ = golden[f"in/cand_{i}"].T
        for j, iou in enumerate(golden["cfg/h_fuse"]):
            kept, _ = NMS(**own_length(float(iou))).groups(start, end, conf)
            np.testing.assert_array_equal(kept, golden[f"out/pick_{i}_h{j}"])
