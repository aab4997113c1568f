"""The smallest components that do something, registered for one test at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from wtal_bench.interfaces import (
    Backbone,
    ComponentInfo,
    Head,
    Loss,
    PostProcessor,
    View,
)
from wtal_bench.modeling.blocks import TemporalConv, masked_mean, topk_count, topk_mean, zero_padding
from wtal_bench.plugins import registry, snapshot
from wtal_bench.structures import Detections


class Trunk(nn.Module, Backbone):
    """Convolution and dropout: `embedding` [B,T,E]."""

    def __init__(self, width: int = 8, channels: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = TemporalConv(width, channels)
        self.dropout = nn.Dropout(dropout)
        self.calls: list[int] = []

    def forward(self, features, mask):
        self.calls.append(len(features))
        return {"embedding": self.dropout(self.conv(features, mask))}


class Cas(nn.Module, Head):
    """`cas` [B,T,C] and `video_logits` [B,C]."""

    requires = ("embedding",)
    provides = ("cas", "video_logits")
    video_level = ("video_logits",)

    def __init__(self, channels: int = 4, classes: int = 3) -> None:
        super().__init__()
        self.classifier = nn.Linear(channels, classes)

    def forward(self, outputs, batch):
        assert set(outputs) == {"embedding"}
        cas = zero_padding(self.classifier(outputs["embedding"]), batch.mask)
        return {"cas": cas, "video_logits": topk_mean(cas, batch.mask, topk_count(batch.mask, divisor=4))}


class Attention(nn.Module, Head):
    """`attention` [B,T]."""

    requires = ("embedding",)
    provides = ("attention",)

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.gate = nn.Linear(channels, 1)
        self.calls = 0

    def forward(self, outputs, batch):
        self.calls += 1
        return {"attention": torch.sigmoid(self.gate(outputs["embedding"])).squeeze(-1)}


class Doubled(nn.Module, Head):
    """Twice the attention, under the same name if the config says so."""

    requires = ("attention",)
    provides = ("doubled",)

    def forward(self, outputs, batch):
        return {"doubled": 2 * outputs["attention"]}


class Bank(nn.Module, Head):
    """`class_weights` [C,E], shared by all videos."""

    requires = ("embedding",)
    provides = ("class_weights",)
    shared = ("class_weights",)

    def __init__(self, rows: int = 5, channels: int = 4) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.ones(rows, channels))

    def forward(self, outputs, batch):
        return {"class_weights": self.rows}


class Liar(nn.Module, Head):
    """Says one thing and returns another."""

    provides = ("truth",)

    def forward(self, outputs, batch):
        return {"fiction": batch.mask}


class Undeclared(nn.Module, Head):
    """A field [B,C] that claims to have a time axis."""

    requires = ("cas",)
    provides = ("scores",)

    def forward(self, outputs, batch):
        return {"scores": masked_mean(outputs["cas"], batch.mask)}


class TwoTerms(Loss):
    """Two scalars of the attention, and of another field if there is one."""

    requires = ("attention",)
    optional = ("doubled",)

    def __call__(self, outputs, batch):
        first = masked_mean(outputs["attention"], batch.mask).mean()
        return {"first": first, "second": outputs["doubled"].mean() if "doubled" in outputs else first**2}


class Infinite(Loss):
    """A term that is never a number."""

    def __call__(self, outputs, batch):
        return {"term": batch.features.sum() * float("inf")}


class Half(View):
    """The first half of every video, rounded up."""

    def __call__(self, batch):
        count = (batch.lengths + 1) // 2
        longest = int(count.max())
        mask = torch.arange(longest) < count[:, None]
        features = zero_padding(batch.features[:, :longest], mask)
        return replace(batch, features=features, mask=mask, snippet_index=batch.snippet_index[:, :longest])


class OneDetection(PostProcessor):
    """The whole video, labelled with its best class; the attention's mean as the score if there is one."""

    requires = ("cas",)
    optional = ("attention",)

    def __init__(self, end: float = 1.0) -> None:
        self.end = end

    def __call__(self, outputs, meta):
        score = float(outputs["attention"].mean()) if "attention" in outputs else 1.0
        return Detections.from_rows([[int(outputs["cas"].mean(axis=0).argmax()), 0, self.end * meta.duration, score]])

    def video_scores(self, outputs):
        return outputs["cas"].max(axis=0)

    def snippet_scores(self, outputs):
        return outputs["cas"]


class ScoresOnly(PostProcessor):
    """Nothing found, whatever the [C] scores."""

    requires = ("scores",)

    def __call__(self, outputs, meta):
        assert outputs["scores"].ndim == 1
        return Detections.from_rows(np.zeros((0, 4)))


KINDS = {
    "backbone": (Trunk,),
    "head": (Cas, Attention, Doubled, Bank, Liar, Undeclared),
    "loss": (TwoTerms, Infinite),
    "view": (Half,),
    "postprocessor": (OneDetection, ScoresOnly),
}


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Know every toy as `toy.<Class>` for a while."""
    with snapshot():
        for kind, classes in KINDS.items():
            for cls in classes:
                target = f"{__name__}:{cls.__name__}"
                registry(kind).add(ComponentInfo(kind, f"toy.{cls.__name__}", target, plugin="toy"))
        yield


def config(**changes) -> dict:
    """A toy `Localizer`."""
    return {
        "type": "Localizer",
        "backbone": {"type": "toy.Trunk"},
        "heads": {"cas": {"type": "toy.Cas"}, "attention": {"type": "toy.Attention"}},
        "losses": {"cls": {"type": "VideoCrossEntropy"}, "terms": {"type": "toy.TwoTerms"}},
        "postprocessor": {"type": "toy.OneDetection"},
        **changes,
    }
