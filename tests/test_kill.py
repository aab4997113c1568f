"""`kill -9` at three drawn moments of everything that writes; `python -m tests.kill --n 50` draws more."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY

SCENARIOS = ("train", "labels", "checkpoint", "import", "add", "add --replace", "sweep")
KILLS = 3


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its runs")
def test_what_is_killed_finishes_bit_equal_and_leaves_nothing():
    """One process: importing torch once and forking every run, it takes twenty seconds."""
    command = [sys.executable, "-m", "tests.kill", "--n", str(KILLS)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"^([\w -]+): (\d+) killed, .*?(\d+) of (\d+) finished bit-equal", done.stdout, re.MULTILINE)
    assert [name for name, *_ in found] == list(SCENARIOS)
    for name, killed, equal, total in found:
        assert int(killed) >= KILLS // 2, f"{name}: every second kill is before a file operation and cannot miss"
        assert int(equal) == int(total) == KILLS
