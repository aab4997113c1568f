"""The records as one tidy table: every number of every record once, unrounded, and the CSV made from it."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from statistics import fmean, stdev

import pandas as pd
import pytest

from tests.helpers import REPOSITORY
from wtal_bench.errors import RecordError
from wtal_bench.leaderboard import frame, tidy
from wtal_bench.leaderboard.build import render
from wtal_bench.leaderboard.record import load_records, read_record

SPAN = "0.1:0.7"


@pytest.fixture
def filed(world, synthetic, board):
    for seed, noise, method in ((0, 0.5, "ecm"), (1, 0.6, "ecm"), (2, 0.7, "ecm"), (0, 1.5, "ftcl")):
        world.file(board / "records", seed=seed, noise=noise, method=method)
    world.file(board / "records", seed=9, method="lucky", selection="best_on_test")
    synthetic.file(board / "records")
    return board


def test_every_number_of_every_record_stands_there_once_and_unrounded(filed):
    table = frame(filed)
    assert tuple(table.columns) == tidy.FRAME_COLUMNS
    found = {tuple(line[:-1]): line[-1] for line in table[["record", "evaluator", "iou", "value"]].values.tolist()}
    wanted = {}
    for stored in load_records(filed / "records"):
        for name, column in stored.record["metrics"]["variants"].items():
            numbers = {f"{t:g}": value for t, value in zip(column["tious"], column["mAP"])} | column["averages"]
            wanted |= {(stored.record["id"], name, iou): value for iou, value in numbers.items()}
    assert found == wanted
    assert len(table) == len(wanted)


def test_the_columns_are_those_documented():
    documented = tidy.__doc__.partition("threshold:")[2].partition("A table as on the page")[0]
    assert [name for name in tidy.FRAME_COLUMNS if name not in documented] == []


def test_a_row_says_what_its_record_says(filed):
    table = frame(filed).set_index("record")
    for stored in load_records(filed / "records"):
        record, lines = stored.record, table.loc[stored.record["id"]]
        one = lines.iloc[0]
        for key in ("source", "method", "variant", "supervision", "selection", "seed", "config_hash", "created"):
            assert one[key] == record[key]
        assert (one["protocol"], one["protocol_hash"]) == (record["protocol"]["name"], record["protocol"]["hash"])
        assert (one["features"], one["annotations"]) == (
            record["features"]["manifest_hash"],
            record["annotations"]["sha256"],
        )
        assert one["commit"] == record["distributions"][0]["commit"]
        hashes = {name: column["hash"] for name, column in record["metrics"]["variants"].items()}
        assert dict(zip(lines["evaluator"], lines["evaluator_hash"])) == hashes
        assert set(lines["metric"][lines["iou"].str.contains(":")]) == {"avg_mAP"}


def test_ranks_are_those_of_the_page(filed):
    table = frame(filed).drop_duplicates("row").set_index(["protocol", "method"])
    ranks = table["rank"]
    assert ranks["thumos14/v1"].dropna().to_dict() == {"ecm": 1, "ftcl": 2}
    assert pd.isna(ranks["thumos14/v1", "lucky"])
    assert table["unranked_because"]["thumos14/v1", "lucky"] == "checkpoint picked on the test set"
    assert str(ranks.dtype) == str(table["seed"].dtype) == "Int64"


def test_it_is_tidy_enough_for_the_three_lines_people_write(filed):
    table = frame(filed).query("protocol == 'thumos14/v1' and iou == @SPAN and evaluator == 'thumos_snippet'")
    stats = table.groupby("method")["value"].agg(["mean", "std", "count"])
    values = [
        item.record["metrics"]["variants"]["thumos_snippet"]["averages"][SPAN]
        for item in load_records(filed / "records")
        if (item.record["method"], item.record["protocol"]["name"]) == ("ecm", "thumos14/v1")
    ]
    assert stats.loc["ecm"].tolist() == pytest.approx([fmean(values), stdev(values), 3])


def test_the_csv_is_made_of_it(filed):
    table = frame(filed)
    lines = list(csv.DictReader(io.StringIO(render(filed)["leaderboard.csv"])))
    assert len(lines) == len(table.drop_duplicates(["row", "evaluator", "iou"]))
    for line in lines:
        ids = line["records"].split(" ")
        same = (table["evaluator"] == line["evaluator"]) & (table["iou"] == line["iou"])
        part = table[table["record"].isin(ids) & same]
        assert part["record"].tolist() == ids
        assert line["seeds"].split(" ") == list(map(str, part["seed"]))
        assert float(line["percent"]) / 100 == pytest.approx(part["value"].mean(), rel=1e-14)
        assert bool(line["std"]) == (len(part) > 1)
        assert line["rank"] == ("" if part["rank"].isna().all() else str(part["rank"].iloc[0]))


def test_an_undefined_number_and_a_lacking_column_are_nan(filed):
    path = next(item.path for item in load_records(filed / "records") if item.record["seed"] == 2)
    record = read_record(path)
    for part in (record["metrics"]["variants"], record["bootstrap"]["draw"], record["bootstrap"]["values"]):
        del part["wtalc"]
    path.write_text(json.dumps(record))
    lines = frame(filed).query("record == @record['id'] and evaluator == 'wtalc'")
    assert len(lines) == 10
    assert lines["value"].map(math.isnan).all()
    assert set(lines["evaluator_hash"]) == {""}
    averages = [line for line in csv.DictReader(io.StringIO(render(filed)["leaderboard.csv"])) if line["iou"] == SPAN]
    (row,) = [line for line in averages if (line["method"], line["evaluator"], line["n"]) == ("ecm", "wtalc", "3")]
    assert (row["percent"], row["std"]) == ("", "")  # a mean over two of three seeds would be another row's


def test_an_empty_leaderboard_is_an_empty_table(board):
    table = frame(board)
    assert (len(table), tuple(table.columns)) == (0, tidy.FRAME_COLUMNS)
    assert render(board)["leaderboard.csv"] == ",".join(tidy.CSV_COLUMNS) + "\n"


def test_no_leaderboard_is_told(tmp_path):
    with pytest.raises(RecordError, match="is no leaderboard"):
        frame(tmp_path)


def test_training_does_not_load_pandas():
    code = "import sys, wtal_bench.leaderboard.identity; assert not {'pandas', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
