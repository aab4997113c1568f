"""Tiny FAC-Net models for the contract suite: two streams as published, the paper's side, the branch on a host."""

from __future__ import annotations

from wtal_bench.testing import Example

CROSS_ENTROPY = "VideoCrossEntropy"
STREAM_DECODER = dict(
    num_classes=3,
    curve=dict(field="cas", activation="softmax"),
    thresholds=dict(arange=(0.03, 0.055, 0.005)),
    min_length=3,
    contrast=dict(outer=0.25, ring="inside", overhang=1, weight=0.6),
    end_overhang=1,
    time="snippet",
    nms_units="samples",
)


def official() -> Example:
    """RGB and flow streams, three branches, both NMS passes."""
    member = _member(width=8)
    del member["type"], member["postprocessor"]
    passes = {
        name: dict(
            scores=f"{name}.video_logits",
            curve=dict(field=f"{name}.cas", activation="softmax"),
            score_scale=scale,
            nms=dict(iou=0.2, overlap="self", offset=1.0, drop=">"),
        )
        for name, scale in (("rgb", 0.1), ("flow", 1.0))
    }
    return Example(
        width=16,
        model=dict(
            type="Streams",
            streams=dict(rgb=(0, 8), flow=(8, 16)),
            member=member,
            postprocessor=dict(
                type="PooledDecoder",
                shared=STREAM_DECODER,
                passes=passes,
                nms=dict(iou=0.9, overlap="self", offset=1.0, drop=">"),
                nms_units="samples",
                nms_classes="shared",
            ),
        ),
    )


def without_background() -> Example:
    """One stream without a background class, the paper's kernel, scale and start of W_f, one temperature."""
    model = _member(width=8)
    model["backbone"] |= dict(background=False, embed_kernel=3, temperatures=(1.0,), fg_init="random")
    for head in model["heads"].values():
        head["video_scale_multiplier"] = 1.0
    return Example(model=model)


def on_host() -> Example:
    """The class-wise branch, tied, on a host with a background class."""
    return _on_host(cas_source="host_cosine", fg_tie=True)


def on_host_logits() -> Example:
    """The class-wise branch on a host's logits."""
    return _on_host(cas_source="host_logits", fg_tie=False)


def _on_host(cas_source: str, fg_tie: bool) -> Example:
    model = _member(width=8)
    branch = dict(type="fac_net.ClassWiseOnHost", channels=6, num_classes=3, background=True)
    model["heads"] = dict(
        mil=dict(type="fac_net.MultipleInstance"), cw={**branch, **dict(cas_source=cas_source, fg_tie=fg_tie)}
    )
    model["losses"] = dict(
        mil=dict(type=CROSS_ENTROPY, target="tags_and_background"),
        cw=dict(type=CROSS_ENTROPY, reads="cw_logits", weight=0.5),
        tie=dict(type=CROSS_ENTROPY, reads="ca_logits", weight=0.05) if fg_tie else None,
    )
    return Example(model=model)


def _member(width: int) -> dict:
    return dict(
        type="Localizer",
        backbone=dict(type="fac_net.Trunk", in_channels=width, channels=6, num_classes=3),
        heads=dict(
            cw=dict(type="fac_net.ClassWise", writes="cw_logits"),
            ca=dict(type="fac_net.ClassAgnostic"),
            mil=dict(type="fac_net.MultipleInstance", writes="mil_logits"),
        ),
        losses=dict(
            cw=dict(type=CROSS_ENTROPY, reads="cw_logits", weight=1.0),
            ca=dict(type=CROSS_ENTROPY, weight=0.1),
            mil=dict(type=CROSS_ENTROPY, reads="mil_logits", target="tags_and_background", weight=0.1),
        ),
        postprocessor=dict(type="ThresholdDecoder", **STREAM_DECODER),
    )
