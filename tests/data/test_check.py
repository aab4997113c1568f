"""check-data: what does not fit is found, named and counted, and only errors fail."""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from tests.data.stores import LENGTHS, MANIFEST, features, toy_annotations, toy_store
from tests.helpers import shared_file
from wtal_bench.commands import check_data as check_command
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.check import check_data
from wtal_bench.data.store import FeatureStore, StoredVideo, write_store
from wtal_bench.errors import DataError
from wtal_bench.files import write_json


def run(*arguments) -> int:
    parser = argparse.ArgumentParser()
    check_command.configure(parser)
    return check_command.run(parser.parse_args(list(map(str, arguments))))


def test_sound_data_give_no_error_and_no_warning(tmp_path):
    annotations = toy_annotations(lengths=(7, 5, 12, 4), subsets=("train", "train", "test", "test"), classes=["A", "B"])
    report = check_data(toy_store(tmp_path / "s", lengths=(7, 5, 12, 4)), annotations)
    assert (report.errors, report.warnings) == ([], [])
    text = report.text()
    for part in ("4 videos, 28 snippets", "rgb 0:3, flow 3:5", "(SYNTHETIC)", "train: 2 videos, 2 with tags, 2 inst",
                 "checksums: 4 of 4 videos intact", "0 errors, 0 warnings"):  # fmt: skip
        assert part in text


def test_missing_and_extra_videos_are_told_apart(tmp_path):
    store = toy_store(tmp_path / "s", lengths=(7, 5, 12, 4, 3))
    annotations = toy_annotations(lengths=(7, 5, 12, 4, 3, 5), subsets=["train"] * 5 + ["val"], classes=["A", "B"])
    report = check_data(store, annotations)
    assert report.errors == []
    assert report.warnings == ["subset 'val': none of its 1 videos has features"]
    report = check_data(store, annotations, subsets=["val"])
    assert report.errors == ["subset 'val': 1 of 1 videos have no features: v5"]
    fewer = toy_store(tmp_path / "t", lengths=(7, 5, 12))
    assert check_data(fewer, annotations).errors == ["subset 'train': 2 of 5 videos have no features: v3, v4"]
    report = check_data(store, toy_annotations(lengths=(7, 5, 12), classes=["A", "B"]))
    assert report.warnings == ["2 videos have features but no annotation: v3, v4"]
    with pytest.raises(DataError, match="Did you mean 'val'"):
        check_data(store, annotations, subsets=["vall"])


def test_data_of_two_worlds_are_an_error(tmp_path):
    videos = {"x": {"subset": "train", "duration": 3.0, "labels": ["A"]}}
    annotations = Annotations.from_dict({"version": "x", "classes": ["A"], "videos": videos})
    report = check_data(toy_store(tmp_path / "s"), annotations)
    assert report.errors == [
        "no video has both features and annotation: ids of features look like 'v0', annotated ids like 'x'"
    ]


def spans(tmp_path, factors):
    """Return store and annotations whose durations are off by the given factors."""
    videos = [StoredVideo(f"v{row}", features(row, 100), 64.0, 25.0) for row in range(len(factors))]
    value = {
        f"v{row}": {"subset": "train", "duration": 64.0 * factor, "labels": ["A"]} for row, factor in enumerate(factors)
    }
    annotations = Annotations.from_dict({"version": "x", "classes": ["A"], "videos": value})
    return write_store(tmp_path / "s", videos, manifest=MANIFEST), annotations


def test_one_odd_length_is_a_warning_many_are_an_error(tmp_path):
    report = check_data(*spans(tmp_path / "a", [1, 1, 1.2]))
    assert report.errors == []
    assert (
        "video 'v2': 100 snippets x 16 frames / 25 fps span 64.0 s, its duration is given as 76.8 s"
        in report.warnings[0]
    )
    assert "64.0 s when its features were made, 76.8 s annotated" in report.warnings[1]
    report = check_data(*spans(tmp_path / "b", [1.2, 1.2, 1]))
    assert report.errors == [
        "2 of 3 videos: the features span another time than the video, 0.833 of it in the median: the fps or stride of "
        "the manifest is wrong"
    ]


def test_oddities_of_the_annotations_are_counted_by_kind(tmp_path):
    value = {"version": "x", "classes": ["A"], "videos": {
        f"v{row}": {"subset": "train", "duration": length * 0.64,
                    "segments": [{"label": "A", "start": 0, "end": length * 0.64 + 1}]}
        for row, length in enumerate(LENGTHS)
    }}  # fmt: skip
    report = check_data(toy_store(tmp_path / "s"), Annotations.from_dict(value), examples=2)
    past = [warning for warning in report.warnings if "ends past the video" in warning]
    assert len(past) == 1
    assert "ends past the video: 4, e.g. video 'v0': segment 0" in past[0]
    assert "'v2'" not in past[0]
    assert "1 videos have a single snippet: v1" in report.warnings


def test_damaged_features_are_errors_unless_not_looked_at(tmp_path):
    store = toy_store(tmp_path / "s")
    array = np.load(tmp_path / "s" / "features.npy", mmap_mode="r+")
    array[0, 0] = np.nan
    array[8, 1] += 1
    array.flush()
    report = check_data(store, None)
    assert len(report.errors) == 2
    assert "2 of 4 videos intact" in report.text()
    assert "1 more videos with damaged features" in check_data(store, None, examples=1).errors
    assert check_data(store, None, checksums=False).errors == []


def test_a_nan_is_found_even_under_a_checksum_that_fits(tmp_path):
    toy_store(tmp_path / "s")
    folder = tmp_path / "s"
    array = np.load(folder / "features.npy", mmap_mode="r+")
    array[0, 0] = np.nan
    array.flush()
    index = json.loads((folder / "index.json").read_text())
    index["sha256"][0] = hashlib.sha256(np.ascontiguousarray(array[:7])).hexdigest()
    (folder / "index.json").write_text(json.dumps(index))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["index_sha256"] = hashlib.sha256((folder / "index.json").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert check_data(FeatureStore.open(folder), None).errors == ["video 'v0': holds NaN or infinite features"]


def test_the_command_fails_on_errors_only(tmp_path, capsys):
    toy_store(tmp_path / "s")
    value = {"version": "x", "classes": ["A"], "videos": {
        f"v{row}": {"subset": "train", "duration": n * 0.64, "labels": ["A"]} for row, n in enumerate(LENGTHS)
    }}  # fmt: skip
    write_json(tmp_path / "a.json", value)
    assert run(tmp_path / "s", "--annotations", tmp_path / "a.json") == 0
    assert "0 errors, 1 warnings" in capsys.readouterr().out
    value["videos"]["w"] = {"subset": "train", "duration": 1.0, "labels": ["A"]}
    write_json(tmp_path / "a.json", value)
    assert run(tmp_path / "s", "--annotations", tmp_path / "a.json", "--json", "--no-checksums") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["errors"] == ["subset 'train': 1 of 5 videos have no features: w"]
    assert run(tmp_path / "s") == 0


def test_real_annotations_and_features_of_their_durations_fit(tmp_path):
    annotations = Annotations.load(shared_file("data/thumos14.json"))
    videos = [
        StoredVideo(name, np.ones((max(1, int(video.duration * 25 / 16)), 2), np.float16), video.duration, 25.0)
        for name, video in annotations.videos.items()
    ]
    manifest = {**MANIFEST, "streams": {"rgb": [0, 1], "flow": [1, 2]}}
    report = check_data(write_store(tmp_path / "s", videos, manifest=manifest, dtype="float16"), annotations)
    assert report.errors == []
    kinds = {warning.split(", ")[1].split(":")[0] for warning in report.warnings}
    assert kinds == {"ends past the video", "starts past the video", "no tags"}


def test_checking_imports_no_torch():
    code = "import sys, wtal_bench.commands.check_data; sys.exit('torch' in sys.modules or 'mmengine' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
