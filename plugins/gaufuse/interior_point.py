"""SciPy's former interior-point method, run on the classes of snippets, many programs at a time.

The authors' labels come from `scipy.optimize.linprog` with the default method of SciPy 1.8: a homogeneous self-dual
interior-point method with Mehrotra's predictor and corrector, removed in SciPy 1.11. Most of their linear programs
have no unique optimum, so a label is defined by the method. Its iterates stay equal on equivalent snippets; they can
therefore be run on K classes weighted by their sizes n_k, with the same iterates and hundreds of times fewer variables.

min sum n_k h_k subject to U (n h) = q, 0 <= h <= 1. State: h, its slack s, their duals z_h, z_s, the duals y_k of
h + s = 1 and y of the rows, tau, kappa. All sums over classes are weighted by n_k.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

TOLERANCE = 1e-8
STEP = 0.99995
LIMIT = 1000
SOLVED, INFEASIBLE, FAILED = 0, 2, 4


@dataclass
class _Programs:
    """B programs of padded size: U [B,n,K], n_k [B,K] (0 under padding), q [B,n] (padded rows are all 0)."""

    U: np.ndarray
    sizes: np.ndarray
    q: np.ndarray
    count: np.ndarray  # [B] real rows

    def rows(self, x: np.ndarray) -> np.ndarray:
        """U (n x): [B,K] -> [B,n]."""
        return (self.U @ (self.sizes * x)[..., None])[..., 0]

    def columns(self, y: np.ndarray) -> np.ndarray:
        """U^T y: [B,n] -> [B,K]."""
        return (y[:, None, :] @ self.U)[:, 0, :]

    def sum(self, x: np.ndarray) -> np.ndarray:
        """n . x: [B,K] -> [B]."""
        return (self.sizes * x).sum(axis=1)

    def norm(self, classes: tuple[np.ndarray, ...], rows: np.ndarray | None = None) -> np.ndarray:
        """2-norm of class vectors (weighted) and a row vector together: [B]."""
        square = sum(self.sum(x * x) for x in classes)
        return np.sqrt(square if rows is None else square + (rows * rows).sum(axis=1))

    def take(self, index: np.ndarray) -> _Programs:
        return _Programs(*(getattr(self, f.name)[index] for f in fields(self)))


@dataclass
class _State:
    """The iterate, or a direction: h, s, z_h, z_s, y_k [B,K], y [B,n], tau, kappa [B]."""

    h: np.ndarray
    s: np.ndarray
    zh: np.ndarray
    zs: np.ndarray
    yk: np.ndarray
    y: np.ndarray
    tau: np.ndarray
    kappa: np.ndarray

    def take(self, index: np.ndarray) -> _State:
        return _State(*(getattr(self, f.name)[index] for f in fields(self)))

    def moved(self, direction: _State, step: np.ndarray) -> _State:
        return _State(
            *(
                getattr(self, f.name) + _wide(step, getattr(direction, f.name)) * getattr(direction, f.name)
                for f in fields(self)
            )
        )


@dataclass
class _Residuals:
    """How far the iterate is from a solution; see the module's text."""

    p1: np.ndarray
    p2: np.ndarray
    d1: np.ndarray
    d2: np.ndarray
    gap: np.ndarray
    mu: np.ndarray

    def take(self, index: np.ndarray) -> _Residuals:
        return _Residuals(*(getattr(self, f.name)[index] for f in fields(self)))


def solve_programs(U: np.ndarray, sizes: np.ndarray, q: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve B programs at once.

    Args:
        U: [B,n,K] with independent rows; padded rows and columns are 0.
        sizes: [B,K] n_k, 0 under padding.
        q: [B,n].
        count: [B] real rows of each, the first ones.

    Returns:
        [B,K] h (0 unless solved), [B] status: 0 solved, 2 infeasible, 4 no answer within 1000 iterations.
    """
    programs = _Programs(U.astype(np.float64), sizes.astype(np.float64), q.astype(np.float64), count)
    answer, status = np.zeros_like(programs.sizes), np.full(len(q), FAILED)
    active = np.arange(len(q))
    one, zero = np.ones_like(programs.sizes), np.zeros_like(programs.sizes)
    state = _State(one, one, one, one, zero, np.zeros_like(programs.q), np.ones(len(q)), np.ones(len(q)))
    residuals = start = _residuals(programs, state)
    for _ in range(LIMIT):
        solved, infeasible = _verdict(programs, state, residuals, start)
        status[active[infeasible]] = INFEASIBLE
        status[active[solved]] = SOLVED
        answer[active[solved]] = (state.h / state.tau[:, None])[solved]
        if solved.any() or infeasible.any():
            left = np.flatnonzero(~(solved | infeasible))
            active, programs, state = active[left], programs.take(left), state.take(left)
            residuals, start = residuals.take(left), start.take(left)
        if not len(active):
            break
        state = _step(programs, state, residuals)
        residuals = _residuals(programs, state)
    return answer, status


def _residuals(p: _Programs, x: _State) -> _Residuals:
    tau = x.tau[:, None]
    return _Residuals(
        p1=tau - x.h - x.s,
        p2=p.q * tau - p.rows(x.h),
        d1=tau - x.yk - p.columns(x.y) - x.zh,
        d2=-x.yk - x.zs,
        gap=p.sum(x.h) - p.sum(x.yk) - (p.q * x.y).sum(axis=1) + x.kappa,
        mu=(p.sum(x.h * x.zh + x.s * x.zs) + x.tau * x.kappa) / (2 * p.sizes.sum(axis=1) + 1),
    )


def _verdict(p: _Programs, x: _State, r: _Residuals, r0: _Residuals) -> tuple[np.ndarray, np.ndarray]:
    """[B] bool solved, [B] bool infeasible (a program in a box cannot be unbounded)."""
    primal = p.norm((r.p1,), r.p2) / np.maximum(1, p.norm((r0.p1,), r0.p2))
    dual = p.norm((r.d1, r.d2)) / np.maximum(1, p.norm((r0.d1, r0.d2)))
    gap = np.abs(r.gap) / np.maximum(1, np.abs(r0.gap))
    bound = p.sum(x.yk) + (p.q * x.y).sum(axis=1)
    value = np.abs(p.sum(x.h) - bound) / (x.tau + np.abs(bound))
    solved = (primal <= TOLERANCE) & (dual <= TOLERANCE) & (value <= TOLERANCE)
    ray = (primal < TOLERANCE) & (dual < TOLERANCE) & (gap < TOLERANCE)
    ray &= x.tau < TOLERANCE * np.maximum(1, x.kappa)
    ray |= (r.mu < TOLERANCE * r0.mu) & (x.tau < TOLERANCE * np.minimum(1, x.kappa))
    return solved & ~ray, ray


def _step(p: _Programs, x: _State, r: _Residuals) -> _State:
    """One predictor-corrector step."""
    dh, ds = x.h / x.zh, x.s / x.zs
    both = dh + ds
    normal = _Normal((p.U * (p.sizes * dh * ds / both)[:, None, :]) @ p.U.transpose(0, 2, 1), p.count)

    def solve(rh: np.ndarray, rs: np.ndarray, r1: np.ndarray, r2: np.ndarray) -> tuple[np.ndarray, ...]:
        """(u_h, u_s, v_k, v) of one right side."""
        a1 = r1 + dh * rh + ds * rs
        a2 = r2 + p.rows(dh * rh)
        v = normal.solve(a2 - p.rows(dh * a1 / both))
        turned = p.columns(v)
        vk = (a1 - dh * turned) / both
        return dh * (vk + turned - rh), ds * (vk - rs), vk, v

    # padded classes stand still: no step length looks at them, and what they ran into would spoil the sums
    live = p.sizes > 0
    one, zero = np.ones_like(x.h), np.zeros_like(x.h)
    ph, ps, pk, pv = solve(one, zero, one, p.q)
    below = x.kappa / x.tau - p.sum(ph) + p.sum(pk) + (p.q * pv).sum(axis=1)

    def direction(gamma: np.ndarray, previous: _State | None) -> _State:
        target = gamma * r.mu
        xh, xs = (target[:, None] - a * b for a, b in ((x.h, x.zh), (x.s, x.zs)))
        k = target - x.tau * x.kappa
        if previous is not None:
            xh, xs = xh - previous.h * previous.zh, xs - previous.s * previous.zs
            k = k - previous.tau * previous.kappa
        eta = (1 - gamma)[:, None]
        uh, us, vk, v = solve(eta * r.d1 - xh / x.h, eta * r.d2 - xs / x.s, eta * r.p1, eta * r.p2)
        dtau = (1 - gamma) * r.gap + k / x.tau + p.sum(uh) - p.sum(vk) - (p.q * v).sum(axis=1)
        dtau = dtau / below
        wide = dtau[:, None]
        h, s = live * (uh + ph * wide), live * (us + ps * wide)
        zh, zs = live * (xh - x.zh * h) / x.h, live * (xs - x.zs * s) / x.s
        yk, y = live * (vk + pk * wide), v + pv * wide
        return _State(h, s, zh, zs, yk, y, dtau, (k - x.kappa * dtau) / x.tau)

    predictor = direction(np.zeros_like(x.tau), None)
    alpha = _reach(x, predictor, 1.0)
    corrector = direction((1 - alpha) ** 2 * np.minimum(0.1, 1 - alpha), predictor)
    return x.moved(corrector, _reach(x, corrector, STEP))


class _Normal:
    """The normal equations M v = b of B programs, M = U diag U^T, factorised one by one (LAPACK, Cholesky)."""

    def __init__(self, matrices: np.ndarray, rows: np.ndarray) -> None:
        self.rows = rows
        self.factors = [_factor(matrix[:n, :n]) for matrix, n in zip(matrices, rows)]

    def solve(self, b: np.ndarray) -> np.ndarray:
        """[B,n] -> [B,n], padded rows 0."""
        v = np.zeros_like(b)
        for at, ((factor, exact), n) in enumerate(zip(self.factors, self.rows)):
            v[at, :n] = dpotrs(factor, b[at, :n], lower=1)[0] if exact else factor @ b[at, :n]
        return v


def _factor(matrix: np.ndarray) -> tuple[np.ndarray, bool]:
    """(Cholesky factor, True), or (inverse, False) of a matrix that rounding made indefinite in the last steps."""
    factor, failed = dpotrf(matrix, lower=1, clean=0)
    if not failed:
        return factor, True
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, values[-1] * np.finfo(np.float64).eps * len(values))
    return (vectors / values) @ vectors.T, False


def _reach(x: _State, d: _State, share: float) -> np.ndarray:
    """Longest step, at most 1, that stays `share` of the way inside the positive orthant: [B]."""
    step = np.full(len(x.tau), np.inf)
    for name in ("h", "s", "zh", "zs", "tau", "kappa"):
        now, change = (getattr(state, name).reshape(len(step), -1) for state in (x, d))
        ratio = np.divide(now, -change, out=np.full_like(now, np.inf), where=change < 0)
        step = np.minimum(step, ratio.min(axis=1))
    return np.minimum(1.0, share * step)


def _wide(step: np.ndarray, like: np.ndarray) -> np.ndarray:
    return step if like.ndim == 1 else step[:, None]
