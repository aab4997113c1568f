"""Packing: layers without a time axis run on real rows only, and nothing else changes."""

import pytest
import torch

from wtal_bench.modeling.blocks import pack, packing_of, per_snippet, unpack

MASK = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=torch.bool)


def padded(width=3):
    return torch.randn(*MASK.shape, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_pack_lists_the_real_rows_video_after_video():
    x = padded()
    rows = torch.cat([x[0, :2], x[1], x[2, :1]])
    assert torch.equal(pack(x, MASK), rows)
    assert torch.equal(pack(x[:, :, 1:], MASK), rows[:, 1:])  # the columns of one stream are a strided view


def test_unpack_puts_them_back_and_leaves_padding_zero():
    x = padded()
    back = unpack(pack(x, MASK), MASK)
    assert torch.equal(back[MASK], x[MASK])
    assert not back[~MASK].any()


def test_a_batch_without_padding_is_not_copied():
    x = padded()
    mask = torch.ones_like(MASK)
    assert pack(x, mask).data_ptr() == x.data_ptr()
    assert unpack(pack(x, mask), mask).data_ptr() == x.data_ptr()


def test_per_snippet_calls_the_layer_on_real_rows_and_keeps_its_gradient():
    x = padded().requires_grad_()
    seen = []
    out = per_snippet(lambda rows: seen.append(len(rows)) or rows**2, x, MASK)
    assert seen == [int(MASK.sum())]
    assert torch.equal(out, (x**2).masked_fill(~MASK.unsqueeze(-1), 0))
    out.sum().backward()
    assert torch.equal(x.grad, (2 * x).masked_fill(~MASK.unsqueeze(-1), 0))


@pytest.mark.parametrize("taps", [3, 5, 7])
@pytest.mark.parametrize("lengths", [(4, 4), (6, 1, 3), (1,), (2, 5)])
def test_windows_are_the_taps_around_every_real_row_and_know_which_lie_outside(taps, lengths):
    longest = max(lengths)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    index, outside = packing_of(mask).windows(taps)
    wanted, beyond = [], set()
    for video, length in enumerate(lengths):
        for row in range(length):
            for tap in range(row - taps // 2, row + taps // 2 + 1):
                if not 0 <= tap < length:
                    beyond.add(len(wanted))
                wanted.append(video * longest + tap)
    assert set(outside.tolist()) == beyond
    inside = [place for place in range(len(wanted)) if place not in beyond]
    assert [index[place].item() for place in inside] == [wanted[place] for place in inside]
