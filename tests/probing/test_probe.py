"""The probes measure what they say: on cases done by hand, on drawn clips of known statistics, and through the verb."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import shared_file
from wtal_bench.cli import main
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.composed.clips import ClipSet
from wtal_bench.data.store import FeatureStore, StoredVideo, write_store
from wtal_bench.data.synthetic import PROFILES, generate
from wtal_bench.data.synthetic.clips import Look
from wtal_bench.errors import DataError
from wtal_bench.files import write_json
from wtal_bench.probing import probe, table
from wtal_bench.probing.levels import Seen, drawn_like, levels
from wtal_bench.probing.linear import auc, fit, logits, probabilities
from wtal_bench.probing.material import Material
from wtal_bench.probing.statistics import statistics


def test_auc_counts_pairs_and_ties_half():
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 6, 60), rng.random(60) < 0.4
    pairs = np.sign(scores[positive][:, None] - scores[~positive])
    assert auc(scores, positive) == pytest.approx((pairs.mean() + 1) / 2)
    assert auc(np.arange(4), np.array([False, False, True, True])) == 1.0
    assert auc(np.zeros(4), np.array([False, False, True, True])) == 0.5


def test_a_linear_score_finds_what_is_linear_whatever_the_scale():
    rng = np.random.default_rng(0)
    features = rng.normal(3, 1, (500, 4)) * [1, 1000, 1e-3, 0]
    targets = np.stack([features[:, 1] > 3000, features[:, 2] > 0.0035], axis=1)
    weights = fit(features, targets)
    assert ((logits(features, weights) > 0) == targets).mean() > 0.97
    assert (np.diff(probabilities(features, weights)[np.argsort(features[:, 1]), 0])[::50] > -0.5).all()


def data_set(folder: Path, features: dict[str, np.ndarray], segments: dict[str, list], subsets: dict[str, str]) -> Path:
    """Write a data set of one snippet a second."""
    entries = {
        name: {
            "subset": subsets[name],
            "duration": float(len(rows)),
            "segments": [{"label": label, "start": start, "end": end} for label, start, end in segments[name]],
        }
        for name, rows in features.items()
    }
    write_json(folder / "annotations.json", {"version": "x", "classes": ["a", "b", "c", "d"], "videos": entries})
    manifest = {"name": "x", "extractor": "none", "stride": 10, "streams": {"rgb": [0, 3]}, "synthetic": True}
    stored = [StoredVideo(name, rows, float(len(rows)), 10.0) for name, rows in features.items()]
    write_store(folder / "features", stored, manifest=manifest)
    return folder


@pytest.fixture
def simple(tmp_path) -> Path:
    """Column 0 is 1 in every action of class a, b and c, column 1 in background and in d; column 2 never changes."""
    rng = np.random.default_rng(0)
    features, segments, subsets = {}, {}, {}
    for subset in ("train", "test"):
        for label in "abcd":
            rows = np.tile([0.0, 1.0, 0.5], (20, 1))
            rows[5:11] = [1.0, 0.0, 0.5] if label != "d" else [0.0, 2.0, 0.5]
            name = f"{subset}_{label}"
            features[name] = rows + np.r_[1, 1, 0] * rng.random((20, 3)) * 0.01
            segments[name], subsets[name] = [(label, 5.0, 11.0)], subset
    return data_set(tmp_path, features, segments, subsets)


def test_a_score_that_passes_on_to_other_classes_is_told_from_one_that_does_not(simple):
    material = Material(FeatureStore.open(simple / "features"), Annotations.load(simple / "annotations.json"))
    found = statistics(material, material.lesson("train"), "test", slice(0, 3))
    # a, b and c are found by each other; d, whose column rises the other way, is found by none of them
    assert found["AUC, own classes"] > 0.95
    assert found["AUC, unseen classes"] == pytest.approx(0.75, abs=0.05)
    assert found["cosine, 1 snippet on"] == pytest.approx(1, abs=0.01)
    assert found["zeros"] == 0


def test_cosines_follow_kinship(tmp_path):
    one, other = [1.0, 0, 0], [0, 1.0, 0]
    features = {name: np.tile([0, 0, 1.0], (12, 1)) for name in ("u", "v", "w")}
    for name, rows in features.items():
        rows[2:4] = one if name != "w" else other
        rows[6:9] = one if name != "w" else other
    segments = {
        name: [("a" if name != "w" else "b", 2.0, 4.0), ("a" if name != "w" else "b", 6.0, 9.0)] for name in features
    }
    folder = data_set(tmp_path, features, segments, dict.fromkeys(features, "train"))
    material = Material(FeatureStore.open(folder / "features"), Annotations.load(folder / "annotations.json"))
    found = statistics(material, material.lesson("train"), "train", slice(0, 3))
    assert found["cosine, same video and class"] == found["cosine, same class"] == pytest.approx(1)
    assert found["cosine, other class"] == found["cosine, action and background"] == 0
    assert found["zeros"] == pytest.approx(2 / 3)


def test_the_plain_number_is_chosen_on_training_videos_whatever_it_scores_on_the_others(tmp_path):
    """Actions are loud in the training videos and quiet in the test videos: the choice is knowable, and wrong."""
    features, segments = {}, {}
    for subset, level in (("train", 2.0), ("test", 0.2)):
        for label in "ab":
            rows = np.ones((20, 3))
            rows[5:11] = level
            features[f"{subset}_{label}"] = rows + np.random.default_rng(0).random((20, 3)) * 0.01
            segments[f"{subset}_{label}"] = [(label, 5.0, 11.0)]
    report = probe(data_set(tmp_path, features, segments, {name: name[:-2] for name in features}))
    assert not report.chosen.startswith("-")
    assert report.plain[report.chosen] < 0.5 < report.plain[report.loudest]
    printed = table({"it": report})
    assert "mAP: plain number chosen on training videos" in printed


def test_the_oracle_finds_everything_and_chance_next_to_nothing(simple):
    report = probe(simple)
    assert report.bounds["oracle"] == pytest.approx(1)
    assert report.bounds["random"] < 0.6
    assert report.linear["rgb"] > 0.9
    assert json.loads(json.dumps(report.as_dict()))["statistics"]["rgb"]["zeros"] == 0
    text = table({"first": report, "second": replace(report, bounds={**report.bounds, "oracle": 0.5})})
    assert "-50.0" in next(line for line in text.splitlines() if line.startswith("mAP: oracle"))


def test_a_subset_without_times_is_explained(simple):
    with pytest.raises(DataError, match=r"subset 'tset'.* Did you mean 'test'"):
        probe(simple, "tset")
    notes = json.loads((simple / "annotations.json").read_text())
    for entry in notes["videos"].values():
        entry |= {"segments": [], "labels": ["a"]}
    write_json(simple / "annotations.json", notes)
    with pytest.raises(DataError, match="videos with tags alone do not serve"):
        probe(simple)


def test_levels_are_those_of_a_sum():
    """Classes, scenes, clips and moments that add up, all columns together in one stream, none in the other."""
    rng = np.random.default_rng(0)
    spread = {"class": 2.0, "scene": 1.5, "clip": 1.0, "moments": 0.5}
    seen = []
    for label in range(40):
        of_class = rng.normal(size=200)
        for scene in range(6):
            of_scene = rng.normal(size=200)
            for _ in range(4):
                clip, moments = rng.normal(size=200), rng.normal(size=(6, 200))
                apart = 2 * of_class + 1.5 * of_scene + clip + 0.5 * moments
                seen.append(Seen(str(label), str(scene), [apart, np.tile(rng.normal(size=(6, 1)), (1, 5))]))
    found = levels(seen, ("rgb", "flow"))
    total = sum(value**2 for value in spread.values())
    for level, value in spread.items():
        assert found[f"rgb, {level}: share"] == pytest.approx(value**2 / total, abs=0.06)
        assert found[f"rgb, {level}: together"] < 0.02
        assert found[f"flow, {level}: together"] == pytest.approx(1)
    assert found["rgb, moments: change after 1"] == pytest.approx(0.25 / total, rel=0.1)
    assert found["rgb: skewness"] == pytest.approx(0, abs=0.1)


DISTANCE = {"share": 0.08, "together": 0.10, "change": 0.08, "skewness": 0.35, "mean": 0.35, "alike": 0.25}
"""How far a figure of drawn clips may be from that of the real ones they were fitted to, in a single world."""


def test_drawn_clips_vary_as_real_ones():
    folder = shared_file("data/ucf101_vgg16/clips.csv").parent
    clips = ClipSet(folder, {"rgb": "rgb", "flow": "difference"}, dim=64)
    seen = [Seen(clip.label, clip.group, clips.read(clip)) for clip in clips.clips]
    real = levels(seen, clips.streams)
    drawn = [levels(drawn_like(seen, world, 0.28), clips.streams) for world in (1, 2)]
    far = {}
    for figure, value in real.items():
        mean = np.mean([world[figure] for world in drawn])
        limit = next((limit for word, limit in DISTANCE.items() if word in figure.rpartition(":")[2]), None)
        if limit is not None and abs(mean - value) > limit:
            far[figure] = (value, mean)
        if figure.endswith("axes"):
            assert 0.7 < mean / value < 1.5, figure
    assert far == {}


def test_clips_that_do_not_vary_alike_are_told(tmp_path):
    seen = [
        Seen("a", str(scene), [np.random.default_rng(scene).random((8, 6)) for _ in range(2)]) for scene in range(9)
    ]
    look = replace(Look(), rgb=replace(Look().rgb, mean=9.0))
    assert levels(drawn_like(seen, 1, 0.3, look), ("rgb", "flow"))["rgb: mean / spread"] > 7


def test_the_verb_prints_data_sets_side_by_side(tmp_path, capsys):
    folders = []
    for world in (1, 2):
        profile = replace(PROFILES["tiny"], videos={"train": 8, "test": 6})
        folders.append(str(generate(profile, world, tmp_path / f"world{world}")))
    assert main(["probe", *folders, "--json", str(tmp_path / "probes.json")]) == 0
    printed = capsys.readouterr().out
    assert "world1" in printed
    assert "difference" in printed
    assert "flow: AUC, unseen classes" in printed
    assert json.loads((tmp_path / "probes.json").read_text())["world2"]["bounds"]["oracle"] > 0.8


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere"], "there is no feature store"),
        (["a", "a"], "given twice"),
        (["a", "b", "--features", "x"], "one folder"),
        (["a", "--drawn", "1"], "is for a folder of trimmed clips"),
    ],
)
def test_the_verb_refuses_what_cannot_be(arguments, text, capsys):
    assert main(["probe", *arguments]) == 2
    assert text in capsys.readouterr().err
