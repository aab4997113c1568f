"""Feature files as extractors leave them are recognised, said, and read to the very numbers a plain loop reads."""

from __future__ import annotations

import numpy as np
import pytest

from wtal_bench.cli import main
from wtal_bench.data.importers.features import import_features
from wtal_bench.data.importers.files import Options, feature_files
from wtal_bench.data.importers.shapes import looks_transposed
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import ConfigError, DataError

SETTINGS = dict(name="n", extractor="x", fps=25.0, stride=16)
IDS = tuple(f"clip_{at:02}" for at in range(6))


def rows(video: str, stream: str = "rgb", columns: int = 4, less: int = 0) -> np.ndarray:
    """[T,D] float32 that tells video and stream."""
    at = IDS.index(video)
    base = np.arange((7 + at - less) * columns, dtype=np.float32).reshape(-1, columns)
    return base + 1000 * at + (0 if stream == "rgb" else 0.5)


def both(video: str) -> np.ndarray:
    return np.concatenate([rows(video), rows(video, "flow")], axis=1)


def read(*sources, known=(), **options):
    source = feature_files([str(path) for path in sources], Options(**options), known)
    videos = {video: source.read(at) for at, video in enumerate(source.ids)}
    return source, {video: np.concatenate(raw.parts, axis=1) for video, raw in videos.items()}


def check(found, expected=both):
    assert tuple(found) == IDS
    for video in IDS:
        np.testing.assert_array_equal(found[video], expected(video))


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


@pytest.mark.parametrize(
    "name",
    [
        "{id}_{stream}.npy",
        "{id}-{stream}.npy",
        "{stream}_{id}.npy",
        "{stream}/{id}.npy",
        "deep/{stream}/more/{id}.npy",
    ],
)
def test_streams_are_recognised_by_names_and_folders(tmp_path, name):
    for video in IDS:
        for stream in ("flow", "rgb"):
            write(tmp_path / name.format(id=video, stream=stream), rows(video, stream))
    source, found = read(tmp_path)
    assert source.streams == ("rgb", "flow"), "in this order, whatever the files' order"
    assert source.notes[0].startswith("recognised 6 videos x 2 streams (rgb, flow)")
    check(found)


def test_parts_of_a_set_are_no_streams(tmp_path):
    for at, video in enumerate(IDS):
        for stream in ("rgb", "flow"):
            write(tmp_path / ("train" if at < 3 else "test") / stream / f"{video}.npy", rows(video, stream))
    check(read(tmp_path)[1])
    one = tmp_path / "one"
    for at, video in enumerate(IDS):
        write(one / ("train" if at < 3 else "test") / f"{video}.npy", rows(video))
    source, found = read(one / "train", one / "test")
    assert source.streams == ("features",)
    check(found, rows)


def test_numbers_at_the_end_of_names_are_no_streams(tmp_path):
    for video in IDS:
        write(tmp_path / f"{video}.npy", rows(video))
    source, found = read(tmp_path)
    assert source.notes == ("recognised 6 videos: a file a video",)
    check(found, rows)


def test_both_readings_are_told_and_the_annotations_choose(tmp_path):
    for video in IDS:
        for stream in ("rgb", "flow"):
            write(tmp_path / f"{video}_{stream}.npy", rows(video, stream))
    source, _ = read(tmp_path)
    assert source.notes[1] == "it could also be 12 videos: --pattern '{id}.npy'"
    source, found = read(tmp_path, known=[f"{video}_{stream}" for video in IDS for stream in ("rgb", "flow")])
    assert len(source.ids) == 12
    np.testing.assert_array_equal(found["clip_03_flow"], rows("clip_03", "flow"))
    _, found = read(tmp_path, pattern="{id}_{stream}.npy")
    check(found)
    _, found = read(tmp_path, pattern="{id}_rgb.npy")
    check(found, rows)


def test_a_lost_file_is_named_instead_of_hiding_the_pattern(tmp_path):
    for at in range(30):
        for stream in ("rgb", "flow"):
            write(tmp_path / f"v{at}_{stream}.npy", np.ones((3, 2), np.float32))
    (tmp_path / "v7_flow.npy").unlink()
    with pytest.raises(DataError, match="1 of 30 videos lack a stream, 'v7' has no flow"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["{}_{}.npy", "{}-{}.npy", "{1}_{0}.npy", "{1}/{0}.npy"])
def test_one_lost_file_of_few_does_not_turn_streams_into_videos(tmp_path, name):
    for video in IDS[:4]:
        for stream in ("rgb", "flow"):
            write(tmp_path / name.format(video, stream), rows(video, stream))
    (tmp_path / name.format("clip_03", "flow")).unlink()
    with pytest.raises(
        DataError, match=r"1 of 4 videos lack a stream, 'clip_03' has no flow.*say --pattern '\{id\}.npy'"
    ):
        read(tmp_path)
    if "/" not in name:  # then every file has a name of its own
        assert len(read(tmp_path, pattern="{id}.npy")[0].ids) == 7
        whole = [path.stem for path in tmp_path.glob("*.npy")]
        assert set(read(tmp_path, known=whole)[0].ids) == set(whole), "the annotations know better"


def test_a_file_without_a_stream_among_pairs_is_named(tmp_path):
    for video in IDS[:4]:
        for stream in ("rgb", "flow"):
            write(tmp_path / f"{video}_{stream}.npy", rows(video, stream))
    write(tmp_path / "clip05.npy", rows("clip_05"))
    with pytest.raises(
        DataError, match=r"clip05\.npy: its name has no stream, and those of 8 of 9 files do \(flow, rgb\)"
    ):
        read(tmp_path)


def test_one_file_of_another_width_does_not_turn_the_others(tmp_path):
    for at in range(8):
        write(tmp_path / f"v{at}.npy", np.ones((63, 1024 if at == 2 else 1280), np.float32))
    with pytest.raises(DataError, match=r"v2\.npy has 1024 columns, the other 7 have 1280"):
        read(tmp_path)
    known = [f"v{at}" for at in range(8) if at != 2]
    source, _ = read(tmp_path, known=known)
    assert not any("turned" in note for note in source.notes), "a file nobody wants spoils nothing"
    for at in range(8):
        write(tmp_path / f"v{at}.npy", np.ones((1024 if at == 2 else 1280, 63), np.float32))
    with pytest.raises(DataError, match=r"v2\.npy has 1024 columns, the other 7 have 1280"):
        read(tmp_path)
    for at in range(8):
        write(tmp_path / f"v{at}.npy", np.ones((63, 90 if at == 2 else 100), np.float32))
    with pytest.raises(DataError, match=r"v2\.npy has 90 columns, the other 7 have 100.*say --transposed"):
        read(tmp_path)


def test_arrays_that_may_lie_the_other_way_are_told(tmp_path):
    for at in range(3):
        write(tmp_path / f"v{at}.npy", np.ones((1280, 63), np.float32))
    said = "taken for 1280 snippets of 63 columns; if it is the other way round, say --transposed"
    assert any(said in note for note in read(tmp_path)[0].notes)
    assert not any(said in note for note in read(tmp_path, transposed=True)[0].notes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: a[None], ""),
        (lambda a: a[:, :, None, None, None], ""),
        (lambda a: a.T, "arrays are [D,T]"),
        (lambda a: np.stack([a] * 10), "several crops: their mean is taken"),
        (lambda a: np.stack([a] * 10, axis=1), "several crops: their mean is taken"),
    ],
    ids=["leading 1", "trailing 1s", "transposed", "ten crops", "crops second"],
)
def test_arrays_are_turned_to_snippets_by_columns(tmp_path, change, told):
    for video in IDS:
        write(tmp_path / f"{video}.npy", change(rows(video)))
    source, found = read(tmp_path)
    check(found, rows)
    assert any(told in note for note in source.notes)


def test_a_crop_is_taken_by_number_and_half_precision_stays(tmp_path):
    for video in IDS:
        crops = np.stack([rows(video) / 4096 + k for k in range(10)]).astype(np.float16)
        write(tmp_path / f"{video}.npy", crops)
    _, found = read(tmp_path, crop=3)
    np.testing.assert_array_equal(found["clip_01"], (rows("clip_01") / 4096 + 3).astype(np.float16))
    assert found["clip_01"].dtype == np.float16
    with pytest.raises(DataError, match="has 10 crops, --crop 10 is none of them"):
        read(tmp_path, crop=10)
    with pytest.raises(ConfigError, match="--crop must be 'mean' or the number"):
        read(tmp_path, crop="middle")


def test_how_arrays_lie_is_told_only_where_it_can_be():
    assert looks_transposed([(9, 4), (7, 4)]) is False
    assert looks_transposed([(4, 9), (4, 7)]) is True
    assert looks_transposed([(4, 9)]) is None
    assert looks_transposed([(4, 9), (4, 9)]) is None
    assert looks_transposed([(1024, 63), (1024, 63), (1024, 70)]) is True
    assert looks_transposed([(63, 1280)] * 7 + [(63, 1024)]) is False
    assert looks_transposed([(63, 1280)] * 4 + [(63, 1024)] * 4) is False
    assert looks_transposed([(1280, 63)] * 7 + [(1024, 63)]) is True


def test_integers_are_refused_by_name(tmp_path):
    write(tmp_path / "clip_00.npy", np.ones((7, 4), np.int64))
    with pytest.raises(DataError, match=r"clip_00\.npy: holds int64 numbers, features are floats"):
        read(tmp_path)


def save_h5(folder, one):
    h5py = pytest.importorskip("h5py")
    if one:
        with h5py.File(folder / "all.h5", "w") as file:
            for video in IDS:
                file[f"{video}/rgb"], file[f"{video}/flow"] = rows(video), rows(video, "flow")
        return [folder / "all.h5"]
    for video in IDS:
        with h5py.File(folder / f"{video}.h5", "w") as file:
            file["features"] = both(video)
    return [folder]


def save_pt(folder, one):
    import torch

    if one:
        torch.save({video: torch.from_numpy(both(video)) for video in IDS}, folder / "all.pt")
        return [folder / "all.pt"]
    for video in IDS:
        torch.save(
            {"rgb": torch.from_numpy(rows(video)), "flow": torch.from_numpy(rows(video, "flow"))},
            folder / f"{video}.pt",
        )
    return [folder]


def save_npz(folder, one):
    if one:
        np.savez(folder / "all.npz", **{video: both(video) for video in IDS})
        return [folder / "all.npz"]
    for video in IDS:
        np.savez(folder / f"{video}.npz", flow_features=rows(video, "flow"), rgb_features=rows(video), fps=np.array(25))
    return [folder]


def save_csv(folder, one):
    for video in IDS:
        names = ",".join(f"f{k}" for k in range(8))
        np.savetxt(folder / f"{video}.csv", both(video), delimiter=",", header=names, comments="")
    return [folder]


def save_mat(folder, one):
    from scipy.io import savemat

    for video in IDS:
        savemat(folder / f"{video}.mat", {"rgb": rows(video), "flow": rows(video, "flow"), "label": np.ones(3)})
    return [folder]


@pytest.mark.parametrize("one", [False, True], ids=["a file a video", "one file"])
@pytest.mark.parametrize("save", [save_npz, save_h5, save_pt, save_csv, save_mat])
def test_every_kind_of_file_gives_the_same_numbers(tmp_path, save, one):
    _, found = read(*save(tmp_path, one))
    assert set(found) == set(IDS)
    for video in IDS:
        np.testing.assert_array_equal(found[video].astype(np.float32), both(video))


def test_streams_a_snippet_apart_are_cut_and_counted_and_no_more(tmp_path, capsys):
    for video in IDS:
        write(tmp_path / "in" / f"{video}_rgb.npy", rows(video))
        write(tmp_path / "in" / f"{video}_flow.npy", rows(video, "flow", less=int(video in IDS[:2])))
    source = feature_files([str(tmp_path / "in")], Options())
    result = import_features(source, tmp_path / "s", **SETTINGS)
    assert result.cut == IDS[:2]
    np.testing.assert_array_equal(result.store.video("clip_00"), both("clip_00")[:-1])
    write(tmp_path / "in" / "clip_05_flow.npy", rows("clip_05", "flow", less=3))
    with pytest.raises(DataError, match=r"its streams have 12, 9 snippets; up to 2 more are cut"):
        import_features(source, tmp_path / "s2", **SETTINGS)


def test_the_command_says_what_it_recognised(tmp_path, capsys):
    for video in IDS:
        for stream in ("rgb", "flow"):
            write(tmp_path / "in" / f"{video}_{stream}.npy", rows(video, stream))
    given = ["--out", str(tmp_path / "s"), "--extractor", "x", "--fps", "25", "--stride", "16"]
    assert main(["import-features", str(tmp_path / "in"), *given]) == 0
    assert "recognised 6 videos x 2 streams (rgb, flow)" in capsys.readouterr().err
    assert FeatureStore.open(tmp_path / "s").streams == {"rgb": (0, 4), "flow": (4, 8)}
    assert main(["import-features", str(tmp_path / "in"), *given, "--overwrite", "--pattern", "{stream}.npy"]) == 2
    assert "must hold {id} once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: (f / "a.npz").write_bytes(b"PK"), "damaged archive"),
        (lambda f: (f / "a.pt").write_bytes(b"nothing"), "holds no plain tensors"),
        (lambda f: (f / "a.csv").write_text("a,b\nx,y\n"), "no table of numbers"),
        (lambda f: (f / "a.mat").write_bytes(b"x" * 200), "no MATLAB file"),
        (lambda f: (f / "a.txt").write_text("x"), r"holds no feature file .*it holds \.txt"),
        (
            lambda f: np.savez(f / "a.npz", x=np.ones((3, 4)), y=np.ones((3, 5))),
            "several arrays, x .*name those to join",
        ),
    ],
)
def test_files_that_cannot_be_read_are_sentences(tmp_path, make, said):
    make(tmp_path)
    with pytest.raises(DataError, match=said):
        read(tmp_path)


def test_kinds_are_not_mixed_in_silence(tmp_path):
    write(tmp_path / "a.npy", rows("clip_00"))
    np.savez(tmp_path / "b.npz", rows("clip_01"))
    with pytest.raises(DataError, match=r"several kinds, \.npy, \.npz"):
        read(tmp_path)
    assert read(tmp_path, pattern="{id}.npy")[0].ids == ("a",)


def test_a_large_import_is_sharded_by_processes_and_equal_to_one_file(tmp_path, capsys):
    for video in IDS:
        for stream in ("rgb", "flow"):
            write(
                tmp_path / "in" / f"{video}_{stream}.npy",
                rows(video, stream, less=int((video, stream) == (IDS[2], "flow"))),
            )
    given = [
        "import-features",
        str(tmp_path / "in"),
        "--extractor",
        "x",
        "--fps",
        "25",
        "--stride",
        "16",
        "--name",
        "n",
    ]
    assert main([*given, "--out", str(tmp_path / "one")]) == 0
    one = capsys.readouterr()
    source = feature_files([str(tmp_path / "in")], Options())
    result = import_features(source, tmp_path / "s", **{**SETTINGS, "name": "n"}, shard_size=600, jobs=2)
    assert len(result.store.shards) >= 3
    assert result.cut == (IDS[2],)
    assert "cut to the shorter: clip_02" in one.err
    for video in IDS:
        np.testing.assert_array_equal(result.store.video(video), FeatureStore.open(tmp_path / "one").video(video))
    assert main([*given, "--out", str(tmp_path / "c"), "--shard-size", "0.001", "--jobs", "2"]) == 0
    assert FeatureStore.open(tmp_path / "c").manifest["format"] == 2


def rated(tmp_path, rows_of_table: str, *options: str) -> int:
    """Import six videos of one stream with a table of rates."""
    for video in IDS:
        write(tmp_path / "in" / f"{video}.npy", rows(video))
    (tmp_path / "rates.csv").write_text(rows_of_table)
    words = ["import-features", str(tmp_path / "in"), "--out", str(tmp_path / "s"), "--extractor", "x", "--overwrite"]
    return main([*words, "--rates", str(tmp_path / "rates.csv"), *options])


@pytest.mark.parametrize("options", [(), ("--shard-size", "0.001")], ids=["one file", "shards"])
def test_videos_have_a_rate_and_a_stride_of_their_own(tmp_path, capsys, options):
    table = f"video;fps;stride\n{IDS[0]};29,97;8\n{IDS[1]};;4\n{IDS[2]}.mp4;50;\n"
    assert rated(tmp_path, table, "--fps", "25", "--stride", "16", *options) == 0
    store = FeatureStore.open(tmp_path / "s")
    assert store.manifest["stride"] is store.manifest["fps"] is None
    known = [(store.meta(video).fps, store.meta(video).stride) for video in IDS]
    assert known == [(29.97, 8), (25.0, 4), (50.0, 16), *[(25.0, 16)] * 3]
    meta = store.meta(IDS[0])
    assert meta.duration == pytest.approx(meta.num_snippets * 8 / 29.97)
    assert main(["check-data", str(tmp_path / "s")]) == 0
    assert "a stride a video, 4 to 16 frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        ("video,fps\nclip_00,25\n", ("--fps", "25", "--stride", "video"), "give each video its own with --rates"),
        ("video,stride\nclip_00,8\n", ("--fps", "25", "--stride", "video"), "has no stride of its own"),
        ("video,stride\nclip_00,0.5\n", ("--fps", "25", "--stride", "16"), "line 2: `stride` must be a whole number"),
        ("video,fps\nclip_00,0\n", ("--fps", "25", "--stride", "16"), "line 2: `fps` must be above 0"),
        ("video,fps\nclip_00,9\nclip_00,9\n", ("--fps", "25", "--stride", "16"), "line 3: video 'clip_00' has a row"),
        ("video,subset\nclip_00,x\n", ("--fps", "25", "--stride", "16"), "neither a column 'fps' nor a column"),
    ],
)
def test_wrong_rates_are_named(tmp_path, capsys, table, options, said):
    assert rated(tmp_path, table, *options) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
