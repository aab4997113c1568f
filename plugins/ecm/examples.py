"""Tiny ECM models for the contract suite: the official profile, the paper's, unshared, and the post stream alone."""

from __future__ import annotations

from wtal_bench.testing import Example

OWN = ("taps", "conv1_bias", "conv2_weight", "conv2_bias", "class_weights")


def official() -> Example:
    """Both streams, released settings."""
    return Example(
        model=dict(
            type="Localizer",
            backbone=dict(type="ecm.Trunk", in_channels=8, channels=6),
            heads=dict(
                pre=dict(type="ecm.PreClassification", channels=6, num_classes=3),
                weights=dict(type="ecm.Weights", num_classes=3),
                post=dict(type="ecm.PostClassification"),
                absence=dict(type="ecm.AbsenceClassification"),
            ),
            losses=dict(
                cls_pre=dict(type="VideoCrossEntropy"),
                cls_post=dict(type="VideoCrossEntropy", reads="post_logits"),
                c2c=dict(type="ecm.ScoreConsistency", weight=0.05),
                a2c=dict(type="ecm.AggregationConsistency", weight=5.0),
            ),
            postprocessor=dict(
                type="ThresholdDecoder",
                num_classes=3,
                class_threshold=0.25,
                normalize="rectified",
                upsample="frames",
                thresholds=dict(arange=(0.01, 0.2, 0.025)),
                above=">=",
                positive=True,
                zero_below=True,
                contrast=dict(outer=0.4, ring="exclusive", video_score=0.15),
                time="fps",
                nms=dict(iou=0.6, offset=1.0),
            ),
        )
    )


def paper() -> Example:
    """The paper's background and contiguous, normalised folds, with one weight for all classes."""
    example = official()
    heads = example.model["heads"]
    heads["weights"]["source"] = "agnostic"
    for name in ("post", "absence"):
        heads[name] |= dict(fold_mode="contiguous", agg_norm="weight_sum")
    heads["absence"]["background"] = "paper"
    return example


def unshared() -> Example:
    """A trunk and classifier of its own for the post stream."""
    example = official()
    heads = example.model["heads"]
    mapping = {name: f"post.{name}" for name in OWN}
    own = dict(type="ecm.OwnTrunk", in_channels=8, channels=6, num_classes=3, writes=mapping)
    example.model["heads"] = {"own": own, **heads}
    for name in ("post", "absence"):
        heads[name]["reads"] = mapping
    return example


def post_only() -> Example:
    """The post stream alone: weights from the features, fold lengths as the norm."""
    example = official()
    heads, losses = example.model["heads"], example.model["losses"]
    heads["weights"] |= dict(source="self", in_channels=8)
    heads["post"]["agg_norm"] = "fold_len"
    heads["absence"] = losses["cls_pre"] = losses["c2c"] = losses["a2c"] = None
    example.model["postprocessor"]["scores"] = "post_logits"
    return example
