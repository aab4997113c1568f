"""A tiny UM model for the contract suite."""

from __future__ import annotations

from wtal_bench.testing import Example

W = dict(product=[dict(field="cas", activation="softmax"), "attention"], normalize="rectified_clip")


def thumos() -> Example:
    """The published settings."""
    binary = dict(type="VideoCrossEntropy", form="binary_softmax", class_reduction="mean")
    return Example(
        model=dict(
            type="Localizer",
            backbone=dict(type="ConvEmbedding", in_channels=8, channels=6),
            heads=dict(
                classifier=dict(type="SnippetClassifier", channels=6, num_classes=3, bias=False, dropout=0.7),
                mil=dict(type="TopKMean", divisor=9),
                magnitude=dict(type="um.Magnitude", r_act=9, r_bkg=4),
                selection=dict(type="um.Selection", r_act=9, r_bkg=4, dropout=0.7),
            ),
            losses=dict(
                cls=binary,
                be=dict(binary, target="uniform", reads="background_logits"),
                um=dict(type="um.Uncertainty", margin=100.0, weight=0.0005),
            ),
            postprocessor=dict(
                type="PooledDecoder",
                shared=dict(
                    num_classes=3,
                    class_threshold=0.2,
                    fallback="argmax",
                    upsample=24,
                    above=">=",
                    min_length=2,
                    contrast=dict(outer=0.25, video_score=0.2),
                ),
                passes=dict(
                    cas=dict(curve=W, thresholds=dict(arange=(0, 0.25, 0.025)), positive=True, zero_below=True),
                    magnitude=dict(curve="attention", score_curve=W, thresholds=dict(arange=(0.4, 0.625, 0.025))),
                ),
                nms=dict(iou=0.6, offset=1.0),
            ),
        ),
    )
