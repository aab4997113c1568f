"""FAC-Net's class-wise branch on another method's model: the wiring of its Table 5 (ours, the paper does not give it)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_plugins.fac_net.branches import Temperatures, class_agnostic_logits, class_wise_logits
from wtal_plugins.fac_net.classifiers import FG_INITS, choice, cosine, xavier_rows

CAS_SOURCES = ("host_cosine", "host_logits", "own")


class ClassWiseOnHost(nn.Module, Head):
    """The class-wise foreground branch for any host with an `embedding`, Eq. (1)-(4): `cw_logits` [B,K].

    Attention over time comes from the host's own scores, so that CW shapes the host's classifier as well as its
    embedding; the host's test path stays as it is. Train with `fac_net.TagCrossEntropy` reading `cw_logits`. K = C, or
    C+1 if the host has a background class. The host's padded rows may hold anything.

    Args:
        channels, num_classes: E of the host's embedding, C.
        background: whether the host's classes have a background (last).
        cas_source: scores S_a the attention is made of. "host_cosine": delta cos(embedding, the host's
            `class_weights`); "host_logits": the host's `cas` as it is; "own": delta cos(embedding, new centres), which
            reaches the host through the embedding alone.
        fg_init: W_f starts as "neg_bg": minus the host's (or the own) background row where there is one, else as
            "random": Xavier-uniform. The host's row (of `class_weights`) is taken when the branch first sees it.
        fg_tie: also give `ca_logits` [B,K] of the CA branch built on W_f and the class rows (Eq. 9-11), for a second
            `fac_net.TagCrossEntropy` (weight 0.1 in FAC-Net): W_f takes its foreground meaning from there.
        temperatures, delta, video_scale_multiplier: as in FAC-Net.
        dropout: on the embedding, in training.

    Raises:
        ConfigError: unknown switch value, or rows of another number than classes.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        background: bool = False,
        cas_source: str = "host_cosine",
        fg_init: str = "neg_bg",
        fg_tie: bool = False,
        temperatures: Sequence[float] = (1.0, 2.0, 5.0),
        delta: float = 5.0,
        video_scale_multiplier: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.cas_source = choice("cas_source", cas_source, CAS_SOURCES)
        self.columns = num_classes + background
        self.fg_tie, self.delta, self.scale, self.dropout = fg_tie, delta, delta * video_scale_multiplier, dropout
        from_host = choice("fg_init", fg_init, FG_INITS) == "neg_bg" and background and cas_source != "own"
        self._choose_fields(from_host)
        self.attend = Temperatures(temperatures)
        self.fg_center = xavier_rows(1, channels)
        if cas_source == "own":
            self.action_centers = xavier_rows(self.columns, channels)
            if fg_init == "neg_bg" and background:
                self.fg_center = nn.Parameter(-self.action_centers.detach()[-1:].clone())
        # a buffer, so that a resumed run does not start W_f anew
        self.register_buffer("fg_started", torch.tensor(not from_host))
        self._checked = not from_host

    def _choose_fields(self, from_host: bool) -> None:
        logits = self.cas_source == "host_logits"
        rows = self.cas_source == "host_cosine" or (logits and self.fg_tie)
        self.requires = ("embedding", *(("cas",) if logits else ()), *(("class_weights",) if rows else ()))
        self.optional = ("class_weights",) if logits and from_host and not rows else ()
        self.provides = ("cw_logits", "ca_logits") if self.fg_tie else ("cw_logits",)
        self.video_level = self.provides

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """The host's fields -> [B,K]."""
        x = outputs["embedding"]
        x = F.dropout(x, self.dropout) if self.training and self.dropout else x
        rows = self.action_centers if self.cas_source == "own" else outputs.get("class_weights")
        columns = outputs["cas"].shape[-1] if self.cas_source == "host_logits" else len(rows)
        if columns != self.columns:
            raise ConfigError(
                f"fac_net.ClassWiseOnHost: the host has {columns} classes, num_classes and background make "
                f"{self.columns}. Set background=True exactly if the host's last class is background."
            )
        self._start_foreground(rows)
        scores = outputs["cas"] if self.cas_source == "host_logits" else self.delta * cosine(x, rows)
        made = {"cw_logits": class_wise_logits(x, self.attend(scores, batch.mask), self.fg_center, self.scale)}
        if self.fg_tie:
            foreground = self.delta * cosine(x, self.fg_center).squeeze(-1)
            made["ca_logits"] = class_agnostic_logits(x, self.attend(foreground, batch.mask), rows, self.scale)
        return made

    @torch.no_grad()
    def _start_foreground(self, rows: Tensor | None) -> None:
        if self._checked:  # spares a device synchronisation every step
            return
        if rows is not None and not self.fg_started:
            self.fg_center.copy_(-rows[-1:])
            self.fg_started.fill_(True)
        self._checked = True
