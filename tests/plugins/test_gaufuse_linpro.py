"""GauFuse's linear programs beside the golden numbers: against the full-size program, bad input, and company."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from wtal_bench.errors import ConfigError, DataError
from wtal_plugins.gaufuse.linpro import EMPTY, INFEASIBLE, SELECTIONS, SOLVED, LinPro, Problem
from wtal_plugins.gaufuse.snippet_classes import last_bit, snippet_classes


def problem(snippets: int, *instances: tuple[float, float, float]) -> Problem:
    return Problem(snippets, *np.array(instances, dtype=float).reshape(-1, 3).T)


def weights_of(case: Problem) -> np.ndarray:
    """W [n,T], written snippet by snippet as the authors do."""
    W = np.zeros((len(case), case.snippets))
    for row, start, end in zip(W, case.start, case.end):
        start, end = int(start), int(end)
        reach = 0.0785 * (end - start) ** 0.9
        row[start:end] = 1
        row[max(0, int(start - reach)) : start] = -1
        row[end : min(case.snippets - 1, int(end + reach + 1))] = -1
    return W


def random_problem(rng: np.random.Generator) -> Problem:
    snippets = int(rng.integers(1, 120))
    count = int(rng.integers(1, 12))
    start = rng.uniform(0, snippets - 1, count)
    end = np.minimum(start + rng.uniform(1, 30, count), snippets + 1)
    W = weights_of(Problem(snippets, start, end, start))
    return Problem(snippets, start, end, W @ rng.random(snippets))  # consistent by construction


@pytest.mark.parametrize("selection", SELECTIONS)
def test_labels_are_optima_of_the_full_size_program(selection):
    rng = np.random.default_rng(0)
    cases = [random_problem(rng) for _ in range(40)]
    for case, found in zip(cases, LinPro(selection, snap=False)(cases)):
        W = weights_of(case)
        full = linprog(np.ones(case.snippets), A_eq=W, b_eq=case.confidence, bounds=(0, 1), method="highs")
        assert found.status == SOLVED
        assert full.status == 0
        np.testing.assert_allclose(found.objective, full.fun, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(W @ found.label, case.confidence, rtol=0, atol=1e-6)
        assert found.label.min() >= 0
        assert found.label.max() <= 1
        # equivalent snippets get one value
        for column in np.unique(W, axis=1).T:
            assert np.ptp(found.label[(column == W.T).all(axis=1)]) == 0


def test_classes_of_snippets_hold_the_columns_of_w():
    rng = np.random.default_rng(1)
    for _ in range(40):
        case = random_problem(rng)
        classes = snippet_classes(case, snap=False)
        spread = np.stack([classes.spread(row) for row in classes.columns.astype(float)])
        np.testing.assert_array_equal(spread, weights_of(case))
        assert classes.sizes.sum() == (classes.of_snippet < len(classes.sizes)).sum()


def test_the_answer_does_not_depend_on_the_company():
    rng = np.random.default_rng(2)
    cases = [random_problem(rng) for _ in range(30)]
    together = LinPro()(cases)
    for case, found in zip(cases, together):
        (alone,) = LinPro()([case])
        np.testing.assert_array_equal(alone.label, found.label)
    for found, again in zip(together, LinPro(workers=2)(cases)):
        np.testing.assert_array_equal(found.label, again.label)


def test_an_isolated_instance_spreads_its_confidence_evenly():
    (found,) = LinPro()([problem(30, (5, 12, 0.7))])
    np.testing.assert_allclose(found.label[5:12], 0.1, atol=1e-8)
    np.testing.assert_allclose(np.delete(found.label, range(5, 12)), 0.0, atol=1e-8)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize(
    ("case", "status"),
    [
        (problem(30), EMPTY),
        (problem(1, (0, 1, 0.4)), SOLVED),
        (problem(1, (0, 2, 0.4)), SOLVED),  # the stored end is one past a one-snippet video
        (problem(20, (3, 9, 0.5), (3, 9, 0.5)), SOLVED),  # duplicates that agree
        (problem(20, (3, 9, 0.5), (3, 9, 0.4)), INFEASIBLE),  # and that do not
        (problem(20, (4, 4, 0.3)), INFEASIBLE),  # no snippet inside
        (problem(20, (4.2, 4.9, 0.3)), INFEASIBLE),  # none left after truncation
        (problem(20, (4, 6, 2.5)), INFEASIBLE),  # more than its snippets can hold
        (problem(20, (0, 20, -0.2)), INFEASIBLE),  # negative without outside
        (problem(20, (0, 20, 0.0)), SOLVED),
        (problem(40, (10, 30, -0.2)), SOLVED),  # negative with outside
    ],
)
def test_odd_instances(selection, case, status):
    (found,) = LinPro(selection)([case])
    assert found.status == status
    assert found.label.shape == (case.snippets,)
    assert np.isfinite(found.label).all()
    if status == SOLVED:
        np.testing.assert_allclose(weights_of(case) @ found.label, case.confidence, rtol=0, atol=1e-7)
    else:
        assert not found.label.any()
        assert np.isnan(found.objective) == (status == INFEASIBLE)


def test_infeasible_programs_can_be_refused_by_number():
    cases = [problem(20, (3, 9, 0.5)), problem(20, (4, 4, 0.3))]
    with pytest.raises(DataError, match=r"linear program 1 .*no solution"):
        LinPro(on_infeasible="raise")(cases)


@pytest.mark.parametrize(
    ("end", "found"),
    [(5.0, (True, False)), (np.nextafter(5.0, 0), (True, True)), (np.nextafter(5.0, 9), (True, False)),
     (4.7, (False, False)), (5 - 2e-6, (False, False))],
)  # fmt: skip
def test_a_time_that_the_last_bit_cuts_is_told_from_one_that_loses_a_snippet(end, found):
    assert last_bit(problem(20, (1.5, end, 0.3))) == found


def test_snapping_undoes_rounding_an_ulp_below_a_whole_snippet():
    below = np.nextafter(5.0, 0)
    whole, rounded = problem(30, (5, 12, 0.7)), problem(30, (below, np.nextafter(12.0, 0), 0.7))
    snapped, plain, literal = LinPro()([rounded])[0], LinPro()([whole])[0], LinPro(snap=False)([rounded])[0]
    np.testing.assert_array_equal(snapped.label, plain.label)
    assert np.abs(literal.label - plain.label).max() > 0.05
    np.testing.assert_array_equal(LinPro()([problem(30, (5.4, 12.6, 0.7))])[0].label, plain.label)


@pytest.mark.parametrize(
    ("case", "text"),
    [
        (problem(20, (3, 9, 0.5), (3, np.nan, 0.5)), "linear program 0 .*instance 1 is .*nan"),
        (problem(20, (9, 3, 0.5)), "start <= end"),
        (problem(0, (0, 1, 0.5)), "no snippets|instance"),
    ],
)
def test_broken_instances_are_named(case, text):
    with pytest.raises(DataError, match=text):
        LinPro()([case])


def test_misspelt_selections_are_refused_with_the_right_one():
    with pytest.raises(ConfigError, match="Did you mean 'interior_point'"):
        LinPro("interiour_point")
    with pytest.raises(ConfigError, match="workers=-1 must be an integer"):
        LinPro(workers=-1)
