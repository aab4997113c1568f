"""The cosine classifiers of actions and foreground: Eq. (1) and (8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import unit

FG_INITS = ("neg_bg", "random")


def choice(name: str, value: str, options: tuple[str, ...]) -> str:
    """Return `value` if it is one of `options`.

    Raises:
        ConfigError: it is not; the nearest option is named.
    """
    if value not in options:
        raise ConfigError(f"{name}={value!r}.{did_you_mean(value, options)} Options: {listing(options)}.")
    return value


def cosine(x: Tensor, weights: Tensor) -> Tensor:
    """Cosine of every row of `x` [...,D] with every row of `weights` [K,D]: [...,K].

    A row of zeros has cosine 0 with everything and gradient 0 (the authors' code gives NaN, which spreads over the
    whole video). `x` is scaled after the product, so no normalised copy of it is ever made.
    """
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    zero = norm == 0
    # the safe value goes in before the division: a `where` after it brings the NaN back in the backward pass
    scale = torch.where(zero, torch.zeros_like(norm), 1 / torch.where(zero, torch.ones_like(norm), norm))
    return F.linear(x, unit(weights)) * scale


def xavier_rows(rows: int, channels: int) -> nn.Parameter:
    """[rows,channels] Xavier-uniform."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, channels)))


class Classifiers(nn.Module, Head):
    """Action and foreground scores of every snippet: S_a (Eq. 1) as `cas`, S_f (Eq. 8) as `foreground_scores`.

    S_a(t,j) = delta cos(X(t), W_a(j)), S_f(t) = delta cos(X(t), W_f); K = C+1 with a background class, else C.
    X [B,T,D] -> `cas` [B,T,K], `foreground_scores` [B,T], `attention` [B,T] = sigmoid(S_f) (for methods that attach to
    FAC-Net; it uses none itself), `class_weights` W_a [K,D], `foreground_weights` W_f [1,D].

    Args:
        channels, num_classes: D, C.
        background: whether W_a has a background row (the last); False is "w/o BG" of Tables 1 and 3.
        delta: scale of the cosines.
        fg_init: W_f starts as "neg_bg": minus the initial background row of W_a (authors' code; Xavier-uniform where
            there is no such row), or "random": Xavier-uniform (paper). It is a parameter of its own afterwards.
    """

    requires = ("embedding",)
    provides = ("cas", "foreground_scores", "attention", "class_weights", "foreground_weights")
    shared = ("class_weights", "foreground_weights")

    def __init__(
        self,
        channels: int,
        num_classes: int,
        background: bool = True,
        delta: float = 5.0,
        fg_init: str = "neg_bg",
    ) -> None:
        super().__init__()
        self.delta = delta
        self.action_centers = xavier_rows(num_classes + background, channels)
        if choice("fg_init", fg_init, FG_INITS) == "neg_bg" and background:
            self.fg_center = nn.Parameter(-self.action_centers.detach()[-1:].clone())
        else:
            self.fg_center = xavier_rows(1, channels)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,D] -> fields."""
        scores = self.delta * cosine(outputs["embedding"], torch.cat([self.action_centers, self.fg_center]))
        foreground = scores[..., -1]
        return {
            "cas": scores[..., :-1],
            "foreground_scores": foreground,
            "attention": torch.sigmoid(foreground),
            "class_weights": self.action_centers,
            "foreground_weights": self.fg_center,
        }
