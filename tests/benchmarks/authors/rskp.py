"""RSKP: ten videos one by one, in the last epoch, where they read and write the memory in turn.

The slots are those of a video's tags, as in their program since issue 7; what they had uploaded before read slot 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.authors import Checkout, Step
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.localizer import Localizer

RECIPE = "rskp_thumos"
CHECKOUT = "LeonHLJ/RSKP"
FILES = ("model/main_branch.py", "model/losses.py", "model/memory.py", "options.py", "processor.py")
EPOCH = 199
NAMES = {
    "backbone.embed.weight": "feature_embedding.0.weight",
    "backbone.embed.bias": "feature_embedding.0.bias",
    "heads.propagation.mu": "mu",
    "heads.classifier.ac_center": "ac_center",
    "heads.classifier.fg_center": "fg_center",
}
DISTILLATION = 0.5
"""Weight of the distillation once there is a memory; `lambda_s` is what it is before."""


def step(checkout: Checkout, model: Localizer, batch: Batch) -> Step:
    """Theirs has their default options: they are the published ones, as the recipe's are."""
    made = parts(checkout, model)
    args = made.args
    videos = list(unpadded(batch))

    def loss() -> Tensor:
        total = 0.0
        with mock.patch.object(torch, "solve", solve):
            for features, labels in videos:
                fore, back, attention, distillation, _ = video_losses(made, features, labels, axis=1)
                own = fore + back * args.lambda_b + attention * args.lambda_a + distillation * DISTILLATION
                total = total + own
        return total / len(batch)  # they add the videos up, as the recipe's `grad_reduction` does of the mean

    return Step(made.network, loss, NAMES)


def parts(checkout: Checkout, model: Localizer) -> SimpleNamespace:
    """Their options, network, losses and memory; what it holds is random, and the same as in ours."""
    args, branch = checkout.module("options").parser.parse_args([]), checkout.module("model.main_branch")
    losses = checkout.module("model.losses")
    memory, ours = checkout.module("model.memory").Memory(args), model.heads["memory"]
    generator = torch.Generator().manual_seed(0)
    memory.cls_mu_queue.uniform_(generator=generator)
    memory.cls_sc_queue.uniform_(0.0, 0.1, generator=generator)  # so low that what videos store comes in, but not all
    memory.cls_sc_queue.copy_(memory.cls_sc_queue.sort(dim=1, descending=True).values)
    ours.bank.copy_(memory.cls_mu_queue)
    ours.bank_scores.copy_(memory.cls_sc_queue)
    return SimpleNamespace(
        args=args,
        network=branch.WSTAL(args),
        memory=memory,
        random_walk=branch.random_walk,
        losses=(losses.NormalizedCrossEntropy(), losses.AttLoss(8.0), losses.CategoryCrossEntropy(args.T)),
    )


def unpadded(batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    """Features [1,T,F] and labels [1,C] of every video, as their loader gives them."""
    for row, (length, labels) in enumerate(zip(batch.packing.lengths, batch.labels)):
        yield batch.features[row : row + 1, :length].contiguous(), labels.unsqueeze(0)


def video_losses(
    made: SimpleNamespace, features: Tensor, labels: Tensor, axis: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[list[Tensor], ...]]:
    """Foreground, background, attention and distillation loss of a video after warm-up, and the network's outputs.

    Args:
        made: see `parts`.
        features, labels: see `unpadded`.
        axis: of the labels that counts as the slot: 1 is the tag, 0 always slot 0.
    """
    cross_entropy, contrast, distil = made.losses
    foreground = torch.cat([labels, torch.zeros(labels.size(0), 1)], -1)
    background = torch.cat([labels, torch.ones(labels.size(0), 1)], -1)
    outputs = own, walked, (x, mu, mu_scores, *_) = made.network(features)
    fore = cross_entropy(own[0], foreground) + cross_entropy(walked[0], foreground)
    back = cross_entropy(own[1], background) + cross_entropy(walked[1], background)
    attention = contrast(own[2])
    slots = np.where(labels.numpy() == 1)[axis].tolist()
    stored = made.memory._return_queue(slots).detach()
    remembered = made.network.PredictionModule(made.random_walk(x, stored, made.args.w))
    fore = fore + 0.5 * cross_entropy(remembered[0], foreground)
    back = back + 0.5 * cross_entropy(remembered[1], background)
    distillation = distil(own[3], remembered[3] * 0.2 + walked[3] * 0.8)
    made.memory._update_queue(mu.squeeze(0), mu_scores.squeeze(0), slots)
    return fore, back, attention, distillation, outputs


def solve(right: Tensor, matrix: Tensor) -> tuple[Tensor, None]:
    """What torch dropped in version 1.13, by the same LU factors."""
    return torch.linalg.solve(matrix, right.to(matrix.dtype).expand_as(matrix)), None
