"""How the learning rate moves: a function of the position alone, so that resuming has nothing to restore.

Pairs (first epoch, rate) are read off directly. mmengine's schedulers compute every value from the one before; they are
walked along from the start of training on an optimiser of their own, whose values the real one is given before each
step. A resumed run walks them once more: thousands of steps a second, and exact, whatever a checkpoint remembers.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.optim.scheduler.param_scheduler import PARAM_SCHEDULERS  # from there: importing it fills the registry
from torch import nn

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.options import check_arguments
from wtal_bench.running.optim import build_optimizer
from wtal_bench.running.settings import Train

GIVEN = ("optimizer", "param_name", "last_step")
"""Arguments of a scheduler that the harness gives."""

TRIED = 1000
"""Positions at most that a check walks through; what comes later is refused when training gets there."""


def learning_rate(train: Train, done: int) -> float:
    """The rate of pairs after `done` epochs (or iterations): piecewise constant."""
    rate = train.lr
    for first, value in sorted(train.lr_schedule):
        if done >= first:
            rate = value
    return rate


def schedulers() -> dict[str, type]:
    """mmengine's schedulers of the rate or the momentum, by name, but for those that follow a score."""
    every = PARAM_SCHEDULERS.module_dict
    return {name: cls for name, cls in every.items() if name.endswith(("LR", "Momentum")) and "Plateau" not in name}


def check_schedulers(train: Train, where: str) -> None:
    """Refuse scheduler dicts that mmengine would not take, or whose resumed run would differ from a straight one.

    Raises:
        ConfigError: naming the entry, what is wrong and what would be right.
    """
    known = schedulers()
    for at, entry in enumerate(train.lr_schedule):
        place = f"{where}.lr_schedule[{at}]"
        name = entry.get("type") if isinstance(entry, Mapping) else None
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{place}: {entry!r} stands among scheduler dicts: write pairs alone, or dicts alone.")
        if isinstance(name, str) and "Plateau" in name:
            raise ConfigError(
                f"{place}.type={name!r} follows a score, so a resumed run would need its whole history; schedules here "
                f"follow the position. There are: {listing(known)}."
            )
        if not isinstance(name, str) or name not in known:
            raise ConfigError(f"{place}.type={name!r}.{did_you_mean(str(name), known)} There are: {listing(known)}.")
        _check_scheduler(known[name], entry, place, train)
    last = max(entry["end"] for entry in train.lr_schedule)
    schedule = Schedule(train, per_epoch=1, where=where)
    for position in range(min(last, TRIED) + 1):
        schedule.at(position)


def _check_scheduler(cls: type, entry: Mapping[str, Any], place: str, train: Train) -> None:
    # mmengine's registry itself takes convert_to_iter_based; the class takes what its first closed constructor names
    arguments = {key: value for key, value in entry.items() if key not in ("type", "convert_to_iter_based")}
    closed = next(base for base in cls.__mro__ if "kwargs" not in inspect.signature(base).parameters)
    check_arguments(closed, arguments, place, shown=entry["type"], hidden=GIVEN)
    if "end" not in entry:
        length = train.epochs if entry.get("by_epoch", True) else train.iterations
        raise ConfigError(
            f"{place} ({entry['type']}): say with end= after how many epochs (iterations, with by_epoch=False) it "
            f"ends, e.g. end={length or 1000}. Ending with the training, it would change when a run is resumed for "
            "longer."
        )
    for key, kind, wanted in _PLAIN_KINDS:
        if key in entry and not kind(entry[key]):
            raise ConfigError(f"{place}.{key} ({entry['type']}) must be {wanted}; got {entry[key]!r}.")


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


_PLAIN_KINDS = (
    ("begin", _is_count, "a whole number of at least 0"),
    ("end", _is_count, "a whole number of at least 0"),
    ("by_epoch", lambda value: type(value) is bool, "True or False"),
    ("convert_to_iter_based", lambda value: type(value) is bool, "True or False"),
    ("milestones", lambda value: isinstance(value, (list, tuple)) and all(map(_is_count, value)),
     "a list of whole numbers"),
)  # fmt: skip
"""What mmengine takes as it comes, and would pass over in silence: argument, test, words."""


class Schedule:
    """The values that mmengine's schedulers give at a position of training.

    Args:
        train: with scheduler dicts in `lr_schedule`.
        per_epoch: steps of an epoch.
        where: key path of `train`, for error texts.

    Raises:
        ConfigError: a scheduler refuses its arguments; from `at`, it fails or leaves the positive numbers.
    """

    def __init__(self, train: Train, per_epoch: int, where: str = "train") -> None:
        self.per_epoch, self._where = per_epoch, f"{where}.lr_schedule"
        self.position = 0
        self._optimizer = build_optimizer([nn.Parameter(torch.zeros(1, 1))], train)
        self._moved = {"lr", "momentum", "betas"} & {*self._optimizer.param_groups[0]}
        given = dict(optimizer=self._optimizer, epoch_length=per_epoch)
        built = [self._built(entry, f"{self._where}[{at}]", given) for at, entry in enumerate(train.lr_schedule)]
        self._by_epoch = [scheduler for scheduler in built if scheduler.by_epoch]
        self._by_step = [scheduler for scheduler in built if not scheduler.by_epoch]
        self._optimizer.step()  # schedulers complain of a step before their optimiser's

    def at(self, iteration: int) -> dict[str, Any]:
        """Rate and momentum of the step after `iteration` steps, as settings of a parameter group."""
        while self.position < iteration:
            self.position += 1
            try:
                self._walk()
            except Exception as error:  # an argument of the wrong kind may surface as anything
                raise ConfigError(f"{self._where}: step {self.position} cannot be made: {error}") from error
        (group,) = self._optimizer.param_groups
        if not (math.isfinite(group["lr"]) and group["lr"] >= 0):
            raise ConfigError(
                f"{self._where} gives a rate of {group['lr']} at step {self.position}; "
                "rates are finite and not negative."
            )
        return {key: group[key] for key in self._moved}

    def _walk(self) -> None:
        for scheduler in self._by_step:
            scheduler.step()
        if self.position % self.per_epoch == 0:
            for scheduler in self._by_epoch:
                scheduler.step()

    @staticmethod
    def _built(entry: Mapping[str, Any], place: str, given: Mapping[str, Any]) -> Any:
        try:
            return PARAM_SCHEDULERS.build(copy.deepcopy(dict(entry)), default_args=dict(given))
        except Exception as error:  # mmengine asserts, often without a word
            said = str(error) or f"refuses its arguments {dict(entry)!r}"
            raise ConfigError(f"{place} ({entry['type']}): {said}") from error


class LearningRate(Hook):
    """Sets the rate (and what else schedulers move) before each step from its position alone."""

    def __init__(self, train: Train) -> None:
        self.train = train
        self._schedule: Schedule | None = None

    def before_train(self, runner: Any) -> None:
        """Start mmengine's schedulers, if the config has any."""
        if self.train.lr_schedule and isinstance(self.train.lr_schedule[0], Mapping):
            self._schedule = Schedule(self.train, len(runner.train_dataloader))

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set the values of every parameter group."""
        if self._schedule is not None:
            values = self._schedule.at(runner.iter)
        elif self.train.lr_schedule:
            values = {"lr": learning_rate(self.train, runner.train_loop.done)}
        else:
            return
        for group in runner.optim_wrapper.param_groups:
            group.update(values)
