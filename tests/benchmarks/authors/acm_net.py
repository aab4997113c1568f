"""ACM-Net's step: `main_thu.py`, its network and criterion on whole mini-batches."""

from __future__ import annotations

import sys
from argparse import Namespace
from unittest import mock

import torch
from torch import Tensor

from tests.benchmarks.authors import Checkout, Step
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.model import Model

RECIPE = "acm_net_thumos"
CHECKOUT = "ispc-lab/ACM-Net"
FILES = ("model/ACMNet.py", "utils/net_utils.py", "config/model_config.py", "main_act.py")
LOG_EPS = 1e-10
"""What our recipe adds to p inside the logarithm, as FTCL's copy of this program does; this one adds nothing."""
NAMES = {
    f"{ours}.{kind}": f"{theirs}.{kind}"
    for ours, theirs in (
        ("backbone.embed.conv", "feature_embedding.0"),
        ("heads.attention.att", "att_branch"),
        ("heads.classifier.cls", "snippet_cls"),
    )
    for kind in ("weight", "bias")
}


def arguments(checkout: Checkout, *options: str) -> Namespace:
    """What their command line says for THUMOS14."""
    with mock.patch.object(sys, "argv", ["main_thu.py", *options]):
        return checkout.module("config.model_config").build_args(dataset="THUMOS")


def step(checkout: Checkout, model: Model, batch: Batch) -> Step:
    """Their step; see the module."""
    args = arguments(checkout)
    network = checkout.module("model.ACMNet").ACMNet(args)
    criterion = checkout.module("utils.net_utils").ACMLoss(args.loss_lamb_1, args.loss_lamb_2, args.loss_lamb_3)
    if batch.features.dtype == torch.float64:  # in float32 it is lost in all but the smallest p
        plain = criterion.cls_criterion
        criterion.cls_criterion = lambda inputs, label: plain(inputs + LOG_EPS, label)

    def loss() -> Tensor:
        *scores_and_features, attention, cas, _, _, _ = network(batch.features)
        scores, features = scores_and_features[:3], scores_and_features[3:]
        return criterion(*scores, batch.labels, attention, *features, cas)[0]

    return Step(network, loss, NAMES)
