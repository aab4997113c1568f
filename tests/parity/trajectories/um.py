"""UM's whole run: the shipped config at the file's settings."""

from __future__ import annotations

from typing import Any

import numpy as np

MAPPING = {
    "backbone.embed.conv.weight": "cas_module.conv.0.weight",
    "backbone.embed.conv.bias": "cas_module.conv.0.bias",
    "heads.classifier.cls.weight": "cas_module.classifier.0.weight",
}


def fill(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """See the package."""
    own = meta["settings"]
    divisors = [
        f"model.heads.{head}.{name}={own[name]}" for head in ("magnitude", "selection") for name in ("r_act", "r_bkg")
    ]
    options = [
        f"model.backbone.in_channels={own['in_channels']}",
        f"model.backbone.channels={own['hidden']}",
        f"model.heads.classifier.channels={own['hidden']}",
        f"model.heads.classifier.num_classes={own['num_classes']}",
        "model.heads.classifier.dropout=0.0",
        f"model.heads.mil.divisor={own['r_act']}",
        *divisors,
        "model.heads.selection.dropout=0.0",
        f"model.losses.um.weight={own['alpha']}",
        f"model.losses.um.margin={own['margin']}",
        f"model.losses.be.weight={own['beta']}",
        f"model.postprocessor.shared.class_threshold={own['class_threshold']}",
        f"model.postprocessor.nms.iou={own['nms_threshold']}",
        "train.sampling=uniform",
        f"train.length={own['num_segments']}",
        f"test.length={own['num_segments']}",
        f"train.batch_size={own['batch_size']}",
        f"train.iterations={own['steps']}",
        f"train.lr={own['learning_rate']}",
        f"train.weight_decay={own['weight_decay']}",
    ]
    return {"options": options, "mapping": MAPPING, "loss_names": ["cls", "be", "um", "loss"]}
