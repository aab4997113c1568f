"""FAC-Net's class-wise branch on another method's model: its Table 5, wired our way (the paper gives no wiring)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Head, Outputs
from wtal_bench.modeling.blocks import attention_pool, cosine, xavier_rows
from wtal_bench.options import choose
from wtal_plugins.fac_net.branches import mean_cosine
from wtal_plugins.fac_net.trunk import FG_INITS, Temperatures, centers

CAS_SOURCES = ("host_cosine", "host_logits", "own")


class ClassWiseOnHost(nn.Module, Head):
    """The class-wise foreground branch for any host with an `embedding`, Eq. (1)-(4): `cw_logits` [B,K].

    The attention over time comes from the host's own classifier, so that CW shapes that classifier as well as the
    embedding; the host's test path stays as it is. Train with `VideoCrossEntropy` reading `cw_logits`. K = C, or
    C+1 if the host has a background class. Padded rows of the host's fields may hold anything finite.

    Args:
        channels, num_classes: E of the host's embedding, C.
        background: whether the host's classes end with a background (with `cas_source="own"`: the new centres).
        cas_source: scores S_a the attention is made of. "host_cosine": delta cos(embedding, the host's
            `class_weights`); "host_logits": the host's `cas` as it is; "own": delta cos(embedding, new centres), which
            reaches the host through the embedding alone.
        fg_init: W_f starts as "neg_bg": minus the background row (of the host's `class_weights`, taken when the branch
            first runs, or of the new centres) where there is one; else, and as "random": Xavier-uniform. New centres
            may start as FAC-Net's own do, "actions" too.
        fg_tie: also give `ca_logits` [B,K] of the CA branch made of W_f and the class rows, Eq. (8)-(11), for a second
            `VideoCrossEntropy` (weight 0.1 in FAC-Net): there W_f takes its foreground meaning from.
        temperatures, delta, video_scale_multiplier: as in FAC-Net.
        dropout: on the embedding, in training.

    Raises:
        ConfigError: unknown switch value; on the first batch: a host with another number of classes.
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
        self.cas_source = choose("cas_source", cas_source, CAS_SOURCES)
        self.columns, self.delta, self.scale = num_classes + background, delta, delta * video_scale_multiplier
        known = FG_INITS if cas_source == "own" else FG_INITS[:2]
        follows_host = choose("fg_init", fg_init, known) == "neg_bg" and background and cas_source != "own"
        if cas_source == "own":
            self.action_centers, self.fg_center = centers(num_classes, background, channels, fg_init)
        else:
            self.fg_center = xavier_rows(1, channels)
        self.attend = Temperatures(temperatures)
        self.dropout = nn.Dropout(dropout)
        # a buffer, so that a resumed run does not start W_f anew; the attribute spares a device wait every step
        self.register_buffer("fg_started", torch.tensor(not follows_host))
        self._started = not follows_host

        logits, rows = cas_source == "host_logits", cas_source == "host_cosine" or (fg_tie and cas_source != "own")
        self.requires = ("embedding", *(("cas",) if logits else ()), *(("class_weights",) if rows else ()))
        self.optional = ("class_weights",) if follows_host and not rows else ()
        self.provides = self.video_level = ("cw_logits", "ca_logits") if fg_tie else ("cw_logits",)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """The host's fields -> [B,K]."""
        x = self.dropout(outputs["embedding"])
        rows = self.action_centers if self.cas_source == "own" else outputs.get("class_weights")
        columns = outputs["cas"].shape[-1] if self.cas_source == "host_logits" else len(rows)
        if columns != self.columns:
            raise ConfigError(
                f"fac_net.ClassWiseOnHost: the host has {columns} classes, num_classes and background make "
                f"{self.columns}. Set background=True exactly if the host's last class is background."
            )
        self._start_foreground(rows)
        scores = outputs["cas"] if self.cas_source == "host_logits" else self.delta * cosine(x, rows)
        attention = self.attend(scores, batch.mask)
        features = attention_pool(x, attention.flatten(2), batch.mask).unflatten(1, attention.shape[2:])
        made = {"cw_logits": self.scale * mean_cosine(features, self.fg_center).squeeze(-1)}
        if "ca_logits" in self.provides:
            foreground = self.attend(self.delta * cosine(x, self.fg_center), batch.mask)
            pooled = attention_pool(x, foreground.flatten(2), batch.mask)
            made["ca_logits"] = self.scale * mean_cosine(pooled, rows)
        return made

    @torch.no_grad()
    def _start_foreground(self, rows: Tensor | None) -> None:
        if self._started:
            return
        if rows is not None and not self.fg_started:
            self.fg_center.copy_(-rows[-1:])
        self.fg_started.fill_(True)
        self._started = True
