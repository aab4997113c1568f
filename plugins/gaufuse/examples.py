"""Tiny models for the contract suite: GauFuse on RSKP, on a host without a background class, and over two curves."""

from __future__ import annotations

from wtal_bench.testing import Example

CAS = dict(
    product=[
        dict(
            sum=[
                dict(field="cas", activation="softmax", weight=0.8),
                dict(field="m.cas", activation="softmax", weight=0.2),
            ]
        ),
        "attention",
    ]
)
CANDIDATES = dict(
    scores="video_prob",
    scores_activation="none",
    class_threshold=0.16,
    curve=CAS,
    thresholds=dict(arange=(0.001, 0.04, 0.002)),
    min_length=2,
    contrast=dict(outer=0.0785, power=0.9, ring="inside", overhang=1),
    end_overhang=1,
    time="snippet",
    precision="float32",
)
LABELS = dict(
    type="gaufuse.PseudoLabels",
    generations=[0, 1],
    temperatures=[0.02, 0.002],
    schedule=[(0, "absolute", 1.0), (2, "delta", 2.0)],
)


def official() -> Example:
    """RSKP's two branches under its own labels."""
    return Example(
        model=dict(
            type="Localizer",
            backbone=dict(type="rskp.Embedding", in_channels=8, channels=6, dropout_in_passes=[0, 1]),
            heads=dict(
                classifier=dict(type="rskp.Classifier", channels=6, num_classes=3),
                propagation=dict(type="rskp.Propagation", channels=6),
                labels=dict(num_columns=4, decoder=dict(**CANDIDATES), **LABELS),
            ),
            losses=dict(
                fore=dict(type="VideoCrossEntropy"),
                pseudo=dict(
                    type="gaufuse.PseudoLabelLoss",
                    reads=dict(propagated_cas="m.cas"),
                    weight=dict(schedule="geometric", value=10.0, factor=1.035, maximum=50.0),
                ),
            ),
            postprocessor=dict(
                type="gaufuse.FusedDecoder", decoder=dict(num_classes=3, **CANDIDATES), fusion=dict(temperature=0.2)
            ),
        )
    )


def without_background() -> Example:
    """A host whose CAS has no background column and whose decoder up-samples it."""
    decoder = dict(
        num_classes=3,
        class_threshold=0.25,
        curve=dict(field="cas", activation="sigmoid"),
        upsample=2,
        thresholds=dict(linspace=(0.3, 0.7, 5)),
        contrast=dict(outer=0.25),
    )
    labels = dict(num_columns=3, decoder=decoder, gate_by_label=True, linpro=dict(selection="vertex_average"))
    return Example(
        model=dict(
            type="Localizer",
            backbone=dict(type="ecm.Trunk", in_channels=8, channels=6),
            heads=dict(
                pre=dict(type="ecm.PreClassification", channels=6, num_classes=3), labels=dict(**labels, **LABELS)
            ),
            losses=dict(
                cls=dict(type="VideoCrossEntropy"),
                pseudo=dict(type="gaufuse.PseudoLabelLoss", form="softmax_with_zero", weight=10.0),
            ),
            postprocessor=dict(type="gaufuse.FusedDecoder", decoder=decoder, fusion=dict(distribution="exponential")),
        )
    )


def two_curves() -> Example:
    """Candidates of two curves, pooled before the fusion."""
    example = official()
    decoder = dict(
        type="PooledDecoder",
        shared={"num_classes": 3, **{k: v for k, v in CANDIDATES.items() if k != "curve"}},
        passes=dict(
            own=dict(curve=dict(field="cas", activation="softmax")),
            walked=dict(curve=dict(field="m.cas", activation="softmax"), score_scale=0.5),
        ),
    )
    example.model["heads"]["labels"]["decoder"] = decoder
    example.model["postprocessor"] = dict(
        type="gaufuse.FusedDecoder", decoder=decoder, fusion=dict(distribution="t", weight_by="confidence")
    )
    return example
