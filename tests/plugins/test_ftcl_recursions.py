"""The recursions against plain loops over cells, with every pair's own lengths; their gradients; mined cells."""

from __future__ import annotations

import pytest
import torch

from wtal_plugins.ftcl.recursions import align, common_length, dtw_similarity, edit_similarity, matched_cells
from wtal_plugins.ftcl.sequences import cosine_matrix
from wtal_plugins.ftcl.wavefront import inside, skew, unskew

ROWS, COLUMNS = torch.tensor([6, 3, 1, 0, 6, 5]), torch.tensor([4, 4, 1, 3, 1, 2])


def smooth(kind, gamma, values):
    values = torch.stack(values)
    if kind == "hard":
        return values.amax(dim=0)
    total = torch.logsumexp(gamma * values, dim=0)
    return total / gamma if kind == "scaled" else total


def edit_loop(gain, step, rows, columns, kind, gamma, border=0.0):
    """S(M,N) of one pair, cell by cell."""
    rows, columns = int(rows), int(columns)
    corner = gain.new_zeros(())
    table = {(0, 0): corner}
    table |= {(i, 0): corner + border for i in range(1, rows + 1)}
    table |= {(0, j): corner + border for j in range(1, columns + 1)}
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            residual = step[i - 1, j - 1]
            ways = [table[i - 1, j - 1], residual + table[i - 1, j], residual + table[i, j - 1]]
            table[i, j] = gain[i - 1, j - 1] + smooth(kind, gamma, ways)
    return table[rows, columns]


def common_loop(similarity, match, rows, columns):
    """R(M,N) and the matched cells of one pair, cell by cell."""
    rows, columns = int(rows), int(columns)
    table = {(i, 0): 0.0 for i in range(rows + 1)} | {(0, j): 0.0 for j in range(columns + 1)}
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            if match[i - 1, j - 1]:
                table[i, j] = table[i - 1, j - 1] + similarity[i - 1, j - 1].item()
            else:
                table[i, j] = max(table[i - 1, j], table[i, j - 1])
    i, j, cells = rows, columns, []
    while i and j:
        if match[i - 1, j - 1]:
            i, j = i - 1, j - 1
            cells.append([i, j])
        elif table[i, j - 1] > table[i - 1, j]:
            j -= 1
        else:
            i -= 1
    return table[rows, columns], cells[::-1]


def random_pairs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(6, 6, 4, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))


@pytest.mark.parametrize(("kind", "gamma"), [("scaled", 10.0), ("scaled", 1.0), ("printed", 2.0), ("hard", 1.0)])
def test_edit_similarity_equals_the_loop_over_cells(kind, gamma):
    mu, g = random_pairs()
    weight = torch.linspace(-1, 1, 6, dtype=torch.float64)
    ours = edit_similarity(mu, g, ROWS, COLUMNS, kind, gamma)
    plain = torch.stack([edit_loop(mu[p], g[p], ROWS[p], COLUMNS[p], kind, gamma) for p in range(6)])
    torch.testing.assert_close(ours, plain, rtol=1e-13, atol=1e-13)
    found = torch.autograd.grad((ours * weight).sum(), (mu, g))
    for mine, theirs in zip(found, torch.autograd.grad((plain * weight).sum(), (mu, g))):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_dtw_equals_the_loop_over_cells():
    cosine, _ = random_pairs()
    keep = [0, 1, 2, 4, 5]  # both sides hold snippets
    ours = dtw_similarity(cosine[keep], ROWS[keep], COLUMNS[keep])
    zero = torch.zeros(6, 4, dtype=torch.float64)
    plain = [edit_loop(cosine[p] - 1, zero, ROWS[p], COLUMNS[p], "scaled", 10.0, float("-inf")) for p in keep]
    torch.testing.assert_close(ours, torch.stack(plain), rtol=1e-13, atol=1e-13)
    (mine,) = torch.autograd.grad(ours.sum(), cosine)
    (theirs,) = torch.autograd.grad(torch.stack(plain).sum(), cosine)
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_dtw_of_a_sequence_and_a_slower_copy_is_free():
    x = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3]].unsqueeze(0)
    slow = x[:, [0, 0, 1, 2, 2, 2, 3]]
    sizes = torch.tensor([4]), torch.tensor([7])
    assert dtw_similarity(cosine_matrix(x, slow), *sizes, "hard").item() == pytest.approx(0.0, abs=1e-12)
    assert dtw_similarity(cosine_matrix(x.flip(1), slow), *sizes, "hard").item() < -1


@pytest.mark.parametrize("settings", [("scaled", 10.0), ("printed", 2.0), ("hard", 1.0)])
def test_gradients_of_the_smooth_recursions_are_those_of_finite_differences(settings):
    mu, g = random_pairs(1)
    assert torch.autograd.gradcheck(lambda a, b: edit_similarity(a, b, ROWS, COLUMNS, *settings), (mu, g))
    assert torch.autograd.gradcheck(lambda a: dtw_similarity(a, ROWS.clamp(min=1), COLUMNS, *settings), (mu,))


def test_equal_maxima_share_the_gradient_of_the_hard_maximum():
    mu = torch.zeros(1, 1, 1, dtype=torch.float64, requires_grad=True)
    g = torch.zeros(1, 1, 1, dtype=torch.float64, requires_grad=True)
    edit_similarity(mu, g, torch.tensor([1]), torch.tensor([1]), "hard").sum().backward()
    assert (mu.grad.item(), g.grad.item()) == (1.0, pytest.approx(2 / 3))


@pytest.mark.parametrize("density", [0.0, 0.2, 0.6, 1.0])
def test_common_subsequence_equals_the_loop_over_cells(density):
    generator = torch.Generator().manual_seed(2)
    # few distinct values: equal neighbours everywhere
    similarity = torch.randint(1, 5, (6, 6, 4), generator=generator).double() / 4
    similarity.requires_grad_()
    match = torch.rand(6, 6, 4, generator=generator) < density
    weight = torch.linspace(1, 2, 6, dtype=torch.float64)
    ours = common_length(similarity, match, ROWS, COLUMNS)
    (ours * weight).sum().backward()
    cells = matched_cells(similarity, match, ROWS, COLUMNS)
    for p in range(6):
        length, path = common_loop(similarity[p], match[p], ROWS[p], COLUMNS[p])
        assert ours[p].item() == length
        assert cells[p].nonzero().tolist() == path
        assert torch.equal(similarity.grad[p], cells[p] * weight[p])


def test_a_match_ignores_larger_neighbours():
    similarity = torch.tensor([[[1.0, 0.1], [0.1, 0.1]]], dtype=torch.float64)
    match = torch.tensor([[[True, True], [False, False]]])
    size = torch.tensor([2])
    # R(1,1) = 1 but R(1,2) = R(0,1) + 0.1: the matrix is not monotone
    assert common_length(similarity, match, size - 1, size).item() == 0.1
    assert matched_cells(similarity, match, size, size)[0].nonzero().tolist() == [[0, 0]]


def test_the_whole_matrix_can_be_read():
    mu, g = random_pairs()
    s, table = align(mu, g, ROWS, COLUMNS)
    assert table.shape == (6, 7, 5)
    assert not table[:, 0].any()
    assert not table[:, :, 0].any()
    assert torch.equal(table[torch.arange(6), ROWS, COLUMNS], s.detach())


def test_skew_puts_anti_diagonals_on_the_first_axis_and_back():
    x = torch.arange(1, 2 * 3 * 5 + 1).reshape(2, 3, 5)
    skewed = skew(x)
    assert skewed.shape == (7, 2, 3)
    for d in range(7):
        for i in range(3):
            expected = x[1, i, d - i] if 0 <= d - i < 5 else 0
            assert skewed[d, 1, i] == expected
    assert torch.equal(unskew(skewed), x)
    assert torch.equal(inside(3, 5, x.device).expand(-1, 2, -1), skewed != 0)


def test_no_pair_gives_nothing():
    none = torch.zeros(0, 3, 3), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)
    assert edit_similarity(none[0], *none).shape == (0,)
    assert common_length(none[0], none[0] > 0, *none[1:]).shape == (0,)


def test_cosine_of_a_zero_row_is_zero_without_nan():
    u = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u[0, 1] = 0
    u.requires_grad_()
    v = torch.randn(2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    c = cosine_matrix(u, v)
    plain = torch.cosine_similarity(u.unsqueeze(2), v.unsqueeze(1), dim=-1)
    torch.testing.assert_close(c, plain, rtol=1e-13, atol=1e-13)
    assert not c[0, 1].any()
    c.sum().backward()
    assert not u.grad[0, 1].any()
    assert torch.isfinite(u.grad).all()
    assert torch.isfinite(v.grad).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_gives_the_numbers_of_the_cpu():
    mu, g = random_pairs()
    there = [x.detach().cuda().requires_grad_() for x in (mu, g)]
    sizes = ROWS.cuda(), COLUMNS.cuda()
    here, away = edit_similarity(mu, g, ROWS, COLUMNS), edit_similarity(*there, *sizes)
    torch.testing.assert_close(away.cpu(), here, rtol=1e-12, atol=1e-12)
    here.sum().backward()
    away.sum().backward()
    for mine, theirs in zip((mu, g), there):
        torch.testing.assert_close(theirs.grad.cpu(), mine.grad, rtol=1e-12, atol=1e-12)
    found = matched_cells(there[0], there[0] > 0.3, *sizes)
    assert torch.equal(found.cpu(), matched_cells(mu, mu > 0.3, ROWS, COLUMNS))
