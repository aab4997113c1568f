"""Pseudo labels from a host's own fused detections, remade at chosen epochs, used absolutely or as differences."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Head, Outputs, Picture, TrainingPass
from wtal_bench.modeling.blocks import gather_ranks, rank_and_world
from wtal_bench.options import build, choose
from wtal_bench.structures import VideoMeta
from wtal_plugins.gaufuse.decoder import build_decoder, candidates_of
from wtal_plugins.gaufuse.fusion import Fusion
from wtal_plugins.gaufuse.label_store import LabelBank, LabelStore, VideoLabels
from wtal_plugins.gaufuse.linpro import FAILED, INFEASIBLE, SOLVED, LinPro, Problem, Solution
from wtal_plugins.gaufuse.snippet_classes import last_bit

KINDS = ("none", "absolute", "delta")
log = logging.getLogger(__name__)


class PseudoLabels(nn.Module, Head):
    """`pseudo_labels` [B,T,columns]: G (Eq. 6) or delta G (Eq. 8) of every video, at its sampled snippets.

    At the start of each generation's epoch the whole training set is decoded by `decoder` (any host's curve and class
    rule), candidates are fused, and one call of LinPro turns every class's instances into a label. With several
    processes each solves a share. Labels are kept by video id and are part of the checkpoint; a refresh that is
    interrupted leaves the ones before it. How many classes had no solution, and how many hang on a last bit, is logged
    and kept in `counts`.

    The host decodes in eval mode. GauFuse's own code labels with dropout on: `rskp.Embedding(dropout_in_passes=...)`.

    Args:
        num_columns: columns of the CAS the labels supervise (C, or C+1 with background).
        decoder: as in `gaufuse.FusedDecoder`. `num_classes=None` labels the background column too, like the authors.
        generations: epochs at whose start labels are made.
        temperatures: of the fusion, one a generation, or one number for all.
        schedule: [(first epoch, "none"|"absolute"|"delta", scale), ...]: which label is used from when on; none before
            the first entry, and none before the first generation. "absolute": scale G(latest); "delta": scale
            (G(latest) - G(previous)), where the generation before the first is 0.
        fusion: settings of `Fusion` besides the temperature; distribution='nms' labels from plain NMS (Table 4).
        linpro: settings of `LinPro`.
        gate_by_label: only classes among the video's tags get labels (the authors' code does not look at them).

    Raises:
        ConfigError: unknown or impossible setting.
    """

    provides = ("pseudo_labels",)
    pictures = MappingProxyType(
        {"labels": Picture("wtal_plugins.gaufuse.picture:draw_run", "candidates, fused instances and the pseudo label")}
    )

    def __init__(
        self,
        num_columns: int,
        decoder: Mapping[str, Any],
        generations: Sequence[int],
        schedule: Sequence[tuple[int, str, float]],
        temperatures: float | Sequence[float] = 0.02,
        fusion: Mapping[str, Any] | None = None,
        linpro: Mapping[str, Any] | None = None,
        gate_by_label: bool = False,
    ) -> None:
        super().__init__()
        self.num_columns = num_columns
        self.decoder = build_decoder(decoder)
        self.requires = self.decoder.requires
        self.fusion = build(Fusion, fusion, "fusion")
        self.linpro = build(LinPro, linpro, "linpro")
        self.generations = {
            epoch: replace(self.fusion, temperature=heat) for epoch, heat in _paired(generations, temperatures)
        }
        self.schedule = _checked(schedule)
        self.gate_by_label = gate_by_label
        self.needs = ("labels",) if gate_by_label else ()
        self.made_at: int | None = None
        self.latest, self.previous = LabelStore(), LabelStore()
        self.counts: dict[str, int] = {}
        self._banked: tuple[tuple[str, float, str], LabelBank] | None = None
        self._begun, self._bank = False, None
        # says where the component is: it has no weights
        self.register_buffer("_place", torch.empty(0), persistent=False)

    def rule(self, epoch: int) -> tuple[str, float]:
        """("none" | "absolute" | "delta", scale) of an epoch."""
        begun = [(kind, scale) for first, kind, scale in self.schedule if first <= epoch]
        return begun[-1] if begun else ("none", 0.0)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """Snippet positions -> [B,T,columns], zero under padding."""
        # what goes into a graph may neither make a bank nor look at the epoch: each would be a graph of its own
        ready = self._begun and torch.compiler.is_compiling()
        bank = self._bank if ready else self._bank_of(batch.epoch, batch.features.device)
        if bank is None:
            return {"pseudo_labels": batch.features.new_zeros((*batch.mask.shape, self.num_columns))}
        return {"pseudo_labels": bank.dense(batch, self.num_columns).to(batch.features.dtype)}

    def _bank_of(self, epoch: int, device: torch.device) -> LabelBank | None:
        """The labels an epoch uses, on a device."""
        kind, scale = self.rule(epoch)
        if kind == "none" or self.made_at is None or not self.latest.videos:
            return None
        key = (kind, scale, str(device))
        if self._banked is None or self._banked[0] != key:
            less = self.previous if kind == "delta" else LabelStore()
            self._banked = (key, LabelBank(self.latest, less, scale, device))
        return self._banked[1]

    # ---- making them ----

    def begin_epoch(self, epoch: int, training_pass: TrainingPass) -> None:
        """Make new labels if a generation is due, and have those ready that the epoch's mini-batches read."""
        if epoch in self.generations:
            self._generation(epoch, training_pass)
        self._begun, self._bank = True, self._bank_of(epoch, self._place.device)

    def _generation(self, epoch: int, training_pass: TrainingPass) -> None:
        made, counts = self.generate(training_pass, self.generations[epoch])
        if self.made_at != epoch:  # else the same generation is made again
            self.previous = self.latest
        self.latest, self.made_at, self.counts, self._banked = made, epoch, counts, None
        log.info("pseudo labels at epoch %d: %s", epoch, ", ".join(f"{n} {name}" for name, n in counts.items()))

    def generate(self, training_pass: TrainingPass, fusion: Fusion) -> tuple[LabelStore, dict[str, int]]:
        """Label every training video.

        Returns:
            the labels, and how many videos, videos without instance, classes labelled, without a solution, without
            an answer from the solver, with a fused time that the last bit cuts (see `last_bit`), with one it cuts here.
        """
        rank, world = rank_and_world()
        ids, own, problems, tally = [], [], [], Counter()
        device = torch.device("cpu")
        for number, (outputs, batch) in enumerate(training_pass()):
            device = batch.features.device
            ids.append(batch.meta[0].id)
            if number % world == rank:
                found = self.instances(outputs, batch, fusion)
                own.append((batch.meta[0], list(found)))
                problems.extend(found.values())
                for problem in found.values():
                    tally.update(dict(zip(_EDGES, map(int, last_bit(problem)))))
        solutions = iter(self.linpro(problems))
        videos = {}
        for meta, classes in own:
            solved = [(label, next(solutions)) for label in classes]
            videos[meta.id] = _labels(solved, meta)
            tally["videos"] += 1
            tally["without an instance"] += not solved
            tally.update(_STATUS[solution.status] for _, solution in solved)
        keys = ("videos", "without an instance", *_STATUS.values(), *_EDGES)
        counts = torch.tensor([[tally[key] for key in keys]], device=device)
        total = torch.cat(gather_ranks(counts)).sum(dim=0)
        return LabelStore(videos).over_ranks(ids, device), dict(zip(keys, total.tolist()))

    def instances(self, outputs: Outputs, batch: Batch, fusion: Fusion) -> dict[int, Problem]:
        """Fused instances of a batch of one video: class -> its linear program, positions in stored snippets.

        Raises:
            ConfigError: the decoder names a class the labels have no column for.
        """
        meta = batch.meta[0]
        video = {name: outputs[name][0].detach().cpu().numpy() for name in self.requires}
        found = candidates_of(self.decoder, video, meta)
        if self.gate_by_label:
            found = found.take(np.isin(found.label, np.flatnonzero(batch.labels[0].cpu().numpy() > 0)))
        if len(found) and found.label.max() >= self.num_columns:
            raise ConfigError(
                f"the label decoder proposes class {found.label.max()}, but num_columns={self.num_columns}: set it to "
                "the columns of the CAS, or the decoder's num_classes to the action classes."
            )
        found = fusion.candidates(found)
        per_snippet = meta.num_snippets / found.axis.samples
        start, end = found.start * per_snippet, found.end * per_snippet
        begins = np.flatnonzero(np.diff(found.label, prepend=-1))
        rows = np.split(np.arange(len(found)), begins[1:]) if len(found) else []
        return {int(found.label[r[0]]): Problem(meta.num_snippets, start[r], end[r], found.score[r]) for r in rows}

    # ---- checkpoints ----

    def get_extra_state(self) -> dict[str, Any]:
        """Plain data: both generations, and when the latest was made."""
        stores = {"latest": self.latest.state(), "previous": self.previous.state()}
        return {"made_at": self.made_at, "counts": dict(self.counts), **stores}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `get_extra_state` gave."""
        self.made_at, self.counts, self._banked = state["made_at"], dict(state["counts"]), None
        self._begun, self._bank = False, None  # it may be restored in the middle of an epoch
        self.latest, self.previous = (LabelStore.from_state(state[name]) for name in ("latest", "previous"))


_STATUS = {SOLVED: "classes labelled", INFEASIBLE: "classes without a solution", FAILED: "classes the solver gave up"}


_EDGES = ("classes with a fused time on a whole snippet", "of them an ulp below it")
"""Both of every class with an instance, solved or not; `linpro.snap` mends the second."""


def _labels(solved: list[tuple[int, Solution]], meta: VideoMeta) -> VideoLabels:
    solved = [(label, solution) for label, solution in solved if solution.status == SOLVED]
    values = [solution.label for _, solution in solved]
    columns = np.array([label for label, _ in solved], dtype=np.int64)
    return VideoLabels(columns, np.stack(values) if values else np.zeros((0, meta.num_snippets)))


def _paired(generations: Sequence[int], temperatures: float | Sequence[float]) -> list[tuple[int, float]]:
    if isinstance(temperatures, int | float):
        temperatures = [temperatures] * len(generations)
    if len(temperatures) != len(generations):
        raise ConfigError(
            f"temperatures must be one number, or one for each of the {len(generations)} generations; got "
            f"{len(temperatures)}."
        )
    return [(int(epoch), float(heat)) for epoch, heat in zip(generations, temperatures)]


def _checked(schedule: Sequence[tuple[int, str, float]]) -> list[tuple[int, str, float]]:
    checked = []
    for i, entry in enumerate(schedule):
        if not isinstance(entry, Sequence) or len(entry) != 3:
            raise ConfigError(
                f"schedule is a list of (first epoch, 'none'|'absolute'|'delta', scale); schedule[{i}] is {entry!r}."
            )
        first, kind, scale = entry
        checked.append((int(first), choose(f"schedule[{i}][1]", kind, KINDS), float(scale)))
    return sorted(checked, key=lambda entry: entry[0])
