"""The training loop: mmengine's, told to start in the middle of an epoch and to begin epochs with the components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.runner import EpochBasedTrainLoop

from wtal_bench.interfaces import TrainingPass
from wtal_bench.running.finite import diverged, look_for_causes


class TrainLoop(EpochBasedTrainLoop):
    """Trains for a number of epochs, or of iterations that may end in the middle of one.

    Args:
        runner, dataloader: from mmengine.
        max_epochs, max_iterations: give one; intervals count the same unit.
        val_interval: score every so many epochs (iterations), and at the end; None never.
        val_first: score this one first, and from there on only every `val_interval`-th; None: the `val_interval`-th.
        training_pass: epoch -> a run of the model over the training videos (see `interfaces.TrainingPass`).
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        *,
        max_epochs: int | None = None,
        max_iterations: int | None = None,
        val_interval: int | None = None,
        val_first: int | None = None,
        training_pass: Callable[[int], TrainingPass],
    ) -> None:
        per_epoch = len(dataloader)
        self.by_epoch = max_epochs is not None
        epochs = max_epochs if self.by_epoch else -(-max_iterations // per_epoch)
        super().__init__(runner, dataloader, max_epochs=epochs, val_interval=val_interval or 10**9)
        if not self.by_epoch:
            self._max_iters = max_iterations
        self._training_pass, self._val_first = training_pass, val_first

    @property
    def done(self) -> int:
        """Epochs, or iterations, finished: what intervals and schedules count."""
        return self._epoch if self.by_epoch else self._iter

    @property
    def end(self) -> int:
        """Epochs, or iterations, in all."""
        return self._max_epochs if self.by_epoch else self._max_iters

    def start_from(self, epoch: int, iteration: int, stopped: bool = False) -> None:
        """Continue at a checkpoint's position; `stopped` if a hook had ended training there."""
        self._epoch, self._iter, self.stop_training = epoch, iteration, stopped

    def run(self) -> Any:
        """Train to the end, from wherever a checkpoint left off."""
        self.runner.call_hook("before_train")
        try:
            while self._iter < self._max_iters and not self.stop_training:
                self.run_epoch()
        finally:
            self.runner.call_hook("end_display")
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_epoch(self) -> None:
        """Train one epoch, or what is left of it."""
        skip = self._iter - self._epoch * len(self.dataloader)
        model = getattr(self.runner.model, "module", self.runner.model)
        if skip == 0:
            model.begin_epoch(self._epoch, self._training_pass(self._epoch))
        self.dataloader.batch_sampler.start_at(self._epoch, skip)
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        for number, batch in enumerate(self.dataloader, start=skip):
            self.run_iter(number, batch)
            if not self.by_epoch:
                self._finish_round()
            if self._iter >= self._max_iters or (self.stop_training and not self.by_epoch):
                break
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1
        if self.by_epoch:
            self._finish_round()

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """One step. A loss may refuse NaN with an error of its own, which would not say where the NaN came from."""
        try:
            super().run_iter(idx, data_batch)
        except (RuntimeError, ValueError) as error:
            bad = look_for_causes(self.runner.model, data_batch)
            if bad:
                raise diverged(bad, self.runner, self._iter + 1) from error
            raise

    def _finish_round(self) -> None:
        """An epoch (iteration) is trained: score it if that is due, then let the hooks keep both."""
        if self.runner.val_loop is not None and self._due():
            self.runner.val_loop.run()
            self.runner.model.train()
        self.runner.call_hook("after_round")

    def _due(self) -> bool:
        if self._val_first is None:
            return self.done % self.val_interval == 0 or self.done == self.end
        return self.done >= self._val_first and (self.done - self._val_first) % self.val_interval == 0
