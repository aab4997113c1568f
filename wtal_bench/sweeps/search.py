"""A search over settings, on videos that are neither tested nor trained on.

A sweep file holds a `search` in the place of rows::

    base: ../ecm_synthetic.py
    search:
      held_out: world1              # or holdout (default), or a subset of the annotations: `wtal_bench.held_out`
      metric: average               # or mAP@0.5, mAP@0.1:0.7, as for the rows
      trials: 12                    # the recipe as it is, and eleven others
      seed: 0
      space:
        train.lr: {log_uniform: [1.0e-5, 1.0e-3]}
        model.backbone.dropout: {uniform: [0.3, 0.7]}
        train.epochs: [100, 200, 300]            # a grid; where every key is one, all combinations are tried
        train.weight_decay: {choice: [0, 0.001]}

Draws depend on seed, trial and key alone: with more trials the first ones stay what they were, and a further key
changes no draw of the others. The first trial is the recipe as it is, so that a search says what it gained; where the
grid holds the recipe's own point, that is the trial (a setting the recipe leaves out counts as its default).
"""

from __future__ import annotations

import inspect
import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wtal_bench.errors import ConfigError, DataError, did_you_mean, listing
from wtal_bench.files import digest
from wtal_bench.held_out import HOLDOUT, held_out, taken_apart
from wtal_bench.plugins import registry
from wtal_bench.protocols import Protocol
from wtal_bench.registry import CONTRACT_KINDS
from wtal_bench.running.ablation import Row, check_options, on_data, read_top
from wtal_bench.running.datasets import protocol_of
from wtal_bench.running.settings import Data, RunConfig

KEYS = ("held_out", "metric", "trials", "seed", "space")
TRIALS = 12
MOST = 10_000
"""Trials at most: more are a mistyped grid."""
RECIPE = "recipe"
"""Name of the trial that changes nothing."""

_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d{1,3}")
_KINDS = ("uniform", "log_uniform", "choice")


@dataclass(frozen=True)
class Axis:
    """What one setting may be.

    Attributes:
        kind: "grid", "choice", "uniform" or "log_uniform".
        values: the values, or (lowest, highest).
    """

    kind: str
    values: tuple[Any, ...]

    def draw(self, dice: random.Random) -> Any:
        """One value; numbers from a range have four significant digits, so that they can be read and pasted."""
        if self.kind in ("grid", "choice"):
            return self.values[dice.randrange(len(self.values))]
        low, high = self.values
        at = dice.random()
        value = low + at * (high - low) if self.kind == "uniform" else low * (high / low) ** at
        return min(max(float(f"{value:.4g}"), low), high)


@dataclass(frozen=True)
class Search:
    """A search, read and checked.

    Attributes:
        file: the sweep file; where: file and key, for error texts.
        base: the recipe searched over.
        part: of the data it is scored on, the file's `held_out`.
        metric: as written; "average" is the one that ranks.
        trials: how many, the recipe included; None: the whole grid.
        seed: of the draws.
        space: dotted key -> what it may be.
    """

    file: Path
    where: str
    base: str
    part: str
    metric: str
    trials: int | None
    seed: int
    space: Mapping[str, Axis]

    def points(self, recipe: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The settings of every trial, the recipe's own ({}) first; no two are equal.

        Args:
            recipe: what of the space the recipe itself has, by dotted key: that point is tried as the first trial and
                not once more. None: nothing is known of it.
        """
        found: dict[str, dict[str, Any]] = {digest({} if recipe is None else dict(recipe)): {}}
        most = self.trials if self.trials is not None else math.inf
        for point in self._grid() if self._is_grid else self._draws():
            if len(found) >= most:
                break
            found.setdefault(digest(point), point)
        return list(found.values())

    def rows(self, recipe: RunConfig) -> list[Row]:
        """The trials as rows of an ablation file, on the hold-out videos.

        Raises:
            ConfigError: `held_out` names the test videos, the training videos, or none.
        """
        over = self._data(recipe.data, recipe.path)
        return [
            Row(
                name=f"trial_{digest(point)[:8]}" if point else RECIPE,
                base=self.base,
                options={**point, **over},
                file=self.file,
                where=f"{self.where}: {_spelled(point)}" if point else self.where,
            )
            for point in self.points(self._own(recipe.resolved()))
        ]

    def _own(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """What the recipe has at the keys of the space, as the space writes it: 1 for 1.0."""
        own = {key: _setting(recipe, key) for key in self.space}
        return {key: next((same for same in self.space[key].values if same == own[key]), own[key]) for key in own}

    def _data(self, data: Data, where: str) -> dict[str, Any]:
        """The options that take a recipe to the hold-out videos."""
        named = taken_apart(data.protocol)[0]
        protocol: Protocol = protocol_of(Data(**{**vars(data), "protocol": named}), where)
        try:
            held = held_out(protocol, self.part)
        except DataError as error:
            raise ConfigError(f"{self.where}.held_out={self.part!r}: {error}") from error
        over: dict[str, Any] = {"data.protocol": f"{named}@{self.part}"}
        if data.synthetic is not None:
            over["data.synthetic"] = {**data.synthetic, "world": held.world}
        return over

    @property
    def _is_grid(self) -> bool:
        return all(axis.kind == "grid" for axis in self.space.values())

    def _grid(self) -> Iterator[dict[str, Any]]:
        """All combinations in the order written; in drawn order where only some of them are tried."""
        keys, axes = list(self.space), [axis.values for axis in self.space.values()]
        points = [dict(zip(keys, values, strict=True)) for values in itertools.product(*axes)]
        if self.trials is not None and self.trials <= len(points):
            random.Random(f"{self.seed}").shuffle(points)
        yield from points

    def _draws(self) -> Iterator[dict[str, Any]]:
        for number in range(50 * (self.trials or 1)):  # a small space may run out of new points
            yield {key: axis.draw(random.Random(f"{self.seed}/{number}/{key}")) for key, axis in self.space.items()}


def load_search(path: str | Path, data: str | None = None) -> Search | None:
    """Read the search of a sweep file; None where it has rows.

    Args:
        path: where, or a shipped one's name.
        data: what `{data}` in the base's name stands for; None = what the file says.

    Raises:
        ConfigError: missing file, both rows and a search, no base, or something in the search that cannot be.
    """
    path, top = read_top(path)
    given = top.get("search")
    if given is None:
        return None
    where = f"{path}: search"
    if top.get("rows"):
        raise ConfigError(f"{path}: has rows and a search; rows are compared, a search is drawn. Make two files of it.")
    if top.get("base") is None:
        raise ConfigError(f"{path}: a search needs `base`, the recipe whose settings it tries.")
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} is a mapping with `space`, got {given!r:.80}.")
    for key in given:
        if key not in KEYS:
            raise ConfigError(
                f"{where}: unknown key {key!r:.80}.{did_you_mean(str(key), KEYS)} Known: {listing(KEYS)}."
            )
    space = _read_space(given.get("space"), f"{where}.space")
    grid = all(axis.kind == "grid" for axis in space.values())
    trials = given.get("trials", None if grid else TRIALS)
    size = math.prod(len(axis.values) for axis in space.values()) if grid else 0
    if grid and trials is None and size > MOST:
        raise ConfigError(f"{where}.space: the grid has {size:,} points; say how many `trials` to take of it.")
    return Search(
        file=path,
        where=where,
        base=on_data(top["base"], data or top.get("data")),
        part=_text(given.get("held_out", HOLDOUT), f"{where}.held_out"),
        metric=_text(given.get("metric", "average"), f"{where}.metric"),
        trials=None if trials is None else _count(trials, 2, MOST, f"{where}.trials"),
        seed=_count(given.get("seed", 0), 0, 2**32 - 1, f"{where}.seed"),
        space=space,
    )


def _setting(recipe: Mapping[str, Any], key: str) -> Any:
    """What a recipe has at a dotted key; where it does not say, its component's default, else null."""
    *parents, last = key.split(".")
    node: Any = recipe
    for name in parents:
        node = node.get(name) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping):
        return None
    if last in node:
        return node[last]
    table = next((table for table in map(registry, CONTRACT_KINDS) if node.get("type") in table.names()), None)
    known = {} if table is None else inspect.signature(table.get(node["type"])).parameters
    default = known[last].default if last in known else None
    return None if default is inspect.Parameter.empty else default


def _read_space(given: Any, where: str) -> dict[str, Axis]:
    if not (isinstance(given, Mapping) and given):
        raise ConfigError(
            f"{where} is missing: dotted keys and what they may be, e.g. {{train.lr: {{log_uniform: [1e-5, 1e-3]}}}}."
        )
    if odd := [key for key in given if not isinstance(key, str)]:
        raise ConfigError(f"{where}: {odd[0]!r} is no dotted key, such as train.lr.")
    check_options(given, where)
    for key in given:
        if key.split(".")[0] not in ("model", "train", "test", "ideas"):
            raise ConfigError(
                f"{where}: {key}: a search changes settings of model, train, test and ideas; which data and where it "
                "runs is no setting of a method."
            )
    return {key: _axis(value, f"{where}.{key}") for key, value in given.items()}


def _axis(given: Any, where: str) -> Axis:
    if isinstance(given, list):
        return Axis("grid", _values(given, where))
    if not (isinstance(given, Mapping) and len(given) == 1):
        raise ConfigError(f"{where}: write a list of values, or one of {listing(_KINDS)}: got {given!r:.80}.")
    kind, values = next(iter(given.items()))
    if kind not in _KINDS:
        raise ConfigError(
            f"{where}: no kind {kind!r:.80}.{did_you_mean(str(kind), _KINDS)} There are {listing(_KINDS)}."
        )
    if kind == "choice":
        return Axis(kind, _values(values, where))
    numbers = list(map(_number, values)) if isinstance(values, list) else []
    real = len(numbers) == 2 and all(type(value) in (int, float) and math.isfinite(value) for value in numbers)
    if not real or numbers[0] >= numbers[1]:
        raise ConfigError(f"{where}.{kind}: needed are two numbers, the lower one first; got {values!r:.80}.")
    if kind == "log_uniform" and numbers[0] <= 0:
        raise ConfigError(f"{where}.log_uniform: {numbers[0]} has no logarithm; both numbers must be above 0.")
    return Axis(kind, tuple(map(float, numbers)))


def _values(given: Any, where: str) -> tuple[Any, ...]:
    if not (isinstance(given, list) and given):
        raise ConfigError(f"{where}: a list of values is needed, got {given!r:.80}.")
    return tuple(map(_number, given))


def _number(value: Any) -> Any:
    """YAML takes 1e-4 for a text; nobody means one."""
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _text(value: Any, where: str) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if not (isinstance(value, str) and value):
        raise ConfigError(f"{where} is a text, got {value!r:.80}.")
    return value


def _count(value: Any, low: int, high: int, where: str) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f"{where} is a whole number from {low} to {high}, got {value!r:.80}.")
    return value


def _spelled(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in point.items())


def config_lines(point: Mapping[str, Any]) -> list[str]:
    """Settings as lines of a config, one a section: `train = dict(lr=0.001)`."""
    tree: dict[str, Any] = {}
    for key, value in point.items():
        *parents, last = key.split(".")
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value
    return [f"{name} = {_written(value)}" for name, value in tree.items()]


def _written(value: Any) -> str:
    if not isinstance(value, dict):
        return repr(value)
    if all(isinstance(key, str) and key.isidentifier() for key in value):
        return f"dict({', '.join(f'{key}={_written(inner)}' for key, inner in value.items())})"
    return "{" + ", ".join(f"{key!r}: {_written(inner)}" for key, inner in value.items()) + "}"


def cfg_options(point: Mapping[str, Any]) -> Sequence[str]:
    """Settings as `--cfg-options` takes them."""
    return [f"{key}={value!r}" for key, value in point.items()]
