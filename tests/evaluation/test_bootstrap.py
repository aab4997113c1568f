"""The bootstrap equals scoring the drawn videos as if they had been copied, and pairs what it compares."""

from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.loops import random_case
from wtal_bench.evaluation import (
    DetectionTable,
    GroundTruth,
    Resample,
    TableError,
    bootstrap_ap,
    bootstrap_difference,
    bootstrap_gain,
    bootstrap_map,
    evaluate,
    resample_videos,
    video_influence,
)

TIOUS = (0.25, 0.5, 0.75)


def scored(truth, found, stretches=None, **options):
    ground_truth = GroundTruth.from_rows(truth, ["A", "B"], stretches)
    return evaluate(DetectionTable.from_rows(found, ["A", "B"]), ground_truth, TIOUS, **options)


def distinct(found, seed):
    """The same detections with scores that never tie, for copies of a video must rank side by side."""
    random = np.random.default_rng(seed)
    return {name: [(*row[:3], float(random.random())) for row in rows] for name, rows in found.items()}


def copies(rows, weights):
    return {f"{name}#{index}": part for name, part in rows.items() for index in range(weights.get(name, 1))}


@pytest.mark.parametrize("options", [{}, {"ap": "sum"}, {"ambiguous": "ignore_fp"}, {"videos": "annotated"}], ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_a_replicate_equals_scoring_copied_videos(seed, options):
    truth, found, ambiguous = random_case(seed)
    found = distinct(found, seed)
    result = scored(truth, found, ambiguous, **options)
    resample = resample_videos(list(truth), 12, seed)
    values, means = bootstrap_ap(result.matches, resample), bootstrap_map(result, resample)
    checked = 0
    for row, value, mean in zip(resample.weights, values, means):
        weights = {name: int(weight) for name, weight in zip(resample.videos, row)}
        if not any(copies(truth, weights).values()):
            continue
        expected = scored(*(copies(part, weights) for part in (truth, found, ambiguous)), **options)
        for label, ap in zip(expected.classes, expected.ap):
            np.testing.assert_allclose(value[result.classes.index(label)], ap, rtol=1e-12)
        np.testing.assert_allclose(mean, expected.mAP, rtol=1e-12)
        assert np.isnan(value).all(axis=1).sum() == len(result.classes) - len(expected.classes)
        checked += 1
    assert checked


def test_every_video_once_is_the_result_itself():
    truth, found, _ = random_case(2)
    result = scored(truth, found)
    names = tuple(sorted(truth))
    once = Resample(np.ones((1, len(names)), np.int32), names, "once")
    np.testing.assert_allclose(bootstrap_ap(result.matches, once)[0], result.ap, rtol=1e-12)
    np.testing.assert_allclose(bootstrap_map(result, once)[0], result.mAP, rtol=1e-12)


def test_the_draw_depends_on_ids_and_seed_alone():
    first, again = resample_videos(["b", "a", "c"], 50, 3), resample_videos(["c", "b", "a"], 50, 3)
    np.testing.assert_array_equal(first.weights, again.weights)
    assert first.draw == again.draw
    assert (first.weights.sum(axis=1) == 3).all()
    others = (resample_videos(["a", "b", "d"], 50, 3), resample_videos(["a", "b", "c"], 50, 4))
    assert len({first.draw, *(other.draw for other in others)}) == 3


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


def test_the_gain_of_one_run_a_side_is_their_difference_and_of_several_that_of_their_means():
    truth, *found = random_case(3)[0], *(random_case(seed)[1] for seed in (3, 4, 5, 6))
    found = [{name: rows for name, rows in part.items() if name in truth} for part in found]
    a, b, c, d = (scored(truth, part) for part in found)
    tious = TIOUS[:2]
    difference = bootstrap_difference(a, b, resamples=200, averages={"two": tious}).averages["two"]
    assert bootstrap_gain([a], [b], tious, resamples=200) == difference
    both = bootstrap_gain([a, c], [b, d], tious, resamples=200)
    means = [np.mean([result.mAP[:2].mean() for result in side]) for side in ((a, c), (b, d))]
    assert both.difference == pytest.approx(means[0] - means[1], abs=1e-15)
    draw = resample_videos(list(truth), 200, 0)
    side = [sum(bootstrap_map(result, draw)[:, :2].mean(axis=1) for result in pair) / 2 for pair in ((a, c), (b, d))]
    np.testing.assert_allclose((both.low, both.high), np.quantile(side[0] - side[1], [0.025, 0.975]), atol=1e-15)
    with pytest.raises(TableError, match="at least one"):
        bootstrap_gain([], [b], tious)


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
    with pytest.raises(TableError, match="the resample draws from"):
        bootstrap_ap(scored(truth, found).matches, resample_videos(list(fewer)))
    with pytest.raises(TableError, match="at least 1"):
        resample_videos([], 10)
    result = scored(truth, found)
    with pytest.raises(TableError, match=r"tIoU 0\.3 was not evaluated"):
        bootstrap_difference(result, result, averages={"x": (0.3,)}, resamples=2)


def test_a_whole_map_of_zero_stays_zero():
    truth = {"v": [("A", 0, 10), ("B", 0, 10)], "w": [("A", 0, 10)]}
    result = scored(truth, {"v": [("A", 0, 10, 1)]}, empty_class="zero_all")
    assert bootstrap_map(result, resample_videos(["v", "w"], 5)).max() == 0


@pytest.mark.parametrize("seed", range(4))
def test_influence_is_the_average_minus_the_one_without_the_video(seed):
    truth, found, _ = random_case(seed)
    truth["last"] = [("B", 0.0, 3.0)]
    found = distinct(found, seed)
    result = scored(truth, found)
    influence = video_influence(result)
    assert set(influence) == set(truth)
    for name in truth:
        rest = scored(*({key: rows for key, rows in part.items() if key != name} for part in (truth, found)))
        assert influence[name] == pytest.approx(result.average - rest.average)
