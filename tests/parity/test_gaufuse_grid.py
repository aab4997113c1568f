"""GauFuse's fused positions reach the evaluator as fractions of a snippet: decoder, detection file, filter, metric.

The authors truncate them, so a last bit can decide a snippet. Positions within 1e-6 of a whole snippet are put on it
(`snap`), as in the numbers compared with here, or taken from the file where it was made without.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import REPOSITORY, golden_files, load_golden
from tests.parity.test_gaufuse import GAUFUSE, decoder_of, video
from wtal_bench.evaluation import PRESETS, DetectionTable, GroundTruth, read_detections, write_detections
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.model import Model
from wtal_bench.running.config import load_config
from wtal_bench.structures import Detections
from wtal_plugins.gaufuse.decoder import FusedDecoder

TIOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
LOOP = PRESETS["thumos_snippet"]


def through_a_file(folder: Path, videos: dict[str, Detections], classes: list[str]) -> dict[str, Detections]:
    """What somebody who has only the detection file of a record scores."""
    write_detections(folder / "found.json.gz", videos, classes, "fused")
    return read_detections(folder / "found.json.gz", classes).videos


def without_grid(videos: dict[str, Detections]) -> dict[str, Detections]:
    return {name: replace(found, snippets=None) for name, found in videos.items()}


# ---- a whole run of the authors' program, its final weights tested ----


class Case:
    """The final weights of a trajectory file in the published config, and its test videos."""

    def __init__(self, path: Path) -> None:
        self.arrays = load_golden(path)
        self.meta = json.loads(str(self.arrays["meta"]))
        self.classes = [str(name) for name in self.arrays["classes"]]
        self.tests = np.flatnonzero(self.arrays["subset"] == 1)
        ids = self.arrays["ids"]
        self.ids = [str(ids[number]) for number in self.tests]

    def model(self, *options: str) -> Model:
        config = load_config(REPOSITORY / self.meta["config"], [*self.meta["options"], *options])
        model = build_model(config.model).double().eval()
        state = model.state_dict()
        for ours, theirs in self.meta["mapping"].items():
            value = torch.from_numpy(self.arrays[f"weights/{self.meta['steps']}/{theirs}"])
            state[ours].copy_(value.reshape(state[ours].shape))
        return model

    def detections(self, *options: str) -> dict[str, Detections]:
        model, arrays = self.model(*options), self.arrays
        rows = np.split(arrays["features"], np.cumsum(arrays["lengths"])[:-1])
        found = {}
        for number, name in zip(self.tests, self.ids):
            length = int(arrays["lengths"][number])
            rate, stride = float(arrays["fps"]), int(arrays["stride"])
            meta = VideoMeta(name, float(arrays["durations"][number]), rate, stride, length)
            batch = Batch(
                features=torch.from_numpy(rows[number].astype(np.float64))[None],
                mask=torch.ones(1, length, dtype=torch.bool),
                labels=None,
                index=torch.zeros(1, dtype=torch.int64),
                meta=(meta.sampled(np.arange(length)),),
                snippet_index=torch.arange(length, dtype=torch.float64)[None],
            )
            (prediction,) = model.predict(batch)
            found[name] = prediction.detections
        return found

    def truth(self) -> GroundTruth:
        arrays, place = self.arrays, {number: at for at, number in enumerate(self.tests)}
        own = np.isin(arrays["segment_video"], self.tests)
        spans = np.isin(arrays["ambiguous_video"], self.tests)
        return GroundTruth(
            self.classes,
            self.ids,
            [place[number] for number in arrays["segment_video"][own]],
            arrays["segment_label"][own],
            *arrays["segments"][own].T,
            [place[number] for number in arrays["ambiguous_video"][spans]],
            *arrays["ambiguous"][spans].T,
        )

    def mean_ap(self, videos: dict[str, Detections]) -> np.ndarray:
        return LOOP.evaluate(DetectionTable.from_videos(videos), self.truth(), TIOUS).mAP * 100


@pytest.mark.parametrize("path", golden_files("trajectory", "gaufuse_*.npz"))
def test_a_run_is_scored_on_truncated_positions_as_the_authors_score(path, tmp_path):
    case = Case(path)
    found = through_a_file(tmp_path, case.detections(), case.classes)
    np.testing.assert_allclose(case.mean_ap(found), case.arrays["mAP_truncated"], rtol=0, atol=1e-9)
    # the same seconds, rounded: what was scored before the grid travelled with them, and not the authors' metric
    np.testing.assert_allclose(case.mean_ap(without_grid(found)), case.arrays["mAP"], rtol=0, atol=1e-9)
    assert np.abs(case.arrays["mAP"] - case.arrays["mAP_truncated"]).max() > 1


@pytest.mark.parametrize("path", golden_files("trajectory", "gaufuse_*.npz"))
def test_the_literal_code_differs_by_rows_that_the_last_bit_decides_alone(path, tmp_path):
    case = Case(path)
    snapped = case.detections()
    literal = through_a_file(tmp_path, case.detections("model.postprocessor.snap=False"), case.classes)
    moved = 0
    for name, found in snapped.items():
        np.testing.assert_array_equal(literal[name].rows(), found.rows())  # in seconds nothing differs
        for side in ("start", "end"):
            ours, theirs = (getattr(one.snippets, side) for one in (found, literal[name]))
            trap = np.abs(theirs - np.round(theirs)) <= 1e-6
            np.testing.assert_array_equal(ours[~trap], theirs[~trap])
            np.testing.assert_array_equal(ours[trap], np.round(theirs[trap]))
            moved += np.count_nonzero(np.trunc(ours) != np.trunc(theirs))
    assert moved, "no position an ulp below a whole snippet: the case proves nothing"


# ---- the authors' decoder and evaluator, candidates to mAP ----


def fused_files() -> list:
    return [
        case
        for case in golden_files("gaufuse", "testpath__*.npz")
        if case.values[0] is None or str(load_golden(case.values[0])["cfg/final"]) == "fused"
    ]


def fused_case(path: Path) -> tuple[dict, dict[str, Detections], np.ndarray]:
    """A file's numbers, what the published decoder finds without snapping, and the file's instances in that order.

    Instances are rows (start, end) in snippets, before the Ambiguous filter.
    """
    golden = load_golden(path)
    classes, source = int(golden["cfg/n_classes"]), "in" if "in/cas_0" in golden else "out"
    published = GAUFUSE.model["postprocessor"]
    spec = {**decoder_of(golden, copy.deepcopy(published["decoder"]), classes), "curve": "cas"}
    heat = {"overlap": float(golden["cfg/h"]), "temperature": float(golden["cfg/eval_temperature"])}
    decoder = FusedDecoder(spec, {**published["fusion"], **heat}, snap=False)
    stored = golden.get("out/instances_unfiltered", golden["out/instances"])
    found, positions = {}, []
    for v in np.unique(golden["in/gt"][:, 0]).astype(int):
        outputs = {"cas": golden[f"{source}/cas_{v}"], "video_prob": golden[f"{source}/vid_{v}"]}
        rows = decoder(outputs, video(v, len(outputs["cas"])))
        rows = rows.take(np.isin(rows.label, golden["in/gt"][:, 1]))
        own = stored[stored[:, 1] == v]
        positions.append(own[np.lexsort((-own[:, 4], own[:, 0])), 2:4])
        found[str(v)] = rows
    return golden, found, np.concatenate(positions)


@pytest.mark.parametrize("path", fused_files())
def test_fractional_positions_survive_decoder_file_filter_and_metric(path, tmp_path):
    golden, found, stored = fused_case(path)
    classes = [str(c) for c in range(int(golden["cfg/n_classes"]))]
    ids = [str(v) for v in range(int(golden["cfg/n_videos"]))]
    spans = golden.get("in/ambiguous", np.zeros((0, 3)))
    truth = GroundTruth(classes, ids, *golden["in/gt"].T, *spans.T)

    def mean_ap(videos: dict[str, Detections]) -> np.ndarray:
        back = through_a_file(tmp_path, videos, classes)
        return LOOP.evaluate(DetectionTable.from_videos(back), truth, golden["cfg/iou"]).mAP * 100

    ours = np.concatenate([np.stack([f.snippets.start, f.snippets.end], axis=1) for f in found.values()])
    np.testing.assert_allclose(ours, stored, rtol=0, atol=1e-9)
    assert (np.abs(stored - np.round(stored)) > 1e-6).any(), "no fractional position: the case proves nothing"
    # the last bit of what should be whole is the file's, so that the authors' truncation can be compared with
    cuts = np.cumsum([len(f) for f in found.values()])[:-1]
    theirs = {
        name: replace(f, snippets=replace(f.snippets, start=rows[:, 0], end=rows[:, 1]))
        for (name, f), rows in zip(found.items(), np.split(stored, cuts))
    }
    np.testing.assert_allclose(mean_ap(theirs), golden["out/map"], rtol=0, atol=1e-9)
