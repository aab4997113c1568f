"""A tiny model for the contract suite."""

from wtal_bench.testing import Example


def gated() -> Example:
    """Every component of the plugin in one model."""
    return Example(
        model=dict(
            type="Localizer",
            backbone=dict(type="my_idea.Embedding", in_channels=8, channels=6),
            heads=dict(gate=dict(type="my_idea.Gate", channels=6, num_classes=3)),
            losses=dict(cls=dict(type="VideoCrossEntropy"), sparse=dict(type="my_idea.Sparsity", weight=0.1)),
            postprocessor=dict(
                type="ThresholdDecoder", num_classes=3, normalize="rectified", thresholds=[0.3, 0.5], nms=dict(iou=0.5)
            ),
        )
    )
