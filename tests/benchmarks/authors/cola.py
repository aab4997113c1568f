"""CoLA: the authors' network, whose rings SciPy finds on the host, and their `TotalLoss`."""

from __future__ import annotations

from torch import Tensor, nn

from tests.benchmarks.authors import Checkout, Step
from tests.benchmarks.foreign import stand_ins
from wtal_bench.interfaces import Batch

RECIPE = "cola_thumos"
CHECKOUT = "zhang-can/CoLA"
FILES = ("core/model.py", "core/loss.py", "core/config.py")
MARK = ("core/loss.py", "0.01 * loss_snico")  # of the branch for THUMOS14
NAMES = {
    "backbone.embed.conv.weight": "actionness_module.f_embed.0.weight",
    "backbone.embed.conv.bias": "actionness_module.f_embed.0.bias",
    "heads.classifier.cls.conv.weight": "actionness_module.f_cls.0.weight",
}


def step(checkout: Checkout, model: nn.Module, batch: Batch) -> Step:
    """The middle of their `train_one_step`."""
    with stand_ins("easydict"):  # what their config is kept in; anything that takes attributes will do
        network = checkout.module("core.model").CoLA(checkout.module("core.config").cfg)
    criterion = checkout.module("core.loss").TotalLoss()

    def loss() -> Tensor:
        video_scores, contrast_pairs, _, _ = network(batch.features)
        cost, _ = criterion(video_scores, batch.labels, contrast_pairs)
        return cost

    return Step(network, loss, NAMES)
