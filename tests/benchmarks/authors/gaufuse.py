"""GauFuse: RSKP's step and the cross-entropy under its labels, in the last epoch.

How labels are made is no part of a step (`bench_gaufuse.py` times it): both sides read the same two generations, random
ones. What we know of their program imports a `model/losses.py` that is not there; RSKP's, copied there, fits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.benchmarks.authors import Checkout, Step
from tests.benchmarks.authors.rskp import NAMES, parts, unpadded, video_losses
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.localizer import Localizer
from wtal_plugins.gaufuse.label_store import LabelStore, VideoLabels
from wtal_plugins.gaufuse.labels import PseudoLabels

RECIPE = "gaufuse_thumos"
CHECKOUT = "zhou745/GauFuse_WSTAL"
FILES = ("model/main_branch.py", "model/losses.py", "model/memory.py", "options.py", "method.py", "utils/utils.py")
EPOCH = 349
SCALE = 2.15
"""Of the difference of two generations from epoch 301 on."""


def step(checkout: Checkout, model: Localizer, batch: Batch) -> Step:
    """Theirs has their default options: they are the published ones, as the recipe's are."""
    made = parts(checkout, model)
    args, under_labels = made.args, checkout.module("utils.utils").compute_distloss
    weight = min(args.dist_loss * args.dist_loss_increase ** (EPOCH - args.pretrained_epoch), args.max_dist_weight)
    columns = args.class_num + 1
    latest, previous = generations(model.heads["labels"], batch, columns)
    videos = list(zip(unpadded(batch), latest, previous, strict=True))

    def loss() -> Tensor:
        total = 0.0
        for (features, labels), now, before in videos:
            pseudo = now * SCALE - before * SCALE
            # their slots come of the wrong axis of the labels, as the recipe's do (`slot='first'`)
            fore, back, attention, distillation, outputs = video_losses(made, features, labels, axis=0)
            own = fore * args.fore_loss_weight + back * args.back_loss_weight + attention * args.att_loss_weight
            own = own + distillation * args.spl_loss_weight + weight * under_labels(*outputs, pseudo, args)
            total = total + own
        return total / len(batch)  # they add the videos up, as the recipe's `grad_reduction` does of the mean

    return Step(made.network, loss, NAMES)


def generations(head: PseudoLabels, batch: Batch, columns: int) -> tuple[list[Tensor], list[Tensor]]:
    """Two generations of labels for every video, float64 [T,columns] as theirs are; ours gets the same."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(2):
        own, store = [], {}
        for meta, length, tags in zip(batch.meta, batch.packing.lengths, batch.labels):
            classes = torch.cat([tags.nonzero().flatten(), torch.tensor([columns - 1])])  # tags and background
            values = 0.1 * torch.rand(len(classes), length, generator=generator, dtype=torch.float64)
            own.append(torch.zeros(length, columns, dtype=torch.float64).index_copy_(1, classes, values.T))
            store[meta.id] = VideoLabels(classes.numpy(), values.numpy())
        made.append((own, LabelStore(store)))
    (latest, head.latest), (previous, head.previous) = made
    head.made_at, head._banked = EPOCH, None
    return latest, previous
