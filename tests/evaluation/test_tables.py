"""Tables keep the order of their input, and refuse what does not fit together."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import shared_file
from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import WtalError
from wtal_bench.evaluation import PRESETS, DetectionTable, GroundTruth, TableError, get_preset, read_detections
from wtal_bench.protocols import get_protocol
from wtal_bench.structures import Detections

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


def test_presets_drop_their_videos_from_both_sides():
    name = "video_test_0000270"
    truth = GroundTruth.from_rows({name: [("A", 0, 1)], "v": [("A", 0, 10)]})
    found = DetectionTable.from_rows({name: [("A", 5, 9, 0.9)], "v": [("A", 0, 10, 0.5)]}, ["A"])
    scores = {key: get_preset(key).evaluate(found, truth, [0.5]).average for key in PRESETS}
    assert scores["thumos_seconds_210"] == 1.0
    assert scores["thumos_seconds_212"] == 0.25
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
