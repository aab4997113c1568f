"""Pairs of videos by their tags: the counts of the real data set, and never a pair that overlaps in part."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import golden_files, load_golden, shared_file
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.pairs import by_class_batch, dataset_pairs, disjoint_pairs, in_batch_pairs
from wtal_bench.errors import DataError


def rng(seed=0):
    return np.random.default_rng(seed)


LABELS = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0]])


def test_positives_carry_the_same_tags_and_negatives_share_none():
    pairs, same = dataset_pairs(LABELS, rng())
    assert pairs[same].tolist() == [[0, 1], [2, 3]]
    assert len(pairs) == 4
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert {tuple(pair) for pair in pairs[~same].tolist()} <= {(0, 4), (0, 7), (1, 4), (1, 7), (2, 4), (3, 4), (4, 7)}
    assert (pairs.dtype, same.dtype) == (np.int64, bool)


def test_negatives_are_drawn_by_the_generator_without_repeats():
    drawn = {tuple(map(tuple, dataset_pairs(LABELS, rng(seed))[0].tolist())) for seed in range(30)}
    assert len(drawn) > 10
    np.testing.assert_array_equal(dataset_pairs(LABELS, rng(3))[0], dataset_pairs(LABELS, rng(3))[0])
    every = dataset_pairs(np.eye(2)[[0, 0, 0, 0, 1]], rng())
    assert every[1].tolist() == [True] * 6 + [False] * 4  # only four negatives exist
    assert len({tuple(pair) for pair in every[0].tolist()}) == 10


def test_inside_a_batch_positives_carry_one_tag():
    pairs, same = in_batch_pairs(LABELS, rng())
    assert pairs[same].tolist() == [[0, 1]]
    assert same.tolist() == [True, False]


@pytest.mark.parametrize("make", [dataset_pairs, in_batch_pairs])
@pytest.mark.parametrize("labels", [np.eye(3), np.zeros((4, 3)), np.ones((1, 3)), np.zeros((0, 3))])
def test_nothing_alike_gives_no_pair(make, labels):
    pairs, same = make(labels, rng())
    assert (pairs.shape, same.shape) == ((0, 2), (0,))


@pytest.mark.parametrize("path", golden_files("ftcl", "ftcl_inbatch_case*"))
def test_in_batch_positives_are_those_of_the_authors_code(path):
    golden = load_golden(path)
    labels = golden["in/labels"]
    pairs, same = in_batch_pairs(labels, rng())
    assert pairs[same].tolist() == golden["in/pos_pairs"].tolist()
    assert (~same).sum() == len(golden["in/neg_pairs"])
    for first, second in pairs[~same].tolist() + golden["in/neg_pairs"].tolist():
        assert not (labels[first] * labels[second]).any()


def test_the_real_training_videos_give_the_known_pairs():
    annotations = Annotations.load(shared_file("data/thumos14.json"))
    labels = np.zeros((200, 20))
    for row, video in enumerate(annotations.subset("train")):
        labels[row, list(annotations.tags(video))] = 1
    pairs, same = dataset_pairs(labels, rng())
    assert (same.sum(), (~same).sum()) == (861, 861)
    shared = np.triu(labels @ labels.T, 1)
    alike = np.triu((labels[:, None] == labels).all(axis=2), 1)
    assert ((shared > 0) & ~alike).sum() == 267
    assert not shared[pairs[~same, 0], pairs[~same, 1]].any()
    assert alike[pairs[same, 0], pairs[same, 1]].all()


def test_a_batch_by_class_begins_with_pairs_that_share_one():
    drawn = np.stack([by_class_batch(LABELS, 8, 3, rng(seed)) for seed in range(200)])
    assert (drawn.shape, drawn.dtype) == ((200, 8), np.int64)
    first, second = LABELS[drawn[:, 0:6:2]], LABELS[drawn[:, 1:6:2]]
    assert (first * second).any(axis=2).all()
    assert (drawn[:, 0:6:2] == drawn[:, 1:6:2]).any()  # a pair may be one video twice
    assert set(drawn[:, 6:].ravel()) == set(range(len(LABELS)))  # videos without tags come outside the pairs
    np.testing.assert_array_equal(by_class_batch(LABELS, 8, 3, rng(5)), by_class_batch(LABELS, 8, 3, rng(5)))


def test_classes_without_a_video_are_never_drawn():
    labels = np.eye(5)[[1, 3]]
    assert set(np.concatenate([by_class_batch(labels, 4, 2, rng(seed)) for seed in range(20)])) == {0, 1}
    assert set(by_class_batch(LABELS, 2, 1, rng(1), distinct=True)) <= {0, 1, 2, 3, 7}
    for seed in range(50):
        first, second = by_class_batch(LABELS, 2, 1, rng(seed), distinct=True)
        assert first != second
    with pytest.raises(DataError, match="no class has two training videos"):
        by_class_batch(np.eye(3), 4, 1, rng(), distinct=True)
    with pytest.raises(DataError, match="no class has a training video"):
        by_class_batch(np.zeros((3, 2)), 4, 1, rng())


def test_disjoint_pairs_share_no_tag_and_are_drawn_once_each():
    every = disjoint_pairs(LABELS, 100, rng())
    expected = {(0, 4), (0, 7), (1, 4), (1, 7), (2, 4), (3, 4), (4, 7)}
    assert len(every) == len(expected)
    assert set(map(tuple, every.tolist())) == expected
    few = [disjoint_pairs(LABELS, 2, rng(seed)) for seed in range(60)]
    assert {len(pairs) for pairs in few} == {2}
    assert {tuple(pair) for pairs in few for pair in pairs.tolist()} == expected
    np.testing.assert_array_equal(few[0], disjoint_pairs(LABELS, 2, rng(0)))
    for labels in (np.ones((3, 2)), np.zeros((3, 2)), np.eye(1)):
        assert disjoint_pairs(labels, 5, rng()).shape == (0, 2)
