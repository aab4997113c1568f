"""The branches of RSKP: one classifier over the snippets, over the walked snippets, and over the memory's walk."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import xavier_rows
from wtal_bench.options import within
from wtal_plugins.rskp.propagation import Snippets, Walked, representatives, unit_rows, walk

POOL_EPSILON = 1e-5
"""Added to the sum of the weights of a weighted mean (authors' code)."""
CENTERS = ("class_weights", "foreground_weights")


def classify(snippets: Snippets | Walked, centers: Outputs, scale: float) -> dict[str, Tensor]:
    """The head all branches share (Eq. 6-9 of the README; authors' code).

    `cas` f [B,T,C+1] = scale cos(x, class rows), background last; `attention` [B,T] = sigmoid(scale cos(x, fg row));
    `video_logits` [B,C+1] = scale cos(attention-weighted mean of x, class rows); `classwise_logits` [B,C+1] = scale
    cos(mean of x weighted by sigmoid(f_c), class row c).

    Args:
        snippets: x or x'.
        centers: `class_weights` [C+1,D] and `foreground_weights` [1,D].
        scale: 20.
    """
    classes = centers["class_weights"]
    scores = scale * snippets.cosines(torch.cat([classes, centers["foreground_weights"]]))
    weights = torch.sigmoid(scores) * snippets.mask.unsqueeze(-1)
    means = snippets.pool(weights) / (weights.sum(dim=1).unsqueeze(-1) + POOL_EPSILON)
    classwise, agnostic = unit_rows(means[:, :-1]), unit_rows(means[:, -1])
    rows = unit_rows(classes)
    return {
        "cas": scores[..., :-1],
        "attention": weights[..., -1],
        "video_logits": scale * (agnostic @ rows.T),
        "classwise_logits": scale * (classwise * rows).sum(dim=-1),
    }


class Classifier(nn.Module, Head):
    """Branch o: cosine classifiers of C actions, background and foreground over the snippets themselves.

    Fields of `classify`, and `class_weights` [C+1,D], `foreground_weights` [1,D]. The foreground row starts as minus
    the background row and is free afterwards (authors' code).

    Args:
        channels, num_classes: D and C.
        scale: of all cosines.
    """

    requires = ("dropped_embedding",)
    provides = ("cas", "attention", "video_logits", "classwise_logits", *CENTERS)
    shared = CENTERS
    video_level = ("video_logits", "classwise_logits")

    def __init__(self, channels: int, num_classes: int, scale: float = 20.0) -> None:
        super().__init__()
        self.scale = scale
        self.ac_center = xavier_rows(num_classes + 1, channels)
        self.fg_center = nn.Parameter(-self.ac_center.detach()[-1:].clone())

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """x [B,T,D] -> fields."""
        centers = {"class_weights": self.ac_center, "foreground_weights": self.fg_center}
        return {**classify(snippets_of(outputs, batch), centers, self.scale), **centers}


class Propagation(nn.Module, Head):
    """Branch m: representative snippets of the video, propagated back to all of it, through the same classifiers.

    Gives `representatives` mu [B,K,D] (Eq. 2-3 of the README), their class scores `representative_scores` [B,K,C+1] =
    softmax(scale cos(mu, class rows)), the fields of `classify` on x' as `m.cas`, `m.attention`, `m.video_logits`,
    `m.classwise_logits`, and `video_prob` [B,C+1] = s softmax(video_logits) + (1-s) softmax(m.video_logits).

    Args:
        channels: D.
        count: K, representative snippets a video (8).
        iterations: of EM (2).
        walk_weight: w of the random walk (0.5).
        scale: of the classifiers' cosines.
        score_share: s, branch o's part of the video scores a test goes by (0.6 in both codes).
    """

    requires = ("dropped_embedding", "video_logits", *CENTERS)
    provides = (
        "representatives",
        "representative_scores",
        "m.cas",
        "m.attention",
        "m.video_logits",
        "m.classwise_logits",
        "video_prob",
    )
    video_level = ("representatives", "representative_scores", "m.video_logits", "m.classwise_logits", "video_prob")

    def __init__(
        self,
        channels: int,
        count: int = 8,
        iterations: int = 2,
        walk_weight: float = 0.5,
        scale: float = 20.0,
        score_share: float = 0.6,
    ) -> None:
        super().__init__()
        self.mu = xavier_rows(count, channels)
        self.iterations, self.scale = iterations, scale
        self.walk_weight = within("walk_weight", walk_weight, "[0, 1]")
        self.score_share = within("score_share", score_share, "[0, 1]")

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """x [B,T,D] -> fields."""
        snippets = snippets_of(outputs, batch)
        mu = representatives(snippets, self.mu, self.iterations)
        scores = torch.softmax(self.scale * (unit_rows(mu) @ unit_rows(outputs["class_weights"]).T), dim=-1)
        branch = classify(walk(snippets, mu, self.walk_weight), outputs, self.scale)
        own, walked = (torch.softmax(x, dim=1) for x in (outputs["video_logits"], branch["video_logits"]))
        return {
            "representatives": mu,
            "representative_scores": scores,
            **{f"m.{name}": value for name, value in branch.items()},
            "video_prob": self.score_share * own + (1 - self.score_share) * walked,
        }


def snippets_of(outputs: Outputs, batch: Batch) -> Snippets:
    """The snippets a head works on."""
    return Snippets(outputs["dropped_embedding"], batch.mask)
