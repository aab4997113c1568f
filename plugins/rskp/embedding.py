"""The embedding of RSKP: one layer over the snippets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.interfaces import Backbone, Outputs, TrainingPass
from wtal_bench.modeling.blocks import pack, unpack, xavier


class Embedding(nn.Module, Backbone):
    """x = dropout(relu(Linear(f))), Eq. (1) of the README; RSKP, authors' code.

    Features [B,T,F] -> `dropped_embedding` x [B,T,D] and `embedding` [B,T,D], the same before dropout. Padded rows are
    zero, and the layer runs on real rows only. Weights start Xavier-uniform, biases at zero.

    Args:
        in_channels, channels: F and D.
        dropout: 0.6 in both codes.
        dropout_in_passes: epochs at whose start the passes over the training videos keep their dropout on. GauFuse's
            code makes its pseudo labels with a copy of the model that is still in training mode. The masks are drawn
            from a seed that is part of the checkpoint, so that a resumed run makes the same labels.
        embedding: whether `embedding` is made. RSKP itself does not read it; methods that attach to RSKP may.
    """

    provides = ("dropped_embedding", "embedding")

    def __init__(
        self,
        in_channels: int,
        channels: int,
        dropout: float = 0.6,
        dropout_in_passes: Sequence[int] = (),
        embedding: bool = True,
    ) -> None:
        super().__init__()
        if not embedding:
            self.provides, self.offers = ("dropped_embedding",), {"embedding": {"embedding": True}}
        self.embed = xavier(nn.Linear(in_channels, channels))
        self.dropout = dropout
        self.dropout_in_passes = frozenset(dropout_in_passes)
        if self.dropout_in_passes:
            self.register_buffer("pass_seed", torch.randint(2**31, ()))
        self._generator: torch.Generator | None = None

    def begin_epoch(self, epoch: int, training_pass: TrainingPass) -> None:
        """Switch dropout on for the passes of this epoch's start, if they keep it."""
        self._generator = None
        if epoch in self.dropout_in_passes:
            self._generator = torch.Generator().manual_seed(int(self.pass_seed) * 1000 + epoch)

    def forward(self, features: Tensor, mask: Tensor) -> Outputs:
        """[B,T,F], [B,T] -> fields."""
        # packed once for layer and dropout: no work on padding, and random masks that do not depend on it
        rows = F.relu(self.embed(pack(features, mask)))
        dropped = self._drop(rows)
        made = {"dropped_embedding": unpack(dropped, mask)}
        if "embedding" in self.provides:
            made["embedding"] = made["dropped_embedding"] if dropped is rows else unpack(rows, mask)
        return made

    def _drop(self, rows: Tensor) -> Tensor:
        if self.training:
            self._generator = None  # the passes are over
            return F.dropout(rows, self.dropout) if self.dropout else rows
        if self._generator is None or not self.dropout:
            return rows
        keep = torch.rand(rows.shape, generator=self._generator).to(rows.device) >= self.dropout
        return rows * keep / (1 - self.dropout)
