"""The decoders as components: what they read, whom they propose, what they guarantee, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from wtal_bench.decoding import PooledDecoder, ThresholdDecoder
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.structures import VideoMeta

CAS = np.array([[0.0, 0.9, 0.9, 0.1, 0.9, 0.9], [0.9, 0.0, 0.0, 0.0, 0.0, 0.6], [0.9] * 6]).T
"""[6,3]: two action classes and a background that is always on."""


def meta(duration: float = 3.84, **more) -> VideoMeta:
    return VideoMeta("clip", duration=duration, fps=25.0, stride=16, num_snippets=6, **more)


def outputs(**more) -> dict:
    return {"cas": CAS, "video_logits": np.array([0.5, 0.4, 0.9]), **more}


def decoder(**more) -> ThresholdDecoder:
    common = {"num_classes": 2, "scores_activation": "none", "thresholds": [0.5], "contrast": {"outer": None}}
    return ThresholdDecoder(**{**common, **more})


def rows(found) -> list[list[float]]:
    """(class, first snippet, one past the last) of detections of whole snippets."""
    return [[int(label), round(a / 0.64), round(b / 0.64)] for label, a, b, _ in found.rows()]


def test_runs_of_the_kept_classes_become_seconds_and_background_is_never_proposed():
    assert rows(decoder()(outputs(), meta())) == [[0, 1, 3], [0, 4, 6], [1, 0, 1], [1, 5, 6]]


def test_thresholds_that_are_probabilities_follow_the_number_of_classes():
    given = dict(arange=(0.03, 0.055, 0.005))
    own = decoder(num_classes=20, thresholds=given).thresholds.grid
    same = decoder(num_classes=20, thresholds=given, thresholds_of=20).thresholds.grid
    np.testing.assert_array_equal(same, own)  # bit for bit where they were chosen
    fewer = decoder(num_classes=10, thresholds=given, thresholds_of=20).thresholds.grid
    np.testing.assert_allclose(fewer, own * 21 / 11)
    passes = {"cas": {"thresholds_of": 20}, "attention": {"curve": "attention"}}
    pooled = PooledDecoder(shared={"num_classes": 10, "thresholds": [0.2]}, passes=passes)
    assert [part.thresholds.grid[0] for part, _ in pooled.passes.values()] == pytest.approx([0.2 * 21 / 11, 0.2])


@pytest.mark.parametrize(
    ("setting", "classes"),
    [
        ({"class_threshold": 0.4}, {0, 1}),
        ({"class_threshold": 0.4, "class_test": ">"}, {0}),
        ({"class_threshold": 0.8}, set()),
        ({"class_threshold": 0.8, "fallback": "argmax"}, {0}),
        ({"class_threshold": 0.45, "lone_first_class": "drop"}, set()),
        ({"class_threshold": 0.28, "scores_activation": "softmax"}, {0}),
    ],
)
def test_class_rules(setting, classes):
    assert set(decoder(**setting)(outputs(), meta()).label.tolist()) == classes


def test_without_num_classes_every_score_is_an_action_class():
    assert set(decoder(num_classes=None)(outputs(), meta()).label.tolist()) == {0, 1, 2}


def test_a_class_agnostic_curve_gives_every_class_the_same_runs():
    attention = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    found = decoder(curve="attention", score_curve="cas")(outputs(attention=attention), meta())
    assert rows(found) == [[0, 2, 4], [1, 2, 4]]
    np.testing.assert_allclose(found.score, [0.5, 0.0])


def test_no_class_kept_gives_no_detection():
    none = decoder(class_threshold=2.0, curve="attention", nms={"iou": 0.5})
    assert len(none(outputs(attention=np.ones(6)), meta())) == 0


@pytest.mark.parametrize("clamp", ["after_nms", "before_nms"])
def test_detections_lie_inside_the_video(clamp):
    found = decoder(clamp=clamp, end_overhang=1, nms={"iou": 0.9})(outputs(), meta(duration=3.3))
    found.check("clip", 3.3)
    assert found.end.max() == 3.3
    assert rows(found)[-1][:2] == [1, 5]
    assert len(decoder(clamp=clamp)(outputs(), meta(duration=3.2))) == 3  # the run of snippet 5 lies past the end
    past = decoder(clamp="none", end_overhang=1)(outputs(), meta(duration=3.3))
    assert past.end.max() == pytest.approx(7 * 0.64)


def test_cutting_before_suppression_changes_what_suppresses():
    cas = np.array([[0.6, 0.8, 0.8, 0.6, 0.6, 0.0]]).T  # runs of snippets 0..4 and 1..2: IoU 0.4, cut at 1.92 s 0.67
    video = {"cas": cas, "video_logits": np.ones(1)}
    common = {"num_classes": 1, "thresholds": [0.5, 0.7], "nms": {"iou": 0.5}}
    kept = {clamp: decoder(**common, clamp=clamp)(video, meta(duration=1.92)) for clamp in ("before_nms", "after_nms")}
    assert rows(kept["before_nms"]) == [[0, 1, 3]]
    assert rows(kept["after_nms"]) == [[0, 1, 3], [0, 0, 3]]


def test_nms_in_samples_and_in_seconds_differ_by_the_unit_of_the_offset():
    rule = {"iou": 0.05, "offset": 1.0}
    seconds = decoder(nms=rule)(outputs(), meta())
    samples = decoder(nms=rule, nms_units="samples")(outputs(), meta())
    assert rows(seconds) == [[0, 4, 6], [1, 0, 1], [1, 5, 6]]  # 0.64 s apart: joined by the second
    assert rows(samples) == [[0, 4, 6], [0, 1, 3], [1, 0, 1], [1, 5, 6]]


def test_tags_may_be_scored_on_another_field_than_classes_are_picked_by():
    made = decoder(tag_scores="tag_logits", tag_activation="sigmoid")
    assert "tag_logits" in made.requires
    fields = {**outputs(), "tag_logits": np.array([-1.0, 2.0, 0.0])}
    np.testing.assert_allclose(made.video_scores(fields), 1 / (1 + np.exp([1.0, -2.0])))
    np.testing.assert_array_equal(made.class_scores(fields), decoder().class_scores(outputs()))
    np.testing.assert_array_equal(made(fields, meta()).rows(), decoder()(outputs(), meta()).rows())
    with pytest.raises(ConfigError, match="tag_scores is empty"):
        decoder(tag_scores={})


def test_video_scores_are_the_activated_action_scores():
    np.testing.assert_array_equal(decoder().video_scores(outputs()), [0.5, 0.4])
    assert decoder(scores_activation="softmax").video_scores(outputs()).sum() < 1


def test_the_frame_grid_comes_from_the_video():
    found = decoder(upsample="frames", time="fps")(outputs(), meta(num_frames=96))
    assert found.start[0] == pytest.approx(17 / 25)  # (j + .5) / 16 - .5 first exceeds 0.5 / 0.9 at j = 17
    found.check("clip", 3.84)


def test_one_snippet_is_decodable_at_every_upsampling():
    one = {"cas": CAS[:1], "video_logits": np.array([0.5, 0.4, 0.9])}
    video = VideoMeta("clip", duration=0.64, fps=25.0, stride=16, num_snippets=1)
    for how, time in ((None, "stride"), (24, "stride"), ("frames", "fps")):
        found = decoder(upsample=how, time=time)(one, video)
        assert found.rows()[:, :3].tolist() == [[1.0, 0.0, 0.64]]


def test_what_is_read_is_declared():
    pooled = PooledDecoder(
        shared={"scores": "inst.logits", "thresholds": [0.5]},
        passes={
            "a": {"curve": {"product": ["cas", "attention"]}},
            "b": {"curve": "attention", "score_curve": "post.cas"},
        },
    )
    assert pooled.requires == ("inst.logits", "cas", "attention", "post.cas")
    assert decoder().requires == ("video_logits", "cas")


def test_pooled_passes_meet_in_one_suppression_in_their_order():
    attention = np.array([0.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    spec = {
        "shared": {"num_classes": 2, "scores_activation": "none", "thresholds": [0.5], "class_threshold": 0.45},
        "passes": {"cas": {"curve": "cas"}, "attention": {"curve": "attention", "score_scale": 2.0}},
    }
    video = outputs(attention=attention)
    assert rows(PooledDecoder(**spec)(video, meta())) == [[0, 1, 3], [0, 4, 6], [0, 1, 3]]
    assert rows(PooledDecoder(**spec, nms={"iou": 0.5})(video, meta())) == [[0, 1, 3], [0, 4, 6]]
    one = {**spec, "passes": {**spec["passes"], "attention": None}}
    assert rows(PooledDecoder(**one)(video, meta())) == [[0, 1, 3], [0, 4, 6]]


def test_a_class_of_one_pass_keeps_its_order_where_only_shared_classes_are_suppressed():
    flat = np.where(CAS > 0.5, 0.9, 0.0)
    shared = {"num_classes": 2, "scores_activation": "none", "thresholds": [0.5], "class_threshold": 0.45}
    passes = {"rgb": {"scores": "rgb.p", "curve": "rgb.cas"}, "flow": {"scores": "flow.p", "curve": "flow.cas"}}
    video = {"rgb.p": np.array([1.0, 0.0]), "flow.p": np.array([0.0, 1.0]), "rgb.cas": flat, "flow.cas": flat}
    every = PooledDecoder(shared=shared, passes=passes, nms={"iou": 0.5})(video, meta())
    shared_only = PooledDecoder(shared=shared, passes=passes, nms={"iou": 0.5}, nms_classes="shared")(video, meta())
    assert rows(every) == [[0, 4, 6], [0, 1, 3], [1, 5, 6], [1, 0, 1]]  # equal scores: the later first
    assert rows(shared_only) == [[0, 1, 3], [0, 4, 6], [1, 0, 1], [1, 5, 6]]


def test_scores_of_passes_that_read_the_same_field_count_once():
    passes = {name: {"thresholds": [0.5]} for name in ("a", "b", "c")}
    scores = PooledDecoder(passes=passes, shared={"num_classes": 2, "scores_activation": "none"}).video_scores(
        outputs()
    )
    np.testing.assert_array_equal(scores, [0.5, 0.4])


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"class_test": "=>"}, "class_test"),
        ({"fallback": "argmin"}, "Did you mean 'argmax'"),
        ({"normalize": "rectifed"}, "Did you mean 'rectified'"),
        ({"upsample": "frame"}, "Did you mean 'frames'"),
        ({"upsample": 0}, "upsample=0"),
        ({"thresholds": []}, "thresholds is empty"),
        ({"time": "second"}, "time='second'"),
        ({"nms": {"iuo": 0.5}}, "nms.iuo: NMS has no argument 'iuo'.*Did you mean 'iou'"),
        ({"nms": 0.5}, "nms must be a dict"),
        ({"contrast": {"ouster": 1}}, "Did you mean 'outer'"),
        ({"nms_units": "frames"}, "seconds, samples"),
        ({"clamp": "after"}, "Did you mean 'after_nms'"),
        ({"precision": "float16"}, "float64, float32"),
        ({"min_length": 1.5}, "min_length=1.5"),
        ({"class_threshold": "0.1"}, "class_threshold"),
        ({"num_classes": 0}, "num_classes=0"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, text):
    with pytest.raises(ConfigError, match=text):
        decoder(**setting)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"passes": {}}, "at least one pass"),
        ({"passes": {"cas": None}}, "at least one pass"),
        ({"passes": {"cas": 0.5}}, "passes.cas must be a dict"),
        ({"passes": {"cas": {"thresholds": [0.5]}}, "shared": [1]}, "shared must be a dict"),
        ({"passes": {"cas": {"thresholds": [0.5], "treshold": 1}}}, "passes.cas: unknown key 'treshold'"),
        ({"passes": {"cas": {"thresholds": [0.5], "clamp": "none"}}}, "passes.cas: unknown key 'clamp'"),
        ({"passes": {"cas": {"curve": "cas"}}}, "passes.cas needs thresholds"),
        ({"passes": {"cas": {"thresholds": [0.5], "above": "=>"}}}, "passes.cas: above"),
        ({"passes": {"cas": {"thresholds": [0.5]}}, "nms_classes": "both"}, "all, shared"),
    ],
)
def test_pooled_settings_that_cannot_work_are_refused_with_the_pass(spec, text):
    with pytest.raises(ConfigError, match=text):
        PooledDecoder(**spec)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cas": np.full((6, 3), np.nan)}, "'cas' is nan at class 0, snippet 0"),
        ({"video_logits": np.array([0.5, np.inf, 0.0])}, "'video_logits' is inf at index 1"),
        ({"video_logits": np.zeros((1, 3))}, "shape"),
        ({"video_logits": np.zeros(1)}, "1 class columns, the decoder needs 2"),
        ({"attention": np.ones(5)}, "6 samples.*5|5 samples.*6"),
    ],
)
def test_unusable_outputs_are_named(change, text):
    with pytest.raises(DataError, match=f"(?s)'clip'.*({text})"):
        decoder(curve="cas", score_curve="attention")(outputs(**{"attention": np.ones(6), **change}), meta())


def test_passes_on_different_grids_cannot_be_suppressed_in_samples():
    passes = {"a": {"upsample": 2}, "b": {"upsample": 3}}
    shared = {"num_classes": 2, "scores_activation": "none", "thresholds": [0.5]}
    pooled = PooledDecoder(passes=passes, shared=shared, nms={"iou": 0.5}, nms_units="samples")
    with pytest.raises(ConfigError, match="one grid"):
        pooled(outputs(), meta())


@pytest.mark.parametrize("nms", [None, {"iou": 0.5}])
def test_only_a_decoder_on_the_snippet_grid_hands_its_positions_on(nms):
    cut = meta(duration=3.5)
    found = decoder(time="snippet", end_overhang=1, nms=nms)(outputs(), cut)
    assert found.snippets.rate == 25 / 16
    rows = zip(found.label.tolist(), found.snippets.start.tolist(), found.snippets.end.tolist())
    # up to 7 of 6 snippets: past the end, as the evaluators on the grid see it
    assert sorted(rows) == [(0, 1, 4), (0, 4, 7), (1, 0, 2), (1, 5, 7)]
    assert found.end.max() == cut.duration
    for time in ("stride", "duration"):
        assert decoder(time=time, nms=nms)(outputs(), cut).snippets is None


def test_positions_are_pooled_with_their_passes_and_dropped_where_one_has_none():
    passes = {"a": {"curve": "cas"}, "b": {"curve": "cas", "thresholds": [0.7]}}
    shared = {"num_classes": 2, "scores_activation": "none", "thresholds": [0.5], "contrast": {"outer": None}}
    pooled = PooledDecoder(passes=passes, shared={**shared, "time": "snippet"})(outputs(), meta())
    np.testing.assert_allclose(pooled.snippets.start * 0.64, pooled.start, rtol=0, atol=1e-12)
    assert len(pooled.snippets) == len(pooled) == 7
    passes["b"]["time"] = "stride"
    assert PooledDecoder(passes=passes, shared={**shared, "time": "snippet"})(outputs(), meta()).snippets is None


def test_a_decoder_whose_curves_nothing_would_call_is_refused():
    with pytest.raises(TypeError, match=r"Mine overrides `curves`.*override that"):
        type("Mine", (ThresholdDecoder,), {"curves": lambda self, outputs, meta: None})


def test_a_decoder_that_is_told_the_classes_decodes_these_alone_at_full_score():
    own = decoder(class_threshold=0.45, contrast={"outer": None, "video_score": 0.2}, lone_first_class="drop")
    found = own.told([1])(outputs(), meta())
    assert rows(found) == [[1, 0, 1], [1, 5, 6]]
    np.testing.assert_allclose(found.score, [0.9 + 0.2, 0.6 + 0.2])
    assert rows(own.told([0])(outputs(), meta())) == [[0, 1, 3], [0, 4, 6]]
    assert not len(own.told([])(outputs(), meta()))
    assert not len(own(outputs(), meta())), "the decoder itself is as it was"
    passes = {"cas": {}, "attention": {"curve": "attention", "class_threshold": 2.0}}
    pooled = PooledDecoder(shared={"num_classes": 2, "thresholds": [0.5], "class_threshold": 2.0}, passes=passes)
    video = outputs(attention=np.array([0.9, 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert rows(pooled.told([1])(video, meta())) == [[1, 0, 1], [1, 5, 6], [1, 0, 1]]
    assert not len(pooled(video, meta()))


def test_the_curves_classes_are_located_by_are_those_that_are_thresholded():
    rng = np.random.default_rng(0)
    video = {"cas": rng.normal(size=(6, 4)), "attention": rng.random(6), "video_logits": rng.random(4)}
    weighed = {"product": [{"field": "cas", "activation": "softmax"}, "attention"]}
    passes = {
        "cas": {"curve": "cas", "normalize": "minmax"},
        "weighed": {"curve": weighed, "normalize": "none"},
        "attention": {"curve": "attention"},
    }
    pooled = PooledDecoder(shared={"num_classes": 3, "thresholds": [0.5], "upsample": 5}, passes=passes)
    curves = pooled.located_curves(video, meta(), [0, 2])
    assert {name: (c.values.shape, c.shared, c.probability) for name, c in curves.items()} == {
        "cas": ((6, 2), False, False),
        "weighed": ((6, 2), False, True),
        "attention": ((6, 1), True, False),
    }
    for name, (part, _) in pooled.passes.items():
        _, fine, _ = part.told([0, 2]).curves(video, meta())
        np.testing.assert_allclose(curves[name].values, fine[::5], rtol=1e-12)
        assert list(part.located_curves(video, meta(), [0, 2])) == ["curve"]
