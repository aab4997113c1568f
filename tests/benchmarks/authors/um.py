"""UM: the authors' network, which gathers both sets of snippets, and their `UM_loss`."""

from __future__ import annotations

from torch import Tensor, nn

from tests.benchmarks.authors import Checkout, Step
from tests.benchmarks.foreign import defaults
from wtal_bench.interfaces import Batch

RECIPE = "um_thumos"
CHECKOUT = "Pilhyeon/WTAL-Uncertainty-Modeling"
FILES = ("model.py", "train.py", "options.py")
MARK = ("train.py", "class UM_loss(")  # earlier states have another loss
NAMES = {
    "backbone.embed.conv.weight": "cas_module.conv.0.weight",
    "backbone.embed.conv.bias": "cas_module.conv.0.bias",
    "heads.classifier.cls.weight": "cas_module.classifier.0.weight",
}


def step(checkout: Checkout, model: nn.Module, batch: Batch) -> Step:
    """The middle of their `train`."""
    args = defaults(checkout.module("options"))
    network = checkout.module("model").Model(batch.features.shape[2], batch.labels.shape[1], args.r_act, args.r_bkg)
    criterion = checkout.module("train").UM_loss(args.alpha, args.beta, args.margin)

    def loss() -> Tensor:
        score_act, score_bkg, feat_act, feat_bkg, _, _ = network(batch.features)
        cost, _ = criterion(score_act, score_bkg, feat_act, feat_bkg, batch.labels)
        return cost

    return Step(network, loss, NAMES)
