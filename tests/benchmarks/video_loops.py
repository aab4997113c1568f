"""The training step of every method as a plain loop: one video (or pair) at a time, gradients summed, torch's Adam.

Where an authors' step stands in this folder it is that one ("theirs"), elsewhere our own model ("ours"), which spares
the loop their padding but none of the launches. FAC-Net's, RSKP's, GauFuse's and W-TALC's authors loop like this, ECM's
and FTCL's in parts of their step; ACM-Net's, CoLA's, UM's and BaS-Net's compute batches, CO2-Net's all but three pairs:
what their programs themselves need is counted by `peer_steps.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.bench_fac_net import PlainVideo
from tests.benchmarks.bench_gaufuse import PlainStep
from tests.benchmarks.host_steps import STEPS
from wtal_bench.interfaces import Batch
from wtal_bench.running.settings import RunConfig
from wtal_plugins.rskp.heads import Propagation


def loop_of(config: RunConfig, model: nn.Module, batch: Batch) -> tuple[Callable[[], None], str]:
    """A step that loops over the videos of `batch`, and whose loop it is."""
    parameters, loss, kind = _loss(config, model, batch)
    t = config.train
    optimizer = torch.optim.Adam(parameters, lr=t.lr, betas=tuple(t.betas), weight_decay=t.weight_decay)
    parts = list(apart(batch, 2 if batch.pairs is not None else 1))

    def step() -> None:
        optimizer.zero_grad()
        for part in parts:
            loss(part).backward()
        optimizer.step()

    return step, kind


def _loss(config: RunConfig, model: nn.Module, batch: Batch) -> tuple[list[Tensor], Callable[[Batch], Tensor], str]:
    embedded = "backbone.fc1.weight" in dict(model.named_parameters())
    if config.method in STEPS and embedded == (config.method == "wtalc"):  # elsewhere a variant, of no authors' step
        p = {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}
        if not any(name.startswith("members.") and ".backbone." in name for name in p):
            return list(p.values()), lambda part: STEPS[config.method](p, part), "theirs"
    if any(isinstance(part, Propagation) for _, part in model.components()):
        plain = PlainStep(model, 0.6)
        return list(model.parameters()), lambda part: plain.loss(part.features[0], part.labels[0]), "theirs"
    if config.method == "fac_net":
        streams = [_plain_stream(member) for member in getattr(model, "members", {"": model}).values()]
        spans = list(getattr(model, "columns", {"": None}).values())
        both = [
            (stream.to(batch.features.device), slice(*(span or (None, None)))) for stream, span in zip(streams, spans)
        ]
        parameters = [p for stream in streams for p in stream.parameters()]
        return parameters, lambda part: sum(s(part.features[..., c], part.labels) for s, c in both), "theirs"
    return list(model.parameters()), lambda part: model.losses(part)["total"], "ours"


def _plain_stream(member: Any) -> PlainVideo:
    embed, centers = member.backbone.embed, member.backbone.action_centers
    plain = PlainVideo(embed.fc1.in_features, embed.fc2.out_features, len(centers) - 1, embed.dropout.p)
    plain.fc1.load_state_dict(embed.fc1.state_dict())
    plain.fc2.load_state_dict(embed.fc2.state_dict())
    with torch.no_grad():
        plain.action_centers.copy_(centers)
        plain.fg_center.copy_(member.backbone.fg_center)
    return plain


def apart(batch: Batch, size: int) -> Any:
    """The videos (or pairs: rows next to each other) of a batch in batches of their own, without padding."""
    for first in range(0, len(batch) - len(batch) % size, size):
        rows = slice(first, first + size)
        longest = max(batch.packing.lengths[rows])
        cut = {name: getattr(batch, name)[rows] for name in ("mask", "labels", "index", "features", "snippet_index")}
        cut |= {name: cut[name][:, :longest].contiguous() for name in ("mask", "features", "snippet_index")}
        pairs = batch.pairs is not None
        yield replace(
            batch,
            **cut,
            meta=batch.meta[rows],
            pairs=torch.tensor([[0, 1]], device=batch.mask.device) if pairs else None,
            pair_same=batch.pair_same.new_ones(1) if pairs else None,
        )
