"""BaS-Net's network: foreground weights, and one trunk that sees the features with and without them.

The paper was not at hand: what stands here is what the authors' code (Pilhyeon/BaSNet-pytorch, `model.py`) computes.
The first convolution is linear and a weight scales a whole snippet, so its tap projections are made once and scaled for
the suppression branch: both branches cost three convolutions, not four.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.interfaces import Backbone, Batch, Head, Outputs
from wtal_bench.modeling.blocks import shifted_sum, tap_projections, zero_padding

TAPS = 3
TRUNK_WEIGHTS = ("conv1_bias", "conv2_weight", "conv2_bias")


class Trunk(nn.Module, Backbone):
    """Foreground weights w and the suppression branch, which is what localizes.

    w = sigmoid(conv1(LeakyReLU(conv1(X)))); E = LeakyReLU(conv3(LeakyReLU(conv3(w X)))): the *features* are scaled, and
    gradients flow through w. Gives `attention` w [B,T], `embedding` E [B,T,E] before dropout, and for the base branch
    `taps` [B,T,3E] (the first convolution's tap projections of X) and the trunk's other weights.

    Args:
        in_channels, channels: D and E (published: both 2048).
        filter_channels: hidden width of w's two layers.
        slope: of the LeakyReLUs.
    """

    provides = ("attention", "embedding", "taps", *TRUNK_WEIGHTS)
    shared = TRUNK_WEIGHTS

    def __init__(self, in_channels: int, channels: int, filter_channels: int = 512, slope: float = 0.01) -> None:
        super().__init__()
        self.filter1 = nn.Linear(in_channels, filter_channels)
        self.filter2 = nn.Linear(filter_channels, 1)
        self.conv1 = nn.Conv1d(in_channels, channels, TAPS, padding=1)
        self.conv2 = nn.Conv1d(channels, channels, TAPS, padding=1)
        self.slope = slope

    def forward(self, features: Tensor, mask: Tensor) -> Outputs:
        """[B,T,D], [B,T] -> fields, zero under padding."""
        foreground = self.filter2(F.leaky_relu(self.filter1(features), self.slope)).squeeze(-1)
        attention = zero_padding(torch.sigmoid(foreground), mask)
        taps = tap_projections(features, self.conv1.weight)
        weights = dict(zip(TRUNK_WEIGHTS, (self.conv1.bias, self.conv2.weight, self.conv2.bias), strict=True))
        embedding = embed(taps * attention.unsqueeze(-1), mask, weights, self.slope)
        return {"attention": attention, "embedding": embedding, "taps": taps, **weights}


class BaseBranch(nn.Module, Head):
    """The same trunk and classifier on the features as they are; training alone needs it.

    Gives `base_embedding` [B,T,E] before dropout and `base_cas` [B,T,C+1], with a dropout mask of its own.

    Args:
        dropout: on the elements of the embedding, training only.
        slope: of the LeakyReLUs, as the trunk's.
    """

    requires = ("taps", *TRUNK_WEIGHTS, "class_weights")
    provides = ("base_embedding", "base_cas")

    def __init__(self, dropout: float = 0.7, slope: float = 0.01) -> None:
        super().__init__()
        self.dropout, self.slope = nn.Dropout(dropout), slope

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """Taps [B,T,3E] and weights -> fields, zero under padding."""
        embedding = embed(outputs["taps"], batch.mask, outputs, self.slope)
        return {"base_embedding": embedding, "base_cas": F.linear(self.dropout(embedding), outputs["class_weights"])}


def embed(taps: Tensor, mask: Tensor, weights: Outputs, slope: float) -> Tensor:
    """From the first convolution's tap projections on.

    Args:
        taps: [B,T,3E], zero under padding.
        mask: [B,T].
        weights: `TRUNK_WEIGHTS`: [E], [E,E,3], [E].
        slope: of the LeakyReLUs.

    Returns:
        [B,T,E], zero under padding.
    """
    hidden = zero_padding(F.leaky_relu(shifted_sum(taps) + weights["conv1_bias"], slope), mask)
    hidden = shifted_sum(tap_projections(hidden, weights["conv2_weight"])) + weights["conv2_bias"]
    return zero_padding(F.leaky_relu(hidden, slope), mask)
