"""One rounding rule, on the decimal text of the number; one table of text."""

from __future__ import annotations

import pytest

from wtal_bench.text import (
    exact_percent,
    fixed,
    html_text,
    percent,
    signed,
    spread,
    table,
    table_cell,
    visible,
    visible_data,
)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.4242839, "42.43"),
        (0.56723, "56.72"),
        (0.00125, "0.13"),  # binary 0.00124999..., which formatting with .2f would print as 0.12
        (0.00135, "0.14"),
        (0.0, "0.00"),
        (1.0, "100.00"),
        (None, "-"),
        (float("nan"), "-"),
    ],
)
def test_percent(fraction, text):
    assert percent(fraction) == text


def test_signs_and_spread():
    assert signed(0.0125) == "+1.25"
    assert signed(-0.0125) == "-1.25"
    assert signed(-0.000001) == "+0.00"
    assert spread(0.5, None) == "50.00"
    assert spread(0.5, 0.00125) == "50.00 ± 0.13"


def test_percent_neither_loses_nor_adds_digits():
    assert str(exact_percent(0.07)) == "7"
    assert 0.07 * 100 != 7
    assert fixed(37.45, 1) == "37.5"


def test_a_table_sets_words_flush_left_and_numbers_flush_right():
    assert table(["method", "mAP", ""], [["a", "5.00", "best"], ["longer name", "12.50", ""]], left=(0, 2)) == [
        "method         mAP",
        "a             5.00  best",
        "longer name  12.50",
    ]
    assert table([], [["a", "1"], ["b", "22"]]) == ["a   1", "b  22"]
    assert table(["name", "mAP"], []) == ["name  mAP"]


def test_what_cannot_be_seen_is_spelt_and_what_can_is_left():
    assert visible("ecm\u202egnp") == "ecm\\u202egnp"
    assert visible("a\x00\x1b[31m\u200b\ufeff\u2066") == "a\\x00\\x1b[31m\\u200b\\ufeff\\u2066"
    assert visible("tag\U000e0041 \udcff") == "tag\\U000e0041 \\udcff"
    for plain in ("深蹲", "Poirier d'été", "می\u200cخواهم", "👩\u200d🚀", "two\nlines\tof it"):
        assert visible(plain) == plain
    assert visible_data({"a\u202e": ["b\u202e", 1, None]}) == {"a\\u202e": ["b\\u202e", 1, None]}
    assert html_text("<b>\u202e&") == "&lt;b&gt;\\u202e&amp;"


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "-a", "=", "-1e5x"])
def test_a_formula_is_no_cell(text):
    assert table_cell(text)[0] in "'\\"


@pytest.mark.parametrize("text", ["-", "", "-0.25", "+3", "1e-05", "-1.5e-05", "ecm", "a=b", "0.1:0.7"])
def test_numbers_and_words_stay_as_they_are(text):
    assert table_cell(text) == text
