"""The three branches: CW (Eq. 4), CA (Eq. 11) and MIL (Eq. 13).

Every branch gives `video_logits` [B,K] and takes what it needs from named fields, so that each runs without the
others. H temperatures, K = C+1 columns with a background class, else C. The softmax and the losses, Eq. (5)-(6) and
(12), are the core's `VideoCrossEntropy`.
"""

from __future__ import annotations

from torch import Tensor, nn

from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import cosine


def mean_cosine(features: Tensor, weights: Tensor) -> Tensor:
    """Mean over the temperatures (axis 1) of the cosines of features [B,H,...,D] with weights [R,D]: [B,...,R]."""
    return cosine(features, weights).mean(dim=1)


class Branch(nn.Module, Head):
    """What the branches share.

    Args:
        delta: scale of the cosines.
        video_scale_multiplier: m, a second factor of the video logits: 2.0 (authors' code), 1.0 (paper).
    """

    provides = ("video_logits",)
    video_level = ("video_logits",)

    def __init__(self, delta: float = 5.0, video_scale_multiplier: float = 2.0) -> None:
        super().__init__()
        self.scale = video_scale_multiplier * delta


class ClassWise(Branch):
    """Class-wise foreground classification branch (CW), Sec. 3.2: which classes' features are foreground?

    `video_logits` R_a(j) = m delta mean over tau of cos(F_a(j), W_f) (Eq. 4), [B,K].

    Args:
        delta, video_scale_multiplier: see `Branch`.
    """

    requires = ("class_features", "foreground_weights")

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """F_a [B,H,K,D], W_f [1,D] -> [B,K]."""
        features, weights = outputs["class_features"], outputs["foreground_weights"]
        return {"video_logits": self.scale * mean_cosine(features, weights).squeeze(-1)}


class ClassAgnostic(Branch):
    """Class-agnostic attention branch (CA), Sec. 3.3: which class is the foreground feature?

    `video_logits` = m delta mean over tau of cos(F_f, W_a(j)) (Eq. 11), [B,K]. Their softmax is the video's class
    score at test.

    Args:
        delta, video_scale_multiplier: see `Branch`.
    """

    requires = ("foreground_features", "class_weights")

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """F_f [B,H,D], W_a [K,D] -> [B,K]."""
        features, weights = outputs["foreground_features"], outputs["class_weights"]
        return {"video_logits": self.scale * mean_cosine(features, weights)}


class MultipleInstance(Branch):
    """Multiple instance learning branch (MIL), Sec. 3.4: which classes occur?

    `video_logits` = m mean over tau of sum_t A_a(t,j) S_a(t,j) (Eq. 13), [B,K]; A_a is the CW branch's, S_a carries
    delta already.

    Args:
        video_scale_multiplier: see `Branch`.
    """

    requires = ("cas", "class_attention")

    def __init__(self, video_scale_multiplier: float = 2.0) -> None:
        super().__init__(1.0, video_scale_multiplier)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """S_a [B,T,K], A_a [B,T,H,K] -> [B,K]."""
        scores = (outputs["class_attention"] * outputs["cas"].unsqueeze(2)).sum(dim=1)
        return {"video_logits": self.scale * scores.mean(dim=1)}
