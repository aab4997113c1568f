"""`compare`: the signs are right, ties are said plainly, and what cannot be compared is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tests.leaderboard.fabricate import sha
from wtal_bench.cli import main
from wtal_bench.data.note import Note
from wtal_bench.evaluation import BootstrapDifference, Interval, write_detections
from wtal_bench.leaderboard import comparison, side_notes
from wtal_bench.leaderboard.compare import compare, find_side
from wtal_bench.structures import Detections


@pytest.fixture(autouse=True)
def six_videos_will_do(monkeypatch):
    """The small world has no more."""
    monkeypatch.setattr(comparison, "FEWEST", 6)


def run(world, *arguments):
    return main(["compare", *map(str, arguments), "--annotations", str(world.path), "--resamples", "300"])


def test_a_clear_difference_names_the_better_side(world, tmp_path, capsys):
    good = world.write(tmp_path / "good", noise=0.1)
    bad = world.write(tmp_path / "bad", seed=1, noise=20.0)
    assert run(world, good, bad, "--json", tmp_path / "out.json") == 0
    assert "A is better on these videos" in capsys.readouterr().out
    found = json.loads((tmp_path / "out.json").read_text())
    expected = np.array(found["mAP"]["a"]) - np.array(found["mAP"]["b"])
    np.testing.assert_allclose([item["difference"] for item in found["per_tiou"]], expected, atol=1e-12)
    assert (expected > 0).all()
    assert found["averages"]["0.1:0.7"]["low"] > 0
    assert run(world, bad, good) == 0
    assert "B is better on these videos" in capsys.readouterr().out


def test_equal_runs_are_not_distinguishable(world, tmp_path, capsys):
    a = world.write(tmp_path / "a", noise=0.3)
    b = world.write(tmp_path / "b", seed=1, noise=0.3)
    assert run(world, a, b) == 0
    assert "not distinguishable: A - B = " in capsys.readouterr().out
    assert run(world, a, a) == 0
    assert "A - B = +0.00 [+0.00, +0.00]" in capsys.readouterr().out


def test_the_video_that_changed_is_the_one_that_moved_most(world, tmp_path):
    sides = []
    videos = world.detections(noise=0.1)
    for name, found in (("a", videos), ("b", {**videos, "v3": Detections.empty()})):
        path = tmp_path / f"{name}.json.gz"
        write_detections(path, found, world.protocol.classes, name)
        sides.append(find_side([str(path)]))
    moved = compare(sides, world.protocol, world.annotations, resamples=50).moved
    assert max(moved, key=lambda video: abs(moved[video])) == "v3"
    assert moved["v3"] > 0


def test_detection_files_need_a_protocol_and_may_name_an_evaluator(world, tmp_path, capsys):
    path = tmp_path / "a.json.gz"
    write_detections(path, world.detections(), world.protocol.classes, "a")
    assert run(world, path, path) == 2
    assert "add --protocol" in capsys.readouterr().err
    assert run(world, path, path, "--protocol", "thumos14/v1", "--evaluator", "wtalc", "--top", "0") == 0
    assert "thumos14/v1, wtalc: " in capsys.readouterr().out
    assert run(world, path, path, "--protocol", "thumos14/v1", "--evaluator", "thumos_snipet") == 2
    assert "Did you mean 'thumos_snippet'" in capsys.readouterr().err


def test_filed_records_go_by_their_id(world, board, capsys):
    ids = [world.file(board / "records", seed=seed).stem for seed in (0, 1)]
    assert run(world, *ids, "--folder", board) == 0
    assert ids[0] in capsys.readouterr().out
    assert run(world, ids[0], ids[1][:-1], "--folder", board) == 2
    assert f"Did you mean {ids[1]!r}" in capsys.readouterr().err


def side(world, folder, seeds, noise, **changes):
    """A folder of one run a seed, as `train --seeds` leaves it."""
    for seed in seeds:
        world.write(folder / f"seed{seed}" / "record", seed=seed, noise=noise, **changes)
    return folder


def averages(folder):
    files = sorted(folder.glob("seed*/record/*.json"))
    metrics = [json.loads(file.read_text())["metrics"] for file in files]
    return [block["variants"][block["main"]]["averages"]["0.1:0.7"] for block in metrics]


def test_several_runs_a_side_are_compared_by_their_means_over_videos_and_runs(world, tmp_path, capsys):
    good = side(world, tmp_path / "good", (0, 1, 2), noise=0.1)
    bad = side(world, tmp_path / "bad", (3, 4, 5), noise=20.0)
    assert run(world, good, bad, "--json", tmp_path / "out.json") == 0
    said = capsys.readouterr().out
    ours, theirs = averages(good), averages(bad)
    assert f"A  3 runs, seeds 0, 1, 2: {sorted((good / 'seed0' / 'record').glob('*.json'))[0].stem}" in said
    assert "bootstrap over runs (3 of A, 3 of B) and videos, the videos paired across the sides" in said
    assert f"{100 * np.mean(ours):.2f} ± {100 * np.std(ours, ddof=1):.2f}" in said
    assert "A is better: A - B = " in said
    assert "Covers the choice of videos and the spread between runs." in said
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["averages"]["0.1:0.7"]["difference"] == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert found["covers_runs"] == {"a": True, "b": True}
    assert [item["seed"] for item in found["runs"]["b"]] == [3, 4, 5]
    files = [sorted(map(str, folder.glob("seed*/record/*.json"))) for folder in (good, bad)]
    assert run(world, "--a", *files[0], "--b", *files[1]) == 0
    assert capsys.readouterr().out == said.replace(f"wrote {tmp_path / 'out.json'}\n", "")


def test_seeds_that_differ_take_a_verdict_back_that_one_seed_gave(world, tmp_path, capsys):
    good = [world.write(tmp_path / "a" / str(s), seed=s, noise=noise) for s, noise in enumerate((0.1, 3.0, 20.0))]
    bad = [world.write(tmp_path / "b" / str(s), seed=s + 5, noise=noise) for s, noise in enumerate((20.0, 3.0, 0.2))]
    assert run(world, good[0], bad[0]) == 0
    one = capsys.readouterr().out
    assert "A is better on these videos" in one
    assert "paired bootstrap over videos only" in one
    assert "Videos only: the spread between seeds is not covered" in one
    assert run(world, "--a", *good, "--b", *bad) == 0
    assert "not distinguishable: A - B = " in capsys.readouterr().out
    assert run(world, "--a", *good, "--b", bad[0]) == 0
    assert "the runs of A; B is one run, so on its side videos only." in capsys.readouterr().out


def test_a_run_counts_once_and_other_settings_are_no_seeds(world, tmp_path, capsys):
    a, b = (world.write(tmp_path / name, seed=seed) for seed, name in enumerate("ab"))
    assert run(world, "--a", a, a, "--b", b) == 2
    assert "twice on one side, with the very same detections" in capsys.readouterr().err
    other = world.write(tmp_path / "c", seed=2, config={"model": {"width": 16}})
    again = world.write(tmp_path / "d", seed=1, noise=2.0)
    assert run(world, "--a", a, other, "--b", b, again) == 0
    said = capsys.readouterr().out
    assert "note: the runs of A differ in their config_hash: they are not one experiment repeated" in said
    assert "note: seed 1 stands twice in B" in said


def test_few_videos_give_no_verdict_and_few_replicates_no_interval(world, tmp_path, capsys, monkeypatch):
    good, bad = world.write(tmp_path / "good", noise=0.1), world.write(tmp_path / "bad", seed=1, noise=20.0)
    assert run(world, good, bad) == 0
    said = capsys.readouterr().out
    videos = re.search(r"It rests on (\d+) test videos", said)
    monkeypatch.setattr(comparison, "FEWEST", int(videos[1]) + 1)
    assert run(world, good, bad) == 0
    said = capsys.readouterr().out
    assert "No verdict: A - B = " in said
    assert "is better" not in said
    with pytest.raises(SystemExit):
        run(world, good, bad, "--resamples", "3")
    assert "100" in capsys.readouterr().err


def test_no_verdict_goes_against_its_p_value():
    clear, against = Interval(0.1, 0.05, 0.2, 0.0), Interval(0.1, 0.12, 0.13, 0.667)
    for item, said in ((clear, "A is better on these videos"), (against, "not distinguishable")):
        found = BootstrapDifference((0.5,), (item,), item, {"all": item}, {}, 200, "")
        assert comparison.verdict(found, "all", 50).startswith(said)


def test_what_stands_on_both_sides_is_said(world, tmp_path, capsys):
    a, b = world.write(tmp_path / "a"), tmp_path / "b.json.gz"
    write_detections(b, world.detections(), world.protocol.classes, "b")
    assert run(world, a, a) == 0
    assert f"note: {a.stem} stands on both sides: a run compared with itself" in capsys.readouterr().out
    assert run(world, a, b) == 0
    assert f"note: {a.stem} of A and b.json.gz of B have identical detections" in capsys.readouterr().out


def test_other_methods_on_a_side_and_other_lengths_of_training_are_said(world, tmp_path, capsys):
    a = world.write(tmp_path / "a")
    other = world.write(tmp_path / "c", seed=1, method="bm")
    longer = world.write(tmp_path / "b", seed=2, config={"train": {"epochs": 9}})
    assert run(world, "--a", a, other, "--b", longer) == 0
    said = capsys.readouterr().out
    assert "note: the runs of A differ in their method" in said
    assert "B for 9 epochs: part of the difference may be that" in said


def test_a_note_on_one_of_several_runs_says_which():
    both, one = Note("coverage", "both"), Note("unit", "one")
    assert side_notes.lines("A", [[both], [both, one]], ["x", "y"]) == ["note: A: both", "note: A (y): one"]


def test_a_p_value_in_json_is_never_0(world, tmp_path):
    good, bad = world.write(tmp_path / "good", noise=0.1), world.write(tmp_path / "bad", seed=1, noise=20.0)
    assert run(world, good, bad, "--json", tmp_path / "out.json") == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["averages"]["0.1:0.7"]["p_value"] == pytest.approx(1 / 301)


def test_copies_of_a_run_under_other_names_are_noticed(world, tmp_path, capsys):
    paths = [tmp_path / f"{name}.json.gz" for name in "abc"]
    for path, seed in zip(paths, (0, 0, 1)):
        write_detections(path, world.detections(seed), world.protocol.classes, path.name)
    assert run(world, "--a", *paths, "--b", paths[0], "--protocol", "thumos14/v1") == 0
    assert "note: a.json.gz, b.json.gz of A score the same in every class" in capsys.readouterr().out


def test_what_is_no_pair_of_sides_is_refused_with_what_to_write(world, tmp_path, capsys):
    a = world.write(tmp_path / "a")
    for words in ((a,), (a, a, a), ("--a", a), (a, "--b", a), ()):
        assert run(world, *words) == 2
        assert "--a A1 A2" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(world, a, tmp_path / "empty") == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_two_protocols_or_other_annotations_cannot_be_compared(world, synthetic, tmp_path, capsys):
    real, made = world.write(tmp_path / "a"), synthetic.write(tmp_path / "b")
    assert run(world, real, made) == 2
    assert "two protocols" in capsys.readouterr().err
    other = world.write(tmp_path / "c", annotations={"sha256": sha("x"), "splits": {"test": sha("y")}})
    assert run(world, real, other) == 2
    assert "was scored on other annotations" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["compare", "leaderboard"])
def test_help_has_an_example(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert f"wtal-bench {verb}" in capsys.readouterr().out.partition("example:")[2]
