"""Tiny RSKP models for the contract suite: before its memory begins, and with it in both ways of choosing slots."""

from __future__ import annotations

from wtal_bench.testing import Example


def official() -> Example:
    """Released settings, warm-up: no memory yet."""
    return Example(
        model=dict(
            type="Localizer",
            backbone=dict(type="rskp.Embedding", in_channels=8, channels=6),
            heads=dict(
                classifier=dict(type="rskp.Classifier", channels=6, num_classes=3),
                propagation=dict(type="rskp.Propagation", channels=6),
                memory=dict(type="rskp.Memory", channels=6, num_classes=3),
            ),
            losses=dict(
                fore_o=dict(type="VideoCrossEntropy"),
                fore_m=dict(type="VideoCrossEntropy", reads="m.video_logits"),
                fore_r=dict(
                    type="VideoCrossEntropy",
                    reads="r.video_logits",
                    weight=dict(schedule="steps", steps=[(0, 0.0), (101, 0.5)]),
                ),
                back_o=dict(
                    type="VideoCrossEntropy", reads="classwise_logits", target="tags_and_background", weight=0.2
                ),
                back_m=dict(
                    type="VideoCrossEntropy", reads="m.classwise_logits", target="tags_and_background", weight=0.2
                ),
                att=dict(type="rskp.AttentionContrast", weight=0.1),
                spl=dict(type="rskp.Distillation"),
            ),
            postprocessor=dict(
                type="ThresholdDecoder",
                num_classes=3,
                scores="video_prob",
                scores_activation="none",
                class_threshold=0.1,
                curve=dict(
                    product=[
                        dict(
                            sum=[
                                dict(field="cas", activation="softmax", weight=0.6),
                                dict(field="m.cas", activation="softmax", weight=0.4),
                            ]
                        ),
                        "attention",
                    ]
                ),
                thresholds=dict(arange=(0.001, 0.04, 0.002)),
                min_length=2,
                contrast=dict(outer=0.25, ring="inside", overhang=1),
                end_overhang=1,
                time="snippet",
                nms=dict(iou=0.5, overlap="self", offset=1.0, drop=">"),
                nms_units="samples",
                precision="float32",
            ),
        )
    )


def memory() -> Example:
    """Branch r from the first epoch on, with slots by tag."""
    example = official()
    example.model["heads"]["memory"]["start"] = 0
    example.model["losses"]["fore_r"]["weight"] = 0.5
    return example


def memory_of_slot_zero() -> Example:
    """Branch r from the first epoch on, as GauFuse's code chooses slots."""
    example = memory()
    example.model["heads"]["memory"] |= dict(slot="first", clear_at=[3])
    return example
