"""Every benchmark still runs: each one's `TINY` command line, seconds of work, in this process."""

from __future__ import annotations

import functools
import gc
import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.benchmarks import __main__ as table_of
from tests.benchmarks import peers
from tests.benchmarks.authors import Step, as_they_expect, checkouts, methods
from tests.benchmarks.paired import NOTES
from tests.benchmarks.peer_steps import same_step
from tests.helpers import REPOSITORY
from wtal_bench.testing import random_batch

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


BROKEN = """
def compute_average_precision_detection(*arguments):
    raise OSError("when called")
"""

IN_LISTS = """
import pandas as pd
from .rule import compute_average_precision_detection as of_frames


class ActivityNetLocalization:
    pass


def compute_average_precision_detection(ground_truth, prediction, tiou_thresholds):
    prediction.sort(key=lambda row: -row["score"])
    frames = [pd.DataFrame(rows)[["video-id", "label", "t-start", "t-end", *(["score"] if "score" in rows[0] else [])]]
              for rows in (ground_truth, prediction)]
    return of_frames(*frames, tiou_thresholds)
"""


def test_peers_are_found_and_broken_ones_named(tmp_path, monkeypatch, capsys):
    for name, files in {
        "ActivityNet/Evaluation": {"eval_detection.py": EVALUATOR},
        "broken": {"eval_detection.py": BROKEN},
        "mmaction2/functional": {"eval_detection.py": IN_LISTS, "rule.py": EVALUATOR, "__init__.py": "import missing"},
        "old": {"eval_detection.py": "print 'Python 2'"},
        "wrong": {"eval_detection.py": EVALUATOR.replace("return np.array", "return 0 * np.array")},
        "OpenTAD/nms": {"nms.py": SUPPRESSOR, "nms_cpu.cpp": ""},
        "unbuilt/nms": {"nms.py": "import nms_1d_cpu_that_nobody_built", "nms_cpu.cpp": ""},
    }.items():
        (tmp_path / name).mkdir(parents=True)
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    monkeypatch.setenv(NOTES, str(tmp_path / "notes"))
    words = ["peers.py", "--peers", str(tmp_path), "--detections", "400", "--proposals", "8", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="not compared: "):
        peers.main()
    out = capsys.readouterr().out
    assert "SyntaxError" in out
    assert "when called" in out
    assert "wrong/eval_detection.py: does not agree with ours" in out
    assert "nms_1d_cpu_that_nobody_built" in out
    lines = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    assert [line["peer"] for line in lines] == [
        "ActivityNet/Evaluation/eval_detection.py",
        "mmaction2/functional/eval_detection.py",
        *["OpenTAD/nms/nms.py"] * 3,
    ]
    assert all(line["ratio"] > 0 for line in lines)


AUTHORS = """
import torch
import helper
from model.parts import scale


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x):
        return (scale * helper.half * self.drop(self.layer(x.cuda()))).sum()
"""


@pytest.fixture
def toy(tmp_path):
    """A checkout of somebody's program, and how it is called."""
    for file, text in {"model/net.py": AUTHORS, "model/parts.py": "scale = 4.0", "helper.py": "half = 0.5"}.items():
        (tmp_path / "theirs" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "theirs" / file).write_text(text)

    def step(checkout, model, batch, names=types.MappingProxyType({"weight": "layer.weight", "bias": "layer.bias"})):
        network = checkout.module("model.net").Net()
        torch.nn.init.zeros_(network.layer.bias)
        assert not {"model", "model.net", "helper"} & set(sys.modules), "names so common are seen by the checkout alone"
        return Step(network, lambda: network(batch.features), names)

    return types.SimpleNamespace(RECIPE="toy", CHECKOUT="them/theirs", FILES=("model/net.py", "helper.py"), step=step)


class Ours(torch.nn.Linear):
    """The toy on our side."""

    factor = 2.0

    def losses(self, batch):
        return {"total": self.factor * self(batch.features).sum()}


def test_a_step_is_set_beside_the_authors_own_only_where_loss_and_gradients_agree(toy, tmp_path):
    (checkout,) = checkouts(tmp_path, toy.FILES)
    batch, model = random_batch([4, 5], width=3), Ours(3, 1)
    with as_they_expect():
        same_step(toy, checkout, model, batch)
        model.factor = 3.0
        with pytest.raises(AssertionError):
            same_step(toy, checkout, model, batch)
        torch.nn.init.zeros_(model.bias)
        model.factor, toy.step = 2.0, functools.partial(toy.step, names={"weight": "layer.weight"})
        with pytest.raises(AssertionError, match=r"their layer\.bias learns, and has no name of ours"):
            same_step(toy, checkout, model, batch)


def test_every_method_beside_which_a_step_is_set_has_its_recipe_and_its_files():
    for method in methods():
        assert (REPOSITORY / "configs" / f"{method.RECIPE}.py").is_file()
        assert method.FILES
        assert method.CHECKOUT.count("/") == 1


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

    def counted(count: int) -> str:
        return line("authors", 1.0).replace("a / b", f"step; operations {count}")

    counts = table_of.replaced(empty, {"authors": [counted(3)]})
    assert table_of.replaced(counts, {"authors": [counted(4)]}, broken={"authors"}) == counts.replace(" 3 ", " 4 ")
    shown = table_of.README.read_text(encoding="utf-8")
    assert table_of.replaced(shown, {}) == shown


def test_every_run_of_the_table_is_a_benchmark():
    assert {words.split()[0] for words in table_of.RUNS.values()} <= {path.name for path in BENCHMARKS}
    assert all(Path(__file__).with_name(words.split()[0]).is_file() for words in table_of.BESIDE.values())
