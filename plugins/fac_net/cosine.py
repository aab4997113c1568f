"""What all of FAC-Net's equations are made of: cosines with learned rows, and softmax over time at temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.blocks import masked_softmax, unit
from wtal_bench.options import choose

FG_INITS = ("neg_bg", "random")


class _InverseNorm(torch.autograd.Function):
    """1 / ||x|| of every row; 0, with gradient 0, for a row of zeros.

    autograd's way through the norm makes several tensors of the size of `x`; the formula needs one.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """[...,D] -> [...,1]."""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = torch.where(norm > 0, 1 / norm, torch.zeros_like(norm))
        ctx.save_for_backward(x, inverse)
        return inverse

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """d(1/||x||) = -x / ||x||^3."""
        x, inverse = ctx.saved_tensors
        return x * (-grad * inverse**3)


def cosine(x: Tensor, weights: Tensor) -> Tensor:
    """Cosine of every row of `x` [...,D] with every row of `weights` [K,D]: [...,K].

    A row of zeros has cosine 0 with everything and gradient 0, the rule of `blocks.unit` (the authors' code gives NaN,
    which spreads over the whole video). `x` is scaled after the product, so no normalised copy of it is made.
    """
    return F.linear(x, unit(weights)) * _InverseNorm.apply(x)


def xavier_rows(rows: int, channels: int) -> nn.Parameter:
    """[rows,channels] Xavier-uniform."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, channels)))


def centers(num_classes: int, background: bool, channels: int, fg_init: str) -> tuple[nn.Parameter, nn.Parameter]:
    """The classifiers at their start: W_a [K,D], Xavier-uniform, and W_f [1,D].

    Args:
        num_classes: C.
        background: whether W_a has a background row, the last.
        channels: D.
        fg_init: "neg_bg": W_f is minus that row (Xavier-uniform where there is none); "random": Xavier-uniform.

    Raises:
        ConfigError: unknown `fg_init`.
    """
    action = xavier_rows(num_classes + background, channels)
    if choose("fg_init", fg_init, FG_INITS) == "neg_bg" and background:
        return action, nn.Parameter(-action.detach()[-1:].clone())
    return action, xavier_rows(1, channels)


class Temperatures(nn.Module):
    """Softmax over time at H temperatures, Eq. (2), (9), Sec. 3.5: scores [B,T,...] -> [B,T,H,...], zero under padding.

    Args:
        temperatures: tau, one a head; the scores carry delta already, so delta * tau multiplies the cosine.

    Raises:
        ConfigError: no temperature, or one that is not positive.
    """

    def __init__(self, temperatures: Sequence[float]) -> None:
        super().__init__()
        if not temperatures or not all(tau > 0 for tau in temperatures):
            raise ConfigError(
                f"temperatures must be a list of positive numbers, e.g. (1.0, 2.0, 5.0); got {temperatures!r}."
            )
        # float64, so that a temperature is the config's number whatever the precision of the model
        self.register_buffer("tau", torch.tensor(list(temperatures), dtype=torch.float64), persistent=False)

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """[B,T,...], [B,T] -> [B,T,H,...]."""
        tau = self.tau.to(scores.dtype).reshape(-1, *(1,) * (scores.dim() - 2))
        return masked_softmax(scores.unsqueeze(2) * tau, mask)
