"""Embeddings that several methods share: none, one temporal convolution, one or two layers per snippet."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Backbone, Outputs
from wtal_bench.modeling.blocks import TemporalConv, pack, per_snippet, unpack, xavier


class RawFeatures(nn.Module, Backbone):
    """`embedding` [B,T,D]: the features themselves. Nothing is learned before the heads."""

    def forward(self, features: Tensor, mask: Tensor) -> Outputs:
        """[B,T,D], [B,T] -> fields."""
        return {"embedding": features}


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


class LayeredEmbedding(nn.Module, Backbone):
    """One or two layers with ReLU and dropout after each, Xavier-uniform, biases zero.

    `embedding` [B,T,E] is taken before the last dropout, `dropped_embedding` [B,T,E] after it: one mask a forward pass,
    shared by everything that reads the field (the same tensor outside training).

    Args:
        in_channels, channels: D and E.
        layers: 1 or 2.
        dropout: after every ReLU, training only.
        kernel: 1 (a Linear layer per snippet), or an odd number of taps over time with zero padding.
        hidden: units between two layers; None = D.

    Raises:
        ConfigError: another number of layers.
    """

    provides = ("embedding", "dropped_embedding")

    def __init__(
        self,
        in_channels: int,
        channels: int,
        layers: int = 2,
        dropout: float = 0.5,
        kernel: int = 1,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        if layers not in (1, 2):
            raise ConfigError(f"layers={layers!r}: the embedding has 1 or 2 layers.")
        self.temporal = kernel != 1
        widths = [in_channels, *[hidden or in_channels] * (layers - 1), channels]
        for number, width in enumerate(pairwise(widths), start=1):
            layer = TemporalConv(*width, kernel) if self.temporal else nn.Linear(*width)
            xavier(layer.conv if self.temporal else layer)
            self.add_module(f"fc{number}", layer)
        self.layers = layers
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, mask: Tensor) -> Outputs:
        """[B,T,D], [B,T] -> fields, zero under padding."""
        x = features
        for number in range(1, self.layers + 1):
            layer = getattr(self, f"fc{number}")
            x = self._applied(layer, x if number == 1 else self._dropped(x, mask), mask)
        return {"embedding": x, "dropped_embedding": self._dropped(x, mask)}

    def _applied(self, layer: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
        if self.temporal:
            return layer(x, mask, then=F.relu_)
        return per_snippet(lambda rows: F.relu_(layer(rows)), x, mask)

    def _dropped(self, x: Tensor, mask: Tensor) -> Tensor:
        active = self.training and self.dropout.p > 0
        # drawn for real snippets alone, so that padding moves no random number
        return unpack(self.dropout(pack(x, mask)), mask) if active else x
