"""Loss weights as the config writes them: a number, a schedule over epochs, or either per scalar name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.options import check_arguments, within


class Constant:
    """A weight that never changes."""

    def __init__(self, value: float) -> None:
        self.value = float(value)

    def at(self, epoch: int) -> float:
        """The weight in `epoch` (0-based)."""
        return self.value


class Steps:
    """Piecewise constant: `steps=[(0, 0.0), (100, 1.0)]` is 0 before epoch 100 and 1 from there on."""

    def __init__(self, steps: list[tuple[int, float]]) -> None:
        self.steps = sorted(
            (int(epoch), within("a step's weight", float(value), "[0, 1e30]")) for epoch, value in steps
        )
        if not self.steps or self.steps[0][0] != 0:
            raise ValueError("steps must be a list of (first epoch, weight) that begins with epoch 0")

    def at(self, epoch: int) -> float:
        """The weight in `epoch` (0-based)."""
        return [value for first, value in self.steps if first <= epoch][-1]


class Geometric:
    """0 before epoch `start`; from there `value * factor ** (epoch - start)`, at most `maximum`."""

    def __init__(self, value: float, factor: float, start: int = 0, maximum: float = float("inf")) -> None:
        self.value, self.maximum = (within("a weight", float(given), "[0, inf]") for given in (value, maximum))
        self.factor, self.start = within("factor", float(factor), "(0, 1000]"), int(start)

    def at(self, epoch: int) -> float:
        """The weight in `epoch` (0-based)."""
        return 0.0 if epoch < self.start else min(self.maximum, self.value * self.factor ** (epoch - self.start))


SCHEDULES = {"steps": Steps, "geometric": Geometric}


class LossWeight:
    """The weights of one loss component's scalars.

    Args:
        config: number; `dict(schedule="steps"|"geometric", ...)`; or `{scalar name: either}` (others weigh 1).
        where: file and key path for error texts.

    Raises:
        ConfigError: none of these forms.
    """

    def __init__(self, config: Any, where: str) -> None:
        self._where = where
        self._named: dict[str, Constant | Steps | Geometric] = {}
        self._default = Constant(1.0)
        if isinstance(config, Mapping) and "schedule" not in config:
            self._named = {name: self._parse(value, f"{where}.{name}") for name, value in config.items()}
        else:
            self._default = self._parse(config, where)

    def at(self, scalar: str, epoch: int) -> float:
        """The weight of one scalar in one epoch."""
        return self._named.get(scalar, self._default).at(epoch)

    def largest(self, epoch: int) -> float:
        """The largest weight of any scalar the config names in one epoch."""
        return max(weight.at(epoch) for weight in (self._named.values() or [self._default]))

    def check_scalars(self, scalars: list[str]) -> None:
        """Refuse weights for scalars the loss does not give.

        Raises:
            ConfigError: names the scalar and the nearest one there is.
        """
        for name in self._named:
            if name not in scalars:
                raise ConfigError(
                    f"{self._where}.{name}: the loss gives no such scalar.{did_you_mean(name, scalars)} "
                    f"It gives: {listing(scalars)}."
                )

    @staticmethod
    def _parse(value: Any, where: str) -> Constant | Steps | Geometric:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return Constant(within(where, value, "[0, 1e30]"))
        if isinstance(value, Mapping) and str(value.get("schedule")) in SCHEDULES:
            arguments = {key: item for key, item in value.items() if key != "schedule"}
            check_arguments(SCHEDULES[value["schedule"]], arguments, where, shown=f"schedule {value['schedule']!r}")
            try:
                return SCHEDULES[value["schedule"]](**arguments)
            except (ConfigError, TypeError, ValueError, OverflowError) as error:
                raise ConfigError(f"{where}: {error}") from error
        raise ConfigError(
            f"{where}: a loss weight is a number, dict(schedule='steps', steps=[(0, 0.0), (100, 1.0)]), "
            f"dict(schedule='geometric', value=, factor=, start=, maximum=), or a dict of these by scalar name; got "
            f"{value!r}."
        )
