"""Pictures say what the arrays say, the same twice, and refuse what they cannot draw."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from wtal_bench.errors import ConfigError, DataError
from wtal_bench.interfaces import SeenVideo, VideoMeta
from wtal_bench.report.curves import draw_curves
from wtal_bench.report.embedding import draw_embedding, project
from wtal_bench.report.figures import new_figure, save_figure
from wtal_bench.report.similarity import cosine_similarity, draw_similarity
from wtal_bench.structures import Detections

CLASSES = ("run", "jump")


def seen(name: str = "v", snippets: int = 20, truth=((0, 0.0, 6.4),), **fields) -> SeenVideo:
    """A video whose action snippets (0.64 s each) lie far from the others."""
    random = np.random.default_rng(len(name) + snippets)
    rows = random.normal(size=(snippets, 6))
    rows[:10] += 40.0
    meta = VideoMeta(name, snippets * 0.64, 25.0, 16, snippets).sampled(np.arange(snippets))
    return SeenVideo(meta, {"embedding": rows, **fields}, CLASSES, (0,), truth)


def points(figure) -> dict[str, np.ndarray]:
    """Legend text without its count -> [N,2] places."""
    (axis,) = figure.axes
    return {group.get_label().rpartition(" ")[0]: np.asarray(group.get_offsets()) for group in axis.collections}


def test_cosines_are_cosines_and_zeros_are_like_nothing():
    rows = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(
        cosine_similarity(rows, np.array([[3.0, 4.0], [4.0, -3.0]])), [[1, 0], [0, 0]], atol=1e-15
    )


def test_the_matrix_lies_in_seconds_and_shows_what_is_annotated():
    first, second = seen("a"), seen("bb", 30, truth=((0, 1.0, 2.0), (1, 3.0, 4.0)))
    figure = draw_similarity(first, second, ["embedding"])
    axis = figure.axes[0]
    (image,) = axis.images
    np.testing.assert_array_equal(
        np.asarray(image.get_array()), cosine_similarity(first.rows(["embedding"]), second.rows(["embedding"]))
    )
    assert image.get_extent() == [0.0, pytest.approx(19.2), pytest.approx(12.8), 0.0]
    assert [len(strip.patches) for strip in axis.child_axes] == [2, 1]


def test_sampled_snippets_keep_their_own_seconds():
    video = seen()
    sampled = SeenVideo(video.meta.sampled(np.array([4.0, 10.0])), {"x": np.ones((2, 3))}, CLASSES)
    assert sampled.span() == (pytest.approx(2.56), pytest.approx(7.04))
    np.testing.assert_allclose(sampled.centres(), [2.88, 6.72])


def test_fields_stand_side_by_side_and_a_missing_one_is_told_with_the_nearest():
    video = seen(flow=np.zeros((20, 2)))
    assert video.rows(["embedding", "flow"]).shape == (20, 8)
    with pytest.raises(DataError, match=r"no field 'embeding'\. Did you mean 'embedding'"):
        video.rows(["embeding"])
    with pytest.raises(DataError, match=r"'curve' is \(20,\), needed \[T,E\]"):
        seen(curve=np.zeros(20)).rows(["curve"])


def test_without_scikit_learn_the_command_to_install_is_said(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else real(name))
    with pytest.raises(ConfigError, match=r'pip install "wtal-bench\[pictures\]"'):
        draw_embedding([seen()], ["embedding"])


def test_action_and_background_that_lie_apart_are_drawn_apart():
    pytest.importorskip("sklearn")
    drawn = points(draw_embedding([seen("a"), seen("bb", 30)], ["embedding"]))
    action, background = drawn["action"], drawn["background"]
    assert (len(action), len(background)) == (20, 30)
    gaps = np.linalg.norm(action[:, None] - background[None], axis=2)
    own = np.linalg.norm(action[:, None] - action[None], axis=2)
    assert (own + np.eye(20) * 1e9).min(axis=1).max() < gaps.min()


@pytest.mark.parametrize("colour", ["action", "class"])
def test_of_videos_whose_times_nobody_knows_no_background_is_claimed(colour):
    pytest.importorskip("sklearn")
    untimed = replace(seen("bb", 30, truth=()), timed=False)
    assert list(points(draw_embedding([untimed], ["embedding"], colour=colour))) == ["no times known"]
    mixed = points(draw_embedding([seen("a"), untimed], ["embedding"], colour=colour))
    named = "action" if colour == "action" else "run"
    assert {name: len(places) for name, places in mixed.items()} == {"no times known": 30, "background": 10, named: 10}


def test_stars_are_the_weighted_means_of_a_videos_own_classes():
    pytest.importorskip("sklearn")
    weights = np.zeros((20, 2))
    weights[:5, 0] = 2.0
    drawn = points(draw_embedding([seen(w=weights), seen("bb", w=weights)], ["embedding"], aggregate="w"))
    assert len(drawn["aggregated"]) == 2
    # a mean of action snippets lies among them
    nearest = np.linalg.norm(drawn["aggregated"][:, None] - drawn["action"][None], axis=2).min()
    assert nearest < np.linalg.norm(drawn["aggregated"][:, None] - drawn["background"][None], axis=2).min()
    with pytest.raises(DataError, match=r"needed \[T\] or \[T,C\] weights"):
        draw_embedding([seen(w=np.ones(3))], ["embedding"], aggregate="w")


def test_only_so_many_points_are_drawn_the_same_twice_and_classes_may_colour_them():
    pytest.importorskip("sklearn")
    both = ((0, 0.0, 3.2), (1, 3.2, 6.4))
    videos = [seen("a", truth=both), seen("bb", 30, truth=both)]
    first, again = (
        points(draw_embedding(iter(videos), ["embedding"], points=24, colour="class", seed=3)) for _ in range(2)
    )
    assert sorted(first) == ["background", "jump", "run"]
    assert sum(map(len, first.values())) == 24
    for name, places in first.items():
        np.testing.assert_array_equal(places, again[name])
    other = points(draw_embedding(videos, ["embedding"], points=24, colour="class", seed=4))
    assert any(len(other[name]) != len(first[name]) or (other[name] != first[name]).any() for name in first)


@pytest.mark.parametrize(
    ("options", "text"), [({"colour": "actions"}, "Did you mean 'action'"), ({"points": 3}, "3 snippets are too few")]
)
def test_what_cannot_be_drawn_is_said(options, text):
    pytest.importorskip("sklearn")
    with pytest.raises((ConfigError, DataError), match=text):
        draw_embedding([seen()], ["embedding"], **options)


def test_few_rows_have_a_small_neighbourhood():
    pytest.importorskip("sklearn")
    assert project(np.random.default_rng(0).normal(size=(6, 3)), seed=0).shape == (6, 2)


def test_equal_figures_are_equal_files(tmp_path):
    video = seen(cas=np.random.default_rng(0).random((20, 2)))
    found = Detections.from_rows([(0, 0.0, 6.4, 0.9)])
    for name in "ab":
        save_figure(draw_curves(video.outputs, video.meta, found, CLASSES, video.truth), tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_letters_that_no_font_has_are_told_in_one_line(tmp_path, caplog, recwarn):
    figure = new_figure(2, 1)
    figure.text(0.1, 0.5, "a class called \ue000\ue001\ue000")  # of the area that no font need fill
    save_figure(figure, tmp_path / "odd.png")
    assert [record.getMessage() for record in caplog.records if "no font that is installed has" in record.message] == [
        f"{tmp_path / 'odd.png'}: no font that is installed has \ue000\ue001; boxes stand there. Install one of that "
        "script (such as Noto Sans CJK) and draw again."
    ]
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
