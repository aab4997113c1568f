"""The page's script in a real browser, where one is installed: it runs, counts, and adds the buttons for details."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from wtal_bench.leaderboard.build import build
from wtal_bench.protocols import get_protocol

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_the_script_runs_under_its_own_content_policy(world, board, tmp_path):
    for seed, method in ((0, "ecm"), (1, "ftcl")):
        world.file(board / "records", seed=seed, method=method)
    build(board)
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=2000",
            "--dump-dom",
            (board / "index.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if not done.stdout:
        pytest.skip(f"Chromium does not start here: {done.stderr.strip().splitlines()[-1:]}")
    assert re.search(r'<span id="count" role="status">2 rows</span>', done.stdout)
    buttons = re.findall(r'<th scope="row"[^>]*><button type="button" aria-expanded="false">', done.stdout)
    assert len(buttons) == 2 * (1 + len(get_protocol("thumos14/v1").variants))  # the ranked table, one an evaluator
    assert re.search(r'<option value="thumos14/v1">', done.stdout)
