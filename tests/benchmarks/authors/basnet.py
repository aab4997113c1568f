"""BaS-Net: the authors' network, which runs its trunk twice, and their `BaS_Net_loss`."""

from __future__ import annotations

from torch import Tensor, nn

from tests.benchmarks.authors import Checkout, Step
from tests.benchmarks.foreign import defaults
from wtal_bench.interfaces import Batch

RECIPE = "basnet_thumos"
CHECKOUT = "Pilhyeon/BaSNet-pytorch"
FILES = ("model.py", "train.py", "options.py")
MARK = ("model.py", "class BaS_Net(")
LAYERS = {
    "backbone.filter1": "filter_module.conv_1.0",
    "backbone.filter2": "filter_module.conv_2.0",
    "backbone.conv1": "cas_module.conv_1.0",
    "backbone.conv2": "cas_module.conv_2.0",
}
NAMES = {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in LAYERS.items() for kind in ("weight", "bias")}
NAMES |= {"heads.cls.cls.weight": "cas_module.conv_3.0.weight"}


def step(checkout: Checkout, model: nn.Module, batch: Batch) -> Step:
    """The middle of their `train`."""
    _, length, width = batch.features.shape
    network = checkout.module("model").BaS_Net(width, batch.labels.shape[1], length)
    criterion = checkout.module("train").BaS_Net_loss(defaults(checkout.module("options")).alpha)

    def loss() -> Tensor:
        score_base, _, score_supp, _, fore_weights = network(batch.features)
        cost, _ = criterion(score_base, score_supp, fore_weights, batch.labels)
        return cost

    return Step(network, loss, NAMES)
