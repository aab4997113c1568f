"""Tiny STPN models for the contract suite: raw features, and the variant with an embedding."""

from __future__ import annotations

from typing import Any

from wtal_bench.testing import Example


def thumos() -> Example:
    """The published model: two streams of raw features."""
    return Example(model=_model(dict(type="RawFeatures"), 4, "embedding", pool="mean"))


def embedding() -> Example:
    """Two layers before everything, and the normalised pooling."""
    backbone = dict(type="LayeredEmbedding", in_channels=4, channels=6, dropout=0.5)
    return Example(model=_model(backbone, 6, "dropped_embedding", pool="norm"))


def _model(backbone: dict[str, Any], channels: int, field: str, pool: str) -> dict[str, Any]:
    return dict(
        type="Streams",
        streams=dict(rgb=(0, 4), flow=(4, 8)),
        member=dict(
            backbone=backbone,
            heads=dict(
                attention=dict(type="SnippetAttention", channels=channels, hidden=5, init="xavier", reads=field),
                classifier=dict(
                    type="stpn.Classifier", channels=channels, num_classes=3, pool=pool, reads=dict(embedding=field)
                ),
                actionness=dict(type="Actionness", source="attention"),
            ),
            losses=dict(
                cls=dict(type="VideoCrossEntropy", form="binary_sigmoid", normalize=False, class_reduction="mean"),
                sparse=dict(type="Sparsity", weight=1e-4),
            ),
        ),
        postprocessor=dict(
            type="PooledDecoder",
            shared=dict(
                num_classes=3,
                scores_activation="sigmoid",
                class_threshold=0.1,
                class_test=">",
                upsample=24,
                thresholds=[0.05],
                above=">=",
                contrast=dict(outer=None),
            ),
            passes={stream: _pass(stream) for stream in ("rgb", "flow")},
            nms=dict(iou=0.5, drop=">"),
        ),
    )


def _pass(stream: str) -> dict[str, Any]:
    both = [dict(field="rgb.cas", weight=0.5), dict(field="flow.cas", weight=0.5)]
    return dict(
        scores=f"{stream}.video_logits",
        curve=dict(product=[f"{stream}.attention", dict(field=f"{stream}.cas", activation="sigmoid")]),
        score_curve=dict(product=[f"{stream}.attention", dict(sum=both)]),
    )
