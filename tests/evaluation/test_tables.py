"""Tables keep the order of their input, and refuse what does not fit together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers import shared_file
from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import WtalError
from wtal_bench.evaluation import PRESETS, DetectionTable, GroundTruth, TableError, get_preset, read_detections
from wtal_bench.protocols import get_protocol
from wtal_bench.structures import Detections, SnippetPositions

ANNOTATIONS = Annotations.from_dict(
    {
        "version": "three videos",
        "classes": ["A", "B"],
        "videos": {
            "w": {
                "subset": "test",
                "duration": 30.0,
                "segments": [{"label": "B", "start": 1.0, "end": 2.0}, {"label": "A", "start": 0.0, "end": 4.0}],
                "ambiguous": [[5.0, 6.0]],
            },
            "t": {"subset": "train", "duration": 9.0, "segments": [{"label": "A", "start": 1.0, "end": 2.0}]},
            "u": {"subset": "test", "duration": 9.0, "segments": []},
        },
    }
)


def test_ground_truth_keeps_the_order_of_the_file():
    truth = GroundTruth.from_annotations(ANNOTATIONS, "test")
    assert truth.videos == ("w", "u")
    assert truth.classes == ("A", "B")
    assert truth.label.tolist() == [1, 0]
    assert (truth.ambiguous_video.tolist(), truth.ambiguous_start.tolist()) == ([0], [5.0])
    assert truth.instances().tolist() == [1, 1]


ON_GRID = SnippetPositions([10.7, 29.999999999999996], [15.6, 60.0], 25 / 16)
FOUND = Detections([6.848, 19.2], [9.984, 38.0], [0, 1], [0.5, 0.4], ON_GRID)
"""A fused row, and one an ulp below its snippet whose end the video cuts."""


def test_positions_of_the_evaluators_own_grid_are_truncated_and_all_others_rounded_from_seconds():
    other = replace(FOUND, snippets=replace(ON_GRID, rate=30 / 16, start=[12.84, 36], end=[18.72, 72.0]))
    plain = replace(FOUND, snippets=None)
    table = DetectionTable.from_videos({"own": FOUND, "other": other, "none": plain})
    moved = table.on_grid(25 / 16)
    assert moved.start.tolist() == [10, 29, 11, 30, 11, 30]
    assert moved.end.tolist() == [15, 60, 16, 59, 16, 59]
    assert moved.unit == "snippets"
    assert table.on_grid(2.0).end.tolist() == [20, 76] * 3


def test_positions_stay_with_their_rows():
    table = DetectionTable.from_videos({"v": FOUND, "w": FOUND}).without(["v"]).take(np.array([1, 0]))
    assert table.on_grid(25 / 16).end.tolist() == [60, 15]
    joined = Detections.concatenate([FOUND.take([1]), Detections.empty(), FOUND.take([0])])
    assert joined.snippets.end.tolist() == [60.0, 15.6]
    assert Detections.concatenate([FOUND, replace(FOUND, snippets=None)]).snippets is None
    assert Detections.concatenate([FOUND, replace(FOUND, snippets=replace(ON_GRID, rate=2.0))]).snippets is None


@pytest.mark.parametrize(
    ("start", "end"),
    [([10.7, 30.0], [15.6, 59.0]), ([10.7, 30.0], [16.0, 60.0]), ([10.7, 30.1], [15.6, 60.0]),
     ([-1.0, 30.0], [15.6, 60.0]), ([10.7, np.nan], [15.6, 60.0]), ([10.7, 30.0], [15.6, np.inf])],
)  # fmt: skip
def test_positions_that_are_not_those_of_the_seconds_are_refused(start, end):
    found = replace(FOUND, snippets=SnippetPositions(start, end, 25 / 16))
    DetectionTable.from_videos({"v": FOUND}).check()
    with pytest.raises(TableError, match=r"video 'v', detection [01]: snippets .* at 1.5625 a second are not its"):
        DetectionTable.from_videos({"v": found}).check()


def test_excluded_videos_leave_with_all_they_hold():
    truth = GroundTruth.from_annotations(ANNOTATIONS, "test", exclude=["w"])
    assert (truth.videos, len(truth), len(truth.ambiguous_video)) == (("u",), 0, 0)
    without = GroundTruth.from_annotations(ANNOTATIONS, "test").without(["w", "nobody"])
    assert (without.videos, len(without), len(without.ambiguous_video)) == (("u",), 0, 0)


def test_without_renumbers_the_videos_that_stay():
    truth = GroundTruth.from_rows(
        {"a": [("A", 0, 1)], "b": [("A", 2, 3)], "c": [("A", 4, 5)]}, ambiguous={"c": [(7, 8)]}
    ).without(["b"])
    assert (truth.videos, truth.video.tolist(), truth.start.tolist()) == (("a", "c"), [0, 1], [0.0, 4.0])
    assert truth.ambiguous_video.tolist() == [1]


def test_unknown_subset_is_explained():
    with pytest.raises(TableError, match=r"no video of subset 'tests' \(subsets there: test, train\). Did you mean"):
        GroundTruth.from_annotations(ANNOTATIONS, "tests")


def test_detections_of_videos_are_joined_in_order():
    table = DetectionTable.from_videos(
        {
            "b": Detections.from_rows([(1, 0, 1, 0.5)]),
            "n": Detections.empty(),
            "a": Detections.from_rows([(0, 2, 3, 0.7)]),
        }
    )
    assert table.videos == ("b", "n", "a")
    assert table.video.tolist() == [0, 2]
    assert table.label.tolist() == [1, 0]
    assert table.place(1) == "video 'a', detection 0"
    assert len(DetectionTable.from_videos({})) == 0


def test_rows_of_unknown_classes_get_no_label():
    table = DetectionTable.from_rows({"v": [("A", 0, 1, 0.5), ("Z", 0, 1, 0.5)]}, ["A"])
    assert table.label.tolist() == [0, -1]


def test_detections_of_left_out_videos_go():
    table = DetectionTable.from_rows({"v": [("A", 0, 1, 0.5)], "w": [("A", 0, 1, 0.6)]}, ["A"])
    assert table.without(["v"]).score.tolist() == [0.6]
    assert table.without(["x"]) is table


def test_columns_must_fit():
    with pytest.raises(TableError, match="of one length"):
        DetectionTable(("v",), [0], [0], [0.0], [1.0, 2.0], [0.5])
    with pytest.raises(TableError, match=r"DetectionTable.video must lie in 0..0, got 1..1"):
        DetectionTable(("v",), [1], [0], [0.0], [1.0], [0.5])
    with pytest.raises(TableError, match="must be a class index or -1, got -2"):
        DetectionTable(("v",), [0], [-2], [0.0], [1.0], [0.5])
    with pytest.raises(TableError, match="unit must be"):
        DetectionTable(("v",), [0], [0], [0.0], [1.0], [0.5], "frames")
    with pytest.raises(TableError, match="unknown class 'C'"):
        GroundTruth.from_rows({"v": [("C", 0, 1)]}, ["A"])
    with pytest.raises(TableError, match="not among the videos"):
        GroundTruth.from_rows({"v": []}, ["A"], {"w": [(0, 1)]})


def test_presets_leave_their_videos_out():
    name = "video_test_0000270"
    truth = GroundTruth.from_rows({name: [("A", 0, 1)], "v": [("A", 0, 10)]})
    found = DetectionTable.from_rows({name: [("A", 5, 9, 0.9)], "v": [("A", 0, 10, 0.5)]}, ["A"])
    scores = {key: get_preset(key).evaluate(found, truth, [0.5]).average for key in PRESETS}
    assert scores["thumos_seconds_210"] == 1.0
    assert scores["thumos_seconds_212"] == 0.25
    assert scores["thumos_seconds_210_of_212"] == 0.5  # not tested: a miss, and no false positive
    assert np.isclose(scores["thumos_snippet"], 0.25)
    with pytest.raises(WtalError, match="Did you mean 'activitynet'"):
        get_preset("activitynets")


def test_the_official_rule_on_snippets_drops_ambiguous_spans_and_counts_an_empty_class_as_zero():
    truth = GroundTruth.from_rows({"v": [("A", 0, 6.41), ("B", 20, 26.4)]}, ["A", "B"], {"v": [(12.8, 16.0)]})
    rows = [("A", 12.9, 15.9, 0.9), ("A", 0, 6.39, 0.5)]
    found = DetectionTable.from_rows({"v": rows}, ["A", "B"])
    on_snippets = get_preset("thumos_snippet_official").evaluate(found, truth, [0.5, 1.0])
    assert on_snippets.ap.tolist() == [[1.0, 1.0], [0.0, 0.0]]  # both ends of A's instance round to its snippets
    assert get_preset("activitynet").evaluate(found, truth, [0.5, 1.0]).ap.tolist() == [[0.5, 0.0], [0.0, 0.0]]
    assert get_preset("thumos_snippet").evaluate(found, truth, [0.5]).average == 0.0


def test_cleaning_drops_instants_and_repeats():
    rows = [("A", 0, 10), ("A", 0.0005, 9.9995), ("B", 0, 10), ("A", 5, 5), ("A", 0.002, 10)]
    cleaned = GroundTruth.from_rows({"v": rows, "w": rows[:1], "x": []}).cleaned()
    assert list(zip(cleaned.video.tolist(), cleaned.start.tolist())) == [(0, 0.0), (0, 0.002), (1, 0.0)]
    assert cleaned.videos == ("v", "w", "x")


def test_cleaning_activitynet_removes_what_opentad_removes():
    file = Annotations.load(shared_file("data/activitynet1.3.json"))
    truth = GroundTruth.from_annotations(file, "val")
    assert len(truth) - len(truth.cleaned()) == 22
    found = read_detections(shared_file("detections/activitynet1.3_sample.json"), file.classes).table()
    result = get_preset("activitynet").evaluate(found, truth.cleaned(), get_protocol("activitynet13/v1").tious)
    assert f"{100 * result.average:.3f}" == "97.074"
