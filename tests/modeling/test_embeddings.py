"""The embeddings several methods share, against plain torch layers on one video at a time."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from wtal_bench.modeling.embeddings import ConvEmbedding

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
