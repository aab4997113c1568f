"""Embeddings that several methods share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.interfaces import Backbone, Outputs
from wtal_bench.modeling.blocks import TemporalConv


class ConvEmbedding(nn.Module, Backbone):
    """`embedding` E [B,T,E] = ReLU(conv(X)), zero padding beyond a video's ends.

    Args:
        in_channels, channels: D and E.
        dropout: on the features before the convolution, training only.
        kernel: odd number of taps over time.
    """

    def __init__(self, in_channels: int, channels: int, dropout: float = 0.0, kernel: int = 3) -> None:
        super().__init__()
        self.embed = TemporalConv(in_channels, channels, kernel)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, mask: Tensor) -> Outputs:
        """[B,T,D], [B,T] -> fields."""
        return {"embedding": self.embed(self.dropout(features), mask, then=F.relu_)}
