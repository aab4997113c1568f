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

from tests.benchmarks import __main__ as table_of
from tests.benchmarks import peers
from tests.benchmarks.paired import NOTES
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


EVALUATOR = """
import numpy as np


def compute_average_precision_detection(ground_truth, prediction, tiou_thresholds):
    from tests.benchmarks.bench_evaluation import _plain_class
    videos = {}
    for row in ground_truth.itertuples(index=False):
        videos.setdefault(row[0], []).append((row[2], row[3]))
    rows = [(row[4], row[0], row[2], row[3]) for row in prediction.itertuples(index=False)]
    return np.array(_plain_class(videos, rows, tiou_thresholds))
"""

SUPPRESSOR = """
import torch


def batched_nms(segs, scores, groups, iou, max_seg_num, use_soft_nms, multiclass):
    from wtal_bench.decoding import NMS
    rule = NMS(iou=iou, offset=1e-6, offset_on="length", ties="earlier_first", precision="float32")
    kept = torch.tensor(rule(*segs.T.numpy(), scores.numpy(), groups.numpy())[0])
    return segs[kept], scores[kept], groups[kept]
"""


def test_peers_are_found_and_broken_ones_named(tmp_path, monkeypatch, capsys):
    for name, files in {
        "ActivityNet/Evaluation": {"eval_detection.py": EVALUATOR},
        "old": {"eval_detection.py": "print 'Python 2'"},
        "OpenTAD/nms": {"nms.py": SUPPRESSOR, "nms_cpu.cpp": ""},
        "unbuilt/nms": {"nms.py": "import nms_1d_cpu_that_nobody_built", "nms_cpu.cpp": ""},
    }.items():
        (tmp_path / name).mkdir(parents=True)
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    monkeypatch.setenv(NOTES, str(tmp_path / "notes"))
    words = ["peers.py", "--peers", str(tmp_path), "--detections", "400", "--proposals", "8", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", words)
    peers.main()
    out = capsys.readouterr().out
    assert "SyntaxError" in out
    assert "nms_1d_cpu_that_nobody_built" in out
    lines = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    assert [line["peer"] for line in lines] == ["ActivityNet/Evaluation/eval_detection.py", *["OpenTAD/nms/nms.py"] * 3]
    assert all(line["ratio"] > 0 for line in lines)


def test_a_table_keeps_the_lines_of_what_did_not_run():
    def line(by: str, ours: float) -> str:
        found = {"by": by, "work": "a | b", "peer": "", "ours": ours, "theirs": None, "ratio": None}
        return table_of.row(found, "here")

    empty = f"before\n{table_of.BEGIN}{table_of.table([])}{table_of.END}after\n"
    both = table_of.replaced(empty, {"nms": [line("nms", 2.0)], "decoding": [line("decoding", 0.5)]})
    assert "| decoding | a / b |  | 500 ms |" in both
    again = table_of.replaced(both, {"nms": [line("nms", 3.0)], "steps": []})
    assert again == both.replace("| 2 s |", "| 3 s |")
    two = table_of.replaced(empty, {"nms": [line("nms", 2.0), line("nms", 4.0).replace("a / b", "c")]})
    early = table_of.replaced(two, {"nms": [line("nms", 3.0)]}, broken={"nms"})
    assert early == two.replace("| 2 s |", "| 3 s |"), (
        "what ended early keeps its lines, and the old ones it did not reach"
    )
    shown = table_of.README.read_text(encoding="utf-8")
    assert table_of.replaced(shown, {}) == shown


def test_every_run_of_the_table_is_a_benchmark():
    assert {words.split()[0] for words in table_of.RUNS.values()} <= {path.name for path in BENCHMARKS}
