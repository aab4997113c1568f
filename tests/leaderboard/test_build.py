"""The generated files: a pure function of what is filed, safe against its text, and known to be stale when they are."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import os
import re
import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY
from wtal_bench.cli import main
from wtal_bench.errors import RecordError
from wtal_bench.leaderboard.build import build, find_folder, render, stale
from wtal_bench.leaderboard.filing import verify
from wtal_bench.leaderboard.markdown import escape

NASTY = "x</script><img src=x onerror=alert(1)>|*a*[b](http://c)"


@pytest.fixture
def filed(world, synthetic, board):
    (board / "published.csv").write_bytes((REPOSITORY / "leaderboard" / "published.csv").read_bytes())
    records = board / "records"
    for seed, noise, method in ((0, 0.5, "ecm"), (1, 0.5, "ecm"), (0, 1.5, "ftcl"), (0, 4.0, "fac_net")):
        world.file(records, seed=seed, noise=noise, method=method)
    world.file(records, seed=9, method="lucky", selection="best_on_test")
    world.file(records, seed=10, method=NASTY)
    synthetic.file(records)
    return board


class Page(html.parser.HTMLParser):
    """Collects what a browser would load or run, and checks that tags are closed."""

    VOID = ("meta", "link", "input", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.attributes, self.scripts, self.lines = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag == "tr" and "data-source" in dict(attrs):
            self.lines.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


def test_two_builds_are_equal_to_the_byte_whatever_the_order_of_files(filed, tmp_path):
    first = render(filed)
    build(filed)
    contents = {name: (filed / name).read_bytes() for name in first}
    os.utime(filed / "published.csv")
    build(filed)
    assert {name: (filed / name).read_bytes() for name in first} == contents
    assert {name: text.encode() for name, text in first.items()} == contents
    code = (
        "import sys; from tests.leaderboard.conftest import small, use; from pathlib import Path; "
        "from wtal_bench.leaderboard.build import build; use(small(Path(sys.argv[2]))); build(sys.argv[1])"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(filed), str(tmp_path / "small")],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        cwd=REPOSITORY,
    )
    assert {name: (filed / name).read_bytes() for name in first} == contents


@pytest.mark.parametrize("name", ["README.md", "leaderboard.csv", "index.html"])
def test_an_edited_or_missing_file_is_stale(filed, name):
    build(filed)
    assert stale(filed) == []
    path = filed / name
    path.write_text(re.sub("(?i)ftcl", "ftcI", path.read_text(), count=1))
    (complaint,) = stale(filed)
    assert str(path) in complaint
    assert "ftcI" in complaint
    path.unlink()
    assert "is missing" in stale(filed)[0]


def test_a_new_record_makes_the_tables_stale(filed, world):
    build(filed)
    world.file(filed / "records", seed=5, noise=0.6)
    assert len(stale(filed)) == 3


def test_a_record_of_components_that_are_gone_is_still_shown_and_scored(world, board):
    gone = [{"kind": "loss", "name": "gone.TagCrossEntropy", "plugin": "gone", "version": "0.1.0"}]
    config = {"model": {"losses": {"cls": {"type": "gone.TagCrossEntropy"}}}, "seed": 3}
    world.file(board / "records", seed=3, method="gone", components=gone, config=config)
    made = render(board)
    assert all("gone" in made[name] for name in ("README.md", "index.html", "leaderboard.csv"))
    assert [item.state for item in verify(board / "records", [world.path])] == ["same"]


def test_the_page_is_whole_and_loads_nothing(filed):
    text = render(filed)["index.html"]
    page = Page(text)
    assert page.open == []
    assert not {"img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    loads = [value for tag, key, value in page.attributes if key in ("src", "href", "action", "srcset", "data")]
    assert all(value.startswith(("#", "data:,")) for value in loads)
    assert not [key for _, key, _ in page.attributes if key.startswith("on") or key == "style"]
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|innerHTML|eval\(|document\.write", text)
    assert re.findall(r"\w+://[^\")<]*", text.replace("http://c", "")) == []  # http://c is the nasty method's name
    policies = [value for tag, key, value in page.attributes if tag == "meta" and value.startswith("default-src")]
    assert policies[0].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policies[0]
    legend = text.split('<details class="legend">')[1].split("</details>")[0]
    assert "<code>wtal-bench report</code>" in legend
    assert "`" not in legend
    assert '<p id="none" hidden>Nothing matches these filters.</p>' in text


def test_text_of_records_is_never_markup(filed):
    files = render(filed)
    page = Page(files["index.html"])
    assert page.tags.count("script") == 2
    data = json.loads(page.scripts[0])
    assert NASTY in {row["name"] for row in data["rows"].values()}
    assert "<img" not in files["index.html"]
    assert "<img" not in files["README.md"]
    assert escape(NASTY) in files["README.md"]
    table_lines = [line for line in files["README.md"].splitlines() if re.match(r"\| \d+ \| x.*onerror", line)]
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in table_lines}
    neighbours = [line for line in files["README.md"].splitlines() if re.match(r"\| \d+ \| FTCL ", line)]
    assert columns == {len(re.findall(r"(?<!\\)\|", line)) for line in neighbours}


def test_formulas_and_invisible_characters_of_published_tables_do_nothing(filed):
    """Notes in what papers are said to print are free text; names nobody can see are refused when they are read."""
    path = filed / "published.csv"
    rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
    evil = '=HYPERLINK("http://x")', "@SUM(1)\u202e)", "-2+3\u200b", "+1|'cmd'!A0\x1b[31m"
    for row, text in zip(rows, evil):
        plain = "".join(filter(str.isprintable, text))
        row |= {"method": plain, "note": plain, "variant": plain}
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    files = render(filed)
    cells = {cell for row in csv.reader(io.StringIO(files["leaderboard.csv"])) for cell in row}
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@") and not re.fullmatch(r"-?[\d.]*", cell)]
    assert '\'=HYPERLINK("http://x")' in cells
    assert "'@SUM(1))" in cells
    files["data of the page"] = json.dumps(json.loads(Page(files["index.html"]).scripts[0]), ensure_ascii=False)
    for name, text in files.items():
        assert not re.search("[\u202e\u200b\x1b]", text), name


def test_rows_carry_what_the_filters_read(filed):
    lines = Page(render(filed)["index.html"]).lines
    assert {line["data-source"] for line in lines} == {"measured", "published"}
    assert {line["data-selection"] for line in lines} == {"last", "best_on_test", "as printed"}
    assert {line["data-supervision"] for line in lines} == {"weak", "extra_weak", "full"}
    shaded = {line["data-selection"] for line in lines if line.get("class") == "shaded"}
    assert shaded == {"best_on_test"}


def test_readme_keeps_kinds_apart_and_shows_both_grids(filed):
    text = render(filed)["README.md"]
    order = [
        "## THUMOS14",
        "### Measured, thumos14/v1",
        "### Published",
        "# Synthetic protocols",
        "## synthetic\\_tiny",
    ]
    places = [text.index(f"\n{head}") for head in order]
    assert places == sorted(places)
    assert "thumos\\_seconds\\_212" in text
    assert "thumos\\_snippet" in text
    assert "not distinguishable" in text
    marks = set(map(int, re.findall(r"\[\^(\d+)\](?!:)", text)))
    assert marks == set(map(int, re.findall(r"^\[\^(\d+)\]:", text, re.M)))


def test_csv_holds_unrounded_values_of_every_kind(filed, world):
    rows = list(csv.DictReader(io.StringIO(render(filed)["leaderboard.csv"])))
    wanted = {"source": "measured", "method": "ftcl", "evaluator": "thumos_snippet", "iou": "0.1:0.7"}
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    value = world.record(0, 1.5)[0]["metrics"]["variants"]["thumos_snippet"]["averages"]["0.1:0.7"]
    assert float(row["percent"]) / 100 == pytest.approx(value, rel=1e-15)
    assert len(row["percent"]) > 8
    assert (row["n"], row["std"]) == ("1", "")
    assert {row["source"] for row in rows} == {"measured", "published"}


def test_command_checks_and_builds(filed, capsys):
    assert main(["leaderboard", "--check", "--folder", str(filed)]) == 1
    assert main(["leaderboard", "build", "--folder", str(filed)]) == 0
    assert main(["leaderboard", "--check", "--folder", str(filed)]) == 0
    assert main(["leaderboard", "build", "--check", "--folder", str(filed)]) == 0
    (filed / "README.md").write_text("mine")
    assert main(["leaderboard", "build", "--check", "--folder", str(filed)]) == 1
    assert (filed / "README.md").read_text() == "mine"
    assert "leaderboard build" in capsys.readouterr().err
    assert main(["leaderboard", "--folder", str(filed)]) == 2


def test_a_folder_that_is_no_leaderboard_is_named(tmp_path):
    with pytest.raises(RecordError, match="is no leaderboard"):
        build(find_folder(tmp_path))


def test_building_and_filing_need_no_torch(filed, tmp_path):
    code = (
        "import sys; from tests.leaderboard.conftest import small, use; from pathlib import Path; "
        "from wtal_bench.cli import main; use(small(Path(sys.argv[2]))); "
        "import wtal_bench.leaderboard.filing, wtal_bench.leaderboard.compare; "
        "assert main(['leaderboard', 'build', '--folder', sys.argv[1]]) == 0; "
        "assert not {'torch', 'mmengine', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(filed), str(tmp_path / "small")], check=True, cwd=REPOSITORY)


def test_the_shipped_leaderboard_is_current(monkeypatch):
    monkeypatch.undo()  # what the user's cache remembers of it need not be scored again
    assert stale(REPOSITORY / "leaderboard") == []
