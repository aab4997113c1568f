"""CoLA's whole run: the shipped config at the file's settings."""

from __future__ import annotations

from typing import Any

import numpy as np

MAPPING = {
    "backbone.embed.conv.weight": "actionness_module.f_embed.0.weight",
    "backbone.embed.conv.bias": "actionness_module.f_embed.0.bias",
    "heads.classifier.cls.conv.weight": "actionness_module.f_cls.0.weight",
}


def fill(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """See the package."""
    own = meta["settings"]
    options = [
        f"model.backbone.in_channels={own['in_channels']}",
        f"model.backbone.channels={own['hidden']}",
        f"model.heads.classifier.channels={own['hidden']}",
        f"model.heads.classifier.num_classes={own['num_classes']}",
        "model.heads.classifier.dropout=0.0",
        f"model.heads.pool.divisor={own['r_easy']}",
        f"model.heads.mining.easy_divisor={own['r_easy']}",
        f"model.heads.mining.hard_divisor={own['r_hard']}",
        f"model.heads.mining.inner_width={own['m']}",
        f"model.heads.mining.outer_width={own['M']}",
        "model.heads.mining.dropout=0.0",
        f"model.losses.snico.weight={own['lambda_snico']}",
        f"model.losses.snico.temperature={own['temperature']}",
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
    return {"options": options, "mapping": MAPPING, "loss_names": ["cls", "snico", "loss"]}
