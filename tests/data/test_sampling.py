"""Sampling rules: exact against what the authors' code drew, and keyed so that nothing else can change them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.helpers import golden_files, load_golden
from wtal_bench.data.pairs import by_class_batch
from wtal_bench.data.sampling import (
    SAMPLINGS,
    build_sampling,
    keyed_generator,
    linear_positions,
    random_crop_positions,
    random_segment_positions,
    uniform_positions,
)
from wtal_bench.errors import ConfigError

UNUSED = np.random.default_rng(0)
EVERY = [
    build_sampling(spec, length=12)
    for spec in (
        "whole",
        "uniform",
        {"type": "uniform", "min_length": 1},
        {"type": "uniform", "min_length": 2, "divide_first": True},
        "random_segments",
        {"type": "random_segments", "short": "resample", "last": "follow"},
        "linear",
        {"type": "linear", "align": "corners"},
        "random_crop",
        {"type": "random_crop", "last_window": True},
        "resample",
    )
]


@pytest.mark.parametrize("path", golden_files("ftcl", "ftcl_sampling_*"))
def test_ftcl_sampling_draws_what_the_authors_code_drew(path):
    golden = load_golden(path)
    for case, (length, size, seed) in enumerate(golden["in/len_T_seed"].tolist()):
        uniform = build_sampling({"type": "uniform", "length": size, "min_length": 2, "divide_first": True})
        np.testing.assert_array_equal(uniform.positions(length, UNUSED), golden[f"out/uniform_{case}"])
        drawn = random_segment_positions(length, size, np.random.RandomState(seed), short="resample", last="follow")
        np.testing.assert_array_equal(drawn, golden[f"out/random_{case}"])


@pytest.mark.parametrize("path", golden_files("um", "um_case*", holding="sample/lengths"))
def test_um_sampling_draws_what_the_authors_code_drew(path):
    golden = load_golden(path)
    size = int(golden["sample/num_segments"])
    stream = np.random.RandomState(int(golden["sample/numpy_seed"]))
    for case, length in enumerate(golden["sample/lengths"].tolist()):
        drawn = random_segment_positions(length, size, stream)
        np.testing.assert_array_equal(drawn, golden[f"sample/train_index/{case}"])
        kept = build_sampling({"type": "uniform", "length": size, "min_length": 1}).positions(length, UNUSED)
        np.testing.assert_array_equal(kept, golden[f"sample/test_index/{case}"])


@pytest.mark.parametrize("path", golden_files("wtalc", "wtalc_case*", holding="sample/lengths"))
def test_wtalc_batches_and_crops_are_those_the_authors_code_drew(path):
    golden = load_golden(path)
    rows, pairs, size = golden["sample/batch_pairs_tmax"].tolist()
    train = np.flatnonzero(golden["sample/is_train"])
    labels = golden["sample/labels"]
    lengths = golden["sample/lengths"]
    stream = np.random.RandomState(int(golden["sample/numpy_seed"]))
    for videos, starts in zip(golden["sample/video_index"], golden["sample/crop_start"]):
        picked = train[by_class_batch(labels[train], rows, pairs, stream)]
        np.testing.assert_array_equal(picked, videos)
        crops = [random_crop_positions(int(lengths[video]), size, stream) for video in videos]
        assert [int(crop[0]) for crop in crops] == starts.tolist()
        assert [len(crop) for crop in crops] == np.minimum(lengths[videos], size).tolist()


@pytest.mark.parametrize(
    "path",
    golden_files("stpn", "stpn_case*", holding="in/loc/length")
    + golden_files("bm", "bm_case*", holding="in/loc/length"),
)
def test_stpn_and_bm_test_positions(path):
    golden = load_golden(path)
    index = golden["in/loc/sample_index"]
    np.testing.assert_array_equal(uniform_positions(int(golden["in/loc/length"]), len(index)), index)


@pytest.mark.parametrize("path", golden_files("um", "um_test_case*", holding="in/features/"))
def test_um_test_positions_of_whole_videos(path):
    golden = load_golden(path)
    size = int(golden["in/num_segments"]) if "in/num_segments" in golden else json.loads(str(golden["meta"]))["T"]
    lengths = sorted((name for name in golden if name.startswith("in/features/")), key=lambda name: name.split("/")[2])
    rule = build_sampling({"type": "uniform", "length": size, "min_length": 1})
    for name in lengths:
        wanted = golden[f"out/sample_index/{name.split('/')[2]}"]
        np.testing.assert_array_equal(rule.positions(len(golden[name]), UNUSED), wanted)


@pytest.mark.parametrize("path", golden_files("ftcl", "ftcl_proposals_*"))
def test_ftcl_test_positions(path):
    golden = load_golden(path)
    names = [name for name in golden if name.endswith("/sample_idx")]
    assert names
    for name in names:
        wanted = golden[name]
        length = int(golden[name.replace("sample_idx", "vid_len")])
        size = len(wanted)
        rule = build_sampling({"type": "uniform", "length": size, "min_length": 2, "divide_first": True})
        np.testing.assert_array_equal(rule.positions(length, UNUSED), wanted)


def test_rounding_the_quotient_first_differs_for_228_lengths():
    lengths = range(751, 4501)
    differ = [
        length
        for length in lengths
        if (uniform_positions(length, 750) != uniform_positions(length, 750, divide_first=True)).any()
    ]
    assert len(differ) == 228


def test_bm_keeps_between_50_and_400_rows():
    rule = build_sampling({"type": "uniform", "length": 400, "min_length": 50})
    assert [len(rule.positions(length, UNUSED)) for length in (1, 49, 50, 51, 399, 400, 401)] == [
        50, 50, 50, 51, 399, 400, 400,
    ]  # fmt: skip


def test_random_segments_reach_both_ends_of_every_part_and_no_further():
    length, size = 10, 4  # edges 0, 2.5, 5, 7.5: parts 0..2, 2..5, 5..7, 7..9
    drawn = np.stack([random_segment_positions(length, size, keyed_generator(0, e, "v")) for e in range(400)])
    assert [sorted(set(column)) for column in drawn.T.tolist()] == [[0, 1, 2], [2, 3, 4, 5], [5, 6, 7], [7, 8, 9]]


def test_crops_never_reach_the_last_window_unless_asked():
    starts = {
        last: {int(random_crop_positions(8, 5, keyed_generator(0, e, "v"), last_window=last)[0]) for e in range(200)}
        for last in (False, True)
    }
    assert starts == {False: {0, 1, 2}, True: {0, 1, 2, 3}}


def test_linear_positions_keep_centres_or_corners():
    np.testing.assert_allclose(linear_positions(4, 2), [0.5, 2.5])
    np.testing.assert_allclose(linear_positions(2, 4), [0.0, 0.25, 0.75, 1.0])
    np.testing.assert_allclose(linear_positions(4, 2, align="corners"), [0, 3])
    np.testing.assert_array_equal(linear_positions(7, 7), np.arange(7))


@pytest.mark.parametrize("rule", EVERY, ids=str)
@pytest.mark.parametrize("length", [1, 2, 11, 12, 13, 100])
def test_positions_lie_inside_the_video_in_temporal_order(rule, length):
    for epoch in range(5):
        drawn = rule.draw(length, seed=3, epoch=epoch, video="v")
        assert drawn.dtype == (np.float64 if rule.name == "linear" else np.int64)
        assert len(drawn) >= 1
        assert drawn.min() >= 0
        assert drawn.max() <= length - 1
        assert (np.diff(drawn) >= 0).all()
        if rule.name in ("random_segments", "linear", "resample"):
            assert len(drawn) == rule.length


@pytest.mark.parametrize("rule", EVERY, ids=str)
def test_draws_depend_on_seed_epoch_and_video_alone(rule):
    def draw(seed=1, epoch=2, video="v", occurrence=0):
        return rule.draw(100, seed=seed, epoch=epoch, video=video, occurrence=occurrence).tolist()

    base = draw()
    np.random.seed(0)
    assert draw() == base
    random = rule.name in ("random_segments", "random_crop", "resample")
    for other in ({"seed": 2}, {"epoch": 3}, {"video": "w"}, {"occurrence": 1}):
        # two crops of 100 snippets may coincide by chance: look at several
        key, value = next(iter(other.items()))
        nudged = [value, value + 5, value + 9] if key != "video" else ["w", "x", "y"]
        assert any(draw(**{key: choice}) != base for choice in nudged) == random


def test_frozen_draws_ignore_the_epoch_but_not_the_seed():
    frozen = build_sampling({"type": "random_segments", "length": 12, "frozen": True})
    draws = [frozen.draw(100, seed=1, epoch=epoch, video="v").tolist() for epoch in range(3)]
    assert draws[0] == draws[1] == draws[2]
    assert frozen.draw(100, seed=2, epoch=0, video="v").tolist() != draws[0]
    assert frozen.draw(100, seed=1, epoch=0, video="v", occurrence=1).tolist() == draws[0]


@pytest.mark.parametrize(
    ("spec", "length", "text"),
    [
        ("unifrom", 750, "Did you mean 'uniform'"),
        ({"type": "uniform", "lenght": 750}, None, "no setting 'lenght'.*Did you mean 'length'"),
        ("uniform", None, "needs `length`"),
        ({"type": "uniform", "length": 0}, None, "at least 1, got 0"),
        ({"type": "uniform", "length": 7.5}, None, "whole number"),
        ({"type": "uniform", "length": True}, None, "whole number"),
        ({"type": "uniform", "length": 5, "min_length": 0}, None, "min_length"),
        ({"type": "linear", "length": 5, "align": "corner"}, None, "Did you mean 'corners'"),
        ({"type": "random_segments", "length": 5, "short": "repeats"}, None, "Did you mean 'repeat'"),
        ({"type": "random_segments", "length": 5, "last": "x"}, None, "`last` must be one of"),
        ({"type": "uniform", "length": 5}, 6, "keep one"),
        ({"length": 5}, None, "unknown sampling None"),
        (7, None, "must be a name or a dict"),
    ],
)
def test_a_wrong_config_is_explained(spec, length, text):
    with pytest.raises(ConfigError, match=text):
        build_sampling(spec, length=length)


def test_whole_needs_no_length_and_takes_none():
    assert build_sampling("whole", length=750).positions(3, UNUSED).tolist() == [0, 1, 2]
    with pytest.raises(ConfigError, match="no setting 'length'"):
        build_sampling({"type": "whole", "length": 3})


def test_every_rule_is_tested():
    assert {rule.name for rule in EVERY} == set(SAMPLINGS)


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="0 or above"):
        keyed_generator(-1, 0, "v")


def test_a_video_of_exactly_the_wanted_length_is_whole_or_drawn():
    whole = build_sampling({"type": "random_segments", "length": 9}).positions(9, np.random.default_rng(0))
    assert whole.tolist() == list(range(9))
    rule = build_sampling({"type": "random_segments", "length": 9, "equal": "draw"})
    drawn = np.stack([rule.positions(9, np.random.default_rng(seed)) for seed in range(50)])
    assert ((drawn >= np.arange(9)) & (drawn <= np.minimum(np.arange(9) + 1, 8))).all()
    assert (drawn != np.arange(9)).any()


@pytest.mark.parametrize(("length", "first"), [(4, 0), (5, 0), (8, 1), (9, 2)])
def test_a_window_in_the_middle_is_drawn_by_nobody(length, first):
    rule = build_sampling({"type": "random_crop", "length": 5, "start": "middle"})
    assert rule.positions(length, UNUSED).tolist() == list(range(first, first + min(5, length)))
