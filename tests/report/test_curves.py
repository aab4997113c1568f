"""A video's picture hides no overlap, keeps thresholds on their curve, and writes formats that papers take."""

from __future__ import annotations

import numpy as np
import pytest

from wtal_bench.errors import ConfigError
from wtal_bench.report.curves import BARS, LANES, DecoderView, _lanes, draw_curves, draw_video
from wtal_bench.report.figures import legible
from wtal_bench.structures import Detections, VideoMeta

META = VideoMeta("video", 12.8, 25.0, 16, 20)
CLASSES = ("run", "jump")
TIMES = (np.arange(20) + 0.5) * 16 / 25


def bars_of(axis):
    return sorted((patch.get_x(), patch.get_x() + patch.get_width(), patch.get_y()) for patch in axis.patches)


def test_overlapping_detections_lie_in_lanes_of_their_own():
    found = Detections.from_rows([(0, 0.0, 6.0, 0.9), (0, 5.0, 8.0, 0.8), (0, 6.0, 7.0, 0.7), (0, 0.0, 12.8, 0.1)])
    lanes = _lanes(found)
    assert [[*zip(lane.start, lane.end)] for lane in lanes] == [[(0, 6), (6, 7)], [(5, 8)], [(0, 12.8)]]
    many = Detections.from_rows([(0, 0.0, 12.0, 0.01 * at) for at in range(40)])
    assert len(_lanes(many)) == LANES
    figure = draw_curves({}, META, found, CLASSES)
    assert [bar[:2] for bar in bars_of(figure.axes[1])] == [(0, 6), (0, 12.8), (5, 8), (6, 7)]
    assert len({bar[2] for bar in bars_of(figure.axes[1])}) == 3


def test_strength_and_colour_follow_the_score():
    found = Detections.from_rows([(0, 0.0, 1.0, 0.1), (0, 2.0, 3.0, 0.9), (0, 4.0, 5.0, 0.5)])
    bars = draw_curves({}, META, found, CLASSES).axes[1].patches
    strength = [bar.get_facecolor()[3] for bar in sorted(bars, key=lambda bar: bar.get_x())]
    assert strength[0] < strength[2] < strength[1]


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_thresholds_lie_where_the_curve_passes_them(scale):
    curve = np.linspace(0, 1, 20)[:, None] * scale
    view = DecoderView(curve, np.array([0.25, 0.5]) * scale)
    axis = draw_curves({}, META, Detections.from_rows([(0, 1.0, 2.0, 0.5)]), CLASSES, (), view).axes[0]
    drawn, *levels = axis.lines
    assert [line.get_ydata()[0] for line in levels] == pytest.approx([0.25, 0.5])
    np.testing.assert_allclose(drawn.get_xdata(), TIMES)
    np.testing.assert_allclose(drawn.get_ydata(), curve[:, 0] / scale, atol=1e-12)


def test_relative_thresholds_are_those_of_the_class():
    curve = np.stack([np.linspace(0, 1, 20), np.linspace(0, 0.5, 20)], axis=1)
    view = DecoderView(curve, np.array([[0.9], [0.4]]))
    figure = draw_curves({}, META, Detections.from_rows([(1, 1.0, 2.0, 0.5)]), CLASSES, None, view)
    assert [line.get_ydata()[0] for line in figure.axes[0].lines[1:]] == pytest.approx([0.4])


def test_annotated_classes_and_attention_are_shown_though_nothing_was_found():
    outputs = {"attention": np.linspace(0, 1, 20), "flow.attention": np.zeros((20, 1)), "cas": np.zeros((20, 2))}
    figure = draw_curves(outputs, META, Detections.empty(), CLASSES, [(1, 2.0, 4.0)])
    attention, curve, found, truth = figure.axes
    assert [line.get_label() for line in attention.lines] == ["attention", "flow.attention"]
    assert curve.get_ylabel() == "jump"
    assert not found.patches
    assert bars_of(truth)[0][:2] == (2.0, 4.0)


def test_only_the_best_detections_of_a_class_are_drawn_and_the_title_says_so():
    rows = [(0, at * 0.1, at * 0.1 + 0.05, 1 - at / 200) for at in range(100)]
    figure = draw_curves({}, META, Detections.from_rows(rows), CLASSES)
    assert len(figure.axes[1].patches) == BARS
    assert f"100 detections; a class's best {BARS}" in figure.axes[0].get_title(loc="right")


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_pictures_come_in_formats_that_papers_take_equal_twice(tmp_path, suffix, magic):
    found = Detections.from_rows([(0, 0.0, 6.0, 0.9)])
    for name in "ab":
        draw_video(tmp_path / f"{name}.{suffix}", {}, META, found, CLASSES)
    assert (tmp_path / f"a.{suffix}").read_bytes().startswith(magic)
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    with pytest.raises(ConfigError, match="pictures are png, pdf, svg, not 'jpg'"):
        draw_video(tmp_path / "a.jpg", {}, META, found, CLASSES)


def test_letters_no_font_has_are_spelled_out():
    assert legible("Plié $5") == r"Plié \$5"
    odd = "\U000e0041"  # a tag character: no font draws it
    assert legible(f"a{odd}") == r"a\ue0041"
