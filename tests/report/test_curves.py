"""A video's picture hides no overlap, keeps thresholds on their curve, and writes formats that papers take."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from wtal_bench.errors import ConfigError
from wtal_bench.report.curves import BARS, DENSE, LANES, ROWS, DecoderView, _lanes, draw_curves, draw_video
from wtal_bench.report.fonts import _cut, legible
from wtal_bench.structures import Detections, VideoMeta

META = VideoMeta("video", 12.8, 25.0, 16, 20)
CLASSES = ("run", "jump")
TIMES = (np.arange(20) + 0.5) * 16 / 25


def words_of(figure):
    """What is written over a picture."""
    return " ".join(text.get_text() for text in figure.axes[0].texts)


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


def test_bars_have_the_colour_that_the_scale_gives_their_score_and_low_ones_are_seen():
    scores = (0.0, 0.48, 0.9)
    figure = draw_curves(
        {}, META, Detections.from_rows([(0, 2.0 * at, 2.0 * at + 1, score) for at, score in enumerate(scores)]), CLASSES
    )
    bars = sorted(figure.axes[1].patches, key=lambda bar: bar.get_x())
    (scale,) = (found for axis in figure.axes if (found := getattr(axis, "_colorbar", None)))
    assert [bar.get_facecolor() for bar in bars] == [scale.cmap(scale.norm(score)) for score in scores]
    assert all(bar.get_facecolor()[3] == 1 for bar in bars)
    assert all(min(bar.get_facecolor()[:3]) < 0.2 for bar in bars), "none is near white"


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
    assert f"100 detections, {BARS} drawn (of a class the best {BARS}" in words_of(figure)


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


def test_long_names_are_cut_in_their_middle_and_wide_letters_count_twice():
    assert legible("abcdefghij", 10) == "abcdefghij"
    assert legible("abcdefghijk", 9) == "abcd\u2026hijk"
    assert legible("a" * 20 + "\N{COMBINING ACUTE ACCENT}", 5) == "aa\u2026a\N{COMBINING ACUTE ACCENT}"
    wide = _cut("\u3042" * 10, 9)
    assert wide == "\u3042\u3042\u2026\u3042\u3042"


def test_no_more_than_sixteen_classes_are_drawn_and_the_rest_is_counted():
    names = tuple(f"class {at}" for at in range(30))
    found = Detections.from_rows([(at, 0.0, 1.0, 1 - at / 100) for at in range(30)])
    figure = draw_curves({}, META, found, names)
    assert [axis.get_ylabel() for axis in figure.axes[: 2 * ROWS : 2]] == list(names[:ROWS])
    assert "14 more classes not drawn" in words_of(figure)


def test_a_video_without_detections_shows_its_highest_curves_and_says_that_nothing_was_found():
    curve = np.stack([np.full(20, height) for height in (0.1, 0.9, 0.5, 0.7)], axis=1)
    figure = draw_curves({}, META, Detections.empty(), tuple("abcd"), None, DecoderView(curve))
    assert [axis.get_ylabel() for axis in figure.axes] == ["b", "none found", "d", "none found", "c", "none found"]
    assert words_of(figure) == "no detections"


def test_curves_are_named_above_their_axes_and_only_where_the_name_is_new():
    view = DecoderView(np.full((20, 2), 0.5), np.array([0.2]))
    found = Detections.from_rows([(0, 0.0, 1.0, 0.9), (1, 0.0, 1.0, 0.8)])
    first, _, second, _ = draw_curves({}, META, found, CLASSES, None, view).axes[:4]
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["decoder's curve, thresholds dotted"]
    first.figure.canvas.draw()
    assert first.get_legend().get_window_extent().y0 >= first.get_window_extent().y1 - 6
    assert second.get_legend() is None


def test_ten_hours_are_drawn_as_mean_and_range_over_a_clock():
    length = 56_250
    meta = VideoMeta("long", 36_000.0, 25.0, 16, length)
    curve = np.zeros((length, 1))
    curve[length // 2] = 1.0  # one snippet of 56,250 is not lost
    figure = draw_curves({}, meta, Detections.from_rows([(0, 0.0, 5.0, 0.5)]), CLASSES, None, DecoderView(curve))
    axis = figure.axes[0]
    assert len(axis.lines[0].get_xdata()) <= DENSE
    assert axis.collections[0].get_paths()[0].vertices[:, 1].max() == 1.0
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    assert {"0:00:00", "1:00:00", "10:00:00"} <= set(labels)


def test_a_video_of_one_snippet_has_a_dot():
    meta = VideoMeta("short", 0.64, 25.0, 16, 1)
    figure = draw_curves(
        {}, meta, Detections.from_rows([(0, 0.0, 0.64, 0.5)]), CLASSES, None, DecoderView(np.ones((1, 1)))
    )
    assert figure.axes[0].lines[0].get_marker() == "."


def test_japanese_is_drawn_where_a_font_is_installed_and_spelled_out_elsewhere():
    name = "\u68d2\u9ad8\u8df3\u3073"
    shown = legible(name)
    assert shown in (name, r"\u68d2\u9ad8\u8df3\u3073")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib warns of every glyph it draws as a box
        draw_curves({}, META, Detections.empty(), (name, "b")).canvas.draw()
