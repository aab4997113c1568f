"""Tiny CO2-Net models for the contract suite, with the settings of THUMOS14 and of ActivityNet 1.2."""

from __future__ import annotations

from wtal_bench.testing import Example


def thumos() -> Example:
    """Curves as they are."""
    return _example(pool=None, divisor=7)


def activitynet() -> Example:
    """Curves averaged over neighbours, another divisor."""
    return _example(pool=5, divisor=5)


def _example(pool: int | None, divisor: int) -> Example:
    return Example(
        pairs=True,
        model=dict(
            type="Localizer",
            backbone=dict(type="co2net.Consensus", in_channels=8, channels=6, hidden=3, pool=pool),
            heads=dict(
                classifier=dict(type="co2net.Classifier", channels=6, num_classes=3, pool=pool),
                suppression=dict(type="co2net.Suppression"),
                pool=dict(type="TopKMean", divisor=divisor, writes="cas_logits"),
                supp_pool=dict(type="TopKMean", divisor=divisor, reads="suppressed_cas", writes="suppressed_logits"),
                test_pool=dict(type="TopKMean", divisor=10, reads="weighted_cas"),
                tag_pool=dict(type="TopKMean", divisor=None, writes="tag_logits"),
            ),
            losses=dict(
                mil=dict(type="VideoCrossEntropy", reads="cas_logits", target="tags_and_background", target_eps=1e-4),
                mil_supp=dict(type="VideoCrossEntropy", reads="suppressed_logits", target_eps=1e-4),
                coact=dict(type="CoActivity", reads=dict(embedding="dropped_embedding", cas="suppressed_cas")),
                mutual=dict(type="co2net.Mutual"),
                norm=dict(type="Sparsity", reduction="mean", weight=0.8),
                guide=dict(type="co2net.Guide", weight=0.8),
            ),
            postprocessor=dict(
                type="ThresholdDecoder",
                num_classes=3,
                tag_scores="tag_logits",
                class_threshold=0.2,
                fallback="argmax",
                curve="attention",
                thresholds=dict(linspace=(0.1, 0.9, 10)),
                score_curve=dict(product=["cas", "attention"]),
                contrast=dict(outer=0.25, video_score=0.2),
                time="snippet",
                nms=dict(kind="gaussian", sigma=0.3, offset=1.0),
                nms_units="samples",
            ),
        ),
    )
