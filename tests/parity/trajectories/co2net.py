"""CO2-Net's whole runs, both variants: the shipped configs at the file's settings, batches as the authors drew them."""

from __future__ import annotations

from typing import Any

import numpy as np

MAPPING = {
    f"{ours}.{kind}": f"{theirs}.{kind}"
    for ours, theirs in {
        f"backbone.{ours}.{layer}": f"{theirs}.{name}"
        for ours, theirs in {"rgb": "vAttn", "flow": "fAttn"}.items()
        for layer, name in {
            "summary": "channel_conv.0",
            "local.conv": "bit_wise_attn.0",
            "att1.conv": "attention.0",
            "att2.conv": "attention.3",
            "att3": "attention.5",
        }.items()
    }.items()
    | {
        "backbone.fusion": "fusion.0",
        "heads.classifier.cls1.conv": "classifier.1",
        "heads.classifier.cls2": "classifier.4",
    }.items()
    for kind in ("weight", "bias")
}


def fill(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """See the package."""
    own = meta["settings"]
    width, hidden = arrays["features"].shape[1], len(arrays["init/vAttn.attention.0.weight"])
    pool = own.get("pool_kernel")
    options = [
        "data.protocol=thumos14/v1",  # the file's classes, whichever variant
        f"model.backbone.in_channels={width}",
        f"model.backbone.channels={width}",
        f"model.backbone.hidden={hidden}",
        "model.backbone.dropout=0.0",
        f"model.backbone.pool={pool}",
        f"model.heads.classifier.channels={width}",
        f"model.heads.classifier.num_classes={len(arrays['classes'])}",
        "model.heads.classifier.dropout=0.0",
        f"model.heads.classifier.pool={pool}",
        f"model.heads.pool.divisor={own['k_divisor']}",
        f"model.heads.supp_pool.divisor={own['k_divisor']}",
        f"model.heads.test_pool.divisor={own['test_k_divisor']}",
        f"model.losses.coact.margin={own['margin']}",
        f"model.postprocessor.num_classes={len(arrays['classes'])}",
        "train.sampling=uniform",
        f"train.length={own['T']}",
        f"train.batch_size={own['batch']}",
        f"train.pairs.count={own['similar_pairs']}",
        f"train.iterations={meta['steps']}",
        f"train.lr={own['lr']}",
        f"train.weight_decay={own['weight_decay']}",
    ]
    return {
        "options": options,
        "mapping": MAPPING,
        "loss_names": ["mil", "mil_supp", "coact", "mutual", "norm", "guide", "loss"],
        "seed": 0,
        "evaluator": "thumos_snippet_official",
        "inject": True,
        "pairs_first": own["similar_pairs"],
        "shortest_tested": 11 if pool else 1,
    }
