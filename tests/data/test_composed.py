"""Composed videos show what their annotations say, keep scenes of test out of training, and never pass for others."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import shared_file
from wtal_bench.cli import main
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.check import check_data
from wtal_bench.data.composed.build import annotations_dict, compose
from wtal_bench.data.composed.clips import ClipLibrary, ClipSet, split_groups
from wtal_bench.data.composed.recipe import Recipe, class_list, timing_for
from wtal_bench.data.composed.scenes import Cut, film
from wtal_bench.data.composed.timeline import TimeLine
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import DataError, WtalError
from wtal_bench.protocols import composed_protocol, get_protocol

ACTIONS, BACKGROUNDS = ("dive", "jump", "throw"), ("stand", "walk")
GROUPS = 6


def clip_folder(folder: Path, *, subset: bool = True, per_clip: bool = False) -> Path:
    """Clips whose columns say what they are: one a class, then one a (class, group), then a moment's number."""
    folder.mkdir()
    names = [*ACTIONS, *BACKGROUNDS]
    rows, clips = ["clip,class,group,subset" if subset else "clip,class,group"], []
    for c, label in enumerate(names):
        for group in range(GROUPS):
            for take in range(2):
                part = np.zeros((8, len(names) * (1 + GROUPS) + 1), dtype=np.float32)
                part[:, c] = 1
                part[:, len(names) + c * GROUPS + group] = 1
                part[:, -1] = np.arange(8)
                split = "test" if group < 2 else "train"
                rows.append(f"{label}_{group}_{take},{label},{group}" + (f",{split}" if subset else ""))
                clips.append(part)
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    if per_clip:
        for stream in ("rgb", "flow"):
            (folder / stream).mkdir()
            for row, part in zip(rows[1:], clips):
                np.save(folder / stream / f"{row.split(',')[0]}.npy", part)
    else:
        np.save(folder / "rgb.npy", np.stack(clips))
        np.save(folder / "flow.npy", np.stack(clips))
    return folder


@pytest.fixture
def clips(tmp_path) -> Path:
    return clip_folder(tmp_path / "clips")


def recipe(**changes) -> Recipe:
    rows, backgrounds = class_list([*ACTIONS, *BACKGROUNDS], None, BACKGROUNDS)
    plain = Recipe(
        name="mine",
        actions=tuple(rows),
        backgrounds=backgrounds,
        timing=timing_for("thumos14", rows),
        videos=(6, 3, 6),
        max_snippets=120,
    )
    return replace(plain, **changes)


def made(clips: Path, folder: Path, **changes) -> tuple[FeatureStore, Annotations]:
    compose(ClipSet(clips), recipe(**changes), folder)
    return FeatureStore.open(folder / "features"), Annotations.load(folder / "annotations.json")


RAW = Cut(same_scene=0.0, standardize=False, fade_seconds=0.01)


def test_an_action_is_seen_exactly_where_it_is_annotated(clips, tmp_path):
    store, notes = made(clips, tmp_path / "data", cut=RAW)
    assert check_data(store, notes).errors == []
    for name, video in notes.videos.items():
        features, meta = store.video(name).astype(np.float64), store.meta(name)
        now = (np.arange(4 * meta.num_snippets) + 0.5) * meta.snippet_seconds / 4
        shown = np.full(len(now), -1)
        for segment in video.segments:
            shown[(now >= segment.start) & (now < segment.end)] = segment.label
        truth = np.stack([(shown == label).reshape(-1, 4).mean(axis=1) for label in range(3)], axis=1)
        np.testing.assert_allclose(features[:, :3], truth, atol=0.26)  # the first and last moment are still fading
        inside = truth.max(axis=1) == 1
        np.testing.assert_allclose(features[inside][:, 3:5], 0, atol=0.26)


def test_no_scene_of_one_subset_is_seen_in_another(clips, tmp_path):
    store, notes = made(clips, tmp_path / "data", cut=replace(RAW, same_scene=0.5), videos=(30, 30, 30))
    seen = {
        subset: np.max([store.video(name)[:, 5:-1].max(axis=0) for name in notes.subset(subset)], axis=0)[:30] > 0.01
        for subset in ("train", "val", "test")
    }
    assert not (seen["train"] & seen["test"]).any()
    assert not (seen["train"] & seen["val"]).any()
    assert not (seen["val"] & seen["test"]).any()
    np.testing.assert_array_equal(seen["test"], np.tile([True, True, False, False, False, False], 5))
    np.testing.assert_array_equal(seen["val"], np.tile([False] * 5 + [True], 5))


def test_the_same_recipe_gives_the_same_bits_and_another_seed_others(clips, tmp_path):
    def content(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    for name, changes in (("a", {}), ("b", {}), ("c", {"seed": 1})):
        made(clips, tmp_path / name, **changes)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert content(tmp_path / "a")["annotations.json"] != content(tmp_path / "c")["annotations.json"]


def verb(clips: Path, *arguments: str) -> int:
    """`wtal-bench compose` of a few short videos into `data`, without probes."""
    small = ["--videos", "2", "1", "2", "--background", *BACKGROUNDS, "--out", "data", "--step", "0.3"]
    return main(["compose", str(clips), *small, "--no-probes", *arguments])


def test_a_complete_folder_is_used_as_it_is_and_a_damaged_one_made_again(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert verb(clips) == 0
    features = Path("data/features/features.npy")
    made, content = features.stat().st_ino, features.read_bytes()
    assert verb(clips) == 0
    assert features.stat().st_ino == made
    features.write_bytes(content[:-1])
    assert verb(clips) == 0
    assert features.read_bytes() == content


def test_another_recipe_is_refused_before_any_clip_is_read(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert verb(clips) == 0
    monkeypatch.setattr(ClipSet, "read", lambda *_: pytest.fail("a clip was read"))
    assert verb(clips, "--seed", "1") == 2
    assert "generated with recipe.seed 0, not 1; choose another folder" in capsys.readouterr().err


def test_other_clips_are_another_data_set(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert verb(clips) == 0
    np.save(clips / "rgb.npy", np.load(clips / "rgb.npy") + 1)
    assert verb(clips) == 2
    assert "generated with clips_sha256" in capsys.readouterr().err


def test_an_empty_folder_may_be_given(clips, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    assert verb(clips) == 0
    assert len(FeatureStore.open("data/features")) == 5
    assert "again" not in caplog.text


def test_probes_that_were_interrupted_are_made_by_the_next_call(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = ["compose", str(clips), "--step", "0.3", "--background", *BACKGROUNDS, "--videos", "4", "2", "4"]
    arguments = [*plain, "--out", "data", "--max-snippets", "100"]

    def interrupted(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("wtal_bench.commands.compose.probe", interrupted)
        assert main(arguments) != 0
    assert not Path("data/probes.json").exists()
    assert main(arguments) == 0
    assert Path("data/probes.json").is_file()


@pytest.mark.parametrize(
    ("out", "text"), [("", "is the folder of the clips"), ("new", "lies in the folder"), ("..", "holds the clips")]
)
def test_clips_are_not_written_over_nor_among(clips, tmp_path, monkeypatch, out, text, capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(clips.iterdir())
    assert verb(clips, "--out", str(clips / out)) == 2
    said = capsys.readouterr().err
    assert text in said
    assert "delete" not in said
    assert sorted(clips.iterdir()) == before


@pytest.mark.parametrize(("out", "text"), [("notes", "something else"), ("notes/data", "cannot write")])
def test_an_output_that_cannot_be_names_what_helps(clips, tmp_path, monkeypatch, out, text, capsys):
    monkeypatch.chdir(tmp_path)
    Path("notes").write_text("dear to somebody")
    assert verb(clips, "--out", out) == 2
    said = capsys.readouterr().err
    assert text in said
    assert "WTAL_CACHE" not in said
    assert "delete" not in said


def test_a_video_does_not_depend_on_how_many_there_are(clips, tmp_path):
    few, _ = made(clips, tmp_path / "few", videos=(2, 1, 2))
    many, _ = made(clips, tmp_path / "many", videos=(5, 2, 4))
    for name in few.ids:
        np.testing.assert_array_equal(few.video(name), many.video(name))


def test_arrays_of_all_clips_and_files_of_each_are_one(tmp_path):
    first, _ = made(clip_folder(tmp_path / "array"), tmp_path / "a")
    second, _ = made(clip_folder(tmp_path / "files", per_clip=True), tmp_path / "b")
    assert first.streams == second.streams == {"rgb": (0, 36), "flow": (36, 72)}
    assert first.manifest_hash == second.manifest_hash


def test_without_official_subsets_groups_are_dealt_over_all_three(tmp_path):
    found = split_groups(ClipSet(clip_folder(tmp_path / "clips", subset=False)).clips)
    for label in (*ACTIONS, *BACKGROUNDS):
        dealt = [set(found[split][label]) for split in ("train", "val", "test")]
        assert [len(part) for part in dealt] == [4, 1, 1]
        assert len(set.union(*dealt)) == GROUPS


def test_a_clip_is_played_there_and_back_at_its_pace(clips):
    read = ClipSet(clips)
    groups = split_groups(read.clips)["train"]
    survey = read.survey(read.clips, read.clips, ("flow",))
    library = ClipLibrary(read, survey.columns, groups, ACTIONS, BACKGROUNDS, {}, 0.5)
    rng = np.random.default_rng(0)
    at = library.clip(rng, library.scene(rng, 0), 200, 0.125)[0][:, -1]
    steps = np.diff(at)
    straight = steps[1:] * steps[:-1] > 0
    np.testing.assert_allclose(np.abs(steps[1:][straight]), 0.25, atol=0.13)
    assert np.median(np.abs(steps)) == pytest.approx(0.25)
    assert 0 <= at.min() < 0.5
    assert 6.5 < at.max() <= 7


def test_columns_come_to_one_scale_whatever_theirs(clips):
    read = ClipSet(clips)
    survey = read.survey(read.clips, read.clips, ())
    library = ClipLibrary(read, survey.columns, split_groups(read.clips)["train"], ACTIONS, BACKGROUNDS, {}, 0.3)
    line = TimeLine.sorted(0, np.array([3.0]), np.array([9.0]), np.array([0]), 60)
    features = film(np.random.default_rng(0), Cut(), library, line, 0.64)
    assert features.shape == (60, 72)
    assert (features >= 0).all()
    assert 0.1 < features.mean() < 0.6


def test_a_near_class_is_seen_in_the_scene_of_its_action_alone(clips, tmp_path):
    cut = replace(RAW, same_scene=1.0, near_share=1.0)
    store, notes = made(clips, tmp_path / "data", cut=cut, near={"dive": "walk"}, two_classes=0.0)
    for name in notes.videos:
        walks = store.video(name)[:, 4].max() > 0.1
        assert walks == (notes.tags(name) == (0,))


def test_long_actions_and_rows_of_ones_own_are_timings_too(clips, tmp_path):
    rows = ["name,count_mu,count_sd,length_mu,length_between,length_within,gap_mu"]
    rows += [f"{name},0.0,0.0,1.6,0.0,0.0,1.0" for name in ACTIONS]
    (tmp_path / "rows.csv").write_text("\n".join(rows))
    actions = dict.fromkeys(ACTIONS)
    own = timing_for(str(tmp_path / "rows.csv"), actions)
    _, notes = made(clips, tmp_path / "own", timing=own)
    assert {len(video.segments) for video in notes.videos.values()} == {1}
    lengths = [segment.end - segment.start for video in notes.videos.values() for segment in video.segments]
    np.testing.assert_allclose(lengths, np.exp(1.6), atol=0.02)
    _, notes = made(clips, tmp_path / "long", timing=timing_for("activitynet", actions), max_snippets=400)
    assert np.mean([len(video.segments) for video in notes.videos.values()]) < 4


@pytest.mark.parametrize("timing", ["thumos14", "activitynet"])
@pytest.mark.parametrize("snippets", [12, 20, 40])
def test_no_action_ends_after_its_video_however_short_that_is(timing, snippets):
    rows = dict.fromkeys(ACTIONS, "TennisSwing")  # its instances last 1.8 s in the middle, and up to 60
    mine = recipe(timing=timing_for(timing, rows), max_snippets=snippets)
    lines = [mine.time_line(np.random.default_rng(seed), seed % 3) for seed in range(300)]
    assert all((line.start < line.end).all() for line in lines)
    assert max(line.end.max() - line.snippets * mine.snippet_seconds for line in lines) <= 0.005
    assert all((line.start >= 0).all() for line in lines)


def test_the_manifest_says_composed_and_the_protocol_is_one_of_its_own(clips, tmp_path):
    store, notes = made(clips, tmp_path / "data")
    assert store.manifest["composed"] is True
    assert store.synthetic is False
    protocol = composed_protocol(notes)
    assert protocol.name == "composed/mine/v1"
    assert protocol.classes == ACTIONS
    assert not protocol.split_notes(notes)
    other = composed_protocol(made(clips, tmp_path / "other", seed=1)[1])
    wider = composed_protocol(made(clips, tmp_path / "wider", cut=Cut(same_scene=0.5))[1])
    assert len({protocol.hash, other.hash, wider.hash}) == 3
    assert pickle.loads(pickle.dumps(protocol)).hash == protocol.hash
    assert get_protocol("composed/mine/v1").hash == wider.hash  # the one that was opened last


def test_a_composed_protocol_is_found_where_data_sets_lie(clips, tmp_path, monkeypatch):
    _, notes = made(clips, tmp_path / "composed" / "mine")
    monkeypatch.setenv("WTAL_DATA", str(tmp_path))
    monkeypatch.setattr("wtal_bench.protocols._KNOWN_COMPOSED", {})
    assert get_protocol("composed/mine/v1").hash == composed_protocol(notes).hash
    with pytest.raises(WtalError, match="wtal-bench compose --name other"):
        get_protocol("composed/other/v1")


def replace_csv(clips: Path, old: str, new: str) -> None:
    path = clips / "clips.csv"
    path.write_text(path.read_text().replace(old, new))


def row_cells(clips: Path, rows: list[str]) -> None:
    """Give the table a column `row`."""
    first, *lines = (clips / "clips.csv").read_text().splitlines()
    lines = [f"{line},{row}" for line, row in zip(lines, rows)]
    (clips / "clips.csv").write_text("\n".join([f"{first},row", *lines]) + "\n")


def unequal_width(clips: Path) -> None:
    for stream in ("rgb", "flow"):
        array = np.load(clips / f"{stream}.npy")
        (clips / f"{stream}.npy").unlink()
        (clips / stream).mkdir()
        names = [line.split(",")[0] for line in (clips / "clips.csv").read_text().splitlines()[1:]]
        for at, (name, part) in enumerate(zip(names, array)):
            np.save(clips / stream / f"{name}.npy", part[:, : 30 if at == 7 and stream == "flow" else None])


def one_group(clips: Path) -> None:
    for group in range(1, GROUPS):
        replace_csv(clips, f",jump,{group},train", ",jump,0,test")
        replace_csv(clips, f",jump,{group},test", ",jump,0,test")


def twice_as_long(clips: Path) -> None:
    for stream in ("rgb", "flow"):
        np.save(clips / f"{stream}.npy", np.tile(np.load(clips / f"{stream}.npy"), (2, 1, 1)))


def not_finite(clips: Path) -> None:
    array = np.load(clips / "rgb.npy")
    array[3, 2, 1] = np.nan
    np.save(clips / "rgb.npy", array)


BROKEN = [
    (lambda clips: (clips / "clips.csv").unlink(), r"clips\.csv.*columns clip, class, group"),
    (
        lambda clips: replace_csv(clips, "clip,class,group", "clip,clas,group"),
        r"'class' is missing.*Did you mean 'clas'",
    ),
    (lambda clips: replace_csv(clips, "dive_0_1", "dive_0_0"), "lines 2 and 3"),
    (lambda clips: replace_csv(clips, ",jump,", ",,"), "no class"),
    (lambda clips: replace_csv(clips, ",5,train", ",5,trian"), "Did you mean 'train'"),
    (
        lambda clips: replace_csv(clips, "dive_0_1,dive,0,test", "dive_0_1,dive,0,train"),
        "would be trained on and tested",
    ),
    (
        lambda clips: replace_csv(clips, ",jump,0,test", ",jump,0,"),
        r"'jump' has an official split, but 2 of its clips say no subset: clips\.csv, lines 14, 15 \('jump_0_0",
    ),
    (lambda clips: replace_csv(clips, ",jump,3,train", ",jump,3,"), r"say no subset: clips\.csv, lines 20, 21"),
    (lambda clips: replace_csv(clips, "jump_3_1,jump,3,train", "jump_3_1,jump,3,"), r"lines 20, 21.*an empty cell"),
    (lambda clips: row_cells(clips, ["0"] * 60), r"lines 2 and 3: 'dive_0_0' and 'dive_0_1' are both row 0 of"),
    (lambda clips: row_cells(clips, ["", "0", *[""] * 58]), r"lines 2 and 3.*both row 0 of"),
    (lambda clips: row_cells(clips, ["", "9", *[""] * 58]), r"lines 3 and 11.*both row 9 of"),
    (twice_as_long, r"rgb\.npy has 120 clips, clips\.csv 60: .* column 'row'"),
    (lambda clips: row_cells(clips, ["9" * 5000] * 60), r"clips\.csv, line 2: row '9+.*place in the arrays"),
    (one_group, r"class 'jump' has 1 group \(0\)"),
    (unequal_width, "clips of unequal width: flow"),
    (not_finite, r"clip 'dive_1_1'.*feature \[2, 1\] is nan"),
    (lambda clips: np.save(clips / "rgb.npy", np.zeros((4, 3))), r"shape \[clips, moments, columns\]"),
    (lambda clips: np.save(clips / "rgb.npy", np.zeros((4, 3, 36))), r"has 4 clips; clips.csv, line 6 names row 4"),
    (lambda clips: [(clips / f"{name}.npy").unlink() for name in ("rgb", "flow")], "no features beside clips.csv"),
    (lambda clips: (clips / "rgb.npy").write_bytes(b"junk"), "cannot read"),
]


@pytest.mark.parametrize(("damage", "text"), BROKEN)
def test_clips_that_cannot_be_used_are_explained(clips, tmp_path, damage, text):
    damage(clips)
    with pytest.raises(DataError, match=text):
        compose(ClipSet(clips), recipe(), tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert not list(tmp_path.glob(".data*"))


def test_more_classes_than_clips_is_a_column_of_names(tmp_path):
    (tmp_path / "clips.csv").write_text("clip,class,group\n" + "\n".join(f"v{n},name{n},{n}" for n in range(9)))
    with pytest.raises(DataError, match="9 clips have 9 classes"):
        ClipSet(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "say which classes are background"),
        (["--background", "stnad"], "Did you mean 'stand'"),
        (["--background", "stand", "--actions", "stand"], "cannot be both"),
        (["--background", *ACTIONS, *BACKGROUNDS], "no class is left for the actions"),
        (["--background", "stand", "--actions", "dive=Divin"], "Did you mean 'Diving'"),
        (["--background", "stand", "--timing", "thumos"], "Did you mean 'thumos14'"),
        (["--background", "stand", "--timing", "none.csv"], "cannot read timing none.csv"),
        (["--background", "stand", "--max-snippets", "10", "--actions", "dive=CleanAndJerk"], "cannot fit"),
        (["--background", "stand", "--step", "0"], "--step (clip_step) of composed data must be"),
        (["--background", "stand", "--step", "1e-310"], "--step (clip_step) of composed data must be"),
        (["--background", "stand", "--videos", "0", "1", "1"], "--videos of composed data must be"),
        (["--background", "stand", "--seed", str(1 << 64)], "that 64 bits hold"),
        (["--background", "stand", "--fade", "0"], "--fade (cut.fade_seconds) of"),
        (["--background", "stand", "--max-snippets", "7"], "--max-snippets of"),
        (["--background", "stand", "--timing", "activitynet", "--max-snippets", "7"], "--max-snippets"),
        (["--background", "stand", "--same-scene", "1.5"], "--same-scene (cut.same_scene) of composed data is a share"),
        (["--background", "stand", "--two-classes", "nan"], "--two-classes of"),
        (["--background", "stand", "--speed", "2", "1"], "least to its greatest"),
        (["--background", "stand", "--speed", "1", "inf"], "--speed (cut.speed) of composed data must be"),
        (["--background", "stand", "--speed", "1", "1e308"], "--speed (cut.speed) of composed data must be at most"),
        (["--background", "stand", "--dim", "0"], "--dim must be at least 1"),
        (["--background", "stand", "--name", "My Clips"], "composed/NAME/v1"),
        (["--background", "stand", "--near", "dive"], "ACTION=CLASS"),
        (["--background", "stand", "--near", "dvie=stand"], "Did you mean 'dive'"),
        (["--background", "stand", "--near", "dive=stand", "dive=stand"], "--near: 'dive' is given twice"),
        (["--background", "stand", "stand"], "--background: 'stand' is given twice"),
        (["--actions", "dive=Diving", "dive=Billiards"], "--actions: 'dive' is given twice"),
        (["--background", "stand", "--streams", "rgb", "rgb=flow"], "--streams: 'rgb' is given twice"),
        (["--background", "stand", "--streams", "=rgb"], "--streams '=rgb': the stream has no name"),
        (["--background", "stand", "--dim", "7"], "36 columns, which 7 equal runs"),
        (["--background", "stand", "--streams", "rgb", "flow=flwo"], "Did you mean 'flow'"),
        (["--background", "stand", "--motion", "flwo"], "no such stream"),
    ],
)
def test_the_verb_refuses_what_cannot_be(clips, tmp_path, monkeypatch, arguments, text, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compose", str(clips), "--step", "0.3", *arguments]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "advice"), [([], "In training its mean is 1.0"), (["--raw-columns"], "Leave out --raw-columns")]
)
def test_a_feature_beyond_half_precision_names_its_column_and_what_helps(
    clips, tmp_path, monkeypatch, arguments, advice, capsys
):
    monkeypatch.chdir(tmp_path)
    array = np.load(clips / "flow.npy")
    array[:, :, 3] = 1
    array[4:12, :, 3] = 1 + 1e-4 * np.arange(8)[:, None]
    array[[at for at in range(60) if at % 12 < 4], :, 3] = 1e5
    np.save(clips / "flow.npy", array)
    assert verb(clips, *arguments) == 2
    said = capsys.readouterr().err
    assert "column 3 of flow is more than the data set's half precision holds" in said
    assert advice in said
    assert not Path("data").exists()


def test_drawing_time_lines_shows_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr("wtal_bench.data.progress._SECONDS_BETWEEN_LINES", 0.0)
    annotations_dict(recipe(), "0" * 64)
    assert "drawing time lines: 14 of 15" in capsys.readouterr().err


def test_some_clips_of_longer_arrays_are_used_by_their_rows(clips, tmp_path):
    short, _ = made(clips, tmp_path / "short")
    twice_as_long(clips)
    row_cells(clips, [str(60 + at) for at in range(60)])
    longer, _ = made(clips, tmp_path / "longer")
    assert longer.manifest_hash == short.manifest_hash


def test_lines_are_counted_as_an_editor_counts_them(clips):
    replace_csv(clips, "dive_0_1,", "\n\ndive_0_1,")
    assert [clip.line for clip in ClipSet(clips).clips[:3]] == [2, 5, 6]
    assert [clip.row for clip in ClipSet(clips).clips[:3]] == [0, 1, 2]


def test_equal_clips_of_two_splits_are_noted_not_refused(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert verb(clips) == 0
    assert "note:" not in capsys.readouterr().out
    for stream in ("rgb", "flow"):
        array = np.load(clips / f"{stream}.npy")
        array[[1, 15, 18]] = array[[0, 14, 14]]  # dive_0_1 in one group; jump_1_1 in one, jump_3_0 in another
        np.save(clips / f"{stream}.npy", array)
    assert verb(clips, "--out", "equal") == 0
    told = "note: 1 set of equal clips lies in more than one split: jump_1_0 (test) = jump_3_0 (train)."
    assert told in capsys.readouterr().out
    manifest = FeatureStore.open("equal/features").manifest
    assert manifest["equal_clips"] == {"sets": 1, "examples": [{"test": "jump_1_0", "train": "jump_3_0"}]}
    assert "no scene of a test video was seen in training" not in manifest["claims"]["claimed"]


def test_too_few_timing_rows_are_counted(tmp_path):
    (tmp_path / "rows.csv").write_text(
        "name,count_mu,count_sd,length_mu,length_between,length_within,gap_mu\na,0,0,1,0,0,1\n"
    )
    with pytest.raises(DataError, match="1 timing rows, 1 of them not taken, for 3 classes"):
        timing_for(str(tmp_path / "rows.csv"), dict.fromkeys(ACTIONS))
    assert len(timing_for(str(tmp_path / "rows.csv"), dict.fromkeys(ACTIONS, "a")).timing) == 3
    (tmp_path / "bad.csv").write_text("name,count_mu\na,0\n")
    with pytest.raises(DataError, match=r"bad.csv, line 1: the column 'count_sd' is missing"):
        timing_for(str(tmp_path / "bad.csv"), dict.fromkeys(ACTIONS))


TIMED = "name,count_mu,count_sd,length_mu,length_between,length_within,gap_mu"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the column 'name' is missing"),
        (TIMED.removeprefix("name,") + "\n0,0,1,0,0,1", "line 1: the column 'name' is missing"),
        (TIMED.replace("gap_mu", "gap_my"), "Did you mean 'gap_my'"),
        (TIMED, "has no row"),
        (f"{TIMED}\na,0,0,1,0,0,1\n,0,0,1,0,0,1", "line 3: no name"),
        (f"{TIMED}\na,0,0,1,0,0,1\nb,0,0,one,0,0,1", r"line 3 \('b'\): count_mu,.*must be numbers.*'one'"),
        (f"{TIMED}\na,0,0,1,0,0,1\na,0,0,1,0,0", r"line 3 \('a'\).*must be numbers"),
        (f"{TIMED}\na,0,0,1,0,0,1\nb,0,0,1,0,0,1\na,0,0,2,0,0,1", "line 4: a row 'a' stands above it already"),
    ],
)
def test_a_timing_of_ones_own_that_cannot_be_read_is_explained(tmp_path, text, said):
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        timing_for(str(tmp_path / "rows.csv"), dict.fromkeys("ab"))


def test_a_group_may_be_a_number_of_any_length(clips):
    replace_csv(clips, ",walk,5,", f",walk,{'5' * 5000},")
    assert len(split_groups(ClipSet(clips).clips)["train"]["walk"]) == 3


def test_clips_are_probed_by_the_same_rules(clips, capsys):
    for arguments, text in ((["--streams", "rgb", "rgb"], "given twice"), (["--dim", "0"], "at least 1")):
        assert main(["probe", str(clips), *arguments]) == 2
        assert text in capsys.readouterr().err
    unequal_width(clips)
    assert main(["probe", str(clips)]) == 2
    assert "clips of unequal width: flow of clip 'dive_3_1' has 30 columns" in capsys.readouterr().err


def test_the_verb_composes_probes_and_trains(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--videos", "8", "4", "6", "--max-snippets", "100", "--name", "mine", "--dim", "12"]
    assert main(["compose", str(clips), "--step", "0.3", "--background", *BACKGROUNDS, *small]) == 0
    printed = capsys.readouterr().out
    assert "COMPOSED" in printed
    assert "mAP: oracle" in printed
    assert json.loads(Path("data/composed/mine/probes.json").read_text())["bounds"]["oracle"] > 0.8
    (tmp_path / "config.py").write_text(
        "_base_ = ['wtal::ecm_synthetic.py']\n"
        "data = dict(protocol='composed/mine/v1', root='data/composed/mine', synthetic=None)\n"
        "model = dict(backbone=dict(in_channels=24, channels=8), heads=dict(pre=dict(channels=8, num_classes=3),\n"
        "    weights=dict(num_classes=3)), postprocessor=dict(num_classes=3))\n"
        "train = dict(length=20, epochs=1)\n"
    )
    assert main(["train", "config.py", "--work-dir", "run"]) == 0
    record = next(Path("run").rglob("record/*.json"))
    found = json.loads(record.read_text())
    notes = Annotations.load("data/composed/mine/annotations.json")
    assert {key: found["protocol"][key] for key in ("name", "hash")} == {
        "name": "composed/mine/v1",
        "hash": composed_protocol(notes).hash,
    }
    assert found["features"]["synthetic"] is False
    for protocol in ("own", "synthetic_tiny/v2"):
        code = main(
            ["train", "config.py", "--work-dir", f"no{protocol[:3]}", "--cfg-options", f"data.protocol={protocol}"]
        )
        assert code == (0 if protocol == "own" else 2)


def test_real_clips_compose_into_videos_of_known_hardness(tmp_path):
    folder = shared_file("data/ucf101_vgg16/clips.csv").parent
    small = ["--videos", "40", "10", "40", "--dim", "64", "--streams", "rgb", "flow=difference", "--step", "0.28"]
    actions = ["BaseballPitch", "Billiards", "BasketballDunk", "Archery=GolfSwing", "BenchPress=CleanAndJerk"]
    near = ["--near", "BasketballDunk=Basketball"]
    arguments = ["--actions", *actions, *near, *small, "--out", str(tmp_path / "data"), "--name", "ucf101"]
    assert main(["compose", str(folder), *arguments]) == 0
    found = json.loads((tmp_path / "data" / "probes.json").read_text())
    assert found["bounds"]["oracle"] > 0.95
    assert found["bounds"]["random"] < 0.12
    assert 0.25 < found["linear"]["all"] < 0.8
    assert found["statistics"]["rgb"]["cosine, same class"] > found["statistics"]["rgb"]["cosine, other class"] + 0.05
