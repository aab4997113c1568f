"""A store is checked when it is opened: what no import wrote is told with the column and the video."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from wtal_bench.data.store import FeatureStore, StoredVideo, write_store
from wtal_bench.errors import DataError

MANIFEST = {"name": "x", "extractor": "x", "stride": 16, "streams": {"a": [0, 2]}, "synthetic": True, "fps": 25.0}


@pytest.fixture
def store(tmp_path):
    videos = [
        StoredVideo(f"v{n}", np.full((n + 2, 2), n, np.float32), 3.0 + n, 25.0, 75 if n else None) for n in range(3)
    ]
    write_store(tmp_path / "s", videos, manifest=MANIFEST)
    return tmp_path / "s"


def change(store, *, index=lambda value: None, manifest=lambda value: None) -> None:
    """Change the two files and keep their hash in step, as whoever forges them would."""
    tree = json.loads((store / "index.json").read_text())
    tree = index(tree) or tree
    text = json.dumps(tree)
    (store / "index.json").write_text(text)
    said = json.loads((store / "manifest.json").read_text())
    said = manifest(said) or said
    if isinstance(said, dict):
        said["index_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (store / "manifest.json").write_text(json.dumps(said))


def test_a_store_that_is_as_it_was_written_opens(store):
    change(store)
    assert FeatureStore.open(store).meta("v1").num_frames == 75


@pytest.mark.parametrize(
    ("column", "at", "value", "said"),
    [
        ("durations", 1, -3.0, "durations of video 'v1' is -3.0, but must be a number from 0.001 to 1e+07"),
        ("durations", 1, 0, "durations of video 'v1' is 0"),
        ("durations", 0, float("nan"), "durations of video 'v0' is nan"),
        ("durations", 0, float("inf"), "durations of video 'v0' is inf"),
        ("durations", 0, 10**400, "durations of video 'v0' is 1000"),
        ("durations", 2, "x", "durations of video 'v2' is 'x'"),
        ("durations", 2, True, "durations of video 'v2' is True"),
        ("durations", 2, None, "durations of video 'v2' is None"),
        ("fps", 0, 0.0, "fps of video 'v0' is 0.0"),
        ("fps", 0, -25, "fps of video 'v0' is -25"),
        ("fps", 0, 1e300, "fps of video 'v0' is 1e+300"),
        ("frames", 1, 0, "its column frames holds 0"),
        ("frames", 1, -1, "frames of video 'v1' is -1"),
        ("frames", 1, 1.5, "frames of video 'v1' is 1.5"),
        ("lengths", 0, 0, "lengths of video 'v0' is 0, but must be a whole number from 1 to 9"),
        ("lengths", 0, -2, "lengths of video 'v0' is -2"),
        ("lengths", 0, 2**64, "lengths of video 'v0' is 18446744073709551616"),
        ("lengths", 0, 3, "offsets of video 'v1' is 2, but must be the sum of the lengths before it"),
        ("lengths", 2, 3, "its lengths add up to 8 rows, the manifest says 9"),
        ("offsets", 1, 2.0, "offsets of video 'v1' is 2.0"),
        ("offsets", 1, -1, "offsets of video 'v1' is -1"),
        ("ids", 1, "v0", "holds the id 'v0' twice"),
        ("ids", 1, "a/b", "holds the id 'a/b'; an id is a printable name"),
        ("ids", 1, "", "holds the id ''"),
        ("ids", 1, 3, "holds the id 3"),
        ("ids", 1, "a\u202eb", "an id is a printable name"),
        ("sha256", 1, "x" * 64, "its column sha256 must hold 64 hex digits"),
        ("sha256", 1, 3, "its column sha256 must hold 64 hex digits"),
    ],
)
def test_an_index_that_no_import_wrote_is_refused(store, column, at, value, said):
    def forge(index):
        index[column][at] = value

    change(store, index=forge)
    with pytest.raises(DataError) as caught:
        FeatureStore.open(store)
    assert f"{store / 'index.json'}: " in str(caught.value)
    assert said in str(caught.value)
    assert "import the features anew" in str(caught.value)


@pytest.mark.parametrize("index", [[], 3, {}, {"ids": []}, None])
def test_an_index_of_another_form_is_refused(store, index):
    (store / "index.json").write_text(json.dumps(index))
    change(store, index=lambda value: index)
    with pytest.raises(DataError, match=r"index\.json: must hold the columns"):
        FeatureStore.open(store)


def test_columns_of_different_lengths_are_refused(store):
    change(store, index=lambda index: index["fps"].pop() and None)
    with pytest.raises(DataError, match="its columns do not all hold the 3 videos"):
        FeatureStore.open(store)


@pytest.mark.parametrize(
    ("key", "value"),
    [("videos", -1), ("videos", "3"), ("rows", 1.5), ("rows", 2**60), ("fps", -25), ("fps", "x"), ("window", 0),
     ("dtype", ["float32"]), ("streams", {"a": [0, "2"]}), ("streams", {"a": 3}), ("streams", {"a": [0, 2**40]}),
     ("stride", 0), ("name", None), ("synthetic", 1)],
)  # fmt: skip
def test_a_manifest_that_no_import_wrote_is_refused_with_its_key(store, key, value):
    change(store, manifest=lambda manifest: manifest.update({key: value}))
    with pytest.raises(DataError, match=rf"manifest\.json: .*{key}"):
        FeatureStore.open(store)


def test_an_array_of_another_shape_or_order_is_refused(store):
    array = np.load(store / "features.npy")
    for other in (array[:-1], array.astype(np.float64), np.asfortranarray(array), array[:, :1]):
        np.save(store / "features.npy", other)
        with pytest.raises(DataError, match=r"features\.npy"):
            FeatureStore.open(store)
