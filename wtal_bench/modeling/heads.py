"""Heads that several methods share."""

from __future__ import annotations

from torch import Tensor, nn

from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import per_snippet, topk_count, topk_mean
from wtal_bench.options import at_least, choose


class TopKMean(nn.Module, Head):
    """`video_logits` [B,K]: of every column of `cas` [B,T,K] the mean of its own k largest values over time.

    The pooling of multiple instance learning. k = T // divisor of a video's own T, and at least 1: a video shorter than
    the divisor gives its largest value. Map other fields with `reads` and `writes`.

    Args:
        divisor: of T; need not be whole.
        rounding: "floor" (T // divisor) or "ceil".
    """

    requires = ("cas",)
    provides = ("video_logits",)
    video_level = ("video_logits",)

    def __init__(self, divisor: float, rounding: str = "floor") -> None:
        super().__init__()
        self.divisor = at_least("divisor", divisor, 1)
        self.rounding = choose("rounding", rounding, ("floor", "ceil"))

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,K] -> fields."""
        return {"video_logits": topk_mean(outputs["cas"], batch.mask, self.count(batch.mask))}

    def count(self, mask: Tensor) -> Tensor:
        """k of every video: [B] int64."""
        if self.rounding == "floor":
            return topk_count(mask, divisor=self.divisor)
        return -(-mask.sum(dim=1).double() // self.divisor).long()


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
        if choose("init", init, ("framework", "xavier")) == "xavier":
            nn.init.xavier_uniform_(self.cls.weight)
            if bias:
                nn.init.zeros_(self.cls.bias)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E] -> fields."""
        cas = per_snippet(lambda rows: self.cls(self.dropout(rows)), outputs["embedding"], batch.mask)
        return {"cas": cas, "class_weights": self.cls.weight}
