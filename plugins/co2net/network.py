"""CO2-Net's network: each modality gated by the other, an attention of each, one classifier over both.

The paper was not at hand: what stands here is what the authors' code (harlanhong/MM2021-CO2-Net, `model.py`) computes.
Of C+1 classes the last is background.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Backbone, Batch, Head, Outputs
from wtal_bench.modeling.blocks import (
    TemporalConv,
    masked_mean,
    per_snippet,
    shifted_sum,
    tap_projections,
    zero_padding,
)

SLOPE = 0.2
"""Of every LeakyReLU."""


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu_(x, SLOPE)


def _initialised(module: nn.Module) -> nn.Module:
    """Kaiming-uniform weights (gain sqrt 2) and zero biases, in the order of construction."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv1d, nn.Linear)):
            nn.init.kaiming_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return module


def _checked_pool(pool: int | None) -> int | None:
    if pool is not None and (not isinstance(pool, int) or isinstance(pool, bool) or pool < 1 or pool % 2 != 1):
        raise ConfigError(f"pool={pool!r}: give an odd number of snippets to average over, or None for no pooling.")
    return pool


def average_pool(x: Tensor, mask: Tensor, width: int | None) -> Tensor:
    """Mean over `width` snippets around each, zeros beyond a video's ends counted: [B,T] or [B,T,C], same shape."""
    if width is None:
        return x
    columns = zero_padding(x, mask).reshape(*mask.shape, -1).transpose(1, 2)
    pooled = F.avg_pool1d(columns, width, stride=1, padding=width // 2).transpose(1, 2)
    return zero_padding(pooled.reshape(x.shape), mask)


class Gate(nn.Module):
    """One modality gated by what both say of it, and its attention.

    With main features m and auxiliary ones a: g = act(conv3(mean_t m)), l = act(conv3(a)), f = sigmoid(g l) m, and the
    attention's logit is conv1(act(conv3(act(conv3(f))))). The convolution of g sees a sequence of one snippet, so its
    middle tap alone acts.

    Args:
        width, hidden: of a modality, and of the attention's two layers.
        dropout: of g, of l, of the attention's first layer and of its logit, training only.
    """

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.summary = nn.Conv1d(width, width, 3, padding=1)
        self.local = TemporalConv(width, width, 3)
        self.att1 = TemporalConv(width, hidden, 3)
        self.att2 = TemporalConv(hidden, hidden, 3)
        self.att3 = nn.Linear(hidden, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, main: Tensor, other: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B,T,width] twice -> gated features [B,T,width], attention [B,T]; zero under padding."""
        drop = self.dropout
        mean = masked_mean(main, mask)
        summary = drop(_activate(F.linear(mean, self.summary.weight[..., 1], self.summary.bias)))
        gate = torch.sigmoid(summary.unsqueeze(1) * drop(self.local(other, mask, then=_activate)))
        gated = zero_padding(gate * main, mask)
        # to half as many channels: its tap projections are smaller than the windows of its input, so less is copied
        hidden = shifted_sum(tap_projections(gated, self.att1.conv.weight)) + self.att1.conv.bias
        hidden = drop(_activate(hidden))  # rows under padding are read by nobody: att2 sees zeros there
        hidden = self.att2(hidden, mask, then=_activate)
        return gated, zero_padding(torch.sigmoid(drop(self.att3(hidden)).squeeze(-1)), mask)


class Consensus(nn.Module, Backbone):
    """Both modalities gated by each other, fused: `embedding` [B,T,E], and three attentions [B,T].

    `attention` is the mean of `rgb_attention` and `flow_attention`; `embedding` = LeakyReLU(conv1([f_rgb, f_flow])) is
    taken before any dropout.

    Args:
        in_channels: D, the width of both modalities together; the first half is RGB, the second flow.
        channels: E (published 2048).
        hidden: width of the attentions' hidden layers (published 512).
        dropout: p inside the gates and attentions, the attention's logit included, training only.
        pool: None, or the odd number of snippets each attention is averaged over (ActivityNet 13).

    Raises:
        ConfigError: an odd `in_channels`, an even `pool`.
    """

    provides = ("embedding", "attention", "rgb_attention", "flow_attention")

    def __init__(
        self, in_channels: int, channels: int, hidden: int, dropout: float = 0.5, pool: int | None = None
    ) -> None:
        super().__init__()
        if in_channels % 2:
            raise ConfigError(f"in_channels={in_channels} is split into RGB and flow halves and must be even.")
        self.rgb = _initialised(Gate(in_channels // 2, hidden, dropout))
        self.flow = _initialised(Gate(in_channels // 2, hidden, dropout))
        self.fusion = _initialised(nn.Linear(in_channels, channels))
        self.pool = _checked_pool(pool)

    def forward(self, features: Tensor, mask: Tensor) -> Outputs:
        """[B,T,D], [B,T] -> fields, zero under padding."""
        rgb, flow = features.chunk(2, dim=-1)
        gated_rgb, rgb_attention = self.rgb(rgb, flow, mask)
        gated_flow, flow_attention = self.flow(flow, rgb, mask)
        joined = torch.cat([gated_rgb, gated_flow], dim=-1)
        rgb_attention, flow_attention = (average_pool(a, mask, self.pool) for a in (rgb_attention, flow_attention))
        return {
            "embedding": per_snippet(self._fuse, joined, mask),
            "attention": (rgb_attention + flow_attention) / 2,
            "rgb_attention": rgb_attention,
            "flow_attention": flow_attention,
        }

    def _fuse(self, rows: Tensor) -> Tensor:
        return _activate(self.fusion(rows))


class Classifier(nn.Module, Head):
    """`cas` Z [B,T,C+1] = conv1(drop(act(conv3(drop(drop(E)))))), and `dropped_embedding` [B,T,E], E once dropped.

    The hidden convolution lies between E and the classes, so there are no `class_weights` over E.

    Args:
        channels, num_classes: E and C.
        dropout: p of each of the three, training only.
        pool: as in `Consensus`; averages Z.
    """

    requires = ("embedding",)
    provides = ("cas", "dropped_embedding")

    def __init__(self, channels: int, num_classes: int, dropout: float = 0.7, pool: int | None = None) -> None:
        super().__init__()
        self.cls1 = _initialised(TemporalConv(channels, channels, 3))
        self.cls2 = _initialised(nn.Linear(channels, num_classes + 1))
        self.dropout = nn.Dropout(dropout)
        self.pool = _checked_pool(pool)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E] -> fields, zero under padding."""
        drop = self.dropout
        dropped = drop(outputs["embedding"])
        hidden = drop(self.cls1(drop(dropped), batch.mask, then=_activate))
        cas = per_snippet(self.cls2, hidden, batch.mask)
        return {"cas": average_pool(cas, batch.mask, self.pool), "dropped_embedding": dropped}


class Suppression(nn.Module, Head):
    """Two ways in which the attention A weighs the class activation sequence Z, both [B,T,C+1].

    `suppressed_cas` Z' = A (Z - m) + m with m = min_c Z of the same snippet, background included: where A is 0 no class
    stands out. The minimum has its gradient. `weighted_cas` W = A Z is what the test path pools and scores on.
    """

    requires = ("cas", "attention")
    provides = ("suppressed_cas", "weighted_cas")

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """Z [B,T,C+1], A [B,T] -> fields."""
        cas, attention = outputs["cas"], outputs["attention"].unsqueeze(-1)
        lowest = cas.min(dim=-1, keepdim=True).values
        return {"suppressed_cas": attention * (cas - lowest) + lowest, "weighted_cas": cas * attention}
