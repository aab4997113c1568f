"""Positions and seconds: every convention, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wtal_bench.decoding import TimeAxis
from wtal_bench.errors import ConfigError
from wtal_bench.structures import VideoMeta

VIDEO = VideoMeta("v", duration=20.0, fps=25.0, stride=16, num_snippets=30, num_frames=500)


@pytest.mark.parametrize(
    ("convention", "samples", "position", "seconds"),
    [
        ("stride", 30, 10, 6.4),  # every stored snippet: 16/25 s
        ("stride", 10, 10, 19.2),  # 10 sampled out of 30: the same time line, longer samples
        ("stride", 240, 3, 0.24),  # 30 snippets, up-sampled 8 times
        ("snippet", 30, 31, 19.84),  # a stored end one past the last snippet
        ("fps", 500, 50, 2.0),
        ("duration", 40, 10, 5.0),
    ],
)
def test_each_convention_by_hand_and_back(convention, samples, position, seconds):
    axis = TimeAxis(convention, samples, VIDEO)
    assert axis.seconds(np.array([position]))[0] == pytest.approx(seconds, rel=1e-15)
    assert axis.position(seconds) == pytest.approx(position, rel=1e-12)
    assert axis.seconds(np.array([0, 1]))[1] == pytest.approx(axis.step, rel=1e-15)


def test_a_run_is_half_open_so_neighbours_touch():
    axis = TimeAxis("stride", 30, VIDEO)
    first, second = axis.seconds(np.array([0, 4])), axis.seconds(np.array([4, 9]))
    assert first[1] == second[0]


def test_the_published_order_of_operations_is_kept():
    # 3 / 24 and 3 * (1 / 24) differ in the last bit for some positions; the codes divide
    positions = np.arange(200)
    video = VideoMeta("v", duration=200 / 24, fps=24.0, stride=16, num_snippets=12, num_frames=200)
    np.testing.assert_array_equal(TimeAxis("fps", 200, video).seconds(positions), positions / 24.0)
    expected = positions / 40 * 20.0
    np.testing.assert_array_equal(TimeAxis("duration", 40, VIDEO).seconds(positions), expected)


@pytest.mark.parametrize(("convention", "samples"), [("snippet", 29), ("fps", 480)])
def test_a_grid_that_does_not_fit_the_convention_is_refused(convention, samples):
    with pytest.raises(ConfigError, match="time='stride'"):
        TimeAxis(convention, samples, VIDEO)


def test_an_unknown_convention_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'stride'"):
        TimeAxis("strides", 30, VIDEO)
