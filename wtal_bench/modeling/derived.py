"""Fields that are made of a host's others, for ideas that need one it lacks."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import zero_padding


class AppendBackground(nn.Module, Head):
    """`cas_with_background` [B,T,C+1]: the logits `cas` [B,T,C] and a last one that is always 0, for background.

    A softmax over C actions alone cannot say "no action"; over these columns it can, with a probability of at least one
    half wherever no action has a positive logit. The column has no weights: what trains it moves the actions' logits.
    """

    requires = ("cas",)
    provides = ("cas_with_background",)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,C] -> fields."""
        return {"cas_with_background": F.pad(zero_padding(outputs["cas"], batch.mask), (0, 1))}
