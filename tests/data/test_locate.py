"""Missing data sets are explained in three lines; what is there is opened; nothing else is taken instead."""

from __future__ import annotations

import pytest

from tests.data.stores import toy_store
from wtal_bench.data.locate import candidates, missing_data_message, open_dataset
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.files import write_json

VALUE = {"version": "x", "classes": ["A"], "videos": {"v0": {"subset": "train", "duration": 4.5, "labels": ["A"]}}}
DATA = {"features": "toy/features", "annotations": "toy/toy.json"}


@pytest.fixture(autouse=True)
def empty_place(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("WTAL_DATA", raising=False)


def test_the_message_has_three_lines_that_say_what_where_and_how():
    text = missing_data_message("THUMOS14", "feature store", ["data/a", "/b"], "configs/ecm_synthetic.py")
    lines = text.split("\n")
    assert len(lines) == 3
    assert lines[0] == "THUMOS14: feature store not found."
    assert lines[1] == "Looked in: data/a, /b."
    assert "import-features" in lines[2]
    assert "configs/ecm_synthetic.py" in lines[2]


@pytest.mark.parametrize("place", ["root", "env", "data", "here"])
def test_a_data_set_is_found_in_every_place_that_is_named(tmp_path, monkeypatch, place):
    base = {
        "root": tmp_path / "r",
        "env": tmp_path / "e",
        "data": tmp_path / "here" / "data",
        "here": tmp_path / "here",
    }
    toy_store(base[place] / "toy" / "features")
    write_json(base[place] / "toy" / "toy.json", VALUE)
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "e"))
    store, annotations = open_dataset({**DATA, "root": str(tmp_path / "r")}, name="Toy")
    assert store.folder.resolve() == (base[place] / "toy" / "features").resolve()
    assert annotations.version == "x"


def test_an_absolute_path_is_looked_for_nowhere_else(tmp_path):
    assert candidates(tmp_path / "x", root="/elsewhere") == [tmp_path / "x"]


def test_missing_parts_are_told_apart(tmp_path):
    with pytest.raises(DataError, match=r"^Toy: feature store not found\.\nLooked in: data/toy/features, toy/features"):
        open_dataset(DATA, name="Toy", synthetic_config="configs/synthetic.py")
    toy_store(tmp_path / "here" / "data" / "toy" / "features")
    with pytest.raises(DataError, match="Toy: annotation file not found"):
        open_dataset(DATA, name="Toy")
    with pytest.raises(ConfigError, match=r"data\.features is missing"):
        open_dataset({"annotations": "x"}, name="Toy")


def test_a_damaged_store_is_not_passed_over_for_another(tmp_path, monkeypatch):
    for folder in ("e", "here/data"):
        toy_store(tmp_path / folder / "toy" / "features")
        write_json(tmp_path / folder / "toy" / "toy.json", VALUE)
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "e"))
    (tmp_path / "e" / "toy" / "features" / "features.npy").unlink()
    with pytest.raises(DataError, match=r"e/toy/features/features\.npy: is missing"):
        open_dataset(DATA, name="Toy")
