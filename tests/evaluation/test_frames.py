"""Frame accuracy by its definition, on cases worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.helpers import golden_files
from wtal_bench.evaluation import TableError, frame_accuracy, frame_counts, snippet_labels


@pytest.mark.parametrize("path", golden_files("evaluation", "frameacc_cases*.json"))
def test_equals_the_worked_cases(path):
    cases = json.loads(path.read_text())["cases"]
    assert cases
    for case in cases:
        curves = [np.array(video["cas"]) for video in case["videos"]]
        scores = [np.array(video["video_score"]) for video in case["videos"]]
        labels = [
            snippet_labels(video["segments"], *curve.shape[:1], video["snippet_seconds"], curve.shape[1])
            for video, curve in zip(case["videos"], curves)
        ]
        expected = case["expected"]
        arguments = (curves, scores, labels, case["tau"])
        assert frame_counts(*arguments) == (expected["correct"], expected["counted"]), case["kind"]
        assert frame_accuracy(*arguments) == expected["accuracy"], case["kind"]


def test_class_indices_serve_as_labels():
    curve = np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1]])
    assert frame_counts([curve], [[1.0, 1.0]], [[0, -1, 1]]) == (1, 2)


@pytest.mark.parametrize(
    ("curve", "score", "labels", "text"),
    [
        (np.zeros((2, 3)), np.zeros(2), [0, 1], r"video 0: CAS \(2, 3\) needs scores \[3\]"),
        (np.zeros((2, 3)), np.zeros(3), [0, 3], "labels must be -1"),
        (np.zeros((2, 3)), np.zeros(3), [0], "do not fit"),
        (np.full((2, 3), np.nan), np.zeros(3), [0, 1], "NaN"),
        (np.zeros(2), np.zeros(3), [0, 1], r"must be \[T,C\]"),
    ],
)
def test_bad_shapes_are_named(curve, score, labels, text):
    with pytest.raises(TableError, match=text):
        frame_accuracy([curve], [score], [labels])


def test_lists_must_be_equally_long():
    with pytest.raises(TableError, match="do not fit"):
        frame_accuracy([np.zeros((1, 1))], [], [])
