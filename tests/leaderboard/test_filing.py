"""A row is filed only as far as its detections bear it out, and stays only as long."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.leaderboard.fabricate import sha
from wtal_bench.cli import main
from wtal_bench.commands.leaderboard import file_record
from wtal_bench.errors import RecordError, WtalError
from wtal_bench.evaluation import write_detections
from wtal_bench.leaderboard import rescore, shelf
from wtal_bench.leaderboard.build import build
from wtal_bench.leaderboard.filing import file_external, file_measured, verify
from wtal_bench.leaderboard.metric_rules import RESAMPLES
from wtal_bench.leaderboard.record import load_record, load_records, read_record, write_record
from wtal_bench.structures import Detections

TERMS = {"method": "P-MIL (base)", "selection": "last", "url": "https://example.org/x"}


@pytest.fixture
def submission(world, tmp_path):
    path = tmp_path / "submission.json.gz"
    write_detections(path, world.detections(7), world.protocol.classes, "somebody")
    return path


def test_a_measured_record_is_scored_again_and_filed_with_its_bootstrap(world, board, tmp_path):
    run = world.write(tmp_path / "run")
    path, verdict = file_measured(board / "records", run, world.path)
    assert verdict.state == "same"
    assert path == board / "records" / "thumos14_v1" / "ecm" / run.name
    filed = load_record(path)
    assert filed.detections_path.is_file()
    assert filed.record["bootstrap"]["resamples"] == RESAMPLES
    without = {key: value for key, value in filed.record.items() if key != "bootstrap"}
    assert without == load_record(run).record


def test_edited_numbers_are_not_filed(world, board, tmp_path):
    run = world.write(tmp_path / "run")
    value = json.loads(run.read_text())
    for name in value["metrics"]["variants"]:
        table = value["metrics"]["variants"][name]
        table["ap"] = {key: [1.0] * 7 for key in table["ap"]}
        table["mAP"], table["averages"] = [1.0] * 7, dict.fromkeys(table["averages"], 1.0)
    run.write_text(json.dumps(value))
    with pytest.raises(RecordError, match="do not give its numbers"):
        file_measured(board / "records", run, world.path)
    assert load_records(board / "records") == []


def test_a_repeated_run_is_refused_unless_it_replaces(world, board, tmp_path):
    root = board / "records"
    file_measured(root, world.write(tmp_path / "a"), world.path)
    record, _ = world.record()
    other = world.detections(noise=2.0)
    record["metrics"] = world.protocol.score(other, world.annotations)
    again = write_record(tmp_path / "b", record, other, world.protocol.classes)
    with pytest.raises(RecordError, match="the same config and seed"):
        file_measured(root, again, world.path)
    path, _ = file_measured(root, again, world.path, replace=True)
    assert [item.path for item in load_records(root)] == [path]
    assert len(list(path.parent.glob("*.json.gz"))) == 1


def test_replacing_keeps_detections_that_another_record_shares(world, board, tmp_path):
    root = board / "records"
    nothing = {name: Detections.empty() for name in world.detections()}
    for seed in (0, 1):
        record, _ = world.record(seed)
        record["metrics"] = world.protocol.score(nothing, world.annotations)
        run = write_record(tmp_path / f"run{seed}", record, nothing, world.protocol.classes)
        file_measured(root, run, world.path)
    assert len(list(root.rglob("*.json.gz"))) == 1
    file_measured(root, world.write(tmp_path / "better", seed=0), world.path, replace=True)
    assert sorted(item.record["detections"]["count"] > 0 for item in load_records(root)) == [False, True]


def test_a_refused_file_does_not_leave_the_tables_behind(world, board, tmp_path):
    good, bad = world.write(tmp_path / "a"), tmp_path / "bad.json"
    bad.write_text("{}")
    common = ["--folder", str(board), "--annotations", str(world.path)]
    assert main(["leaderboard", "add", str(good), str(bad), *common]) == 2
    assert len(load_records(board / "records")) == 1
    assert main(["leaderboard", "--check", *common]) == 0


def test_filing_again_what_is_filed_is_refused_or_changes_nothing(world, board, tmp_path):
    root, run = board / "records", world.write(tmp_path / "a")
    path, _ = file_measured(root, run, world.path)
    before = path.read_bytes()
    with pytest.raises(RecordError, match="the same id"):
        file_measured(root, run, world.path)
    file_measured(root, run, world.path, replace=True)
    assert path.read_bytes() == before
    assert load_record(path).detections_path.is_file()


def test_a_run_on_other_annotations_than_its_protocols_stays_in_its_folder(world, board, tmp_path):
    splits = {**world.record()[0]["annotations"]["splits"], "test": sha("elsewhere")}
    run = world.write(tmp_path / "a", annotations={"sha256": sha("elsewhere"), "splits": splits})
    with pytest.raises(RecordError, match="its annotations of subset 'test' are not those of thumos14/v1"):
        file_measured(board / "records", run, world.path)


def test_a_ranked_row_whose_annotations_are_gone_is_not_checked_and_keeps_its_rank(
    world, board, tmp_path, monkeypatch, capsys
):
    path = world.file(board / "records")
    build(board)
    before = {name: (board / name).read_bytes() for name in ("README.md", "leaderboard.csv", "index.html")}
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "nowhere"))
    for _ in range(2):  # the second time it may be known from the cache
        assert main(["leaderboard", "--check", "--folder", str(board)]) == 1
        said = capsys.readouterr().err
        assert f"row {path.stem} ({path}) cannot be checked here without its annotations (sha " in said
        assert "give them with --annotations" in said
        assert "leaderboard build" not in said
        assert "not current" not in said
    assert main(["leaderboard", "build", "--folder", str(board)]) == 2
    said = capsys.readouterr().err
    assert path.stem in said
    assert "--demote" in said
    assert before == {name: (board / name).read_bytes() for name in before}
    assert main(["leaderboard", "--check", "--folder", str(board), "--annotations", str(world.path)]) == 0
    assert main(["leaderboard", "build", "--folder", str(board), "--demote"]) == 0
    assert "ECM: not scored again" in (board / "README.md").read_text()
    assert main(["leaderboard", "--check", "--folder", str(board)]) == 0


def test_without_annotations_a_run_is_filed_unranked_until_they_are_there(world, board, tmp_path, monkeypatch):
    run = world.write(tmp_path / "a")
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "nowhere"))
    path, verdict = file_measured(board / "records", run)
    assert verdict.state == "not verified"
    assert "bootstrap" not in read_record(path)
    build(board)
    assert "ECM: not scored again" in (board / "README.md").read_text()
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "data"))
    build(board)
    assert "not scored again |" not in (board / "README.md").read_text()
    assert "| 1 | ECM |" in (board / "README.md").read_text()
    assert "bootstrap" in read_record(path)


def test_an_external_row_is_scored_here(world, board, submission):
    path, notes = file_external(board / "records", submission, world.protocol, TERMS, world.path)
    stored = load_record(path)
    assert path.parent.name == "p-mil-base"
    assert stored.record["metrics"] == world.protocol.score(world.detections(7), world.annotations)
    assert stored.record["source"] == "external"
    assert any("not comparable" in note.text for note in notes)  # six videos are not the frozen test set
    assert [item.state for item in verify(board / "records", [world.path])] == ["same"]
    with pytest.raises(RecordError, match="repeats"):
        file_external(board / "records", submission, world.protocol, {**TERMS, "method": "copy"}, world.path)


def test_a_refused_external_row_names_the_file_that_was_given_and_leaves_nothing(world, board, submission):
    with pytest.raises(RecordError) as caught:
        file_external(board / "records", submission, world.protocol, {**TERMS, "method": "-odd"}, world.path)
    assert str(caught.value).startswith(f"{submission} is refused:\n  - method is '-odd'")
    assert ".filing-" not in str(caught.value)
    assert "kept" not in str(caught.value)
    assert [path for path in (board / "records").rglob("*") if path.is_file()] == []


def test_a_failure_while_filing_leaves_nothing(world, board, submission, monkeypatch):
    monkeypatch.setattr(shelf, "load_record", lambda _: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        file_external(board / "records", submission, world.protocol, TERMS, world.path)
    assert [path for path in (board / "records").rglob("*") if path.is_file()] == []


def test_verify_finds_numbers_that_no_longer_follow(world, board):
    root = board / "records"
    world.file(root, seed=0)
    path = world.file(root, seed=1, method="edited")
    value = json.loads(path.read_text())
    table = value["metrics"]["variants"]["wtalc"]
    name = next(iter(table["ap"]))
    table["ap"][name] = [min(1.0, x + 3e-10) for x in table["ap"][name]]
    path.write_text(json.dumps(value))
    states = {item.record: item for item in verify(root, [world.path])}
    assert sorted(item.state for item in states.values()) == ["differs", "same"]
    assert "metrics.variants.wtalc" in states[path.stem].why


def test_verify_names_rows_whose_annotations_are_absent(world, synthetic, board, monkeypatch, capsys):
    def nowhere(*_):
        raise WtalError("the annotations are nowhere")

    world.file(board / "records")
    synthetic.file(board / "records")
    monkeypatch.setattr(rescore, "load_annotations", nowhere)
    arguments = ["leaderboard", "--verify", "--folder", str(board), "--annotations", str(world.path)]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "2 records: 1 scored again with equal numbers, 0 differ, 1 not verified" in out
    assert "nowhere" in err
    assert "ecm-s0" in err


def test_the_command_files_both_kinds_and_rebuilds(world, board, submission, tmp_path, capsys):
    run = world.write(tmp_path / "run")
    common = ["--folder", str(board), "--annotations", str(world.path)]
    assert main(["leaderboard", "add", str(run), *common]) == 0
    assert main(["leaderboard", "add", str(submission), "--protocol", "thumos14/v1", "--method", "x", *common]) == 0
    out = capsys.readouterr().out
    assert "its detections give its numbers" in out
    assert "without --selection" in out
    assert main(["leaderboard", "--check", "--verify", *common]) == 0
    assert "External, thumos14/v1" in (board / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{s}"], "holds detections, not a record"),
        (["{s}", "--protocol", "thumos14/v1"], "--method"),
        (["{s}", "--protocol", "thumos", "--method", "x"], "no protocol 'thumos'"),
        (["{s}", "{s}", "--protocol", "thumos14/v1", "--method", "x"], "one detection file at a time"),
        (["nothing.json"], "there is no such file"),
    ],
)
def test_what_cannot_be_filed_says_what_to_do(board, submission, capsys, arguments, complaint):
    arguments = [text.replace("{s}", str(submission)) for text in arguments]
    assert main(["leaderboard", "add", *arguments, "--folder", str(board)]) == 2
    assert complaint in capsys.readouterr().err


def test_plain_json_detections_are_told_from_a_record(board, submission, capsys):
    plain = submission.with_name("plain.json")
    plain.write_bytes(gzip.decompress(submission.read_bytes()))
    assert main(["leaderboard", "add", str(plain), "--folder", str(board)]) == 2
    assert "holds detections, not a record" in capsys.readouterr().err


def test_a_run_can_file_itself(world, board, tmp_path):
    text = file_record(world.write(tmp_path / "run", selection="best_on_test"), board, world.path)
    assert "shown, but not ranked: checkpoint picked on the test set" in text
    assert (board / "index.html").is_file()
