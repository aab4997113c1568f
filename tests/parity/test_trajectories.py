"""Whole runs of the authors' programs, repeated through our configs, Runner, test path and evaluators.

What a trajectory file holds and why its tolerances are what they are: tests/golden/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import golden_files
from tests.parity.trajectory import Repeat, Trace, Trajectory, repeat, why_not
from wtal_bench.data.annotations import Annotations
from wtal_bench.evaluation import PRESETS, DetectionTable, GroundTruth
from wtal_bench.structures import Detections
from wtal_plugins.gaufuse import labels as gaufuse
from wtal_plugins.gaufuse.linpro import SOLVED, Problem

EARLY = 20
"""Steps a run that must fail goes on for."""


EVERY = golden_files("trajectory", "*.npz", why_not=why_not)
WHOLE = [  # GauFuse's 350 epochs of three branches take over ten seconds
    pytest.param(*p.values, id=p.id, marks=[*p.marks, *([pytest.mark.slow] if p.id.startswith("gaufuse") else [])])
    for p in EVERY
]
REPEATABLE = [p for p in EVERY if not p.marks] or EVERY


# ---- comparisons ----


def check_order(trace: Trace, trajectory: Trajectory) -> None:
    """The videos of every step, in order."""
    for step, videos in enumerate(trace.videos):
        assert videos == trajectory.videos_of(step), f"batch of step {step + 1}"


def check_losses(trace: Trace, trajectory: Trajectory) -> None:
    """Every term of every step, to its largest value; one that did not exist for the authors is not looked at."""
    tolerance, factors = trajectory.meta["tolerance"]["losses"], trajectory.meta.get("loss_factors") or {}
    for column, name in enumerate(trajectory.meta["loss_names"]):
        if name is None:  # a sum we do not log
            continue
        theirs = trajectory.arrays["losses"][: len(trace.losses), column]
        ours = np.array([terms.get(name, np.nan) for terms in trace.losses]) * factors.get(name, 1.0)
        exists = ~np.isnan(theirs)
        error, largest = np.abs(ours - theirs)[exists], np.abs(trajectory.arrays["losses"][:, column])
        worst = error.max(initial=0.0) / np.nanmax(largest)
        assert worst <= tolerance, f"losses: {name} is off by {worst:.1e} of its largest value"


def check_weights(trace: Trace, trajectory: Trajectory) -> None:
    """Weights and buffers after every kept step, to the largest movement since the start."""
    start = trajectory.state(None)
    assert trace.weights
    for step, ours in trace.weights.items():
        theirs = trajectory.state(step)
        assert set(theirs) == set(trajectory.names)
        error = {name: np.abs(ours[name].reshape(x.shape) - x).max() for name, x in theirs.items()}
        moved = max(np.abs(x - start[name]).max() for name, x in theirs.items() if name in start)
        name = max(error, key=error.get)
        worst = error[name] / moved
        assert worst <= trajectory.meta["tolerance"]["weights"], f"weights after {step}: {name} off by {worst:.1e}"


def check_detections(found: Mapping[str, Detections], trajectory: Trajectory) -> None:
    """One to one: equal videos, labels and number; times and scores as near as the file says."""
    tolerance, theirs = trajectory.meta["tolerance"], trajectory.arrays["detections"]
    ours = table_of(found, trajectory)
    assert len(ours) == len(theirs)
    # scores within a video and class are further apart than their tolerance, so falling score pairs the rows up
    ours, theirs = (rows[np.lexsort((-rows[:, 4], rows[:, 1], rows[:, 0]))] for rows in (ours, theirs))
    np.testing.assert_array_equal(ours[:, :2], theirs[:, :2])
    np.testing.assert_allclose(ours[:, 2:4], theirs[:, 2:4], rtol=0, atol=tolerance["times"], err_msg="times")
    np.testing.assert_allclose(ours[:, 4], theirs[:, 4], rtol=0, atol=tolerance["scores"], err_msg="scores")


def table_of(found: Mapping[str, Detections], trajectory: Trajectory) -> np.ndarray:
    """[n,5] rows (test video, label, start s, end s, score), without those the authors' Ambiguous filter drops."""
    rows = np.concatenate([np.insert(found[v].rows(), 0, i, axis=1) for i, v in enumerate(trajectory.test_ids)])
    if not trajectory.meta.get("ambiguous_dropped"):
        return rows
    arrays, grid = trajectory.arrays, float(trajectory.arrays["fps"] / trajectory.arrays["stride"])
    spans = np.rint(arrays["ambiguous"] * grid)
    start, end = np.rint(rows[:, 2:4] * grid).T
    dropped = np.zeros(len(rows), dtype=bool)
    for video, (first, last) in zip(arrays["ambiguous_video"], spans):
        own = rows[:, 0] == video - len(trajectory.train_ids)
        dropped |= own & (np.minimum(end, last) > np.maximum(start, first))
    return rows[~dropped]


def percent(report: dict[str, Any], run: Repeat) -> np.ndarray:
    """mAP by the file's evaluator at the file's tIoUs, whether or not the protocol's report has both."""
    meta, count = run.trajectory.meta, len(run.trajectory.arrays["mAP"])
    table = report["variants"].get(meta["evaluator"], {"mAP": []})["mAP"]
    if len(table) >= count:
        return 100 * np.array(table)
    opened = run.testing.opened
    truth = opened.protocol.ground_truth(opened.annotations)
    tious = np.round(np.arange(0.5, 0.975, 0.05) if count == 10 else 0.1 * np.arange(1, 1 + count), 2)
    found = DetectionTable.from_videos(run.testing.metric.detections)
    return 100 * PRESETS[meta["evaluator"]].evaluate(found, truth, tious).mAP


def check_map(ours: np.ndarray, theirs: np.ndarray, trajectory: Trajectory) -> None:
    """The mAP at every tIoU both have."""
    shared = min(len(ours), len(theirs))
    assert shared
    tolerance = trajectory.meta["tolerance"]["mAP"]
    np.testing.assert_allclose(ours[:shared], theirs[:shared], rtol=0, atol=tolerance)


# ---- GauFuse's labels ----


class AuthorsLabels:
    """Gives a run the authors' labels for its own, generation by generation, and remembers its own.

    The authors truncate fused coordinates to snippets, and whether a weighted mean of equal numbers is whole or one
    float below is luck of the machine: most labels cannot be compared end to end, and one that differs would hide
    everything after it.
    """

    def __init__(self, run: Repeat) -> None:
        self.arrays, self.ids = run.trajectory.arrays, run.trajectory.train_ids
        self.tolerance = run.trajectory.meta["tolerance"]
        self.problems: dict[tuple[int, int, int], Problem] = {}
        self.made: list[gaufuse.LabelStore] = []
        self.head = head = run.model.heads["labels"]
        instances, generate = head.instances, head.generate

        def remember(outputs: Any, batch: Any, fusion: Any) -> dict[int, Problem]:
            found = instances(outputs, batch, fusion)
            video = self.ids.index(batch.meta[0].id)
            self.problems |= {(len(self.made), video, label): problem for label, problem in found.items()}
            return found

        def replaced(training_pass: Any, fusion: Any) -> tuple[gaufuse.LabelStore, dict[str, int]]:
            made, counts = generate(training_pass, fusion)
            self.made.append(made)
            return self.authors(len(self.made) - 1), counts

        head.instances, head.generate = remember, replaced

    def authors(self, generation: int) -> gaufuse.LabelStore:
        """Their labels, those of infeasible programs included."""
        theirs = {name: self.label(generation, video).T.copy() for video, name in enumerate(self.ids)}
        return gaufuse.LabelStore({v: gaufuse.VideoLabels(np.arange(len(g)), g) for v, g in theirs.items()})

    def label(self, generation: int, video: int) -> np.ndarray:
        """[T,columns] their labels of a video."""
        return self.arrays[f"pseudo_labels/{generation}/{video}"]

    def segments(self, cell: tuple[int, int, int]) -> np.ndarray:
        """[n,3] their fused instances (start, end, confidence) of a generation, video and class."""
        table = self.arrays["pseudo_segments"]
        return table[(table[:, :3] == cell).all(axis=1), 3:]

    def check(self) -> None:
        """Stage by stage: the fused instances, the linear programs on theirs, and end to end where it can be."""
        status = {tuple(row[:3].tolist()): int(row[3]) for row in self.arrays["pseudo_cells"]}
        assert set(self.problems) == set(status)
        solved = [cell for cell, code in status.items() if code == 0]
        truncated = []
        for cell, problem in self.problems.items():
            ours = np.stack([problem.start, problem.end, problem.confidence], axis=1)
            theirs = self.segments(cell)
            near = [rows[np.lexsort(np.round(rows, 6).T[::-1])] for rows in (ours, theirs)]
            np.testing.assert_allclose(*near, rtol=0, atol=self.tolerance["times"], err_msg=str(cell))
            if cell in solved:
                # a quarter past the snippet they truncated to: no rule of truncation or snapping moves it
                start, end = np.floor(theirs[:, :2].T) + 0.25
                truncated.append((cell, Problem(problem.snippets, start, end, theirs[:, 2])))
        assert len(truncated) == len(solved) > 0
        for (cell, _), solution in zip(truncated, self.head.linpro([problem for _, problem in truncated])):
            assert solution.status == SOLVED
            self.near(solution.label, cell)
        ends = [cell for cell in solved if not self.arrays[f"pseudo_traps/{cell[0]}/{cell[1]}"][cell[2]]]
        assert ends, "no cell can be compared end to end"
        for cell in ends:
            own = self.made[cell[0]].videos[self.ids[cell[1]]]
            self.near(own.values[own.columns.tolist().index(cell[2])], cell)

    def near(self, label: np.ndarray, cell: tuple[int, int, int]) -> None:
        """One label against theirs."""
        theirs = self.label(cell[0], cell[1])[:, cell[2]]
        np.testing.assert_allclose(label, theirs, rtol=0, atol=self.tolerance["labels"], err_msg=str(cell))


# ---- the tests ----


@pytest.mark.parametrize("path", WHOLE)
def test_training_repeats_the_authors_program_step_by_step(path, tmp_path, monkeypatch):
    trajectory = Trajectory(path)
    run = repeat(trajectory, tmp_path, monkeypatch)
    labels = AuthorsLabels(run) if "pseudo_segments" in trajectory.arrays else None
    trace = run.train(until=trajectory.meta["steps"])
    assert len(trace.losses) == trajectory.meta["steps"]
    assert set(trace.weights) == set(trajectory.meta["kept_steps"])
    check_order(trace, trajectory)
    check_losses(trace, trajectory)
    check_weights(trace, trajectory)
    if labels:
        labels.check()


@pytest.mark.parametrize("path", EVERY)
def test_the_authors_weights_give_their_detections_and_their_map(path, tmp_path, monkeypatch):
    trajectory = Trajectory(path)
    arrays = trajectory.arrays
    run = repeat(trajectory, tmp_path, monkeypatch)
    found, report = run.test(trajectory.tested)
    check_detections(found, trajectory)
    # where the authors truncate fractions of a snippet, the report does so too
    check_map(percent(report, run), arrays.get("mAP_truncated", arrays["mAP"]), trajectory)
    if "mAP_truncated" in arrays:
        check_map(rounded_map(found, tmp_path, trajectory), arrays["mAP"], trajectory)


def rounded_map(found: Mapping[str, Detections], folder: Path, trajectory: Trajectory) -> np.ndarray:
    """Percent, of the detections' seconds alone: rounded to whole snippets."""
    table = DetectionTable.from_videos({video: replace(rows, snippets=None) for video, rows in found.items()})
    truth = GroundTruth.from_annotations(Annotations.load(folder / "data" / "annotations.json"), "test")
    tious = np.round(0.1 * np.arange(1, 1 + len(trajectory.arrays["mAP"])), 1)
    return 100 * PRESETS[trajectory.meta["evaluator"]].evaluate(table, truth, tious).mAP


@pytest.mark.parametrize("path", REPEATABLE)
def test_a_slightly_wrong_weight_decay_or_rate_fails(path, tmp_path, monkeypatch):
    trajectory = Trajectory(path)
    train = trajectory.config(tmp_path).train
    name = "weight_decay" if train.weight_decay else "lr"  # some decay nothing
    run = repeat(trajectory, tmp_path, monkeypatch, [f"train.{name}={1.02 * getattr(train, name)!r}"])
    trace = run.train(until=EARLY)
    check_order(trace, trajectory)
    with pytest.raises(AssertionError, match="weights after"):
        check_weights(trace, trajectory)


@pytest.mark.parametrize("path", REPEATABLE)
def test_a_slightly_wrong_weight_fails(path, tmp_path, monkeypatch):
    """In training, where it must show in the losses, and at test, where it must show in the detections."""
    trajectory = Trajectory(path)
    end = trajectory.tested
    name = next(iter(trajectory.meta["mapping"].values()))
    for key in (f"init/{name}", f"weights/{end}/{name}"):
        trajectory.arrays[key] = trajectory.arrays[key] * (1 + 1e-3)
    run = repeat(trajectory, tmp_path, monkeypatch)
    with pytest.raises(AssertionError):
        check_detections(run.test(end)[0], trajectory)
    with pytest.raises(AssertionError, match="losses: "):
        check_losses(run.train(until=EARLY), trajectory)


@pytest.mark.parametrize("path", REPEATABLE)
def test_another_order_of_videos_fails(path):
    trajectory = Trajectory(path)
    swapped = [trajectory.videos_of(step) for step in range(EARLY)]
    check_order(Trace(videos=swapped), trajectory)
    swapped[3].reverse()
    with pytest.raises(AssertionError, match="batch of step 4"):
        check_order(Trace(videos=swapped), trajectory)
