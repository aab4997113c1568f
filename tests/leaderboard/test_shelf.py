"""The folder of filed records: swaps survive a kill, links are refused, and what lies astray is reported."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from wtal_bench.cli import main
from wtal_bench.errors import WtalError
from wtal_bench.leaderboard.build import build
from wtal_bench.leaderboard.filing import file_measured
from wtal_bench.leaderboard.record import load_records, read_record, write_record


def rewritten(path, change):
    """Edit a record's JSON where it lies."""
    record = read_record(path)
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def test_links_are_refused_and_reported(synthetic, board, tmp_path, capsys):
    root = board / "records"
    path = synthetic.file(root)
    stored = path.parent / read_record(path)["detections"]["file"]
    elsewhere = stored.rename(tmp_path / "elsewhere.json.gz")
    stored.symlink_to(elsewhere)
    with pytest.raises(WtalError, match="are a link"):
        load_records(root)
    stored.unlink()
    elsewhere.rename(stored)
    record = path.rename(tmp_path / path.name)
    path.symlink_to(record)
    with pytest.raises(WtalError, match="it is a link"):
        load_records(root)
    path.unlink()
    record.rename(path)
    shutil.copytree(path.parent, tmp_path / "folder")
    (root / "more").symlink_to(tmp_path / "folder", target_is_directory=True)
    build(board)
    assert main(["leaderboard", "--check", "--folder", str(board)]) == 1
    assert "is a link to a folder" in capsys.readouterr().err


def test_a_name_that_leads_out_of_the_folder_is_refused(synthetic, board):
    path = synthetic.file(board / "records")
    for name in ("../x.json.gz", "/etc/passwd", "..\\x.json.gz"):
        rewritten(path, lambda record, name=name: record["detections"].update(file=name))
        with pytest.raises(WtalError, match="must be a plain file name"):
            load_records(board / "records")


def test_files_of_no_record_are_reported(synthetic, board, capsys):
    path = synthetic.file(board / "records")
    build(board)
    check = ["leaderboard", "--check", "--folder", str(board)]
    assert main(check) == 0
    for name, what in ((f"{'0' * 64}.json.gz", "detections of no filed record"), ("notes.txt", "no part of a record")):
        (path.parent / name).write_text("x")
        assert main(check) == 1
        assert f"{path.parent / name} is {what}" in capsys.readouterr().err
        (path.parent / name).unlink()
    (board / "records" / ".gitkeep").touch()
    assert main(check) == 0


def killed_after(steps: int, work) -> bool:
    """Do some work in a process that dies before its n-th change of the file system; say whether it died."""
    child = os.fork()
    if child == 0:
        left = [steps]

        def guard(change):
            def guarded(*arguments, **options):
                if left[0] == 0:
                    os._exit(9)
                left[0] -= 1
                return change(*arguments, **options)

            return guarded

        for name in ("replace", "rename", "unlink", "remove", "rmdir", "link", "mkdir"):
            setattr(os, name, guard(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_replacing_add_killed_at_any_moment_is_put_right_by_the_next_command(synthetic, board, tmp_path, capsys):
    root = board / "records"
    old, _ = file_measured(root, synthetic.write(tmp_path / "old"))
    build(board)
    record, _ = synthetic.record()
    found = synthetic.detections(noise=2.0)
    record["metrics"] = synthetic.protocol.score(found, synthetic.annotations)
    new = write_record(tmp_path / "new", record, found, synthetic.protocol.classes)
    kept = tmp_path / "kept"
    shutil.copytree(root, kept)
    states = set()
    for steps in range(60):
        shutil.rmtree(root)
        shutil.copytree(kept, root)
        died = killed_after(steps, lambda: file_measured(root, new, replace=True))
        assert main(["leaderboard", "--check", "--folder", str(board)]) in (0, 1)
        said = capsys.readouterr().err
        assert "link" not in said
        assert "no part of a record" not in said
        assert "no filed record" not in said
        (item,) = load_records(root)
        states.add(item.path.name)
        assert sorted(path.name for path in root.rglob("*") if path.is_file()) == sorted(
            (item.path.name, item.detections_path.name)
        )
        for path in (new, tmp_path / "old" / old.name):
            assert main(["leaderboard", "add", str(path), "--replace", "--folder", str(board), "--no-build"]) == 0
        assert [item.path for item in load_records(root)] == [old]
        if not died:
            break
    assert not died
    assert states == {old.name, new.name}
    assert steps > 5


def test_a_hidden_record_somebody_put_there_takes_nothing_away(synthetic, board):
    root = board / "records"
    honest = synthetic.file(root)
    hidden = honest.with_name(f".replaced-{honest.name}")
    shutil.copy(honest, hidden)
    before = honest.read_bytes()
    assert main(["leaderboard", "build", "--folder", str(board)]) == 0
    assert honest.read_bytes() == before
    assert not hidden.exists()
    assert len(load_records(root)) == 1
