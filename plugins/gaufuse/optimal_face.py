"""Other selections from the optimal face of a label's linear program: a vertex, and the analytic centre.

Both work on the class means h [K] with sizes n_k: minimise sum n_k h_k subject to U (n h) = q, 0 <= h <= 1.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

NEWTON_STEPS = 200


def vertex(columns: np.ndarray, sizes: np.ndarray, q: np.ndarray) -> np.ndarray | None:
    """An optimal vertex (scipy's HiGHS on class sums S_k = n_k h_k): [K] means, None if there is no solution."""
    bounds = np.stack([np.zeros_like(sizes), sizes], axis=1)
    found = linprog(np.ones_like(sizes), A_eq=columns, b_eq=q, bounds=bounds, method="highs")
    return np.clip(found.x / sizes, 0.0, 1.0) if found.status == 0 else None


def analytic_center(columns: np.ndarray, sizes: np.ndarray, q: np.ndarray, optimum: np.ndarray) -> np.ndarray:
    """The point of the optimal face that maximises sum n_k (log h_k + log(1 - h_k)) over the classes that can vary.

    Args:
        columns: U [n,K].
        sizes: [K] n_k.
        q: [n].
        optimum: [K] any optimum; its cost defines the face.

    Returns:
        [K].
    """
    equations = np.vstack([columns, np.ones_like(sizes)]) * sizes
    values = np.append(q, sizes @ optimum)
    inside = _relative_interior(equations, values, len(sizes))
    if inside is None:
        return optimum
    point, free = inside
    basis = _null_space(equations[:, free])
    if not basis.shape[1]:
        return point
    point = point.copy()
    point[free] = _maximise(point[free], sizes[free], basis)
    return point


def _relative_interior(equations: np.ndarray, values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    """A point of {E h = v, 0 <= h <= 1} with as many strict bounds as can be, and which classes have both strict.

    One linear program over (h', s', u, v, theta): maximise sum u + v subject to E h' = v theta, h' + s' = theta,
    u <= h', v <= s', 0 <= u, v <= 1, theta >= 1. The face is a cone's slice, so u_k = 1 wherever h_k can be positive.
    """
    eye, zero = np.eye(count), np.zeros((count, count))
    none = np.zeros((len(equations), count))
    one = np.ones((count, 1))
    found = linprog(
        np.concatenate([np.zeros(2 * count), -np.ones(2 * count), [0.0]]),
        A_ub=np.block([[-eye, zero, eye, zero, 0 * one], [zero, -eye, zero, eye, 0 * one]]),
        b_ub=np.zeros(2 * count),
        A_eq=np.block([[equations, none, none, none, -values[:, None]], [eye, eye, zero, zero, -one]]),
        b_eq=np.zeros(len(equations) + count),
        bounds=[(0, None)] * (2 * count) + [(0, 1)] * (2 * count) + [(1, None)],
        method="highs",
    )
    if found.status != 0:
        return None
    h, _, low, high, theta = np.split(found.x, [count, 2 * count, 3 * count, 4 * count])
    free = (low > 0.5) & (high > 0.5)
    return np.where(free, h / theta, np.where(low > 0.5, 1.0, 0.0)), free


def _null_space(matrix: np.ndarray) -> np.ndarray:
    """Orthonormal directions [K,d] that leave the equations alone."""
    _, size, right = np.linalg.svd(matrix)
    rank = int((size > 1e-10 * max(1.0, size.max(initial=0.0))).sum())
    return right[rank:].T


def _maximise(point: np.ndarray, sizes: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Newton's method with backtracking on the concave barrier, along `basis`."""

    def value(h: np.ndarray) -> float:
        return float(sizes @ (np.log(h) + np.log1p(-h)))

    for _ in range(NEWTON_STEPS):
        gradient = basis.T @ (sizes * (1 / point - 1 / (1 - point)))
        curvature = sizes * (1 / point**2 + 1 / (1 - point) ** 2)
        direction = basis @ np.linalg.solve(basis.T @ (curvature[:, None] * basis), gradient)
        decrement = float((curvature * direction**2).sum())
        if decrement < 1e-20:
            break
        # the barrier is self-concordant: this step stays inside and cannot overshoot
        step = 1.0 if decrement < 0.25 else 1 / (1 + np.sqrt(decrement))
        while step > 1e-12:
            moved = point + step * direction
            if (moved > 0).all() and (moved < 1).all() and value(moved) >= value(point) - 1e-12 * abs(value(point)):
                point = moved
                break
            step /= 2
        else:
            break
    return point
