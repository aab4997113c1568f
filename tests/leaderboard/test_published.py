"""The shipped published numbers: what papers print, with notes where they contradict themselves or each other."""

from __future__ import annotations

import csv
import re

import pytest

from tests.helpers import REPOSITORY, shared_file
from wtal_bench.errors import RecordError
from wtal_bench.leaderboard.published import (
    COLUMNS,
    GAIN_COLUMNS,
    expand,
    normal_name,
    published_for,
    read_published,
    read_published_gains,
)
from wtal_bench.leaderboard.tidy import to_csv

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
    for row in (part for joined in read_published(FILE) for part in (joined.parts or (joined,))):
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


def headline(method, dataset="THUMOS14"):
    (row,) = [r for r in read_published(FILE) if r.headline and (r.method, r.dataset) == (method, dataset)]
    return row


def test_every_method_has_one_row_whatever_number_of_papers_print_it():
    rows = [row for row in read_published(FILE) if row.headline]
    names = [(normal_name(row.method), row.dataset, row.split, row.supervision) for row in rows]
    assert len(set(names)) == len(names)
    fac = headline("FAC-Net")
    assert (fac.own, fac.tables[0], len(fac.tables), fac.disputed) == (True, "FAC-Net Table 1", 4, False)
    assert headline("CoLA").shown("0.1:0.7", average=True) == "40.9"


def test_where_papers_differ_the_row_has_the_range_and_says_who_prints_what():
    row = headline("BM")
    assert set(row.tables) == {"ECM Table 3", "FAC-Net Table 1", "FTCL Table 1"}
    assert (row.shown("0.6"), row.shown("0.7"), row.shown("0.1:0.7")) == ("17.3–19.6", "8.6–9.0", "36.3–36.6")
    (note,) = [note for note in row.notes if note.startswith("Papers differ")]
    assert "ECM Table 3 prints 64.2 at 0.1" in note
    assert dict(row.cells["0.6"].printed) == {"ECM Table 3": "17.3", "FAC-Net Table 1": "17.6", "FTCL Table 1": "19.6"}
    # one table's values stand for it: a row of two papers' numbers is nobody's
    leading = row.leading
    assert len(leading.tables) == 1
    assert {iou: cell.value for iou, cell in leading.cells.items()}.items() <= {
        iou: cell.value for iou, cell in row.cells.items()
    }.items()


def published(tmp_path, *lines):
    path = tmp_path / "published.csv"
    path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
    return read_published(path)


def test_the_methods_own_paper_stands_for_it_and_an_average_is_never_of_two_papers(tmp_path):
    quoted = [f"X-Net,,T,test,mAP,0.{k},{value},B Table 2,B," for k, value in enumerate((60, 50, 40), 1)]
    own = [f"XNet,full method,T,test,mAP,0.{k},{value},X Table 1,," for k, value in ((1, 58), (2, 50))]
    (row,) = published(tmp_path, *quoted, *own)
    assert (row.own, row.tables) == (True, ("X Table 1", "B Table 2"))
    assert (row.number("0.1"), row.shown("0.1"), row.shown("0.2"), row.shown("0.3")) == (58, "58–60", "50", "40")
    assert row.average("0.1:0.3") == (50, True)  # B's alone; 58, 50 and 40 are of two papers
    assert row.shown("0.1:0.3", average=True) == "(50.0)"
    both = [*own, "XNet,full method,T,test,mAP,0.3,36,X Table 1,,"]
    (row,) = published(tmp_path, *quoted, *both)
    assert row.average("0.1:0.3") == (48, True)
    assert row.shown("0.1:0.3", average=True) == "(48.0–50.0)"
    assert row.shown("0.1:0.3") == "-"


def test_ablations_and_other_supervision_stay_rows_of_their_own(tmp_path):
    rows = published(
        tmp_path,
        "X,,T,test,mAP,0.5,30.0,A Table 1,A,",
        "X,reproduced,T,test,mAP,0.5,31.0,B Table 1,B,",
        "X,reproduced,T,test,mAP,0.5,32.0,C Table 1,C,",
        "X,fully supervised,T,test,mAP,0.5,50.0,A Table 1,A,",
        "X,,T,val,mAP,0.5,33.0,A Table 1,A,",
    )
    assert len(rows) == 5
    assert not any(row.disputed for row in rows)


def test_a_published_gain_is_of_its_own_tables_values(tmp_path):
    lines = ["H,,T,test,avg_mAP,0.1:0.7,40.0,A Table 1,A,", "H,,T,test,avg_mAP,0.1:0.7,41.0,B Table 1,B,"]
    lines += ["H,+ idea,T,test,avg_mAP,0.1:0.7,42.0,B Table 1,B,"]
    rows = published(tmp_path, *lines)
    path = tmp_path / "published_gains.csv"
    path.write_text(f"{','.join(GAIN_COLUMNS)}\nh,,idea,B Table 1,H,,+ idea,\n")
    (gain,) = read_published_gains(path, rows)
    assert gain.values == ("41.0", "42.0")


def test_the_csv_has_a_line_for_every_value_and_names_who_prints_it(tmp_path):
    lines = ["H,,T,test,mAP,0.5,40.0,A Table 1,A,", "H,,T,test,mAP,0.5,41.0,B Table 1,B,"]
    rows = published(tmp_path, *lines, "H,,T,test,mAP,0.5,40.0,C Table 1,C,")
    text = to_csv([], rows)
    found = [(line["percent"], line["printed_in"]) for line in csv.DictReader(text.splitlines())]
    assert found == [("40.0", "A Table 1; C Table 1"), ("41.0", "B Table 1")]


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
