"""FTCL's two recursions and plain DTW, with their gradients, on the skeleton of `wavefront`.

Everywhere P pairs of sequences, at most M and N long; `rows`, `columns` [P] are their own lengths.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wtal_plugins.ftcl.wavefront import (
    Predecessors,
    adjoint,
    fill,
    inside,
    last_cells,
    predecessors,
    skew,
    unskew,
)

SMOOTH_MAXIMA = ("scaled", "printed", "hard")


class Hard:
    """max(a). Equal maxima share the gradient evenly."""

    def __call__(self, match: Tensor, insert: Tensor, delete: Tensor, step: Tensor) -> Tensor:
        """max(match, step + insert, step + delete)."""
        return torch.maximum(match, step + torch.maximum(insert, delete))

    def slopes(self, values: Tensor) -> Tensor:
        """Derivatives with respect to three values stacked on the first axis."""
        best = (values == values.amax(dim=0)).to(values.dtype)
        return best / best.sum(dim=0)


class LogSumExp:
    """log sum exp(gamma a)."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def __call__(self, match: Tensor, insert: Tensor, delete: Tensor, step: Tensor) -> Tensor:
        """Of match, step + insert and step + delete."""
        if self.gamma != 1:
            match, insert, delete, step = (self.gamma * value for value in (match, insert, delete, step))
        return torch.logaddexp(match, step + torch.logaddexp(insert, delete))

    def slopes(self, values: Tensor) -> Tensor:
        """Derivatives with respect to three values stacked on the first axis."""
        return self.gamma * torch.softmax(self.gamma * values, dim=0)


Maximum = Hard | LogSumExp


class _Alignment(torch.autograd.Function):
    """S(i,j) = gain_ij + max(S(i-1,j-1), step_ij + S(i-1,j), step_ij + S(i,j-1)) -> S(M_p,N_p)."""

    @staticmethod
    def forward(
        ctx: Any, gain: Tensor, step: Tensor, rows: Tensor, columns: Tensor, maximum: Maximum, border: float
    ) -> Tensor:
        gains, steps = skew(gain), skew(step)

        def rule(match: Tensor, insert: Tensor, delete: Tensor, step: Tensor, gain: Tensor) -> Tensor:
            return gain + maximum(match, insert, delete, step)

        table = fill(rule, (steps, gains), gain.shape[2], border)
        ctx.save_for_backward(steps, rows, columns, table)
        ctx.maximum, ctx.shape = maximum, gain.shape
        ctx.mark_non_differentiable(table)
        return last_cells(table, rows, columns), table

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        steps, rows, columns, table = ctx.saved_tensors
        match, insert, delete = predecessors(table)
        slopes = ctx.maximum.slopes(torch.stack([match, steps + insert, steps + delete]))
        # outside the matrix three borders of -inf may meet
        slopes = slopes.masked_fill(~inside(*ctx.shape[1:], steps.device), 0.0)
        gains = adjoint(Predecessors(*slopes), rows, columns, grad)
        return unskew(gains), unskew(gains * (slopes[1] + slopes[2])), None, None, None, None


def align(
    gain: Tensor,
    step: Tensor,
    rows: Tensor,
    columns: Tensor,
    smoothmax: str = "scaled",
    gamma: float = 10.0,
    border: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """S(i,j) = gain_ij + smax(S(i-1,j-1), step_ij + S(i-1,j), step_ij + S(i,j-1)).

    Args:
        gain, step: [P,M,N].
        rows, columns: [P] int64.
        smoothmax: the maximum of Eq. (5). "scaled": (1/gamma) log sum exp(gamma a), the authors' code; "printed":
            log sum exp(gamma a), as in the paper, which multiplies by gamma at every step and reaches 1e9 after five;
            "hard": max(a), whose gradient is shared evenly by equal maxima.
        gamma: its sharpness.
        border: S(0,j) and S(i,0) for i, j > 0; S(0,0) = 0.

    Returns:
        [P] S(M_p,N_p), differentiable once in gain and step, and the whole matrices [P,M+1,N+1] to look at.
    """
    # in units of 1/gamma the scaled form is a bare log sum exp
    unit = gamma if smoothmax == "scaled" else 1.0
    maximum = Hard() if smoothmax == "hard" else LogSumExp(gamma / unit)
    last, table = _Alignment.apply(gain * unit, step * unit, rows, columns, maximum, border)
    return last / unit, unskew(table) / unit


def edit_similarity(
    mu: Tensor, g: Tensor, rows: Tensor, columns: Tensor, smoothmax: str = "scaled", gamma: float = 10.0
) -> Tensor:
    """FSD's similarity of two sequences, Eq. (2) with h = g and S(0,.) = S(.,0) = 0.

    Args:
        mu, g: [P,M,N] residual values.
        rows, columns: [P] int64.
        smoothmax, gamma: see `align`.

    Returns:
        [P] s = S(M_p,N_p); 0 for a pair with an empty side.
    """
    return align(mu, g, rows, columns, smoothmax, gamma)[0]


def dtw_similarity(
    cosine: Tensor, rows: Tensor, columns: Tensor, smoothmax: str = "scaled", gamma: float = 10.0
) -> Tensor:
    """Minus the differentiable DTW distance of two sequences under the cost 1 - cosine (Table 4, row DTW).

    D(i,j) = 1 - c_ij + smin(D(i-1,j-1), D(i-1,j), D(i,j-1)), D(0,0) = 0, other borders infinite; smin(a) = -smax(-a).

    Args:
        cosine: [P,M,N].
        rows, columns: [P] int64, at least 1.
        smoothmax, gamma: see `align`.

    Returns:
        [P] -D(M_p,N_p).
    """
    return align(cosine - 1, torch.zeros_like(cosine), rows, columns, smoothmax, gamma, float("-inf"))[0]


def common_table(similarity: Tensor, match: Tensor) -> Tensor:
    """R of `matched_cells`, skewed: [P,M,N], [P,M,N] bool -> [M+N+1,P,M+1]."""

    def rule(before: Tensor, up: Tensor, left: Tensor, value: Tensor, matches: Tensor) -> Tensor:
        return torch.where(matches, before + value, torch.maximum(up, left))

    return fill(rule, (skew(similarity), skew(match)), similarity.shape[2])


@torch.no_grad()
def matched_cells(similarity: Tensor, match: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The cells of the longest common subsequence, Eq. (6): the trace back from (M_p,N_p).

    R(i,j) = R(i-1,j-1) + c_ij where (i,j) matches, else max(R(i-1,j), R(i,j-1)); of equal neighbours R(i-1,j). A match
    ignores larger neighbours, so R need not grow.

    Args:
        similarity: [P,M,N] c.
        match: [P,M,N] bool.
        rows, columns: [P] int64.

    Returns:
        [P,M,N] bool. sum(mask * c) is R(M_p,N_p), and the mask is its gradient.
    """
    table = common_table(similarity, match)
    _, up, left = predecessors(table)
    matches = skew(match)
    leftwards = ~matches & (left > up)
    upwards = ~(matches | leftwards)
    slopes = Predecessors(*(way.to(table.dtype) for way in (matches, upwards, leftwards)))
    path = adjoint(slopes, rows, columns, table.new_ones(len(rows)))
    return unskew((path > 0) & matches)


def common_length(similarity: Tensor, match: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Soft length r = R(M_p,N_p) of the longest common subsequence: [P], 0 where nothing matches.

    Its gradient is the 0/1 mask of `matched_cells`, by summing the mined cells; arguments as there.
    """
    return (similarity * matched_cells(similarity, match, rows, columns)).sum(dim=(1, 2))
