"""Names: what is one name in two spellings, what only looks like one, and how the two are told."""

from __future__ import annotations

import pytest

from wtal_bench.errors import did_you_mean
from wtal_bench.names import alike_hint, bare, composed, difference, folded, lookalikes

CAFE, CAFE_APART = "Caf\u00e9", "Cafe\u0301"


def test_two_spellings_of_one_name_are_composed_to_one():
    assert CAFE != CAFE_APART
    assert composed(CAFE_APART) == CAFE == composed(CAFE)


@pytest.mark.parametrize(
    ("a", "b"),
    [("Deep squat", "deep  SQUAT "), (CAFE, CAFE_APART.upper()), ("Stra\u00dfe", "STRASSE"), ("\uff21bc", "abc")],
)
def test_case_space_and_unicode_form_fold_away(a, b):
    assert folded(a) == folded(b)


def test_endings_and_the_leading_v_are_no_part_of_an_id():
    assert {bare(name) for name in ("v_Abc", "abc.mp4", "V_ABC.MKV", "abc.npy", "Abc")} == {"abc"}
    assert bare("clip.v2") != bare("clip")
    assert folded("Diving.mp4") != folded("Diving")


def test_lookalikes_are_grouped_in_order():
    names = ["a", "Hand stand", "b", "Hand  stand", "hand stand", "B"]
    assert lookalikes(names) == [("Hand stand", "Hand  stand", "hand stand"), ("b", "B")]
    assert lookalikes(["a", "b", "a"]) == []


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("diving", "Diving", "case"),
        ("Hand  stand", "Hand stand", "spaces"),
        (CAFE_APART, CAFE, "Unicode form"),
        ("x.mp4", "x", "the ending '.mp4'"),
        ("v_x", "x", "the leading 'v_'"),
        ("v_X.mp4", "x", "the ending '.mp4' and the leading 'v_' and case"),
        ("x", "v_x", "the leading 'v_'"),
    ],
)
def test_a_difference_is_named(name, known, words):
    assert difference(name, known) == words


def test_hints_say_what_the_eye_does_not_see():
    assert did_you_mean("diving", ["Diving", "CliffDiving"]) == " Did you mean 'Diving'?"
    assert did_you_mean(CAFE_APART, [CAFE]) == f" Did you mean {CAFE!r}? The two differ in Unicode form."
    assert did_you_mean("v_clip_1.mp4", ["clip_10", "clip_1"]).startswith(
        " Did you mean 'clip_1'? The two differ in the"
    )
    assert did_you_mean("epohcs", ["epochs"]) == " Did you mean 'epochs'?"
    assert did_you_mean("zzz", ["epochs"]) == ""


def test_unknown_ids_are_paired_with_known_ones_by_kind_of_difference():
    hint = alike_hint(["a.mp4", "b.mp4", "C", "zz"], ["a", "b", "c", "d"])
    assert (
        hint
        == " 2 are known but for the ending '.mp4': write 'a' for 'a.mp4'. 1 are known but for case: write 'c' for 'C'."
    )
    assert alike_hint(["zz"], ["a"]) == ""
