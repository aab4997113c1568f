"""The page's script in a real browser, where one is installed: it runs, counts, and adds the buttons for details."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from wtal_bench.leaderboard.build import build
from wtal_bench.leaderboard.record import load_records
from wtal_bench.leaderboard.rescore import rescored
from wtal_bench.leaderboard.rows import build_sections, compare_rows
from wtal_bench.protocols import get_protocol
from wtal_bench.text import percent, signed

SHIPPED = REPOSITORY / "leaderboard"
BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


def opened(page: Path, tmp_path: Path) -> str:
    """The page's elements after its script ran."""
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=2000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if not done.stdout:
        pytest.skip(f"Chromium does not start here: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_the_script_runs_under_its_own_content_policy(world, board, tmp_path):
    for seed, method in ((0, "ecm"), (1, "ftcl")):
        world.file(board / "records", seed=seed, method=method)
    build(board)
    dom = opened(board / "index.html", tmp_path)
    assert re.search(r'<span id="count" role="status">2 rows</span>', dom)
    buttons = re.findall(r'<th scope="row"[^>]*><button type="button" aria-expanded="false">', dom)
    assert len(buttons) == 2 * (1 + len(get_protocol("thumos14/v1").variants))  # the ranked table, one an evaluator
    assert re.search(r'<option value="thumos14/v1">', dom)


PRESS = """<script>
document.querySelector("tr[data-key] > th > button").click();
const others = document.querySelector(".panel select");
others.selectedIndex = 1;
others.dispatchEvent(new Event("input"));
</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_row_opens_to_its_seeds_and_is_compared_as_everywhere_else(world, board, tmp_path):
    for seed, noise in enumerate((0.5, 1.0, 2.0)):
        world.file(board / "records", seed=seed, noise=noise, method="first")
        world.file(board / "records", seed=seed + 5, noise=2 * noise, method="other")
    build(board)
    page = tmp_path / "pressed.html"  # without the policy, which would refuse the finger
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", (board / "index.html").read_text())
    page.write_text(text.replace("</body>", PRESS))
    dom = opened(page, tmp_path)
    (section,) = build_sections(load_records(board / "records"))
    row, other = section.blocks[0].rows
    found = compare_rows(row, other, section.main, section.span)
    said = re.search(r"distinguishable: (\S+) \[(\S+), (\S+)\] \S+ by \S+, 95 % bootstrap over videos and seeds", dom)
    assert said[1] == signed(found.difference)
    # the page holds whole thousandths of a point
    assert [float(bound) for bound in said.groups()[1:]] == pytest.approx([100 * found.low, 100 * found.high], abs=0.02)
    lines = re.findall(r'<th class="text">(\w+)</th>((?:<td class="number">[^<]*</td>)+)</tr>', dom)
    assert [name for name, _ in lines] == ["0", "1", "2", "mean", "std"]
    cells = {name: re.findall(r">([^<]+)</td>", rest) for name, rest in lines}
    score = row.average(section.main, section.span)
    assert (cells["mean"][-1], cells["std"][-1]) == (percent(score.mean), percent(score.std))


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_chart_shows_every_ranked_method_over_tiou_and_what_papers_print(world, board, tmp_path):
    for seed, method in enumerate(("ecm", "ftcl", "bges_ten")):
        world.file(board / "records", seed=seed, noise=1.0 + seed, method=method)
    world.file(board / "records", seed=9, noise=0.1, method="um", selection="best_on_test")  # not ranked: not drawn
    (board / "published.csv").write_bytes((SHIPPED / "published.csv").read_bytes())
    build(board)
    dom = opened(board / "index.html", tmp_path)
    measured, *printed = re.findall(r'<figure class="overview">.*?</figure>', dom, re.DOTALL)
    names = re.findall(r'<button type="button"[^>]*>([^<]+)</button>', measured)
    (section,) = build_sections(rescored(load_records(board / "records")))
    assert names == [row.title for row in section.blocks[0].rows if not row.reason]
    tious = get_protocol("thumos14/v1").tious
    assert measured.count("<circle") == len(names) * len(tious)
    best = section.blocks[0].rows[0].per_tiou(section.main)[0].mean
    assert f"<title>{names[0]}: {percent(best)} at tIoU {tious[0]:g}</title>" in measured
    assert "GauFuse (GauFuse Table 2)" in printed[0]
    assert "P-GCN" not in printed[0], "trained on times: in a table of its own supervision, not among weak ones"
