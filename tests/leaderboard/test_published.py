"""The shipped published numbers: what papers print, with notes where they contradict themselves or each other."""

from __future__ import annotations

import csv
import re

import pytest

from tests.helpers import REPOSITORY, shared_file
from wtal_bench.errors import RecordError
from wtal_bench.leaderboard.published import COLUMNS, expand, normal_name, published_for, read_published

FILE = REPOSITORY / "leaderboard" / "published.csv"


def lines(path=FILE):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def cells(table, method, iou, variant=None):
    return [
        line
        for line in lines()
        if (line["table"], line["method"], line["iou"]) == (table, method, iou) and variant in (None, line["variant"])
    ]


@pytest.mark.parametrize(
    ("table", "method", "iou", "value", "note"),
    [
        ("BGES Table 1", "SSN", "0.1:0.5", "47.0", "Should be 47.4"),
        ("BGES Table 1", "SSN", "0.3:0.7", "28.7", "Should be empty"),
        ("BGES Table 1", "SSN", "0.1:0.7", "37.8", "Should be empty"),
        ("BGES Table 1", "BSN", "0.3:0.7", "38.5", "Should be 36.8"),
        ("BGES Table 1", "TSCN", "0.3:0.7", "28.7", "Should be 28.8"),
        ("BGES Table 1", "ACGNet", "0.1:0.5", "52.6", "Should be 52.8"),
        ("BGES Table 1", "ACGNet", "0.3:0.7", "33.4", "Should be 33.6"),
        ("BGES Table 1", "ACGNet", "0.1:0.7", "42.5", "Should be 42.7"),
        ("GauFuse Table 2", "SSN", "0.1:0.5", "49.6", "Should be 47.4"),
        ("ECM Table 2", "A2CL-PT", "0.5:0.95", "22.5", "Printed as 'ACL [34]"),
        ("BGES Table 1", "BGES+TEN", "0.1:0.7", "46.1", "46.19"),
        ("FTCL Table 1", "BM", "0.6", "19.6", "17.6 in FAC-Net"),
        ("FTCL Table 1", "W-TALC", "0.1:0.7", "34.4", "6 printed of 7"),
        ("FTCL Table 1", "ASL", "0.1:0.7", "40.3", "4 printed of 7"),
        ("FTCL Table 2", "UM", "0.5", "37.0", "Lee et al. [31]"),
        ("GauFuse Table 2", "DELU", "0.3:0.7", "37.4", "37.48"),
    ],
)
def test_what_a_paper_gets_wrong_stands_as_printed_with_a_note_that_says_so(table, method, iou, value, note):
    (cell,) = cells(table, method, iou)
    assert cell["value"] == value
    assert note in cell["note"]


@pytest.mark.parametrize(
    ("table", "method", "variant"),
    [
        ("ECM Table 3", "BM", ""),
        ("FAC-Net Table 1", "HAM-Net", ""),
        ("BGES Table 1", "UM", ""),
        ("FTCL Table 1", "SSN", "fully supervised"),
        ("GauFuse Table 5", "UM", "reproduced"),
        ("FTCL Table 5", "CoLA", "reproduced"),
        ("GauFuse Table 3", "GauFuse", "NMS baseline in training"),
        ("FAC-Net Table 3", "FAC-Net", "CW+MIL + background class"),
    ],
)
def test_numbers_that_other_papers_print_differently_carry_a_note(table, method, variant):
    found = [line for line in lines() if (line["table"], line["method"], line["variant"]) == (table, method, variant)]
    assert found
    assert all(line["note"] for line in found)


def test_every_value_is_as_the_source_has_it():
    source, ours = lines(shared_file("published.csv")), lines()
    assert len(source) == len(ours) == 1580
    keys = [key for key in COLUMNS if key not in ("value", "note", "method")]
    renamed = []
    for theirs, mine in zip(source, ours):
        assert [theirs[key] for key in keys] == [mine[key] for key in keys]
        assert float(theirs["value"]) == float(mine["value"])
        if theirs["method"] != mine["method"]:
            renamed.append(mine)
    assert [line["method"] for line in renamed] == ["A2CL-PT"] * 4
    assert all("Printed as 'ACL" in line["note"] for line in renamed)


def test_the_tables_show_the_printed_value_with_its_footnote():
    document = (REPOSITORY / "leaderboard" / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\| ACGNet .*$", document, re.M)
    value, number = re.search(r"\| (\d\d\.\d)\[\^(\d+)\] \| BGES Table 1", line).groups()
    assert value == "42.5"
    assert f"[^{number}]: Should be 42.7, the mean of the row's own values." in document


def test_a_full_average_agrees_with_its_row_or_says_why_not():
    for row in read_published(FILE):
        for iou, cell in row.cells.items():
            parts = [row.number(part) for part in expand(iou)] if ":" in iou else [None]
            if None not in parts and len(parts) > 1:
                # printed to 0.1 from values printed to 0.1
                mean = sum(parts) / len(parts)
                told = any(note.startswith(f"Should be {mean:.1f}") for note in cell.notes)
                assert told or abs(mean - float(cell.value)) < 0.1001, (row.method, row.tables, iou)


def test_headline_rows_are_what_the_papers_claim():
    rows = read_published(FILE)
    claims = {
        ("ecm", "ActivityNet1.2", "0.5:0.95"): 25.5,
        ("bges_ten", "THUMOS14", "0.1:0.7"): 46.1,
        ("fac_net", "THUMOS14", "0.1:0.7"): 42.2,
        ("fac_net", "activitynet13", "0.5:0.95"): 24.0,
        ("ftcl", "thumos14", "0.1:0.7"): 43.6,
        ("gaufuse", "activitynet13", "0.5:0.95"): 28.8,
    }
    for (method, dataset, iou), value in claims.items():
        row = published_for(rows, method, dataset)
        assert row.own
        assert row.average(iou) == (value, False)
    mean, computed = published_for(rows, "ecm", "THUMOS14").average("0.1:0.7")
    assert computed
    assert mean == pytest.approx(37.414, abs=1e-3)
    assert published_for(rows, "nobody", "THUMOS14") is None


def test_rows_of_papers_that_agree_become_one_and_others_stay_apart():
    rows = [row for row in read_published(FILE) if row.headline and row.dataset == "THUMOS14"]
    assert len([row for row in rows if row.method == "CoLA"]) == 1
    assert len([row for row in rows if row.method == "BM"]) == 3
    assert len([row for row in rows if row.method == "HAM-Net"]) == 2
    (fac,) = [row for row in rows if row.method == "FAC-Net"]
    assert fac.tables[0] == "FAC-Net Table 1"
    assert len(fac.tables) == 4


def test_names_of_one_method_meet():
    assert normal_name("FAC-Net") == normal_name("fac_net") == "facnet"
    assert normal_name("BGES+TEN") == normal_name("bges_ten")


def test_ranges_expand_to_the_printed_thresholds():
    assert expand("0.3:0.7") == ["0.3", "0.4", "0.5", "0.6", "0.7"]
    assert expand("0.5:0.95")[:2] == ["0.5", "0.55"]
    assert len(expand("0.5:0.95")) == 10


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("ECM,,T,test,mPA,0.5,1,ECM Table 1,,", "Did you mean 'mAP'"),
        ("ECM,,T,test,mAP,0.5,x,ECM Table 1,,", "value is 'x'"),
        ("ECM,,T,test,mAP,0.5,,ECM Table 1,,", "value is ''"),
        ("ECM,,T,test,mAP,0.5,101,ECM Table 1,,", "value is '101'"),
        ("ECM,,T,test,mAP,0.5", "has not 10 columns"),
        ("ECM,,T,test,mAP,0.5,1,ECM Table 1,,\nECM,,T,test,mAP,0.5,2,ECM Table 1,,", "twice at '0.5'"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, complaint):
    path = tmp_path / "published.csv"
    path.write_text(f"{','.join(COLUMNS)}\n{line}\n")
    with pytest.raises(RecordError, match=complaint) as caught:
        read_published(path)
    assert "line " in str(caught.value)
