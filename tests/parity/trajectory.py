"""Repeating a run of the authors' program that a trajectory file holds: our config, Runner and test path, in float64.

Everything the tests know of `wtal_bench.running` is in this module.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook

from tests.helpers import REPOSITORY, load_golden
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.dataset import VideoSet
from wtal_bench.data.store import StoredVideo, write_store
from wtal_bench.modeling.model import Model
from wtal_bench.running.config import load_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.loader import Request
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.runner import Testing, Training, build_testing, build_training
from wtal_bench.running.settings import RunConfig
from wtal_bench.structures import Detections


@dataclass
class Trace:
    """What our run did.

    Attributes:
        videos: of every step, the ids of its batch in order.
        losses: of every step, the logged terms, unweighted.
        weights: step -> our state dict after it, as copies.
    """

    videos: list[list[str]] = field(default_factory=list)
    losses: list[dict[str, float]] = field(default_factory=list)
    weights: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)


def meta_of(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The settings of a file, with what it leaves to us (see `tests.parity.trajectories`)."""
    meta = json.loads(str(arrays["meta"]))
    module = f"tests.parity.trajectories.{meta['method']}"
    if importlib.util.find_spec(module) is None:
        return meta
    return {**meta, **importlib.import_module(module).fill(meta, arrays)}


def why_not(path: Path) -> str:
    """Why a file cannot be repeated yet, or ""."""
    meta = meta_of(load_golden(path))
    if importlib.util.find_spec(f"wtal_plugins.{meta['method']}") is None:
        return f"there is no plugin {meta['method']}"
    if not meta["mapping"]:
        return f"no module in tests/parity/trajectories says which weights of {meta['method']} are which"
    return ""


class Trajectory:
    """One file; `meta` holds every setting of the run."""

    def __init__(self, path: Path) -> None:
        self.arrays = load_golden(path)
        self.meta = meta_of(self.arrays)
        self.ids = [str(name) for name in self.arrays["ids"]]
        self.train_ids = [name for name, subset in zip(self.ids, self.arrays["subset"]) if subset == 0]
        self.test_ids = [name for name, subset in zip(self.ids, self.arrays["subset"]) if subset == 1]

    @cached_property
    def names(self) -> dict[str, str]:
        """Our state-dict entry -> the authors' name, weights and buffers."""
        return {**self.meta["mapping"], **self.meta.get("buffers", {})}

    @property
    def tested(self) -> int:
        """The step whose weights gave the file's detections and mAP."""
        return self.meta.get("tested_step", self.meta["steps"])

    def state(self, step: int | None) -> dict[str, np.ndarray]:
        """The authors' weights (and buffers) after a step, or the initial ones, under our names and in their shapes."""
        stored = {}
        for ours, theirs in self.names.items():
            kind = "buffers" if ours in self.meta.get("buffers", {}) else "weights"
            key = f"init/{theirs}" if step is None else f"{kind}/{step}/{theirs}"
            if key in self.arrays:
                stored[ours] = self.arrays[key]
        return stored

    def videos_of(self, step: int) -> list[str]:
        """The ids of a mini-batch, in order; where the program visits pairs, of both sides in turn."""
        chosen = [int(item) for item in self.arrays["batches"][step] if item >= 0]
        if "pairs" in self.arrays:
            chosen = [int(video) for item in chosen for video in self.arrays["pairs"][item]]
        return [self.train_ids[video] for video in chosen]

    def write(self, folder: Path) -> Path:
        """Write features and annotations as a data set of the real formats."""
        arrays = self.arrays
        rows = np.split(arrays["features"], np.cumsum(arrays["lengths"])[:-1])
        fps, stride, width = float(arrays["fps"]), int(arrays["stride"]), arrays["features"].shape[1]
        stored = [
            StoredVideo(name, own, float(duration), fps, int(frames))
            for name, own, duration, frames in zip(self.ids, rows, arrays["durations"], arrays["frames"])
        ]
        manifest = {"name": "trajectory", "extractor": "made up", "fps": fps, "stride": stride, "synthetic": True}
        streams = {"rgb": [0, width // 2], "flow": [width // 2, width]}
        write_store(folder / "features", stored, manifest={**manifest, "streams": streams})
        classes = [str(name) for name in arrays["classes"]]
        videos = {name: self._annotated(video, classes, fps) for video, name in enumerate(self.ids)}
        text = json.dumps({"version": "trajectory", "classes": classes, "exclude": {}, "videos": videos})
        (folder / "annotations.json").write_text(text)
        read = Annotations.load(folder / "annotations.json")
        # these programs read one list of tags, whatever it is called
        tags = {video: [classes[label] for label in read.tags(video)] for video in videos}
        (folder / "annotations_tags_labels_all.json").write_text(json.dumps({"tags": tags}))
        return folder

    def _annotated(self, video: int, classes: list[str], fps: float) -> dict[str, Any]:
        arrays = self.arrays
        own = arrays["segment_video"] == video
        labels = [classes[label] for label in arrays["segment_label"][own]]
        segments = [
            {"label": label, "start": float(start), "end": float(end)}
            for label, (start, end) in zip(labels, arrays["segments"][own])
        ]
        tags = [name for name, tagged in zip(classes, arrays["tags"][video]) if tagged]
        return {
            "subset": "test" if arrays["subset"][video] else "train",
            "duration": float(arrays["durations"][video]),
            "fps": fps,
            "segments": segments,
            "ambiguous": arrays["ambiguous"][arrays["ambiguous_video"] == video].tolist(),
            # the tags a program trained on may not be those of the segments
            **({"labels": tags} if set(tags) != set(labels) else {}),
        }

    def config(self, root: Path, options: Iterable[str] = ()) -> RunConfig:
        """The shipped config with the file's overrides, then `options`."""
        meta = self.meta
        path = REPOSITORY / meta["config"]
        own = [f"data.root={root}", f"runtime.seed={meta['seed']}", "runtime.device=cpu"]
        own += ["test.evaluator=None"]  # a file may put an ActivityNet recipe on the protocol of its small data
        own += [f"train.checkpoint_interval={meta['steps']}"]  # only the end: hundreds of epochs take seconds
        return load_config(path if path.is_file() else Path(meta["config"]).stem, [*meta["options"], *own, *options])


@dataclass
class Repeat:
    """Our side of a trajectory, ready to train or test.

    Attributes:
        trajectory: the file.
        training, testing: the two halves of a run, around one model.
    """

    trajectory: Trajectory
    training: Training
    testing: Testing

    @property
    def model(self) -> Model:
        """The model, in float64."""
        return self.training.model

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Give the model weights; every parameter must be among them."""
        own = self.model.state_dict()
        left = {name for name, _ in self.model.named_parameters()} - set(state)
        assert not left, f"the file has no weights for {sorted(left)}"
        for name, value in state.items():
            own[name].copy_(torch.from_numpy(np.asarray(value)).reshape(own[name].shape))

    def train(self, until: int) -> Trace:
        """Train from the file's initial weights to the end of the epoch of step `until`."""
        self.load(self.trajectory.state(None))
        watch = Watch(self.trajectory.meta["kept_steps"], [*self.trajectory.names], until)
        self.training.runner.register_hook(watch, priority="LOWEST")
        self.training.runner.train()
        return watch.trace

    def test(self, step: int) -> tuple[dict[str, Detections], dict[str, Any]]:
        """Test the authors' weights after a step: detections by video, and the report of every evaluator."""
        return self.test_state(self.trajectory.state(step))

    def test_state(self, state: dict[str, np.ndarray]) -> tuple[dict[str, Detections], dict[str, Any]]:
        """Test any weights, given under our names."""
        self.load(state)
        self.testing.run()
        found = self.testing.metric.detections
        for video, length in zip(self.trajectory.ids, self.trajectory.arrays["lengths"]):
            if video in found and length < self.trajectory.meta.get("shortest_tested", 1):
                found[video] = found[video].take(np.zeros(0, dtype=np.int64))
        return found, self.testing.metric.report


class Watch(Hook):
    """Writes down what the Runner does, step by step."""

    def __init__(self, kept: Sequence[int], names: list[str], until: int) -> None:
        self.kept, self.names, self.until, self.trace = set(kept), names, until, Trace()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """A step of the optimiser is done."""
        self.trace.videos.append([meta.id for meta in data_batch.meta])
        self.trace.losses.append({name: float(value) for name, value in outputs.items()})
        step = len(self.trace.losses)
        if step in self.kept:
            state = runner.model.state_dict()
            self.trace.weights[step] = {name: state[name].numpy().copy() for name in self.names}
        if step == self.until:
            runner.train_loop.stop_training = True


def repeat(trajectory: Trajectory, folder: Path, monkeypatch: Any, options: Iterable[str] = ()) -> Repeat:
    """Build our side of a run in `folder`, all of it in float64."""
    data = folder / "data"
    config = trajectory.config(data if data.is_dir() else trajectory.write(data), options)
    opened = open_data(config.data, "cpu", config.path)
    model = check_model(config)
    training = build_training(config, opened, model, folder / "run", out=lambda line: None)
    testing = build_testing(config, opened, model)
    model.double()
    # batches of training, of testing and of the passes a memory or a labelling makes
    monkeypatch.setattr(VideoSet, "gather", functools.partialmethod(VideoSet.gather, dtype="float64"))
    if trajectory.meta.get("inject"):
        inject(training, trajectory)
    return Repeat(trajectory, training, testing)


def inject(training: Training, trajectory: Trajectory) -> None:
    """Give the run the file's own batches, whatever its seed would have drawn."""
    plan = training.runner.train_dataloader.batch_sampler
    row = {video: at for at, video in enumerate(training.videos.ids)}
    pairs = tuple((2 * i, 2 * i + 1) for i in range(trajectory.meta.get("pairs_first", 0)))
    told = dict(pairs=pairs, same=(True,) * len(pairs)) if pairs else {}

    def batch(epoch: int, number: int) -> Request:
        videos = trajectory.videos_of(epoch * len(plan) + number)
        return Request(tuple(row[video] for video in videos), epoch, **told)

    plan.batch = batch
