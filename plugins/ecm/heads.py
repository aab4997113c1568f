"""ECM's two streams: classify then localise (pre), and weight, aggregate, classify (post)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import packing_of, topk_count, topk_mean, zero_padding
from wtal_bench.options import choose
from wtal_plugins.ecm.trunk import TRUNK_WEIGHTS, classify_triples

FOLDS = 3


class PreClassification(nn.Module, Head):
    """Per-snippet classifier and top-k mean: `cas` S [B,T,C], `video_logits` s^e [B,C], `class_weights` [C,E].

    Eq. (1): s^e_c is the mean of the k largest S_{c,t}, k = max(1, floor(topk_ratio * T)). No bias, no background.

    Args:
        channels, num_classes: E, C.
        topk_ratio: 1/8 on THUMOS14; released code 0.25 / 0.6 on ActivityNet 1.2 / 1.3 (the paper says 1/8).
        dropout: on the trunk's output, training only.
    """

    requires = ("embedding",)
    provides = ("cas", "video_logits", "class_weights")
    shared = ("class_weights",)
    video_level = ("video_logits",)

    def __init__(self, channels: int, num_classes: int, topk_ratio: float = 0.125, dropout: float = 0.5) -> None:
        super().__init__()
        self.classifier = nn.Conv1d(channels, num_classes, 1, bias=False)
        self.topk_ratio = topk_ratio
        self.dropout = nn.Dropout(dropout)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E] -> fields."""
        weights = self.classifier.weight.squeeze(-1)
        cas = self.dropout(outputs["embedding"]) @ weights.T
        score = topk_mean(cas, batch.mask, topk_count(batch.mask, ratio=self.topk_ratio))
        return {"cas": cas, "video_logits": score, "class_weights": weights}


class Weights(nn.Module, Head):
    """Aggregation weights `weight_action` W^a [B,T,C] of the post stream, in 0..1.

    Sec. 3.2: W^a = sigmoid(conv1x1(S)), a dense C -> C transition of the pre stream's CAS with bias; gradient flows
    through it into the pre stream.

    Args:
        num_classes: C.
        source: "transition" (per class), "agnostic" (one weight for all classes, Sec. 4.3), or "self" (post stream
            alone: one weight from the features, since there is no CAS to learn from).
        in_channels: D, for source="self".
    """

    provides = ("weight_action",)

    def __init__(self, num_classes: int, source: str = "transition", in_channels: int | None = None) -> None:
        super().__init__()
        self.source = choose("source", source, ("transition", "agnostic", "self"))
        self.num_classes = num_classes
        if source == "self":
            if in_channels is None:
                raise ConfigError("source='self' reads the features: give in_channels.")
            self.self_attention = nn.Conv1d(in_channels, 1, 1)
        else:
            self.requires = ("cas",)
            self.transition = nn.Conv1d(num_classes, num_classes if source == "transition" else 1, 1)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """CAS [B,T,C] (or features) -> weights, zero under padding."""
        x, layer = (batch.features, self.self_attention) if self.source == "self" else (outputs["cas"], self.transition)
        logits = F.linear(x, layer.weight.squeeze(-1), layer.bias)
        weights = torch.sigmoid(logits).expand(-1, -1, self.num_classes)
        return {"weight_action": zero_padding(weights, batch.mask)}


class _WeightedSums(torch.autograd.Function):
    """sum_t w_t x_t for disjoint sets of snippets t, with a backward pass that writes the gradient of x once."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(weight, x)
        return torch.stack([weight[:, i::FOLDS].mT @ x[:, i::FOLDS] for i in range(FOLDS)], dim=2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        weight, x = ctx.saved_tensors
        for_weight, for_x = torch.empty_like(weight), torch.empty_like(x)
        for i in range(FOLDS):
            for_weight[:, i::FOLDS] = x[:, i::FOLDS] @ gradient[:, :, i].mT
            for_x[:, i::FOLDS] = weight[:, i::FOLDS] @ gradient[:, :, i]
        return for_weight, for_x


class Aggregation(nn.Module):
    """Eq. (2): weighted sums of the snippets of each of three folds.

    Args:
        fold_mode: "stride" (snippets i mod 3, paper and released code) or "contiguous" (thirds).
        agg_norm: "none" (paper and released code), "weight_sum" (a fold's own weights, + 1e-12) or "fold_len".
    """

    def __init__(self, fold_mode: str, agg_norm: str) -> None:
        super().__init__()
        self.fold_mode = choose("fold_mode", fold_mode, ("stride", "contiguous"))
        self.agg_norm = choose("agg_norm", agg_norm, ("none", "weight_sum", "fold_len"))

    def forward(self, weight: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """weight [B,T,C] (zero under padding), x [B,T,F] -> [B,C,3,F]. An empty fold (T < 3) gives zeros."""
        members = self._members(mask)
        if self.fold_mode == "stride":
            total = _WeightedSums.apply(weight.to(x.dtype), x)
        else:
            total = torch.stack([zero_padding(weight, m).mT @ x for m in members.unbind(dim=1)], dim=2)
        if self.agg_norm == "weight_sum":
            total = total / (torch.einsum("btc,bft->bcf", weight, members.to(weight.dtype)).unsqueeze(-1) + 1e-12)
        elif self.agg_norm == "fold_len":
            total = total / members.sum(dim=2).clamp(min=1)[:, None, :, None]
        return total

    def _members(self, mask: Tensor) -> Tensor:
        """Which snippets are in which fold: [B,3,T] bool."""
        position = torch.arange(mask.shape[1], device=mask.device)
        fold = torch.arange(FOLDS, device=mask.device).reshape(1, FOLDS, 1)
        if self.fold_mode == "stride":
            return (position % FOLDS == fold) & mask.unsqueeze(1)
        lengths = packing_of(mask).counts.reshape(-1, 1, 1)
        return (position >= fold * lengths // FOLDS) & (position < (fold + 1) * lengths // FOLDS)


class PostStream(nn.Module, Head):
    """What presence and absence share: aggregate tap projections with some weights, then classify the triples.

    Args:
        fold_mode, agg_norm: see `Aggregation`.
        slope: LeakyReLU slope of the trunk.
        dropout: on the trunk's output, training only; each pass draws its own mask.
    """

    requires: tuple[str, ...] = ("weight_action", "taps", *TRUNK_WEIGHTS, "class_weights")

    def __init__(
        self, fold_mode: str = "stride", agg_norm: str = "none", slope: float = 0.01, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.aggregate = Aggregation(fold_mode, agg_norm)
        self.slope = slope
        self.dropout = nn.Dropout(dropout).p  # refuses what is no probability

    def classify(self, weight: Tensor, outputs: Outputs, batch: Batch, passes: Tensor | None = None) -> Tensor:
        """Run the post stream.

        Args:
            weight: [B,T,C], or [B,T,K*C] for up to K passes over each video.
            outputs, batch: the fields in `requires`; T snippets.
            passes: [R] int64 which of the B*K passes there are; None for one each.

        Returns:
            [R,C] scores, R = B or the number of passes, video by video.
        """
        triples = self.aggregate(weight, outputs["taps"], batch.mask)
        if passes is not None:
            triples = triples.unflatten(1, (-1, outputs["class_weights"].shape[0])).flatten(0, 1)
            triples = triples.index_select(0, passes)
        weights = {name: outputs[name] for name in TRUNK_WEIGHTS}
        dropout = self.dropout if self.training else 0.0
        return classify_triples(triples, weights, outputs["class_weights"], self.slope, dropout)


class PostClassification(PostStream):
    """Presence scores `post_logits` s^o [B,C] of the aggregated snippets, Eq. (3)."""

    provides = ("post_logits",)
    video_level = ("post_logits",)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """Weights [B,T,C], taps [B,T,3E] -> scores."""
        return {"post_logits": self.classify(outputs["weight_action"], outputs, batch)}


class AbsenceClassification(PostStream):
    """Absence scores `absence_logits` [B,C] of the snippets that the weights leave out.

    background="paper": class c weighs snippets with W^b_c = 1 - W^a_c (Eq. 2).
    background="official" (released code): one pass per present class p with weights W^a_c (1 - W^a_p). A present class
    keeps its own pass, an absent class takes the mean of its scores over the passes. A video without tags scores 0.
    """

    needs = ("labels",)
    provides = ("absence_logits",)
    video_level = ("absence_logits",)

    def __init__(
        self,
        background: str = "official",
        fold_mode: str = "stride",
        agg_norm: str = "none",
        slope: float = 0.01,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(fold_mode, agg_norm, slope, dropout)
        self.background = choose("background", background, ("official", "paper"))

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """Weights [B,T,C], taps [B,T,3E], tags -> scores."""
        action = outputs["weight_action"]
        if self.background == "paper":
            weight = zero_padding(1 - action, batch.mask)
            return {"absence_logits": self.classify(weight, outputs, batch)}
        tags, count = batch.tags, batch.labels.sum(dim=1, keepdim=True)
        slots, most = tags.slots, tags.slots.shape[1]
        absent = 1 - action.gather(2, slots.unsqueeze(1).expand(-1, action.shape[1], -1))
        weight = (absent.unsqueeze(-1) * action.unsqueeze(2)).flatten(2)
        scores = self.classify(weight, outputs, batch, tags.cells).to(batch.labels.dtype)
        video, present = tags.cells // most, slots.flatten().index_select(0, tags.cells)
        mean = scores.new_zeros(action.shape[0], scores.shape[1]).index_add(0, video, scores) / count.clamp(min=1)
        own = scores.gather(1, present.unsqueeze(1)).squeeze(1)
        return {"absence_logits": mean.index_put((video, present), own)}
