"""UM's uncertainty loss: action features are long, background features are short (authors' code, `train.py`)."""

from __future__ import annotations

from torch import Tensor

from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import full_precision
from wtal_bench.options import at_least


class Uncertainty(Loss):
    """mean_b ([m - |f_act|]_+ + |f_bkg|)^2, L2 norms of the sets' mean features. Gives `um`.

    The sum stands inside the square. A hinge at or below 0 has no gradient, nor has the norm of a zero feature.

    Args:
        margin: m.
    """

    requires = ("action_feature", "background_feature")

    def __init__(self, margin: float = 100.0) -> None:
        self.margin = at_least("margin", margin, 0)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """f_act, f_bkg [B,E] -> {"um": 0-d}."""
        gap, norm = self.parts(outputs)
        return {"um": (gap + norm).square().mean()}

    def parts(self, outputs: Outputs) -> tuple[Tensor, Tensor]:
        """The hinge and the background norm of every video: [B] each."""
        action, background = (full_precision(outputs[name]).norm(dim=-1) for name in self.requires)
        return (self.margin - action).relu(), background
