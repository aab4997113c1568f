"""The one mmengine model: Batch -> Backbone -> Heads -> Outputs -> Losses, or -> PostProcessor -> Detections.

It checks, when it is built, that every field a component reads is made by an earlier one. Wiring keys any component's
config may carry beside its own arguments:

    reads=dict(attention="actionness")   read another field where the component says `attention`
    reads="post.video_logits"            the same for a component that reads one field
    writes=dict(cas="own_cas")           store a field under another name
    weight=0.1                           losses only, see `wtal_bench.modeling.weights`
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Outputs, TrainingPass
from wtal_bench.modeling.model import Model
from wtal_bench.modeling.parts import Part, build_part, build_parts, check_reads, check_scalars, check_trains, modules
from wtal_bench.modeling.weights import LossWeight
from wtal_bench.packing import joined_packing, joined_tags, note_packing, note_tags

__all__ = ["Localizer"]


class Localizer(Model):
    """A weakly supervised temporal action localizer assembled from registered components.

    Args:
        backbone, heads, losses, postprocessor, views: component configs (dicts with `type`); heads, losses and views
            are dicts by name, an entry that is None is left out. Only the members of `Streams` lack a post-processor.
        where: config file name for error texts.
        key: key path of this model in it.

    Raises:
        ConfigError: a field that nobody makes, two makers of one field, or wrong arguments.
        PluginError: an unknown component.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        heads: Mapping[str, Mapping[str, Any] | None],
        losses: Mapping[str, Mapping[str, Any] | None],
        postprocessor: Mapping[str, Any] | None = None,
        views: Mapping[str, Mapping[str, Any] | None] | None = None,
        where: str = "config",
        key: str = "model",
    ) -> None:
        super().__init__()
        self.where = where
        self._backbone = build_part("backbone", backbone, f"{where}: {key}.backbone")
        self._heads = build_parts("head", heads, f"{where}: {key}.heads")
        self._losses = build_parts("loss", losses, f"{where}: {key}.losses")
        self._views = build_parts("view", views or {}, f"{where}: {key}.views")
        self._weights = {
            name: LossWeight(losses[name].get("weight", 1.0), f"{where}: {key}.losses.{name}.weight")
            for name in self._losses
        }
        if postprocessor is not None:
            self._decoder = build_part("postprocessor", postprocessor, f"{where}: {key}.postprocessor")
        self.backbone = self._backbone.component
        self.heads = modules(self._heads)
        self.criteria = modules(self._losses)
        self.shared_fields = {field for part in self._makers() for field in part.shared}
        self.video_level_fields = {field for part in self._makers() for field in part.video_level}
        self._check_fields()
        self._trained = self._trained_fields()

    # ---- what it is made of ----

    def parts(self) -> Iterator[tuple[str, str, Part]]:
        """Yield (key path below `model`, "", part) of every part."""
        yield "backbone", "", self._backbone
        for group, parts in (("heads", self._heads), ("losses", self._losses), ("views", self._views)):
            for name, part in parts.items():
                yield f"{group}.{name}", "", part
        if self._decoder is not None:
            yield "postprocessor", "", self._decoder

    def weighted_losses(self) -> Iterator[tuple[Part, LossWeight]]:
        """Yield every loss in its place with its weights."""
        yield from ((part, self._weights[name]) for name, part in self._losses.items())

    @property
    def fields(self) -> list[str]:
        """Names of all output fields, in the order they are made."""
        return [field for part in self._makers() for field in part.provided]

    def _makers(self) -> list[Part]:
        return [self._backbone, *self._heads.values()]

    def _check_fields(self) -> None:
        maker = dict.fromkeys(self._backbone.provided, self._backbone.where)
        waiting = dict(self._heads)
        self._heads = {}
        while waiting:
            # a head added by a mix stands last in the config but may feed an earlier one: run each once it can run
            ready = next((n for n, part in waiting.items() if all(f in maker for f in part.required)), None)
            if ready is None:
                promised = [f for part in waiting.values() for f in part.provided]
                for part in waiting.values():  # first a field that nobody makes at all, then heads in a circle
                    check_reads(part, [*maker, *promised], parts=[*self._makers(), *waiting.values()])
                check_reads(next(iter(waiting.values())), maker, promised)
            part = self._heads[ready] = waiting.pop(ready)
            for field in part.provided:
                if field in maker:
                    raise ConfigError(
                        f"{part.where} makes {field!r}, which {maker[field]} already makes. Store one of them under "
                        f"another name, e.g. writes=dict({field}='{ready}.{field}')."
                    )
                maker[field] = part.where
        for part in self._losses.values():
            views = {f"{view}.{field}": where for view in self._views for field, where in maker.items()}
            check_reads(part, {**maker, **views}, parts=self._makers())
            check_trains(part, self._makers())
        if self._decoder is not None:
            check_reads(self._decoder, maker, parts=self._makers())

    # ---- forward ----

    def compute(self, batch: Batch, wanted: Collection[str] | None = None) -> Outputs:
        """Run backbone and heads: {field: [B,...] tensor}.

        Args:
            batch: the videos.
            wanted: run only the heads these fields depend on (at test, what the decoder reads); None runs all.
        """
        outputs = self._backbone.outputs(self.backbone(batch.features, batch.mask))
        for part in self._heads_for(wanted):
            outputs.update(part.outputs(part.component(part.inputs(outputs), batch)))
        return outputs

    def _heads_for(self, wanted: Collection[str] | None) -> list[Part]:
        if wanted is None:
            return list(self._heads.values())
        needed, chosen = set(wanted), []
        for part in reversed(self._heads.values()):
            if needed & set(part.provided):
                chosen.append(part)
                needed.update(part.readable)
        return chosen[::-1]

    def _trained_fields(self) -> frozenset[str]:
        """What a training step makes: what losses read, and whatever a head makes that learns or keeps something.

        Left are heads that only work out what the decoder reads.
        """
        read = {field for part in self._losses.values() for field in part.readable}
        own = {field.partition(".")[2] for field in read if field.partition(".")[0] in self._views}
        kept = {field for part in self._heads.values() if _holds_something(part.component) for field in part.provided}
        return frozenset(read | own | kept)

    def compute_with_views(self, batch: Batch) -> Outputs:
        """Run the batch and its views in one forward, as training does; the fields of view `v` are named `v.<field>`.

        Heads without parameters, buffers and modules of their own are left out where no loss reads what they make.
        """
        if not self._views:
            return self.compute(batch, self._trained)
        batches = [batch, *(part.component(batch) for part in self._views.values())]
        joined = self.compute(_join(batches), self._trained)
        outputs: Outputs = {}
        for i, prefix in enumerate(["", *(f"{name}." for name in self._views)]):
            rows = slice(i * len(batch), (i + 1) * len(batch))
            length = batches[i].mask.shape[1]
            for field, value in joined.items():
                if field in self.shared_fields:
                    outputs[prefix + field] = value
                elif field in self.video_level_fields:
                    outputs[prefix + field] = value[rows]
                else:
                    outputs[prefix + field] = value[rows, :length]
        return outputs

    def losses(self, batch: Batch, outputs: Outputs | None = None) -> dict[str, Tensor]:
        """Every loss scalar, unweighted: {"<loss>" or "<loss>.<scalar>": 0-d}, and "total", the weighted sum."""
        outputs = self.compute_with_views(batch) if outputs is None else outputs
        scalars: dict[str, Tensor] = {}
        total: Tensor | None = None
        for name, part in self._losses.items():
            made = part.component(part.inputs(outputs), batch)
            check_scalars(part, made)
            self._weights[name].check_scalars(list(made))
            for scalar, value in made.items():
                weight = self._weights[name].at(scalar, batch.epoch)
                if weight:  # a weight of 0 switches a term off, even one that is infinite
                    weighed = value if weight == 1 else weight * value
                    total = weighed if total is None else total + weighed
                scalars[name if len(made) == 1 else f"{name}.{scalar}"] = value
        # with every weight 0 (schedules may begin so) a step changes nothing, but must still run backward
        scalars["total"] = batch.features.new_zeros((), requires_grad=True) if total is None else total
        return scalars

    def begin_epoch(self, epoch: int, training_pass: TrainingPass) -> None:
        """Tell every component that a training epoch begins (see `Component.begin_epoch`)."""
        for _, component in self.components():
            component.begin_epoch(epoch, training_pass)


def _holds_something(head: torch.nn.Module) -> bool:
    """Whether a head can learn or keep anything, or draw (dropout is a module)."""
    return bool([*head.parameters(), *head.buffers(), *head.children()])


def _join(batches: list[Batch]) -> Batch:
    """Stack batches of the same videos along B, padded to one length."""
    longest = max(b.mask.shape[1] for b in batches)

    def pad(x: Tensor) -> Tensor:
        if x.shape[1] == longest:
            return x
        return torch.cat([x, x.new_zeros(x.shape[0], longest - x.shape[1], *x.shape[2:])], dim=1)

    first = batches[0]
    joined = replace(
        first,
        features=torch.cat([pad(b.features) for b in batches]),
        mask=torch.cat([pad(b.mask) for b in batches]),
        labels=None if first.labels is None else torch.cat([b.labels for b in batches]),
        index=torch.cat([b.index for b in batches]),
        meta=tuple(meta for b in batches for meta in b.meta),
        snippet_index=torch.cat([pad(b.snippet_index) for b in batches]),
        pairs=None,
        pair_same=None,
    )
    note_packing(joined.mask, joined_packing([b.packing for b in batches], longest))
    if joined.labels is not None:
        note_tags(joined.labels, joined_tags([b.tags for b in batches]))
    return joined
