"""Heads that several methods share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import (
    at_most,
    full_precision,
    masked_max,
    packing_of,
    per_snippet,
    topk_count,
    topk_mean,
    xavier,
    zero_padding,
)
from wtal_bench.options import at_least, choose

INITS = ("framework", "xavier")
ACTIONNESS = {"attention": "attention", "relu_sum": "cas", "softmax_max": "cas", "norm": "embedding"}
"""How actionness is derived -> the field it is derived from."""


class TopKMean(nn.Module, Head):
    """`video_logits` [B,K]: of every column of `cas` [B,T,K] the mean of its own k largest values over time.

    The pooling of multiple instance learning. k = T // divisor of a video's own T, and at least 1: a video shorter than
    the divisor gives its largest value. Map other fields with `reads` and `writes`.

    Args:
        divisor: of T; need not be whole. None: k = 1, the largest value alone.
        rounding: "floor" (T // divisor) or "ceil".
    """

    requires = ("cas",)
    provides = ("video_logits",)
    video_level = ("video_logits",)

    def __init__(self, divisor: float | None, rounding: str = "floor") -> None:
        super().__init__()
        self.divisor = None if divisor is None else at_least("divisor", divisor, 1)
        self.rounding = choose("rounding", rounding, ("floor", "ceil"))

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,K] -> fields."""
        return {"video_logits": topk_mean(outputs["cas"], batch.mask, self.count(batch.mask))}

    def count(self, mask: Tensor) -> Tensor:
        """k of every video: [B] int64."""
        if self.divisor is None:
            return at_most(torch.ones_like(packing_of(mask).counts), 1)
        if self.rounding == "floor":
            return topk_count(mask, divisor=self.divisor)
        packing = packing_of(mask)
        count = -(-packing.counts.double() // self.divisor).long()
        return at_most(count, int(-(-packing.longest // self.divisor)))


class SnippetClassifier(nn.Module, Head):
    """Linear classifier of every snippet: `cas` [B,T,K] = E W^T + b (zero under padding), and its rows `class_weights`.

    K = C, or C+1 with background last; W is `class_weights` [K,E]. A convolution of width 1 is the same thing.

    Args:
        channels, num_classes: E and C.
        background: whether there is a background column.
        bias: whether there is a b.
        dropout: on E, on the way to this classifier alone; training only.
        init: "framework" (torch's Linear), or "xavier": uniform weights, b = 0.
    """

    requires = ("embedding",)
    provides = ("cas", "class_weights")
    shared = ("class_weights",)

    def __init__(
        self,
        channels: int,
        num_classes: int,
        background: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        init: str = "framework",
    ) -> None:
        super().__init__()
        self.cls = nn.Linear(channels, num_classes + background, bias=bias)
        self.dropout = nn.Dropout(dropout)
        if choose("init", init, INITS) == "xavier":
            xavier(self.cls)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E] -> fields."""
        cas = per_snippet(lambda rows: self.cls(self.dropout(rows)), outputs["embedding"], batch.mask)
        return {"cas": cas, "class_weights": self.cls.weight}


class SnippetAttention(nn.Module, Head):
    """`attention` [B,T] = sigmoid(fc2(ReLU(fc1(E)))) of every snippet by itself, zero under padding.

    Args:
        channels: E.
        hidden: units between the two layers.
        init: "framework" (torch's Linear), or "xavier": uniform weights, biases zero.
    """

    requires = ("embedding",)
    provides = ("attention",)

    def __init__(self, channels: int, hidden: int = 256, init: str = "framework") -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, hidden), nn.Linear(hidden, 1)
        if choose("init", init, INITS) == "xavier":
            for layer in (self.fc1, self.fc2):
                xavier(layer)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E] -> fields."""
        scores = per_snippet(lambda rows: self.fc2(F.relu_(self.fc1(rows))), outputs["embedding"], batch.mask)
        return {"attention": zero_padding(torch.sigmoid(scores.squeeze(-1)), batch.mask)}


class Actionness(nn.Module, Head):
    """`actionness` [B,T]: how much action a snippet shows, whatever the class; from labels nothing is taken.

    For ideas that rank snippets on a host which gives no such curve of its own. Zero under padding.

    Args:
        source: "attention": that field as it is. "relu_sum": sum over classes of max(0, `cas`). "softmax_max": largest
            class of softmax(`cas`). "norm": |`embedding`| over its largest in the video.
    """

    provides = ("actionness",)

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = choose("source", source, ACTIONNESS)
        self.requires = (ACTIONNESS[source],)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """The source's field -> fields."""
        x = full_precision(outputs[self.requires[0]])
        if self.source == "relu_sum":
            x = x.relu().sum(dim=-1)
        elif self.source == "softmax_max":
            x = x.softmax(dim=-1).amax(dim=-1)
        elif self.source == "norm":
            x = x.norm(dim=-1)
            largest = masked_max(x, batch.mask).unsqueeze(1)
            x = x / torch.where(largest > 0, largest, torch.ones_like(largest))
        return {"actionness": zero_padding(x, batch.mask)}
