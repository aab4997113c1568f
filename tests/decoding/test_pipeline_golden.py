"""Curves to mAP on the snippet grid: filter after NMS, order over videos, two-stream merge, fusion."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.decoding.compare import score
from tests.decoding.snippet_loop import LOOP, clear_of, fused, grid_rows, meta, own_length, settings
from tests.helpers import golden_files
from wtal_bench.decoding import NMS, Candidates, ThresholdDecoder, finish


def decoder(case: dict, name: str, stream: str) -> ThresholdDecoder:
    flank = {"outer": 0.0785, "power": 0.9} if name.startswith("gaufuse") else {"outer": 0.25}
    facnet = name.startswith("facnet")
    return ThresholdDecoder(
        **settings(weight=0.6 if facnet else 1.0, shortest=3 if facnet else 2, **flank),
        curve=f"{stream}.cas",
        scores=f"{stream}.score",
        class_threshold=case["class_threshold"],
        thresholds=case["thresholds"],
    )


def instances(case: dict, name: str, stream: str, outputs: dict, number: int) -> Candidates:
    """One video's instances before the filter: NMS, or the fusion of the groups."""
    found = decoder(case, name, stream).candidates(outputs, meta(number, len(outputs["rgb.cas"])))
    if name.startswith("gaufuse_fused"):
        return fused(found, 0.25, float(name.split("_T")[1]))
    iou = {"rskp": 0.5, "facnet": 0.2, "gaufuse": 0.25}[name.split("_")[0]]
    return found.suppressed(NMS(**own_length(iou)), "samples")


def detections(case: dict, name: str, nudge: float = 0.0) -> np.ndarray:
    """[R,5] rows (video, class, start, end, score) in snippets, in the order of the code."""
    rows = []
    for number, video in enumerate(case["videos"]):
        outputs = {f"{s}.cas": np.array(video[f"cas_{s}"]) for s in ("rgb", "flow")}
        outputs.update({f"{s}.score": np.array(video[f"video_score_{s}"]) for s in ("rgb", "flow")})
        streams = ("rgb", "flow") if name == "facnet_two_stream" else ("flow",)
        parts = [instances(case, name, s, outputs, number) for s in streams]
        parts = [clear_of(part, video["ambiguous"], nudge) for part in parts]
        if len(parts) == 1:
            rows.append(grid_rows(parts[0], number))
            continue
        parts[0].score[:] *= 0.1
        merged = finish(parts, 1e9, NMS(**own_length(0.9)), "samples", "none", only_shared=True).rows()
        rows.append(np.insert(merged / [1, 0.64, 0.64, 1], 0, number, axis=1))
    rows = np.concatenate(rows)
    return rows if name.startswith("facnet") else rows[np.argsort(-rows[:, 4], kind="stable")]


def stored_rows(case: dict, expected: dict) -> np.ndarray:
    """[R,5] rows (video, class, start, end, score), class by class."""
    rows = [
        [(v, label, *row) for v, *row in expected["detections"].get(name, [])]
        for label, name in enumerate(case["classes"])
    ]
    return np.array([row for part in rows for row in part], dtype=float).reshape(-1, 5)


@pytest.mark.parametrize("path", golden_files("evaluation", "pipeline_cases*.json"))
def test_whole_snippet_pipelines(path):
    archive = json.loads(path.read_text())
    for number, case in enumerate(archive["cases"]):
        for name, expected in case["results"].items():
            where = f"case {number} {name}"
            stored = stored_rows(case, expected)
            if name.startswith("gaufuse_fused"):
                # where a fused position is whole, an ulp decides whether the filter takes the instance
                sure, perhaps = (
                    both(detections(case, name, 1e-6), detections(case, name, -1e-6), f) for f in (all, any)
                )
                assert sure <= keys(stored) <= perhaps, where
            else:
                ours = detections(case, name)
                ours = ours[np.argsort(ours[:, 1], kind="stable")]
                assert ours.shape == stored.shape, where
                np.testing.assert_allclose(ours, stored, rtol=0, atol=1e-9, err_msg=where)
            check_map(case, stored, archive["tious"], expected, where)


def keys(rows: np.ndarray) -> set:
    return {tuple(row) for row in np.round(rows, 9) + 0.0}


def both(one: np.ndarray, other: np.ndarray, rule) -> set:
    """Rows that `rule` (all, any) of the two sets hold."""
    return {row for row in keys(one) | keys(other) if rule((row in keys(one), row in keys(other)))}


def check_map(case: dict, rows: np.ndarray, tious: list[float], expected: dict, where: str) -> None:
    """The stored mAP from the stored detections, whose order within a class is the code's."""
    names = case["classes"]
    truth = np.array(
        [(v, names.index(label), a, b) for v, one in enumerate(case["videos"]) for label, a, b in one["ground_truth"]]
    )
    result = score(rows, truth, tious, len(case["videos"]), len(names), unit="snippets", empty_class="zero_all", **LOOP)
    np.testing.assert_allclose(result.mAP, expected["mAP"], rtol=1e-12, atol=0, err_msg=where)
    if expected["ap"] is not None:
        stored = [expected["ap"][names[int(column)]] for column in result.classes]
        np.testing.assert_allclose(result.ap, stored, rtol=1e-12, atol=0, err_msg=where)
