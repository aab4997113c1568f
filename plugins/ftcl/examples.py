"""Tiny models for the contract suite: FTCL's losses on a host of our own and the switches that change their way."""

from __future__ import annotations

from wtal_bench.testing import Example

DECODER = dict(type="ThresholdDecoder", num_classes=3, thresholds=[0.2, 0.5], nms=dict(iou=0.5))


def official() -> Example:
    """The settings of the authors' pair path."""
    return _example(fsd=dict(weight=0.8), lcs=dict(weight=dict(contrast=0.1, matched=0.0), report_matched=True))


def in_batch() -> Example:
    """The rescaled similarity of the in-batch variant, snippets ranked by class scores."""
    fsd = dict(selection=dict(score="cas_tags", gather="weighted"), weight=0.8)
    lcs = dict(selection=dict(score="cas_max"), rescale=dict(offset=0.8, gain=5.0), weight=0.1)
    return _example(fsd=fsd, lcs=lcs)


def paper() -> Example:
    """The paper's side of the switches."""
    by_cas, by_norm = dict(background="lowest", score="cas_sum"), dict(length=10, score="norm")
    fsd = dict(proj_dim=8, activation="sigmoid", loss="rank", margin=0.1, selection=by_cas)
    return _example(fsd=fsd, lcs=dict(strict=False, loss="bce", tau="quantile:0.5", selection=by_norm))


def dtw() -> Example:
    """DTW in place of both losses, and each loss on the other's sequences."""
    top, proposals = (dict(selection=dict(compare=name, length=n)) for name, n in (("top", 30), ("proposals", 5)))
    example = _example(fsd=top, lcs=proposals)
    example.model["losses"] |= dict(dtw=dict(type="ftcl.DTW"), dtw_top=dict(type="ftcl.DTW") | top)
    return example


def _example(fsd: dict, lcs: dict) -> Example:
    return Example(
        pairs=True,
        model=dict(
            type="Localizer",
            backbone=dict(type="ConvEmbedding", in_channels=8, channels=6),
            heads=dict(
                attention=dict(type="acm_net.Attention", channels=6),
                classifier=dict(type="acm_net.Classifier", channels=6, num_classes=3),
                branches=dict(type="acm_net.Branches"),
            ),
            losses=dict(
                cls_inst=dict(type="VideoCrossEntropy", log_eps=1e-10),
                fsd=dict(type="ftcl.FSD", channels=6) | dict(proj_dim=4) | fsd,
                lcs=dict(type="ftcl.LCS") | lcs,
            ),
            postprocessor=DECODER,
        ),
    )
