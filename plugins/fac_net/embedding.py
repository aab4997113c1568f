"""The embedding of Sec. 3.1: two layers over the snippets of one stream."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.interfaces import Backbone, Outputs
from wtal_bench.modeling.blocks import TemporalConv, per_snippet


class Embedding(nn.Module, Backbone):
    """Two layers with ReLU, Sec. 3.1; authors' code: Linear, ReLU, Dropout, twice.

    Features [B,T,F] -> `embedding` [B,T,D] and `dropped_embedding` X [B,T,D], the same after dropout: all branches of
    FAC-Net see one and the same dropped-out X. They are one tensor when nothing is dropped. Padded rows are zero.

    Weights start Xavier-uniform, biases at zero.

    Args:
        in_channels, channels: F and D; the hidden layer has F units.
        embed_kernel: 1 (authors' code: per-snippet layers, run on real rows only) or an odd number of taps over time
            (the paper says "temporal convolutional", without a size).
        dropout: after both ReLUs; 0.5 stands in the code alone.
    """

    provides = ("embedding", "dropped_embedding")

    def __init__(self, in_channels: int, channels: int, embed_kernel: int = 1, dropout: float = 0.5) -> None:
        super().__init__()
        if embed_kernel == 1:
            self.fc1: nn.Module = nn.Linear(in_channels, in_channels)
            self.fc2: nn.Module = nn.Linear(in_channels, channels)
            layers = (self.fc1, self.fc2)
        else:
            self.fc1 = TemporalConv(in_channels, in_channels, embed_kernel)
            self.fc2 = TemporalConv(in_channels, channels, embed_kernel)
            layers = (self.fc1.conv, self.fc2.conv)
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.dropout = dropout

    def forward(self, features: Tensor, mask: Tensor) -> Outputs:
        """[B,T,F], [B,T] -> fields."""
        if isinstance(self.fc1, nn.Linear):
            # one packing for both layers and both dropouts: the random masks do not depend on the padding either
            embedding = per_snippet(lambda rows: F.relu(self.fc2(self._drop(F.relu(self.fc1(rows))))), features, mask)
            return {"embedding": embedding, "dropped_embedding": per_snippet(self._drop, embedding, mask)}
        hidden = self._drop(F.relu(self.fc1(features, mask)))
        embedding = F.relu(self.fc2(hidden, mask))
        return {"embedding": embedding, "dropped_embedding": self._drop(embedding)}

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training and self.dropout else x
