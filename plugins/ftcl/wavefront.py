"""Recursions over pairs of sequences, run along anti-diagonals: all pairs and all cells of a diagonal at once.

Cell (i,j) of an (M+1) x (N+1) matrix needs (i-1,j-1), (i-1,j) and (i,j-1): cells of one anti-diagonal d = i + j need
only diagonals d-1 and d-2, so M + N - 1 steps replace the P * M * N of a loop over cells, and nothing is approximated.
Matrices are kept "skewed", with the diagonal on the first axis: `skew(X)[d, p, i] = X[p, i, d - i]`.

A recursion is a rule for one diagonal (`fill`) and the derivative of every cell with respect to its three
predecessors (`adjoint`), which for all cells is one array operation. Sequences of different lengths share a batch:
no cell reads one to its right or below, so what padding puts there is never seen from a pair's own last cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Rule = Callable[..., Tensor]
"""rule(match, insert, delete, *inputs) -> cells: the values of the predecessors (i-1,j-1), (i-1,j) and (i,j-1) and the
inputs at the cells of one diagonal, [P,cells] each."""


class Predecessors(NamedTuple):
    """One value per cell for each of its predecessors, skewed [M+N-1,P,M].

    Attributes:
        match: of (i-1,j-1).
        insert: of (i-1,j).
        delete: of (i,j-1).
    """

    match: Tensor
    insert: Tensor
    delete: Tensor


def skew(x: Tensor) -> Tensor:
    """[P,M,N] -> [M+N-1,P,M], zero where row i has no cell on the diagonal."""
    pairs, rows, columns = x.shape
    steps = rows + columns - 1
    flat = F.pad(x, (0, rows)).flatten(1)
    shifted = flat[:, : rows * steps].reshape(pairs, rows, steps)  # row i moves i places to the right
    return shifted.permute(2, 0, 1).contiguous()


def unskew(x: Tensor) -> Tensor:
    """[M+N-1,P,M] -> [P,M,N], the inverse of `skew`."""
    steps, pairs, rows = x.shape
    flat = F.pad(x.permute(1, 2, 0).reshape(pairs, rows * steps), (0, rows))
    return flat.reshape(pairs, rows, steps + 1)[:, :, : steps + 1 - rows]


def inside(rows: int, columns: int, device: torch.device) -> Tensor:
    """[M+N-1,1,M] bool: which skewed entries are cells of an M x N matrix."""
    column = torch.arange(rows + columns - 1, device=device)[:, None] - torch.arange(rows, device=device)
    return ((column >= 0) & (column < columns)).unsqueeze(1)


def fill(rule: Rule, inputs: Sequence[Tensor], columns: int, border: float = 0.0) -> Tensor:
    """Run a recursion: the skewed table [M+N+1,P,M+1] of its (M+1) x (N+1) matrix.

    Args:
        rule: makes the cells of one diagonal.
        inputs: [M+N-1,P,M] skewed; the first gives the table its type.
        columns: N.
        border: value of row 0 and column 0, whose corner is 0.
    """
    steps, pairs, rows = inputs[0].shape
    table = inputs[0].new_zeros(steps + 2, pairs, rows + 1)
    if border:
        table[1:, :, 0] = border
        table.diagonal(0, 0, 2)[:, 1:] = border
    diagonals = table.unbind()
    for d, values in enumerate(zip(*(x.unbind() for x in inputs), strict=True), start=2):
        first, count = max(1, d - columns), min(rows, d - 1) - max(1, d - columns) + 1
        before, last = diagonals[d - 2], diagonals[d - 1]
        cells = rule(
            before.narrow(1, first - 1, count),
            last.narrow(1, first - 1, count),
            last.narrow(1, first, count),
            *(x.narrow(1, first - 1, count) for x in values),
        )
        diagonals[d].narrow(1, first, count).copy_(cells)
    return table


def predecessors(table: Tensor) -> Predecessors:
    """The values of every cell's three predecessors, views of the table of `fill`."""
    return Predecessors(table[:-2, :, :-1], table[1:-1, :, :-1], table[1:-1, :, 1:])


def last_cells(table: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """[P] value of every pair's own last cell (M_p, N_p)."""
    return table[rows + columns, torch.arange(table.shape[1], device=table.device), rows]


def adjoint(slopes: Predecessors, rows: Tensor, columns: Tensor, grad: Tensor) -> Tensor:
    """Derivative of sum_p grad_p * X_p(M_p, N_p) with respect to every cell of X: [M+N-1,P,M], skewed.

    With slopes that are 0 or 1, one of them 1, this walks every pair's path back from its last cell.

    Args:
        slopes: derivative of each cell with respect to each predecessor.
        rows, columns: [P] int64 sizes M_p and N_p; a pair with an empty side gets zeros.
        grad: [P].
    """
    steps, pairs, width = slopes.match.shape
    total = grad.new_zeros(steps + 2, pairs, width + 1)
    some = ((rows > 0) & (columns > 0)).to(grad.dtype)
    last = (rows + columns - 2).clamp(min=0)
    total[last, torch.arange(pairs, device=grad.device), (rows - 1).clamp(min=0)] = grad * some
    own, below = total[:, :, :-1].unbind(), total[:, :, 1:].unbind()
    match, insert, delete = (F.pad(way, (0, 1, 0, 0, 0, 2)) for way in slopes)
    delete, insert, match = delete[:, :, :-1].unbind(), insert[:, :, 1:].unbind(), match[:, :, 1:].unbind()
    for d in range(steps - 2, -1, -1):
        own[d].addcmul_(own[d + 1], delete[d + 1])
        own[d].addcmul_(below[d + 1], insert[d + 1])
        own[d].addcmul_(below[d + 2], match[d + 2])
    return total[:-2, :, :-1]
