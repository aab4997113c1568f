"""The embeddings several methods share, against plain torch layers on one video at a time."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.embeddings import ConvEmbedding, LayeredEmbedding, RawFeatures

LENGTHS = (9, 4, 1)


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    """[3,9,5] float64 features, noise under the padding, and their mask."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(3, 9, 5, generator=generator, dtype=torch.float64)
    return features, torch.arange(9) < torch.tensor(LENGTHS).unsqueeze(1)


def test_a_convolution_sees_zeros_beyond_every_video_s_own_end():
    torch.manual_seed(0)
    backbone = ConvEmbedding(5, 6).double()
    features, mask = padded()
    made = backbone(features, mask)["embedding"]
    for row, length in enumerate(LENGTHS):
        alone = F.relu(backbone.embed.conv(features[row, :length].T)).T
        torch.testing.assert_close(made[row, :length], alone, rtol=0, atol=1e-14)
        assert not made[row, length:].any()


def test_dropout_acts_on_the_features_in_training_alone():
    torch.manual_seed(0)
    backbone = ConvEmbedding(5, 6, dropout=0.5).double()
    features, mask = padded()
    first, second = (backbone(features, mask)["embedding"] for _ in range(2))
    assert not torch.equal(first, second)
    backbone.eval()
    torch.testing.assert_close(backbone(features, mask)["embedding"], backbone(features, mask)["embedding"])


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
def test_layers_start_as_xavier_without_bias_and_apply_one_after_the_other(layers, kernel):
    torch.manual_seed(0)
    backbone = LayeredEmbedding(5, 6, layers, kernel=kernel).double().eval()
    features, mask = padded()
    made = backbone(features, mask)
    assert made["embedding"] is made["dropped_embedding"]
    for name, parameter in backbone.named_parameters():
        assert parameter.any() == ("weight" in name)
    for row, length in enumerate(LENGTHS):
        x = features[row, :length]
        for number in range(1, layers + 1):
            layer = getattr(backbone, f"fc{number}")
            x = F.relu(layer(x) if kernel == 1 else layer.conv(x.T).T)
        torch.testing.assert_close(made["embedding"][row, :length], x, rtol=0, atol=1e-14)
        assert not made["embedding"][row, length:].any()


def test_one_mask_drops_what_every_reader_sees_and_padding_moves_no_random_number():
    torch.manual_seed(0)
    backbone = LayeredEmbedding(5, 6, layers=1, dropout=0.5).double()
    features, mask = padded()
    torch.manual_seed(3)
    made = backbone(features, mask)
    kept = made["dropped_embedding"] != 0
    torch.testing.assert_close(made["dropped_embedding"][kept], 2 * made["embedding"][kept])
    assert 0 < kept.sum() < (made["embedding"] != 0).sum()
    torch.manual_seed(3)
    longer = backbone(F.pad(features, (0, 0, 0, 4)), F.pad(mask, (0, 4)))
    torch.testing.assert_close(longer["dropped_embedding"][:, :9], made["dropped_embedding"], rtol=0, atol=0)


def test_the_layer_between_is_as_wide_as_the_features_or_as_told():
    assert LayeredEmbedding(5, 6).fc1.out_features == 5
    assert LayeredEmbedding(5, 6, hidden=7).fc2.in_features == 7


def test_another_number_of_layers_is_refused():
    with pytest.raises(ConfigError, match="1 or 2 layers"):
        LayeredEmbedding(5, 6, layers=3)


def test_raw_features_are_passed_on():
    features, mask = padded()
    assert RawFeatures()(features, mask)["embedding"] is features
