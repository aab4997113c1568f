"""Runs and their contrast scores in every published variant, on the stored cases."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tests.helpers import golden_files
from wtal_bench.decoding import Contrast, TimeAxis, find_runs
from wtal_bench.structures import VideoMeta

INSIDE = {"ring": "inside", "overhang": 1}


def contrast_of(key: str) -> tuple[str, Contrast, int]:
    """`acmnet_lambda.25_gamma.2_minlen2 [..]` -> (which code calls, its contrast, its shortest run)."""
    name = key.split(" ")[0]
    numbers = {k: float(v) for k, v in re.findall(r"_(lambda|gamma|minlen|w|lam|pow)([\d.]+)", name)}
    shortest = int(numbers.get("minlen", 1))
    if name.startswith("gaufuse"):
        return "gaufuse", Contrast(outer=numbers["lam"], power=numbers["pow"], weight=numbers["w"], **INSIDE), shortest
    if name.startswith(("rskp", "facnet")):
        return "facnet", Contrast(outer=0.25, weight=numbers["w"], **INSIDE), shortest
    return name.split("_lambda")[0], Contrast(outer=numbers["lambda"], video_score=numbers["gamma"]), shortest


def rows_of(case: dict, key: str) -> np.ndarray:
    """Rows (score, start, end) by the rule `key` names."""
    caller, contrast, shortest = contrast_of(key)
    cas, threshold = np.array(case["cas"])[:, None], case["threshold"]
    attention = np.array(case.get("attention", case["cas"]))[:, None]
    on_attention = caller.endswith("_att")
    rule = {"above": ">", "min_length": shortest}
    if "caller" in caller:
        rule.update(above=">=", positive=caller.startswith("basnet"))
    runs = find_runs(attention if on_attention else cas, [threshold], **rule)
    scores = np.array([float(case["video_score"])])
    if "anet" in caller:
        share, other = (0.3, 0.7 * cas) if on_attention else (0.7, 0.3 * attention)
        scored = attention if on_attention else cas
        score, _ = contrast.score(runs, scored, scores, zero_below=True, share=share, plus=other)
    else:
        zeroed = "caller" in caller and not on_attention
        score, _ = contrast.score(runs, cas, scores, zero_below=zeroed)
    end = runs.end + contrast.overhang
    start = runs.start.astype(float)
    if caller.startswith(("basnet", "acmnet")):
        made = case["bas_settings"]
        meta = VideoMeta("v", 1e9, fps=made["sampling_frames"], stride=16, num_snippets=made["v_len"])
        axis = TimeAxis("stride", made["scale"] * made["num_segments"], meta)
        assert axis.step == pytest.approx(case["bas_acm_t_factor"], rel=1e-15)
        start, end = axis.seconds(start), axis.seconds(end)
    return np.stack([score, start, end], axis=1)


@pytest.mark.parametrize("path", golden_files("evaluation", "oic_cases*.json"))
def test_contrast_scores_equal_every_published_variant(path):
    for number, case in enumerate(json.loads(path.read_text())["cases"]):
        for key, expected in case["results"].items():
            rows = rows_of(case, key)
            expected = np.array(expected, dtype=np.float64).reshape(-1, 3)
            assert rows.shape == expected.shape, f"case {number} {key}"
            np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-12, err_msg=f"case {number} {key}")


@pytest.mark.parametrize("path", golden_files("evaluation", "oic_cases2.json"))
def test_the_lone_first_sample_switch_loses_what_the_published_codes_lose(path):
    seen = 0
    for case in json.loads(path.read_text())["cases"]:
        for key in case["official_any_bug"]:
            caller, _, shortest = contrast_of(key)
            above = ">=" if "caller" in caller else ">"
            cas = np.array(case["cas"])
            for rule, count in (("drop", 0), ("keep", len(case["results"][key]))):
                runs = find_runs(
                    cas, [case["threshold"]], above=above, min_length=shortest, lone_first_sample=rule, positive=True
                )
                assert len(runs) == count, key
            seen += 1
    assert seen
