"""What a model says of itself when it is built and shown one small video: widths, classes, fields, weights.

An idea that is put on a host takes its sizes from here. Nothing of it is written in a config, so nothing of it can be
wrong there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wtal_bench.errors import ConfigError, WtalError
from wtal_bench.interfaces import Batch, Outputs
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.localizer import Localizer
from wtal_bench.modeling.model import Model
from wtal_bench.modeling.streams import Streams
from wtal_bench.structures import VideoMeta

SNIPPETS = 64
"""Length of the video that is shown; long enough for every published pooling and kernel."""


class Facts:
    """Facts of the model a config describes; each is found when it is first asked for.

    Args:
        config: the `model` section.
        where: file name for error texts.

    Raises:
        ConfigError, PluginError: the model cannot be built.
    """

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self.config, self.where = config, where
        # looking at a model must not change the next one's initialisation; it is run, so it cannot be on meta
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            self.model: Model = build_model(config, where).eval()

    @property
    def members(self) -> dict[str, Localizer]:
        """The localizers inside: one without a name, or one a stream."""
        return dict(self.model.members) if isinstance(self.model, Streams) else {"": self.model}

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams; empty for a model that is one localizer."""
        return tuple(name for name in self.members if name)

    @property
    def fields(self) -> list[str]:
        """Output fields, of a member where there are streams."""
        return self._common({name: member.fields for name, member in self.members.items()}, "make the fields")

    def offers(self, field: str) -> tuple[str, Mapping[str, Any]] | None:
        """Who would make a field if it were configured to: its key path below the member, and the arguments."""
        for path, component in self._first().components():
            if field in component.offers:
                return path, component.offers[field]
        return None

    @functools.cached_property
    def num_classes(self) -> int:
        """C, as the decoder gives video scores.

        Raises:
            ConfigError: a decoder without video scores.
        """
        decoder = self.model.decoder
        if decoder is None or not hasattr(decoder.component, "video_scores"):
            raise ConfigError(f"{self.where}: the decoder has no video scores, so its number of classes is not known.")
        shared = self.model.shared_fields
        outputs = self._computed(decoder.readable)
        arrays = {name: (x if name in shared else x[0]).double().numpy() for name, x in outputs.items()}
        return len(decoder.component.video_scores(decoder.inputs(arrays)))

    def width(self, field: str) -> int:
        """Size of the last axis of a member's field: E of an `embedding`, C or C+1 of a `cas`."""
        found = {name: self.outputs[_prefix(name) + field].shape[-1] for name in self.members}
        return self._common(found, f"make `{field}` of width")

    @property
    def class_weight(self) -> float:
        """What one class of a video weighs in the host's loss: the largest among its classification losses.

        That is the loss's own weight, over its columns where the loss is a mean over classes.

        Raises:
            ConfigError: no loss says that it classifies.
        """
        found = {}
        for name, member in self.members.items():
            found[name] = max(_class_weights(member, self.outputs, _prefix(name)), default=None)
        if None in found.values():
            raise ConfigError(
                f"{self.where}: none of the losses of the host says that it classifies the video (`Loss.classifies`), "
                "so there is no weight to scale by. Take the published weights as they are: scale_weights=False."
            )
        return self._common(found, "weigh their classification loss by")

    # ---- one small video ----

    @functools.cached_property
    def outputs(self) -> Outputs:
        """All fields of one video of `SNIPPETS` snippets with every tag; only their shapes mean anything."""
        return self._computed(None, torch.ones(1, self.num_classes, device="cpu"))

    def _computed(self, wanted: list[str] | None, labels: Tensor | None = None) -> Outputs:
        """The `wanted` fields.

        Raises:
            ConfigError: the model runs on no width of features that its config names.
        """
        errors: list[Exception] = []
        for width in _widths(self.config):
            try:
                with torch.no_grad(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
                    torch.manual_seed(0)
                    outputs = self.model.compute(_video(width, labels), wanted)
                return {name: x.detach() for name, x in outputs.items()}
            except (WtalError, RuntimeError, ValueError, IndexError) as error:
                errors.append(error)  # another width, then
        raise ConfigError(f"{self.where}: the host cannot be run on one video: {errors[0] if errors else 'no width'}")

    def _first(self) -> Localizer:
        return next(iter(self.members.values()))

    def _common(self, found: Mapping[str, Any], what: str) -> Any:
        """The value that all streams share.

        Raises:
            ConfigError: they differ, so one patch cannot serve them all.
        """
        first, *others = found.values()
        if any(other != first for other in others):
            each = "; ".join(f"{name} {value}" for name, value in found.items())
            raise ConfigError(f"{self.where}: the streams {what} each of its own ({each}); an idea needs them alike.")
        return first


def _prefix(stream: str) -> str:
    return f"{stream}." if stream else ""


def _class_weights(member: Localizer, outputs: Mapping[str, Tensor], prefix: str) -> Iterator[float]:
    for part, weight in member.weighted_losses():
        kind = part.component.classifies
        if kind:
            columns = outputs[prefix + part.required[0]].shape[-1]
            yield weight.largest(0) / (columns if kind == "mean" else 1)


def _widths(config: Any) -> list[int]:
    """Numbers that may be the width of the features: `in_channels`, ends of columns, then any other, largest first."""
    named, ends, other = set(), set(), set()

    def look(node: Any, key: str) -> None:
        if isinstance(node, Mapping):
            for name, value in node.items():
                look(value, str(name))
        elif isinstance(node, (list, tuple)) and len(node) == 2 and all(type(item) is int for item in node):
            ends.add(node[1])
        elif type(node) is int and node > 0:
            (named if key == "in_channels" else other).add(node)

    look(config, "")
    ranked = [width for group in (ends, named, other) for width in sorted(group, reverse=True)]
    return list(dict.fromkeys(width for width in ranked if width > 1 and not math.isinf(width)))


def _video(width: int, labels: Tensor | None) -> Batch:
    place = np.arange(SNIPPETS, dtype=np.float64)
    return Batch(
        features=torch.rand(1, SNIPPETS, width),
        mask=torch.ones(1, SNIPPETS, dtype=torch.bool),
        labels=labels,
        index=torch.zeros(1, dtype=torch.int64),
        meta=(VideoMeta("?", SNIPPETS * 16 / 25, 25.0, 16, SNIPPETS, place),),
        snippet_index=torch.from_numpy(place[None]),
    )
