"""The feature store: what is written comes back, and what is wrong is refused before anything lies there."""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import os
import pickle
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tests.data.stores import LENGTHS, MANIFEST, features, stored, toy_store
from wtal_bench.data.store import FeatureStore, StoredVideo, write_store
from wtal_bench.errors import DataError


def write(folder, *videos, **options):
    return write_store(folder, videos, manifest=MANIFEST, **options)


def video(value, **more):
    return StoredVideo("odd", value, **{"duration": 2.0, "fps": 25.0, "source": "in/odd.npy", **more})


def nothing_left(folder):
    return not folder.exists() and not any(folder.parent.iterdir())


@pytest.mark.parametrize("resident", [None, "ram"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_written_comes_back(tmp_path, dtype, resident):
    toy_store(tmp_path / "s", dtype=dtype)
    store = FeatureStore.open(tmp_path / "s", resident=resident)
    assert store.ids == ("v0", "v1", "v2", "v3")
    assert store.lengths.tolist() == list(LENGTHS)
    assert (store.width, len(store), store.name, store.synthetic) == (5, 4, "toy", True)
    for row, length in enumerate(LENGTHS):
        wanted = features(row, length).astype(dtype)
        np.testing.assert_array_equal(store.video(f"v{row}"), wanted)
        np.testing.assert_array_equal(store.video(row), wanted)
    store.verify()


def test_videos_are_views_nobody_can_write_to(tmp_path):
    for resident in (None, "ram"):
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
        toy_store(tmp_path / "s")
        view = FeatureStore.open(tmp_path / "s", resident=resident).video("v2")
        assert view.base is not None
        with pytest.raises(ValueError, match="read-only"):
            view[0, 0] = 1.0


def test_streams_pick_columns_in_the_order_asked_for(tmp_path):
    store = toy_store(tmp_path / "s")
    whole = features(0, 7)
    np.testing.assert_array_equal(store.video("v0", ["flow"]), whole[:, 3:])
    np.testing.assert_array_equal(store.video("v0", ["flow", "rgb"]), whole[:, [3, 4, 0, 1, 2]])
    assert store.columns(["rgb", "flow"]) == [(0, 5)]
    assert store.columns("flow") == [(3, 5)]
    with pytest.raises(DataError, match="Did you mean 'flow'"):
        store.columns(["flwo"])
    with pytest.raises(DataError, match="each once"):
        store.columns(["rgb", "rgb"])


def test_meta_says_what_is_known(tmp_path):
    store = write(tmp_path / "s", video(features(0, 3), frames=np.int64(50)))
    meta = store.meta("odd")
    assert (meta.id, meta.duration, meta.fps, meta.stride, meta.num_snippets) == ("odd", 2.0, 25.0, 16, 3)
    assert meta.frames == 50
    assert meta.snippet_index is None


def test_resized_features_spread_their_rows_over_the_video(tmp_path):
    store = toy_store(tmp_path / "s", lengths=(4, 4), stride=None)
    assert store.meta(0).snippet_seconds == pytest.approx(4 * 0.64 / 4)
    resized = write_store(
        tmp_path / "r", [StoredVideo("a", features(0, 10), 33.0, 30.0)], manifest={**MANIFEST, "stride": None}
    )
    assert resized.meta("a").snippet_seconds == pytest.approx(3.3)


def test_a_stride_is_of_all_videos_or_of_each(tmp_path):
    each = [StoredVideo(f"v{row}", features(row, 5), 3.0, 25.0, stride=row + 1) for row in range(2)]
    store = write_store(tmp_path / "s", each, manifest={**MANIFEST, "stride": None})
    assert [store.meta(row).stride for row in range(2)] == [1, 2]
    assert FeatureStore.open(tmp_path / "s").index.columns(range(1, 2))["strides"] == [2]
    for videos, stride in (((each[0], stored()[3]), None), ((stored()[3], each[0]), None), (each, 16)):
        with pytest.raises(DataError, match="videos have a stride each"):
            write_store(tmp_path / "t", videos, manifest={**MANIFEST, "stride": stride})
    with pytest.raises(DataError, match="stride must be a whole number"):
        write_store(tmp_path / "t", [replace(each[0], stride=0)], manifest={**MANIFEST, "stride": None})
    path = tmp_path / "s" / "manifest.json"
    path.write_text(path.read_text().replace('"stride": null', '"stride": 16'))
    with pytest.raises(DataError, match=r"gives every video a stride, and manifest\.json one for all"):
        FeatureStore.open(tmp_path / "s")


def test_an_unknown_video_gets_a_suggestion(tmp_path):
    store = toy_store(tmp_path / "s")
    assert "v1" in store
    assert "w1" not in store
    with pytest.raises(DataError, match=r"no features of video 'vv1'.*Did you mean 'v1'"):
        store.video("vv1")


def test_the_manifest_hash_names_the_features_to_the_last_bit(tmp_path):
    first = toy_store(tmp_path / "a")
    again = toy_store(tmp_path / "b")
    assert first.manifest_hash == again.manifest_hash
    others = [
        toy_store(tmp_path / "c", dtype="float16"),
        toy_store(tmp_path / "d", lengths=(7, 1, 12)),
        toy_store(tmp_path / "e", extractor="other"),
    ]
    changed = stored()
    changed[2].features[11, 4] = np.nextafter(changed[2].features[11, 4], np.float32(9))
    others.append(write(tmp_path / "f", *changed))
    hashes = {store.manifest_hash for store in (first, *others)}
    assert len(hashes) == 5


def test_videos_are_streamed_one_at_a_time(tmp_path):
    made, alive = [], []

    def source():
        for row in range(5):
            gc.collect()
            alive.append(sum(reference() is not None for reference in made))
            data = features(row, 3)
            made.append(weakref.ref(data))
            yield StoredVideo(f"v{row}", data, 2.0, 25.0)
            del data

    assert len(write_store(tmp_path / "s", source(), manifest=MANIFEST)) == 5
    assert max(alive) <= 1


def test_the_file_is_a_plain_npy_any_numpy_reads(tmp_path):
    toy_store(tmp_path / "s")
    array = np.load(tmp_path / "s" / "features.npy", allow_pickle=False)
    assert array.shape == (sum(LENGTHS), 5)
    np.testing.assert_array_equal(array[7], features(1, 1)[0])


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (video(np.ones((3, 4), np.float32)), "has 4 feature columns, the streams declare 5"),
        (video(np.ones((5, 3), np.float32)), "It looks transposed"),
        (video(np.ones(5, np.float32)), r"must be \[T,D\]"),
        (video(np.ones((0, 5), np.float32)), "has no snippet"),
        (video(np.array([["a"] * 5])), "must be numbers"),
        (video(np.array([[None] * 5], dtype=object)), "must be numbers, got an array of object"),
        (video(np.array([[1, 2, np.nan, 4, 5.0]])), r"feature \[0, 2\] is nan"),
        (video(np.array([[1, 2, 3, 4, -np.inf]])), r"feature \[0, 4\] is -inf"),
        (video(np.full((1, 5), 1e39)), r"1e\+39 does not fit float32"),
        (video(np.ones((1, 5)), duration=0), "duration must be a finite number above 0"),
        (video(np.ones((1, 5)), duration=float("nan")), "duration must be a finite number"),
        (video(np.ones((1, 5)), fps=None), "fps must be a finite number"),
        (video(np.ones((1, 5)), frames=0), "frames must be a whole number"),
    ],
)
def test_bad_features_are_refused_naming_video_and_file(tmp_path, bad, text):
    with pytest.raises(DataError, match=text) as error:
        write(tmp_path / "s", stored()[0], bad)
    assert "'odd'" in str(error.value)
    assert "in/odd.npy" in str(error.value)
    assert nothing_left(tmp_path / "s")


def test_half_precision_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(DataError, match="does not fit float16; store float32"):
        write(tmp_path / "s", video(np.full((1, 5), 70000.0)), dtype="float16")


def test_duplicate_ids_bad_ids_and_empty_stores_are_refused(tmp_path):
    with pytest.raises(DataError, match="comes twice"):
        write(tmp_path / "s", stored()[0], stored()[0])
    with pytest.raises(DataError, match="without '/'"):
        write(tmp_path / "s", StoredVideo("a/b", features(0, 3), 2.0, 25.0))
    with pytest.raises(DataError, match="no video was given"):
        write(tmp_path / "s")
    assert nothing_left(tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"streams": {"rgb": [0, 3], "flow": [4, 5]}}, "expected them to start at 3"),
        ({"streams": {"rgb": [0, 3], "flow": [2, 5]}}, "without gap or overlap"),
        ({"streams": {"rgb": [3, 3]}}, "expected them to start at 0"),
        ({"streams": {}}, "'streams' must give each stream its columns"),
        ({"streams": {"rgb": 1024}}, "'streams' must give each stream its columns"),
        ({"stride": 0}, "'stride' must be the whole number"),
        ({"stride": 16.0}, "'stride' must be the whole number"),
        ({"synthetic": "no"}, "'synthetic' must be a bool"),
        ({"name": 3}, "'name' must be a str"),
        ({"dtype": "int8"}, None),
        ({"note": object()}, "nothing but what JSON can"),
        ({"note": float("nan")}, "nothing but what JSON can"),
    ],
)
def test_a_bad_manifest_is_refused(tmp_path, change, text):
    options = {"dtype": change.pop("dtype")} if "dtype" in change else {}
    with pytest.raises(DataError, match=text or "dtype must be one of float16, float32"):
        write_store(tmp_path / "s", stored(), manifest={**MANIFEST, **change}, **options)
    assert nothing_left(tmp_path / "s")


@pytest.mark.parametrize("key", ["name", "extractor", "stride", "streams", "synthetic"])
def test_a_manifest_must_say_what_the_features_are(tmp_path, key):
    with pytest.raises(DataError, match=f"the key '{key}' is missing"):
        write_store(tmp_path / "s", stored(), manifest={k: v for k, v in MANIFEST.items() if k != key})


def test_an_existing_store_is_kept_unless_told_otherwise(tmp_path):
    old = toy_store(tmp_path / "s")
    with pytest.raises(DataError, match="already there"):
        toy_store(tmp_path / "s")
    new = write(tmp_path / "s", stored()[0], overwrite=True)
    assert (len(new), len(FeatureStore.open(tmp_path / "s"))) == (1, 1)
    np.testing.assert_array_equal(old.video("v2"), features(2, 12))  # an open map outlives its file
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_folder_that_is_no_store_is_never_overwritten(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match="is no feature store; it is not overwritten"):
        write(tmp_path / "home", stored()[0], overwrite=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "x"


def test_two_writers_of_the_same_store_both_succeed(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: _or_error(lambda: toy_store(tmp_path / "s")), range(4)))
    stores = [result for result in made if isinstance(result, FeatureStore)]
    assert stores
    assert all("already there" in str(result) for result in made if not isinstance(result, FeatureStore))
    assert {store.manifest_hash for store in stores} == {FeatureStore.open(tmp_path / "s").manifest_hash}
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_losing_the_race_to_an_equal_store_is_no_error(tmp_path):
    def slow():
        yield from stored()[:3]
        toy_store(tmp_path / "s")  # somebody else finishes first
        yield stored()[3]

    assert len(write_store(tmp_path / "s", slow(), manifest=MANIFEST)) == 4

    def other():
        yield from stored()[:3]

    with pytest.raises(DataError, match="already there"):
        write_store(tmp_path / "s", other(), manifest=MANIFEST)


def _or_error(action):
    try:
        return action()
    except DataError as error:
        return error


def test_a_crash_while_writing_leaves_nothing(tmp_path):
    def broken():
        yield stored()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "s", broken(), manifest=MANIFEST)
    assert nothing_left(tmp_path / "s")


def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"No space left on device.*nothing was left half-written"):
        toy_store(tmp_path / "s")
    assert nothing_left(tmp_path / "s")


def test_a_missing_store_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="import-features"):
        FeatureStore.open(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"manifest\.json: there is no such file"):
        FeatureStore.open(tmp_path / "empty")


def test_a_missing_feature_file_is_named(tmp_path):
    toy_store(tmp_path / "s")
    (tmp_path / "s" / "features.npy").unlink()
    with pytest.raises(DataError, match=r"features\.npy: is missing"):
        FeatureStore.open(tmp_path / "s")


@pytest.mark.parametrize("cut", [1, 17, 470, 1000])
def test_a_truncated_feature_file_is_refused_at_open(tmp_path, cut):
    toy_store(tmp_path / "s")
    path = tmp_path / "s" / "features.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-cut] if cut < len(content) else b"")
    with pytest.raises(DataError, match="is damaged: copy it again"):
        FeatureStore.open(tmp_path / "s")


def test_a_feature_file_with_something_behind_it_is_refused(tmp_path):
    toy_store(tmp_path / "s")
    with open(tmp_path / "s" / "features.npy", "ab") as stream:
        stream.write(b"\0" * 20)
    with pytest.raises(DataError, match="not those of its shape"):
        FeatureStore.open(tmp_path / "s")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((23, 5), np.float32),
        np.zeros((24, 4), np.float32),
        np.zeros((24, 5), np.float64),
        np.zeros((5, 24), np.float32).T,
        np.zeros(120, np.float32),
        np.array([[1.0, None]], dtype=object),
    ],
    ids=["rows", "width", "dtype", "fortran", "flat", "object"],
)
def test_array_and_index_must_agree(tmp_path, array):
    toy_store(tmp_path / "s")
    np.save(tmp_path / "s" / "features.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=r"is damaged"):
        FeatureStore.open(tmp_path / "s")


@pytest.mark.parametrize("file", ["index.json", "manifest.json"])
def test_a_changed_or_broken_index_or_manifest_is_refused(tmp_path, file):
    toy_store(tmp_path / "s")
    path = tmp_path / "s" / file
    good = path.read_text()
    path.write_text(good[:-5])
    with pytest.raises(DataError, match="damaged"):
        FeatureStore.open(tmp_path / "s")
    path.write_text(good.replace("v1", "v9") if file == "index.json" else good.replace('"rows": 24', '"rows": 25'))
    with pytest.raises(DataError, match="damaged"):
        FeatureStore.open(tmp_path / "s")


def test_an_index_that_does_not_add_up_is_refused_even_with_the_right_hash(tmp_path):
    toy_store(tmp_path / "s")
    folder = tmp_path / "s"
    index = json.loads((folder / "index.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    for column, value in (("lengths", [7, 1, 12, 5]), ("offsets", [0, 7, 8, 19]), ("ids", ["v0", "v0", "v2", "v3"]),
                          ("fps", [25.0])):  # fmt: skip
        content = json.dumps({**index, column: value})
        (folder / "index.json").write_text(content)
        digest = hashlib.sha256(content.encode()).hexdigest()
        (folder / "manifest.json").write_text(json.dumps({**manifest, "index_sha256": digest}))
        with pytest.raises(DataError, match="damaged"):
            FeatureStore.open(folder)


def test_a_store_of_a_later_format_is_refused(tmp_path):
    toy_store(tmp_path / "s")
    path = tmp_path / "s" / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 3'))
    with pytest.raises(DataError, match="has store format 3, this version reads 1 and 2"):
        FeatureStore.open(tmp_path / "s")


def test_verify_finds_a_flipped_bit_and_a_nan(tmp_path):
    toy_store(tmp_path / "s")
    array = np.load(tmp_path / "s" / "features.npy", mmap_mode="r+")
    array[7 + 1 + 3, 2] += 1e-3
    array.flush()
    store = FeatureStore.open(tmp_path / "s")
    with pytest.raises(DataError, match="1 damaged videos: video 'v2': its features differ from the checksum"):
        store.verify()
    store.verify(rows=[0, 1, 3])


def test_a_pickled_store_reopens_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = toy_store(tmp_path.__class__("s"))
    content = pickle.dumps(store)
    assert len(content) < 500
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(pickle.loads(content).video("v2"), features(2, 12))
