"""Readers see a method's own name; files, ranks and what belongs together go by identifiers."""

from __future__ import annotations

import csv
import io

import pytest

from wtal_bench.leaderboard.build import build
from wtal_bench.leaderboard.record import load_records
from wtal_bench.leaderboard.rows import build_sections
from wtal_bench.leaderboard.titles import idea_title, method_title, row_title


@pytest.mark.parametrize(
    ("method", "variant", "ideas", "shown"),
    [
        ("bges_ten", "", (), "BGES + TEN"),
        ("bges_ten", "bl", (), "BGES + TEN (BL)"),
        ("bges_ten", "lambda_0.3", (), "BGES + TEN (lambda 0.3)"),
        ("fac_net", "tau_1_2_cw", (), "FAC-Net (tau 1 2 CW)"),
        ("ftcl", "acm_net", (), "FTCL (ACM-Net)"),
        ("stpn", "embedding+ftcl", ("ftcl",), "STPN (embedding + FTCL)"),
        ("acm_net", "cw+gaufuse_test", ("cw", "gaufuse_test"), "ACM-Net (CW + GauFuse test)"),
        ("ecm", "full", (), "ECM (full)"),
        ("nobody_knows", "odd_one", (), "nobody_knows (odd one)"),
    ],
)
def test_plugins_say_how_their_names_are_spelled(method, variant, ideas, shown):
    assert row_title(method, variant, ideas) == shown


def test_a_word_of_one_plugin_says_nothing_about_anothers_variants():
    assert row_title("ecm", "bl") == "ECM (bl)"  # BL is a word of BGES + TEN
    assert idea_title("bges") == "BGES"
    assert method_title("bl") == "bl"


def test_a_board_shows_titles_and_its_table_of_values_keeps_identifiers(world, board):
    world.file(board / "records", method="bges_ten", variant="bl")
    build(board)
    assert "| 1 | BGES + TEN (BL) |" in (board / "README.md").read_text()
    assert 'data-text="bges + ten (bl) bges_ten (bl)"' in (board / "index.html").read_text()  # both are found
    first = next(csv.DictReader(io.StringIO((board / "leaderboard.csv").read_text())))
    assert (first["method"], first["variant"]) == ("bges_ten", "bl")
    (section,) = build_sections(load_records(board / "records"))
    assert section.blocks[0].rows[0].name == "bges_ten (bl)"


def test_every_method_of_the_harness_has_a_title():
    from wtal_bench.plugins import CORE, load_plugins, titles

    ours = {name for name, plugin in load_plugins().items() if plugin.in_tree and name != CORE}
    assert ours <= set(titles())
