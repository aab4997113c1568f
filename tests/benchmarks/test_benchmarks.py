"""Every benchmark still runs: each one's `TINY` command line, seconds of work, in this process."""

from __future__ import annotations

import gc
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import REPOSITORY

BENCHMARKS = sorted(Path(__file__).parent.glob("bench_*.py"))


@pytest.fixture(scope="module")
def real_looking(tmp_path_factory) -> dict[str, Path]:
    """Annotations and detections in the layout of the real files, for benchmarks that read those."""
    folder, rng = tmp_path_factory.mktemp("real_looking"), np.random.default_rng(0)
    classes, videos, found = ["Diving", "GolfSwing"], {}, {}
    for subset in ("train", "val", "test"):
        for number in range(2):
            name = f"{subset}_{number}"
            start = float(rng.uniform(0, 5))
            segment = {"label": classes[number], "start": start, "end": start + 4}
            videos[name] = {"subset": subset, "duration": 20.0, "fps": 25.0, "segments": [segment]}
            starts = rng.uniform(0, 10, 6)
            found[name] = [
                {"label": classes[row % 2], "start": at, "end": at + 3, "score": float(rng.uniform(0.1, 1))}
                for row, at in enumerate(starts.tolist())
            ]
    paths = {"annotations": folder / "annotations.json", "detections": folder / "detections.json"}
    paths["annotations"].write_text(json.dumps({"version": "made up", "classes": classes, "videos": videos}))
    paths["detections"].write_text(json.dumps({"videos": found}))
    return paths


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_the_benchmark_runs_on_very_little(path, real_looking, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    bench = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, bench)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(sys, "argv", [str(path)])
    threads = torch.get_num_threads()
    gc.freeze()  # a benchmark may collect before every figure; not the whole suite's objects each time
    try:
        spec.loader.exec_module(bench)
        sys.argv += bench.TINY.format(**real_looking).split()
        bench.main()
    finally:
        gc.unfreeze()
        torch.set_num_threads(threads)
    assert capsys.readouterr().out.count("\n") >= 2
