"""Every average precision equals the authors' code to the last bit, on hand-made, random and real detections."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from tests.helpers import golden_files, shared_file
from wtal_bench.data.annotations import Annotations
from wtal_bench.evaluation import PRESETS, DetectionTable, GroundTruth, evaluate, read_detections

LOOPS = {"fac_rskp_gaufuse": "thumos_snippet", "wtalc": "wtalc"}


def read_json(path):
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)


def tables(case):
    """The ground truth and detections of a case, whether they stand in it or in a file it names."""
    exclude_truth = case.get("exclude_ground_truth", case.get("exclude", []))
    exclude_detections = case.get("exclude_detections", case.get("exclude", []))
    if "ground_truth_file" in case:
        annotations = Annotations.load(shared_file(case["ground_truth_file"]))
        truth = GroundTruth.from_annotations(annotations, case["subset"], exclude_truth)
        videos = read_json(shared_file(case["detections_file"]))["videos"]
        rows = {
            name: [(row["label"], row["start"], row["end"], row["score"]) for row in found]
            for name, found in videos.items()
        }
        detections = DetectionTable.from_rows(rows, truth.classes)
    else:
        ambiguous = case.get("ambiguous") or {}
        truth = GroundTruth.from_rows(case["ground_truth"], case.get("classes"), ambiguous).without(exclude_truth)
        unit = case.get("detections_unit", "seconds")
        detections = DetectionTable.from_rows(case["detections"], truth.classes, unit)
    return detections.without(exclude_detections), truth


def loop_settings(case, truth, detections, loop):
    settings = asdict(PRESETS[LOOPS[loop]].rules)
    settings["grid"] = case.get("grid", 25 / 16)
    if "ground_truth_file" in case and case.get("ambiguous") != "drop":
        settings["ambiguous"] = None
    shift = case.get("detections_shift_snippets", 0)
    if shift:
        detections = detections.on_grid(settings["grid"])
        detections = replace(detections, start=detections.start + shift, end=detections.end + shift)
    return detections, settings


def assert_equal(result, expected):
    if expected["ap"] is None:
        assert np.isnan(result.ap).all()
    else:
        assert dict(zip(result.classes, result.ap.tolist())) == expected["ap"]
    np.testing.assert_allclose(result.mAP, expected["mAP"], rtol=1e-15, atol=0)
    assert result.average == pytest.approx(expected["average_mAP"], rel=1e-15, abs=0)


@pytest.mark.parametrize("path", golden_files("evaluation", "eval_case_*.json"))
def test_average_precision_equals_the_authors_code(path):
    case = read_json(path)
    detections, truth = tables(case)
    expected, tious = case["expected"], case["tious"]
    if "error" in expected:
        with pytest.raises(ValueError, match="NaN"):
            evaluate(detections, truth, tious)
        return
    if case.get("protocol") == "snippet" or set(expected) & set(LOOPS):
        for loop in LOOPS:
            moved, settings = loop_settings(case, truth, detections, loop)
            result = evaluate(moved, truth, tious, **settings)
            assert_equal(result, expected[loop])
            check_counts(case, result)
        return
    assert_equal(evaluate(detections, truth, tious, strict_official=True), expected)
    if not only_official(case):
        result = evaluate(detections, truth, tious)
        assert_equal(result, expected)
        check_counts(case, result)
    if "alternative_ties_keep_input_order" in case:
        alternative = evaluate(detections, truth, tious, ties="first_first")
        assert_equal(alternative, case["alternative_ties_keep_input_order"])


def only_official(case):
    """Whether a case made by hand holds rows on which the official code divides 0 by 0."""
    rows = [row for part in case.get("detections", {}).values() for row in part]
    return any(row[2] <= row[1] for row in rows)


def check_counts(case, result):
    counts, matches = case.get("counts", {}), result.matches
    if "kept_after_ambiguous" in case:
        annotated = [name for name, rows in case["ground_truth"].items() if rows]
        kept = sum(len(case["kept_after_ambiguous"].get(name, [])) for name in annotated)
        assert len(matches.row) == kept
    for name, found in (
        ("videos", result.counts.videos),
        ("videos_with_ground_truth", len(set(matches.instance_video.tolist()))),
        ("ground_truth", result.counts.instances),
        ("detections", result.counts.detections),
        ("detections_before_filter", result.counts.detections),
        ("dropped_by_filter", result.counts.dropped),
    ):
        if name in counts:
            assert found == counts[name], name


def test_videos_not_tested_count_as_missed_by_the_authors_of_acm_net_and_ftcl():
    case = read_json(shared_file("golden/evaluation/eval_case_real_thumos_pmil_gt212_det210.json"))
    annotations = Annotations.load(shared_file(case["ground_truth_file"]))
    truth = GroundTruth.from_annotations(annotations, case["subset"])
    found = read_detections(shared_file(case["detections_file"]), truth.classes).table()
    result = PRESETS["thumos_seconds_210_of_212"].evaluate(found, truth, case["tious"])
    assert_equal(result, case["expected"])
    counts = (result.counts.videos, result.counts.instances, result.counts.detections)
    assert counts == (212, 3358, case["counts"]["detections"])
    presets = ("thumos_seconds_210_of_212", "thumos_seconds_212", "thumos_seconds_210")
    averages = [100 * PRESETS[name].evaluate(found, truth, case["tious"]).average for name in presets]
    np.testing.assert_allclose(averages, [42.74, 42.43, 43.27], rtol=0, atol=0.005)
