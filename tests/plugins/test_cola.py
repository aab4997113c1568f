"""CoLA beyond the golden numbers: mining against SciPy and NumPy, short and empty videos, dropout, wide kernels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.build import build_model
from wtal_bench.plugins import registry
from wtal_bench.running.config import load_config
from wtal_bench.testing import random_batch
from wtal_plugins.cola.examples import activitynet, thumos
from wtal_plugins.cola.mining import Mining, dilated, eroded, masked_median, rings
from wtal_plugins.cola.network import Classifier, DepthwiseConv

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LENGTHS = (41, 40, 7, 2, 1)


def curves(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """[5,41] non-negative curves, a third of the values exactly 0, noise under the padding; and their mask."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(LENGTHS), 41, dtype=torch.float64, generator=generator).add(0.4).relu()
    return x, torch.arange(41) < torch.tensor(LENGTHS).unsqueeze(1)


@pytest.mark.parametrize("width", [1, 2, 3, 6, 7])
def test_morphology_is_scipys_for_odd_and_even_widths_on_short_videos_too(width):
    above = curves()[0] > 0.4
    for length in (41, 5, 2, 1):
        for row in above[:, :length]:
            ones = np.ones(width)
            for ours, theirs in ((eroded, ndimage.binary_erosion), (dilated, ndimage.binary_dilation)):
                expected = theirs(row.numpy(), structure=ones)
                np.testing.assert_array_equal(ours(row.unsqueeze(0), width)[0], expected, err_msg=str((length, width)))


@pytest.mark.parametrize("widths", [(3, 6), (3, 7), (1, 4)])
def test_rings_are_those_of_every_video_alone(widths):
    x, mask = curves()
    inner, outer = rings(x, mask, *widths)
    small, large = (np.ones(width) for width in widths)
    np.testing.assert_array_equal(masked_median(x, mask), [np.median(row[:n]) for row, n in zip(x.numpy(), LENGTHS)])
    for row, length in enumerate(LENGTHS):
        curve = x[row, :length].numpy()
        above = curve > np.median(curve)
        expected = ndimage.binary_erosion(above, small) & ~ndimage.binary_erosion(above, large)
        np.testing.assert_array_equal(inner[row, :length], expected)
        expected = ndimage.binary_dilation(above, large) & ~ndimage.binary_dilation(above, small)
        np.testing.assert_array_equal(outer[row, :length], expected)
        assert not inner[row, length:].any()
        assert not outer[row, length:].any()


def test_a_ring_that_is_too_small_is_filled_with_the_earliest_snippets():
    curve = torch.zeros(1, 20, dtype=torch.float64)
    curve[0, 10:14] = 1.0  # one run of four: its inner ring is snippets 11 and 12
    batch = random_batch([20])
    made = Mining(hard_divisor=5)({"actionness": curve}, batch)
    assert made["hard_action"][0].nonzero().flatten().tolist() == [0, 1, 11, 12]
    assert made["hard_background"].sum() == 4
    silent = Mining()({"actionness": torch.zeros_like(curve)}, batch)
    assert silent["easy_action"][0].nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert silent["hard_background"][0].nonzero().flatten().tolist() == [0]


def test_one_mask_serves_both_easy_sets_and_neither_ring():
    x, mask = curves()
    batch = replace(random_batch(LENGTHS), mask=mask)
    still = Mining(dropout=0.0)({"actionness": x}, batch)
    mining = Mining(dropout=0.6).train()
    torch.manual_seed(1)
    drawn = mining({"actionness": x}, batch)
    for name in ("hard_action", "hard_background"):
        assert torch.equal(drawn[name], still[name])
    assert not torch.equal(drawn["easy_action"], still["easy_action"])
    torch.manual_seed(1)
    kept = F.dropout(torch.ones_like(x), 0.6)
    scores = mining.scores(x, mask, kept)
    assert set(kept.unique().tolist()) == {0.0, 2.5}
    torch.testing.assert_close(scores["easy_action"], x * kept, rtol=0, atol=0)
    peak = torch.stack([row[:n].max() for row, n in zip(x, LENGTHS)]).unsqueeze(1)
    torch.testing.assert_close(scores["easy_background"], (peak - x) * kept, rtol=0, atol=0)


@pytest.mark.parametrize("example", [thumos(), activitynet()], ids=["thumos", "activitynet"])
@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_videos_shorter_than_every_divisor_and_empty_ones_give_numbers(example, scale):
    torch.manual_seed(0)
    model = build_model(example.model, "example").double().train()
    batch = random_batch([1, 2, 4, 30])
    losses = model.losses(replace(batch, features=batch.features * scale))
    losses["total"].backward()
    for name, value in losses.items():
        assert torch.isfinite(value), name
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_the_contrast_reaches_the_embedding_and_not_the_classifier():
    torch.manual_seed(0)
    model = build_model(thumos().model, "example").double()
    losses = model.losses(random_batch([40, 30]))
    losses["snico"].backward()
    assert model.backbone.embed.conv.weight.grad.abs().sum() > 0
    assert model.heads["classifier"].cls.conv.weight.grad is None


def test_actionness_is_of_the_dropped_embedding_in_training():
    head = Classifier(6, 3, dropout=0.7)
    batch = random_batch([20, 9])
    x = torch.rand(2, 20, 6, dtype=torch.float64)
    torch.manual_seed(2)
    made = head.double().train()({"embedding": x}, batch)
    torch.manual_seed(2)
    rows = F.relu(F.dropout(x, 0.7) @ head.cls.conv.weight[..., 0].T)
    torch.testing.assert_close(made["cas"][0], rows[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(made["actionness"], made["cas"].sum(dim=-1), rtol=0, atol=0)
    head.eval()
    whole = head({"embedding": x}, batch)["actionness"]
    assert not torch.equal(whole, made["actionness"])
    assert not whole[1, 9:].any()


def test_the_smoothing_of_activitynet_is_a_depthwise_dilated_convolution_of_each_video():
    torch.manual_seed(0)
    smooth = DepthwiseConv(3, 7, 2).double()
    batch = random_batch([20, 9, 1])
    x = torch.randn(3, 20, 3, dtype=torch.float64)
    made = smooth(x, batch.mask)
    for row, length in enumerate((20, 9, 1)):
        alone = smooth.conv(x[row, :length].T).T
        torch.testing.assert_close(made[row, :length], alone, rtol=1e-12, atol=1e-14)
        assert not made[row, length:].any()


def test_only_a_classifier_of_one_tap_has_rows_to_share():
    assert "class_weights" in Classifier(6, 3).provides
    assert "class_weights" not in Classifier(6, 3, taps=9).provides


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (dict(type="cola.Mining", inner_width=6), "outer_width=6 must be larger than inner_width=6"),
        (dict(type="cola.Mining", hard_divisor=0), "hard_divisor=0 must be an integer of at least 1"),
        (dict(type="cola.Mining", easy_divisior=5), "Did you mean 'easy_divisor'?"),
        (dict(type="cola.Classifier", channels=4, num_classes=2, smooth_taps=6), "smooth_taps must be odd"),
    ],
)
def test_impossible_settings_are_refused_when_the_model_is_built(spec, words):
    with pytest.raises((ConfigError, ValueError), match=words):
        registry("head").build(spec, "config: model.heads.x")
    with pytest.raises(ConfigError, match="temperature=0"):
        registry("loss").build(dict(type="cola.SnippetContrast", temperature=0), "config: model.losses.x")


THUMOS = 2048 * 2048 * 3 + 2048 + 2048 * 20
ANET = 2048 * 2048 * 9 + 2048 + 2048 * 100 * 9 + 100 * 7


@pytest.mark.parametrize(("name", "size"), [("thumos", THUMOS), ("anet12", ANET)])
def test_shipped_configs_build_the_authors_network(name, size):
    with torch.device("meta"):
        model = build_model(load_config(CONFIGS / f"cola_{name}.py").model, name)
    assert sum(p.numel() for p in model.parameters()) == size
    assert THUMOS == 12_625_920
