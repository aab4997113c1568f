"""Every shipped method and host detects in a video of any length in memory that grows with it, not with its square."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers import REPOSITORY
from wtal_bench.data.sampling import build_sampling
from wtal_bench.recipes import shipped_recipes
from wtal_bench.running.infer import _batch
from wtal_bench.structures import VideoMeta

SNIPPETS, LIMIT = 12_000, 0.25
"""A single T x T matrix of float32 would take 0.54 GiB; the widest recipe takes 0.05."""


def test_a_video_of_which_the_model_sees_little_is_told(caplog):
    rule = build_sampling("uniform", length=10)
    for snippets in (80, 81):
        meta = VideoMeta("v", snippets * 0.64, 25.0, 16, snippets)
        assert _batch(np.zeros((snippets, 2), dtype=np.float32), meta, rule).features.shape == (1, 10, 2)
    (record,) = caplog.records
    assert "v: the model looks at 10 of its 81 snippets, one every 5 s" in record.getMessage()
    assert "sampling='whole'" in record.getMessage()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads peaks from /proc")
def test_memory_grows_with_the_length_of_a_video_for_every_recipe():
    script = REPOSITORY / "tests" / "benchmarks" / "bench_long_video.py"
    command = [sys.executable, str(script), "--data", "synthetic", "--snippets", str(SNIPPETS)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    shipped = {r.name for r in shipped_recipes("*_synthetic") if "/" not in r.name and r.method != "idea"}
    assert {row[0] for row in rows} == shipped
    for name, *cells in rows:
        assert len(cells) in (5, 6), f"{name}: {' '.join(cells)}"
        peak = float(cells[-4])
        assert peak < LIMIT, f"{name} takes {peak} GiB for {SNIPPETS} snippets"
