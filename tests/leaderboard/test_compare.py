"""`compare`: the signs are right, ties are said plainly, and what cannot be compared is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.leaderboard.fabricate import sha
from wtal_bench.cli import main
from wtal_bench.evaluation import write_detections
from wtal_bench.leaderboard.compare import compare, find_side
from wtal_bench.structures import Detections


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
        sides.append(find_side(str(path)))
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
