"""Video-level classification against numbers of the authors' functions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.helpers import golden_files
from wtal_bench.evaluation import TableError, classification_ap, classification_map, exact_match_accuracy


@pytest.mark.parametrize("path", golden_files("evaluation", "clsmap_cases*.json"))
def test_equals_the_authors_functions(path):
    cases = json.loads(path.read_text())["cases"]
    assert cases
    for case in cases:
        scores, labels, expected = np.array(case["confidence"]), np.array(case["labels"]), case["results"]
        wanted = [np.nan if value is None else value for value in expected["ap"]]
        np.testing.assert_allclose(classification_ap(scores, labels), wanted, rtol=1e-6, err_msg=case["kind"])
        percent = expected.get("mAP_percent_without_empty_classes", expected["mAP_percent"])
        assert 100 * classification_map(scores, labels) == pytest.approx(percent, rel=1e-6), case["kind"]
        for threshold, share in expected["exact_match_accuracy"].items():
            assert exact_match_accuracy(scores, labels, float(threshold)) == share, case["kind"]


def test_equal_scores_keep_the_order_of_the_videos():
    labels = np.array([[0], [1]])
    assert classification_map(np.array([[0.5], [0.5]]), labels) == 0.5
    assert classification_map(np.array([[0.5], [0.5]]), labels[::-1]) == 1.0


def test_nothing_to_find_is_undefined():
    assert np.isnan(classification_map(np.zeros((3, 2)), np.zeros((3, 2))))


def test_bad_input_is_named():
    with pytest.raises(TableError, match=r"must both be \[videos, classes\], got \(2, 3\) and \(2, 2\)"):
        classification_ap(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(TableError, match="video 1, class 0 is NaN"):
        classification_map(np.array([[0.1], [np.nan]]), np.ones((2, 1)))
    with pytest.raises(TableError, match="label of video 0, class 1 is -1"):
        classification_map(np.zeros((1, 2)), np.array([[0, -1]]))
    with pytest.raises(TableError, match="at least one video"):
        exact_match_accuracy(np.zeros((0, 2)), np.zeros((0, 2)), 0.5)
