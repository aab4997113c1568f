"""The shipped decoder on hand-made curves: every rule the golden files leave open, and the merge of the streams."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from tests.helpers import REPOSITORY
from wtal_bench.errors import DataError
from wtal_bench.interfaces import VideoMeta
from wtal_bench.plugins import registry
from wtal_bench.running.config import load_config

SNIPPET = 0.64
CLASSES = 20


def decoder(nms_classes="shared", **shared):
    """The post-processor of configs/fac_net_thumos.py on probabilities, so that cases can be written down."""
    config = copy.deepcopy(load_config(REPOSITORY / "configs" / "fac_net_thumos.py").model["postprocessor"])
    config["shared"] |= dict(scores_activation="none") | shared
    config["nms_classes"] = nms_classes
    for spec in config["passes"].values():
        spec["curve"]["activation"] = "none"
    return registry("postprocessor").build(config, "test")


def video(length: int) -> VideoMeta:
    return VideoMeta("v", (length + 2) * SNIPPET, 25.0, 16, length)


def outputs(rgb: dict | None = None, flow: dict | None = None, length: int = 40, prob: float = 0.5) -> dict:
    """{first snippet: values} of class 0 per stream over a curve of zeros; background is sure of itself."""
    fields = {}
    for stream, runs in (("rgb", rgb), ("flow", flow)):
        cas = np.zeros((length, CLASSES + 1))
        cas[:, -1] = 1.0
        for first, values in (runs or {}).items():
            cas[first : first + len(values), 0] = values
        scores = np.zeros(CLASSES + 1)
        scores[[0, -1]] = prob, 1.0
        fields |= {f"{stream}.cas": cas, f"{stream}.video_logits": scores}
    return fields


def snippets(detections) -> list[tuple[float, float]]:
    """Stored snippet positions [s, e+1]."""
    return [(round(s / SNIPPET, 9), round(e / SNIPPET, 9)) for s, e in zip(detections.start, detections.end)]


def test_a_run_is_stored_one_snippet_longer_and_scored_by_contrast():
    found = decoder()(outputs(flow={10: [0.8] * 8}), video(40))
    assert snippets(found) == [(10.0, 19.0)]  # five equal candidates, one survives
    # inside 10..18 of which 18 is 0; flank 2: 8, 9 and 19, 20
    assert found.score[0] == pytest.approx(8 * 0.8 / 9, rel=1e-12)
    assert found.label.tolist() == [0]


def test_the_curve_must_exceed_the_threshold():
    top = np.arange(0.03, 0.055, 0.005)[-1]
    stages = {10: [top] * 5}
    parts = decoder().parts(outputs(flow=stages), video(40))
    flow = decoder().passes["flow"][0]
    assert len(flow.candidates(outputs(flow=stages), video(40))) == 4
    assert len(parts[1]) == 1


def test_a_class_at_the_score_threshold_is_kept_one_below_is_not():
    assert len(decoder()(outputs(flow={10: [0.8] * 5}, prob=0.1), video(40))) == 1
    assert len(decoder()(outputs(flow={10: [0.8] * 5}, prob=np.nextafter(0.1, 0)), video(40))) == 0


def test_no_class_above_threshold_and_background_alone_give_nothing():
    assert len(decoder()(outputs(flow={10: [0.8] * 5}, prob=0.0), video(40))) == 0


@pytest.mark.parametrize(("length", "count"), [(2, 0), (3, 1)])
def test_three_snippets_make_a_run(length, count):
    assert len(decoder()(outputs(flow={10: [0.8] * length}), video(40))) == count


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_shortest_videos(length):
    found = decoder()(outputs(flow={0: [0.8] * length}, length=length), video(length))
    assert snippets(found) == ([(0.0, 4.0)] if length == 3 else [])


def test_equal_scores_at_the_end_take_the_later_candidate():
    # 0.032 from 30 on, the last snippet lower: the run at 0.030 reaches T, the one at 0.035 stops before
    values = [0.6] * 9 + [0.0325]
    found = decoder(thresholds=[0.03, 0.035])(outputs(flow={30: values}), video(40))
    assert snippets(found) == [(30.0, 40.0)]


def test_suppression_is_over_the_weaker_ones_own_length_plus_one():
    nms = decoder().passes["flow"][0].nms

    def kept(start, end):
        return len(nms(np.array([0.0, start]), np.array([10.0, end]), np.array([1.0, 0.5]))[0])

    # the weaker one has length 20 with the +1: 4 shared snippets are 0.2 (kept), 5 are 0.25 (dropped)
    assert kept(7.0, 26.0) == 2
    assert kept(6.0, 25.0) == 1
    # and is dropped inside a long better one that it hardly covers
    assert kept(1.0, 3.0) == 1


def test_the_last_snippet_is_never_in_the_outer_set():
    values = [0.9] * 8
    quiet = decoder(nms=None).parts(outputs(flow={30: values}, length=40), video(40))[1]
    loud = outputs(flow={30: values}, length=40)
    loud["flow.cas"][39, 0] = 0.029  # below every threshold; the flank would end on it
    assert np.array_equal(quiet.score, decoder(nms=None).parts(loud, video(40))[1].score)


def test_rgb_counts_a_tenth_and_ranks_below_flow():
    found = decoder()(outputs(rgb={10: [0.9] * 8}, flow={10: [0.3] * 8}), video(40))
    assert snippets(found) == [(10.0, 19.0)]
    assert found.score[0] == pytest.approx(8 * 0.3 / 9, rel=1e-12)


def test_the_merge_suppresses_above_nine_tenths_of_the_weaker_one():
    inside = decoder()(outputs(rgb={12: [0.9] * 4}, flow={10: [0.3] * 8}), video(40))
    assert snippets(inside) == [(10.0, 19.0)]
    beside = decoder()(outputs(rgb={12: [0.9] * 10}, flow={10: [0.3] * 8}), video(40))
    assert snippets(beside) == [(10.0, 19.0), (12.0, 23.0)]


def test_a_class_of_one_stream_alone_passes_the_merge_unchanged():
    values = {5: [0.9] * 8, 20: [0.7] * 8}
    found = decoder()(outputs(rgb=values), video(40))
    assert snippets(found) == [(5.0, 14.0), (20.0, 29.0)]
    assert found.score == pytest.approx([0.08, 0.56 / 9], rel=1e-12)


def test_up_sampling_and_one_suppression_give_the_papers_side():
    tree = outputs(flow={10: [0.8] * 8}, length=40)
    found = decoder("all", upsample=16, min_length=48, time="stride", nms=None)(tree, video(40))
    assert len(found) == 1
    assert found.start[0] == pytest.approx(9 * SNIPPET, abs=SNIPPET / 4)  # the curve crosses between 9 and 10


def test_detections_end_with_the_video():
    meta = VideoMeta("v", 40 * SNIPPET, 25.0, 16, 40)
    found = decoder()(outputs(flow={30: [0.8] * 10}), meta)
    assert found.end.tolist() == [meta.duration]
    found.check("v", meta.duration)


def test_a_missing_stream_is_named():
    tree = {name: value for name, value in outputs().items() if not name.startswith("rgb")}
    with pytest.raises(DataError, match="video 'v': the decoder reads 'rgb"):
        decoder()(tree, video(40))
