"""Tiny models for the contract suite: full, gradient reversal and BVL, squares, and TEN alone."""

from __future__ import annotations

from wtal_bench.testing import Example


def full() -> Example:
    """BGES and TEN, the paper's settings."""
    return Example(
        model=dict(
            type="Localizer",
            backbone=dict(type="bges_ten.Trunk", streams=dict(rgb=(0, 4), flow=(4, 8)), channels=6, num_classes=3),
            heads=dict(score=dict(type="bges_ten.VideoScore")),
            views=dict(tcb=dict(type="bges_ten.SnippetRepeat", k=4)),
            losses=dict(
                fg=dict(type="VideoCrossEntropy"),
                bg=dict(type="bges_ten.BackgroundLoss", norm="nf", weight=0.1),
                bvl=dict(type="bges_ten.WholeVideoBackground", weight=0.0),
                att=dict(type="bges_ten.AttentionConsistency", weight=0.1),
                cas=dict(type="bges_ten.CASConsistency", weight=0.1),
                watch=dict(type="bges_ten.BackgroundLogit", weight=0.0),
            ),
            postprocessor=dict(
                type="ThresholdDecoder",
                num_classes=3,
                class_threshold=0.1,
                class_test=">",
                fallback="argmax",
                curve=dict(
                    sum=[
                        dict(field="cas", activation="softmax", weight=0.5),
                        dict(field="attention", weight=0.5),
                    ]
                ),
                upsample=4,
                thresholds=dict(linspace=(0.1, 0.9, 10)),
                contrast=dict(outer=0.25, ring="at_least_one", video_score=0.25),
                nms=dict(iou=0.5),
                clamp="before_nms",
            ),
        )
    )


def reversed_gradient() -> Example:
    """The baseline's norm with GRL and BVL, tags as printed, detached targets."""
    example = full()
    example.model["backbone"] |= dict(taps=1)
    losses = example.model["losses"]
    losses["fg"] |= dict(normalize=False)
    losses["bg"] |= dict(norm="nb", grl=0.7)
    losses["bvl"] |= dict(weight=0.1)
    losses["att"] |= dict(detach_target=True, pad="zero", size=3)
    losses["cas"] |= dict(detach_target=True, temperature=2.0)
    example.model["views"]["tcb"] |= dict(k=3, tail="merge")
    return example


def squared() -> Example:
    """Squares on both pairs, logits, reflected ends, a constant N_f, dropped tails."""
    example = full()
    losses = example.model["losses"]
    losses["bg"] |= dict(norm="nf_const")
    losses["att"] |= dict(distance="mse", pad="reflect")
    losses["cas"] |= dict(distance="mse", space="logit")
    example.model["views"]["tcb"] |= dict(k=5, tail="drop")
    return Example(model=example.model, shortest=3)


def continuity_alone() -> Example:
    """TEN without a background loss, on one stream."""
    example = full()
    example.model["backbone"] |= dict(streams=dict(both=(0, 8)))
    example.model["losses"]["bg"] = None
    example.model["losses"]["cas"] |= dict(distance="mae")
    return example


def without_background() -> Example:
    """A host without a background class, to which a column fixed at 0 is appended."""
    example = full()
    example.model.update(
        backbone=dict(type="ecm.Trunk", in_channels=8, channels=6),
        heads=dict(
            pre=dict(type="ecm.PreClassification", channels=6, num_classes=3), background=dict(type="AppendBackground")
        ),
        losses=dict(
            cls=dict(type="VideoCrossEntropy"),
            bvl=dict(type="bges_ten.WholeVideoBackground", reads="cas_with_background", weight=0.1),
            cas=dict(
                type="bges_ten.CASConsistency",
                reads={"cas": "cas_with_background", "tcb.cas": "tcb.cas_with_background"},
                weight=0.1,
            ),
        ),
    )
    example.model["postprocessor"] |= dict(curve=dict(field="cas", activation="softmax"))
    return example
