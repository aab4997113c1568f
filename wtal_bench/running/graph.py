"""A training step as one CUDA graph: captured once, then launched whole, with nothing left for the host to do between.

A graph replays the same kernels on the same memory. That is the same step only where shapes do not change, nothing
reads a value back, and nothing on the host has a say in what is computed; `check_graph` refuses the rest in words.
Mini-batches of another shape (the last, smaller one) and the first of an epoch (weights may be scheduled) are captured
anew.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from wtal_bench.data.dataset import VideoSet
from wtal_bench.data.sampling import build_sampling
from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import TENSORS, Batch, View
from wtal_bench.modeling.model import Model
from wtal_bench.modeling.operations import Operations
from wtal_bench.packing import note_packing, note_tags
from wtal_bench.running.loader import Gather, Request
from wtal_bench.running.optim import autocast
from wtal_bench.running.settings import RunConfig

WARM_UP = 3
"""Steps outside of a graph before the first capture: libraries allocate and choose algorithms in them."""


def check_graph(model: Model, videos: VideoSet, config: RunConfig, device: torch.device, world: int) -> None:
    """Refuse a training step that cannot be captured.

    Raises:
        ConfigError: naming the reason.
    """
    reason = _shapes_change(config) or _host_decides(model, config, world) or _waits(model, videos, config)
    if not reason and device.type != "cuda":
        reason = "torch sees no GPU here"
    if reason:
        raise ConfigError(
            f"{config.path}: runtime.cuda_graph=True: the training step cannot be captured: {reason}. Leave it off "
            "(runtime.compile=True also spares launches, and takes any shape)."
        )


def _shapes_change(config: RunConfig) -> str:
    rule = build_sampling(config.train.sampling, length=config.train.length)
    lengths = {rule.draw(stored, seed=0, epoch=0, video="v").size for stored in (1, 7, 100, 5000)}
    if len(lengths) == 1:
        return ""
    return (
        f"train.sampling={config.train.sampling!r} gives videos of different lengths, so the shapes change from step "
        "to step. Take a rule that always gives train.length snippets (random_segments, linear, uniform)"
    )


def _host_decides(model: Model, config: RunConfig, world: int) -> str:
    if world > 1:
        return "several processes train together"
    if config.train.accumulate > 1:
        return "train.accumulate adds up the gradients of several mini-batches, and a replay overwrites them"
    for path, part in model.components():
        if isinstance(part, View):
            return f"model.{path} draws from the host's seed in every step, and a graph would repeat one draw"
    return ""


def _waits(model: Model, videos: VideoSet, config: RunConfig) -> str:
    """Run a step on tensors without values: whoever asks for one is named."""
    rule = build_sampling(config.train.sampling, length=config.train.length)
    pairs = {"pairs": ((0, min(1, len(videos) - 1)),), "same": (True,)} if config.train.pairs else {}
    batch = Gather(videos, rule, 0)(Request(tuple(range(min(2, len(videos)))), **pairs), "cpu")
    hollow = copy.deepcopy(model).to("meta").train()
    try:
        with Operations() as seen:
            hollow.losses(batch.to("meta", non_blocking=True))["total"].backward()
    except (RuntimeError, NotImplementedError) as error:
        return f"a component asks the device for a value ({str(error).splitlines()[0]})"
    return f"a component waits for the device: {next(iter(seen.waits))}" if seen.waits else ""


@dataclass
class _Captured:
    graph: Any
    batch: Batch
    total: Tensor
    log: dict[str, Tensor]
    gradients: list[Tensor | None]


class GraphedStep:
    """`Model.train_step` that replays graphs; put it in the model's place of it.

    Args:
        model: on its GPU.
        precision: "float32" or "bf16".
    """

    def __init__(self, model: Model, precision: str) -> None:
        self.model, self.precision = model, precision
        self._captured: dict[Any, _Captured] = {}
        self._pool: Any = None

    def __call__(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        """One step: copy the mini-batch in, replay, move the weights."""
        batch = self.model.data_preprocessor(data, True)["batch"]
        key = (batch.epoch, batch.share, *(getattr(batch, name).shape for name in _given(batch)), *_noted_shapes(batch))
        if key not in self._captured:
            if self._captured and next(iter(self._captured))[0] != batch.epoch:
                self._captured = {}
            self._captured[key] = self._capture(batch)
        done = self._captured[key]
        _copy(batch, done.batch)
        done.graph.replay()
        for parameter, gradient in zip(self.model.parameters(), done.gradients, strict=True):
            parameter.grad = gradient
        optim_wrapper._inner_count += 1
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        return {name: value.clone() for name, value in done.log.items()}  # the next replay overwrites them

    def _capture(self, batch: Batch) -> _Captured:
        static = _copied(batch)
        if self._pool is None:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self._forward_backward(static)
            torch.cuda.current_stream().wait_stream(side)
            self._pool = torch.cuda.graph_pool_handle()
        for parameter in self.model.parameters():
            parameter.grad = None
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            total, log = self._forward_backward(static)
        return _Captured(graph, static, total, log, [p.grad for p in self.model.parameters()])

    def _forward_backward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        for parameter in self.model.parameters():
            parameter.grad = None
        with autocast("cuda", self.precision):
            losses = self.model(batch, mode="loss")
        total, log = self.model.parse_losses(losses)
        total.backward()
        return total, log


def _given(batch: Batch) -> list[str]:
    return [name for name in TENSORS if getattr(batch, name) is not None]


def _notes(batch: Batch) -> list[Tensor]:
    """The tensors noted on mask and labels."""
    packing, tags = batch.packing, None if batch.labels is None else batch.tags
    rows = [] if packing.rows is None else [packing.rows]
    return [packing.counts, packing.starts, *rows, *((tags.slots, tags.present, tags.cells) if tags else ())]


def _noted_shapes(batch: Batch) -> list[Any]:
    return [x.shape for x in _notes(batch)]


def _copied(batch: Batch) -> Batch:
    static = replace(batch, **{name: getattr(batch, name).clone() for name in _given(batch)})
    note_packing(static.mask, batch.packing.moved(lambda x: x.clone()))
    if batch.labels is not None:
        note_tags(static.labels, batch.tags.moved(lambda x: x.clone()))
    return static


def _copy(batch: Batch, static: Batch) -> None:
    for name in _given(batch):
        if name not in ("mask", "labels"):
            getattr(static, name).copy_(getattr(batch, name))
    notes = static.packing, None if static.labels is None else static.tags
    for old, new in zip(_notes(static), _notes(batch), strict=True):
        old.copy_(new)
    static.mask.copy_(batch.mask)
    note_packing(static.mask, notes[0])
    if static.labels is not None:
        static.labels.copy_(batch.labels)
        note_tags(static.labels, notes[1])
