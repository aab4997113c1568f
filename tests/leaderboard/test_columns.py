"""A further evaluator is a further column, no other protocol: filed records stay, and get it from their detections."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from wtal_bench import protocols
from wtal_bench.cli import main
from wtal_bench.errors import RecordError
from wtal_bench.evaluation import PRESETS
from wtal_bench.leaderboard import columns
from wtal_bench.leaderboard.build import build, render, stale
from wtal_bench.leaderboard.filing import file_measured, verify
from wtal_bench.leaderboard.record import load_records, read_record
from wtal_bench.protocols import PROTOCOLS, Protocol

NAME, NEW = "thumos14/v1", "activitynet"


@pytest.fixture
def filed(world, board):
    """Two filed rows and current tables."""
    for seed, noise in ((0, 0.5), (1, 2.0)):
        world.file(board / "records", seed=seed, noise=noise, method=f"method {seed}")
    build(board)
    return board


@pytest.fixture
def revise(monkeypatch, small_protocol):
    """Changes the protocol as an edit of the source would."""

    def apply(**changes) -> Protocol:
        changed = replace(small_protocol, **changes)
        monkeypatch.setattr(protocols, "PROTOCOLS", {**PROTOCOLS, NAME: changed})
        return changed

    return apply


def add_evaluator(revise) -> Protocol:
    return revise(variants=(*PROTOCOLS[NAME].variants, NEW))


def averages(board, evaluator):
    rows = csv.DictReader(io.StringIO(render(board)["leaderboard.csv"]))
    return {row["method"]: row["percent"] for row in rows if (row["evaluator"], row["iou"]) == (evaluator, "0.1:0.7")}


def test_a_further_evaluator_leaves_every_record_accepted(filed, revise):
    add_evaluator(revise)
    assert [columns.lacking(item.record) for item in load_records(filed / "records")] == [[NEW], [NEW]]
    assert stale(filed) == []  # the tables say what is filed; nothing filed has changed


@pytest.mark.parametrize(
    "change",
    [
        {"variants": ("thumos_snippet", "thumos_seconds_212", "thumos_seconds_210", "wtalc")},
        {"tious": PROTOCOLS[NAME].tious[:-1]},
        {"averages": {"0.1:0.7": PROTOCOLS[NAME].tious}},
        {"subset": "train"},
        {"splits": {}},
        {"classes": PROTOCOLS[NAME].classes[::-1]},
    ],
    ids=["evaluator", "tIoUs", "averages", "subset", "split", "classes"],
)
def test_a_changed_ranking_rule_refuses_every_record(filed, revise, change):
    revise(**change)
    with pytest.raises(RecordError) as refused:
        load_records(filed / "records")
    assert str(refused.value).count("another rule of the same name") == 2


def test_building_adds_the_column_from_the_stored_detections(filed, world, revise):
    before = {item.path: item.record for item in load_records(filed / "records")}
    protocol = add_evaluator(revise)
    written = build(filed, [world.path])
    assert {path for path in written if path.suffix == ".json"} == set(before)
    for item in load_records(filed / "records"):
        old, new = before[item.path], item.record
        seed, noise = old["seed"], {0: 0.5, 1: 2.0}[old["seed"]]
        scored = protocol.score(world.detections(seed, noise), world.annotations)["variants"][NEW]
        assert new["metrics"]["variants"][NEW] == scored
        assert len(new["bootstrap"]["values"][NEW]) == new["bootstrap"]["resamples"]
        del new["metrics"]["variants"][NEW], new["bootstrap"]["values"][NEW], new["bootstrap"]["draw"][NEW]
        assert new == old  # nothing else is touched: commit, time, numbers and id are those of the run
    assert stale(filed) == []
    assert [item.state for item in verify(filed / "records", [world.path])] == ["same", "same"]
    assert averages(filed, NEW).keys() == {"method 0", "method 1"}
    again = {path: path.read_bytes() for path in filed.rglob("*.json")}
    assert not [path for path in build(filed, [world.path]) if path.suffix == ".json"]
    assert {path: path.read_bytes() for path in filed.rglob("*.json")} == again


def test_checking_scores_nothing(filed, revise, monkeypatch):
    add_evaluator(revise)
    monkeypatch.setattr(Protocol, "evaluate", lambda *_: pytest.fail("scored"))
    assert main(["leaderboard", "--check", "--folder", str(filed)]) == 0


def test_without_annotations_the_column_stays_empty_and_says_so(filed, revise, monkeypatch, caplog):
    monkeypatch.chdir(filed)
    monkeypatch.setenv("WTAL_DATA", str(filed))
    add_evaluator(revise)
    assert not [path for path in build(filed, demote=True) if path.suffix == ".json"]
    assert caplog.text.count(f"gets no column {NEW} (not verified)") == 2
    assert stale(filed) == []


def test_old_and_new_rows_stand_in_one_table(filed, world, revise, tmp_path):
    add_evaluator(revise)
    run = world_after(world).write(tmp_path / "run", seed=5, noise=0.1, method="newcomer")
    file_measured(filed / "records", run, world.path)
    assert averages(filed, NEW)["method 0"] == ""  # a line of the CSV, without a number
    assert float(averages(filed, NEW)["newcomer"]) > 0
    text = render(filed)
    lines = [line for line in text["README.md"].splitlines() if line.startswith("| 2 | method 0 |")]
    assert any("| - |" in line for line in lines)
    assert json.dumps(None) in text["index.html"]
    build(filed, [world.path])
    assert min(map(float, averages(filed, NEW).values())) > 0


def world_after(world):
    """The world under the protocol as it is now."""
    world.protocol = protocols.get_protocol(NAME)
    return world


def test_numbers_that_do_not_follow_get_no_further_column(filed, world, revise, caplog):
    path = next(item.path for item in load_records(filed / "records") if item.record["seed"] == 0)
    value = read_record(path)
    table = value["metrics"]["variants"]["wtalc"]
    name = next(iter(table["ap"]))
    table["ap"][name] = [x + 3e-10 if x < 0.5 else x - 3e-10 for x in table["ap"][name]]
    path.write_text(json.dumps(value))
    before = path.read_bytes()
    add_evaluator(revise)
    with pytest.raises(RecordError, match="its stored detections do not give its numbers"):
        build(filed, [world.path])
    assert path.read_bytes() == before
    assert f"gets no column {NEW} (differs)" in caplog.text


def test_a_column_by_another_rule_of_the_same_name_is_not_shown_and_made_anew(filed, world, revise, monkeypatch):
    """A record may be older than the repair of an evaluator; its old numbers must not stand among the new ones."""
    paths = [item.path for item in load_records(filed / "records")]
    for path in paths:
        value = read_record(path)
        value["metrics"]["variants"]["wtalc"]["hash"] = "0" * 64
        path.write_text(json.dumps(value))
    assert averages(filed, "wtalc") == {}
    assert [(item.state, item.lacks) for item in verify(filed / "records", [world.path])] == [("same", ("wtalc",))] * 2
    build(filed, [world.path])
    assert {read_record(path)["metrics"]["variants"]["wtalc"]["hash"] for path in paths} == {PRESETS["wtalc"].hash}
    assert averages(filed, "wtalc").keys() == {"method 0", "method 1"}


def test_an_evaluator_that_left_the_protocol_is_not_shown(filed, world, revise):
    revise(variants=PROTOCOLS[NAME].variants[:-1])
    assert averages(filed, "wtalc") == {}
    assert [item.state for item in verify(filed / "records", [world.path])] == ["same", "same"]


def test_verify_says_which_rows_lack_a_column_and_passes(filed, world, revise, capsys):
    add_evaluator(revise)
    command = ["leaderboard", "--verify", "--folder", str(filed), "--annotations", str(world.path)]
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.err.count(f"has no column {NEW}; `leaderboard build` adds it") == 2
    assert "2 scored again with equal numbers" in said.out
    assert main(["leaderboard", "build", *command[2:], "--annotations", str(world.path)]) == 0
    capsys.readouterr()
    assert main(command) == 0
    assert "has no column" not in capsys.readouterr().err


def test_a_run_of_an_older_harness_is_filed_with_todays_columns(world, board, revise, tmp_path):
    run = world.write(tmp_path / "run")
    add_evaluator(revise)
    path, verdict = file_measured(board / "records", run, world.path)
    assert verdict.state == "same"
    assert columns.lacking(read_record(path)) == []
    assert stale(board) != []
    build(board)
    assert averages(board, NEW).keys() == {"ecm"}
