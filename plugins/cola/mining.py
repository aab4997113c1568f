"""Which snippets CoLA contrasts: easy ones by actionness, hard ones in rings around the edges of its runs.

Nothing here has a gradient. Wherever scores are equal (outside of a ring all are 0) the earliest snippet comes first;
the authors' sort leaves that order open.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import masked_max, packing_of, top_snippets, topk_count
from wtal_bench.options import at_least

EASY = ("easy_action", "easy_background")
HARD = ("hard_action", "hard_background")


class Mining(nn.Module, Head):
    """Marks four sets of snippets [B,T] bool: `easy_action`, `easy_background`, `hard_action`, `hard_background`.

    - easy action (EA): the T // easy_divisor largest of a q; easy background (EB): those of (max_t a - a) q. q is one
      dropout mask of a row of ones for both, so a dropped snippet scores 0 and is not left out.
    - hard action (HA): the T // hard_divisor largest of a on the inner ring of the runs a > median_t(a), hard
      background (HB): those on the outer ring (see `rings`). A ring with too few snippets is filled with the earliest
      ones outside of it, whose score is 0.

    A video shorter than a divisor gives one snippet.

    Args:
        easy_divisor, hard_divisor: published 5 and 20 (ActivityNet 1.2: 10 and 8).
        inner_width, outer_width: of the two structuring elements, m = 3 and M = 6; the even M makes rings that lie one
            snippet off centre, 7 centres them.
        dropout: p of q, training only.
    """

    requires = ("actionness",)
    provides = (*EASY, *HARD)

    def __init__(
        self,
        easy_divisor: int = 5,
        hard_divisor: int = 20,
        inner_width: int = 3,
        outer_width: int = 6,
        dropout: float = 0.6,
    ) -> None:
        super().__init__()
        self.easy_divisor = at_least("easy_divisor", easy_divisor, 1, whole=True)
        self.hard_divisor = at_least("hard_divisor", hard_divisor, 1, whole=True)
        self.inner_width = at_least("inner_width", inner_width, 1, whole=True)
        self.outer_width = at_least("outer_width", outer_width, 1, whole=True)
        if outer_width <= inner_width:
            raise ConfigError(
                f"outer_width={outer_width} must be larger than inner_width={inner_width}: the rings lie between the "
                "two, and would be empty."
            )
        self.dropout = nn.Dropout(dropout)

    @torch.no_grad()
    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """a [B,T] -> four [B,T] bool masks."""
        actionness, mask = outputs["actionness"], batch.mask
        scores = self.scores(actionness, mask, self.dropout(torch.ones_like(actionness)))
        easy, hard = topk_count(mask, divisor=self.easy_divisor), topk_count(mask, divisor=self.hard_divisor)
        return {name: top_snippets(x, mask, easy if name in EASY else hard) for name, x in scores.items()}

    def scores(self, actionness: Tensor, mask: Tensor, kept: Tensor) -> dict[str, Tensor]:
        """What each set takes the largest of: name -> [B,T].

        Args:
            actionness: a [B,T].
            mask: [B,T].
            kept: q [B,T].
        """
        inner, outer = rings(actionness, mask, self.inner_width, self.outer_width)
        absence = masked_max(actionness, mask).unsqueeze(1) - actionness
        ranked = (actionness * kept, absence * kept, actionness * inner, actionness * outer)
        return dict(zip(self.provides, ranked, strict=True))


def rings(actionness: Tensor, mask: Tensor, inner_width: int, outer_width: int) -> tuple[Tensor, Tensor]:
    """Snippets just inside and just outside the runs of a > median: two [B,T] bool.

    Inner ring: in the erosion by `inner_width`, not in that by `outer_width`. Outer ring: in the dilation by
    `outer_width`, not in that by `inner_width`. Beyond a video's ends nothing is above the median.
    """
    above = (actionness > masked_median(actionness, mask).unsqueeze(1)) & mask
    inner = eroded(above, inner_width) & ~eroded(above, outer_width)
    outer = dilated(above, outer_width) & ~dilated(above, inner_width)
    return inner, outer & mask


def masked_median(x: Tensor, mask: Tensor) -> Tensor:
    """NumPy's median of the real snippets of `x` [B,T]: [B]; of an even number the mean of the two in the middle."""
    ordered = x.masked_fill(~mask, float("inf")).sort(dim=1).values
    length = packing_of(mask).counts.unsqueeze(1)
    middle = torch.cat([(length - 1) // 2, length // 2], dim=1)
    return ordered.gather(1, middle).mean(dim=1)


def eroded(above: Tensor, width: int) -> Tensor:
    """Binary erosion along time of [B,T] bool: all of t - w // 2 .. t + (w - 1) // 2 are set, outside counts as not."""
    return _windows(above, width // 2, (width - 1) // 2) == width


def dilated(above: Tensor, width: int) -> Tensor:
    """Binary dilation along time of [B,T] bool: any of t - (w - 1) // 2 .. t + w // 2 is set (the mirror image)."""
    return _windows(above, (width - 1) // 2, width // 2) > 0


def _windows(above: Tensor, before: int, after: int) -> Tensor:
    """[B,T] how many of t - before .. t + after are set."""
    length = above.shape[1]
    total = F.pad(above.long().cumsum(dim=1), (1, 0))
    place = torch.arange(length, device=above.device)
    return total[:, (place + after + 1).clamp(max=length)] - total[:, (place - before).clamp(min=0)]
