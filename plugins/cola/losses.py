"""CoLA's snippet contrast (SniCo; authors' code, `core/loss.py`)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import attention_pool, full_precision, pack, unit, unpack
from wtal_plugins.cola.mining import EASY, HARD


class SnippetContrast(Loss):
    """Pulls hard snippets to the easy ones of their kind and away from each easy one of the other kind.

    Each is an InfoNCE of one query and one positive, both means over a set of snippets, against the snippets of a
    third set one by one, all of the same video and as unit vectors: cross-entropy of [q.k, q.n_1, ..., q.n_K] / tau
    with class 0, mean over videos. `hard_action`: q = mean HA, k = mean EA, n = EB. `hard_background`: q = mean HB,
    k = mean EB, n = EA. Nothing is detached. The sum of the two is the authors' L_s.

    Reads E [B,T,E] before dropout and the sets of `cola.Mining`.

    Args:
        temperature: tau.
    """

    requires = ("embedding", *EASY, *HARD)

    def __init__(self, temperature: float = 0.07) -> None:
        if not temperature > 0:
            raise ConfigError(f"temperature={temperature!r} divides the logits and must be above 0.")
        self.temperature = temperature

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return {"hard_action": 0-d, "hard_background": 0-d}."""
        x = full_precision(outputs["embedding"])
        sets = torch.stack([outputs[name] for name in (*EASY, *HARD)], dim=-1)
        means = unit(attention_pool(x, sets.to(x.dtype), batch.mask, normalize=True))  # [B,4,E]: EA, EB, HA, HB
        easy = sets[..., :2]
        similar = self._similarities(x, means[:, 2:], easy.any(dim=-1))
        losses = {}
        for kind, name in enumerate(HARD):
            positive = (means[:, 2 + kind] * means[:, kind]).sum(dim=-1, keepdim=True)
            negative = similar[..., kind].masked_fill(~easy[..., 1 - kind], float("-inf"))
            logits = torch.cat([positive, negative], dim=1) / self.temperature
            losses[name] = -F.log_softmax(logits, dim=1)[:, 0].mean()
        return losses

    @staticmethod
    def _similarities(x: Tensor, queries: Tensor, wanted: Tensor) -> Tensor:
        """Cosines of the wanted snippets of x [B,T,E] with the unit queries [B,2,E]: [B,T,2], 0 elsewhere."""
        rows = unit(pack(x, wanted))
        video = wanted.nonzero()[:, 0]
        return unpack(torch.einsum("ne,nke->nk", rows, queries[video]), wanted)
