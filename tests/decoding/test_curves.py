"""Curves before thresholding: min-max variants, up-sampling, thresholds, sums and products of fields."""

from __future__ import annotations

import numpy as np
import pytest

from wtal_bench.decoding import Curve, Thresholds, normalize, resize_half_pixel, threshold_grid, upsample_linear
from wtal_bench.decoding.curves import activate, sigmoid, softmax
from wtal_bench.errors import ConfigError, DataError

F64 = np.dtype("float64")


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("none", [-2.0, 0.0, 4.0]),
        ("rectified", [-0.5, 0.0, 1.0]),
        ("rectified_clip", [0.0, 0.0, 1.0]),
        ("minmax", [0.0, 1 / 3, 1.0]),
        ("max", [-0.5, 0.0, 1.0]),
    ],
)
def test_each_normalisation_by_hand(how, expected):
    np.testing.assert_allclose(normalize(np.array([-2.0, 0.0, 4.0])[:, None], how)[:, 0], expected, atol=1e-15)


def test_rectified_extremes_keep_the_zero_of_curves_above_it_and_divide_by_one_below_it():
    above = normalize(np.array([1.0, 3.0]), "rectified")
    np.testing.assert_array_equal(above, [0.0, 1.0])
    never_positive = np.array([-3.0, -1.0, 0.0])
    np.testing.assert_array_equal(normalize(never_positive, "rectified"), never_positive)
    np.testing.assert_array_equal(normalize(np.full(4, 2.0), "rectified"), np.zeros(4))


def test_half_pixel_resize_by_hand():
    curve = np.array([0.0, 1.0, 4.0])
    np.testing.assert_allclose(resize_half_pixel(curve, 6), [0.0, 0.25, 0.75, 1.75, 3.25, 4.0], atol=1e-15)
    np.testing.assert_allclose(resize_half_pixel(np.arange(8.0), 2), [1.5, 5.5], atol=1e-15)  # nothing is averaged
    np.testing.assert_array_equal(resize_half_pixel(np.array([7.0]), 3), [7.0, 7.0, 7.0])


def test_factor_upsampling_keeps_the_snippets_and_extrapolates_the_tail():
    curve = np.array([[0.0, 5.0], [1.0, 3.0], [4.0, 4.0]])
    fine = upsample_linear(curve, 4)
    assert fine.shape == (12, 2)
    np.testing.assert_array_equal(fine[::4], curve)
    np.testing.assert_allclose(fine[8:, 0], [4.0, 4.75, 5.5, 6.25])
    np.testing.assert_array_equal(upsample_linear(np.array([2.0]), 3), [2.0, 2.0, 2.0])
    assert upsample_linear(curve, 1) is curve


def test_upsampling_keeps_float32():
    assert upsample_linear(np.zeros((3, 2), np.float32), 5).dtype == np.float32
    assert resize_half_pixel(np.zeros(3, np.float32), 5).dtype == np.float32


def test_activations_do_not_overflow():
    extreme = np.array([-1000.0, 0.0, 1000.0])
    np.testing.assert_array_equal(sigmoid(extreme), [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(softmax(extreme), [0.0, 0.0, 1.0])
    assert activate(np.array([0.0, 0.0]), "softmax").tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ([0.3, 0.1], [0.3, 0.1]),
        ({"linspace": (0.1, 0.9, 3)}, [0.1, 0.5, 0.9]),
        ({"arange": (0, 0.25, 0.025)}, np.arange(0, 0.25, 0.025)),
        ({"arange": (0.01, 0.2, 0.025)}, 0.01 + np.arange(8) * 0.025),
    ],
)
def test_threshold_grids_follow_numpy_to_the_last_bit(spec, expected):
    np.testing.assert_array_equal(threshold_grid(spec), expected)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ([], "empty"),
        ({"arange": (0.5, 0.1, 0.1)}, "empty"),
        ({"arange": (0.1, 0.5)}, "start, stop, step"),
        ({"arrange": (0.1, 0.5, 0.1)}, "Did you mean 'arange'"),
        ([0.1, float("nan")], "list of numbers"),
        ("0.1", "list of numbers"),
        (0.1, "list of numbers"),
        ({"arange": (0, 1, 0)}, "step"),
    ],
)
def test_threshold_grids_that_cannot_work_are_refused(spec, text):
    with pytest.raises(ConfigError, match=text):
        threshold_grid(spec)


def test_relative_thresholds_lie_between_a_class_s_own_extremes():
    levels = Thresholds({"relative": [0.5, 0.25]}).levels(np.array([[0.0, -4.0], [2.0, 4.0]]))
    np.testing.assert_array_equal(levels, [[1.0, 1.5], [0.0, 2.0]])


OUTPUTS = {
    "cas": np.array([[0.0, 2.0, 1.0], [4.0, -2.0, 1.0]]),
    "attention": np.array([0.5, 0.25]),
    "post.cas": np.array([[1.0, 1.0], [3.0, 0.0]]),
}


def curve_of(spec, classes: int = 2) -> np.ndarray:
    return Curve(spec, "curve").evaluate(OUTPUTS, classes, "v", F64)


def test_curves_by_hand():
    np.testing.assert_array_equal(curve_of("cas"), OUTPUTS["cas"][:, :2])
    np.testing.assert_array_equal(curve_of("attention"), OUTPUTS["attention"])
    np.testing.assert_array_equal(curve_of({"product": ["cas", "attention"]}), [[0.0, 1.0], [1.0, -0.5]])
    mixed = {"sum": [{"field": "cas", "weight": 0.5}, {"field": "post.cas", "weight": 2}, "attention"]}
    np.testing.assert_array_equal(curve_of(mixed), [[2.5, 3.5], [8.25, -0.75]])
    normalised = {"sum": [{"field": "cas", "normalize": "minmax", "weight": 0.5}, {"field": "attention", "weight": 2}]}
    np.testing.assert_array_equal(curve_of(normalised), [[1.0, 1.5], [1.0, 0.5]])


def test_softmax_runs_over_the_background_which_is_then_dropped():
    probabilities = curve_of({"field": "cas", "activation": "softmax"})
    background = np.exp(1) / np.exp(OUTPUTS["cas"]).sum(axis=1)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1 - background, rtol=1e-14)


def test_fields_are_listed_once_in_order():
    spec = {"sum": [{"product": ["attention", "cas"]}, "cas", "post.cas"]}
    assert Curve(spec, "curve").fields == ("attention", "cas", "post.cas")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"field": "cas", "activaton": "softmax"}, "curve: unknown key 'activaton'.*Did you mean 'activation'"),
        ({"field": "cas", "activation": "softmx"}, "curve.activation.*Did you mean 'softmax'"),
        ({"field": "cas", "sum": ["cas"]}, "exactly one"),
        ({}, "exactly one"),
        (3, "name a field"),
        ({"sum": "cas"}, "list of curves"),
        ({"sum": ["cas", {"field": "cas", "normalize": "min-max"}]}, r"curve.sum\[1\].normalize.*'minmax'"),
        ({"sum": ["cas"], "activation": "softmax"}, "to the fields inside"),
        ({"field": "cas", "weight": "0.5"}, "curve.weight"),
    ],
)
def test_curves_that_cannot_work_are_refused_with_their_place(spec, text):
    with pytest.raises(ConfigError, match=text):
        Curve(spec, "curve")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("cass", "reads 'cass'.*Did you mean 'cas'"),
        ("cube", r"shape .*\(2, 2, 2\)"),
        ("broken", "'broken' is nan at class 1, snippet 1"),
        ("empty", r"\(0, 3\)"),
        ({"sum": ["cas", "long"]}, "different lengths over time: 2, 3"),
        ("narrow", "1 class columns, the decoder needs 2"),
    ],
)
def test_unusable_fields_are_named_with_video_and_class(spec, text):
    outputs = {
        **OUTPUTS,
        "cube": np.zeros((2, 2, 2)),
        "broken": np.array([[0.0, 0.0], [0.0, np.nan]]),
        "empty": np.zeros((0, 3)),
        "long": np.zeros((3, 2)),
        "narrow": np.zeros((2, 1)),
    }
    with pytest.raises(DataError, match=f"(?s)video 'clip'.*{text}"):
        Curve(spec, "curve").evaluate(outputs, 2, "clip", F64)
