"""Independent models trained in one run and merged only when decoding.

Some methods train an RGB and a flow model that never see each other, or fuse two variants at test time. Here they
share a run, not a parameter: each member draws its initialisation and its dropout from a generator of its own (seed
of the step, name of the stream), so a run of both equals two runs of one, bit for bit.
"""

from __future__ import annotations

import contextlib
import functools
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.interfaces import Batch, Outputs, TrainingPass
from wtal_bench.modeling.blocks import take_columns
from wtal_bench.modeling.localizer import Localizer
from wtal_bench.modeling.model import Decoding, Model
from wtal_bench.modeling.parts import Part, build_part, check_name, check_reads
from wtal_bench.options import check_arguments, columns, merged

__all__ = ["Streams"]


class Streams(Model):
    """One `Localizer` per stream; their fields are named `<stream>.<field>`, the loss is the sum of theirs.

    Args:
        streams: name -> (first, end) columns of the features, e.g. dict(rgb=(0, 1024), flow=(1024, 2048)); None for
            all columns.
        member: config of the `Localizer` every stream has a copy of (without a decoder of its own).
        postprocessor: decodes the fields of all streams together.
        overrides: stream name -> what its member's config has otherwise, merged key by key.
        where: config file name for error texts.
    """

    def __init__(
        self,
        streams: Mapping[str, tuple[int, int] | None],
        member: Mapping[str, Any],
        postprocessor: Mapping[str, Any],
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        where: str = "config",
    ) -> None:
        super().__init__()
        if not isinstance(streams, Mapping) or not streams:
            raise ConfigError(f"{where}: model.streams must name at least one stream, e.g. dict(rgb=(0, 1024)).")
        for name in streams:
            check_name(name, f"{where}: model.streams")
            if hasattr(nn.ModuleDict, name):
                raise ConfigError(f"{where}: model.streams: torch uses the name {name!r} itself; choose another.")
        for key, value in (("member", member), ("overrides", overrides or {})):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}: model.{key} must be a dict, got {value!r}.")
        self.where = where
        self.columns = {
            name: None if span is None else columns(f"{where}: model.streams.{name}", span)
            for name, span in streams.items()
        }
        for name in overrides or {}:
            if name not in streams:
                raise ConfigError(
                    f"{where}: model.overrides.{name}: no such stream.{did_you_mean(name, streams)} Streams: "
                    f"{listing(streams)}."
                )
        self.members = nn.ModuleDict()
        for name in streams:
            own = merged(member, (overrides or {}).get(name, {}))
            hidden = ("where", "key", "postprocessor")
            check_arguments(Localizer, own, f"{where}: model.member", shown="a stream's member", hidden=hidden)
            with stream_generator(name):
                self.members[name] = Localizer(**own, where=where, key=f"model.member[{name}]")
        self._decoder = build_part("postprocessor", postprocessor, f"{where}: model.postprocessor")
        self._postprocessor, self._alone = postprocessor, {}
        self.shared_fields = {f"{n}.{f}" for n, m in self.members.items() for f in m.shared_fields}
        self.video_level_fields = {f"{n}.{f}" for n, m in self.members.items() for f in m.video_level_fields}
        made = {f"{n}.{f}": n for n, m in self.members.items() for f in m.fields}
        check_reads(self._decoder, made)

    def stream_decoders(self) -> dict[str, Part]:
        """A decoder a stream: the pooled one with that stream's pass alone; {} unless every stream has a pass."""
        passes = self._postprocessor.get("passes")
        if not isinstance(passes, Mapping) or any(passes.get(name) is None for name in self.members):
            return {}
        where = f"{self.where}: model.postprocessor"
        return {
            name: build_part("postprocessor", {**self._postprocessor, "passes": {name: passes[name]}}, where)
            for name in self.members
        }

    def decode_alone(self, wanted: bool) -> None:
        """Let predictions hold what every stream finds alone (`Prediction.alone`), or no longer."""
        self._alone = self.stream_decoders() if wanted else {}

    def decoding(self) -> Decoding:
        """The decoder; also every stream's own, if asked for."""
        return replace(super().decoding(), alone=self._alone)

    @property
    def fields(self) -> list[str]:
        """Names of all output fields, member by member."""
        return [f"{name}.{field}" for name, member in self.members.items() for field in member.fields]

    def parts(self) -> Iterator[tuple[str, str, Part]]:
        """Yield (key path below `model`, prefix of the fields it knows, part) of every part."""
        for name, member in self.members.items():
            for path, _, part in member.parts():
                yield f"members.{name}.{path}", f"{name}.", part
        yield "postprocessor", "", self._decoder

    def compute(self, batch: Batch, wanted: Collection[str] | None = None) -> Outputs:
        """Run every member on its own columns; one of which nothing is wanted does not run."""
        outputs = {}
        for name, member in self.members.items():
            prefix = f"{name}."
            own = None if wanted is None else [f.removeprefix(prefix) for f in wanted if f.startswith(prefix)]
            if own == []:
                continue
            for field, value in member.compute(self._columns(batch, name), own).items():
                outputs[prefix + field] = value
        return outputs

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars named `<stream>.<scalar>`, and "total", the sum of the streams' totals."""
        scalars: dict[str, Tensor] = {}
        totals = []
        for name, member in self.members.items():
            with stream_generator(name):
                own = member.losses(self._columns(batch, name))
            totals.append(own.pop("total"))
            scalars.update({f"{name}.{scalar}": value for scalar, value in own.items()})
        return {**scalars, "total": functools.reduce(torch.add, totals)}

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
        if self.columns[name] is None:
            return batch
        own = take_columns(batch.features, self.columns[name], f"{self.where}: model.streams.{name}")
        return replace(batch, features=own)


@contextlib.contextmanager
def stream_generator(name: str) -> Iterator[None]:
    """Run with torch's generators seeded from (current seed, stream name); the outer state is restored after."""
    if torch.compiler.is_compiling():  # one graph of all streams draws from one generator
        yield
        return
    seed = torch.initial_seed() ^ zlib.crc32(name.encode())
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
