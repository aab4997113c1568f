"""STPN's whole run, by the reproduction that stands for its authors: the shipped config at the file's settings."""

from __future__ import annotations

from typing import Any

import numpy as np

LAYERS = {
    "attention.fc1": "Attention/dense",
    "attention.fc2": "Attention/dense_1",
    "classifier.cls": "Classification/class_weight",
}
MAPPING = {
    f"members.{stream}.heads.{ours}.{kind}": f"{stream}/{theirs}/{name}"
    for stream in ("rgb", "flow")
    for ours, theirs in LAYERS.items()
    for kind, name in (("weight", "kernel"), ("bias", "bias"))
}


def fill(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """See the package."""
    own = meta["settings"]
    width = own["in_channels"]
    train = int((arrays["subset"] == 0).sum())
    options = [
        f"model.streams.rgb=(0, {width})",
        f"model.streams.flow=({width}, {2 * width})",
        f"model.member.heads.attention.channels={width}",
        f"model.member.heads.attention.hidden={own['attention_channels']}",
        f"model.member.heads.classifier.channels={width}",
        f"model.member.heads.classifier.num_classes={own['classes']}",
        f"model.member.losses.sparse.weight={own['beta']}",
        f"model.postprocessor.shared.class_threshold={own['class_threshold']}",
        f"model.postprocessor.shared.thresholds=[{own['curve_threshold']}]",
        f"model.postprocessor.shared.upsample={own['upscale']}",
        f"model.postprocessor.nms.iou={own['nms']}",
        "train.sampling=uniform",
        f"train.length={own['num_segments']}",
        f"test.length={own['num_segments']}",
        f"train.batch_size={own['batch_size']}",
        f"train.epochs={meta['steps'] // -(-train // own['batch_size'])}",
        f"train.lr={own['lr']}",
        f"train.eps={own['eps']}",
    ]
    assert own["alpha"] == 0.5  # as shipped
    # a stream's own total is not logged: cls + beta sparse
    names = [name if not name.endswith(".total") else None for name in meta["loss_names"]]
    return {"options": options, "mapping": MAPPING, "loss_names": names}
