"""CoLA's classifier: a non-negative class activation sequence, and the actionness it sums up to.

What stands here is what the authors' code (zhang-can/CoLA, `core/model.py`, branches main and anet12) computes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import TemporalConv, zero_padding
from wtal_bench.options import at_least


class Classifier(nn.Module, Head):
    """`cas` A [B,T,C] = ReLU(conv(dropout(E))) >= 0, no bias and no background, and `actionness` a [B,T] = sum_c A_c.

    In training a is of the *dropped* E, as in the authors' code: mining ranks by it. With `taps=1` the rows of the
    classifier are given as `class_weights` [C,E]; a wider kernel has none.

    Args:
        channels, num_classes: E and C.
        dropout: on the elements of E, training only.
        taps: kernel of the convolution (THUMOS14 1, ActivityNet 1.2 9).
        smooth_taps, smooth_dilation: kernel and dilation of a depthwise convolution between the classifier and the
            ReLU; None = there is none (ActivityNet 1.2: 7 and 2).
    """

    requires = ("embedding",)
    shared = ("class_weights",)

    def __init__(
        self,
        channels: int,
        num_classes: int,
        dropout: float = 0.7,
        taps: int = 1,
        smooth_taps: int | None = None,
        smooth_dilation: int = 1,
    ) -> None:
        super().__init__()
        self.provides = ("cas", "actionness", "class_weights") if taps == 1 else ("cas", "actionness")
        self.dropout = nn.Dropout(dropout)
        self.cls = TemporalConv(channels, num_classes, taps, bias=False)
        self.smooth = None if smooth_taps is None else DepthwiseConv(num_classes, smooth_taps, smooth_dilation)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E] -> fields."""
        last = torch.relu_ if self.smooth is None else None
        cas = self.cls(self.dropout(outputs["embedding"]), batch.mask, then=last)
        if self.smooth is not None:
            cas = torch.relu(self.smooth(cas, batch.mask))
        made = {"cas": cas, "actionness": cas.sum(dim=-1)}
        if "class_weights" in self.provides:
            made["class_weights"] = self.cls.conv.weight.squeeze(-1)
        return made


class DepthwiseConv(nn.Module):
    """A convolution over time of every class by itself, without bias; zeros beyond a video's own ends. Keeps T.

    Args:
        channels: C.
        taps: odd kernel size.
        dilation: snippets between taps.
    """

    def __init__(self, channels: int, taps: int, dilation: int) -> None:
        super().__init__()
        at_least("smooth_taps", taps, 1, whole=True)
        at_least("smooth_dilation", dilation, 1, whole=True)
        if taps % 2 != 1:
            raise ValueError(f"smooth_taps must be odd to keep the length, got {taps}")
        reach = taps // 2 * dilation
        self.conv = nn.Conv1d(channels, channels, taps, padding=reach, dilation=dilation, groups=channels, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B,T,C] -> [B,T,C], padded rows zero."""
        conv = self.conv
        x = zero_padding(x, mask).transpose(1, 2)
        made = F.conv1d(x, conv.weight, padding=conv.padding, dilation=conv.dilation, groups=conv.groups)
        return zero_padding(made.transpose(1, 2), mask)
