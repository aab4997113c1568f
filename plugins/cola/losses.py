"""CoLA's snippet contrast (SniCo; authors' code, `core/loss.py`)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Loss, Outputs
from wtal_bench.modeling.blocks import attention_pool, full_precision, inverse_norm, unit
from wtal_plugins.cola.mining import EASY, HARD


class SnippetContrast(Loss):
    """Pulls hard snippets to the easy ones of their kind and away from each easy one of the other kind.

    L_s = NCE(mean HA, mean EA, EB) + NCE(mean HB, mean EB, EA), where NCE(q, k, n) is the cross-entropy of
    [q.k, q.n_1, ..., q.n_K] / tau with class 0: query and positive are means over a set of snippets, the negatives are
    the snippets of a third set one by one, all of the same video and as unit vectors. Mean over videos; nothing is
    detached. Gives `snico`.

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
        """Return {"snico": 0-d}."""
        return {"snico": sum(self.terms(outputs, batch))}

    def terms(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
        """The contrast of hard action and that of hard background: two 0-d."""
        x = full_precision(outputs["embedding"])
        sets = torch.stack([outputs[name] for name in (*EASY, *HARD)], dim=-1)
        means = unit(attention_pool(x, sets.to(x.dtype), batch.mask, normalize=True))  # [B,4,E]: EA, EB, HA, HB
        easy = sets[..., :2]
        similar = x @ means[:, 2:].transpose(1, 2) * inverse_norm(x)
        positive = (means[:, 2:] * means[:, :2]).sum(dim=-1).unsqueeze(1)
        # against hard action the easy background counts, against hard background the easy action
        negative = similar.masked_fill(~easy.flip(-1), float("-inf"))
        logits = torch.cat([positive, negative], dim=1) / self.temperature
        return (
            F.cross_entropy(logits, torch.zeros_like(logits[:, 0], dtype=torch.long), reduction="none").mean(0).unbind()
        )
