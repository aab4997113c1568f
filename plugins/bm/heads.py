"""BM's heads: a video's foreground and background as the attention pools them, and what is told from either."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import attention_pool, packing_of, per_snippet, zero_padding
from wtal_bench.options import at_least, choose


class Classifier(nn.Module, Head):
    """One linear classifier (W, b) of C+1 classes, background last, for pooled features and for snippets.

    With l the attention, sums over a video's own T snippets and E_t the embedding:

    - `foreground_feature` x_fg = sum l E / (sum l + fg_eps), `background_feature` x_bg = sum (1 - l) E / (sum (1 - l) +
      bg_eps), [B,E]; with pool="mean" both are divided by T;
    - `video_logits`, `background_logits` [B,C+1]: W x + b of the two;
    - `test_logits` [B,C+1]: of sum l E / (sum l + test_eps), whatever `pool` says;
    - `cas` [B,T,C+1] = E W^T, without b; `class_weights` [C+1,E] W, `class_bias` [C+1] b.

    Args:
        channels, num_classes: E and C.
        pool: "norm" or "mean".
        fg_eps, bg_eps, test_eps: of the divisors; an fg_eps of 1 keeps an almost closed attention from being blown up.
    """

    requires = ("embedding", "attention")
    video_level = ("foreground_feature", "background_feature", "video_logits", "background_logits", "test_logits")
    shared = ("class_weights", "class_bias")
    provides = (*video_level, "cas", *shared)

    def __init__(
        self,
        channels: int,
        num_classes: int,
        pool: str = "norm",
        fg_eps: float = 1.0,
        bg_eps: float = 1e-6,
        test_eps: float = 0.0,
    ) -> None:
        super().__init__()
        self.pool = choose("pool", pool, ("norm", "mean"))
        self.fg_eps, self.bg_eps = at_least("fg_eps", fg_eps, 0), at_least("bg_eps", bg_eps, 0)
        self.test_eps = at_least("test_eps", test_eps, 0)
        self.cls = nn.Linear(channels, num_classes + 1)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E], [B,T] -> fields."""
        x, attention, mask = outputs["embedding"], outputs["attention"], batch.mask
        # both sums in one product over the snippets
        weights = zero_padding(torch.stack([attention, 1 - attention], dim=2), mask)
        foreground, background = attention_pool(x, weights, mask).unbind(dim=1)
        on, off = weights.sum(dim=1).unsqueeze(2).unbind(dim=1)
        length = packing_of(mask).counts.unsqueeze(1)
        norm = self.pool == "norm"
        x_fg = foreground / (_positive(on + self.fg_eps) if norm else length)
        x_bg = background / (_positive(off + self.bg_eps) if norm else length)
        made = (x_fg, x_bg, self.cls(x_fg), self.cls(x_bg), self.cls(foreground / _positive(on + self.test_eps)))
        cas = per_snippet(lambda rows: F.linear(rows, self.cls.weight), x, mask)
        return dict(zip(self.provides, (*made, cas, self.cls.weight, self.cls.bias), strict=True))


class Clusters(nn.Module, Head):
    """Two linear functions u_fg, u_bg: how much more like its own cluster than like the other each feature is.

    `foreground_gap` [B] = u_fg(x_fg) - u_bg(x_fg), `background_gap` [B] = u_bg(x_bg) - u_fg(x_bg).

    Args:
        channels: E.
    """

    requires = ("foreground_feature", "background_feature")
    provides = ("foreground_gap", "background_gap")
    video_level = provides

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fg, self.bg = nn.Linear(channels, 1), nn.Linear(channels, 1)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,E] twice -> fields."""
        x_fg, x_bg = (outputs[name] for name in self.requires)
        gaps = self.fg(x_fg) - self.bg(x_fg), self.bg(x_bg) - self.fg(x_bg)
        return {name: gap.squeeze(1) for name, gap in zip(self.provides, gaps, strict=True)}


def _positive(divisor: Tensor) -> Tensor:
    """The divisor, or 1 where the attention is closed (or open) to the last bit and the sum above it is 0 as well."""
    return torch.where(divisor > 0, divisor, torch.ones_like(divisor))
