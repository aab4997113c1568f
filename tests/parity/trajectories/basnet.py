"""BaS-Net's whole runs: the shipped config at the file's settings, in the authors' order of batches or in epochs."""

from __future__ import annotations

from typing import Any

import numpy as np

MAPPING = {
    f"{ours}.{kind}": f"{theirs}.{kind}"
    for ours, theirs in {
        "backbone.filter1": "filter_module.conv_1.0",
        "backbone.filter2": "filter_module.conv_2.0",
        "backbone.conv1": "cas_module.conv_1.0",
        "backbone.conv2": "cas_module.conv_2.0",
    }.items()
    for kind in ("weight", "bias")
} | {"heads.cls.cls.weight": "cas_module.conv_3.0.weight"}


def fill(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """See the package."""
    own = meta["settings"]
    options = [
        f"model.backbone.in_channels={own['in_channels']}",
        f"model.backbone.channels={own['cas_channels']}",
        f"model.backbone.filter_channels={own['filter_channels']}",
        f"model.heads.cls.channels={own['cas_channels']}",
        f"model.heads.cls.num_classes={own['classes']}",
        "model.heads.cls.dropout=0.0",
        "model.heads.base.dropout=0.0",
        f"model.losses.norm.weight={own['alpha']}",
        f"model.postprocessor.class_threshold={own['class_threshold']}",
        f"model.postprocessor.nms.iou={own['nms']}",
        "train.sampling=uniform",
        f"train.length={own['num_segments']}",
        f"test.length={own['num_segments']}",
        f"train.batch_size={own['batch_size']}",
        f"train.iterations={meta['steps']}",
        f"train.lr={own['lr']}",
        f"train.weight_decay={own['weight_decay']}",
    ]
    if meta["order"].startswith("the authors' own"):
        options.append("train.shuffle=fresh")
    return {"options": options, "mapping": MAPPING, "loss_names": ["base", "supp", "norm", "loss"]}
