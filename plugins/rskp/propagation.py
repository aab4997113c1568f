"""Representative snippets by EM and their propagation to all snippets, exact and without any T x T matrix.

Symbols: x [B,T,D] snippets, |x| [B,T] their norms, m [B,K,D] vectors to propagate, w the propagation weight.
Assignments z [B,T,K] = softmax over K of 5 cos(m, x), zero under padding.

The random walk (Eq. 4 of the README) is x' = (1-w) (I - w^2 A)^-1 (w z m + x) with A = z zn^T [T,T] and zn = z /
(sum_t z + eps).
A has rank K, so with S = diag(sum_t z + eps) - w^2 z^T z the Woodbury identity gives, without approximation,

    x' = (1-w) x + z R,    R = (1-w) (w m + w^2 S^-1 (w z^T z m + z^T x))    [B,K,D].

x' is therefore x and K extra vectors: its cosines and its weighted means follow from those of x and R (`Walked`), and
x' itself is never made while training.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wtal_bench.modeling.blocks import no_autocast
from wtal_plugins.rskp.products import Products

NORM_EPSILON = 1e-9
"""Added to norms and to assignment sums in the authors' code."""
ASSIGNMENT_SCALE = 5.0


def unit_rows(rows: Tensor) -> Tensor:
    """v / (|v| + 1e-9) on the last axis (the authors' `norm`)."""
    return rows / (torch.linalg.vector_norm(rows, dim=-1, keepdim=True) + NORM_EPSILON)


class Snippets:
    """Snippets of padded videos, and what RSKP multiplies them with.

    Args:
        x: [B,T,D], zero under padding.
        mask: [B,T].
    """

    def __init__(self, x: Tensor, mask: Tensor) -> None:
        self.mask = mask
        products = Products(x, mask)
        self.x, self.products, self.pool = products.x, products.dot, products.pool
        self.norm = products.norm()

    def cosines(self, rows: Tensor) -> Tensor:
        """Cosines of the snippets with `rows` [K,D] or [B,K,D] (not normalised): [B,T,K]."""
        # dividing the few products spares a normalised copy of x
        return self.products(unit_rows(rows)) / (self.norm + NORM_EPSILON).unsqueeze(-1)

    def assign(self, vectors: Tensor, real: Tensor | None = None) -> Tensor:
        """z: softmax over the vectors [K,D] or [B,K,D] of 5 cosines. [B,T,K], zero under padding.

        Args:
            vectors: m.
            real: [B,K] bool, False for vectors a video does not have; None = all.
        """
        scores = ASSIGNMENT_SCALE * self.cosines(vectors)
        if real is not None:
            # a row of -inf would be NaN: a video without any vector keeps its scores, and the zeroing drops them all
            absent = ~real.unsqueeze(1)
            scores = scores.masked_fill(absent & real.any(dim=1)[:, None, None], float("-inf"))
            return (torch.softmax(scores, dim=-1) * self.mask.unsqueeze(-1)).masked_fill(absent, 0.0)
        return torch.softmax(scores, dim=-1) * self.mask.unsqueeze(-1)


def representatives(snippets: Snippets, start: Tensor, iterations: int) -> Tensor:
    """Representative snippets of every video by EM (Eq. 2-3 of the README); gradients flow through all of it.

    Args:
        snippets: x.
        start: [K,D] where every video starts.
        iterations: E and M steps (2).

    Returns:
        [B,K,D].
    """
    vectors = start
    for _ in range(iterations):
        z = snippets.assign(vectors)
        vectors = snippets.pool(z / (z.sum(dim=1, keepdim=True) + NORM_EPSILON))
    return vectors


def walk(snippets: Snippets, vectors: Tensor, weight: float, real: Tensor | None = None) -> Walked:
    """Propagate `vectors` m [B,K,D] to the snippets; see the module's text.

    Args:
        snippets: x.
        vectors: m; rows that `real` excludes may hold anything.
        weight: w.
        real: [B,K] bool, or None = all. A video without any gets x' = (1-w) x.
    """
    z = snippets.assign(vectors, real)
    gram = z.transpose(1, 2) @ z
    total = z.sum(dim=1) + NORM_EPSILON
    if real is not None:
        total = torch.where(real, total, torch.ones_like(total))
        vectors = torch.where(real.unsqueeze(-1), vectors, torch.zeros_like(vectors))
    system = torch.diag_embed(total) - weight**2 * gram
    pulled = weight * gram @ vectors + snippets.pool(z)
    with no_autocast(vectors):  # no solver takes half precision
        wide = torch.promote_types(system.dtype, torch.float32)
        # without the look whether a pivot was 0, which waits for the device: the diagonal outweighs what is subtracted
        solved = torch.linalg.solve_ex(system.to(wide), pulled.to(wide)).result.to(pulled.dtype)
    extra = (1 - weight) * (weight * vectors + weight**2 * solved)
    return Walked(snippets, 1 - weight, z, extra)


@dataclass(frozen=True)
class Walked:
    """x' = share x + z extra, kept in its parts: share a number, z [B,T,K], extra [B,K,D]."""

    snippets: Snippets
    share: float
    z: Tensor
    extra: Tensor

    @property
    def mask(self) -> Tensor:
        """[B,T]."""
        return self.snippets.mask

    def dense(self) -> Tensor:
        """x' itself, [B,T,D]."""
        return self.share * self.snippets.x + self.z @ self.extra

    @property
    def norm(self) -> Tensor:
        """|x'|, [B,T]: |share x|^2 + 2 share x.(z extra) + |z extra|^2, all terms of which are >= 0 (x is a relu)."""
        cross = (self.z * self.snippets.products(self.extra)).sum(dim=-1)
        own = (self.z * (self.z @ (self.extra @ self.extra.transpose(1, 2)))).sum(dim=-1)
        square = (self.share * self.snippets.norm).square() + 2 * self.share * cross + own
        positive = square > 0
        # the safe value goes in before the root: its slope at 0 would bring NaN back
        return torch.where(positive, torch.where(positive, square, torch.ones_like(square)).sqrt(), 0.0)

    def cosines(self, rows: Tensor) -> Tensor:
        """Cosines of x' with `rows` [K,D] (not normalised): [B,T,K]."""
        rows = unit_rows(rows)
        products = self.share * self.snippets.products(rows) + self.z @ (self.extra @ rows.transpose(-1, -2))
        return products / (self.norm + NORM_EPSILON).unsqueeze(-1)

    def pool(self, weights: Tensor) -> Tensor:
        """sum_t weights_t x'_t: weights [B,T,W], zero under padding -> [B,W,D]."""
        return self.share * self.snippets.pool(weights) + (weights.transpose(1, 2) @ self.z) @ self.extra
