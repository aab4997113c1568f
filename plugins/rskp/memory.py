"""The memory of RSKP: the best representative snippets of every class, propagated to the videos of that class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wtal_bench.interfaces import Batch, Head, Outputs, TrainingPass
from wtal_bench.modeling.blocks import gather_ranks, rank_and_world
from wtal_bench.options import choose, within
from wtal_plugins.rskp.heads import CENTERS, classify, snippets_of
from wtal_plugins.rskp.propagation import walk

SLOTS = ("label", "first")
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
                for tags, vectors, scores in zip(
                    batch.labels > 0, outputs["representatives"], outputs["representative_scores"], strict=True
                ):
                    self.store(tags.nonzero().flatten().tolist(), vectors, scores)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """x [B,T,D], mu [B,8,D] and their scores [B,8,C+1], tags -> fields."""
        if batch.epoch < self.start:
            repeated = {f"r.{name}": outputs[f"m.{name}"].detach() for name in BRANCH}
            return {**repeated, "teacher_logits": outputs["m.cas"].detach()}
        vectors, real = self._take_turns(outputs, batch, learning=self.training and torch.is_grad_enabled())
        branch = classify(walk(snippets_of(outputs, batch), vectors, self.walk_weight, real), outputs, self.scale)
        teacher = self.teacher_share * outputs["m.cas"] + (1 - self.teacher_share) * branch["cas"]
        return {**{f"r.{name}": value for name, value in branch.items()}, "teacher_logits": teacher.detach()}

    def slots(self, tags: Tensor) -> list[list[int]]:
        """Slots of every video, in the order they are read and stored in; tags [B,C]."""
        used = [row.nonzero().flatten().tolist() for row in (tags > 0).cpu()]
        return used if self.slot == "label" else [[0] * len(row) for row in used]

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
        """What every video reads: [B,K,D] vectors, [B,K] bool which are its own. Store theirs if `learning`."""
        own = self.slots(batch.labels)
        if not learning:
            return self._padded([self.bank[slots] for slots in own])
        if batch.share == 0:  # a rank without a video of its own computes one that does not count
            read, counted = [self.bank[slots] for slots in own], 0
        else:
            read, counted = [], len(own)
        gathered = [
            gather_ranks(x[:counted])
            for x in (batch.labels, outputs["representatives"], outputs["representative_scores"])
        ]
        ranks = [(self.slots(labels), vectors, scores) for labels, vectors, scores in zip(*gathered, strict=True)]
        here, _ = rank_and_world()
        for turn in range(max(len(slots) for slots, _, _ in ranks)):  # rank r holds every R-th video of a mini-batch
            for rank, (slots, vectors, scores) in enumerate(ranks):
                if turn < len(slots):
                    if rank == here:
                        read.append(self.bank[slots[turn]])
                    self.store(slots[turn], vectors[turn], scores[turn])
        return self._padded(read)

    def _padded(self, read: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Slots [S,Q,D] of every video -> [B,K,D], zero where a video has fewer, and [B,K] bool which are its own."""
        most = max(1, *(len(slots) for slots in read))
        vectors = self.bank.new_zeros(len(read), most, *self.bank.shape[1:])
        for row, slots in enumerate(read):
            vectors[row, : len(slots)] = slots
        size = self.bank.shape[1]
        real = torch.arange(most * size) < torch.tensor([[len(slots) * size] for slots in read])
        return vectors.flatten(1, 2), real.to(vectors.device)
