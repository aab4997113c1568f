"""A missing data set is explained in three lines."""

from __future__ import annotations

from wtal_bench.data.locate import missing_data_message


def test_the_message_has_three_lines_that_say_what_where_and_how():
    text = missing_data_message("THUMOS14", "feature store", ["data/a", "/b"], "configs/ecm_synthetic.py")
    lines = text.split("\n")
    assert len(lines) == 3
    assert lines[0] == "THUMOS14: feature store not found."
    assert lines[1] == "Looked in: data/a, /b."
    assert "import-features" in lines[2]
    assert lines[2].endswith("Without data, run configs/ecm_synthetic.py.")


def test_without_a_stand_in_none_is_named():
    assert "Without data" not in missing_data_message("Mine", "features", ["data/a"])
