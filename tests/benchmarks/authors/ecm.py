"""ECM's step: `core/train_eval.py`, with its loops over videos, their classes and the folds."""

from __future__ import annotations

from types import SimpleNamespace

import yaml
from torch import Tensor, cat

from tests.benchmarks.authors import Checkout, Step
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.model import Model

RECIPE = "ecm_thumos"
CHECKOUT = "VividLe/Equivalent-Classification-Mapping"
FILES = ("lib/models/network.py", "lib/criterion/loss.py", "experiments/THUMOS14.yaml")
NAMES = {"heads.pre.classifier.weight": "classifier_module.conv.weight"} | {
    f"{ours}.{kind}": f"{theirs}.{kind}"
    for ours, theirs in (
        ("backbone.trunk.conv1", "base_module.conv_1"),
        ("backbone.trunk.conv2", "base_module.conv_2"),
        ("heads.weights.transition", "attention_module.conv_1"),
    )
    for kind in ("weight", "bias")
}


def step(checkout: Checkout, model: Model, batch: Batch) -> Step:
    """Their step; see the module."""
    said = yaml.safe_load((checkout.folder / "experiments" / "THUMOS14.yaml").read_text(encoding="utf-8"))
    cfg = SimpleNamespace(**{name: SimpleNamespace(**part) for name, part in said.items()})
    library = Checkout(checkout.folder / "lib")
    network = library.module("models.network").ECMNet(cfg)
    criterion = library.module("criterion.loss").NetLoss()
    # their files hold the two streams apart, columns first
    streams = [x.contiguous() for x in batch.features.transpose(1, 2).chunk(2, dim=1)]
    labels, t = batch.labels, cfg.TRAIN
    weights = (t.LOSS_CAS_COEF, t.LOSS_CAM_COEF, t.LOSS_CONSISTENCY_COEF, t.C_LOSS_CAM_FG_INV)

    def loss() -> Tensor:
        pre, post, both = network(cat(streams, dim=1), groups=3, is_train=True, cls_label=labels)
        return sum(weight * part for weight, part in zip(weights, criterion(cfg, pre, post, labels, both)))

    return Step(network, loss, NAMES)
