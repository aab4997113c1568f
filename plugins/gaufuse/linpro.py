"""LinPro: the snippet-wise labels that keep the confidences of a set of instances, by an exact small linear program.

For every class of every video (GauFuse Eq. 5-6; authors' code):

    minimise sum_t g_t   subject to   W g = q,   0 <= g <= 1

with W, q of `snippet_classes`. Constraints and cost see g only through its sums over classes of equivalent snippets, so
averaging g inside each class changes neither: the program in K class means h with weights n_k (the classes' sizes) has
the same optima, averaged. It is solved for h, and g is h spread over the snippets.

The optimum is often not unique, even averaged, so a rule selects one (`SELECTIONS`):

- `interior_point`: what the authors' solver returns (see `interior_point`), whatever SciPy is installed.
- `vertex_average`: the paper's letter: a vertex (scipy's HiGHS), averaged over equivalent snippets.
- `analytic_center`: the point of the optimal face that maximises sum_k n_k (log h_k + log(1 - h_k)): independent of
  the solver.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from scipy.linalg import qr, solve_triangular

from wtal_bench.errors import DataError
from wtal_bench.options import at_least, choose
from wtal_plugins.gaufuse import optimal_face
from wtal_plugins.gaufuse.interior_point import FAILED, INFEASIBLE, SOLVED, solve_programs
from wtal_plugins.gaufuse.snippet_classes import Problem, SnippetClasses, snippet_classes

__all__ = ["EMPTY", "FAILED", "INFEASIBLE", "SOLVED", "LinPro", "Problem", "Solution"]

EMPTY = -1
"""Status of a class without an instance; its label is 0."""
SELECTIONS = ("interior_point", "vertex_average", "analytic_center")
ON_INFEASIBLE = ("zero", "raise")
CONSISTENT = 1e-7
DEPENDENT = 1e-9
BLOCK = 2**22
"""Most entries of U that are iterated on at once."""


@dataclass(frozen=True)
class Solution:
    """The labels of one problem.

    Attributes:
        label: [T] g in 0..1; 0 where there is no instance or no solution.
        status: SOLVED, INFEASIBLE, FAILED or EMPTY.
        objective: sum of g; NaN without a solution.
    """

    label: np.ndarray
    status: int
    objective: float


@dataclass(frozen=True)
class LinPro:
    """The settings of the linear programs; call it on all problems of a pass at once.

    Attributes:
        selection: which optimum (see the module's text).
        snap: see `snippet_classes.areas`. False truncates positions literally.
        on_infeasible: "zero": the label of that class is 0 (the old solver's last iterate, which the authors' code
            uses in silence, may exceed 1); "raise".
        workers: processes that share the problems; 0 solves here.

    Raises:
        ConfigError: unknown switch.
    """

    selection: str = "interior_point"
    snap: bool = True
    on_infeasible: str = "zero"
    workers: int = 0

    def __post_init__(self) -> None:
        choose("linpro.selection", self.selection, SELECTIONS)
        choose("linpro.on_infeasible", self.on_infeasible, ON_INFEASIBLE)
        at_least("linpro.workers", self.workers, 0, whole=True)

    def __call__(self, problems: Sequence[Problem]) -> list[Solution]:
        """Solve every problem; the answer to one does not depend on the others.

        Raises:
            DataError: a position or confidence that is not finite, an end before its start, or, with
                on_infeasible="raise", a problem without a solution; the problem's number is named.
        """
        problems = list(problems)
        for number, problem in enumerate(problems):
            _check(problem, number)
        if self.workers and len(problems) > self.workers:
            # every worker gets large and small ones
            shares = [problems[i :: self.workers] for i in range(self.workers)]
            with ProcessPoolExecutor(self.workers, mp_context=get_context("spawn")) as pool:
                parts = list(pool.map(self._solve, shares))
            solutions = [parts[i % self.workers][i // self.workers] for i in range(len(problems))]
        else:
            solutions = self._solve(problems)
        if self.on_infeasible == "raise":
            for number, solution in enumerate(solutions):
                if solution.status in (INFEASIBLE, FAILED):
                    raise DataError(
                        f"linear program {number} ({len(problems[number])} instances, {problems[number].snippets} "
                        "snippets) has no solution. Usual reasons: an instance without a snippet, a negative "
                        "confidence without outside, equal instances of unequal confidence, or a confidence above the "
                        "number of snippets. on_infeasible='zero' leaves such a class unlabelled."
                    )
        return solutions

    def _solve(self, problems: list[Problem]) -> list[Solution]:
        classes = [snippet_classes(problem, self.snap) for problem in problems]
        reduced = [_independent(c.columns, c.sizes, p.confidence) for c, p in zip(classes, problems)]
        means = [np.zeros(len(c.sizes)) for c in classes]
        status = np.array([INFEASIBLE if rows is None else SOLVED for rows in reduced], dtype=np.int64)
        status[[i for i, problem in enumerate(problems) if not len(problem)]] = EMPTY
        todo = [i for i, rows in enumerate(reduced) if rows is not None and len(rows)]
        if self.selection == "interior_point":
            for block in _blocks(todo, [len(rows) if rows is not None else 0 for rows in reduced], classes):
                self._interior(block, problems, classes, reduced, means, status)
        else:
            for i in todo:
                columns, q = classes[i].columns[reduced[i]], problems[i].confidence[reduced[i]]
                found = optimal_face.vertex(columns, classes[i].sizes, q)
                status[i] = SOLVED if found is not None else INFEASIBLE
                if found is not None and self.selection == "analytic_center":
                    found = optimal_face.analytic_center(columns, classes[i].sizes, q, found)
                means[i] = means[i] if found is None else found
        return [
            Solution(c.spread(h), int(s), float(c.sizes @ h) if s in (SOLVED, EMPTY) else float("nan"))
            for c, h, s in zip(classes, means, status)
        ]

    @staticmethod
    def _interior(
        block: list[int],
        problems: list[Problem],
        classes: list[SnippetClasses],
        reduced: list[np.ndarray | None],
        means: list[np.ndarray],
        status: np.ndarray,
    ) -> None:
        """Solve programs of one padded size together."""
        rows, width = _padded_size(len(reduced[block[0]]), len(classes[block[0]].sizes))
        U, q = np.zeros((len(block), rows, width)), np.zeros((len(block), rows))
        sizes, count = np.zeros((len(block), width)), np.array([len(reduced[i]) for i in block])
        for at, i in enumerate(block):
            n, k = count[at], len(classes[i].sizes)
            U[at, :n, :k] = classes[i].columns[reduced[i]]
            q[at, :n], sizes[at, :k] = problems[i].confidence[reduced[i]], classes[i].sizes
        answers, found = solve_programs(U, sizes, q, count)
        for at, i in enumerate(block):
            means[i] = np.clip(answers[at, : len(classes[i].sizes)], 0.0, 1.0)
            status[i] = found[at]


def _check(problem: Problem, number: int) -> None:
    columns = np.stack([problem.start, problem.end, problem.confidence])
    bad = ~np.isfinite(columns).all(axis=0) | (columns[1] < columns[0])
    if problem.snippets < 1 or bad.any():
        row = int(np.flatnonzero(bad)[0]) if bad.any() else -1
        shown = f"instance {row} is {columns[:, row].tolist()}" if bad.any() else "there are no snippets"
        raise DataError(
            f"linear program {number} ({problem.snippets} snippets): {shown}; needed: at least one snippet and finite "
            "(start <= end, confidence). Look at the detections the labels are made from."
        )


def _independent(columns: np.ndarray, sizes: np.ndarray, q: np.ndarray) -> np.ndarray | None:
    """Indices of a largest set of independent rows of U; None if a dependent row contradicts them."""
    n = len(q)
    if not len(sizes) or not n:
        return np.arange(0) if not n or np.abs(q).max() <= CONSISTENT else None
    matrix = columns.astype(np.float64)
    factor, order = qr(matrix.T, mode="r", pivoting=True)
    diagonal = np.abs(np.diagonal(factor))
    rank = int((diagonal > DEPENDENT * diagonal[0]).sum())
    if rank == n:
        return np.arange(n)
    kept, rest = order[:rank], order[rank:]
    combined = solve_triangular(factor[:rank, :rank], factor[:rank, rank:])
    if np.abs(q[rest] - q[kept] @ combined).max() > CONSISTENT:
        return None
    return np.sort(kept)


def _padded_size(rows: int, classes: int) -> tuple[int, int]:
    """The size a program is solved at: a function of its own size alone, so that its mates change no bit of it."""
    steps = (1 << max(4, int(size).bit_length() - 3) for size in (rows, classes))
    return tuple(-(-size // step) * step for size, step in zip((rows, classes), steps))


def _blocks(todo: list[int], rows: list[int], classes: list[SnippetClasses]) -> list[list[int]]:
    """Programs of equal padded size together, at most `BLOCK` entries at a time."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for i in todo:
        by_size.setdefault(_padded_size(rows[i], len(classes[i].sizes)), []).append(i)
    blocks = []
    for (n, k), members in sorted(by_size.items()):
        most = max(1, BLOCK // (n * k))
        blocks += [members[at : at + most] for at in range(0, len(members), most)]
    return blocks
