"""One number of a scoring, a mean over tIoUs by one evaluator: what runs select by, sweeps and summaries compare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.leaderboard.published import expand
from wtal_bench.protocols import Protocol
from wtal_bench.running.settings import RunConfig

FRAMES = "frame_accuracy"


@dataclass(frozen=True)
class Measure:
    """A mean over tIoUs by one evaluator, or frame accuracy, which none of them gives.

    Attributes:
        evaluator: its name; "" for frame accuracy.
        label: "0.5" or "0.1:0.7"; "" for frame accuracy.
        tious: what the mean is over.
    """

    evaluator: str
    label: str
    tious: tuple[float, ...]

    @property
    def title(self) -> str:
        """As papers write it."""
        return f"mAP@{self.label}" if self.label else "frame accuracy"

    def name(self, protocol: Protocol, stream: str = "") -> str:
        """What the number is called among those a run computes between epochs."""
        if stream:
            return f"test/{stream}/{self.evaluator}/{self.title}"
        if self.evaluator != protocol.main:
            return f"test/{self.evaluator}/{self.title}"
        if self.tious == tuple(protocol.averages[protocol.headline]):
            return "test/average"
        return (
            f"test/{self.label}" if self.tious[0] in protocol.tious and len(self.tious) == 1 else f"test/{self.title}"
        )

    def of(self, metrics: Mapping[str, Any]) -> float | None:
        """The number in a record's metrics, as a fraction; None where it is undefined."""
        if not self.label:
            return metrics.get(FRAMES)
        table = metrics["variants"].get(self.evaluator)
        if table is None:  # of a run that was scored before there was such an evaluator
            return None
        if self.label in table["averages"]:
            return table["averages"][self.label]
        at = dict(zip(table["tious"], table["mAP"], strict=True))
        values = [at[tiou] for tiou in self.tious]
        return None if None in values else sum(values) / len(values)


def evaluator_of(config: RunConfig, protocol: Protocol) -> str:
    """The evaluator a config's published numbers belong to; on a data set of one's own there are none, so its main one.

    Raises:
        ConfigError: the protocol has no such evaluator.
    """
    name = config.test.evaluator
    if name is None or protocol.own:
        return protocol.main
    if name not in protocol.variants:
        raise ConfigError(
            f"{config.path}: test.evaluator={name!r}: {protocol.name} has no such evaluator."
            f"{did_you_mean(name, protocol.variants)} It has {listing(protocol.variants)}; None is {protocol.main!r}."
        )
    return name


def read_measure(text: Any, evaluator: str, protocol: Protocol, where: str) -> Measure:
    """Understand "average", 0.5, "mAP@0.5", "mAP@0.1:0.9" or "frame_accuracy".

    Args:
        text: as written.
        evaluator: what it is computed by.
        protocol: gives the average that is meant by "average".
        where: file and key, for error texts.

    Raises:
        ConfigError: it is none of these.
    """
    if text == FRAMES:
        return Measure("", "", ())
    if text == "average":
        return Measure(evaluator, protocol.headline, tuple(protocol.averages[protocol.headline]))
    label = f"{text:g}" if isinstance(text, (int, float)) and not isinstance(text, bool) else str(text)
    match = re.fullmatch(r"(?:mAP@)?(0?\.\d+)(?::(0?\.\d+))?", label)
    tious = () if match is None else tuple(float(part) for part in _parts(*match.groups()))
    if not tious or not all(0 < tiou < 1 for tiou in tious):
        raise ConfigError(
            f"{where}={text!r}: expected 'average' or a tIoU of {protocol.name}: {listing(protocol.tious, 12)}, or a "
            "mean over tIoUs such as 'mAP@0.1:0.7'."
        )
    return Measure(evaluator, f"{tious[0]:g}" if len(tious) == 1 else f"{tious[0]:g}:{tious[-1]:g}", tious)


def _parts(low: str, high: str | None) -> list[str]:
    return [low] if high is None else expand(f"{low}:{high}")


def recorded(measure: Measure, protocol: Protocol, where: str) -> Measure:
    """Return the measure if records of the protocol hold it.

    Raises:
        ConfigError: they do not; the text says what they hold.
    """
    strange = [f"{tiou:g}" for tiou in measure.tious if tiou not in protocol.tious]
    if strange:
        raise ConfigError(
            f"{where}: {protocol.name} has no {measure.title}: it is scored at tIoU {listing(protocol.tious, 12)}, not "
            f"at {listing(strange)}. Averages it has: {listing(protocol.averages)}."
        )
    return measure


def selection_measure(config: RunConfig, protocol: Protocol) -> Measure | None:
    """What best_on_test goes by; None for every other selection.

    Raises:
        ConfigError: the protocol has no such evaluator, or the metric is none.
    """
    evaluator = evaluator_of(config, protocol)
    if config.train.selection != "best_on_test":
        return None
    where = f"{config.path}: train.select_by"
    by = config.train.select_by
    measure = read_measure(by, evaluator, protocol, where)
    if measure.label == "" or (not isinstance(by, str) and by not in protocol.tious):
        raise ConfigError(
            f"{where}={by!r}: expected 'average' or a tIoU of {protocol.name}: {listing(protocol.tious, 12)}, or a "
            "mean over tIoUs such as 'mAP@0.1:0.9'."
        )
    return measure


def selection_names(config: RunConfig, protocol: Protocol, streams: tuple[str, ...] = ()) -> dict[str, str]:
    """Names of the metrics that best_on_test goes by: stream (or "" for the whole model) -> name."""
    measure = selection_measure(config, protocol)
    if measure is None:
        return {}
    return {stream: measure.name(protocol, stream) for stream in (streams or ("",))}
