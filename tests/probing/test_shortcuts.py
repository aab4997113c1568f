"""No plain number gives the synthetic benchmark away: the bounds are far apart, shortcuts stay near the lower."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wtal_bench.data.annotations import Annotations, Segment, VideoAnnotation
from wtal_bench.data.store import FeatureStore, StoredVideo, write_store
from wtal_bench.data.synthetic.build import generate
from wtal_bench.data.synthetic.profiles import PROFILES, Profile, synthetic_annotations
from wtal_bench.probing import Report, probe
from wtal_bench.probing.curves import (
    coverage,
    largest_share,
    length_accuracy,
    lookup_accuracy,
    plain_signals,
    random_cas,
)
from wtal_bench.protocols import get_protocol

MANY = replace(PROFILES["demo"], videos={"train": 1000, "test": 1000})


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Report:
    """Of the world that is ranked, with all of its test videos."""
    profile = replace(PROFILES["demo"], videos={"train": 60, "test": PROFILES["demo"].videos["test"]})
    return probe(generate(profile, 0, tmp_path_factory.mktemp("probes") / "demo"))


def test_the_bounds_lie_far_apart(report):
    bounds = report.bounds
    assert bounds["oracle"] > 0.9
    assert bounds["random"] < bounds["slow random"] < 0.15
    assert bounds["random"] == pytest.approx(get_protocol("synthetic/v2").chance, abs=5e-4)  # time lines alone decide
    assert bounds["whole video"] < 0.05
    assert bounds["slow random"] + 0.2 < report.linear["all"] < bounds["oracle"] - 0.1


def test_no_plain_number_of_a_snippet_lies_five_points_above_the_random_bound(report):
    assert len(report.plain) == 16
    assert max(report.plain.values()) < report.bounds["slow random"] + 0.05
    assert report.plain[report.chosen] <= max(report.plain.values())


REAL = {
    "rgb": {"AUC, own classes": 0.79, "AUC, unseen classes": 0.72, "zeros": 0.12, "mean / spread": 1.25},
    "flow": {"AUC, own classes": 0.80, "AUC, unseen classes": 0.70, "zeros": 0.09, "mean / spread": 1.34},
}
"""Of real clips composed to videos, see wtal_bench/data/synthetic/README.md."""


@pytest.mark.parametrize("stream", REAL)
def test_action_and_background_are_as_hard_to_tell_apart_as_in_real_features(report, stream):
    found = report.statistics[stream]
    for figure, value in REAL[stream].items():
        # one small world scatters more than the three whole ones of the table
        assert found[figure] == pytest.approx(value, abs=0.12 if "AUC" in figure else 0.15), figure
    for kin, less in (("same video and class", "same class"), ("same class", "other class")):
        assert found[f"cosine, {kin}"] > found[f"cosine, {less}"]


def test_a_plain_number_that_gives_actions_away_is_found(tmp_path, report):
    """What the probe is there to catch: actions that are simply louder."""
    folder = generate(replace(PROFILES["demo"], videos={"train": 10, "test": 20}), 1, tmp_path / "quiet")
    store, notes = FeatureStore.open(folder / "features"), Annotations.load(folder / "annotations.json")
    louder = []
    for name in store.ids:
        meta = store.meta(name)
        seen = coverage(notes.videos[name], len(notes.classes), meta.num_snippets, meta.snippet_seconds).max(axis=1)
        rows = store.video(name) * (1 + seen[:, None])
        louder.append(StoredVideo(name, rows, meta.duration, meta.fps, meta.num_frames))
    keys = ("name", "extractor", "fps", "stride", "streams", "synthetic")
    write_store(tmp_path / "loud", louder, manifest={key: store.manifest[key] for key in keys})
    loud = probe(folder, features=tmp_path / "loud")
    assert loud.plain["rgb energy"] > report.plain["rgb energy"] + 0.15


def classes_of(annotations: Annotations, subset: str) -> np.ndarray:
    return np.array([annotations.tags(name)[0] for name in annotations.subset(subset)])


@pytest.fixture(scope="module")
def many() -> Annotations:
    return synthetic_annotations(MANY, 0)


def test_the_length_of_a_video_hardly_tells_its_class(many):
    train, test = classes_of(many, "train"), classes_of(many, "test")
    lengths = [np.array([many.videos[name].duration for name in many.subset(subset)]) for subset in ("train", "test")]
    assert length_accuracy(lengths[0], train, lengths[1], test) < largest_share(test) + 0.08


@pytest.mark.parametrize("profile", [MANY, replace(PROFILES["anet"], videos={"train": 1000, "test": 1000})])
def test_id_and_order_tell_nothing_of_a_class(profile: Profile):
    annotations = synthetic_annotations(profile, 0)
    train, test = classes_of(annotations, "train"), classes_of(annotations, "test")
    number = np.arange(1000)
    for modulus in (2, 5, 10, 20, 7):
        assert lookup_accuracy(number % modulus, train, number % modulus, test) < largest_share(test) + 0.05
    assert lookup_accuracy(number, train, number, test) < largest_share(test) + 0.05
    assert lookup_accuracy(train[:-1], train[1:], test[:-1], test[1:]) < largest_share(test) + 0.06


def test_the_clue_probes_find_a_clue_that_is_there():
    label = np.arange(400) % 4
    assert lookup_accuracy(np.arange(400) % 8, label, np.arange(400) % 8, label) == 1.0
    assert lookup_accuracy(np.zeros(400, int), label, np.zeros(400, int), label) == largest_share(label) == 0.25
    assert lookup_accuracy(np.zeros(4, int), np.ones(4, int), np.full(4, 9), np.ones(4, int)) == 1.0
    length = np.array([10.0, 20.0, 40.0, 80.0])[label]
    assert length_accuracy(length, label, length * 1.01, label) == 1.0


def test_coverage_is_the_share_of_every_snippet():
    segments = (Segment(0, 0.0, 1.5), Segment(1, 1.0, 3.0), Segment(0, 1.25, 1.75))
    video = VideoAnnotation("test", 4.0, 25.0, 100, segments, (), None)
    np.testing.assert_allclose(coverage(video, 2, 4, 1.0), [[1, 0], [1, 1], [0, 1], [0, 0]])
    empty = VideoAnnotation("test", 4.0, 25.0, 100, (), (), None)
    np.testing.assert_array_equal(coverage(empty, 2, 4, 1.0), np.zeros((4, 2)))


def test_slow_noise_is_smoother_and_as_long():
    rng = np.random.default_rng(0)
    fast, slow = random_cas(rng, 500), random_cas(rng, 500, 5)
    assert fast.shape == slow.shape == (500,)
    assert np.abs(np.diff(slow)).mean() < 0.5 * np.abs(np.diff(fast)).mean()


def test_plain_signals_read_one_stream_each():
    features = np.array([[1.0, 3.0, 0.0], [0.0, 0.0, 5.0]])
    signals = dict(plain_signals(features, {"rgb": (0, 2), "flow": (2, 3)}))
    np.testing.assert_array_equal(signals["rgb energy"], [2, 0])
    np.testing.assert_array_equal(signals["-rgb norm"], -np.sqrt([10, 0]))
    np.testing.assert_array_equal(signals["flow density"], [0, 1])
    np.testing.assert_array_equal(signals["-flow peak"], [0, -5])
