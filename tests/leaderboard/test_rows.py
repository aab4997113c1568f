"""What may stand in one table, and how it is summarised, ranked and compared."""

from __future__ import annotations

import statistics

import pytest

from tests.leaderboard.fabricate import UNCLEAN, sha
from wtal_bench.leaderboard.identity import record_folder
from wtal_bench.leaderboard.published import Cell, PublishedRow
from wtal_bench.leaderboard.record import load_records, write_record
from wtal_bench.leaderboard.rescore import rescored
from wtal_bench.leaderboard.rows import Row, _is_collapsed, build_sections, compare_rows
from wtal_bench.leaderboard.tables import build_document
from wtal_bench.protocols import PROTOCOLS
from wtal_bench.structures import Detections
from wtal_bench.text import span_order

MAIN, SPAN = "thumos_seconds_212", "0.1:0.7"


def sections(root):
    return build_sections(rescored(load_records(root)))


def test_seeds_become_one_row_with_mean_and_sample_deviation(world, board):
    averages = []
    for seed in (2, 0, 1):
        world.file(board, seed=seed)
        averages.append(world.record(seed)[0]["metrics"]["variants"][MAIN]["averages"][SPAN])
    (row,) = sections(board)[0].blocks[0].rows
    assert row.seeds == (0, 1, 2)
    score = row.average(MAIN, SPAN)
    assert score.mean == pytest.approx(statistics.fmean(averages), abs=1e-15)
    assert score.std == pytest.approx(statistics.stdev(averages), abs=1e-15)


def test_one_seed_has_no_spread(world, board):
    world.file(board)
    (row,) = sections(board)[0].blocks[0].rows
    assert row.average(MAIN, SPAN).std is None


def test_other_settings_and_other_plugin_versions_are_other_rows(world, board):
    world.file(board)
    world.file(board, seed=1, config={"model": {"width": 16}})
    parts = [{"kind": "head", "name": "ecm.Post", "plugin": "ecm", "version": "0.2.0"}]
    world.file(board, seed=2, components=parts)
    assert [len(row.records) for row in sections(board)[0].blocks[0].rows] == [1, 1, 1]


def test_a_checkpoint_picked_on_the_test_set_never_ranks_above_an_honest_one(world, board):
    world.file(board, seed=0, noise=3.0, method="honest")
    world.file(board, seed=1, noise=0.1, method="lucky", selection="best_on_test")
    world.file(board, seed=2, noise=0.1, method="unclean", distributions=UNCLEAN)
    world.file(board, seed=3, noise=2.0, method="held out", selection="val_holdout")
    rows = sections(board)[0].blocks[0].rows
    best = {row.method: row.average(MAIN, SPAN).mean for row in rows}
    assert best["lucky"] > max(best["honest"], best["held out"])
    assert {row.method: row.rank for row in rows} == {"held out": 1, "honest": 2, "lucky": None, "unclean": None}
    assert [bool(row.reason) for row in rows] == [False, False, True, True]


def test_an_unclean_seed_does_not_enter_the_mean_of_the_clean_ones(world, board):
    world.file(board, seed=0)
    world.file(board, seed=1, distributions=UNCLEAN)
    assert [row.seeds for row in sections(board)[0].blocks[0].rows] == [(0,), (1,)]


def test_equal_scores_share_a_rank(world, board):
    world.file(board, method="a")
    record, videos = world.record(method="b")
    wider = {name: Detections(d.start, d.end + 0.002, d.label, d.score) for name, d in videos.items()}
    record["metrics"] = world.protocol.score(wider, world.annotations)
    write_record(record_folder(board, record), record, wider, world.protocol.classes)
    rows = sections(board)[0].blocks[0].rows
    assert [(row.method, row.rank) for row in rows] == [("a", 1), ("b", 1)]


def test_other_features_are_another_block_and_another_file_of_the_same_annotations_is_none(world, board, tmp_path):
    world.file(board, seed=0)
    world.file(board, seed=1, features={"manifest_hash": sha("tsn"), "extractor": "TSN", "synthetic": False})
    world.file(board, seed=2, annotations={**world.record()[0]["annotations"], "sha256": sha("spaced otherwise")})
    blocks = sections(board)[0].blocks
    assert sorted(len(block.rows[0].records) for block in blocks) == [1, 2]
    assert {row.rank for block in blocks for row in block.rows} == {1}


def test_external_rows_stand_apart(world, board):
    world.file(board)
    world.file(
        board,
        seed=1,
        source="external",
        features={"manifest_hash": None, "extractor": "", "synthetic": False},
    )
    (section,) = sections(board)
    assert [row.records[0]["source"] for block in section.blocks for row in block.rows] == ["measured"]
    assert [row.records[0]["source"] for block in section.external for row in block.rows] == ["external"]


def test_synthetic_and_real_rows_share_no_chapter(world, synthetic, board):
    world.file(board)
    synthetic.file(board)
    found = sections(board)
    assert [section.synthetic for section in found] == [False, True]
    chapters = build_document(found, []).chapters
    assert [(chapter.synthetic, chapter.protocols) for chapter in chapters] == [
        (False, ("thumos14/v1",)),
        (True, ("synthetic_tiny/v2",)),
    ]


def test_a_clear_difference_is_distinguishable_and_a_small_one_is_not(world, board):
    world.file(board, seed=0, noise=0.2, method="good")
    world.file(board, seed=1, noise=0.21, method="as good")
    world.file(board, seed=2, noise=20.0, method="bad")
    rows = {row.method: row for row in sections(board)[0].blocks[0].rows}
    clear = compare_rows(rows["good"], rows["bad"], MAIN, SPAN)
    assert clear.distinguishable
    assert 0 < clear.low <= clear.difference <= clear.high
    assert not compare_rows(rows["good"], rows["as good"], MAIN, SPAN).distinguishable
    back = compare_rows(rows["bad"], rows["good"], MAIN, SPAN)
    assert (back.difference, back.low) == (pytest.approx(-clear.difference), pytest.approx(-clear.high))


def settings(epochs, width=8):
    return {"model": {"width": width}, "train": {"epochs": epochs}}


def test_rows_of_one_method_say_what_they_differ_in(world, board):
    world.file(board, seed=0, config=settings(5))
    world.file(board, seed=1, config=settings(10))
    world.file(board, seed=2, config=settings(10), selection="val_holdout")
    world.file(board, seed=3, method="alone", config=settings(5))
    labels = {row.label for row in sections(board)[0].blocks[0].rows}
    assert labels == {
        "ECM, 5 epochs, last epoch",
        "ECM, 10 epochs, last epoch",
        "ECM, 10 epochs, held-out train videos",
        "alone",
    }
    (part,) = build_document(sections(board), []).chapters[0].parts
    names = {line.cells[part.tables[0].heads.index("method")].text for line in part.tables[0].lines}
    assert names == labels


def test_rows_that_differ_in_other_settings_name_the_config_and_other_plugins_their_versions(world, board):
    world.file(board, seed=0, config=settings(5))
    world.file(board, seed=1, config=settings(5, width=16))
    hashes = {row.label.split("config ")[1] for row in sections(board)[0].blocks[0].rows}
    assert hashes == {row.records[0]["config_hash"][:8] for row in sections(board)[0].blocks[0].rows}
    parts = [{"kind": "head", "name": "ecm.Post", "plugin": "ecm", "version": "0.2.0"}]
    world.file(board, seed=2, config=settings(5), components=parts)
    labels = {row.label for row in sections(board)[0].blocks[0].rows}
    assert len(labels) == 3
    assert sum("ecm 0.2.0" in label for label in labels) == 1


def test_a_comparison_of_rows_covers_the_spread_between_their_seeds(world, board):
    for seed, noise in enumerate((0.1, 3.0, 20.0)):
        world.file(board, seed=seed, noise=noise, method="wild")
        world.file(board, seed=seed + 10, noise=8.0, method="even")
    rows = {row.method: row for row in sections(board)[0].blocks[0].rows}
    found = compare_rows(rows["wild"], rows["even"], MAIN, SPAN)
    single = {name: Row(row.records[:1], "") for name, row in rows.items()}
    assert compare_rows(single["wild"], single["even"], MAIN, SPAN).distinguishable
    assert not found.distinguishable
    assert found.high - found.low > 2 * compare_rows(rows["even"], single["even"], MAIN, SPAN).high


def test_an_interval_of_one_seed_a_side_says_videos_only(world, board):
    for seed, method in enumerate(("a", "b")):
        world.file(board, seed=seed, method=method)
    (table, *_) = build_document(sections(board), []).chapters[0].parts[0].tables
    cell = table.lines[1].cells[table.heads.index("vs first")]
    assert cell.text.endswith("], videos only")
    world.file(board, seed=7, method="a")
    (table, *_) = build_document(sections(board), []).chapters[0].parts[0].tables
    assert table.lines[1].cells[table.heads.index("vs first")].text.endswith("]")


def test_rows_on_other_videos_cannot_be_paired(world, board, tmp_path):
    world.file(board, seed=0)
    record, videos = world.record(seed=1, method="other")
    write_record(record_folder(board, record), record, videos, world.protocol.classes)
    a, b = sections(board)[0].blocks[0].rows
    assert compare_rows(a, b, MAIN, SPAN) is None


def test_averages_run_from_narrow_to_wide():
    assert sorted(["0.1:0.7", "0.3:0.7", "0.1:0.5", "0.5"], key=span_order) == ["0.5", "0.1:0.5", "0.3:0.7", "0.1:0.7"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_average_that_ranks_is_the_protocols_headline(name):
    protocol = PROTOCOLS[name]
    assert max(protocol.averages, key=span_order) == protocol.headline


def test_the_published_column_holds_the_paper_and_nothing_measured(world, board):
    world.file(board)
    paper = PublishedRow("ECM", "full method", "THUMOS14", "test", ("ECM Table 3",), True, {SPAN: Cell("37.4")})
    table = build_document(sections(board), [paper]).chapters[0].parts[0].tables[0]
    assert table.lines[0].cells[table.heads.index("published")].text == "37.4"


@pytest.mark.parametrize(
    ("protocol", "average", "expected"),
    [("synthetic/v2", 0.079, True), ("synthetic/v2", 0.09, False), ("thumos14/v1", 0.079, False),
     ("thumos14/v1", 0.019, True), ("thumos14/v1", None, False)],
)  # fmt: skip
def test_a_seed_is_collapsed_by_the_average_that_ranks_and_by_chance_where_that_is_known(protocol, average, expected):
    # as a record read back has them: in the order of their names
    averages = {"0.1:0.5": 0.001, "0.1:0.7": average, "0.3:0.7": 0.001}
    record = {
        "protocol": {"name": protocol},
        "metrics": {"main": "one", "variants": {"one": {"averages": averages}}, "classification_mAP": 0.9},
    }
    assert _is_collapsed(record) == expected
