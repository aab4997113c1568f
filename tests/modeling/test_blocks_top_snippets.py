"""The highest snippets of a video, ties and padding included."""

import pytest
import torch

from wtal_bench.modeling.blocks import full_precision, top_snippets


def plain(column, length, count):
    """A stable descending sort of one column, its first `count` entries marked."""
    order = sorted(range(length), key=lambda t: -column[t])
    return [t in order[:count] for t in range(len(column))]


@pytest.mark.parametrize("columns", [(), (3,), (2, 3)])
def test_equals_the_first_of_a_stable_sort_on_every_column(columns):
    generator = torch.Generator().manual_seed(0)
    lengths, counts = [9, 4, 1, 6, 6], [3, 4, 1, 0, 5]
    x = torch.randint(-2, 2, (5, 9, *columns), generator=generator).double()  # four values: ties everywhere
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    chosen = top_snippets(x, mask, torch.tensor(counts))
    assert chosen.shape == x.shape
    for video, (length, count) in enumerate(zip(lengths, counts)):
        flat, found = x[video].reshape(9, -1), chosen[video].reshape(9, -1)
        for column in range(flat.shape[1]):
            assert found[:, column].tolist() == plain(flat[:, column].tolist(), length, count)


def test_padding_is_never_chosen_however_high_it_is():
    x = torch.tensor([[1.0, 2.0, 9.0]])
    chosen = top_snippets(x, torch.tensor([[True, True, False]]), torch.tensor([2]))
    assert chosen.tolist() == [[True, True, False]]


def test_nothing_asked_for_is_nothing_chosen():
    assert not top_snippets(torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool), torch.tensor([0, 0])).any()


def test_full_precision_lifts_half_precision_alone():
    for half in (torch.bfloat16, torch.float16):
        assert full_precision(torch.ones(1, dtype=half)).dtype == torch.float32
    assert full_precision(torch.ones(1, dtype=torch.float64)).dtype == torch.float64
