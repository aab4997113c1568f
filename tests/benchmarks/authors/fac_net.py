"""FAC-Net: two runs of their program, RGB and flow, of which a step is the sum over ten videos one by one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.benchmarks.authors import Checkout, Step
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.streams import Streams

RECIPE = "fac_net_thumos"
CHECKOUT = "LeonHLJ/FAC-Net"
FILES = ("model/main_branch.py", "model/losses.py", "train_options.py", "train_Processor.py")
NAMES = {
    "embed.fc1.weight": "feature_embedding.process.0.weight",
    "embed.fc1.bias": "feature_embedding.process.0.bias",
    "embed.fc2.weight": "feature_embedding.process.3.weight",
    "embed.fc2.bias": "feature_embedding.process.3.bias",
    "action_centers": "ac_center",
    "fg_center": "fg_center",
}


def step(checkout: Checkout, model: Streams, batch: Batch) -> Step:
    """Theirs has their default options: they are the published ones, as the recipe's are."""
    args = checkout.module("train_options").parser.parse_args([])
    networks = nn.ModuleDict({name: checkout.module("model.main_branch").WSTAL(args) for name in model.members})
    cross_entropy = checkout.module("model.losses").NormalizedCrossEntropy()
    videos = [
        (networks[name], batch.features[row : row + 1, :length, slice(*span)].contiguous(), labels.unsqueeze(0))
        for name, span in model.columns.items()
        for row, (length, labels) in enumerate(zip(batch.packing.lengths, batch.labels))
    ]

    def loss() -> Tensor:
        total = 0.0
        for network, features, labels in videos:
            with_background = torch.cat([labels, torch.ones(labels.size(0), 1)], -1)
            without_background = torch.cat([labels, torch.zeros(labels.size(0), 1)], -1)
            classwise, agnostic, instance, _ = network(features)
            own = cross_entropy(classwise, without_background) * args.lambda_cw
            own = own + cross_entropy(agnostic, without_background) * args.lambda_ca
            total = total + own + cross_entropy(instance, with_background) * args.lambda_mil
        return total / len(batch)  # they add the videos up, as the recipe's `grad_reduction` does of the mean

    names = {
        f"members.{stream}.backbone.{ours}": f"{stream}.{theirs}"
        for stream in networks
        for ours, theirs in NAMES.items()
    }
    return Step(networks, loss, names)
