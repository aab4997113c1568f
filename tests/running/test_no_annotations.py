"""Temporal annotations never reach training code: nothing it sees holds a segment, and none is read while it runs."""

from __future__ import annotations

import dataclasses
import gc
import json
import pickle
import struct
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.running.conftest import make_dataset, tiny_config
from wtal_bench.data.annotations import Annotations, Segment, VideoAnnotation
from wtal_bench.evaluation import GroundTruth
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.running.config import check_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.metrics import ProtocolMetric
from wtal_bench.running.run import train
from wtal_bench.running.runner import HarnessRunner, Session, build_runner
from wtal_bench.running.workdir import WorkDir

MARK = 2.718281828459045
"""Start of every segment of the marked data set, and no other number in it."""


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    root = make_dataset(tmp_path_factory.mktemp("marked"), videos=10)
    value = json.loads((root / "annotations.json").read_text())
    for video in value["videos"].values():
        video["segments"][0] |= {"start": MARK, "end": MARK + 3}
    (root / "annotations.json").write_text(json.dumps(value))
    return root


def session(root, folder, **settings) -> Session:
    config = check_config(tiny_config(root, **settings), "test")
    return build_runner(config, open_data(config.data, "cpu", "test"), folder, out=lambda line: None)


def reachable(*roots: Any) -> Iterator[Any]:
    """Every object that can be reached from `roots`, but for modules, classes and the globals of functions."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, types.ModuleType)):
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, types.FunctionType):
            waiting += [thing.__defaults__, thing.__kwdefaults__, thing.__closure__]
        else:
            waiting += gc.get_referents(thing)


def holds_mark(thing: Any) -> bool:
    if isinstance(thing, float):
        return abs(thing - MARK) < 1e-6
    if isinstance(thing, torch.Tensor):
        thing = thing.detach().numpy() if thing.layout is torch.strided else np.zeros(0)
    if isinstance(thing, np.ndarray) and thing.dtype.kind == "f":
        return bool((np.abs(np.asarray(thing, np.float64) - MARK) < 1e-6).any())
    return isinstance(thing, str) and str(MARK)[:8] in thing


FORBIDDEN = (Annotations, VideoAnnotation, Segment, GroundTruth, ProtocolMetric, Session)


@pytest.mark.parametrize("settings", [{}, {"selection": "val_holdout", "pairs": {"source": "dataset"}}])
def test_nothing_a_component_or_a_loader_can_see_holds_a_segment(marked, tmp_path, settings):
    made = session(marked, tmp_path, **settings)
    runner = made.runner
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    batch = next(iter(runner.train_dataloader))
    training_pass = runner.train_loop._training_pass(0)
    outputs, whole = next(training_pass())
    loaders = [runner.train_dataloader, runner.test_dataloader, *([runner.val_dataloader] if settings else [])]
    objects = list(reachable(made.model, made.train, made.test, batch, training_pass, outputs, whole, *loaders))
    assert len(objects) > 500
    assert any(thing is made.train.store for thing in objects)  # the walk goes deep
    assert not [type(thing) for thing in objects if isinstance(thing, FORBIDDEN)]
    assert not [thing for thing in objects if holds_mark(thing)]


def test_the_walk_finds_what_is_there(marked, tmp_path):
    made = session(marked, tmp_path)
    objects = list(reachable(made.metric))
    assert any(isinstance(thing, VideoAnnotation) for thing in objects)
    assert any(holds_mark(thing) for thing in objects)
    assert holds_mark(np.array([1.0, MARK], np.float32))
    assert holds_mark(torch.tensor([MARK]))


def test_what_loader_workers_receive_holds_no_segment(marked, tmp_path):
    made = session(marked, tmp_path)
    sent = pickle.dumps((made.runner.train_dataloader.collate_fn, made.runner.train_dataloader.batch_sampler))
    assert made.train.ids[0].encode() in sent
    for form in ("<d", ">d", "<f"):
        assert struct.pack(form, MARK) not in sent


@pytest.mark.parametrize("selection", ["last", "val_holdout", "best_on_test"])
def test_no_segment_is_read_between_the_start_of_training_and_the_evaluator(marked, tmp_path, monkeypatch, selection):
    """From the start of training until the protocol scores, reading a segment raises an error."""
    poisoned = False
    scored = []
    plain_read, plain_start = VideoAnnotation.__getattribute__, HarnessRunner.train
    plain_score = ProtocolMetric.score

    def read(annotation, name):
        if poisoned and name == "segments":
            raise AssertionError("training code reads a segment")
        return plain_read(annotation, name)

    def start(runner):
        nonlocal poisoned
        poisoned = True
        annotations = runner.test_evaluator.metrics[0].annotations
        with pytest.raises(AssertionError, match="reads a segment"):
            _ = annotations.videos["train_000"].segments
        return plain_start(runner)

    def score(metric, predictions):
        nonlocal poisoned
        poisoned = False
        result = plain_score(metric, predictions)
        scored.append(result["test/average"])
        poisoned = len(scored) < scorings
        return result

    monkeypatch.setattr(VideoAnnotation, "__getattribute__", read)
    monkeypatch.setattr(HarnessRunner, "train", start)
    monkeypatch.setattr(ProtocolMetric, "score", score)
    scorings = 3 if selection == "best_on_test" else 1
    work_dir = WorkDir(tmp_path / "run")
    config = check_config(tiny_config(marked, epochs=2, selection=selection), "test")
    train(config, work_dir, out=lambda line: None)
    work_dir.release()
    assert len(scored) == scorings


def test_a_batch_has_no_room_for_segments():
    """A new field here is a new way into training: think before adding it to this list."""
    assert {field.name for field in dataclasses.fields(Batch)} == {
        "features", "mask", "labels", "index", "meta", "snippet_index", "pairs", "pair_same", "epoch", "share",
    }  # fmt: skip
    assert {field.name for field in dataclasses.fields(VideoMeta)} == {
        "id", "duration", "fps", "stride", "num_snippets", "snippet_index", "num_frames",
    }  # fmt: skip
