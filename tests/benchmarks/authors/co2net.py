"""CO2-Net: the authors' network and its `criterion`, which takes one pair after the other."""

from __future__ import annotations

from torch import Tensor, nn

from tests.benchmarks.authors import Checkout, Step
from tests.benchmarks.foreign import stand_ins
from wtal_bench.interfaces import Batch

RECIPE = "co2net_thumos"
CHECKOUT = "harlanhong/MM2021-CO2-Net"
FILES = ("model.py", "train.py", "options.py")
MARK = ("model.py", "class CO2(")
SETTING = "--max-seqlen 500 --k 7 --num-class 20 --use-model CO2 --AWM BWA_fusion_dropout_feat_v2"
"""Of their `run.sh`, for THUMOS14: what a step reads."""

LAYERS = {
    "backbone.fusion": "fusion.0",
    "heads.classifier.cls1.conv": "classifier.1",
    "heads.classifier.cls2": "classifier.4",
}
for _ours, _theirs in (("rgb", "vAttn"), ("flow", "fAttn")):
    LAYERS |= {
        f"backbone.{_ours}.local.conv": f"{_theirs}.bit_wise_attn.0",
        f"backbone.{_ours}.summary": f"{_theirs}.channel_conv.0",
        f"backbone.{_ours}.att1.conv": f"{_theirs}.attention.0",
        f"backbone.{_ours}.att2.conv": f"{_theirs}.attention.3",
        f"backbone.{_ours}.att3": f"{_theirs}.attention.5",
    }
NAMES = {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in LAYERS.items() for kind in ("weight", "bias")}


def step(checkout: Checkout, model: nn.Module, batch: Batch) -> Step:
    """The middle of their `train`; the first three pairs are in the code of the loss."""
    with stand_ins("losses", "utils", "utils.wsad_utils"):  # the model imports them and calls none
        program = checkout.module("model")
    args = checkout.module("options").parser.parse_args(SETTING.split())
    vars(args).setdefault("branch_num", 4)  # not in all states of their options; the model stores it, no more
    features, labels = batch.features, batch.labels
    network = getattr(program, args.use_model)(features.shape[2], labels.shape[1], opt=args)

    def loss() -> Tensor:
        return network.criterion(network(features, is_training=True, opt=args), labels, opt=args)

    return Step(network, loss, NAMES)
