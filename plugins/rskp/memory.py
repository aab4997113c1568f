"""The memory of RSKP: the best representative snippets of every class, propagated to the videos of that class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wtal_bench.interfaces import Batch, Head, Outputs, TrainingPass
from wtal_bench.modeling.blocks import Tags, gather_ranks, rank_and_world, tags_of, zero_padding
from wtal_bench.options import choose, within
from wtal_plugins.rskp.heads import CENTERS, classify, snippets_of
from wtal_plugins.rskp.propagation import walk

SLOTS = ("label", "first")


class Stored(NamedTuple):
    """What the videos of a mini-batch store in the bank: an entry for each of the E slots they have.

    Attributes:
        slots, present, turn: [E] where, whether there is one, and when.
        vectors, scores: [E,8,D] and [E,8] what, and how good it is in that slot.
    """

    slots: Tensor
    present: Tensor
    turn: Tensor
    vectors: Tensor
    scores: Tensor


BRANCH = ("cas", "attention", "video_logits", "classwise_logits")


class Memory(nn.Module, Head):
    """Branch r: a bank of Q representative snippets a class, walked into the videos of the class.

    Gives the fields of `classify` on walk(x, the bank's vectors of the slots used) as `r.cas`, `r.attention`,
    `r.video_logits`, `r.classwise_logits`, and `teacher_logits` [B,T,C+1] = s m.cas + (1-s) r.cas. Nothing flows back
    into the bank. Before `start` there is no branch r: its fields repeat branch m without a gradient (give its losses
    the weight 0 there), and the teacher is m.

    After a training step's videos have read the bank, their own representative snippets enter it: stored and new ones
    are joined and the Q best by class score stay; scores of stored ones are never refreshed. Videos take their turn
    one by one, as in the authors' loop: a video sees what the earlier ones of its mini-batch have stored (over all
    processes, in the order of the mini-batch). Outside training the bank is only read.

    Args:
        channels, num_classes: D and C.
        size: Q (5).
        start: first epoch with this branch (101). At its start, one pass over the training videos fills the slots of
            each video's classes.
        slot: "label": a video uses the slots of its tags (RSKP). "first": slot 0, once a tag (GauFuse's code takes the
            wrong axis of the tags; with two tags it reads the slot twice and stores the same snippets twice).
        clear_at: epochs at whose start the bank is emptied (GauFuse: each generation of labels). An empty bank gives
            uniform assignments and stays legal.
        walk_weight: w of the random walk.
        scale: of the classifiers' cosines.
        teacher_share: s (0.8).
    """

    requires = ("dropped_embedding", "representatives", "representative_scores", *CENTERS)
    needs = ("labels",)
    provides = (*(f"r.{name}" for name in BRANCH), "teacher_logits")
    video_level = ("r.video_logits", "r.classwise_logits")

    def __init__(
        self,
        channels: int,
        num_classes: int,
        size: int = 5,
        start: int = 101,
        slot: str = "label",
        clear_at: Sequence[int] = (),
        walk_weight: float = 0.5,
        scale: float = 20.0,
        teacher_share: float = 0.8,
    ) -> None:
        super().__init__()
        self.requires = (*type(self).requires, *(f"m.{name}" for name in BRANCH))
        self.register_buffer("bank", torch.zeros(num_classes, size, channels))
        self.register_buffer("bank_scores", torch.zeros(num_classes, size))
        self.start, self.slot, self.clear_at = start, choose("slot", slot, SLOTS), frozenset(clear_at)
        self.scale = scale
        self.walk_weight = within("walk_weight", walk_weight, "[0, 1]")
        self.teacher_share = within("teacher_share", teacher_share, "[0, 1]")

    def begin_epoch(self, epoch: int, training_pass: TrainingPass) -> None:
        """Fill the bank when the branch begins, empty it at `clear_at`."""
        if epoch in self.clear_at or (epoch == self.start and epoch > 0):
            self.bank.zero_()
            self.bank_scores.zero_()
        if epoch == self.start and epoch > 0:
            for outputs, batch in training_pass():
                for slots, vectors, scores in zip(
                    batch.tags.classes, outputs["representatives"], outputs["representative_scores"], strict=True
                ):
                    self.store(slots, vectors, scores)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """x [B,T,D], mu [B,8,D] and their scores [B,8,C+1], tags -> fields."""
        if batch.epoch < self.start:
            repeated = {f"r.{name}": outputs[f"m.{name}"].detach() for name in BRANCH}
            return {**repeated, "teacher_logits": outputs["m.cas"].detach()}
        vectors, real = self._take_turns(outputs, batch, learning=self.training and torch.is_grad_enabled())
        branch = classify(walk(snippets_of(outputs, batch), vectors, self.walk_weight, real), outputs, self.scale)
        teacher = self.teacher_share * outputs["m.cas"] + (1 - self.teacher_share) * branch["cas"]
        return {**{f"r.{name}": value for name, value in branch.items()}, "teacher_logits": teacher.detach()}

    def slots(self, labels: Tensor) -> list[list[int]]:
        """Slots of every video, in the order they are read and stored in; labels [B,C]."""
        used = [list(classes) for classes in tags_of(labels).classes]
        return used if self.slot == "label" else [[0] * len(row) for row in used]

    def _slots(self, tags: Tags) -> Tensor:
        """The same as [B,K], behind a video's own ones any."""
        return tags.slots if self.slot == "label" else torch.zeros_like(tags.slots)

    @torch.no_grad()
    def store(self, slots: Sequence[int], vectors: Tensor, scores: Tensor) -> None:
        """Join [8,D] vectors with scores [8,C+1] to the slots, one after the other, and keep the best.

        Slot k goes by score column k.
        """
        for slot in slots:
            joined = torch.cat([self.bank_scores[slot], scores[:, slot].to(self.bank_scores.dtype)])
            best = joined.topk(self.bank.shape[1]).indices
            self.bank[slot] = torch.cat([self.bank[slot], vectors.to(self.bank.dtype)])[best]
            self.bank_scores[slot] = joined[best]

    @torch.no_grad()
    def _take_turns(self, outputs: Outputs, batch: Batch, learning: bool) -> tuple[Tensor, Tensor]:
        """What every video reads: [B,K*Q,D] vectors, [B,K*Q] bool which are its own. Store theirs if `learning`.

        The best of a slot and of what earlier videos store there are the best of all of it together, so that all turns
        are computed at once. A rank without a video of its own computes one that does not count (`share` 0).
        """
        slots, present = self._slots(batch.tags), batch.tags.present
        if not learning:
            read = self.bank[slots]
        else:
            stored = self._stored(outputs, batch)
            if batch.share == 0:
                read = self.bank[slots]
            else:
                rank, world = rank_and_world()
                turn = torch.arange(slots.shape[0], device=slots.device) * world + rank
                earlier = stored.turn < turn.repeat_interleave(slots.shape[1]).unsqueeze(1)
                read = self._best(slots.flatten(), stored, earlier)[1].unflatten(0, slots.shape)
            every = torch.arange(self.bank.shape[0], device=slots.device)
            scores, vectors, some = self._best(every, stored)
            self.bank.copy_(torch.where(some[:, None, None], vectors, self.bank))
            self.bank_scores.copy_(torch.where(some[:, None], scores, self.bank_scores))
        real = present.repeat_interleave(self.bank.shape[1], dim=1)
        return zero_padding(read.flatten(1, 2), real), real

    def _stored(self, outputs: Outputs, batch: Batch) -> Stored:
        """What the videos of the mini-batch, of all processes, store."""
        names = ("representatives", "representative_scores")
        own = [batch.labels, *(outputs[name] for name in names)]
        if batch.share == 0:
            own = [x[:0] for x in own]
        gathered = [gather_ranks(x) for x in own]
        parts, world = [], len(gathered[0])
        for rank, (labels, vectors, scores) in enumerate(zip(*gathered, strict=True)):
            tags = tags_of(labels)
            slots, most = self._slots(tags), tags.slots.shape[1]
            columns = slots.unsqueeze(1).expand(-1, scores.shape[1], -1)  # slot k goes by score column k
            parts.append(
                Stored(
                    slots.flatten(),
                    tags.present.flatten(),
                    # rank r holds every R-th video of a mini-batch
                    (torch.arange(slots.shape[0], device=slots.device) * world + rank).repeat_interleave(most),
                    vectors.to(self.bank.dtype).repeat_interleave(most, dim=0),
                    scores.gather(2, columns).transpose(1, 2).flatten(0, 1).to(self.bank_scores.dtype),
                )
            )
        return parts[0] if world == 1 else Stored(*map(torch.cat, zip(*parts)))

    def _best(self, slots: Tensor, stored: Stored, allowed: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The Q best of some `slots` [S] and of what is `stored` there: scores [S,Q], vectors [S,Q,D], any new [S].

        Args:
            slots: which.
            stored: what videos store.
            allowed: [S,E] bool, which of it counts for which slot; None = all.
        """
        taken = stored.present & (stored.slots == slots.unsqueeze(1))
        taken = taken if allowed is None else taken & allowed
        new = stored.scores.masked_fill(~taken.unsqueeze(-1), float("-inf")).flatten(1)
        scores, best = torch.cat([self.bank_scores[slots], new], dim=1).topk(self.bank.shape[1], dim=1)
        size, offset = self.bank.shape[1], self.bank.shape[0] * self.bank.shape[1]
        rows = torch.where(best < size, slots.unsqueeze(1) * size + best, best - size + offset)
        vectors = torch.cat([self.bank.flatten(0, 1), stored.vectors.flatten(0, 1)])
        return scores, vectors.index_select(0, rows.flatten()).unflatten(0, rows.shape), taken.any(dim=1)
