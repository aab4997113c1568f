"""Suppression: equal to the greedy loop on random, tied, dense and grouped inputs; order, corners, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from tests.decoding.loops import hard_loop, suppresses
from wtal_bench.decoding import NMS, nms
from wtal_bench.errors import ConfigError, DataError

RULES = [
    NMS(iou=0.5),
    NMS(iou=0.6, offset=1.0),
    NMS(iou=0.0, offset=1.0, drop=">"),
    NMS(iou=0.9, offset=1e-6, offset_on="length", ties="earlier_first"),
    NMS(iou=0.2, overlap="self", offset=1.0, drop=">"),
    NMS(iou=1.0),
    NMS(iou=0.0),
    NMS(iou=1.0, drop=">"),
]


@pytest.fixture(autouse=True, params=[0, nms._FEW_PAIRS], ids=["windows", "all_pairs_where_few"])
def few_pairs(request, monkeypatch):
    """Hold both ways of listing pairs to every test here: small inputs would see one of them alone."""
    monkeypatch.setattr(nms, "_FEW_PAIRS", request.param)


def short(rule: NMS) -> str:
    return f"{rule.overlap}{rule.drop}{rule.iou}+{rule.offset}"


def segments(seed: int, count: int, span: float, step: float = 0.25, levels: int = 40):
    """Segments on a grid with many equal scores, overlaps on thresholds and (span small) everything over everything."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, int(span / step), count) * step
    end = start + rng.integers(0, 60, count) * step
    return start, end, rng.integers(0, levels, count) / levels


@pytest.mark.parametrize("rule", RULES, ids=short)
@pytest.mark.parametrize(("count", "span"), [(1, 10), (16, 20), (60, 5), (300, 400), (700, 20)])
def test_kept_rows_equal_the_greedy_loop(rule, count, span):
    start, end, score = segments(count, count, span)
    kept, scores = rule(start, end, score)
    assert kept.tolist() == hard_loop(rule, start, end, score)
    np.testing.assert_array_equal(scores, score[kept])


@pytest.mark.parametrize("rule", RULES[:5], ids=short)
def test_groups_are_suppressed_on_their_own(rule):
    start, end, score = segments(3, 600, 30)
    group = np.random.default_rng(4).choice([-3, 0, 5, 40], 600, p=[0.05, 0.5, 0.4, 0.05])
    expected = []
    for value in np.unique(group):
        rows = np.flatnonzero(group == value)
        expected += rows[hard_loop(rule, start[rows], end[rows], score[rows])].tolist()
    assert rule(start, end, score, group)[0].tolist() == expected


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("iou", [0.0, 0.4])
def test_groups_far_from_the_origin_stay_apart(precision, iou):
    start, end, score = segments(5, 200, 3)
    group = np.arange(200) % 25
    rule = NMS(iou=iou, precision=precision)
    np.testing.assert_array_equal(rule(start + 1e6, end + 1e6, score, group)[0], rule(start, end, score, group)[0])


@pytest.mark.parametrize("ties", ["later_first", "earlier_first"])
def test_a_chain_of_conflicts_keeps_every_second(ties):
    start = np.arange(5000) * 0.5  # each suppresses the next, so nothing is decided before its better neighbour is
    kept, _ = NMS(iou=1 / 3, ties=ties)(start, start + 1.0, np.linspace(1, 0, 5000))
    np.testing.assert_array_equal(kept, np.arange(0, 5000, 2))


def test_segments_that_crowd_are_suppressed_as_elsewhere():
    start, end, score = segments(6, 400, 2)
    start, end = np.append(start, 1e7), np.append(end, 1e7 + 1)
    score = np.append(score, 0.5)
    assert NMS(iou=0.7)(start, end, score)[0].tolist() == hard_loop(NMS(iou=0.7), start, end, score)


@pytest.mark.parametrize("rule", [RULES[1], RULES[4]], ids=short)
@pytest.mark.parametrize(("count", "span"), [(40, 30), (500, 15)])
def test_leaders_are_the_best_kept_rows_that_suppress(rule, count, span):
    start, end, score = segments(9, count, span)
    kept, leader = rule.groups(start, end, score)
    assert kept.tolist() == hard_loop(rule, start, end, score)
    for row in range(count):
        takers = [k for k in kept if suppresses(rule, start, end, k, row)]
        assert leader[row] == (row if row in kept else takers[0])


@pytest.mark.parametrize("kind", ["gaussian", "linear"])
@pytest.mark.parametrize("lowest", [None, 0.2])
def test_soft_rules_on_many_groups_equal_one_group_at_a_time(kind, lowest):
    rule = NMS(kind=kind, iou=0.3, offset=1.0, min_score=lowest)
    start, end, score = segments(5, 200, 30)
    group = np.random.default_rng(6).integers(0, 5, 200)
    rows, scores = [], []
    for value in range(5):
        mine = np.flatnonzero(group == value)
        kept, decayed = rule(start[mine], end[mine], score[mine])
        rows += mine[kept].tolist()
        scores += decayed.tolist()
    kept, decayed = rule(start, end, score, group)
    assert kept.tolist() == rows
    np.testing.assert_array_equal(decayed, scores)
    assert lowest is None or len(kept) < 200


def test_soft_scores_never_rise_in_output_order():
    start, end, score = segments(7, 100, 20)
    _, decayed = NMS(kind="gaussian", sigma=0.3, offset=1.0)(start, end, score)
    assert (np.diff(decayed) <= 0).all()


@pytest.mark.parametrize("kind", ["hard", "gaussian"])
def test_nothing_in_nothing_out(kind):
    kept, scores = NMS(kind=kind)(np.zeros(0), np.zeros(0), np.zeros(0))
    assert len(kept) == len(scores) == 0


def test_ties_at_two_ends_of_the_input_fall_as_stated():
    start, end, score = np.zeros(3), np.ones(3), np.array([0.5, 0.5, 0.5])
    assert NMS(ties="later_first")(start, end, score)[0].tolist() == [2]
    assert NMS(ties="earlier_first")(start, end, score)[0].tolist() == [0]


def test_the_plus_one_second_joins_segments_less_than_a_second_apart():
    start, end, score = np.array([0.0, 0.5]), np.array([0.25, 0.75]), np.array([1.0, 0.5])
    assert NMS(iou=0.3, offset=1.0)(start, end, score)[0].tolist() == [0]
    assert NMS(iou=0.3, offset=0.0)(start, end, score)[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [("start", np.nan, "row 1"), ("score", np.nan, "row 1"), ("end", -1.0, "end -1.0"), ("end", np.inf, "row 1")],
)
def test_bad_rows_are_named(column, value, text):
    columns = {"start": np.zeros(3), "end": np.ones(3), "score": np.ones(3)}
    columns[column][1] = value
    with pytest.raises(DataError, match=text):
        NMS()(**columns)


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(DataError, match="one length"):
        NMS()(np.zeros(2), np.ones(3), np.ones(3))


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"kind": "gausian"}, "Did you mean 'gaussian'"),
        ({"overlap": "iou"}, "union, self"),
        ({"drop": ">=="}, "nms.drop"),
        ({"offset": -1}, "at least 0"),
        ({"kind": "gaussian", "sigma": 0.0}, "positive"),
        ({"iou": "0.5"}, "expected float, int"),
    ],
)
def test_unknown_settings_are_refused_with_the_nearest(setting, text):
    with pytest.raises(ConfigError, match=text):
        NMS(**setting)


def test_soft_rules_form_no_groups():
    with pytest.raises(ConfigError, match="forms no groups"):
        NMS(kind="linear").groups(np.zeros(1), np.ones(1), np.ones(1))
