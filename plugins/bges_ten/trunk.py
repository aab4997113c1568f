"""The host of BGES and TEN: an embedding, a classifier and an attention per stream, fused late (Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Backbone, Outputs
from wtal_bench.modeling.blocks import TemporalConv, take_columns
from wtal_bench.options import columns


class Stream(nn.Module):
    """One modality m: X_e^m = ReLU(conv(X^m)) (Eq. 1), y_m (Eq. 2), a_m = sigmoid(.) (Eq. 3).

    Args:
        in_channels, channels, num_classes: D, E, C of this stream.
        taps: of the temporal convolution.
        dropout: after the ReLU; classifier and attention see the same dropped features.
    """

    def __init__(self, in_channels: int, channels: int, num_classes: int, taps: int, dropout: float) -> None:
        super().__init__()
        self.embed = TemporalConv(in_channels, channels, taps)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_classes + 1)
        self.attention = nn.Linear(channels, 1)

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B,T,D], [B,T] -> embedding [B,T,E] before dropout, CAS logits [B,T,C+1], attention [B,T]."""
        embedding = F.relu(self.embed(features, mask))
        x = self.dropout(embedding)
        # under autocast the fused scores keep the parameters' precision: sums of attention divide in what follows
        kind = self.classifier.weight.dtype
        return embedding, self.classifier(x).to(kind), torch.sigmoid(self.attention(x).squeeze(-1).to(kind))


class Trunk(nn.Module, Backbone):
    """Independent streams, fused late: the mean of their CAS logits and the mean of their attentions (Sec. 3.1).

    Features [B,T,D] -> `cas` y [B,T,C+1] (background last), `attention` a [B,T], `embedding` [B,T,M*E] (the streams
    side by side, before dropout) and `class_weights` [C+1,M*E], the classifier over it: without dropout, cas =
    embedding @ class_weights.T + the mean of the streams' biases.

    Args:
        streams: name -> (first, end) columns of the features, e.g. dict(rgb=(0, 1024), flow=(1024, 2048)).
        channels, num_classes: E (per stream) and C.
        taps: of each embedding's temporal convolution, odd; the paper gives no size.
        dropout: after each embedding's ReLU, training only; not in the paper.

    Raises:
        ConfigError: no stream, or columns that are no range or lie outside the features.
    """

    provides = ("embedding", "cas", "attention", "class_weights")
    shared = ("class_weights",)

    def __init__(
        self,
        streams: Mapping[str, Sequence[int]],
        channels: int,
        num_classes: int,
        taps: int = 3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not streams:
            raise ConfigError("streams is empty; name at least one, e.g. dict(rgb=(0, 1024), flow=(1024, 2048)).")
        self.columns = {name: columns(f"streams.{name}", span) for name, span in streams.items()}
        widths = {name: end - first for name, (first, end) in self.columns.items()}
        self.streams = nn.ModuleDict(
            {name: Stream(width, channels, num_classes, taps, dropout) for name, width in widths.items()}
        )

    def forward(self, features: Tensor, mask: Tensor) -> Outputs:
        """[B,T,D], [B,T] -> fields."""
        made = [
            stream(take_columns(features, self.columns[name], f"streams.{name}"), mask)
            for name, stream in self.streams.items()
        ]
        embedding, cas, attention = zip(*made)
        weights = torch.cat([stream.classifier.weight for stream in self.streams.values()], dim=1)
        return {
            "embedding": torch.cat(embedding, dim=-1),
            "cas": sum(cas) / len(made),
            "attention": sum(attention) / len(made),
            "class_weights": weights / len(made),
        }
