"""Tiny ACM-Net models for the contract suite, with the settings of THUMOS14 and of ActivityNet."""

from __future__ import annotations

from wtal_bench.testing import Example

CAS = dict(field="cas", activation="softmax")


def thumos() -> Example:
    """No dropout before the attention; CAS pass and attention pass, both scored on the CAS."""
    decoder = dict(
        type="PooledDecoder",
        shared=_shared(0.25, outer=0.2),
        passes=dict(
            cas=dict(curve=CAS, thresholds=[0.15, 0.2], zero_below=True),
            attention=dict(curve="attention", score_curve=CAS, thresholds=dict(arange=(0.15, 1.0, 0.05))),
        ),
        nms=dict(iou=0.55, offset=1.0),
    )
    return Example(model=_model((8, 3, 3), 0.0, decoder, instance=1.0, guide=2e-3, sparse=2e-4))


def activitynet() -> Example:
    """Dropout everywhere, other divisors and weights, candidates scored on a mix of CAS and attention."""
    thresholds = [0.005, 0.01, 0.015, 0.02]
    decoder = dict(
        type="PooledDecoder",
        shared=_shared(0.1, outer=0.15) | dict(zero_below=True, thresholds=thresholds),
        passes=dict(
            cas=dict(curve=CAS, run_share=0.7, score_curve=dict(field="attention", weight=0.3)),
            attention=dict(
                curve="attention",
                run_share=0.3,
                score_curve=CAS | dict(weight=0.7),
                contrast=dict(outer=0.15, video_score=0.25),
            ),
        ),
        nms=dict(iou=0.9, offset=1.0),
    )
    return Example(model=_model((2, 10, 10), 0.7, decoder, instance=5.0, guide=5e-3, sparse=0.0))


def _shared(class_threshold: float, outer: float) -> dict:
    return dict(
        num_classes=3,
        class_threshold=class_threshold,
        class_test=">",
        fallback="argmax",
        upsample=20,
        above=">=",
        min_length=2,
        contrast=dict(outer=outer),
    )


def _model(divisors: tuple, dropout: float, decoder: dict, instance: float, guide: float, sparse: float) -> dict:
    cross_entropy = dict(type="VideoCrossEntropy", log_eps=1e-10)
    return dict(
        type="Localizer",
        backbone=dict(type="acm_net.Embedding", in_channels=8, channels=6, dropout=dropout),
        heads=dict(
            attention=dict(type="acm_net.Attention", channels=6, dropout=dropout),
            classifier=dict(type="acm_net.Classifier", channels=6, num_classes=3),
            branches=dict(type="acm_net.Branches", divisors=divisors),
            features=dict(type="acm_net.BranchFeatures", divisors=divisors),
        ),
        losses=dict(
            cls_inst=dict(**cross_entropy, weight=instance),
            cls_cont=dict(**cross_entropy, target="tags_and_background", reads="context_logits"),
            cls_back=dict(**cross_entropy, target="background", reads="background_logits"),
            guide=dict(type="acm_net.Guide", weight=guide),
            feat=dict(type="acm_net.FeatureSeparation", weight=5e-5),
            sparse=dict(type="acm_net.Sparsity", weight=sparse),
        ),
        postprocessor=decoder,
    )
