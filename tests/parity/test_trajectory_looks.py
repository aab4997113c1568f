"""The tests the hosts' authors made while training: our test path and evaluator on the weights of those steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.helpers import golden_files
from tests.parity.test_trajectories import percent, table_of
from tests.parity.trajectory import Repeat, Trajectory, repeat
from wtal_bench.evaluation import exact_match_accuracy


def scores(run: Repeat) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of every test video, the scores that pick classes and those of video-level classification: two [C]."""
    decoder = run.model._decoder.component
    run.model.eval()
    for batch in run.testing.loader:
        for outputs, _ in run.model.video_outputs(batch):
            own = decoder if hasattr(decoder, "class_scores") else next(iter(decoder.passes.values()))[0]
            yield own.class_scores(outputs), decoder.video_scores(outputs)


def accuracy(run: Repeat) -> float:
    """Share of the test videos whose thresholded class scores are their tags."""
    picked = np.array([first for first, _ in scores(run)])
    return exact_match_accuracy(picked, run.testing.videos.labels, run.trajectory.meta["settings"]["class_threshold"])


def at(run: Repeat, step: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Percent mAP at the file's tIoUs, and the report, of the authors' weights after a step."""
    _, report = run.test(step)
    return percent(report, run), report


@pytest.mark.parametrize("path", golden_files("trajectory", "cola_*.npz"))
def test_cola_scores_its_test_videos_as_its_authors_did(path, tmp_path, monkeypatch):
    run = repeat(Trajectory(path), tmp_path, monkeypatch)
    meta = run.trajectory.meta
    looks = [look for look in meta["tests"] if look["step"] in meta["kept_steps"]]
    assert looks[-1]["step"] == meta["steps"]
    for look in looks:
        ours, report = at(run, look["step"])
        averages = report["variants"][meta["evaluator"]]["averages"]
        assert 100 * averages["0.1:0.7"] == pytest.approx(look["average_mAP"], abs=1e-9)
        assert ours.mean() == pytest.approx(look["average_mAP"], abs=1e-9)
        assert accuracy(run) == pytest.approx(look["test_acc"], abs=1e-9)


@pytest.mark.parametrize("path", golden_files("trajectory", "basnet_*.npz"))
def test_basnet_selects_as_its_authors_did(path, tmp_path, monkeypatch):
    run = repeat(Trajectory(path), tmp_path, monkeypatch)
    meta, arrays = run.trajectory.meta, run.trajectory.arrays
    for step in meta["kept_steps"]:
        assert at(run, step)[0].mean() / 100 == pytest.approx(arrays["selection"][step - 1], abs=1e-9)
    assert accuracy(run) == pytest.approx(float(arrays["video_accuracy"]), abs=1e-7)  # theirs is in single precision
    best = meta["best_step"] - 1
    assert best == arrays["selection"].argmax()
    _, report = run.test_state({ours: arrays[f"best/{theirs}"] for ours, theirs in run.trajectory.names.items()})
    assert percent(report, run).mean() / 100 == pytest.approx(arrays["selection"][best], abs=1e-9)


@pytest.mark.parametrize("path", golden_files("trajectory", "co2net_*.npz"))
def test_co2net_scores_its_test_videos_as_its_authors_did(path, tmp_path, monkeypatch):
    run = repeat(Trajectory(path), tmp_path, monkeypatch)
    meta, arrays = run.trajectory.meta, run.trajectory.arrays
    lengths = dict(zip(run.trajectory.ids, arrays["lengths"]))
    tested = np.array([lengths[video] >= meta["shortest_tested"] for video in run.testing.videos.ids])
    looks = {int(row[0]): row[1:] for row in arrays["tests"] if row[0] in meta["kept_steps"]}
    assert meta["settings"]["selected_updates"] in looks
    for step, (*theirs, classification) in looks.items():
        ours, report = at(run, step)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
        if tested.all():  # theirs is in single precision
            assert 100 * report["classification_mAP"] == pytest.approx(classification, abs=1e-4)
    found, _ = run.test(meta["steps"])
    meta["ambiguous_dropped"] = False
    ours, theirs = table_of(found, run.trajectory), arrays["detections_before_ambiguous"]
    ours, theirs = (rows[np.lexsort((-rows[:, 4], rows[:, 1], rows[:, 0]))] for rows in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    picked, tags = (np.array(column)[tested] for column in zip(*scores(run)))
    assert len(arrays["video_prob"]) == len(arrays["classification_prob"]) in (len(picked), len(tested))
    rows = slice(None) if len(arrays["video_prob"]) == len(picked) else tested
    np.testing.assert_allclose(picked, arrays["video_prob"][rows], rtol=0, atol=1e-9)
    np.testing.assert_allclose(tags, arrays["classification_prob"][rows, :-1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("path", golden_files("trajectory", "um_*.npz"))
def test_um_scores_its_test_videos_as_its_authors_did(path, tmp_path, monkeypatch):
    run = repeat(Trajectory(path), tmp_path, monkeypatch)
    meta = run.trajectory.meta
    looks = {look["step"]: look for look in meta["tests"]}
    for step in meta["kept_steps"]:
        ours, _ = at(run, step)
        assert ours.mean() == pytest.approx(looks[step]["average_mAP"], abs=1e-9)
        assert accuracy(run) == pytest.approx(looks[step]["test_acc"], abs=1e-7)  # theirs is in single precision


@pytest.mark.parametrize("path", golden_files("trajectory", "wtalc_*.npz"))
def test_wtalc_scores_its_test_videos_as_its_authors_did(path, tmp_path, monkeypatch):
    run = repeat(Trajectory(path), tmp_path, monkeypatch)
    meta, arrays = run.trajectory.meta, run.trajectory.arrays
    looks = {int(row[0]): row[1:] for row in arrays["tests"]}
    assert set(looks) <= set(meta["kept_steps"])
    for step, (*theirs, classification) in looks.items():
        ours, report = at(run, step)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
        assert 100 * report["classification_mAP"] == pytest.approx(classification, abs=1e-4)  # in single precision
    found, _ = run.test(meta["steps"])
    meta["ambiguous_dropped"] = False
    ours, theirs = table_of(found, run.trajectory), arrays["detections_before_ambiguous"]
    ours, theirs = (rows[np.lexsort((-rows[:, 4], rows[:, 1], rows[:, 0]))] for rows in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    _, tags = zip(*scores(run))
    np.testing.assert_allclose(np.array(tags), arrays["video_prob"], rtol=0, atol=1e-9)
