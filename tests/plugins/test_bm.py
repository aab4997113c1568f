"""BM where it could go wrong: smoothing at the edges of padded videos, closed attentions, untagged videos, settings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from wtal_bench.decoding import PooledDecoder
from wtal_bench.errors import ConfigError
from wtal_bench.modeling.build import build_model
from wtal_bench.testing import random_batch
from wtal_plugins.bm import examples
from wtal_plugins.bm.decoder import TwoStreamDecoder
from wtal_plugins.bm.heads import Classifier
from wtal_plugins.bm.losses import Guide, smoothed

LENGTHS = (17, 6, 2, 1)
STREAMS = dict(rgb=dict(threshold=0.03, share=0.35), flow=dict(threshold=0.08, share=0.65))


@pytest.mark.parametrize("sigma", [0, 0.4, 1.0, 5.0])
def test_every_video_is_smoothed_as_if_it_were_alone(sigma):
    batch = random_batch(LENGTHS, padding=3)
    x = torch.rand(*batch.mask.shape, 3, dtype=torch.float64)
    ours = smoothed(x, batch.mask, sigma)
    for row, length in enumerate(LENGTHS):
        own = x[row, :length].numpy()
        expected = gaussian_filter1d(own, sigma, axis=0, mode="reflect", truncate=4.0) if sigma else own
        np.testing.assert_allclose(ours[row, :length], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("value", "field"), [(0.0, "video_logits"), (0.0, "test_logits"), (1.0, "background_logits")])
@pytest.mark.parametrize("eps", [0.0, 1.0])
def test_an_attention_closed_or_open_to_the_last_bit_pools_zeros(value, field, eps):
    head = Classifier(4, 3, fg_eps=eps, bg_eps=eps, test_eps=eps).double()
    batch = random_batch([5, 3])
    fields = {
        "embedding": torch.rand(2, 5, 4, dtype=torch.float64),
        "attention": torch.full((2, 5), value, dtype=torch.float64),
    }
    torch.testing.assert_close(head(fields, batch)[field], head.cls.bias.expand(2, 4))


def guide_fields(batch, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    shape = tuple(batch.mask.shape)
    return {
        "attention": torch.rand(*shape, generator=generator, dtype=torch.float64).requires_grad_(),
        "cas": torch.randn(*shape, 4, generator=generator, dtype=torch.float64).requires_grad_(),
        "class_bias": torch.randn(4, generator=generator, dtype=torch.float64).requires_grad_(),
    }


def test_only_the_attention_outside_the_band_is_pushed():
    batch = random_batch([9, 6])
    fields = guide_fields(batch)
    loss = Guide(sigma=0, bias=True)
    _, low, high = loss.targets(fields, batch)
    loss(fields, batch)["guide"].backward()
    attention = fields["attention"].detach()
    inside = (attention > low) & (attention < high) & batch.mask
    outside = ((attention > torch.maximum(low, high)) | (attention < torch.minimum(low, high))) & batch.mask
    assert inside.any()
    assert outside.any()
    assert not fields["attention"].grad[inside].any()
    assert fields["attention"].grad[outside].all()
    assert fields["cas"].grad is None
    assert fields["class_bias"].grad is None


def test_a_video_without_a_tag_is_guided_by_the_background_alone():
    batch = random_batch([9])
    batch = replace(batch, labels=torch.zeros_like(batch.labels))
    for foreground in ("max", "sum"):
        _, low, _ = Guide(foreground=foreground).targets(guide_fields(batch), batch)
        assert not low.any()


@pytest.mark.parametrize("example", [examples.thumos, examples.embedding])
def test_videos_without_tags_train_both_streams(example):
    torch.manual_seed(0)
    model = build_model(example().model).double().train()
    batch = random_batch([1, 7, 12])
    losses = model.losses(replace(batch, labels=torch.zeros_like(batch.labels)))
    losses["total"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), f"{name} learns nothing"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(streams=dict(rgb=STREAMS["rgb"])), "streams must be a dict of two streams"),
        (dict(streams=dict(STREAMS, flow=dict(threshold=0.1))), "streams.flow must be dict"),
        (dict(activation="none"), "activation='none'"),
        (dict(attention_power=3), "attention_power=3"),
        (dict(mix=-1), "mix=-1"),
        (dict(nms=dict(ioo=0.5)), "nms.ioo"),
        (dict(upsample=0), "upsample=0"),
    ],
)
def test_wrong_settings_of_the_decoder_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        TwoStreamDecoder(**{"streams": STREAMS, "num_classes": 3, **settings})


def test_the_score_of_a_stream_is_weighed_by_its_own_attention_alone():
    decoder = TwoStreamDecoder(streams=STREAMS, num_classes=1, scores_activation="none")
    ones, half = np.ones(6), np.full(6, 0.5)
    fields = {
        f"{s}.{name}": value
        for s, attention in (("rgb", half), ("flow", ones))
        for name, value in (("attention", attention), ("cas", np.zeros((6, 2))), ("test_logits", np.array([1.0, 0.0])))
    }
    meta = random_batch([6]).meta[0]
    rgb, flow = decoder.parts(fields, meta)
    np.testing.assert_allclose(rgb.score, 0.5 * 0.5 * 0.5)
    np.testing.assert_allclose(flow.score, 0.5)


def test_the_decoder_lends_its_candidates_to_ideas_that_fuse_or_label_them():
    settings = dict(streams=STREAMS, num_classes=3, class_threshold=0.2, upsample=4, fallback="none")
    ours = TwoStreamDecoder(**settings)
    lent = ours.as_core_decoder()
    assert lent.pop("type") == "PooledDecoder"
    theirs = PooledDecoder(**lent)
    assert {"rgb.attention", "flow.attention", "rgb.cas", "flow.test_logits"} <= set(theirs.requires)
    rng = np.random.default_rng(0)
    outputs = {}
    for stream in STREAMS:
        outputs[f"{stream}.attention"] = rng.random(30)
        outputs[f"{stream}.cas"] = rng.normal(0, 2, (30, 4))
        outputs[f"{stream}.test_logits"] = rng.normal(0, 2, 4)
    meta = random_batch([30]).meta[0]
    np.testing.assert_allclose(theirs.video_scores(outputs), ours.video_scores(outputs), rtol=1e-15)
    for part, (stream, (decoder, _)) in zip(ours.parts(outputs, meta), theirs.passes.items(), strict=True):
        assert set(part.label) <= set(decoder.kept_classes(decoder.video_scores(outputs)))
        probability = np.exp(outputs[f"{stream}.cas"])
        probability /= probability.sum(axis=1, keepdims=True)
        expected = outputs[f"{stream}.attention"][:, None] * probability[:, :3]
        np.testing.assert_allclose(decoder.snippet_scores(outputs), expected, rtol=1e-12)
        assert decoder.thresholds.levels(expected).ravel()[0] == STREAMS[stream]["threshold"]


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_the_curve_of_a_stream_is_the_one_it_thresholds(sigma):
    decoder = TwoStreamDecoder(streams=STREAMS, num_classes=3, class_threshold=2.0, upsample=4, sigma=sigma)
    rng = np.random.default_rng(0)
    fields = {}
    for stream in STREAMS:
        fields[f"{stream}.attention"] = rng.random(30)
        fields[f"{stream}.cas"] = rng.normal(0, 2, (30, 4))
        fields[f"{stream}.test_logits"] = rng.normal(0, 2, 4)
    meta = random_batch([30]).meta[0]
    curves = decoder.located_curves(fields, meta, [0, 2])
    assert list(curves) == ["rgb", "flow"]
    for stream, curve in curves.items():
        assert (curve.values.shape, curve.probability) == ((30, 2), True)
        attention, cas = fields[f"{stream}.attention"][:, None], fields[f"{stream}.cas"][:, [0, 2]]
        plain = 0.8 * attention / (1 + np.exp(-cas)) + 0.2 * attention**2
        assert np.allclose(curve.values, plain, rtol=1e-12) == (sigma == 0)
    assert set(decoder.told([2])(fields, meta).label) == {2}
