"""Detections scored in parts: the very numbers of scoring them at once, whatever rules, ties and cuts."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from wtal_bench.evaluation import DetectionTable, GroundTruth, Preset, Rules, TableError, evaluate_parts
from wtal_bench.evaluation.metric import PRESETS

TIOUS = (0.1, 0.3, 0.5, 0.7)
CLASSES = ("A", "B", "C", "D")
RULES = [
    Rules(grid=grid, ambiguous=ambiguous, matching=matching, ap=ap, ties=ties, videos=videos)
    for grid, ambiguous, matching, ap, ties, videos in product(
        (None, 25 / 16),
        (None, "drop", "ignore_fp"),
        ("official", "first"),
        ("interpolated", "sum"),
        ("last_first", "first_first"),
        ("all", "annotated"),
    )
]
PRESET = [Preset(f"p{number}", "", rules, exclude=("v3",), untested=("v5",)) for number, rules in enumerate(RULES)]


def case(seed: int, videos: int = 14, rows: int = 40) -> tuple[DetectionTable, GroundTruth]:
    """Random detections with many equal scores, in another order of videos than the ground truth, some unknown."""
    random = np.random.default_rng(seed)
    truth, ambiguous = {}, {}
    for number in range(videos):
        start = random.uniform(0, 80, random.integers(0, 5)).round(1)
        kinds = random.choice(CLASSES[:3], len(start))
        truth[f"v{number}"] = [(label, at, at + 8) for label, at in zip(kinds, start)]
        ambiguous[f"v{number}"] = [(at, at + 5.0) for at in random.uniform(0, 80, random.integers(0, 3))]
    found = {}
    for number in random.permutation(videos + 2):
        start = random.uniform(0, 80, rows).round(1)
        scores = random.integers(0, 12, rows) / 8 - 0.5
        found[f"v{number}"] = list(zip(random.choice([*CLASSES, "?"], rows), start, start + 7.0, scores))
    return DetectionTable.from_rows(found, CLASSES), GroundTruth.from_rows(truth, CLASSES, ambiguous)


def cut(table: DetectionTable, places: list[int]) -> list[DetectionTable]:
    """The table in parts of whole videos, that begin at some of the videos."""
    parts = []
    for first, end in zip([0, *places], [*places, len(table.videos)]):
        rows = (table.video >= first) & (table.video < end)
        columns = (table.label[rows], table.start[rows], table.end[rows], table.score[rows])
        parts.append(DetectionTable(table.videos[first:end], table.video[rows] - first, *columns))
    return parts


@pytest.mark.parametrize("places", [[], [1], [5, 9], list(range(1, 16))], ids=str)
def test_parts_score_to_the_last_bit_what_the_whole_does(places):
    table, truth = case(len(places))
    parts = cut(table, places)
    results = evaluate_parts(lambda: parts, truth, TIOUS, PRESET)
    for preset in PRESET:
        whole, streamed = preset.evaluate(table, truth, TIOUS), results[preset.name]
        assert whole.ap.tobytes() == streamed.ap.tobytes(), preset.rules
        assert whole.mAP.tobytes() == streamed.mAP.tobytes()
        assert (whole.counts, whole.classes) == (streamed.counts, streamed.classes)
        assert whole.never_predicted == streamed.never_predicted
        assert whole.average_over(TIOUS[:2]) == streamed.average_over(TIOUS[:2])
        np.testing.assert_array_equal(np.diff(whole.matches.class_bounds()), streamed.detections)
        np.testing.assert_array_equal(whole.matches.instances(), streamed.instances)


def test_the_published_evaluators_agree_and_a_missing_class_zeroes_both():
    table, truth = case(7)
    gone = table.take(table.label != 1)
    for rows in (table, gone):
        parts = cut(rows, [3, 4, 11])
        results = evaluate_parts(lambda: parts, truth, TIOUS, list(PRESETS.values()))  # noqa: B023
        for preset in PRESETS.values():
            whole = preset.evaluate(rows, truth, TIOUS)
            assert whole.ap.tobytes() == results[preset.name].ap.tobytes(), preset.name


def test_no_detection_of_use_is_zero():
    _, truth = case(1)
    nothing = DetectionTable.from_rows({"v1": []}, CLASSES)
    result = evaluate_parts(lambda: [nothing], truth, TIOUS, PRESET[:1])["p0"]
    assert result.average == 0.0


def test_a_video_in_two_parts_and_no_part_at_all_are_refused():
    table, truth = case(2)
    with pytest.raises(TableError, match="these lie in two"):
        evaluate_parts(lambda: [table, table], truth, TIOUS, PRESET[:1])
    with pytest.raises(TableError, match="no part to score"):
        evaluate_parts(lambda: [], truth, TIOUS, PRESET[:1])
