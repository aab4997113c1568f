"""Tiny CoLA models for the contract suite, with the settings of THUMOS14 and of ActivityNet 1.2."""

from __future__ import annotations

from wtal_bench.testing import Example


def thumos() -> Example:
    """A linear classifier, rings of widths 3 and 6."""
    return _example(
        classifier=dict(),
        mining=dict(easy_divisor=5, hard_divisor=20),
        pool=5,
        thresholds=(0.0, 0.25, 0.025),
        class_threshold=0.2,
    )


def activitynet() -> Example:
    """Wide kernels, a smoothed class activation sequence, other divisors and thresholds."""
    return _example(
        classifier=dict(taps=9, smooth_taps=7, smooth_dilation=2),
        mining=dict(easy_divisor=10, hard_divisor=8),
        pool=10,
        thresholds=(0.0, 0.15, 0.015),
        class_threshold=0.1,
    )


def _example(classifier: dict, mining: dict, pool: int, thresholds: tuple, class_threshold: float) -> Example:
    return Example(
        model=dict(
            type="Localizer",
            backbone=dict(type="ConvEmbedding", in_channels=8, channels=6, kernel=classifier.get("taps", 3)),
            heads=dict(
                classifier=dict(type="cola.Classifier", channels=6, num_classes=3, **classifier),
                pool=dict(type="TopKMean", divisor=pool),
                mining=dict(type="cola.Mining", **mining),
            ),
            losses=dict(
                cls=dict(type="VideoCrossEntropy", form="binary_softmax", class_reduction="mean"),
                snico=dict(type="cola.SnippetContrast", weight=0.01),
            ),
            postprocessor=dict(
                type="PooledDecoder",
                shared=dict(
                    num_classes=3,
                    class_threshold=class_threshold,
                    fallback="argmax",
                    normalize="rectified_clip",
                    upsample=24,
                    above=">=",
                    positive=True,
                    min_length=2,
                    contrast=dict(outer=0.25, video_score=0.2),
                ),
                passes=dict(
                    cas=dict(curve="cas", thresholds=dict(arange=thresholds), zero_below=True),
                    actionness=dict(curve="actionness", score_curve="cas", thresholds=dict(arange=(0.1, 0.925, 0.025))),
                ),
                nms=dict(iou=0.6, offset=1.0),
            ),
        )
    )
