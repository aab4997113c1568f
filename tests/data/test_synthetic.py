"""The synthetic benchmark is the same everywhere, appears whole or not at all, and is made once."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import REPOSITORY
from wtal_bench.cli import main
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.composed.scenes import Cut, film
from wtal_bench.data.composed.timeline import TimeLine
from wtal_bench.data.store import FeatureStore
from wtal_bench.data.synthetic import (
    GENERATOR_VERSION,
    PROFILES,
    ensure_synthetic,
    generate,
    synthetic_annotations,
)
from wtal_bench.data.synthetic.build import stored_videos
from wtal_bench.data.synthetic.clips import DrawnClips, Look, slow_noise
from wtal_bench.data.synthetic.profiles import draw_features, draw_time_line, draw_world
from wtal_bench.errors import DataError
from wtal_bench.files import cache_folder

SMALL = replace(PROFILES["tiny"], videos={"train": 3, "val": 2, "test": 2})


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def digest(profile) -> str:
    """Hash every generated number of a profile in world 0: features as stored, and the annotation file."""
    whole = hashlib.sha256(synthetic_annotations(profile, 0).sha256.encode())
    for video in stored_videos(profile, 0):
        whole.update(video.features.astype("<f2").tobytes())
    return whole.hexdigest()


@pytest.mark.parametrize(
    ("name", "videos", "pinned"),
    [
        ("tiny", None, "6cab1f9ac958236a4dd8524d17830ca7af0334c8f31d86958fbfb5869946c669"),
        ("demo", {"train": 2, "val": 1, "test": 2}, "da6e4236f9452a6bd92654652f4f7091d6aaba6a6d3e72c215943b60ae31d997"),
        ("full", {"train": 1, "test": 1}, "f77303b9b0a33bc62d62c4b79752aaddef791bb38d592eea3c134048fc49282a"),
        ("anet", {"train": 2, "test": 1}, "9297691c6cc53a4e69f1310fc7c87c235653a8aa32de3ed5c5b82e7b6eef4cfd"),
    ],
)
def test_no_generated_number_changes_within_a_generator_version(name, videos, pinned):
    profile = PROFILES[name] if videos is None else replace(PROFILES[name], videos=videos)
    assert GENERATOR_VERSION == 3, "pin the new version's hashes here"
    assert digest(profile) == pinned, "numbers changed: raise GENERATOR_VERSION, then pin the new hashes"


def test_the_same_seed_gives_the_same_files_to_the_last_bit(tmp_path):
    first = content(generate(SMALL, 4, tmp_path / "a"))
    assert first == content(generate(SMALL, 4, tmp_path / "b"))
    assert set(first) == {"annotations.json", "features/features.npy", "features/index.json", "features/manifest.json"}


def test_another_world_and_another_profile_are_other_data(tmp_path):
    worlds = [FeatureStore.open(generate(SMALL, world, tmp_path / str(world)) / "features") for world in (0, 1)]
    assert not np.array_equal(worlds[0].video(0)[:8], worlds[1].video(0)[:8])
    other = replace(SMALL, name="other")
    assert draw_time_line(SMALL, 0, "train", 0).snippets != draw_time_line(other, 0, "train", 0).snippets


@pytest.mark.parametrize("name", ["tiny", "anet"])
def test_a_video_does_not_depend_on_how_many_there_are(tmp_path, name):
    few = replace(PROFILES[name], videos={"train": 2, "val": 0, "test": 3})
    more = replace(PROFILES[name], videos={"train": 4, "val": 1, "test": 5})
    small, large = (generate(p, 0, tmp_path / str(i)) for i, p in enumerate((few, more)))
    stores = [FeatureStore.open(folder / "features") for folder in (small, large)]
    notes = [Annotations.load(folder / "annotations.json") for folder in (small, large)]
    for video in stores[0].ids:
        np.testing.assert_array_equal(stores[0].video(video), stores[1].video(video))
        assert notes[0].videos[video] == notes[1].videos[video]


def test_splits_draw_from_streams_of_their_own():
    world = draw_world(SMALL, 0)
    for index in range(3):
        parts = [draw_features(world, SMALL, 0, split, index)[:8] for split in ("train", "val", "test")]
        assert not any(np.array_equal(parts[a], parts[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_time_lines_do_not_depend_on_the_appearance():
    loud = replace(SMALL, look=Look(clips=2), cut=Cut(same_scene=0.0), dim=3)
    notes = [synthetic_annotations(profile, 0) for profile in (SMALL, loud)]
    assert notes[0].sha256 == notes[1].sha256


@pytest.mark.parametrize("name", PROFILES)
def test_annotations_alone_equal_those_of_the_generated_file(tmp_path, name):
    profile = replace(PROFILES[name], videos={"train": 3, "val": 1, "test": 2}, dim=2)
    folder = generate(profile, 2, tmp_path / "data")
    written, alone = Annotations.load(folder / "annotations.json"), synthetic_annotations(profile, 2)
    assert alone.sha256 == written.sha256
    assert list(alone.videos.items()) == list(written.videos.items())
    assert (alone.version, alone.classes) == (written.version, written.classes)
    assert FeatureStore.open(folder / "features").manifest["annotations_sha256"] == written.sha256


def test_features_fit_their_annotations(tmp_path):
    folder = generate(SMALL, 0, tmp_path / "data")
    store, annotations = FeatureStore.open(folder / "features"), Annotations.load(folder / "annotations.json")
    assert set(store.ids) == set(annotations.videos)
    for name, video in annotations.videos.items():
        meta = store.meta(name)
        assert (meta.duration, meta.fps, meta.num_frames) == (video.duration, video.fps, video.frames)
        assert meta.num_snippets * meta.snippet_seconds == pytest.approx(meta.duration)
        assert (store.video(name) >= 0).all()


def test_the_manifest_says_what_the_data_are(tmp_path):
    manifest = FeatureStore.open(generate(SMALL, 5, tmp_path / "data") / "features").manifest
    assert manifest["synthetic"] is True
    assert manifest["generator"]["version"] == GENERATOR_VERSION
    assert (manifest["generator"]["profile"], manifest["generator"]["world"]) == ("tiny", 5)
    assert manifest["streams"] == {"rgb": [0, 16], "flow": [16, 32]}
    assert (manifest["fps"], manifest["stride"]) == (25.0, 16)
    assert manifest["claims"]["claimed"]
    assert any("ranking" in line for line in manifest["claims"]["not_claimed"])


def test_tiny_is_made_in_under_a_second():
    started = time.process_time()
    ensure_synthetic("tiny")
    assert time.process_time() - started < 1.0


def test_made_once_and_used_again(cache, monkeypatch):
    folder = ensure_synthetic("tiny", 1)
    assert folder == cache_folder() / "synthetic" / f"tiny-world1-v{GENERATOR_VERSION}"
    assert folder.is_relative_to(cache)
    before = folder.stat().st_ino
    monkeypatch.setattr("wtal_bench.data.synthetic.build.stored_videos", lambda *_: pytest.fail("made again"))
    assert ensure_synthetic("tiny", 1).stat().st_ino == before


def test_a_complete_cache_may_be_read_only(cache, monkeypatch):
    folder = ensure_synthetic("tiny")
    monkeypatch.setattr("wtal_bench.data.synthetic.build.locked", lambda _: pytest.fail("took the lock"))
    assert ensure_synthetic("tiny") == folder


def flip_a_bit(folder: Path) -> None:
    path = folder / "features" / "features.npy"
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 1
    path.write_bytes(raw)


def truncate(folder: Path) -> None:
    path = folder / "features" / "features.npy"
    path.write_bytes(path.read_bytes()[:-50])


def edit_annotations(folder: Path) -> None:
    path = folder / "annotations.json"
    path.write_text(path.read_text().replace('"syn_00"', '"syn_01"', 1))


def edit_manifest(folder: Path) -> None:
    path = folder / "features" / "manifest.json"
    path.write_text(path.read_text().replace('"world": 0', '"world": 7'))


DAMAGES = [
    flip_a_bit,
    truncate,
    edit_annotations,
    edit_manifest,
    lambda folder: (folder / "annotations.json").unlink(),
    lambda folder: (folder / "features" / "index.json").unlink(),
    lambda folder: (folder / "features" / "manifest.json").write_text("{"),
    lambda folder: shutil.rmtree(folder / "features"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_again(damage, caplog):
    folder = ensure_synthetic("tiny")
    whole = content(folder)
    damage(folder)
    assert content(folder) != whole
    assert content(ensure_synthetic("tiny")) == whole
    assert "making" in caplog.text


def test_what_a_killed_process_left_is_removed(cache):
    leftover = cache / "synthetic" / f".tiny-world0-v{GENERATOR_VERSION}.0123456789ab"
    leftover.mkdir(parents=True)
    (leftover / "annotations.json").write_text("half")
    other = leftover.with_name(f".tiny-world1-v{GENERATOR_VERSION}.0123456789ab")
    other.mkdir()
    ensure_synthetic("tiny")
    assert not leftover.exists()
    assert other.exists()


def test_nothing_is_left_when_generating_fails(tmp_path, monkeypatch):
    def broken(*_):
        yield from list(stored_videos(SMALL, 0))[:2]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wtal_bench.data.synthetic.build.stored_videos", broken)
    with pytest.raises(DataError, match="No space left on device"):
        generate(SMALL, 0, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("keep")
    with pytest.raises(DataError, match="already there"):
        generate(SMALL, 0, folder)
    other = content(generate(SMALL, 1, tmp_path / "world1"))
    with pytest.raises(DataError, match="already there"):
        generate(SMALL, 0, tmp_path / "world1")
    assert (folder / "notes.txt").read_text() == "keep"
    assert content(tmp_path / "world1") == other


def test_a_damaged_folder_of_the_same_data_is_made_again(tmp_path):
    folder = generate(SMALL, 0, tmp_path / "data")
    whole = content(folder)
    truncate(folder)
    assert content(generate(SMALL, 0, folder)) == whole
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["data"]


def _make(cache: str, barrier, results) -> None:
    os.environ["WTAL_CACHE"] = cache
    barrier.wait()
    results.put(str(ensure_synthetic("tiny", 2)))


def test_processes_that_generate_at_once_do_not_clash(cache):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_make, args=(str(cache), barrier, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    folders = {results.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(folders) == 1
    FeatureStore.open(Path(folders.pop()) / "features").verify()
    assert len([path for path in (cache / "synthetic").iterdir() if path.is_dir()]) == 1


def test_without_a_lock_the_slower_process_uses_the_faster_ones_folder(tmp_path, monkeypatch):
    made = []

    def overtaken(profile, world):
        if not made:
            made.append(1)
            made.append(content(generate(profile, world, tmp_path / "data")))
        yield from stored_videos(profile, world)

    monkeypatch.setattr("wtal_bench.data.synthetic.build.stored_videos", overtaken)
    assert content(generate(SMALL, 0, tmp_path / "data")) == made[1]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_unwritable_cache_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="WTAL_CACHE"):
        ensure_synthetic("tiny")


@pytest.mark.parametrize("world", [-1, 1.5, "0", True, None])
def test_a_world_is_a_whole_number(world):
    with pytest.raises(DataError, match="whole number of at least 0"):
        synthetic_annotations("tiny", world)


def test_an_unknown_profile_names_the_nearest():
    with pytest.raises(DataError, match="Did you mean 'demo'"):
        ensure_synthetic("dmeo")


def test_a_profile_of_ones_own_stays_out_of_the_cache(cache):
    with pytest.raises(DataError, match="give profile 'tiny' a folder"):
        generate(SMALL, 0)
    assert not cache.exists()


def test_annotations_need_neither_torch_nor_scipy():
    code = (
        "import sys; from wtal_bench.data.synthetic import synthetic_annotations; synthetic_annotations('tiny', 0); "
        "print([name for name in ('torch', 'scipy', 'mmengine') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_slow_noise_is_the_recursion_it_says():
    draws = np.random.default_rng(0).standard_normal((300, 2))
    expected = draws * np.sqrt(1 - 0.75**2)
    expected[0] = draws[0]
    for row in range(1, len(draws)):
        expected[row] += 0.75 * expected[row - 1]
    np.testing.assert_allclose(slow_noise(draws, 0.75), expected, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(slow_noise(draws[:1], 0.75), draws[:1])


def still(**changes) -> Look:
    """Clips without any change from moment to moment, scene to scene or clip to clip."""
    streams = {}
    for name in ("rgb", "flow"):
        look = getattr(Look(), name)
        none = {level: replace(getattr(look, level), share=0.0) for level in ("scene", "clip", "slow", "fast")}
        streams[name] = replace(look, bend=0.0, **none)
    return Look(**streams, **changes)


def test_an_action_looks_like_its_class_and_only_while_it_lasts():
    world = DrawnClips(np.random.default_rng(0), still(), 3, 50)
    line = TimeLine.sorted(1, np.array([6.4]), np.array([19.2]), np.array([1]), 60)
    features = film(np.random.default_rng(1), Cut(same_scene=0.0, standardize=False), world, line, 0.64)[:, :50]
    rng = np.random.default_rng(2)
    own = [world.mean(rng, world.scene(rng, label))[0] for label in range(9)]
    np.testing.assert_allclose(features[11:29], np.tile(own[1], (18, 1)))
    for row in features[[0, 5, 8, 31, 45, 59]]:
        assert min(np.abs(row - other).max() for other in own[3:]) < 1.5  # background classes, or between two of them
        assert np.abs(row - own[1]).max() > 0.5
    # half seen while it fades in and out, a quarter of a snippet at least
    assert (np.abs(features[10] - own[1]).max() > 0.1) & (np.abs(features[29] - own[1]).max() > 0.1)


def test_the_scene_of_an_action_is_seen_without_it():
    world = DrawnClips(np.random.default_rng(0), still(), 3, 400)
    line = TimeLine.sorted(1, np.array([30.0]), np.array([32.0]), np.array([1]), 100)
    own = world.mean(np.random.default_rng(2), world.scene(np.random.default_rng(2), 1))[0]
    likeness = {}
    for share in (0.0, 1.0):
        cut = Cut(same_scene=share, standardize=False)
        features = film(np.random.default_rng(1), cut, world, line, 0.64)[:40, :400]
        likeness[share] = np.corrcoef(own, features.mean(axis=0))[0, 1]
    assert likeness[1.0] > likeness[0.0] + 0.4


def test_every_column_varies_as_the_look_says():
    rng = np.random.default_rng(0)
    world = DrawnClips(rng, Look(), 200, 48)
    values = np.stack(
        [part for label in range(200) for part in world.clip(rng, world.scene(rng, label), 2, 60.0)]
    ).reshape(200, 2, 2, 48)
    for stream, look in enumerate((Look().rgb, Look().flow)):
        seen = values[:, stream].reshape(-1, 48)
        total = sum(getattr(look, level).share for level in ("label", "scene", "clip", "slow", "fast"))
        assert total == pytest.approx(1.0, abs=0.02)
        assert seen.mean() == pytest.approx(look.mean, abs=0.15)
        assert seen.std(axis=0).mean() == pytest.approx(1.0, abs=0.15)
        assert (seen >= 0).all()


def test_twins_with_equal_times_are_drawn_once():
    world = DrawnClips(np.random.default_rng(0), Look(), 3, 8)
    times = np.array([2.0, 2.0]), np.array([6.0, 6.0])
    twins = TimeLine.sorted(1, *times, np.array([2, 1]), 20)
    one = TimeLine.sorted(1, *(column[:1] for column in times), np.array([1]), 20)
    pictures = [film(np.random.default_rng(1), Cut(), world, line, 0.64) for line in (twins, one)]
    np.testing.assert_array_equal(*pictures)


def test_a_video_without_any_instance_can_be_drawn():
    world = DrawnClips(np.random.default_rng(0), Look(), 3, 8)
    empty = TimeLine.sorted(0, np.zeros(0), np.zeros(0), np.zeros(0), 1)
    assert film(np.random.default_rng(1), Cut(), world, empty, 0.64).shape == (1, 16)


def test_hard_pairs_look_alike():
    world = DrawnClips(np.random.default_rng(0), still(), 4, 500, hard_pairs=((0, 2),))
    rng = np.random.default_rng(1)
    rows = np.stack([world.mean(rng, world.scene(rng, label))[0] for label in range(4)])
    likeness = np.corrcoef(rows)
    assert likeness[0, 2] > 0.3 + max(likeness[0, 1], likeness[0, 3], likeness[2, 3])


@pytest.mark.parametrize("around", [1, 2, 3])
@pytest.mark.parametrize("acted", [1, 2])
def test_actions_lie_between_their_backgrounds_in_loudness_and_only_change_places(acted, around):
    world, rng = DrawnClips(np.random.default_rng(0), Look(), 4, 64), np.random.default_rng(1)

    def loud(scenes: list) -> np.ndarray:
        return np.array([[clips.mean() for clips in scene.clips] for scene in scenes])

    for _ in range(20):
        drawn = [world.scene(rng, label) for label in range(acted)], [world.scene(rng, 4 + n) for n in range(around)]
        dealt = world.together(*drawn)
        actions, others = map(loud, dealt)
        before, after = (
            np.sort(np.concatenate(parts), axis=0) for parts in (list(map(loud, drawn)), [actions, others])
        )
        np.testing.assert_allclose(after, before, atol=1e-12)
        quieter = (others[:, None] < actions).sum(axis=0)
        assert ((quieter == quieter[0]) & (abs(2 * quieter - around) <= around % 2)).all()
        for before, after in zip([*drawn[0], *drawn[1]], [*dealt[0], *dealt[1]]):
            for one, other in zip(before.clips, after.clips):
                assert np.ptp(other - one) < 1e-12  # nothing but the loudness is another


def test_a_world_may_leave_loudness_to_chance():
    world, rng = DrawnClips(np.random.default_rng(0), Look(between=False), 2, 8), np.random.default_rng(1)
    acted, around = [world.scene(rng, 0)], [world.scene(rng, 2)]
    assert world.together(acted, around) == (acted, around)


def test_the_verb_generates_and_names_the_folder(tmp_path, capsys):
    assert main(["make-synthetic", "--profile", "tiny", "--world", "3", "--out", str(tmp_path / "data")]) == 0
    printed = capsys.readouterr().out
    assert str(tmp_path / "data") in printed
    assert "SYNTHETIC" in printed
    assert json.loads((tmp_path / "data" / "annotations.json").read_text())["version"] == "synthetic-tiny-world3-v2"


def test_the_verb_writes_into_the_cache_by_default(cache):
    assert main(["make-synthetic", "--profile", "tiny"]) == 0
    assert (cache / "synthetic" / f"tiny-world0-v{GENERATOR_VERSION}" / "annotations.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--profile", "dmeo"], "Did you mean 'demo'"),
        (["--dim", "8"], "belongs to --annotations"),
        (["--profile", "tiny", "--annotations", "x.json", "--out", "y"], "exclude each other"),
        (["--annotations", "x.json"], "needs --out"),
        (["--annotations", "absent.json", "--out", "y"], "absent.json"),
        (["--world", "-1"], "at least 0"),
    ],
)
def test_the_verb_refuses_what_cannot_be(arguments, text, capsys):
    assert main(["make-synthetic", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_the_tool_is_a_door_to_the_verb():
    tool = REPOSITORY / "tools" / "make_synthetic.py"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, str(tool), "--help"], capture_output=True, text=True, check=True, env=environment
    )
    assert "--profile" in done.stdout
    assert "example" in done.stdout
