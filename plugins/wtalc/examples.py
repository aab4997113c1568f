"""A tiny W-TALC model for the contract suite."""

from __future__ import annotations

from wtal_bench.testing import Example


def thumos() -> Example:
    """The published settings, pairs included."""
    return Example(
        pairs=True,
        model=dict(
            type="Localizer",
            backbone=dict(type="LayeredEmbedding", in_channels=8, channels=8, layers=1, dropout=0.7),
            heads=dict(
                classifier=dict(
                    type="SnippetClassifier", channels=8, num_classes=3, init="xavier", reads="dropped_embedding"
                ),
                mil=dict(type="TopKMean", divisor=8, rounding="ceil"),
                scores=dict(type="wtalc.ClassScores", divisor=8),
                actionness=dict(type="Actionness", source="relu_sum"),
            ),
            losses=dict(
                mil=dict(type="VideoCrossEntropy", weight=0.5),
                cas=dict(type="CoActivity", margin=0.5, reads=dict(embedding="dropped_embedding"), weight=0.5),
            ),
            postprocessor=dict(
                type="ThresholdDecoder",
                num_classes=3,
                scores="class_scores",
                scores_activation="none",
                tag_scores="video_logits",
                class_threshold=0.0,
                class_test=">",
                thresholds=dict(relative=[0.5]),
                min_length=2,
                contrast=dict(outer=None, inside="max", video_score=0.7),
                time="snippet",
            ),
        ),
    )
