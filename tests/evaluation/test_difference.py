"""What separates two sides: exact where it can be worked out by hand, Welch's where the videos say nothing, paired."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.evaluation.loops import random_case
from tests.evaluation.test_bootstrap import TIOUS, scored
from wtal_bench.evaluation import TableError, bootstrap_difference, bootstrap_map, resample_videos
from wtal_bench.evaluation import evaluate as evaluate_table
from wtal_bench.evaluation.difference import Sample, draw_runs, interval, run_name, widening
from wtal_bench.evaluation.tables import DetectionTable, GroundTruth


def many_videos(better):
    truth = {f"v{index}": [("A", 0.0, 10.0)] for index in range(40)}
    found = {
        name: [("A", 0.0, 10.0 if index % 4 or better else 1.0, 0.9 - index / 100)] for index, name in enumerate(truth)
    }
    return truth, found


def test_a_clear_difference_is_distinguishable():
    good, bad = scored(*many_videos(True)), scored(*many_videos(False))
    found = bootstrap_difference(good, bad, resamples=400, averages={"0.5:0.75": (0.5, 0.75)})
    assert found.average.difference == pytest.approx(good.average - bad.average)
    assert 0 < found.average.low < found.average.difference < found.average.high
    assert found.average.distinguishable
    assert found.average.p_value < 0.02
    assert found.averages["0.5:0.75"].difference == pytest.approx(1 - bad.average_over((0.5, 0.75)))
    assert found.per_class["A"].difference == pytest.approx(found.average.difference)
    assert [part.difference for part in found.per_tiou] == pytest.approx(list(good.mAP - bad.mAP))
    back = bootstrap_difference(bad, good, resamples=400)
    assert (back.average.low, back.average.high) == pytest.approx((-found.average.high, -found.average.low))


def test_a_result_does_not_differ_from_itself():
    result = scored(*many_videos(False))
    found = bootstrap_difference(result, result, resamples=50).average
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert not found.distinguishable


def test_noise_is_not_distinguishable():
    truth, found = many_videos(False)
    other = dict(found)
    other["v1"], other["v4"] = [("A", 0.0, 1.0, 0.5)], [("A", 0.0, 10.0, 0.5)]
    assert not bootstrap_difference(scored(truth, found), scored(truth, other), resamples=300).average.distinguishable


def test_results_of_other_videos_cannot_be_paired():
    truth, found = many_videos(True)
    fewer = {name: rows for name, rows in truth.items() if name != "v0"}
    with pytest.raises(TableError, match="differ in their videos and instances"):
        bootstrap_difference(scored(truth, found), scored(fewer, found))
    result = scored(truth, found)
    with pytest.raises(TableError, match=r"tIoU 0\.3 was not evaluated"):
        bootstrap_difference(result, result, averages={"x": (0.3,)}, resamples=2)


# ---- several runs a side ----

GRID = tuple(round(0.02 * step, 2) for step in range(1, 50))
"""Fine thresholds: a detection that covers a share of its instance scores that share, to 0.02."""


def covering(share, videos=12):
    """A run that finds `share` of the one instance of every video: no video differs from another."""
    names = [f"v{index}" for index in range(videos)]
    truth = GroundTruth.from_rows({name: [("A", 0.0, 10.0)] for name in names}, ["A"])
    found = DetectionTable.from_rows({name: [("A", 0.0, 10.0 * share, 0.5)] for name in names}, ["A"])
    return evaluate_table(found, truth, GRID)


def test_two_runs_against_one_by_hand():
    a, b = [covering(0.56), covering(0.44)], covering(0.44)
    high, low = a[0].average, a[1].average
    found = bootstrap_difference(a, b, resamples=4000).average
    # Both videos and B stand still. The mean of two draws of two runs is the better, the worse, or in half of the draws
    # theirs; its deviation counts sqrt(2) times, and 2 runs have 1 degree of freedom: t / z = 12.706 / 1.960.
    half = (high - low) / 2
    reach = np.sqrt(2) * half * 12.7062 / 1.959964
    assert found.difference == pytest.approx(half)
    assert (found.low, found.high) == (pytest.approx(half - reach, rel=1e-5), pytest.approx(half + reach, rel=1e-5))
    assert found.p_value == pytest.approx(0.5, abs=0.05)  # a quarter of the replicates lies below 0, twice that
    assert not found.distinguishable


@pytest.mark.parametrize("runs", [(5, 5), (3, 8), (10, 4)])
def test_where_videos_do_not_matter_the_interval_is_that_of_welchs_test(runs):
    random = np.random.default_rng(sum(runs))
    ours, theirs = (
        [covering(share) for share in random.normal(mean, 0.06, count)] for mean, count in zip((0.6, 0.5), runs)
    )
    found = bootstrap_difference(ours, theirs, resamples=4000).average
    welch = stats.ttest_ind(*([r.average for r in side] for side in (ours, theirs)), equal_var=False)
    bounds = welch.confidence_interval()
    assert found.difference == pytest.approx(np.mean([bounds.low, bounds.high]))
    assert found.high - found.low == pytest.approx(bounds.high - bounds.low, rel=0.15)


def test_runs_that_agree_leave_the_interval_of_the_videos():
    truth, found, _ = random_case(3)
    a, b = scored(truth, found), scored(truth, {name: rows[:1] for name, rows in found.items()})
    one = bootstrap_difference(a, b, resamples=300)
    three = bootstrap_difference([a] * 3, [b] * 3, resamples=300)
    assert three.runs == (3, 3)
    for left, right in ((one.average, three.average), *zip(one.per_tiou, three.per_tiou)):
        assert (left.low, left.high, left.p_value) == pytest.approx((right.low, right.high, right.p_value), abs=1e-12)


def test_seeds_then_videos_as_loops_would_draw_them():
    truth = random_case(3)[0]
    found = [random_case(seed)[1] for seed in (3, 4, 5, 6, 7)]
    results = [scored(truth, {name: rows for name, rows in part.items() if name in truth}) for part in found]
    ours, theirs = results[:3], results[3:]
    tious, count = TIOUS[:2], 200
    draw = resample_videos(list(truth), count, 0)
    replicates, videos = [], []
    for at in range(count):
        means, wholes = [], []
        for side in (ours, theirs):
            values = [bootstrap_map(result, draw)[at, :2].mean() for result in side]
            names = [run_name(result.mAP) for result in side]
            drawn = [values[pick] for pick in draw_runs(names, count)[at]]
            whole = sum(values) / len(values)
            means.append(whole + (len(side) / (len(side) - 1)) ** 0.5 * (sum(drawn) / len(drawn) - whole))
            wholes.append(whole)
        replicates.append(means[0] - means[1])
        videos.append(wholes[0] - wholes[1])
    seen = [[result.mAP[:2].mean() for result in side] for side in (ours, theirs)]
    difference = np.mean(seen[0]) - np.mean(seen[1])
    factor = widening(seen, np.var(videos))
    expected = [difference + factor * (np.quantile(replicates, at) - difference) for at in (0.025, 0.975)]
    item = bootstrap_difference(ours, theirs, resamples=count, averages={"two": tious}).averages["two"]
    assert item.difference == pytest.approx(difference, abs=1e-15)
    np.testing.assert_allclose((item.low, item.high), np.clip(expected, -1, 1), atol=1e-12)


def test_neither_the_order_of_runs_nor_that_of_sides_matters():
    random = np.random.default_rng(0)
    ours, theirs = ([covering(share) for share in random.normal(0.5, 0.05, 3)] for _ in range(2))
    found = bootstrap_difference(ours, theirs, resamples=200)
    assert bootstrap_difference(ours[::-1], theirs, resamples=200) == found
    back = bootstrap_difference(theirs, ours, resamples=200).average
    assert (back.low, back.high) == pytest.approx((-found.average.high, -found.average.low))
    same = bootstrap_difference(ours, ours, resamples=200).average
    assert (same.low, same.high, same.p_value) == (0, 0, 1)


def test_few_runs_widen_and_many_do_not():
    assert widening([[0.5], [0.4]], 1e-4) == 1  # one run a side: the videos alone
    assert widening([[0.5, 0.5], [0.4, 0.4]], 1e-4) == 1
    few, many = ([[0.40, 0.42, 0.41] * times, [0.42, 0.43, 0.44] * times] for times in (1, 20))
    assert widening(few, 0.0) == pytest.approx(stats.t.ppf(0.975, 4) / stats.norm.ppf(0.975), rel=1e-6)
    assert 1 < widening(many, 0.0) < 1.02
    assert widening(few, 1.0) == pytest.approx(1, abs=1e-4)  # where the videos make the variance


def test_equal_methods_of_three_seeds_are_seldom_told_apart():
    random, wrong, count = np.random.default_rng(1), 0, 400
    for _ in range(500):
        videos = random.normal(0, 0.01, count)  # one replicate's luck, the same for every run
        runs = random.normal(0.5, 0.02, (2, 3))
        columns = [[value + videos + random.normal(0, 0.002, count) for value in side] for side in runs]
        picks = [random.integers(0, 3, (count, 3)) for _ in range(2)]
        sides = [Sample.of(*parts) for parts in zip(runs.tolist(), map(np.stack, columns), picks)]
        wrong += interval(*sides).distinguishable
    assert 0 < wrong / 500 < 0.08, "95 % intervals; of the plain hierarchical bootstrap's a sixth leave 0 out"


def test_a_side_needs_a_run():
    with pytest.raises(TableError, match="at least one run"):
        bootstrap_difference([], covering(0.5))
