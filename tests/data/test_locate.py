"""One place looks for data: the same roots and layouts for every verb, and three lines where there is nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import REPOSITORY
from wtal_bench.cli import main
from wtal_bench.data.locate import data_roots, find_annotations, find_features, missing_data_message
from wtal_bench.data.store import StoredVideo, write_store
from wtal_bench.errors import DataError
from wtal_bench.protocols import get_protocol, locate_annotations
from wtal_bench.running.datasets import open_data
from wtal_bench.running.settings import Data

THUMOS = get_protocol("thumos14/v1")
NAMES = ("annotations.json", "thumos14.json")


@pytest.fixture
def roots(tmp_path, monkeypatch):
    """An empty `$WTAL_DATA` and a working folder with an empty `data/`."""
    (tmp_path / "here" / "data").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "elsewhere"))
    return tmp_path / "elsewhere", Path("data")


def put_annotations(path, version="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"duration": 16.0, "segments": [{"label": "Diving", "start": 0.0, "end": 8.0}]}
    videos = {name: {"subset": name, **entry} for name in ("train", "test")}
    path.write_text(json.dumps({"version": version, "classes": list(THUMOS.classes), "videos": videos}))
    return path


def put_features(folder):
    videos = [StoredVideo(name, np.ones((25, 2), np.float32), 16.0, 25.0) for name in ("train", "test")]
    manifest = {"name": "f", "extractor": "none", "fps": 25.0, "stride": 16, "streams": {"rgb": [0, 2]}}
    return write_store(folder, videos, manifest={**manifest, "synthetic": False}).folder


def test_the_roots_are_the_variable_and_data_of_the_working_folder(roots, monkeypatch):
    assert data_roots() == list(roots)
    monkeypatch.setenv("WTAL_DATA", "~/mine")
    assert data_roots()[0] == Path.home() / "mine"
    monkeypatch.delenv("WTAL_DATA")
    assert data_roots() == [Path("data")]


@pytest.mark.parametrize("root", [0, 1])
@pytest.mark.parametrize("layout", ["thumos14/annotations.json", "thumos14/thumos14.json", "thumos14.json"])
def test_every_verb_finds_every_layout(roots, root, layout, capsys):
    path = put_annotations(roots[root] / layout)
    features = put_features(roots[root] / "thumos14" / "features")
    assert locate_annotations(THUMOS) == path  # evaluate, compare, leaderboard
    opened = open_data(Data(protocol="thumos14/v1"), "cpu", "my.py")  # train, test
    assert (opened.store.folder, opened.annotations.path) == (features, path)
    assert main(["check-data", "--protocol", "thumos14/v1"]) == 0
    said = capsys.readouterr().out
    assert f"20 classes, {path}" in said
    assert f"f in {features}" in said
    assert "is defined on 213 with 3358" in said


def test_the_first_root_and_the_likeliest_name_win(roots):
    layouts = [root / layout for root in roots for layout in (*(f"thumos14/{name}" for name in NAMES), "thumos14.json")]
    for layout in reversed(layouts):
        put_annotations(layout)
        assert find_annotations("thumos14", NAMES) == layout
    with pytest.raises(DataError, match=r"elsewhere.thumos14.features, data.thumos14.features"):
        find_features("thumos14")


def test_a_folder_that_is_named_is_the_only_one_looked_at(roots, tmp_path):
    put_annotations(roots[0] / "thumos14.json")
    put_features(roots[0] / "thumos14" / "features")
    mine = tmp_path / "mine"
    with pytest.raises(DataError, match=f"Looked in: {mine}/features.") as caught:
        open_data(Data(protocol="thumos14/v1", root=str(mine)), "cpu", "my.py")
    assert "elsewhere" not in str(caught.value)
    put_features(mine / "features")
    looked = f"Looked in: {mine}/annotations.json, {mine}/thumos14.json"
    with pytest.raises(DataError, match=f"annotations not found.\n{looked}"):
        open_data(Data(protocol="thumos14/v1", root=str(mine)), "cpu", "my.py")
    path = put_annotations(mine / "thumos14.json")
    assert open_data(Data(protocol="thumos14/v1", root=str(mine)), "cpu", "my.py").annotations.path == path
    assert locate_annotations(THUMOS, mine) == path


def test_an_annotation_file_that_a_config_names_has_no_other_name(roots):
    put_annotations(roots[0] / "thumos14.json")
    put_features(roots[0] / "thumos14" / "features")
    data = Data(protocol="thumos14/v1", annotations="corrected.json")
    with pytest.raises(DataError, match="annotations not found"):
        open_data(data, "cpu", "my.py")
    path = put_annotations(roots[1] / "thumos14" / "corrected.json")
    assert open_data(data, "cpu", "my.py").annotations.path == path


def test_check_data_checks_a_synthetic_protocol_and_asks_for_something_to_check(capsys):
    assert main(["check-data", "--protocol", "synthetic_tiny/v2"]) == 0
    assert "checksums: 30 of 30 videos intact" in capsys.readouterr().out
    assert main(["check-data"]) == 2
    assert "give the folder of a feature store, or --protocol" in capsys.readouterr().err


def test_the_package_knows_nothing_of_a_folder_beside_the_checkout():
    texts = {path.name: path.read_text() for path in (REPOSITORY / "wtal_bench").rglob("*.py")}
    assert [name for name, text in texts.items() if "shared/" in text or '/ "shared"' in text] == []


def test_the_message_has_three_lines_that_say_what_where_and_how():
    text = missing_data_message("THUMOS14", "feature store", ["data/a", "/b"], "configs/ecm_synthetic.py")
    lines = text.split("\n")
    assert len(lines) == 3
    assert lines[0] == "THUMOS14: feature store not found."
    assert lines[1] == "Looked in: data/a, /b."
    assert "import-features" in lines[2]
    assert lines[2].endswith("Without data, run configs/ecm_synthetic.py.")


def test_without_a_stand_in_none_is_named():
    assert "Without data" not in missing_data_message("Mine", "features", ["data/a"])
