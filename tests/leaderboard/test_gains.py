"""Ideas on hosts: a mix stands beside the row of its host, over the seeds both have, or says why it cannot."""

from __future__ import annotations

import csv
import io
import re
from statistics import fmean, stdev

import numpy as np
import pytest
import yaml

from tests.helpers import REPOSITORY
from tests.leaderboard.fabricate import UNCLEAN
from wtal_bench.errors import RecordError
from wtal_bench.leaderboard import gains
from wtal_bench.leaderboard.build import build, render, stale
from wtal_bench.leaderboard.compare import compare, find_side, gain
from wtal_bench.leaderboard.gains import find_gains
from wtal_bench.leaderboard.identity import record_folder
from wtal_bench.leaderboard.metric_rules import RESAMPLES
from wtal_bench.leaderboard.published import read_published, read_published_gains
from wtal_bench.leaderboard.record import load_records, write_record
from wtal_bench.leaderboard.rescore import rescored
from wtal_bench.leaderboard.rows import build_sections
from wtal_bench.leaderboard.tables import build_document
from wtal_bench.recipes import PLUS
from wtal_bench.text import percent, signed

MAIN, SPAN = "thumos_seconds_212", "0.1:0.7"
SHIPPED = REPOSITORY / "leaderboard"
HOST = {"method": "stpn", "variant": "embedding", "config": {"model": {"width": 8}}}
MIX = {
    "method": "stpn",
    "variant": "embedding+cw",
    "config": {"host": {"method": "stpn", "variant": "embedding"}, "ideas": {"cw": {"weight": 1.0}}},
}


def put(world, board, seeds, noise, terms, **changes):
    """File a row of one record a seed; return their paths."""
    return [world.file(board / "records", seed=seed, noise=noise, **terms, **changes) for seed in seeds]


def found(board):
    return [
        item
        for section in build_sections(rescored(load_records(board / "records")))
        for block in section.blocks
        for item in find_gains(section, block)
    ]


def averages(paths):
    return [find_side([str(path)])[0].stored.record["metrics"]["variants"][MAIN]["averages"][SPAN] for path in paths]


def part(board, published=()):
    (chapter,) = build_document(build_sections(rescored(load_records(board / "records"))), [], published).chapters
    return next((part for part in chapter.parts if part.title.startswith("Ideas on hosts")), None)


def cell(table, head, line=0):
    return table.lines[line].cells[table.heads.index(head)]


def test_the_gain_is_the_mean_of_the_mix_less_that_of_its_host(world, board):
    host = put(world, board, (0, 1, 2), 3.0, HOST)
    mix = put(world, board, (0, 1, 2), 0.5, MIX)
    (item,) = found(board)
    before, after = averages(host), averages(mix)
    assert (item.host, item.ideas, item.seeds, item.note) == ("STPN (embedding)", "CW", (0, 1, 2), "")
    assert item.before.mean == pytest.approx(fmean(before), abs=1e-15)
    assert item.after.std == pytest.approx(stdev(after), abs=1e-15)
    assert item.difference == pytest.approx(sum(after) / 3 - sum(before) / 3, abs=1e-15)
    assert item.difference > 0.05
    (table,) = part(board).tables
    assert table.heads == (
        *("host", "idea", "seeds", "host alone", "with idea", "gain", "95 % interval", "supervision", "checkpoint"),
    )
    assert cell(table, "gain").text == signed(item.difference)
    assert cell(table, "host alone").text == f"{percent(fmean(before))} ± {percent(stdev(before))}"
    assert cell(table, "95 % interval").text == f"[{signed(item.interval.low)}, {signed(item.interval.high)}]"


def test_with_one_seed_the_interval_is_that_of_compare(world, board):
    (host,) = put(world, board, (0,), 3.0, HOST)
    (mix,) = put(world, board, (0,), 2.0, MIX)
    (item,) = found(board)
    sides = [find_side([str(path)]) for path in (mix, host)]
    wanted = compare(sides, world.protocol, world.annotations, resamples=RESAMPLES).difference.averages[SPAN]
    # replicates are stored to six digits
    np.testing.assert_allclose(
        (item.difference, item.interval.low, item.interval.high),
        (wanted.difference, wanted.low, wanted.high),
        rtol=0,
        atol=1.01e-6,
    )
    assert item.interval.low < item.difference < item.interval.high


def test_with_several_seeds_the_interval_is_that_of_compare_over_videos_and_seeds(world, board):
    host = put(world, board, (0, 1, 2), 3.0, HOST)
    mix = put(world, board, (0, 1, 2), 2.0, MIX)
    (item,) = found(board)
    sides = (find_side(list(map(str, paths))) for paths in (mix, host))
    wanted = gain(*sides, world.protocol, world.annotations, resamples=RESAMPLES)
    np.testing.assert_allclose(
        (item.difference, item.interval.low, item.interval.high),
        (wanted.difference, wanted.low, wanted.high),
        rtol=0,
        atol=1.01e-6,
    )


def test_only_seeds_that_both_have_are_compared_and_the_note_says_so(world, board):
    host = put(world, board, (0, 1, 3), 3.0, HOST)
    mix = put(world, board, (1, 2, 3), 0.5, MIX)
    (item,) = found(board)
    assert item.seeds == (1, 3)
    assert item.difference == pytest.approx(fmean(averages(mix)[::2]) - fmean(averages(host)[1:]), abs=1e-15)
    assert item.note == "over the seeds both have, 1, 3: the host has 0, 1, 3, the mix 1, 2, 3"
    assert [record["seed"] for record in item.pair] == [1, 3, 1, 3]
    assert cell(part(board).tables[0], "seeds").text == "2"


def test_without_a_common_seed_there_is_no_gain(world, board):
    put(world, board, (0,), 3.0, HOST)
    put(world, board, (1,), 0.5, MIX)
    (item,) = found(board)
    assert (item.seeds, item.difference, item.interval) == ((), None, None)
    assert item.note == "no seed in common: the host has 0, the mix 1"
    assert cell(part(board).tables[0], "gain").text == "-"


@pytest.mark.parametrize(
    "other",
    [
        {"variant": ""},
        {"method": "bm"},
        {"selection": "val_holdout"},
        {"supervision": "point"},
        {"features": {"manifest_hash": "0" * 64, "extractor": "TSN", "synthetic": False}},
    ],
)
def test_a_mix_without_its_hosts_row_says_so(world, board, other):
    put(world, board, (0,), 3.0, {**HOST, **other})
    put(world, board, (0,), 0.5, MIX)
    (item,) = found(board)
    assert item.difference is None
    assert "no STPN (embedding) is filed with the same features" in item.note
    files = render(board)
    for name in ("README.md", "index.html", "leaderboard.csv"):
        assert "is filed with the same features" in files[name]


def test_a_mix_is_nobodys_host(world, board):
    put(world, board, (0,), 3.0, HOST)
    put(world, board, (0,), 0.5, MIX)
    two = {"host": MIX["config"]["host"], "ideas": {"cw": {}, "ftcl": {}}}
    put(world, board, (0,), 0.6, {**MIX, "variant": "embedding+ftcl+cw", "config": two})
    renamed = {**MIX["config"], "model": {"width": 9}}
    put(world, board, (0,), 0.7, {**MIX, "variant": "embedding", "config": renamed})
    items = found(board)
    assert [item.ideas for item in items] == ["CW", "CW (embedding)", "FTCL + CW"]
    assert {item.pair[-1]["config_hash"] for item in items} == {items[0].pair[-1]["config_hash"]}


def test_every_row_of_the_host_is_compared_with_and_told_apart(world, board):
    put(world, board, (0,), 3.0, HOST)
    put(world, board, (0,), 9.0, {**HOST, "config": {"model": {"depth": 16}}})
    put(world, board, (0,), 0.5, MIX)
    items = found(board)
    assert len({item.difference for item in items}) == len({item.note for item in items}) == 2
    for item in items:
        assert item.pair[-1]["config_hash"][:8] in item.note


def trained(terms, **train):
    return {**terms, "config": {**terms["config"], "train": {"checkpoint_interval": 5, **train}}}


def test_a_host_that_was_trained_otherwise_is_no_baseline(world, board):
    put(world, board, (0,), 9.0, trained(HOST, epochs=150, lr=0.1))
    put(world, board, (0,), 0.5, trained(MIX, epochs=2000, lr=0.1, checkpoint_interval=9))
    (item,) = found(board)
    assert (item.seeds, item.difference, item.interval) == ((), None, None)
    assert item.note == "no row of the host was trained as the mix was: train.epochs is 2000, the host's 150"
    (host,) = put(world, board, (0,), 3.0, trained(HOST, epochs=2000, lr=0.1))
    (item,) = found(board)
    assert (item.pair[-1]["id"], item.note) == (host.stem, "")


def test_a_mix_that_began_from_its_hosts_weights_is_held_against_those_runs(world, board):
    (host,) = put(world, board, (0,), 3.0, trained(HOST, epochs=2000))
    put(world, board, (0,), 9.0, trained(HOST, epochs=150))
    started = trained(MIX, epochs=7, init_from={"config": "host.py"})
    put(world, board, (0,), 0.5, started, parent=host.stem)
    (item,) = found(board)
    assert (item.pair[-1]["id"], item.note) == (host.stem, "")
    host.unlink()
    (item,) = found(board)
    assert item.difference is None
    assert item.note == f"began from {host.stem}, which is in no row of the host here"


def test_a_mix_that_began_from_unnamed_weights_has_no_gain(world, board):
    put(world, board, (0,), 3.0, trained(HOST, epochs=2000))
    put(world, board, (0,), 0.5, trained(MIX, epochs=7, init_from="weights.pt"))
    (item,) = found(board)
    assert item.difference is None
    assert item.note.startswith("began from weights that its record does not name")


def test_a_host_of_another_model_stands_in_only_where_no_other_is(world, board):
    put(world, board, (0,), 3.0, HOST)
    put(world, board, (0,), 0.5, {**MIX, "config": {**MIX["config"], "model": {"width": 9}}})
    (item,) = found(board)
    assert item.note == "model.width is 9, the host's 8"
    put(world, board, (0,), 4.0, {**HOST, "config": {"model": {"width": 9}}})
    (item,) = found(board)
    assert item.note == ""


def test_mixes_of_one_name_and_other_settings_are_told_apart(world, board):
    put(world, board, (0,), 3.0, HOST)
    put(world, board, (0,), 0.5, MIX)
    put(world, board, (0,), 0.6, {**MIX, "config": {**MIX["config"], "ideas": {"cw": {"weight": 2.0}}}})
    items = found(board)
    assert len({item.note for item in items}) == 2
    for item in items:
        assert item.note == f"one of several settings, config {item.pair[0]['config_hash'][:8]}"


def test_a_host_that_is_not_ranked_stands_in_shaded_and_only_where_no_other_is(world, board):
    put(world, board, (0,), 3.0, HOST, distributions=UNCLEAN)
    put(world, board, (0,), 0.5, MIX)
    (item,) = found(board)
    assert item.shaded
    assert item.note == "host: wtal-bench: uncommitted changes"
    put(world, board, (1,), 3.0, HOST)
    put(world, board, (1,), 0.5, MIX)
    (item,) = found(board)
    assert (item.seeds, item.shaded) == ((1,), False)


def test_runs_without_replicates_have_a_gain_and_no_interval(world, board):
    put(world, board, (0,), 3.0, HOST)
    record, videos = world.record(0, 0.5, **MIX)
    write_record(record_folder(board / "records", record), record, videos, world.protocol.classes)
    (item,) = found(board)
    assert item.difference > 0
    assert item.interval is None
    assert item.note == "no interval: the records hold no replicates of the same videos"


def test_an_interval_that_holds_zero_is_called_so(world, board):
    put(world, board, (0,), 0.3, HOST)
    put(world, board, (0,), 0.31, MIX)
    assert cell(part(board).tables[0], "95 % interval").text.endswith("], not distinguishable, videos only")


def test_ideas_are_parted_as_recipes_join_them():
    assert gains.PLUS == PLUS


def test_nothing_is_shown_without_a_mix(world, board):
    put(world, board, (0,), 3.0, HOST)
    (board / "published_gains.csv").write_bytes((SHIPPED / "published_gains.csv").read_bytes())
    (board / "published.csv").write_bytes((SHIPPED / "published.csv").read_bytes())
    files = render(board)
    for text in files.values():
        assert "Ideas on hosts" not in text
        assert ",gain," not in text
    assert "published gain" not in files["README.md"]


@pytest.mark.parametrize(
    "config", [{"ideas": {}, "host": {"method": "stpn"}}, {"ideas": "cw", "host": "stpn"}, {"ideas": {"cw": {}}}]
)
def test_a_config_that_says_no_idea_or_no_host_is_no_mix(world, board, config):
    put(world, board, (0,), 0.5, {**MIX, "config": config})
    assert found(board) == []
    assert part(board) is None


def test_mixes_stay_among_the_measured_rows_with_their_rank(world, board):
    put(world, board, (0,), 3.0, HOST)
    put(world, board, (0,), 0.5, MIX)
    (section,) = build_sections(rescored(load_records(board / "records")))
    assert [(row.name, row.rank) for row in section.blocks[0].rows] == [
        ("stpn (embedding+cw)", 1),
        ("stpn (embedding)", 2),
    ]


@pytest.fixture
def filed(world, board):
    for name in ("published.csv", "published_gains.csv"):
        (board / name).write_bytes((SHIPPED / name).read_bytes())
    put(world, board, (0, 1), 3.0, HOST)
    put(world, board, (0, 1), 0.5, MIX)
    return board


def test_readme_page_and_csv_show_the_gain(filed):
    build(filed)
    assert stale(filed) == []
    (item,) = found(filed)
    readme = (filed / "README.md").read_text()
    (line,) = re.findall(r"^\| STPN \(embedding\) \| CW \|.*$", readme, re.M)
    assert f"| {signed(item.difference)} | \\[{signed(item.interval.low)}, " in line
    assert (
        readme.index("### Measured") < readme.index("### Ideas on hosts, thumos14/v1") < readme.index("### Published")
    )
    page = (filed / "index.html").read_text()
    (row,) = re.findall(r'<tr[^>]*data-text="stpn \(embedding\) [^"]*cw[^"]*".*?</tr>', page)
    assert f'data-key="{item.mix.key}"' in row
    assert f">{signed(item.difference)}</td>" in row
    lines = csv.DictReader(io.StringIO((filed / "leaderboard.csv").read_text()))
    shown = {line["metric"]: line for line in lines if line["metric"].startswith("gain")}
    numbers = {"gain": item.difference, "gain_low": item.interval.low, "gain_high": item.interval.high}
    assert {name: float(line["percent"]) for name, line in shown.items()} == pytest.approx(
        {name: 100 * value for name, value in numbers.items()}, rel=1e-14
    )
    assert (shown["gain"]["variant"], shown["gain"]["seeds"], shown["gain"]["n"]) == ("embedding+cw", "0 1", "2")
    assert shown["gain"]["records"].split(" ") == [record["id"] for record in item.pair]
    assert shown["gain"]["note"] == "CW on STPN (embedding)"


def test_published_gains_have_a_column_of_their_own(filed):
    table = part(filed, shipped_gains()).tables[0]
    assert cell(table, "published gain").text == "+1.7"
    assert cell(table, "published gain").notes
    assert cell(table, "printed in").text == "FAC-Net Table 5: THUMOS14, 0.1:0.7, 28.9 to 30.6"
    (item,) = found(filed)
    assert cell(table, "gain").text == signed(item.difference) != "+1.7"


def test_an_idea_that_no_paper_put_on_a_host_has_no_published_gain(world, filed):
    on_bm = {"host": {"method": "bm", "variant": ""}, "ideas": {"ten": {}}}
    put(world, filed, (0,), 0.4, {"method": "bm", "variant": "ten", "config": on_bm})
    table = part(filed, shipped_gains()).tables[0]
    assert [cell(table, "published gain", line).text for line in (0, 1)] == ["-", "+1.7"]


def shipped_gains():
    return read_published_gains(SHIPPED / "published_gains.csv", read_published(SHIPPED / "published.csv"))


def test_published_gains_are_those_of_the_transfer_ablation():
    rows = yaml.safe_load((REPOSITORY / "configs" / "ablations" / "transfer.yaml").read_text())["rows"]
    wanted = {}
    for row in rows:
        idea, host = row["name"].split("_on_")
        numbers = row["published"]
        wanted[idea, host] = (numbers["metric"], numbers["host"], numbers["value"], row["paper_row"].split(":")[0])
    ours = {}
    for item in shipped_gains():
        host = "_".join(filter(None, (item.host, item.variant)))
        before, after = map(float, item.values)
        assert len(item.after.tables) == 1
        ours[item.idea, host] = (f"mAP@{item.span}", before, after, item.after.tables[0])
    assert ours == wanted


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "um,,cw,FAC-Net Table 5,UM,reproduced,+ CV,",
            r"line 2: published.csv has no 'UM' '\+ CV'.*Did you mean '\+ CW'",
        ),
        ("um,,cw,FAC-Net Table 9,UM,reproduced,+ CW,", "line 2: published.csv has no 'UM' 'reproduced'"),
        ("um,,cw,FAC-Net Table 5,UM,reproduced", "line 2: it has not 8 columns"),
        ("\n".join(["um,,cw,FAC-Net Table 5,UM,reproduced,+ CW,"] * 2), "line 3: cw on um stands here twice"),
    ],
)
def test_a_line_that_names_no_published_row_is_refused(tmp_path, line, problem):
    path = tmp_path / "published_gains.csv"
    header = (SHIPPED / "published_gains.csv").read_text().splitlines()[0]
    path.write_text(f"{header}\n{line}\n")
    with pytest.raises(RecordError, match=problem):
        read_published_gains(path, read_published(SHIPPED / "published.csv"))


def test_gains_without_the_published_rows_say_that_those_are_missing(tmp_path):
    path = tmp_path / "published_gains.csv"
    path.write_bytes((SHIPPED / "published_gains.csv").read_bytes())
    missing = tmp_path / "published.csv"
    with pytest.raises(RecordError, match=f"{missing} is missing: published_gains.csv says which of its rows"):
        read_published_gains(path, read_published(missing))
