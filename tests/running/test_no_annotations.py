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
from mmengine.hooks import Hook

from tests.running.conftest import make_dataset, tiny_config
from wtal_bench.data.annotations import Annotations, Segment, VideoAnnotation
from wtal_bench.errors import ConfigError
from wtal_bench.evaluation import GroundTruth
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.running.config import check_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.harness import HarnessRunner
from wtal_bench.running.metrics import ProtocolMetric
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.run import train
from wtal_bench.running.runner import Session, Training, build_testing, build_training
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


def sessions(root, folder, hooks=(), **settings) -> tuple[Training, Session]:
    tree = tiny_config(root, **settings)
    tree["runtime"]["hooks"] = list(hooks)
    config = check_config(tree, "test")
    opened, model = open_data(config.data, "cpu", "test"), check_model(config)
    training = build_training(config, opened, model, folder, out=lambda line: None)
    return training, build_testing(config, opened, model)


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


HOLDOUT = {"selection": "val_holdout", "pairs": {"source": "dataset"}}


@pytest.mark.parametrize("settings", [{}, HOLDOUT])
def test_nothing_a_component_or_a_loader_can_see_holds_a_segment(marked, tmp_path, settings):
    training, testing = sessions(marked, tmp_path, **settings)
    runner = training.runner
    batch = next(iter(runner.train_dataloader))
    training_pass = runner.train_loop._training_pass(0)
    outputs, whole = next(training_pass())
    loaders = [runner.train_dataloader, testing.loader, *([runner.val_dataloader] if settings else [])]
    objects = list(
        reachable(training.model, training.videos, testing.videos, batch, training_pass, outputs, whole, *loaders)
    )
    assert len(objects) > 500
    assert any(thing is training.videos.store for thing in objects)  # the walk goes deep
    assert not [type(thing) for thing in objects if isinstance(thing, FORBIDDEN)]
    assert not [thing for thing in objects if holds_mark(thing)]


STOPPING = {"type": "EarlyStoppingHook", "monitor": "holdout/classification_mAP"}


@pytest.mark.parametrize(("settings", "hooks"), [({}, [{"type": "EmptyCacheHook"}]), (HOLDOUT, [STOPPING])])
def test_nothing_the_runner_hands_to_a_hook_leads_to_a_segment(marked, tmp_path, settings, hooks):
    """In the middle of training: loops, loaders, loggers and evaluators are all built then."""
    runner = sessions(marked, tmp_path, hooks, epochs=2, **settings)[0].runner
    seen = []

    class Walker(Hook):
        priority = "LOWEST"

        def after_train_epoch(self, runner):
            if runner.epoch:
                seen.append(list(reachable(runner)))

    runner.register_hook(Walker())
    runner.train()
    (objects,) = seen
    assert any(thing is runner.train_loop for thing in objects)
    assert any(type(thing).__name__ == hooks[0]["type"] for thing in objects)
    assert any(thing == "train_000" for thing in objects if isinstance(thing, str))  # the walk goes deep
    assert not [type(thing) for thing in objects if isinstance(thing, FORBIDDEN)]
    assert not [thing for thing in objects if holds_mark(thing)]


def test_a_run_that_selects_on_the_test_videos_holds_their_evaluator_and_says_so(marked, tmp_path):
    training, _ = sessions(marked, tmp_path, selection="best_on_test")
    assert any(isinstance(thing, ProtocolMetric) for thing in reachable(training.runner))
    assert training.config.train.selection == "best_on_test"  # what keeps its record out of the ranking


@pytest.mark.parametrize("hook", [{"type": "EmptyCacheHook"}, STOPPING])
def test_a_hook_never_meets_a_runner_that_scores_test_videos_unless_the_run_says_so(marked, tmp_path, hook):
    with pytest.raises(ConfigError, match=r"runtime\.hooks with train\.val_interval.*says best_on_test"):
        sessions(marked, tmp_path, [hook], val_interval=1)


def test_the_walk_finds_what_is_there(marked, tmp_path):
    _, testing = sessions(marked, tmp_path)
    objects = list(reachable(testing.metric))
    assert any(isinstance(thing, VideoAnnotation) for thing in objects)
    assert any(holds_mark(thing) for thing in objects)
    assert holds_mark(np.array([1.0, MARK], np.float32))
    assert holds_mark(torch.tensor([MARK]))


def test_what_loader_workers_receive_holds_no_segment(marked, tmp_path):
    training, _ = sessions(marked, tmp_path)
    loader = training.runner.train_dataloader
    sent = pickle.dumps((loader.collate_fn, loader.batch_sampler))
    assert training.videos.ids[0].encode() in sent
    for form in ("<d", ">d", "<f"):
        assert struct.pack(form, MARK) not in sent


@pytest.mark.parametrize("selection", ["last", "val_holdout", "best_on_test"])
def test_no_segment_is_read_between_the_start_of_training_and_the_evaluator(marked, tmp_path, monkeypatch, selection):
    """From the start of training until the protocol scores, reading a segment raises an error."""
    poisoned = False
    scored, held = [], []
    plain_make = ProtocolMetric.__init__
    plain_read, plain_start = VideoAnnotation.__getattribute__, HarnessRunner.train
    plain_score = ProtocolMetric.score

    def read(annotation, name):
        if poisoned and name == "segments":
            raise AssertionError("training code reads a segment")
        return plain_read(annotation, name)

    def make(metric, videos, protocol, annotations, *more):
        held.append(annotations)
        plain_make(metric, videos, protocol, annotations, *more)

    def start(runner):
        nonlocal poisoned
        poisoned = True
        with pytest.raises(AssertionError, match="reads a segment"):
            _ = held[0].videos["train_000"].segments
        return plain_start(runner)

    def score(metric, predictions):
        nonlocal poisoned
        poisoned = False
        result = plain_score(metric, predictions)
        scored.append(result["test/average"])
        poisoned = len(scored) < scorings
        return result

    monkeypatch.setattr(VideoAnnotation, "__getattribute__", read)
    monkeypatch.setattr(ProtocolMetric, "__init__", make)
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
