"""The trunk of ECM: two temporal convolutions, and what the post stream needs to reuse them on three positions.

Both streams run the same trunk (Phi in the paper), the pre stream on T snippets and the post stream on a length-3
sequence per class. conv1 is linear, so aggregating its three tap projections of every snippet gives the same as
projecting the aggregated features: the post stream costs 3 positions of conv2 per class and no pass over T.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.interfaces import Backbone, Batch, Head, Outputs
from wtal_bench.modeling.blocks import shifted_sum, tap_projections, zero_padding

TAPS = 3
TRUNK_WEIGHTS = ("conv1_bias", "conv2_weight", "conv2_bias")


class TwoConvolutions(nn.Module):
    """conv k=3, LeakyReLU, conv k=3, LeakyReLU; each sees zeros beyond a video's own ends.

    Args:
        in_channels, channels: D and E.
        slope: of the LeakyReLUs.
    """

    def __init__(self, in_channels: int, channels: int, slope: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(in_channels, channels, TAPS, padding=1)
        self.conv2 = nn.Conv1d(channels, channels, TAPS, padding=1)
        self.slope = slope

    def taps(self, features: Tensor) -> Tensor:
        """conv1's tap projections of every snippet, without bias: [B,T,D] -> [B,T,3E] (tap-major)."""
        return tap_projections(features, self.conv1.weight)

    def embed(self, taps: Tensor, mask: Tensor) -> Tensor:
        """Finish the trunk from the tap projections: [B,T,3E] -> [B,T,E], before dropout."""
        hidden = F.leaky_relu(shifted_sum(taps) + self.conv1.bias, self.slope)
        hidden = shifted_sum(tap_projections(zero_padding(hidden, mask), self.conv2.weight)) + self.conv2.bias
        return zero_padding(F.leaky_relu(hidden, self.slope), mask)

    def weights(self) -> dict[str, Tensor]:
        """What the post stream needs besides the taps, by the names in `TRUNK_WEIGHTS`."""
        return {"conv1_bias": self.conv1.bias, "conv2_weight": self.conv2.weight, "conv2_bias": self.conv2.bias}


class Trunk(nn.Module, Backbone):
    """Two temporal convolutions (k=3, LeakyReLU), ECM Sec. 3.1; released code: base_module.

    Features [B,T,D] -> `embedding` [B,T,E] before dropout, `taps` [B,T,3E] (conv1's tap projections), and the shared
    weights the post stream runs again (`conv1_bias`, `conv2_weight`, `conv2_bias`).

    Args:
        in_channels, channels: D and E.
        slope: of the LeakyReLUs.
    """

    provides = ("embedding", "taps", *TRUNK_WEIGHTS)
    shared = TRUNK_WEIGHTS

    def __init__(self, in_channels: int, channels: int, slope: float = 0.01) -> None:
        super().__init__()
        self.trunk = TwoConvolutions(in_channels, channels, slope)

    def forward(self, features: Tensor, mask: Tensor) -> Outputs:
        """[B,T,D], [B,T] -> fields."""
        taps = self.trunk.taps(features)
        return {"embedding": self.trunk.embed(taps, mask), "taps": taps, **self.trunk.weights()}


class OwnTrunk(nn.Module, Head):
    """A second trunk and classifier for the post stream alone (Table 4, unshared): fields for `reads` of its heads.

    Gives `taps` [B,T,3E], the trunk weights and `class_weights` [C,E]; store them under other names with `writes`.

    Args:
        in_channels, channels, num_classes: D, E, C.
        slope: of the LeakyReLUs.
    """

    provides = ("taps", *TRUNK_WEIGHTS, "class_weights")
    shared = (*TRUNK_WEIGHTS, "class_weights")

    def __init__(self, in_channels: int, channels: int, num_classes: int, slope: float = 0.01) -> None:
        super().__init__()
        self.trunk = TwoConvolutions(in_channels, channels, slope)
        self.classifier = nn.Conv1d(channels, num_classes, 1, bias=False)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """Read the features alone."""
        taps = self.trunk.taps(batch.features)
        return {"taps": taps, **self.trunk.weights(), "class_weights": self.classifier.weight.squeeze(-1)}

    def cas(self, features: Tensor, mask: Tensor) -> Tensor:
        """This trunk's own class activation sequence on all snippets (unused in training): [B,T,C]."""
        embedding = self.trunk.embed(self.trunk.taps(features), mask)
        return zero_padding(embedding @ self.classifier.weight.squeeze(-1).T, mask)


def classify_triples(
    triples: Tensor, weights: dict[str, Tensor], class_weights: Tensor, slope: float, dropout: float
) -> Tensor:
    """Run each class's triple as a length-3 sequence through the trunk and its own row of the classifier.

    Eq. (3) with the released reading: zero padding keeps the three positions, their scores are averaged.

    Args:
        triples: [B,C,3,3E] tap projections aggregated per class and fold.
        weights: conv1_bias [E], conv2_weight [E,E,3], conv2_bias [E].
        class_weights: [C,E].
        slope: of the LeakyReLUs.
        dropout: probability, already 0 outside training.

    Returns:
        [B,C] scores.
    """
    hidden = F.leaky_relu(shifted_sum(triples) + weights["conv1_bias"], slope)
    hidden = shifted_sum(tap_projections(hidden, weights["conv2_weight"])) + weights["conv2_bias"]
    hidden = F.dropout(F.leaky_relu(hidden, slope), dropout)
    embedding = hidden.mean(dim=-2)  # the score is linear: average before it
    return torch.einsum("bce,ce->bc", embedding, class_weights)
