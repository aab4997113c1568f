"""CO2-Net's own losses; classification, co-activity and sparsity are the core's (authors' code, `model.py`).

Both are means over the videos of the batch of means over a video's own snippets.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import full_precision, masked_mean

ATTENTIONS = ("attention", "rgb_attention", "flow_attention")


class Mutual(Loss):
    """The two attentions teach each other: MSE(A_rgb, stop A_flow) / 2 + MSE(A_flow, stop A_rgb) / 2. Gives `mutual`.

    Its value is the plain mean squared difference, its gradient to each side half of the joint one.
    """

    requires = ("rgb_attention", "flow_attention")

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Reads A_rgb and A_flow [B,T]; returns {"mutual": 0-d}."""
        rgb, flow = (full_precision(outputs[name]) for name in self.requires)
        square = ((rgb - flow.detach()).square() + (flow - rgb.detach()).square()) / 2
        return {"mutual": masked_mean(square, batch.mask).mean()}


class Guide(Loss):
    """Mean over time of |1 - A - softmax(Z)_background|, mean over the three attentions A. Gives `guide`.

    The gradient reaches the attentions and Z.
    """

    requires = (*ATTENTIONS, "cas")

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Reads three [B,T] and Z [B,T,C+1]; returns {"guide": 0-d}."""
        background = torch.softmax(full_precision(outputs["cas"]), dim=-1)[..., -1:]
        attention = torch.stack([full_precision(outputs[name]) for name in ATTENTIONS], dim=-1)
        return {"guide": masked_mean((1 - attention - background).abs(), batch.mask).mean()}
