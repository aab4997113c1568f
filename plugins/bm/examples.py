"""Tiny BM models for the contract suite: raw features as in the reference, and the variant with an embedding."""

from __future__ import annotations

from typing import Any

from wtal_bench.testing import Example


def thumos() -> Example:
    """The default: raw features, normalised pooling."""
    return Example(model=_model(dict(type="RawFeatures"), 4, "embedding", dict(pool="norm"), dict(sigma=1.0), {}))


def embedding() -> Example:
    """Two layers before everything; the other pooling, guide and curve."""
    backbone = dict(type="LayeredEmbedding", in_channels=4, channels=6, dropout=0.5)
    guide = dict(sigma=2.0, foreground="sum", bias=True)
    decoder = dict(sigma=3.0, activation="softmax", attention_power=1)
    return Example(model=_model(backbone, 6, "dropped_embedding", dict(pool="mean"), guide, decoder))


def _model(
    backbone: dict[str, Any],
    channels: int,
    field: str,
    classifier: dict[str, Any],
    guide: dict[str, Any],
    decoder: dict[str, Any],
) -> dict[str, Any]:
    return dict(
        type="Streams",
        streams=dict(rgb=(0, 4), flow=(4, 8)),
        member=dict(
            backbone=backbone,
            heads=dict(
                attention=dict(type="SnippetAttention", channels=channels, hidden=5, reads=field),
                classifier=dict(
                    type="bm.Classifier",
                    channels=channels,
                    num_classes=3,
                    reads=dict(embedding=field),
                    **classifier,
                ),
                clusters=dict(type="bm.Clusters", channels=channels),
                actionness=dict(type="Actionness", source="attention"),
            ),
            losses=dict(
                fg=dict(type="VideoCrossEntropy"),
                bg=dict(type="VideoCrossEntropy", target="background", reads="background_logits", weight=0.03),
                guide=dict(type="bm.Guide", weight=0.1, **guide),
                cluster=dict(type="bm.Clustering", weight=0.3),
            ),
        ),
        postprocessor=dict(
            type="bm.TwoStreamDecoder",
            streams=dict(rgb=dict(threshold=0.03, share=0.35), flow=dict(threshold=0.08, share=0.65)),
            num_classes=3,
            nms=dict(iou=0.5, drop=">"),
            **decoder,
        ),
    )
