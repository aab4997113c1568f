"""From the command line, bad data end with a sentence and exit code 2, and nothing is left half-written."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.stores import features, toy_store
from wtal_bench.cli import main
from wtal_bench.files import write_json

VIDEO = {"subset": "train", "duration": 4.48, "segments": [{"label": "A", "start": 1, "end": 2}]}


def refused(capsys, *arguments) -> str:
    """Run a verb that must refuse its input; return the sentence it says."""
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert printed.out == ""
    return printed.err


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (None, "holds no feature file"),
        (np.full((7, 5), np.nan, np.float32), "v0.npy): feature [0, 0] is nan"),
        (np.ones((7, 4), np.float32), "add up to 5"),
        (np.ones((0, 5), np.float32), "v0.npy): has no snippet"),
        (np.array([[1.0, None]], dtype=object), "v0.npy: is an array of Python objects"),
        ("truncated", "v0.npy: says it holds an array of shape (7, 5)"),
    ],
    ids=["missing", "nan", "width", "empty", "objects", "truncated"],
)
def test_bad_feature_files(tmp_path, capsys, array, text):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "v0.npy"
    if array is not None:
        np.save(path, features(0, 7) if isinstance(array, str) else array, allow_pickle=True)
    if isinstance(array, str):
        path.write_bytes(path.read_bytes()[:-1])
    options = ("--extractor", "x", "--fps", 25, "--stride", 16, "--streams", "rgb=3", "flow=2")
    said = refused(capsys, "import-features", tmp_path / "in", "--out", tmp_path / "s", *options)
    assert text in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("file", ["features.npy", "index.json", "manifest.json"])
def test_damaged_stores(tmp_path, capsys, file):
    toy_store(tmp_path / "s")
    path = tmp_path / "s" / file
    path.write_bytes(path.read_bytes()[:-3])
    assert "The store is damaged: copy it again" in refused(capsys, "check-data", tmp_path / "s")
    path.unlink()
    assert file in refused(capsys, "check-data", tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"segments": [{"label": "B", "start": 1, "end": 2}]}, "label 'B' is not in the class list"),
        ({"segments": [{"label": "A", "start": 2, "end": 1}]}, "is reversed"),
        ({"duration": 0}, "must be above 0"),
    ],
)
def test_bad_annotations(tmp_path, capsys, change, text):
    toy_store(tmp_path / "s")
    write_json(tmp_path / "a.json", {"version": "x", "classes": ["A"], "videos": {"v0": {**VIDEO, **change}}})
    said = refused(capsys, "check-data", tmp_path / "s", "--annotations", tmp_path / "a.json")
    assert text in said
    assert "video 'v0'" in said
