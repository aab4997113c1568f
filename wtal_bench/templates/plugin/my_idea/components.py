"""Components of my_idea. B videos, T snippets, D features, E embedding, C classes."""

import torch
from torch import Tensor, nn

from wtal_bench.interfaces import Backbone, Batch, Head, Loss, Outputs
from wtal_bench.modeling.blocks import TemporalConv, masked_mean, topk_count, topk_mean, zero_padding


class Embedding(nn.Module, Backbone):
    """One temporal convolution (k=3) and ReLU: features [B,T,D] -> `embedding` [B,T,E].

    Args:
        in_channels, channels: D and E.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = TemporalConv(in_channels, channels)

    def forward(self, features: Tensor, mask: Tensor) -> Outputs:
        """[B,T,D], [B,T] -> fields."""
        return {"embedding": zero_padding(torch.relu(self.conv(features, mask)), mask)}


class Gate(nn.Module, Head):
    """Classifies gated snippets: `attention` [B,T] in 0..1, `cas` [B,T,C], `video_logits` [B,C] (top-k mean).

    Args:
        channels, num_classes: E and C.
        dropout: on the embedding, training only.
    """

    requires = ("embedding",)
    provides = ("attention", "cas", "video_logits")
    video_level = ("video_logits",)

    def __init__(self, channels: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.gate = nn.Linear(channels, 1)
        self.classifier = nn.Linear(channels, num_classes, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E] -> fields. Mask every reduction over time: padding must change nothing."""
        embedding = outputs["embedding"]
        attention = zero_padding(torch.sigmoid(self.gate(embedding)).squeeze(-1), batch.mask)
        cas = self.classifier(self.dropout(embedding)) * attention.unsqueeze(-1)
        video_logits = topk_mean(cas, batch.mask, topk_count(batch.mask, divisor=8))
        return {"attention": attention, "cas": cas, "video_logits": video_logits}


class Sparsity(Loss):
    """Mean attention of the real snippets, mean over videos: {"sparsity": 0-d}."""

    requires = ("attention",)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """[B,T] -> scalar."""
        return {"sparsity": masked_mean(outputs["attention"], batch.mask).mean()}
