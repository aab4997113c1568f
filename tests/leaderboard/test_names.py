"""Names of methods and variants that can be taken for one another are flagged; others are left alone."""

from __future__ import annotations

import pytest

from wtal_bench.errors import WtalError
from wtal_bench.leaderboard.filing import file_measured
from wtal_bench.leaderboard.record import load_records


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("еcm", "ecm"),  # Cyrillic
        ("ECM", "ecm"),
        ("e-c-m", "ecm"),
        ("ｅｃｍ", "ecm"),  # full width
        ("écm", "ecm"),
        ("ftc1", "ftcl"),
        ("FTCI", "ftcl"),
        ("c0la", "cola"),
        ("rτcl", "rtcl"),  # Greek
    ],
)
def test_names_that_look_like_a_filed_one_are_flagged(synthetic, board, tmp_path, name, known):
    synthetic.file(board / "records", method=known)
    other = synthetic.write(tmp_path / "run", seed=1, method=name)
    with pytest.raises(WtalError, match="looks like"):
        file_measured(board / "records", other)
    synthetic.file(board / "records", seed=1, method=name)
    with pytest.raises(WtalError, match="looks like"):
        load_records(board / "records")


@pytest.mark.parametrize(("one", "other"), [("um", "bm"), ("topk1.0", "topk10"), ("stpn", "stan"), ("cw", "cw+ftcl")])
def test_names_that_differ_are_left_alone(synthetic, board, one, other):
    synthetic.file(board / "records", variant=one)
    synthetic.file(board / "records", seed=1, variant=other)
    assert len(load_records(board / "records")) == 2
