"""The embedding of RSKP: one layer over the snippets, and the norms every later cosine divides by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.interfaces import Backbone, Outputs, TrainingPass
from wtal_bench.modeling.blocks import pack, per_snippet, unpack


class _RowNorm(torch.autograd.Function):
    """L2 norm of every row; gradient 0 for a row of zeros. autograd's own way makes more tensors of the size of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """[...,D] -> [...]."""
        norm = torch.linalg.vector_norm(x, dim=-1)
        ctx.save_for_backward(x, norm)
        return norm

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """d|x| = x / |x|."""
        x, norm = ctx.saved_tensors
        return x * torch.where(norm > 0, grad / norm, torch.zeros_like(norm)).unsqueeze(-1)


class Embedding(nn.Module, Backbone):
    """x = dropout(relu(Linear(f))), Eq. (1) of the README; RSKP, authors' code.

    Features [B,T,F] -> `embedding` [B,T,D] before dropout, `dropped_embedding` x [B,T,D], and `embedding_norm` |x|
    [B,T]. Padded rows are zero, and the layer runs on real rows only. Weights start Xavier-uniform, biases at zero.

    Args:
        in_channels, channels: F and D.
        dropout: 0.6 in both codes.
        dropout_in_passes: epochs at whose start the passes over the training videos keep their dropout on. GauFuse's
            code makes its pseudo labels with a copy of the model that is still in training mode. The masks are drawn
            from a seed that is part of the checkpoint, so that a resumed run makes the same labels.
    """

    provides = ("embedding", "dropped_embedding", "embedding_norm")

    def __init__(
        self, in_channels: int, channels: int, dropout: float = 0.6, dropout_in_passes: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(in_channels, channels)
        nn.init.xavier_uniform_(self.embed.weight)
        nn.init.zeros_(self.embed.bias)
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
        embedding = per_snippet(lambda rows: F.relu(self.embed(rows)), features, mask)
        dropped = self._drop(embedding, mask)
        return {"embedding": embedding, "dropped_embedding": dropped, "embedding_norm": _RowNorm.apply(dropped)}

    def _drop(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.training:
            self._generator = None  # the passes are over
            # packed, so that the masks do not depend on the padding
            return per_snippet(lambda rows: F.dropout(rows, self.dropout), x, mask) if self.dropout else x
        if self._generator is None or not self.dropout:
            return x
        rows = pack(x, mask)
        keep = torch.rand(rows.shape, generator=self._generator).to(x.device) >= self.dropout
        return unpack(rows * keep / (1 - self.dropout), mask)
