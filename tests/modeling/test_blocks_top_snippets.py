"""The highest snippets of a video, ties and padding included."""

import pytest
import torch

from wtal_bench.modeling.blocks import at_most, full_precision, top_snippets, topk_count, topk_mean


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


def spread(lengths):
    """Masks of videos of these lengths, two snippets of padding beyond the longest."""
    return torch.arange(max(lengths) + 2) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("divisor", [2, 8, 1000])
def test_videos_of_one_length_are_pooled_and_marked_as_among_others(kind, divisor):
    """Bit by bit: a batch mate changes nothing."""
    x = torch.randn(3, 752, 2, generator=torch.Generator().manual_seed(0)).to(kind)
    x[0, ::3] = x[0, 1]  # ties
    alike, mixed = spread([750, 750]), spread([750, 750, 20])
    counts = [topk_count(mask, divisor=divisor) for mask in (alike, mixed)]
    assert torch.equal(counts[0], counts[1][:2])
    for pick in (topk_mean, top_snippets):
        assert torch.equal(pick(x[:2], alike, counts[0]), pick(x, mixed, counts[1])[:2]), pick.__name__


def test_a_count_that_was_changed_since_counts():
    x, mask = torch.arange(64.0).reshape(1, 64), spread([64])[:, :64]
    for change in (lambda count: count.clamp_(max=3), lambda count: count.fill_(3)):
        count = topk_count(mask, divisor=8)
        change(count)
        assert topk_mean(x, mask, count).item() == 62
        assert top_snippets(x, mask, count).sum() == 3
    loose = at_most(topk_count(mask, divisor=8), 20)
    assert topk_mean(x, mask, loose).item() == 59.5
    assert top_snippets(x, mask, loose).sum() == 8


def test_full_precision_lifts_half_precision_alone():
    for half in (torch.bfloat16, torch.float16):
        assert full_precision(torch.ones(1, dtype=half)).dtype == torch.float32
    assert full_precision(torch.ones(1, dtype=torch.float64)).dtype == torch.float64
