"""A board made from remembered parts is, to the byte, what it is without, whatever changed or was damaged."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import REPOSITORY
from wtal_bench.errors import RecordError
from wtal_bench.evaluation import t_over_z
from wtal_bench.files import cache_folder
from wtal_bench.leaderboard import build as building
from wtal_bench.leaderboard import record as reading
from wtal_bench.leaderboard import seen
from wtal_bench.leaderboard.build import build, render
from wtal_bench.leaderboard.filing import file_measured
from wtal_bench.leaderboard.page import WIDENING
from wtal_bench.leaderboard.recall import Memory
from wtal_bench.leaderboard.record import load_records, read_record


@pytest.fixture(autouse=True)
def later(monkeypatch):
    """So late that what is there has settled."""
    monkeypatch.setattr(seen, "SETTLED", -(10**12))


@pytest.fixture
def parsed(monkeypatch):
    """The records that are read and parsed."""
    names, decode = [], reading.decode_json
    monkeypatch.setattr(
        reading,
        "decode_json",
        lambda content, path, **how: names.append(Path(path).stem) or decode(content, path, **how),
    )
    return names


@pytest.fixture
def filed(world, synthetic, board):
    """Ranked rows, a mix on its host, one that is not ranked, an external one, another protocol."""
    for seed, noise in ((0, 0.5), (1, 0.6), (2, 0.7)):
        world.file(board / "records", seed=seed, noise=noise, method="ecm")
        world.file(board / "records", seed=seed + 3, noise=2 * noise, method="ftcl")
    mix = {"host": {"method": "ftcl", "variant": ""}, "ideas": {"ten": {}}}
    world.file(board / "records", seed=3, noise=0.9, method="ftcl", variant="ten", config=mix)
    world.file(board / "records", seed=9, method="lucky", selection="best_on_test")
    unknown = {"manifest_hash": None, "extractor": "", "synthetic": False}
    world.file(board / "records", seed=8, noise=0.4, method="p_mil", source="external", features=unknown)
    synthetic.file(board / "records")
    shutil.copy(REPOSITORY / "leaderboard" / "published.csv", board)
    build(board)
    return board


def plain(board: Path, monkeypatch) -> dict[str, str]:
    """The texts of a build that remembers nothing."""
    with monkeypatch.context() as patch:
        patch.setenv("WTAL_CACHE", str(board.parent / "nothing"))
        shutil.rmtree(board.parent / "nothing", ignore_errors=True)
        return render(board)


def first(board: Path, name: str = "ecm-s0") -> Path:
    return next((board / "records").rglob(f"{name}*.json"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def a_replaced_one(world, board):
    path = first(board)
    record = read_record(path)
    path.unlink()
    (path.parent / record["detections"]["file"]).unlink()
    world.file(board / "records", seed=0, noise=0.3, method="ecm")


CHANGES = {
    "nothing": lambda world, board: None,
    "an edited one": lambda world, board: edit(first(board), "2026-11-22", "2026-11-23"),
    "a removed one": lambda world, board: first(board).unlink(),
    "one more seed": lambda world, board: world.file(board / "records", seed=7, noise=0.5, method="ecm"),
    "a new best": lambda world, board: world.file(board / "records", seed=7, noise=0.01, method="best"),
    "a namesake": lambda world, board: world.file(
        board / "records", seed=7, method="ecm", config={"model": {"width": 9}}
    ),
    "a replaced one": a_replaced_one,
    "published.csv": lambda world, board: (board / "published.csv").write_text(
        (board / "published.csv").read_text().rstrip().rpartition("\n")[0] + "\n"
    ),
    "annotations": lambda world, board: shutil.rmtree(board.parent / "data" / "thumos14"),
}
DAMAGE = {
    "no harm": lambda place: None,
    "no parts": lambda place: (place / "parts.txt").unlink(),
    "cut parts": lambda place: (place / "parts.txt").write_bytes((place / "parts.txt").read_bytes()[:-1]),
    "forged parts": lambda place: edit_all(place / "parts.txt", "ECM", "ECN"),
    "no arrays": lambda place: (place / "arrays.npy").unlink(),
    "cut arrays": lambda place: (place / "arrays.npy").write_bytes((place / "arrays.npy").read_bytes()[:-8]),
    "forged arrays": lambda place: np.save(place / "arrays.npy", 1 - np.load(place / "arrays.npy")),
    "arrays of another kind": lambda place: edit_all(place / "arrays.npy", "<f8", "|O8"),
    "empty arrays": lambda place: (place / "arrays.npy").write_bytes(b""),
}


def edit_all(path: Path, old: str, new: str) -> None:
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))


@pytest.mark.parametrize("change", CHANGES)
def test_parts_give_the_bytes_of_a_build_without_them(world, filed, change, monkeypatch):
    CHANGES[change](world, filed)
    texts = render(filed)
    assert texts == plain(filed, monkeypatch)
    assert render(filed) == texts


def test_damaged_parts_are_none(world, filed, tmp_path, monkeypatch):
    (place,) = (cache_folder() / "boards").iterdir()
    shutil.copytree(place, tmp_path / "whole")
    CHANGES["a new best"](world, filed)
    texts = plain(filed, monkeypatch)
    for damage, harm in DAMAGE.items():
        shutil.rmtree(place)
        shutil.copytree(tmp_path / "whole", place)
        harm(place)
        assert render(filed) == texts, damage


def test_parts_of_other_code_are_none(world, filed, monkeypatch, parsed):
    monkeypatch.setattr("wtal_bench.leaderboard.cached._code", lambda: "of another version")
    CHANGES["an edited one"](world, filed)
    assert render(filed) == plain(filed, monkeypatch)
    assert len(parsed) == 2 * len(load_records(filed / "records"))


def test_parts_made_under_other_rules_are_none(filed, monkeypatch):
    assert Memory(filed).parts.records
    monkeypatch.setattr("wtal_bench.leaderboard.parts.titles", lambda: {})
    assert not Memory(filed).parts.records


def test_only_what_changed_is_parsed(world, filed, parsed):
    edit(first(filed, "lucky"), "2026-11-22", "2026-11-23")
    render(filed)
    assert [name.rpartition("-")[0] for name in parsed] == ["lucky-s9"]
    parsed.clear()
    edit(first(filed), "2026-11-22", "2026-11-23")
    render(filed)
    # the other seeds of its row too, of which only means were kept
    assert sorted(name.rpartition("-")[0] for name in parsed) == ["ecm-s0", "ecm-s1", "ecm-s2"]


def test_a_new_best_row_is_compared_by_what_was_kept(world, filed, parsed):
    CHANGES["a new best"](world, filed)
    render(filed)
    assert [name.rpartition("-")[0] for name in parsed] == ["best-s7"]


def test_filing_a_row_parses_no_other(world, filed, parsed, tmp_path):
    path = world.write(tmp_path / "run", seed=5, method="ecm")
    parsed.clear()
    file_measured(filed / "records", path)
    assert set(parsed) == {path.stem}


def test_a_record_that_changes_while_the_board_is_read_is_refused(filed):
    memory = Memory(filed)
    records = load_records(filed / "records", memory.seen, memory.parts.records)
    assert all(item.is_light for item in records)
    edit(records[0].path, "2026-11-22", "2026-11-23")
    assert records[1].whole().record == read_record(records[1].path)
    with pytest.raises(RecordError, match="was changed while the board was being read"):
        records[0].whole()


def test_the_filed_board_is_the_same_from_parts(tmp_path, monkeypatch, parsed):
    board = tmp_path / "filed"
    shutil.copytree(REPOSITORY / "leaderboard", board)
    # what is filed is scored again elsewhere
    monkeypatch.setattr(building, "rescored", lambda records, *_: [replace(item, unverified="") for item in records])
    render(board)
    path = min((board / "records").rglob("*.json"))
    path.write_text(re.sub(r'"created": "2026-11-..', '"created": "2026-11-22', path.read_text()))
    count = len(parsed)
    texts = render(board)
    assert len(parsed) - count < 10 < count
    assert texts == plain(board, monkeypatch)


def test_what_the_page_widens_by_is_what_comparisons_are_widened_by():
    wanted = (1.0, *(round(t_over_z(50 / step), 6) for step in range(1, 51)))
    assert wanted == WIDENING
