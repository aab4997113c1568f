"""Training steps of the shipped recipes on the embedded benchmark, as the runner makes them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tests.helpers import REPOSITORY
from wtal_bench.data.dataset import VideoSet
from wtal_bench.data.sampling import build_sampling
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.model import Model
from wtal_bench.running.datasets import open_data
from wtal_bench.running.loader import Gather, Plan
from wtal_bench.running.runner import _training_pass
from wtal_bench.running.settings import RunConfig
from wtal_bench.testing import random_batch

RECIPES = sorted(path.stem for path in (REPOSITORY / "configs").glob("*_synthetic.py"))
LENGTHS = (48, 357, 126, 180, 1100, 300, 235, 594, 260, 420, 2200, 480, 820, 1500)
"""Snippets of whole THUMOS14 videos, about."""
_opened: dict[str, VideoSet] = {}


def videos_of(config: RunConfig) -> VideoSet:
    """The first of the training videos, as many as a set of pairs needs."""
    key = repr(config.data)
    if key not in _opened:
        _opened[key] = open_data(config.data, "cpu", config.path).training(config.data.missing).take(range(40))
    return _opened[key]


def batches(config: RunConfig, epoch: int) -> Iterator[Batch]:
    """The mini-batches of an epoch, as the loader makes them."""
    t, videos = config.train, videos_of(config)
    plan = Plan(videos.labels, t.batch_size, 0, shuffle=t.shuffle, drop_last=t.drop_last, pairs=t.pairs)
    gather = Gather(videos, build_sampling(t.sampling, length=t.length), 0)
    yield from (gather(plan.batch(epoch, number)) for number in range(len(plan)))


def first_batch(config: RunConfig, epoch: int) -> Batch:
    """The first mini-batch of an epoch."""
    return next(batches(config, epoch))


def published_batch(config: RunConfig, epoch: int) -> Batch:
    """A mini-batch of random features of the published size; whole videos have THUMOS14's lengths, about."""
    t = config.train
    rule, count = build_sampling(t.sampling, length=t.length), t.batch_size
    if t.pairs and t.pairs["source"] == "dataset":
        count *= 2
    lengths = [rule.draw(LENGTHS[i % len(LENGTHS)], seed=0, epoch=i, video=str(i)).size for i in range(count)]
    batch = random_batch(lengths, width=2048, classes=20).to("cpu")
    batch.features, batch.labels, batch.epoch = batch.features.float(), batch.labels.float(), epoch
    if t.pairs:
        pairs = min(count // 2, t.pairs.get("count", count // 2))
        batch.labels[1 : 2 * pairs : 2] = batch.labels[0 : 2 * pairs : 2]
        batch.pairs, batch.pair_same = torch.arange(2 * pairs).reshape(-1, 2), torch.ones(pairs)
        batch.pair_same[1::2] = 0
        if t.pairs["source"] == "dataset":  # pairs that differ share no class; an eighth of FTCL's cosines pass its tau
            batch.labels[3 : 2 * pairs : 4] = batch.labels[2 : 2 * pairs : 4].roll(10, dims=1)
            alike = 0.4 + 0.6 * torch.rand(*batch.mask.shape, 1, generator=torch.Generator().manual_seed(0))
            batch.features = batch.features.lerp(batch.features[:1, :1], alike)
    return batch


def epochs_of(config: RunConfig) -> Iterator[int]:
    """The first and the last epoch: what begins later (memories, pseudo labels) is on in the last."""
    yield from sorted({0, (config.train.epochs or 2) - 1})


def begin(model: Model, config: RunConfig, epoch: int) -> None:
    """Let the components begin all epochs up to `epoch` at which they make something of the training videos."""
    passes = _training_pass(model, Gather(videos_of(config), build_sampling("whole"), 0), torch.device("cpu"))
    parts = [part for _, part in model.components()]
    due = {0, epoch, *(e for part in parts for e in [*getattr(part, "generations", ()), getattr(part, "start", 0)])}
    for at in sorted(e for e in due if e <= epoch):
        model.begin_epoch(at, passes(at))


def fresh(batch: Batch) -> Batch:
    """The batch with nothing left on it of an earlier step."""
    return batch._moved(lambda x: x.clone())
