"""The picture of two videos shows the cells that the loss itself matches."""

from __future__ import annotations

import numpy as np
import pytest

from wtal_bench.interfaces import SeenVideo, VideoMeta
from wtal_plugins.ftcl.losses import LCS
from wtal_plugins.ftcl.picture import draw_matches


def video(name: str, order: list[int], tags=(0,)) -> SeenVideo:
    """A snippet a number: equal numbers are equal snippets, others are orthogonal."""
    length = len(order)
    meta = VideoMeta(name, length * 0.64, 25.0, 16, length).sampled(np.arange(length))
    outputs = {"embedding": np.eye(12)[order], "attention": np.linspace(0.5, 1.0, length)}
    return SeenVideo(meta, outputs, ("run", "jump"), tags, ((0, 0.64, 1.92),))


@pytest.mark.parametrize("tags", [(0,), (1,)])
def test_circles_stand_at_the_matched_snippets(tags):
    first, second = video("a", [0, 1, 2, 3, 4]), video("b", [7, 1, 8, 3, 9, 4, 5], tags)
    figure = draw_matches(LCS(selection=dict(length=5)), [first, second])
    axis = figure.axes[0]
    circles = next(line for line in axis.lines if line.get_marker() == "o")
    # the five snippets of highest attention: all of the first, 8 3 9 4 5 of the second; 3 and 4 they have in common
    np.testing.assert_allclose(circles.get_ydata(), (np.array([3, 4]) + 0.5) * 0.64)
    np.testing.assert_allclose(circles.get_xdata(), (np.array([3, 5]) + 0.5) * 0.64)
    assert axis.get_title() == "2 matched cells (circles) of the 5 and 5 compared snippets (cyan edges), tau 0.92"
    (image,) = axis.images
    assert np.asarray(image.get_array()).shape == (5, 7)


def test_videos_with_nothing_in_common_have_no_circle():
    figure = draw_matches(
        LCS(selection=dict(length=3), tau="quantile:1.0"), [video("a", [0, 1, 2]), video("b", [3, 4, 5, 6])]
    )
    assert figure.axes[0].get_title().startswith("0 matched cells")
    assert figure.axes[0].get_title().endswith("quantile 1")
