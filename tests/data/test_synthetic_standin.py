"""Stand-in features lie on a real data set's time lines and never pass for real ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import shared_file
from wtal_bench.cli import main
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.check import check_data
from wtal_bench.data.store import FeatureStore
from wtal_bench.data.synthetic import PROFILES, stand_in, synthetic_annotations
from wtal_bench.data.synthetic.standin import alike
from wtal_bench.errors import DataError


@pytest.fixture
def notes(tmp_path) -> Path:
    """A small annotation file with the oddities of real ones."""

    def video(subset: str, duration: float, *segments: tuple[str, float, float], **more) -> dict:
        rows = [{"label": label, "start": start, "end": end} for label, start, end in segments]
        return {"subset": subset, "duration": duration, "segments": rows, **more}

    videos = {
        "plain": video("train", 20.0, ("B", 2.0, 9.5), fps=30.0, frames=600),
        "second": video("train", 33.3, ("A", 1.0, 4.0), ("C", 6.0, 9.0), fps=30.0),
        "past_the_end": video("test", 12.0, ("A", 8.0, 14.0), ("A", 3.0, 3.0), ("A", 3.0, 4.0), ("A", 3.0, 4.0)),
        "nothing": video("test", 9.0),
        "tags_only": {"subset": "test", "duration": 10.0, "labels": ["C"]},
        "shorter_than_a_snippet": video("test", 0.3, ("C", 0.0, 0.2)),
    }
    value = {"version": "small", "classes": ["A", "B", "C"], "videos": videos, "exclude": {"odd": ["nothing", "plain"]}}
    (tmp_path / "notes.json").write_text(json.dumps(value))
    return tmp_path / "notes.json"


def test_every_video_gets_features_on_its_own_time_line(tmp_path, notes):
    folder = stand_in(notes, tmp_path / "data", 4)
    store, source = FeatureStore.open(folder / "features"), Annotations.load(notes)
    assert store.ids == tuple(source.videos)
    assert store.width == 8
    for name, video in source.videos.items():
        meta = store.meta(name)
        assert meta.duration == video.duration
        assert meta.fps == (video.fps or 25.0)
        assert meta.num_frames == (video.frames or round(video.duration * meta.fps))
        assert meta.num_snippets == max(1, meta.num_frames // 16)
    assert check_data(store, source).errors == []


def test_the_annotations_are_the_source_byte_for_byte(tmp_path, notes):
    folder = stand_in(notes, tmp_path / "data", 2)
    assert (folder / "annotations.json").read_bytes() == notes.read_bytes()


def test_the_manifest_says_synthetic_and_names_the_source(tmp_path, notes):
    manifest = FeatureStore.open(stand_in(notes, tmp_path / "data", 2) / "features").manifest
    assert manifest["synthetic"] is True
    assert manifest["generator"]["source"] == {"version": "small", "sha256": Annotations.load(notes).sha256}
    assert "real data set" in manifest["claims"]["not_claimed"][0]


def test_a_limit_takes_the_first_videos_of_every_subset_and_changes_none(tmp_path, notes):
    whole, few = (stand_in(notes, tmp_path / str(limit), 2, limit=limit) for limit in (None, 1))
    stores = [FeatureStore.open(folder / "features") for folder in (whole, few)]
    assert stores[1].ids == ("plain", "past_the_end")
    for name in stores[1].ids:
        np.testing.assert_array_equal(stores[0].video(name), stores[1].video(name))
    cut = Annotations.load(few / "annotations.json")
    assert set(cut.videos) == set(stores[1].ids)
    assert cut.exclude == {"odd": ("plain",)}
    assert cut.version == "small (first 2 of 6 videos)"


def test_the_frame_rate_can_be_that_of_the_usual_features(tmp_path, notes):
    store = FeatureStore.open(stand_in(notes, tmp_path / "data", 2, fps=25.0) / "features")
    assert {store.meta(name).fps for name in store.ids} == {25.0}
    assert (store.meta("plain").num_frames, store.meta("plain").num_snippets) == (500, 31)


def test_the_same_arguments_find_the_folder_and_others_are_refused(tmp_path, notes):
    folder = stand_in(notes, tmp_path / "data", 2)
    before = folder.stat().st_ino
    assert stand_in(notes, folder, 2).stat().st_ino == before
    with pytest.raises(DataError, match="holds something else"):
        stand_in(notes, folder, 3)
    (folder / "annotations.json").unlink()
    assert (stand_in(notes, folder, 2) / "annotations.json").read_bytes() == notes.read_bytes()


def test_another_world_is_other_data(tmp_path, notes):
    stores = [FeatureStore.open(stand_in(notes, tmp_path / str(w), 2, world=w) / "features") for w in (0, 1)]
    assert not np.array_equal(stores[0].video("plain"), stores[1].video("plain"))


@pytest.mark.parametrize(
    "bad", [dict(dim=0), dict(dim=2.0), dict(limit=0), dict(fps=0.0), dict(fps=float("nan")), dict(world=-1)]
)
def test_impossible_arguments_are_refused(tmp_path, notes, bad):
    with pytest.raises(DataError, match=next(iter(bad))):
        stand_in(notes, tmp_path / "data", **{"dim": 2, **bad})
    assert not (tmp_path / "data").exists()


def test_classes_shown_together_look_alike():
    demo = replace(PROFILES["demo"], videos={"train": 200})
    assert alike(synthetic_annotations(demo, 0)) == ((3, 4), (5, 6))


def test_the_verb_writes_stand_ins(tmp_path, notes, capsys):
    arguments = ["--annotations", str(notes), "--dim", "2", "--limit", "1", "--out", str(tmp_path / "data")]
    assert main(["make-synthetic", *arguments]) == 0
    assert "2 videos" in capsys.readouterr().out
    assert json.loads((tmp_path / "data" / "features" / "manifest.json").read_text())["generator"]["limit"] == 1


@pytest.mark.parametrize("name", ["thumos14", "activitynet1.3"])
def test_real_annotations_get_stand_ins(tmp_path, name):
    source = shared_file(f"data/{name}.json")
    folder = stand_in(source, tmp_path / "data", 2, limit=2)
    store, annotations = FeatureStore.open(folder / "features"), Annotations.load(folder / "annotations.json")
    assert set(store.ids) == set(annotations.videos)
    assert check_data(store, annotations).errors == []


def test_the_twins_of_thumos_are_found():
    annotations = Annotations.load(shared_file("data/thumos14.json"))
    pairs = {tuple(annotations.classes[label] for label in pair) for pair in alike(annotations)}
    assert pairs == {("CliffDiving", "Diving"), ("CricketBowling", "CricketShot")}
