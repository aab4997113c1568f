"""Errors are told apart as worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wtal_bench.evaluation import (
    KINDS,
    DetectionTable,
    GroundTruth,
    TableError,
    detection_kinds,
    error_analysis,
    evaluate,
    sensitivity,
)

TRUTH = {"v": [("A", 0, 10), ("A", 20, 30), ("B", 40, 50)], "w": [("B", 0, 100)]}
FOUND = {
    "v": [
        ("A", 0, 10, 0.95),  # true positive
        ("A", 0, 9, 0.9),  # double detection: the instance is taken
        ("A", 40, 50, 0.85),  # wrong label: there is a B
        ("A", 28, 38, 0.8),  # localisation: 2 of 18 seconds of an A
        ("A", 48, 58, 0.75),  # confusion: 2 of 18 seconds of a B
        ("A", 60, 70, 0.7),  # background
        ("B", 0, 10, 0.6),  # wrong label
    ],
    "w": [("A", 0, 100, 0.65), ("B", 0, 60, 0.5)],  # wrong label; true positive
    "nowhere": [("B", 0, 100, 0.4)],  # background
}


def tables(truth=TRUTH, found=FOUND):
    ground_truth = GroundTruth.from_rows(truth, ["A", "B"])
    return DetectionTable.from_rows(found, ["A", "B"]), ground_truth


def analysed(**options):
    pair = tables()
    result = evaluate(*pair, [0.3, 0.5])
    return error_analysis(result, *pair, lengths=(10,), counts=(1,), **options)


def test_every_kind_is_recognised():
    detections, truth = tables()
    result = evaluate(detections, truth, [0.5])
    kinds = detection_kinds(result, detections, truth)
    by_row = dict(zip(result.matches.row.tolist(), (KINDS[kind] for kind in kinds)))
    assert [by_row[row] for row in range(len(detections))] == [
        "true positive",
        "double detection",
        "wrong label",
        "localisation",
        "confusion",
        "background",
        "wrong label",
        "wrong label",
        "true positive",
        "background",
    ]


def test_an_own_instance_goes_before_anothers():
    truth = {"v": [("A", 0, 10), ("B", 0, 10)]}
    detections, ground_truth = tables(truth, {"v": [("A", 0, 10, 0.9), ("A", 0, 10, 0.8), ("A", 0, 4, 0.7)]})
    result = evaluate(detections, ground_truth, [0.5])
    kinds = detection_kinds(result, detections, ground_truth)
    assert [KINDS[kind] for kind in kinds] == ["true positive", "double detection", "localisation"]


def test_kinds_follow_the_snippet_grid():
    truth = {"v": [("A", 0, 10)]}
    detections, ground_truth = tables(truth, {"v": [("A", 0, 5, 0.9)]})
    seconds = evaluate(detections, ground_truth, [0.5])
    assert detection_kinds(seconds, detections, ground_truth).tolist() == [0]
    one = evaluate(detections, ground_truth, [0.5], grid=0.1)  # [0, 1) and, 0.5 rounding to even, nothing
    assert detection_kinds(one, detections, ground_truth).tolist() == [5]


def test_counts_and_breakdown():
    found = analysed(top=3)
    assert sum(found.counts.values()) == 10
    assert found.counts["wrong label"] == 3
    # top 1G: two detections of A and two of B
    assert found.breakdown[0]["true positive"] == 0.5
    assert found.breakdown[0]["double detection"] == 0.25
    assert found.breakdown[0]["wrong label"] == 0.25
    # 3G: all of both classes but the seventh of A
    assert found.breakdown[2]["background"] == pytest.approx(2 / 9)
    assert sum(found.breakdown[2].values()) == pytest.approx(1)


def test_deleting_errors_gains_what_it_should():
    # at 0.5 B has the flags (wrong label, hit, background) and two instances: AP 1/4; without the error 1/2
    found = analysed()
    assert found.gains["wrong label"] == pytest.approx((0.5 - 0.25) / 2)
    assert found.gains["background"] == 0
    assert set(found.gains) == set(KINDS[1:])


def test_sensitivity_to_length():
    found = analysed()
    short, long = found.by_length
    assert (short.name, short.above, short.up_to, short.instances) == ("XS", None, 10, 3)
    assert (long.name, long.above, long.up_to, long.instances) == ("S", 10, None, 1)
    # the long instance alone: class B, its hit ranks second behind a wrong label
    assert long.mAP == pytest.approx(0.5)
    assert long.found == 1.0
    # the short ones: A finds one of two at rank 1; B finds none, and its hit on the long one is left out
    assert short.mAP == pytest.approx((0.5 + 0.0) / 2)
    assert short.found == pytest.approx(1 / 3)


def test_sensitivity_to_the_number_of_instances():
    single, several = analysed().by_count
    assert (single.instances, several.instances) == (2, 2)
    assert several.found == 0.5


def test_normalised_precision_uses_the_mean_number_of_instances():
    # B long: recall 1 with one false positive, 2 instances a class on average: 1*2 / (1*2 + 1)
    assert analysed().by_length[1].normalized_mAP == pytest.approx(2 / 3)


def test_an_empty_bucket_is_undefined():
    detections, truth = tables()
    result = evaluate(detections, truth, [0.5])
    buckets = sensitivity(result.matches, np.ones(4), (2, 3), 0.5)
    assert [bucket.instances for bucket in buckets] == [4, 0, 0]
    assert buckets[0].mAP == pytest.approx(result.average)
    assert (buckets[1].mAP, buckets[1].normalized_mAP, buckets[1].found) == (None, None, None)


def test_the_analysis_goes_into_json():
    value = json.loads(json.dumps(analysed().as_dict(), allow_nan=False))
    assert value["counts"]["background"] == 2
    assert value["by_length"][0]["name"] == "XS"


def test_bad_questions_are_refused():
    detections, truth = tables()
    result = evaluate(detections, truth, [0.3])
    with pytest.raises(TableError, match=r"tIoU 0\.5 was not evaluated"):
        error_analysis(result, detections, truth)
    with pytest.raises(TableError, match="0 < low < tiou"):
        error_analysis(result, detections, truth, tiou=0.3, low=0.4)
    with pytest.raises(TableError, match="was not scored on these tables"):
        error_analysis(result, detections, truth.without(["w"]), tiou=0.3)
    with pytest.raises(TableError, match="rising bounds"):
        sensitivity(result.matches, np.ones(4), (3, 2), 0.3)
