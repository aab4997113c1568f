"""Every suppression rule of the published codes, on their stored cases: kept rows, order and decayed scores."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tests.helpers import golden_files
from wtal_bench.decoding import NMS

RULES = {
    "greedy_iou_plus1_keep_lt": {"offset": 1.0},
    "greedy_ioself_plus1_drop_gt": {"offset": 1.0, "overlap": "self", "drop": ">"},
    "soft_gaussian_plus1": {"kind": "gaussian", "offset": 1.0},
    "soft_linear_plus1": {"kind": "linear", "offset": 1.0, "drop": ">"},
    "opentad_iou_drop_ge": {},
    "opentad_gaussian": {"kind": "gaussian"},
    "opentad_linear": {"kind": "linear"},
}
OPENTAD = {"offset": 1e-6, "offset_on": "length", "ties": "earlier_first", "precision": "float32"}


def rule_of(key: str) -> NMS:
    """`opentad_linear@0.3_min0.001` -> the rule it names."""
    name, sigma, iou, lowest = re.fullmatch(
        r"([a-z_0-9]+?)(?:_sigma([\d.]+))?(?:@([\d.]+))?(?:_min([\d.]+))?", key
    ).groups()
    given = {"sigma": sigma, "iou": iou, "min_score": lowest}
    numbers = {name: float(value) for name, value in given.items() if value is not None}
    return NMS(**RULES[name], **(OPENTAD if name.startswith("opentad") else {}), **numbers)


@pytest.mark.parametrize("path", golden_files("evaluation", "nms_cases*.json"))
def test_kept_segments_and_scores_equal_the_published_rules(path):
    for number, case in enumerate(json.loads(path.read_text())["cases"]):
        segments = np.array(case["segments"], dtype=np.float64).reshape(-1, 2)
        scores = np.array(case["scores"], dtype=np.float64)
        for key, expected in case["results"].items():
            if key.startswith("gaufuse"):
                check_groups(segments, scores, np.array(case["inner_scores"]), key, expected, f"case {number} {key}")
                continue
            kept, decayed = rule_of(key)(*segments.T, scores)
            where = f"case {number} ({case['kind']}) {key}"
            if isinstance(expected, list):
                assert kept.tolist() == expected, where
                np.testing.assert_array_equal(decayed, scores[kept], err_msg=where)
                continue
            if "indices" in expected:
                assert kept.tolist() == expected["indices"], where
            if "segments" in expected:
                np.testing.assert_array_equal(segments[kept], expected["segments"], err_msg=where)
                np.testing.assert_allclose(decayed, expected["scores"], rtol=0, atol=1e-12, err_msg=where)
            else:
                np.testing.assert_allclose(decayed, expected["scores_float32"], rtol=1e-6, atol=0, err_msg=where)


def check_groups(segments, scores, inner, key, expected, where) -> None:
    """Members of a fusion: grouping is the rule's, the weighted mean is redone here."""
    iou, temperature = map(float, re.fullmatch(r"gaufuse_fusion_plus1@([\d.]+)_T([\d.]+)", key).groups())
    start, end = np.floor(segments).T
    kept, leader = NMS(iou=iou, overlap="self", offset=1.0, drop=">").groups(start, end, scores)
    assert kept.tolist() == expected["picked"], where
    for row, picked in zip(expected["fused_rows_start_end_score"], kept):
        members = np.flatnonzero(leader == picked)
        weight = np.exp((inner[members] - inner[members].max()) / temperature)
        fused = [np.average(column[members], weights=weight) for column in (start, end, scores)]
        np.testing.assert_allclose(fused, row, rtol=0, atol=1e-9, err_msg=where)
