"""Video scores and told snippets come back from a detection file, and give the numbers they gave before."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from wtal_bench import reading
from wtal_bench.errors import DataError
from wtal_bench.evaluation import (
    Beside,
    ToldSnippets,
    classification_map,
    frame_accuracy,
    read_detections,
    snippet_labels,
    told_classes,
    write_detections,
)
from wtal_bench.structures import Detections

CLASSES = ("jump", "throw", "run")
SEGMENTS = {"a": [(0, 1.0, 4.5), (1, 6.0, 9.0)], "b": [(2, 0.0, 3.0)]}
TAGS = {"a": (0, 1), "b": (2,)}


@pytest.fixture
def raw():
    random = np.random.default_rng(3)
    curves = {"a": random.normal(size=(20, 3)), "b": random.normal(size=(12, 3))}
    return curves, {"a": np.array([0.9, 0.1, 0.6]), "b": np.array([0.2, 0.1, 0.1])}


def beside(raw, sampled=False):
    curves, scores = raw
    told = {}
    for video, curve in curves.items():
        at = np.arange(len(curve)) // 2 if sampled else np.arange(len(curve))
        told[video] = ToldSnippets(told_classes(curve, scores[video]), at, len(curve), 0.5)
    return Beside(scores, told)


@pytest.mark.parametrize("sampled", [False, True])
def test_both_numbers_are_those_of_the_arrays_they_come_from_after_a_file(raw, tmp_path, sampled):
    curves, scores = raw
    path = tmp_path / "found.json.gz"
    written = beside(raw, sampled)
    write_detections(path, {video: Detections.empty() for video in curves}, CLASSES, "x", written)
    found = read_detections(path, CLASSES).beside()
    labels = np.array([[1, 1, 0], [0, 0, 1]])
    assert found.classification_map(TAGS, 3) == classification_map(np.stack(list(scores.values())), labels)
    tracks = [snippet_labels(SEGMENTS[v], len(c), 0.5, 3)[written.snippets[v].at] for v, c in curves.items()]
    wanted = frame_accuracy(list(curves.values()), list(scores.values()), tracks)
    assert 0 < wanted < 1
    assert found.frame_accuracy(SEGMENTS, 3) == wanted


def test_a_file_without_them_has_neither(tmp_path):
    path = tmp_path / "found.json"
    write_detections(path, {"a": Detections.empty()}, CLASSES, "x")
    assert "video_scores" not in path.read_text()
    found = read_detections(path, CLASSES).beside()
    assert found.classification_map(TAGS, 3) is None
    assert found.frame_accuracy(SEGMENTS, 3) is None


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("classes", ["throw", "jump", "run"], "classes in label order"),
        ("video_scores", {"a": [0.1, 0.2, 0.3]}, "must name the same videos; they differ in b"),
        ("video_scores", {"a": [0.1], "b": [0.1, 0.2, 0.3]}, "3 of numbers"),
        ("video_scores", {"a": [0.1, "x", 0.3], "b": [0.1, 0.2, 0.3]}, "of numbers"),
        ("video_scores", [1], "as a run writes them"),
        ("snippets", {"a": {"seconds": 0, "count": 3, "told": []}}, "must be above 0"),
        ("snippets", {"a": {"seconds": 1, "count": 2, "told": [0, 7]}}, "told must hold"),
        ("snippets", {"a": {"seconds": 1, "count": 2, "told": [0, 1], "at": [0, 9]}}, "within the 2 snippets"),
        ("snippets", {"a": {"seconds": 1, "count": 2, "told": [0]}}, "told must hold"),
        ("snippets", {"a": {"seconds": 1, "count": 10**300, "told": [0]}}, "must be above 0"),
        ("snippets", {"a": {"seconds": 1, "count": 2, "told": [0, 10**30]}}, "as a run writes them"),
        ("snippets", {"a": {}}, "as a run writes them"),
    ],
)
def test_what_is_not_as_a_run_writes_it_is_told(raw, tmp_path, key, value, complaint):
    path = tmp_path / "found.json"
    write_detections(path, {video: Detections.empty() for video in raw[0]}, CLASSES, "x", beside(raw))
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    found = read_detections(path, CLASSES)  # the detections themselves are sound
    with pytest.raises(DataError, match=complaint):
        found.beside()


def test_a_file_that_unpacks_to_more_than_any_detections_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "PLAIN", 2**21)
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(b" " * 2**20, mtime=0) * 3)
    with pytest.raises(DataError, match="unpacks to more than 3 MiB"):
        read_detections(path, CLASSES)
