"""W-TALC's whole run: the shipped config at the file's settings, batches as the authors drew them."""

from __future__ import annotations

from typing import Any

import numpy as np

MAPPING = {
    f"{ours}.{kind}": f"{theirs}.{kind}"
    for ours, theirs in (("backbone.fc1", "fc"), ("heads.classifier.cls", "classifier"))
    for kind in ("weight", "bias")
}


def fill(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """See the package."""
    own = meta["settings"]
    assert own["loss"] == "0.5 mil + 0.5 cas"
    options = [
        f"model.backbone.in_channels={own['hidden']}",
        f"model.backbone.channels={own['hidden']}",
        f"model.backbone.dropout={own['dropout']}",
        f"model.heads.classifier.channels={own['hidden']}",
        f"model.heads.classifier.num_classes={own['classes']}",
        f"model.heads.mil.divisor={own['k_divisor']}",
        f"model.heads.scores.divisor={own['k_divisor']}",
        f"model.losses.cas.margin={own['margin']}",
        f"model.postprocessor.min_length={own['min_length']}",
        "train.sampling={'type': 'random_crop', 'start': 'middle'}",
        f"train.length={own['t_max']}",
        f"train.batch_size={own['batch']}",
        f"train.pairs.count={own['similar_pairs']}",
        f"train.iterations={meta['steps']}",
        f"train.lr={own['lr']}",
        f"train.weight_decay={own['weight_decay']}",
    ]
    return {
        "options": options,
        "mapping": MAPPING,
        "loss_names": ["mil", "cas", "loss"],
        "seed": 0,
        "inject": True,
        "pairs_first": own["similar_pairs"],
    }
