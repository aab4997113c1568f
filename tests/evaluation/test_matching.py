"""Matching and average precision equal the greedy loops, whatever the switches, and bad tables are refused."""

from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.loops import loop_ap, random_case
from wtal_bench.evaluation import (
    DetectionTable,
    GroundTruth,
    Rules,
    TableError,
    assignment,
    evaluate,
    match,
    matching,
    overlaps,
)
from wtal_bench.evaluation.average_precision import average_precision

TIOUS = (0.1, 0.25, 0.5, 0.75, 1.0)
SWITCHES = {
    "official": {},
    "input_order": {"ties": "first_first"},
    "first_instance": {"instance_ties": "first_first"},
    "first_listed": {"matching": "first", "ties": "first_first", "instance_ties": "first_first"},
    "summed": {"ap": "sum"},
    "ignore_fp": {"ambiguous": "ignore_fp"},
    "ignore_fp_summed": {"ambiguous": "ignore_fp", "ap": "sum", "matching": "first"},
}


def tables(truth, found, ambiguous=None, classes=None):
    ground_truth = GroundTruth.from_rows(truth, classes, ambiguous)
    return DetectionTable.from_rows(found, ground_truth.classes), ground_truth


def simple(found, truth=(("A", 0, 10),), **options):
    return evaluate(*tables({"v": list(truth)}, {"v": found}), [0.5], **options)


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
@pytest.mark.parametrize("seed", range(25))
def test_equals_the_greedy_loop(seed, switches):
    truth, found, ambiguous = random_case(seed)
    result = evaluate(*tables(truth, found, ambiguous), TIOUS, **switches)
    rules = Rules(**switches)
    for label, row in zip(result.classes, result.ap):
        expected = [loop_ap(truth, found, label, tiou, rules, ambiguous) for tiou in TIOUS]
        np.testing.assert_allclose(row, expected, rtol=1e-12)


@pytest.mark.parametrize("rules", [{}, {"matching": "first"}, {"instance_ties": "first_first"}], ids=str)
@pytest.mark.parametrize("size", [1, 7, 50])
def test_blocks_and_chunks_change_nothing(size, rules, monkeypatch):
    truth, found, _ = random_case(3)
    pair, rules = tables(truth, found), Rules(**rules)
    whole = match(*pair, TIOUS, rules)
    monkeypatch.setattr(assignment, "_BLOCK_PAIRS", size)
    monkeypatch.setattr(overlaps, "_CHUNK_PAIRS", size)
    monkeypatch.setattr(matching, "_BLOCK_ROWS", size)
    parts = match(*pair, TIOUS, rules)
    for name in ("taken_by", "label", "video", "score", "row", "uncounted"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name), err_msg=name)


def test_near_ranges_hold_every_overlap_and_touch():
    random = np.random.default_rng(5)
    group = np.sort(random.integers(0, 30, 400))
    start = random.uniform(-1e4, 1e4, 400).round(1)
    order = np.lexsort((start, group))
    of_start = start[order]
    of_end = of_start + random.choice([0.0, 0.1, 5.0, 3000.0], 400)
    rows = random.integers(-1, 32, 500)
    row_start = random.choice(np.concatenate([of_start, of_end]), 500)
    row_end = row_start + random.choice([0.0, 0.3, 700.0], 500)
    first, count = overlaps.near_ranges(rows, row_start, row_end, group, of_start, of_end)
    inside = np.zeros((500, 400), dtype=bool)
    for detection, instance in overlaps.expand_pairs(first, count, 0, 500):
        inside[detection, instance] = True
    meets = (rows[:, None] == group) & (row_start[:, None] <= of_end) & (of_start <= row_end[:, None])
    assert meets.any()
    assert inside[meets].all()
    assert not inside[rows[:, None] != group].any()


@pytest.mark.parametrize("hits", [1, 6, 7, 8, 9, 20, 127, 128, 129, 700])
@pytest.mark.parametrize("missed", [0, 1])
def test_average_precision_sums_in_the_order_of_one_array(hits, missed):
    # numpy adds up to 7 terms one by one, more of them pairwise; the official sum has a last term 0 if any was missed
    random = np.random.default_rng(hits)
    instances = hits + missed
    truth = {"v": [("A", 10.0 * i, 10.0 * i + 5) for i in range(instances)]}
    for _ in range(20):
        found = [("A", 10.0 * i, 10.0 * i + 5, random.random()) for i in range(hits)]
        found += [("A", -9.0, -8.0, random.random()) for _ in range(hits)]
        matches = match(*tables(truth, {"v": found}), [0.5])
        precision = np.arange(1, hits + 1) / (matches.true_positives(0) + 1)
        precision = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        recall = np.append(np.arange(hits + 1) / instances, 1.0)
        step = np.flatnonzero(recall[1:] != recall[:-1])
        expected = np.sum((recall[step + 1] - recall[step]) * precision[step])
        assert average_precision(matches)[0, 0] == expected


@pytest.mark.parametrize(("rule", "left"), [("last_first", 1.0), ("first_first", 0.5)])
def test_of_two_instances_equally_covered_the_rule_picks_one(rule, left):
    # the first detection covers both alike; the second finds the first listed alone
    found = [("A", 0, 6, 0.9), ("A", 0, 2, 0.8)]
    result = evaluate(*tables({"v": [("A", 0, 2), ("A", 4, 6)]}, {"v": found}), [0.3], instance_ties=rule)
    assert result.average == left


def test_detection_takes_its_second_choice():
    found = [("A", 0, 10, 0.9), ("A", 0, 9, 0.8)]
    assert simple(found, (("A", 0, 10), ("A", 0, 6))).ap[0, 0] == 1.0


def test_an_instance_stays_with_the_better_ranked_detection():
    found = [("A", 0, 8, 0.5), ("A", 0, 10, 0.4)]
    result = simple(found)
    assert result.matches.taken_by.tolist() == [[0]]
    assert result.matches.row.tolist() == [0, 1]


def test_rows_of_the_input_are_remembered():
    matches = simple([("A", 20, 30, 0.1), ("A", 0, 10, 0.9), ("Z", 0, 1, 0.95)]).matches
    assert matches.row.tolist() == [1, 0]
    assert matches.score.tolist() == [0.9, 0.1]


def test_counts_say_what_was_left_out():
    truth = {"v": [("A", 0, 10)], "w": []}
    found = {"v": [("A", 0, 10, 1), ("Z", 0, 1, 1)], "w": [("A", 0, 1, 1)], "x": [("A", 0, 1, 1)]}
    official = evaluate(*tables(truth, found), [0.5]).counts
    assert (official.videos, official.instances, official.detections) == (2, 1, 4)
    assert (official.unknown_label, official.unknown_video, official.left_out, official.ignored) == (1, 1, 0, 1)
    annotated = evaluate(*tables(truth, found), [0.5], videos="annotated").counts
    assert (annotated.videos, annotated.left_out, annotated.ignored) == (1, 2, 3)


def test_detections_in_videos_without_ground_truth():
    truth = {"v": [("A", 0, 10)]}
    found = {"x": [("A", 0, 10, 0.9)], "v": [("A", 0, 10, 0.5)]}
    assert evaluate(*tables(truth, found), [0.5]).average == 0.5
    assert evaluate(*tables(truth, found), [0.5], videos="annotated").average == 1.0


def test_annotated_videos_are_walked_in_the_order_of_the_annotations():
    truth = {"v": [("A", 0, 10)], "w": [("A", 0, 10)]}
    found = {"w": [("A", 50, 60, 0.5)], "v": [("A", 0, 10, 0.5)]}
    options = {"ties": "first_first", "instance_ties": "first_first"}
    assert evaluate(*tables(truth, found), [0.5], **options).average == 0.25
    assert evaluate(*tables(truth, found), [0.5], videos="annotated", **options).average == 0.5


def test_ambiguous_drop_takes_every_class_and_not_what_touches():
    truth = {"v": [("A", 0, 10), ("B", 20, 30)]}
    found = {"v": [("A", 0, 10, 0.9), ("B", 20, 30, 0.9), ("B", 9, 21, 0.95)]}
    pair = tables(truth, found, {"v": [(10, 20)]})
    result = evaluate(*pair, [0.5], ambiguous="drop")
    assert result.counts.dropped == 1
    assert result.average == 1.0
    assert evaluate(*pair, [0.5]).average == 0.75


def test_ignore_fp_keeps_true_positives_on_ambiguous_time():
    truth = {"v": [("A", 0, 10)]}
    found = {"v": [("A", 50, 60, 0.9), ("A", 0, 10, 0.5), ("A", 80, 90, 0.95)]}
    pair = tables(truth, found, {"v": [(5, 55)]})
    assert evaluate(*pair, [0.5], ambiguous="ignore_fp").average == 0.5
    assert evaluate(*pair, [0.5]).average == pytest.approx(1 / 3)
    assert evaluate(*pair, [0.5], ambiguous="drop").average == 0.0


def test_grid_rounds_seconds_half_to_even_and_cuts_snippets():
    table = DetectionTable.from_rows({"v": [("A", 5.76, 6.08, 1)]}, ["A"])
    moved = table.on_grid(25 / 16)
    assert (moved.start.tolist(), moved.end.tolist(), moved.unit) == ([9.0], [10.0], "snippets")
    cut = DetectionTable.from_rows({"v": [("A", 9.9, 10.7, 1)]}, ["A"], "snippets").on_grid(25 / 16)
    assert (cut.start.tolist(), cut.end.tolist()) == ([9.0], [10.0])


def test_a_time_on_the_grid_reaches_its_own_snippet():
    # 19.2 * 25 / 16 is 29.999999999999996 or 30 by the way it is computed; rounded it is 30
    truth = {"v": [("A", 0, 19.2)]}
    found = {"v": [("A", 0, 38.4, 1.0)]}
    assert evaluate(*tables(truth, found), [0.5], grid=25 / 16).average == 1.0


def test_empty_snippet_sets_never_match():
    truth = {"v": [("A", 1.0, 1.1), ("A", 10, 20)]}
    found = {"v": [("A", 1.0, 1.1, 0.9)]}
    assert evaluate(*tables(truth, found), [0.1], grid=25 / 16).average == 0.0


def test_a_class_never_predicted_costs_its_share_or_everything():
    truth = {"v": [("A", 0, 10), ("B", 20, 30)]}
    pair = tables(truth, {"v": [("A", 0, 10, 1)]})
    lenient = evaluate(*pair, [0.5])
    assert (lenient.average, lenient.never_predicted) == (0.5, ("B",))
    harsh = evaluate(*pair, [0.5], empty_class="zero_all")
    assert harsh.average == 0.0
    assert np.isnan(harsh.ap).all()


def test_no_detection_is_zero():
    assert simple([]).average == 0.0


def test_instants_match_only_themselves_unless_strictly_official():
    truth = [("A", 7, 7)]
    assert simple([("A", 7, 7, 1)], truth).average == 1.0
    assert simple([("A", 9, 9, 1)], truth).average == 0.0
    assert simple([("A", 9, 9, 1)], truth, strict_official=True).average == 1.0


def test_strict_official_ranks_nan_first():
    found = [("A", 0, 10, 0.9), ("A", 50, 60, float("nan"))]
    assert simple(found, strict_official=True).average == 0.5


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([("A", 0, 1, 0.5), ("A", 0, 1, float("nan"))], r"video 'w', detection 1: its score is NaN"),
        ([("A", 0, 1, 0.5), ("A", 5, 1, 0.5)], r"video 'w', detection 1: start 5.0, end 1.0"),
        ([("A", 0, float("inf"), 0.5)], r"video 'w', detection 0: start 0.0, end inf"),
    ],
)
def test_bad_rows_are_named(rows, text):
    truth = {"v": [("A", 0, 10)], "w": []}
    with pytest.raises(TableError, match=text) as caught:
        evaluate(*tables(truth, {"v": [("A", 0, 1, 1)], "w": rows}), [0.5])
    assert isinstance(caught.value, ValueError)


def test_infinite_scores_rank():
    assert simple([("A", 50, 60, 1e9), ("A", 0, 10, float("inf"))]).average == 1.0


def test_reversed_ground_truth_is_named():
    with pytest.raises(TableError, match=r"video 'v', instance 1: start 5.0, end 4.0"):
        simple([("A", 0, 1, 1)], (("A", 0, 1), ("A", 5, 4)))


def test_unknown_labels_can_be_refused():
    with pytest.raises(TableError, match="video 'v', detection 1"):
        simple([("A", 0, 10, 1), ("Z", 0, 10, 1)], unknown_labels="refuse")


@pytest.mark.parametrize("tious", [[], [0.0], [1.5], [[0.5]], [float("nan")]])
def test_thresholds_out_of_range_are_refused(tious):
    with pytest.raises(TableError, match="thresholds in"):
        evaluate(*tables({"v": [("A", 0, 1)]}, {}), tious)


def test_switches_are_checked():
    with pytest.raises(TableError, match="matching must be one of"):
        simple([], matching="best")
    with pytest.raises(TableError, match="unknown_labels must be"):
        simple([], unknown_labels="drop")
    with pytest.raises(TableError, match="no meaning on a grid"):
        simple([], grid=25 / 16, strict_official=True)
    truth = GroundTruth.from_rows({"v": [("A", 0, 1)]})
    with pytest.raises(TableError, match="give grid="):
        evaluate(DetectionTable.from_rows({}, ["A"], "snippets"), truth, [0.5])


def test_nothing_to_score_is_said():
    with pytest.raises(TableError, match="holds no instance"):
        evaluate(*tables({"v": []}, {}, classes=["A"]), [0.5])


def test_a_label_beyond_the_class_list_is_named():
    truth = GroundTruth.from_rows({"v": [("A", 0, 1)]})
    table = DetectionTable(("v",), [0], [1], [0.0], [1.0], [0.5])
    with pytest.raises(TableError, match=r"label 1 is outside the class list of 1"):
        evaluate(table, truth, [0.5])


def test_averages_over_part_of_the_thresholds():
    result = evaluate(*tables({"v": [("A", 0, 10)]}, {"v": [("A", 0, 6, 1)]}), [0.5, 0.6, 0.7])
    assert result.average_over([0.5, 0.6]) == 1.0
    assert result.average == pytest.approx(2 / 3)
    with pytest.raises(Exception, match=r"tIoU 0.9 was not evaluated"):
        result.average_over([0.9])
