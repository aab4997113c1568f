"""A tiny BaS-Net for the contract suite."""

from __future__ import annotations

from wtal_bench.testing import Example


def thumos() -> Example:
    """Both branches, decoded from the suppression branch."""
    binary = dict(type="VideoCrossEntropy", form="binary_softmax", class_reduction="mean")
    return Example(
        model=dict(
            type="Localizer",
            backbone=dict(type="basnet.Trunk", in_channels=8, channels=6, filter_channels=4),
            heads=dict(
                cls=dict(type="SnippetClassifier", channels=6, num_classes=3, background=True, bias=False, dropout=0.7),
                base=dict(type="basnet.BaseBranch", dropout=0.7),
                pool=dict(type="TopKMean", divisor=8),
                base_pool=dict(type="TopKMean", divisor=8, reads="base_cas", writes="base_video_logits"),
            ),
            losses=dict(
                base=dict(**binary, target="tags_and_background", reads="base_video_logits"),
                supp=dict(**binary, target="tags"),
                norm=dict(type="Sparsity", reduction="sum", weight=1e-4),
            ),
            postprocessor=dict(
                type="ThresholdDecoder",
                num_classes=3,
                class_threshold=0.25,
                normalize="rectified",
                upsample=24,
                thresholds=dict(arange=(0.0, 0.25, 0.025)),
                above=">=",
                positive=True,
                zero_below=True,
                contrast=dict(outer=0.25, video_score=0.2, video_score_binary=True),
                nms=dict(iou=0.7, offset=1.0),
            ),
        )
    )
