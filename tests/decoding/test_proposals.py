"""Runs and contrast against plain loops, to the bit; corners of runs and flanks; bad input."""

from __future__ import annotations

import numpy as np
import pytest

from tests.decoding.loops import contrast_loop, runs_loop
from wtal_bench.decoding import Contrast, Runs, find_runs, proposals
from wtal_bench.decoding.curves import Upsampled
from wtal_bench.errors import ConfigError, DataError


def random_curve(seed: int, samples: int, columns: int, dtype: str = "float64") -> np.ndarray:
    """Stretches of equal values on a coarse grid (ties with thresholds) with noise elsewhere."""
    rng = np.random.default_rng(seed)
    smooth = np.repeat(rng.integers(-4, 9, (samples // 4 + 1, columns)) / 8, 4, axis=0)[:samples]
    return np.where(rng.random((samples, columns)) < 0.6, smooth, rng.random((samples, columns))).astype(dtype)


@pytest.mark.parametrize("above", [">", ">="])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(("shortest", "lone"), [(1, "keep"), (1, "drop"), (3, "keep")])
@pytest.mark.parametrize("samples", [1, 2, 7, 60])
def test_runs_equal_the_loop(above, positive, shortest, lone, samples):
    thresholds = np.array([-0.25, 0.0, 0.5, 0.25, 2.0])
    for seed in range(8):
        curve = random_curve(seed, samples, 3)
        runs = find_runs(curve, thresholds, above=above, positive=positive, min_length=shortest, lone_first_sample=lone)
        rows = np.stack([runs.column, runs.level, runs.start, runs.end], axis=1).tolist()
        assert rows == runs_loop(curve, thresholds, above, positive, shortest, lone)
        np.testing.assert_array_equal(runs.threshold, thresholds[runs.level])


@pytest.mark.parametrize("above", [">", ">="])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("lone", ["keep", "drop"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_runs_of_an_up_sampled_curve_are_those_of_its_points(above, positive, lone, dtype):
    thresholds = np.array([-0.25, 0.0, 0.5, 0.25, 0.3, 2.0])
    for seed, (samples, factor) in enumerate([(2, 2), (2, 24), (3, 1), (9, 8), (40, 5), (61, 24)] * 3):
        curve = Upsampled(random_curve(seed, samples, 3, dtype), factor)
        rule = dict(above=above, positive=positive, lone_first_sample=lone)
        runs, expected = find_runs(curve, thresholds, **rule), find_runs(np.asarray(curve), thresholds, **rule)
        for name in ("start", "end", "column", "level", "threshold"):
            np.testing.assert_array_equal(getattr(runs, name), getattr(expected, name))
        both = [Contrast(outer=None).score(runs, values) for values in (curve, np.asarray(curve))]
        np.testing.assert_array_equal(*both)


def test_runs_that_touch_or_are_out_of_order_are_scored_as_each_alone():
    curve = random_curve(7, 40, 2)
    start, end = np.array([20, 3, 10, 0, 12]), np.array([30, 10, 25, 40, 13])
    column, level = np.array([1, 0, 0, 1, 1]), np.zeros(5, dtype=np.int64)
    runs = Runs(start, end, column, level, np.zeros(5))
    score, _ = Contrast(outer=None).score(runs, curve)
    assert score.tolist() == [curve[a:b, c].mean() for a, b, c in zip(start, end, column)]


CONTRASTS = [
    Contrast(),
    Contrast(outer=0.2, video_score=0.2),
    Contrast(outer=0.4, ring="exclusive", video_score=0.15),
    Contrast(ring="inside", overhang=1, weight=0.6),
    Contrast(outer=0.0785, power=0.9, ring="inside", overhang=1),
    Contrast(ring="at_least_one", video_score=0.25),
    Contrast(ring="one_more", weight=0.3, sides="separate"),
    Contrast(outer=None, inside="max", video_score=0.7),
    Contrast(outer=2.0, video_score=0.2, video_score_binary=True),
]


@pytest.mark.parametrize("contrast", CONTRASTS, ids=lambda c: f"{c.ring}-{c.outer}-{c.sides}")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("zero_below", [False, True])
@pytest.mark.parametrize("samples", [1, 5, 400])
def test_scores_have_the_bits_of_the_loop(contrast, dtype, zero_below, samples):
    curve = random_curve(1, samples, 3, dtype)
    video_scores = np.array([0.3, 0.9, 0.5], dtype)
    runs = find_runs(curve, [0.0, 0.25, 0.4], above=">=", positive=True)
    score, inside = contrast.score(runs, curve, video_scores, zero_below=zero_below)
    expected = [contrast_loop(contrast, curve, video_scores, runs, i, zero_below) for i in range(len(runs))]
    np.testing.assert_array_equal(np.stack([score, inside], axis=1), np.array(expected).reshape(-1, 2))


def test_scores_do_not_depend_on_how_many_samples_are_gathered_at_a_time(monkeypatch):
    curve = random_curve(4, 300, 3)
    runs = find_runs(curve, [0.1, 0.3, 0.6])
    contrast = Contrast(video_score=0.2)
    whole = contrast.score(runs, curve, np.ones(3), zero_below=True)
    for block in (1, 7, 100):
        monkeypatch.setattr(proposals, "_BLOCK", block)
        np.testing.assert_array_equal(contrast.score(runs, curve, np.ones(3), zero_below=True), whole)


def test_a_mix_is_scored_as_the_mixed_curve():
    curve, other = random_curve(2, 50, 2), random_curve(3, 50, 2)
    runs = find_runs(curve, [0.2, 0.5])
    contrast = Contrast(outer=0.15)
    mixed, _ = contrast.score(runs, curve, share=0.7, plus=0.3 * other)
    whole, _ = contrast.score(runs, 0.7 * curve + 0.3 * other)
    np.testing.assert_array_equal(mixed, whole)


def test_one_column_serves_several_classes():
    runs = find_runs(np.array([0.0, 1.0, 1.0, 0.0, 1.0]), [0.5])
    tiled = runs.tiled(3)
    assert tiled.column.tolist() == [0, 0, 1, 1, 2, 2]
    assert tiled.start.tolist() == [1, 4] * 3
    assert len(runs.tiled(0)) == 0


def test_float32_curves_meet_float32_thresholds():
    curve = np.array([0.1, 0.1, 0.2], dtype=np.float32)  # float32(0.1) is above the float64 0.1
    assert find_runs(curve, [0.1]).start.tolist() == [2]
    assert find_runs(curve, [0.1], above=">=").start.tolist() == [0]


def test_no_run_gives_no_score():
    runs = find_runs(np.zeros((5, 2)), [0.5])
    assert len(runs) == 0
    assert [len(column) for column in Contrast().score(runs, np.zeros((5, 2)))] == [0, 0]


@pytest.mark.parametrize(
    ("curve", "thresholds"), [(np.zeros((3, 2, 2)), [0.5]), (np.zeros((3, 2)), [[0.5]]), (np.zeros((3, 2)), 0.5)]
)
def test_shapes_that_do_not_fit_are_refused(curve, thresholds):
    with pytest.raises(DataError, match="curve"):
        find_runs(curve, thresholds)


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"ring": "inclusiv"}, "contrast.ring.*Did you mean 'inclusive'"),
        ({"sides": "both"}, "joined, separate"),
        ({"inside": "mena"}, "Did you mean 'mean'"),
        ({"outer": -0.1}, "contrast.outer"),
        ({"overhang": 0.5}, "integer"),
    ],
)
def test_unknown_contrasts_are_refused_with_the_nearest(setting, text):
    with pytest.raises(ConfigError, match=text):
        Contrast(**setting)


def test_unknown_run_rules_are_refused():
    for setting in ({"above": "=>"}, {"lone_first_sample": "lose"}, {"min_length": 0}):
        with pytest.raises(ConfigError, match=next(iter(setting))):
            find_runs(np.zeros(3), [0.5], **setting)
