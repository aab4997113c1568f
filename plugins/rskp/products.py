"""Products of padded snippets with a few vectors, whose backward pass makes one tensor of the size of the snippets.

RSKP multiplies the snippets x [B,T,D] with small sets of vectors a dozen times a step. Left to autograd, each product
would add a gradient [B,T,D] to the others: at D = 2048 that moves more memory than the network's one layer. Here every
product notes its part of the gradient as a factor pair ([B,T,K], [B,K,D]), and the gate, through which x came in, adds
all of them up in one matrix product a video when the last has arrived. Values and gradients are those of autograd.

On a CPU the work is done video by video on real rows, once there is much padding to spare; else padded, in one kernel
a product. In a compiled graph autograd does all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wtal_bench.modeling.blocks import by_video, no_autocast, packing_of


class _Ledger:
    """Parts of the gradient of x, until the gate collects them."""

    def __init__(self, lengths: Sequence[int] | None) -> None:
        self.lengths = lengths  # None: work on padded tensors
        self.left: list[Tensor] = []
        self.right: list[Tensor] = []
        self.along_x: Tensor | None = None

    def collect(self, x: Tensor) -> Tensor:
        """The noted parts, added up: [B,T,D]."""
        total = torch.zeros_like(x) if self.lengths is None else torch.empty_like(x)
        left = torch.cat(self.left, dim=2) if self.left else None
        right = torch.cat([r.expand(len(x), -1, -1) for r in self.right], dim=1) if self.right else None
        if self.lengths is None:
            if left is not None:
                torch.bmm(left, right, out=total)
            if self.along_x is not None:
                total.addcmul_(x, self.along_x.unsqueeze(2))
        else:
            for i, n in enumerate(self.lengths):
                total[i, n if left is not None else 0 :] = 0
                if left is not None:
                    torch.mm(left[i, :n], right[i], out=total[i, :n])
                if self.along_x is not None:
                    total[i, :n].addcmul_(x[i, :n], self.along_x[i, :n, None])
        self.left, self.right, self.along_x = [], [], None
        return total

    def dot(self, x: Tensor, rows: Tensor) -> Tensor:
        """[B,T,D] x [B or 1,K,D] -> [B,T,K]."""
        if self.lengths is None:
            return x @ rows.transpose(1, 2)
        out = x.new_zeros(*x.shape[:2], rows.shape[1])
        for i, n in enumerate(self.lengths):
            torch.mm(x[i, :n], rows[i if len(rows) > 1 else 0].T, out=out[i, :n])
        return out

    def pool(self, x: Tensor, weights: Tensor) -> Tensor:
        """[B,T,D] x [B,T,K] -> [B,K,D]."""
        if self.lengths is None:
            return weights.transpose(1, 2) @ x
        out = x.new_empty(len(x), weights.shape[2], x.shape[2])
        for i, n in enumerate(self.lengths):
            torch.mm(weights[i, :n].T, x[i, :n], out=out[i])
        return out


class _Gate(torch.autograd.Function):
    """The way of x into all products of one head."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ledger: _Ledger) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        ctx.ledger = ledger
        return x.view_as(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        total = ctx.ledger.collect(x)
        return (total if grad is None else total.add_(grad)), None


class _Dot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, ledger: _Ledger) -> Tensor:
        ctx.save_for_backward(x, rows)
        ctx.ledger = ledger
        return ledger.dot(x, rows)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, None]:
        x, rows = ctx.saved_tensors
        ctx.ledger.left.append(grad)
        ctx.ledger.right.append(rows)
        if not ctx.needs_input_grad[1]:
            return None, None, None
        pulled = ctx.ledger.pool(x, grad)
        return None, pulled if len(rows) == len(x) else pulled.sum(dim=0, keepdim=True), None


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, ledger: _Ledger) -> Tensor:
        ctx.save_for_backward(x, weights)
        ctx.ledger = ledger
        return ledger.pool(x, weights)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, None]:
        x, weights = ctx.saved_tensors
        ctx.ledger.left.append(weights)
        ctx.ledger.right.append(grad)
        return None, ctx.ledger.dot(x, grad) if ctx.needs_input_grad[1] else None, None


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ledger: _Ledger) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1)
        ctx.save_for_backward(norm)
        ctx.ledger = ledger
        return norm

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None]:
        (norm,) = ctx.saved_tensors
        # d|x| = x / |x|; a row of zeros has gradient 0
        part = torch.where(norm > 0, grad / norm, torch.zeros_like(norm))
        ledger = ctx.ledger
        ledger.along_x = part if ledger.along_x is None else ledger.along_x + part
        return None, None


class Products:
    """Products of x with vectors and weights; see the module's text.

    Args:
        x: [B,T,D], zero under padding.
        mask: [B,T].
    """

    def __init__(self, x: Tensor, mask: Tensor) -> None:
        # half precision is too coarse for assignments at 5 and logits at 20 times a cosine
        x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        self.plain = torch.compiler.is_compiling()  # a compiler sees through plain products, not through a ledger
        if self.plain:
            self.x = x
            return
        self.ledger = _Ledger(packing_of(mask).lengths if by_video(x, x.shape[-1]) else None)
        self.x = _Gate.apply(x, self.ledger)

    def dot(self, rows: Tensor) -> Tensor:
        """Dot products with `rows` [K,D] or [B,K,D]: [B,T,K], zero under padding."""
        rows = rows if rows.dim() == 3 else rows.unsqueeze(0)
        with no_autocast(self.x):
            if self.plain:
                return self.x @ rows.to(self.x.dtype).transpose(1, 2)
            return _Dot.apply(self.x, rows.to(self.x.dtype), self.ledger)

    def pool(self, weights: Tensor) -> Tensor:
        """sum_t weights_t x_t: [B,T,K], zero under padding -> [B,K,D]."""
        with no_autocast(self.x):
            if self.plain:
                return weights.to(self.x.dtype).transpose(1, 2) @ self.x
            return _Pool.apply(self.x, weights.to(self.x.dtype), self.ledger)

    def norm(self) -> Tensor:
        """|x|: [B,T]."""
        if self.plain:
            return torch.linalg.vector_norm(self.x, dim=-1)
        return _Norm.apply(self.x, self.ledger)
