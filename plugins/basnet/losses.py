"""BaS-Net's own loss; its two classification losses are the core's (authors' code, `train.py`)."""

from __future__ import annotations

from torch import Tensor

from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import full_precision, zero_padding


class ForegroundNorm(Loss):
    """L_norm = mean_b sum_t w[t], the L1 norm of the foreground weights over time. Gives `norm`.

    A sum over time, not a mean: its size grows with T.
    """

    requires = ("attention",)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Reads w [B,T]; returns {"norm": 0-d}."""
        return {"norm": zero_padding(full_precision(outputs["attention"]), batch.mask).sum(dim=1).mean()}
