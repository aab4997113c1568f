"""FTCL's step on pairs of videos: `main_thu.py --ftcl`, with its loops over pairs and over cells of their matrices."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from tests.benchmarks.authors import Checkout, Step, acm_net
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.model import Model

RECIPE = "ftcl_thumos"
CHECKOUT = "MengyuanChen21/CVPR2022-FTCL"
FILES = ("model/FTCLNet.py", "utils/ftcl_criterion.py", "utils/net_utils.py", "config/model_config.py")
NAMES = acm_net.NAMES | {f"criteria.fsd.trans.{kind}": f"feature_trans.{kind}" for kind in ("weight", "bias")}


def step(checkout: Checkout, model: Model, batch: Batch) -> Step:
    """Their step; see the module."""
    args = acm_net.arguments(checkout, "--ftcl")
    network = checkout.module("model.FTCLNet").FTCLNet(args)
    criterion = loss_of(checkout, args, batch.features.dtype)
    sides = batch.pairs.T
    features, labels = [batch.features[side] for side in sides], [batch.labels[side] for side in sides]

    def read(output: tuple[Tensor, ...], label: Tensor) -> tuple[Tensor, ...]:
        *scores_and_features, attention, cas, _, _, _, common, action, background = output
        scores, rest = scores_and_features[:3], scores_and_features[3:]
        return *scores, label, attention, *rest, cas, common, action, background

    def loss() -> Tensor:
        first, second = (read(*one) for one in zip(network(args.ftcl, *features), labels))
        return criterion(*first, args, *second)[0]

    return Step(network, loss, NAMES)


def loss_of(checkout: Checkout, args: Any, dtype: torch.dtype) -> Any:
    """Their criterion, on the CPU."""
    absent = importlib.util.find_spec("tqdm") is None
    if absent:  # a progress bar of another path
        sys.modules["tqdm"] = ModuleType("tqdm")
        sys.modules["tqdm"].tqdm = iter
    try:
        module = checkout.module("utils.ftcl_criterion")
        assign = checkout.module("utils.net_utils").assign2Tensor
    finally:
        if absent:
            del sys.modules["tqdm"]
    # tables are made with device="cuda", which no patch of methods reaches
    module.torch = ModuleType("torch")
    vars(module.torch).update(vars(torch))
    module.torch.zeros = lambda *size, device=None: torch.zeros(*size)
    if dtype == torch.float64:  # else their mask rounds every cell to float32; a cell with axes keeps its kind
        module.assign2Tensor = lambda table, i, j, value: assign(table, i, j, value.reshape(1, 1))
    else:
        module.assign2Tensor = assign
    return module.FTCLLoss(args)
