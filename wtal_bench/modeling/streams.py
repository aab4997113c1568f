"""Independent models, one per feature stream, trained in one run and merged only when decoding.

Some methods train an RGB and a flow model that never see each other. Here they share a run, not a parameter: each
member draws its initialisation and its dropout from a generator of its own (seed of the step, name of the stream),
so a run of both streams equals two runs of one, bit for bit.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from wtal_bench.errors import ConfigError, listing
from wtal_bench.interfaces import Batch, Component, Outputs, TrainingPass
from wtal_bench.modeling.localizer import Localizer, check_reads
from wtal_bench.modeling.model import Model
from wtal_bench.modeling.parts import build_part

__all__ = ["Streams"]


class Streams(Model):
    """One `Localizer` per stream; their fields are named `<stream>.<field>`, the loss is the sum of theirs.

    Args:
        streams: name -> (first, end) columns of the features, e.g. dict(rgb=(0, 1024), flow=(1024, 2048)).
        member: config of the one `Localizer` every stream has a copy of (its own decoder is not used).
        postprocessor: decodes the fields of all streams together.
        where: config file name for error texts.
    """

    def __init__(
        self,
        streams: Mapping[str, tuple[int, int]],
        member: Mapping[str, Any],
        postprocessor: Mapping[str, Any],
        where: str = "config",
    ) -> None:
        super().__init__()
        if not streams:
            raise ConfigError(f"{where}: model.streams is empty; name at least one, e.g. dict(rgb=(0, 1024)).")
        self.where = where
        self.columns = {name: tuple(columns) for name, columns in streams.items()}
        arguments = {key: value for key, value in member.items() if key != "type"}
        self.members = nn.ModuleDict()
        for name in streams:
            with stream_generator(name):
                self.members[name] = Localizer(**arguments, where=where, key="model.member")
        self._decoder = build_part("postprocessor", postprocessor, f"{where}: model.postprocessor")
        self.shared_fields = {f"{n}.{f}" for n, m in self.members.items() for f in m.shared_fields}
        self.video_level_fields = {f"{n}.{f}" for n, m in self.members.items() for f in m.video_level_fields}
        made = {f"{n}.{f}": n for n, m in self.members.items() for f in m.fields}
        check_reads(self._decoder, made)

    def components(self) -> Iterator[tuple[str, Component]]:
        """Yield (key path below `model`, component) of every part."""
        for name, member in self.members.items():
            for path, component in member.components():
                yield f"members.{name}.{path}", component
        yield "postprocessor", self._decoder.component

    def compute(self, batch: Batch) -> Outputs:
        """Run every member on its own columns."""
        return {
            f"{name}.{field}": value
            for name, member in self.members.items()
            for field, value in member.compute(self._columns(batch, name)).items()
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars named `<stream>.<scalar>`, and "total", the sum of the streams' totals."""
        scalars: dict[str, Tensor] = {}
        totals = []
        for name, member in self.members.items():
            with stream_generator(name):
                own = member.losses(self._columns(batch, name))
            totals.append(own.pop("total"))
            scalars.update({f"{name}.{scalar}": value for scalar, value in own.items()})
        return {**scalars, "total": torch.stack(totals).sum()}

    def begin_epoch(self, epoch: int, training_pass: TrainingPass) -> None:
        """Tell every member, each with its own view of the training set."""

        def own_pass(name: str) -> TrainingPass:
            def run() -> Iterator[tuple[Outputs, Batch]]:
                for outputs, batch in training_pass():
                    prefix = f"{name}."
                    own = {f.removeprefix(prefix): v for f, v in outputs.items() if f.startswith(prefix)}
                    yield own, self._columns(batch, name)

            return run

        for name, member in self.members.items():
            member.begin_epoch(epoch, own_pass(name))

    def _columns(self, batch: Batch, name: str) -> Batch:
        first, end = self.columns[name]
        if end > batch.features.shape[2]:
            raise ConfigError(
                f"{self.where}: model.streams.{name} takes columns {first}..{end}, but the features have "
                f"{batch.features.shape[2]}. Streams: {listing(self.columns)}; see the store's manifest.json."
            )
        return replace(batch, features=batch.features[:, :, first:end])


@contextlib.contextmanager
def stream_generator(name: str) -> Iterator[None]:
    """Run with torch's generators seeded from (current seed, stream name); the outer state is restored after."""
    seed = torch.initial_seed() ^ zlib.crc32(name.encode())
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
