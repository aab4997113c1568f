"""What L_bg really does to the attention's weights: Eq. (11) and (13), put right, in closed form.

With M streams fused late, a and y the *fused* attention and CAS, P = softmax(z_bg) over the C+1 classes and delta = 1
for the background class,

    dL_bg / dw_att^m = sum_i 1/M { sum_c (P_c - delta_c) (s z_c - y_{i,c}) / N } a_{m,i} (1 - a_{m,i}) X_{e,i}^m

    s = +1, N = N_b    the baseline
    s = -1, N = N_f    BGES, N_f differentiated: exactly the change that Eq. (12) asks for
    s =  0, N = N_f    N_f held constant: the video's own score has no part in it

The printed Eq. (11) keeps the background class alone (the C action classes weigh as much: their P_c sum to 1 - P_C+1)
and takes the scores and the pooling weights of one stream. It is no gradient; `printed` is here to be compared.
Training needs none of this: autograd differentiates the forward pass of `background.background_logits`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.modeling.blocks import zero_padding
from wtal_plugins.bges_ten.background import GUARD, background_logits

SIGN = {"nb": 1.0, "nf": -1.0, "nf_const": 0.0}


def attention_gradient(
    cas: Tensor,
    attention: Tensor,
    own_attention: Tensor,
    own_embedding: Tensor,
    mask: Tensor,
    *,
    streams: int = 2,
    norm: str = "nf",
    grl: float = 0.0,
    eps: float = GUARD,
) -> Tensor:
    """Exact gradient of L_bg (mean over the videos) for one stream's attention weights w_att^m: [E].

    Args:
        cas: fused CAS logits y [B,T,C+1].
        attention: fused attention a [B,T].
        own_attention: the stream's attention a_m [B,T].
        own_embedding: what the stream's attention layer reads, X_e^m [B,T,E] (after dropout, if there is any).
        mask: [B,T].
        streams: M.
        norm, grl, eps: as in `background.BackgroundLoss`.
    """
    logits = background_logits(cas, attention, mask, norm, eps)
    error = logits.softmax(dim=1) - F.one_hot(torch.tensor(cas.shape[-1] - 1), cas.shape[-1]).to(logits)
    difference = SIGN[norm] * logits.unsqueeze(1) - cas
    score = (difference * error.unsqueeze(1)).sum(dim=-1) / _denominator(attention, mask, norm, eps)
    gradient = _gathered(score / streams, own_attention, own_embedding, mask)
    return -grl * gradient if grl else gradient


def printed(
    cas: Tensor,
    attention: Tensor,
    own_cas: Tensor,
    own_attention: Tensor,
    own_embedding: Tensor,
    mask: Tensor,
    *,
    norm: str = "nb",
    eps: float = GUARD,
) -> Tensor:
    """Eq. (11) as printed, for comparison: the background class alone, scores and pooling of one of two streams. [E].

    Args:
        cas, attention, own_attention, own_embedding, mask, eps: as in `attention_gradient`.
        own_cas: the stream's CAS logits y_m [B,T,C+1].
        norm: "nb", or "nf" with the difference (-y_bg - y_i) that Eq. (12) asks for.
    """
    probability = background_logits(cas, attention, mask, norm, eps).softmax(dim=1)[:, -1:]
    total = _denominator(attention, mask, norm, eps)
    own = own_cas[..., -1]
    pooled = (zero_padding(1 - own_attention, mask) * own).sum(dim=1, keepdim=True) / total
    score = (1 - probability) / -2 * (SIGN[norm] * pooled - own) / total
    return _gathered(score, own_attention, own_embedding, mask)


def _denominator(attention: Tensor, mask: Tensor, norm: str, eps: float) -> Tensor:
    weight = 1 - attention if norm == "nb" else attention
    return zero_padding(weight, mask).sum(dim=1, keepdim=True) + eps


def _gathered(score: Tensor, own_attention: Tensor, own_embedding: Tensor, mask: Tensor) -> Tensor:
    """sum_i score_i a_{m,i} (1 - a_{m,i}) X_{e,i}^m, mean over the videos."""
    weight = zero_padding(score * own_attention * (1 - own_attention), mask)
    return torch.einsum("bt,bte->e", weight, own_embedding) / len(mask)
