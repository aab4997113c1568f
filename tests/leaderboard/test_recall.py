"""A board on which nothing changed is known again by its bytes; one that changed in anything is made anew."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wtal_bench.cli import main
from wtal_bench.errors import RecordError
from wtal_bench.files import cache_folder
from wtal_bench.leaderboard import build as building
from wtal_bench.leaderboard.build import build, check, render
from wtal_bench.leaderboard.cached import KEPT
from wtal_bench.leaderboard.recall import Known, Memory


@pytest.fixture
def filed(world, synthetic, board):
    for seed in (0, 1):
        world.file(board / "records", seed=seed, noise=0.5, method="ecm")
    synthetic.file(board / "records")
    build(board)
    return board


@pytest.fixture
def made(monkeypatch):
    """How often the records were read and laid out."""
    calls, texts = [], building._texts
    monkeypatch.setattr(building, "_texts", lambda *args: calls.append(1) or texts(*args))
    return calls


def recall(board: Path) -> Known | None:
    return Memory(board).recall()


def entry() -> Path:
    (path,) = (cache_folder() / "boards").glob("*/board.json")
    return path


def test_an_unchanged_board_is_recalled_with_equal_texts(filed, made, monkeypatch):
    known = render(filed)
    assert check(filed) == ([], [])
    build(filed)
    assert not made
    entry().unlink()
    assert render(filed) == known
    assert made == [1]


def test_changed_bytes_are_found_though_size_and_time_are_kept(filed):
    path = next((filed / "records").rglob("ecm-s0*.json"))
    before, text = path.stat(), path.read_text()
    path.write_text(text.replace('"train_seconds": 1', '"train_seconds": 2'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.read_text() != text
    assert recall(filed) is None
    path.write_text(text)
    assert recall(filed) is not None


def test_forged_detections_are_found(filed):
    path = next((filed / "records").rglob("*.json.gz"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(RecordError, match="was changed or damaged"):
        check(filed)


@pytest.mark.parametrize("what", ["a stray file", "a link", "a removed record", "published.csv", "annotations"])
def test_a_board_that_differs_is_not_recalled(filed, what, tmp_path):
    assert recall(filed) is not None
    records = sorted((filed / "records").rglob("*.json"))
    if what == "a stray file":
        (filed / "records" / "notes.txt").write_text("mine")
    elif what == "a link":
        moved = tmp_path / "elsewhere.json"
        records[0].rename(moved)
        records[0].symlink_to(moved)
    elif what == "a removed record":
        records[0].unlink()
    elif what == "published.csv":
        (filed / "published.csv").write_text("source\n")
    else:  # without them rows cannot be scored again, hence not ranked
        (tmp_path / "data" / "thumos14").rename(tmp_path / "gone")
    assert recall(filed) is None


def test_what_could_not_be_scored_is_warned_of_each_time(world, board, tmp_path, caplog, made):
    world.file(board / "records", method="ecm")
    (tmp_path / "data" / "thumos14").rename(tmp_path / "gone")
    build(board)
    first = caplog.messages[:]
    caplog.clear()
    build(board)
    assert made == [1]
    assert caplog.messages == first
    assert "not scored again, hence not ranked" in first[0]


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"0\n{}", None])
def test_a_damaged_entry_is_none(filed, damage, made):
    content = entry().read_bytes()
    entry().write_bytes(content.replace(b"ECM", b"ECN").replace(b"ecm", b"ecn") if damage is None else damage)
    assert check(filed) == ([], [])
    assert made == [1]
    assert entry().read_bytes() == content


def test_an_entry_of_other_code_is_none(filed, monkeypatch):
    monkeypatch.setattr("wtal_bench.leaderboard.cached._code", lambda: "of another version")
    assert recall(filed) is None


def test_verify_scores_every_row_whatever_is_remembered(filed, monkeypatch, capsys):
    monkeypatch.setattr("wtal_bench.leaderboard.build.Memory", lambda *_: pytest.fail("recalled"))
    assert main(["leaderboard", "--verify", "--folder", str(filed)]) == 0
    assert "3 records: 3 scored again" in capsys.readouterr().out


def test_a_cache_that_cannot_be_written_changes_nothing(filed, tmp_path, monkeypatch):
    known = render(filed)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "file"))
    assert render(filed) == known


def test_many_at_once_agree(filed):
    entry().unlink()
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(render, [filed] * 8))
    assert all(text == texts[0] for text in texts)
    assert recall(filed).texts == texts[0]


def test_the_oldest_boards_make_room(synthetic, tmp_path):
    for number in range(KEPT + 2):
        board = tmp_path / f"board{number}"
        synthetic.file(board / "records", method=f"m{number}")
        build(board)
    kept = list((cache_folder() / "boards").glob("*/board.json"))
    assert len(kept) == len(list((cache_folder() / "boards").iterdir())) == KEPT
    assert recall(board) is not None
    assert all(json.loads(path.read_text().partition("\n")[2])["whole"] for path in kept)
