"""Importers: other people's feature files become a store, and bad or hostile files are refused by name."""

from __future__ import annotations

import argparse
import io
import os
import pickle

import numpy as np
import pytest

from tests.data.stores import LENGTHS, features, toy_annotations
from wtal_bench.commands import import_features as command
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.importers.features import import_features
from wtal_bench.data.importers.files import Options, feature_files
from wtal_bench.data.importers.wtalc import load_object_array, wtalc_release
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import ConfigError, DataError, WtalError
from wtal_bench.files import write_json

SETTINGS = {"name": "toy", "extractor": "none", "fps": 25.0, "stride": 16}


def npy_folder(folder, **changes):
    """Write v0.npy .. v3.npy; `changes` replaces some arrays by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for row, length in enumerate(LENGTHS):
        np.save(folder / f"v{row}.npy", changes.get(f"v{row}", features(row, length)))
    return folder


def source_of(folders, **options):
    return feature_files([str(folder) for folder in folders], Options(**options))


def run(*arguments) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args(list(map(str, arguments))))


def test_a_folder_of_npy_files_becomes_a_store(tmp_path):
    npy_folder(tmp_path / "in" / "train")
    result = import_features(source_of([tmp_path / "in"]), tmp_path / "s", **SETTINGS, annotations=toy_annotations())
    store = FeatureStore.open(tmp_path / "s")
    assert store.ids == ("v0", "v1", "v2", "v3")
    assert store.streams == {"features": (0, 5)}
    assert not store.synthetic
    for row, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(store.video(row), features(row, length))
        assert store.meta(row).duration == pytest.approx(length * 0.64)
    assert (result.left_out, result.missing) == ((), ())


def test_one_folder_a_stream_joins_columns_and_names_streams(tmp_path):
    for name, part in (("rgb", slice(0, 3)), ("flow", slice(3, 5))):
        npy_folder(tmp_path / name, **{f"v{row}": features(row, n)[:, part] for row, n in enumerate(LENGTHS)})
    source = source_of([tmp_path / "rgb", tmp_path / "flow"])
    store = import_features(source, tmp_path / "s", **SETTINGS).store
    assert store.streams == {"rgb": (0, 3), "flow": (3, 5)}
    np.testing.assert_array_equal(store.video("v2"), features(2, 12))


def test_streams_must_hold_the_same_videos_and_snippets(tmp_path):
    npy_folder(tmp_path / "rgb")
    npy_folder(tmp_path / "flow", v2=features(2, 9))
    with pytest.raises(DataError, match=r"video 'v2' \(.*rgb/v2.npy \+ .*\): its streams have 12, 9 snippets"):
        import_features(source_of([tmp_path / "rgb", tmp_path / "flow"]), tmp_path / "s", **SETTINGS)
    assert not (tmp_path / "s").exists()
    (tmp_path / "flow" / "v3.npy").unlink()
    with pytest.raises(DataError, match="1 of 4 videos lack a stream, 'v3' has no flow"):
        source_of([tmp_path / "rgb", tmp_path / "flow"])


def test_npz_archives_join_their_arrays(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for row, length in enumerate(LENGTHS):
        whole = features(row, length)
        np.savez(folder / f"v{row}.npz", feat_spa=whole[:, :3], feat_tem=whole[:, 3:], label=np.zeros(3))
    store = import_features(source_of([folder]), tmp_path / "s", **SETTINGS).store
    assert store.streams == {"feat_spa": (0, 3), "feat_tem": (3, 5)}
    np.testing.assert_array_equal(store.video("v0"), features(0, 7))
    with pytest.raises(DataError, match=r"has no array 'feat_spat', it holds feat_spa.*Did you mean 'feat_spa'"):
        source_of([folder], keys=("feat_spat",)).read(0)
    (folder / "v0.npz").write_bytes(b"PK not really")
    with pytest.raises(DataError, match=r"v0\.npz: is a damaged archive"):
        source_of([folder]).read(0)


def test_transposed_files_and_prefixes(tmp_path):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "v_v0.npy", features(0, 7).T)
    source = source_of([tmp_path / "in"], transposed=True, strip_prefix="v_")
    assert source.ids == ("v0",)
    store = import_features(source, tmp_path / "s", **SETTINGS).store
    np.testing.assert_array_equal(store.video("v0"), features(0, 7))


def test_annotations_choose_the_videos_and_give_durations(tmp_path):
    npy_folder(tmp_path / "in")
    annotations = toy_annotations(lengths=(7, 1, 12))
    value = {"version": "x", "classes": ["A"], "videos": {
        "v0": {"subset": "train", "duration": 4.4, "fps": 30.0, "labels": ["A"]},
        "w": {"subset": "train", "duration": 3.0, "fps": 30.0, "labels": ["A"]},
    }}  # fmt: skip
    source = source_of([tmp_path / "in"])
    assert import_features(source, tmp_path / "a", **SETTINGS, annotations=annotations).left_out == ("v3",)
    own = import_features(source, tmp_path / "b", **{**SETTINGS, "fps": None}, annotations=Annotations.from_dict(value))
    assert (own.left_out, own.missing) == (("v1", "v2", "v3"), ("w",))
    assert (own.store.meta("v0").duration, own.store.meta("v0").fps) == (4.4, 30.0)
    with pytest.raises(DataError, match="the annotations give no fps"):
        import_features(source, tmp_path / "c", **{**SETTINGS, "fps": None}, annotations=annotations)


def test_no_common_video_shows_both_kinds_of_names(tmp_path):
    npy_folder(tmp_path / "in")
    videos = {"x_v0": {"subset": "train", "duration": 3.0, "labels": ["A"]}}
    annotations = Annotations.from_dict({"version": "x", "classes": ["A"], "videos": videos})
    with pytest.raises(DataError, match="none of the 4 videos is annotated: features are named like 'v0'"):
        import_features(source_of([tmp_path / "in"]), tmp_path / "s", **SETTINGS, annotations=annotations)


def test_resized_features_need_annotations(tmp_path):
    npy_folder(tmp_path / "in")
    source, settings = source_of([tmp_path / "in"]), {**SETTINGS, "stride": None}
    with pytest.raises(ConfigError, match="say nothing of time"):
        import_features(source, tmp_path / "s", **settings)
    store = import_features(source, tmp_path / "s", **settings, annotations=toy_annotations()).store
    assert store.meta("v2").snippet_seconds == pytest.approx(0.64)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.ones((4, 6), np.float32), "has 6 columns, the other 3 have 5"),
        (np.full((4, 5), np.nan, np.float32), r"feature \[0, 0\] is nan"),
        (np.ones((0, 5), np.float32), "has no snippet"),
        (np.ones((3, 4, 5), np.float32), r"shape \(3, 4, 5\); needed is \[T,D\]"),
        (np.array([[1.0, None]], dtype=object), "array of Python objects"),
        (None, "it is truncated"),
    ],
    ids=["width", "nan", "empty", "three axes", "objects", "truncated"],
)
def test_bad_files_are_named_and_leave_no_store(tmp_path, array, text):
    npy_folder(tmp_path / "in", **({} if array is None else {"v2": array}))
    bad = tmp_path / "in" / "v2.npy"
    if array is None:
        bad.write_bytes(bad.read_bytes()[:-7])
    with pytest.raises(DataError, match=text) as error:
        import_features(source_of([tmp_path / "in"]), tmp_path / "s", **SETTINGS)
    assert str(bad) in str(error.value)
    assert not (tmp_path / "s").exists()


def test_folders_without_files_or_with_one_video_twice_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no such file or folder"):
        source_of([tmp_path / "none"])
    with pytest.raises(DataError, match="holds no feature file"):
        source_of([tmp_path])
    npy_folder(tmp_path / "in" / "a")
    npy_folder(tmp_path / "in" / "b")
    with pytest.raises(DataError, match="video 'v0' is found twice"):
        source_of([tmp_path / "in"])


def release(tmp_path, arrays=None, names=None):
    """Write a W-TALC release with pickled object arrays."""
    folder = tmp_path / "Toy-Annotations"
    folder.mkdir()
    arrays = [features(row, length) for row, length in enumerate(LENGTHS)] if arrays is None else arrays
    column = np.empty(len(arrays), dtype=object)
    column[:] = arrays
    np.save(tmp_path / "Toy-I3D.npy", column, allow_pickle=True)
    np.save(folder / "videoname.npy", np.array(names or [f"v{row}".encode() for row in range(len(arrays))]))
    np.save(folder / "duration.npy", np.array([[length * 0.64] for length in LENGTHS[: len(arrays)]]))
    return tmp_path / "Toy-I3D.npy", folder


def test_a_wtalc_release_becomes_a_store(tmp_path):
    source = wtalc_release(*release(tmp_path))
    store = import_features(source, tmp_path / "s", **SETTINGS, streams={"rgb": 3, "flow": 2}).store
    assert store.ids == ("v0", "v1", "v2", "v3")
    assert store.streams == {"rgb": (0, 3), "flow": (3, 5)}
    for row, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(store.video(row), features(row, length))
        assert store.meta(row).duration == pytest.approx(length * 0.64)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["<f4", ">f8", "<f2", "<i8"])
def test_arrays_of_every_pickle_protocol_and_byte_order_are_read(protocol, kind):
    column = np.empty(3, dtype=object)
    column[:] = [features(row, 4).astype(kind) for row in range(3)]
    column[1] = np.asfortranarray(column[1])
    column[2] = "a name"
    read = load_object_array(io.BytesIO(pickle.dumps(column, protocol=protocol)))
    for row in range(2):
        np.testing.assert_array_equal(read[row], column[row])
        assert read[row].dtype == np.dtype(kind)
    assert read[2] == "a name"


def test_numpy_scalars_and_texts_inside_object_arrays_are_read():
    column = np.empty(3, dtype=object)
    column[:] = [np.float64(2.5), np.array([b"x", b"yz"]), ["Diving", "Throw"]]
    read = load_object_array(io.BytesIO(pickle.dumps(column, protocol=2)))
    assert read[0] == 2.5
    assert read[1].tolist() == [b"x", b"yz"]
    assert read[2] == ["Diving", "Throw"]


class Runs:
    """Pickles to a call of any function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.mkdir, ("MARK",)),
        (eval, ("__import__('os').mkdir('MARK')",)),
        (getattr, ("text", "upper")),
        (np.load, ("MARK",)),
        (np.lib.format.open_memmap, ("MARK", "w+", "f4", None, (1,))),
        (__import__, ("antigravity",)),
    ],
    ids=["mkdir", "eval", "getattr", "np.load", "open_memmap", "import"],
)
def test_a_crafted_pickle_is_refused_and_does_not_run(tmp_path, monkeypatch, function, arguments):
    monkeypatch.chdir(tmp_path)
    paths = release(tmp_path, arrays=[features(0, 3), Runs(function, *arguments)])
    with pytest.raises(DataError, match="is no part of an array of features") as error:
        wtalc_release(*paths)
    assert str(paths[0]) in str(error.value)
    assert not (tmp_path / "MARK").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.",  # a type, no array
        b"(dS'__class__'\nI1\ns.",  # a dict
        b"cnumpy\ndtype\n(dS'code'\nI1\nsb.",  # changes a stand-in
        b"c_codecs\nencode\n(V..\nVrot13\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR.",  # an array without content
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I9\ntcnumpy\ndtype\n(S'f8'\ntRI00\nS'x'\ntb.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I1\ntcnumpy\ndtype\n(S'V8'\ntRI00\nS'xxxxxxxx'\ntb.",
        b"Pexternal\n.",
        b"",
        b"\x80\x04junk",
    ],
)
def test_odd_pickles_are_refused_without_a_traceback(content):
    with pytest.raises(DataError):
        load_object_array(io.BytesIO(content))


def test_a_release_whose_files_disagree_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds 4 videos, .* names 3"):
        wtalc_release(*release(tmp_path, names=[b"a", b"b", b"c"]))


def test_a_release_entry_that_is_no_matrix_is_named(tmp_path):
    source = wtalc_release(*release(tmp_path, arrays=[features(0, 3), np.ones(4)]))
    with pytest.raises(DataError, match=r"entry 1 \(video 'v1'\) is no \[T,D\] array"):
        import_features(source, tmp_path / "s", **SETTINGS)


def test_the_command_imports_and_says_what_is_next(tmp_path, capsys):
    npy_folder(tmp_path / "in")
    write_json(tmp_path / "a.json", {"version": "x", "classes": ["A"], "videos": {
        name: {"subset": "train", "duration": 4.5, "labels": ["A"]} for name in ("v0", "v9")
    }})  # fmt: skip
    code = run(
        tmp_path / "in", "--out", tmp_path / "s", "--annotations", tmp_path / "a.json", "--extractor", "mine",
        "--fps", 25, "--stride", 16, "--streams", "rgb=3", "flow=2", "--dtype", "float16",
    )  # fmt: skip
    assert code == 0
    printed = capsys.readouterr()
    assert "1 videos, 7 snippets, manifest hash" in printed.out
    assert "next: wtal-bench check-data" in printed.out
    assert "3 left out, as the annotations do not name them: v1, v2, v3" in printed.err
    assert "1 annotated videos without features: v9" in printed.err
    store = FeatureStore.open(tmp_path / "s")
    assert (store.name, store.manifest["dtype"], store.manifest["extractor"]) == ("s", "float16", "mine")
    assert store.streams == {"rgb": (0, 3), "flow": (3, 5)}


def test_the_command_reads_a_wtalc_release(tmp_path):
    paths = release(tmp_path)
    common = ("--out", tmp_path / "s", "--extractor", "mine", "--fps", 25, "--stride", 16, "--format", "wtalc")
    assert run(*paths, *common) == 0
    assert len(FeatureStore.open(tmp_path / "s")) == 4
    with pytest.raises(ConfigError, match="reads 2 sources"):
        run(paths[0], *common)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--fps", "x", "--stride", "16"), "--fps must be a number above 0, got 'x'"),
        (("--fps", "25", "--stride", "1.5"), "--stride must be a whole number above 0"),
        (("--fps", "-1", "--stride", "16"), "--fps must be a number above 0"),
        (("--fps", "25", "--stride", "16", "--streams", "rgb"), "--streams rgb must be a whole number"),
        (("--fps", "25", "--stride", "16", "--streams", "rgb=3"), "add up to 3"),
        (("--fps", "video", "--stride", "16"), "--fps"),
    ],
)
def test_wrong_options_are_explained(tmp_path, options, text):
    npy_folder(tmp_path / "in")
    with pytest.raises(WtalError, match=text):
        run(tmp_path / "in", "--out", tmp_path / "s", "--extractor", "mine", *options)
    assert not (tmp_path / "s").exists()
