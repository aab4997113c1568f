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


def test_a_resample_is_of_the_videos_that_were_scored():
    truth, found, _ = random_case(1)
    fewer = {name: rows for name, rows in truth.items() if name != next(iter(truth))}
    with pytest.raises(TableError, match="the resample draws from"):
        bootstrap_ap(scored(truth, found).matches, resample_videos(list(fewer)))
    with pytest.raises(TableError, match="at least 1"):
        resample_videos([], 10)


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
