"""Everything of FAC-Net that touches snippets: embedding, snippet scores, attention over time, gathered features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Backbone, Outputs
from wtal_bench.modeling.blocks import (
    TemporalConv,
    by_video,
    cosine,
    masked_softmax,
    pack,
    packing_of,
    unpack,
    xavier,
    xavier_rows,
)
from wtal_bench.options import choose

FG_INITS = ("neg_bg", "random", "actions")


def centers(num_classes: int, background: bool, channels: int, fg_init: str) -> tuple[nn.Parameter, nn.Parameter]:
    """The classifiers at their start: W_a [K,D], Xavier-uniform, and W_f [1,D].

    Args:
        num_classes: C.
        background: whether W_a has a background row, the last.
        channels: D.
        fg_init: "neg_bg": W_f is minus that row (Xavier-uniform where there is none); "random": Xavier-uniform;
            "actions": W_f is the mean of the action rows, each of length 1, and the background row minus that, so that
            foreground starts as what the classes say together.

    Raises:
        ConfigError: unknown `fg_init`.
    """
    action = xavier_rows(num_classes + background, channels)
    if fg_init == "actions":
        start = F.normalize(action.detach()[:num_classes], dim=1).mean(dim=0, keepdim=True)
        if background:
            action.data[num_classes:] = -start
        return action, nn.Parameter(start)
    if choose("fg_init", fg_init, FG_INITS) == "neg_bg" and background:
        return action, nn.Parameter(-action.detach()[-1:].clone())
    return action, xavier_rows(1, channels)


class Temperatures(nn.Module):
    """Softmax over time at H temperatures, Eq. (2), (9), Sec. 3.5: scores [B,T,...] -> [B,T,H,...], zero under padding.

    Args:
        temperatures: tau, one a head; the scores carry delta already, so delta * tau multiplies the cosine.

    Raises:
        ConfigError: no temperature, or one that is not positive.
    """

    def __init__(self, temperatures: Sequence[float]) -> None:
        super().__init__()
        if not temperatures or not all(tau > 0 for tau in temperatures):
            raise ConfigError(
                f"temperatures must be a list of positive numbers, e.g. (1.0, 2.0, 5.0); got {temperatures!r}."
            )
        # float64, so that a temperature is the config's number whatever the precision of the model
        self.register_buffer("tau", torch.tensor(list(temperatures), dtype=torch.float64), persistent=False)

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """[B,T,...], [B,T] -> [B,T,H,...]."""
        tau = self.tau.to(scores.dtype).reshape(-1, *(1,) * (scores.dim() - 2))
        return masked_softmax(scores.unsqueeze(2) * tau, mask)


class Embedding(nn.Module):
    """Two layers with ReLU, Sec. 3.1; authors' code: Linear, ReLU, Dropout, twice. Xavier-uniform, biases zero.

    Args:
        in_channels, channels: F and D; the hidden layer has F units.
        kernel: 1, or an odd number of taps over time.
        dropout: after both ReLUs.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.temporal = kernel != 1
        widths = ((in_channels, in_channels), (in_channels, channels))
        self.fc1, self.fc2 = (TemporalConv(*w, kernel) if self.temporal else nn.Linear(*w) for w in widths)
        for layer in (self.fc1, self.fc2):
            xavier(layer.conv if self.temporal else layer)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B,T,F], [B,T] -> rows of the N real snippets [N,D]: before the last dropout, and after it."""
        if self.temporal:
            hidden = self.dropout(F.relu(self.fc1(features, mask)))
            rows = F.relu(pack(self.fc2(hidden, mask), mask))
        else:
            rows = F.relu(self.fc2(self.dropout(F.relu(self.fc1(pack(features, mask))))))
        return rows, self.dropout(rows)


class Trunk(nn.Module, Backbone):
    """Embedding (Sec. 3.1), S_a (Eq. 1), S_f (8), hybrid attention (2), (9), class and foreground features (3), (10).

    All work on rows of width F or D runs on real snippets alone, never on padding. With K = C+1 classes (C without
    background) and H temperatures, features [B,T,F] give

    - `embedding` [B,T,D], before dropout; X below is after it, one dropped-out X for all that follows;
    - `cas` S_a [B,T,K] = delta cos(X(t), W_a(j)), `foreground_scores` S_f [B,T] = delta cos(X(t), W_f);
    - `attention` [B,T] = sigmoid(S_f), for methods that attach to FAC-Net (it uses none itself);
    - `class_attention` A_a [B,T,H,K], `foreground_attention` A_f [B,T,H]: softmax over t of tau S_a and tau S_f;
    - `class_features` F_a [B,H,K,D], `foreground_features` F_f [B,H,D]: sum_t A(t) X(t), X not normalised;
    - `class_weights` W_a [K,D], `foreground_weights` W_f [1,D].

    Args:
        in_channels, channels, num_classes: F, D, C.
        background: whether W_a has a background row (the last); False is "w/o BG" of Tables 1 and 3.
        delta: scale of the cosines.
        temperatures: tau of the H attentions; (1.0,) is "no hybrid attention" (Table 3).
        embed_kernel: 1 (authors' code: Linear layers) or an odd number of taps over time (the paper says "temporal
            convolutional", without a size).
        dropout: after both ReLUs; 0.5 stands in the code alone.
        fg_init: W_f starts as "neg_bg": minus the initial background row of W_a (authors' code; Xavier-uniform where
            there is no such row), "random": Xavier-uniform (paper), or "actions": the mean direction of W_a's action
            rows, the background row minus that (ours). It is a parameter of its own afterwards.
        embedding: False leaves the field `embedding` out: FAC-Net itself does not read it, padding it costs time.

    Raises:
        ConfigError: unknown `fg_init`, or temperatures that are not positive numbers.
    """

    shared = ("class_weights", "foreground_weights")
    video_level = ("class_features", "foreground_features")

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_classes: int,
        background: bool = True,
        delta: float = 5.0,
        temperatures: Sequence[float] = (1.0, 2.0, 5.0),
        embed_kernel: int = 1,
        dropout: float = 0.5,
        fg_init: str = "neg_bg",
        embedding: bool = True,
    ) -> None:
        super().__init__()
        self.delta = delta
        self.embed = Embedding(in_channels, channels, embed_kernel, dropout)
        self.action_centers, self.fg_center = centers(num_classes, background, channels, fg_init)
        self.attend = Temperatures(temperatures)
        timed = ("cas", "foreground_scores", "attention", "class_attention", "foreground_attention")
        self.offers = {} if embedding else {"embedding": {"embedding": True}}
        self.provides = (*(("embedding",) if embedding else ()), *timed, *self.video_level, *self.shared)

    def forward(self, features: Tensor, mask: Tensor) -> Outputs:
        """[B,T,F], [B,T] -> fields."""
        embedding, x = self.embed(features, mask)
        # actions and foreground go together, so that x is read once forward and once backward
        scores = unpack(self.delta * cosine(x, torch.cat([self.action_centers, self.fg_center])), mask)
        attention = self.attend(scores, mask)
        gathered = segment_sums(attention.flatten(2), x, mask).unflatten(1, attention.shape[2:])
        made = {
            "cas": scores[..., :-1],
            "foreground_scores": scores[..., -1],
            "attention": torch.sigmoid(scores[..., -1]),
            "class_attention": attention[..., :-1],
            "foreground_attention": attention[..., -1],
            "class_features": gathered[..., :-1, :],
            "foreground_features": gathered[..., -1, :],
            "class_weights": self.action_centers,
            "foreground_weights": self.fg_center,
        }
        return made if "embedding" not in self.provides else {"embedding": unpack(embedding, mask), **made}


def segment_sums(weights: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """sum_t w(t) x(t) over each video's own rows, Eq. (3) and (10): padded [B,T,M] and packed [N,D] -> [B,M,D].

    On a CPU one product a video: a batched one would need `x` padded, which costs more than it saves.
    """
    if not by_video(mask, x.shape[-1]):
        return weights.transpose(1, 2) @ unpack(x, mask)
    lengths = packing_of(mask).lengths
    return torch.stack([w.T @ rows for w, rows in zip(pack(weights, mask).split(lengths), x.split(lengths))])
