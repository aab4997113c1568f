"""Records -> rows: seeds of one experiment become one row with mean and spread; rows that compare share a block.

What may stand in one table is decided by keys, not by footnotes: a `Section` is one version of one protocol, a `Block`
of it holds measured rows made from the same features and scored on the same annotations. External rows (somebody
else's detections, scored here, from features we do not know) have blocks of their own.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from wtal_bench.data.detection_notes import main_average, score_notes
from wtal_bench.evaluation import Interval, Sample, draw_runs, interval, run_name
from wtal_bench.leaderboard.columns import shown
from wtal_bench.leaderboard.coverage import coverage_summary
from wtal_bench.leaderboard.identity import annotation_key, digest
from wtal_bench.leaderboard.made import Made
from wtal_bench.leaderboard.own import recorded_protocol
from wtal_bench.leaderboard.record import StoredRecord
from wtal_bench.leaderboard.titles import row_title
from wtal_bench.leaderboard.validate import SOURCES
from wtal_bench.protocols import is_own
from wtal_bench.text import span_order

SUPERVISION_WORDS = {"weak": "weak", "extra_weak": "extra weak", "point": "point", "full": "full"}
SELECTION_WORDS = {"last": "last epoch", "val_holdout": "held-out train videos", "best_on_test": "best on test"}

DIGITS = 9
"""Rows whose averages agree to so many digits share a rank: what is beyond them is how a machine adds."""


@dataclass(frozen=True)
class Score:
    """A fraction over the seeds of a row: its mean and sample standard deviation (None for one seed)."""

    mean: float | None
    std: float | None

    @property
    def pair(self) -> list[float | None]:
        """Mean and deviation, as JSON holds them."""
        return [self.mean, self.std]

    @classmethod
    def over(cls, values: Iterable[float | None]) -> Score:
        """Summarise one value a seed; undefined as soon as one seed has none."""
        values = list(values)
        if None in values:
            return cls(None, None)
        mean = fmean(values)
        if len(values) == 1:
            return cls(mean, None)
        # exact sums, so that every Python version builds the same bytes (`sum` and `stdev` round differently)
        return cls(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)))


@dataclass(frozen=True)
class Row:
    """The runs of one experiment that differ in their seed alone, best read through `score`.

    Attributes:
        records: in the order of their seeds, each with the columns it shows, why it is not ranked ("unranked") and the
            `StoredRecord` it is of ("stored"). They may be `light`; what needs their bulk is in `made`.
        reason: why the row is not ranked; empty when it is.
        rank: 1 for the best of its block and supervision, None when it is not ranked.
        told: what tells it from the other rows of its name in the block, in words; empty where it is alone.
    """

    records: tuple[dict[str, Any], ...]
    reason: str
    rank: int | None = None
    told: tuple[str, ...] = ()
    made: Made = field(default_factory=Made, repr=False, compare=False)

    @property
    def method(self) -> str:
        """The method's name."""
        return self.records[0]["method"]

    @property
    def variant(self) -> str:
        """Which form of the method; empty for the method itself."""
        return self.records[0]["variant"]

    @property
    def supervision(self) -> str:
        """What the training saw."""
        return self.records[0]["supervision"]

    @property
    def selection(self) -> str:
        """How the checkpoint was picked."""
        return self.records[0]["selection"]

    @property
    def name(self) -> str:
        """Method, and variant in brackets."""
        return row_name(self.method, self.variant)

    @cached_property
    def videos(self) -> str:
        """Videos used of those annotated, "train 100/200, test 212/212"; empty where all were, as in a ranked row."""
        return coverage_summary(self.records[0])

    @cached_property
    def title(self) -> str:
        """The name as readers know it."""
        ideas = self.records[0]["config"].get("ideas")
        return row_title(self.method, self.variant, tuple(map(str, ideas)) if isinstance(ideas, Mapping) else ())

    @property
    def label(self) -> str:
        """The title, and what tells the row from others of that name."""
        return ", ".join([self.title, *self.told])

    @property
    def length(self) -> str:
        """How long it was trained, as its config says; empty where it does not."""
        train = self.records[0]["config"].get("train")
        given = train if isinstance(train, Mapping) else {}
        return next((f"{given[unit]} {unit}" for unit in ("epochs", "iterations") if given.get(unit)), "")

    @cached_property
    def key(self) -> str:
        """A short, stable name of the row: a hash of its records' ids."""
        return digest([record["id"] for record in self.records])[:10]

    @cached_property
    def content(self) -> str:
        """Hash of all that its records hold."""
        return _content(self.records)

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """The seeds, in order."""
        return tuple(record["seed"] for record in self.records)

    @cached_property
    def collapsed(self) -> int:
        """How many of its seeds found nearly nothing, or no more than random curves do."""
        return sum(map(_is_collapsed, self.records))

    @property
    def main(self) -> str:
        """The evaluator that ranks."""
        return self.records[0]["metrics"]["main"]

    def per_tiou(self, evaluator: str) -> list[Score]:
        """mAP at every tIoU."""

        def make() -> list[list[float | None]]:
            tables = self._tables(evaluator)
            if tables is None:
                return [[None, None]] * len(self.records[0]["metrics"]["variants"][self.main]["tious"])
            return [Score.over(column).pair for column in zip(*(table["mAP"] for table in tables))]

        return [Score(*pair) for pair in self.made.value(f"mAP {evaluator}", make)]

    def average(self, evaluator: str, span: str) -> Score:
        """One of the averages, such as "0.1:0.7"."""

        def make() -> list[float | None]:
            tables = self._tables(evaluator)
            return [None, None] if tables is None else Score.over(table["averages"][span] for table in tables).pair

        return Score(*self.made.value(f"{span} {evaluator}", make))

    def per_class(self, evaluator: str) -> dict[str, float | None]:
        """AP of every class, averaged over tIoUs and seeds; None where a seed has no AP; {} without such a column."""

        def make() -> dict[str, float | None]:
            if self._tables(evaluator) is None:
                return {}
            tables = [record["metrics"]["variants"][evaluator]["ap"] for record in self._whole]
            names = [name for name in tables[0] if all(name in table for table in tables)]
            rows = {name: [value for table in tables for value in table[name]] for name in names}
            return {name: None if None in values else fmean(values) for name, values in rows.items()}

        return self.made.value(f"classes {evaluator}", make)

    def sample(self, evaluator: str, span: str) -> Sample | None:
        """The average of every seed with its bootstrap replicates; None if the seeds do not pair up.

        Args:
            evaluator: whose.
            span: the main average, which is the one that has replicates.
        """
        tables = self._tables(evaluator)
        if self.draw(evaluator) is None or tables is None:
            return None
        values = [table["averages"][span] for table in tables]
        if None in values:
            return None
        names = [run_name(table["mAP"]) for table in tables]

        def make() -> np.ndarray:
            replicates = np.array([record["bootstrap"]["values"][evaluator] for record in self._whole], dtype=float)
            sample = Sample.of(values, replicates, draw_runs(names, replicates.shape[1]))
            return np.stack([sample.videos, sample.deviation])

        return Sample(tuple(values), *self.made.array(f"{span} {evaluator}", make))

    def draw(self, evaluator: str) -> str | None:
        """Names the drawn videos: replicates pair up when they have the same; None without one draw for all seeds."""
        draws = {record.get("bootstrap", {}).get("draw", {}).get(evaluator) for record in self.records}
        return draws.pop() if len(draws) == 1 else None

    def _tables(self, evaluator: str) -> list[dict[str, Any]] | None:
        """The evaluator's column of every seed; None as soon as one seed lacks it."""
        tables = [record["metrics"]["variants"].get(evaluator) for record in self.records]
        return None if None in tables else tables

    @cached_property
    def _whole(self) -> list[dict[str, Any]]:
        return [shown(record["stored"].whole().record) for record in self.records]


def _is_collapsed(record: Mapping[str, Any]) -> bool:
    chance = recorded_protocol(record["protocol"]).chance
    average = main_average(record["metrics"])
    return bool(score_notes(record["metrics"])) or (None not in (chance, average) and average <= chance)


def _content(records: Iterable[Mapping[str, Any]]) -> str:
    return digest([[record["id"], record["stored"].content] for record in records])


def row_name(method: str, variant: str) -> str:
    """Method, and variant in brackets."""
    return f"{method} ({variant})" if variant else method


def compare_rows(a: Row, b: Row, evaluator: str, span: str) -> Interval | None:
    """Compare two rows by their stored replicates, over videos and seeds; None where they cannot be paired."""

    def make() -> list[float]:
        if a.draw(evaluator) is None or a.draw(evaluator) != b.draw(evaluator):
            return []
        mine, other = a.sample(evaluator, span), b.sample(evaluator, span)
        return [] if mine is None or other is None else list(astuple(interval(mine, other)))

    found = a.made.value(f"{span} {evaluator} less {b.content}", make)
    return Interval(*found) if found else None


@dataclass(frozen=True)
class Block:
    """Rows that may be compared: same protocol version, same features (unknown if external), same annotations.

    Ranked rows come first, best first; then the rows that are not ranked.
    """

    features: str
    extractor: str
    annotations: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Section:
    """One version of one protocol.

    Attributes:
        evaluators: those of which a record shows a column, the main one first.
        spans: the averages, narrow ranges first; the last is the main average that ranks.
        counts: by evaluator, the videos and instances scored (of the first record that has it).
    """

    protocol: str
    hash: str
    synthetic: bool
    tious: tuple[float, ...]
    evaluators: tuple[str, ...]
    spans: tuple[str, ...]
    counts: dict[str, tuple[int, int]]
    blocks: tuple[Block, ...]
    external: tuple[Block, ...]

    @property
    def main(self) -> str:
        """The evaluator that ranks."""
        return self.evaluators[0]

    @property
    def span(self) -> str:
        """The average that ranks."""
        return self.spans[-1]

    @cached_property
    def shape(self) -> str:
        """Hash of the columns that its rows have."""
        return digest([self.evaluators, self.spans, self.tious])[:10]

    @property
    def dataset(self) -> str:
        """The protocol's name without its version; data of one's own are told apart by the whole name."""
        return self.protocol if is_own(self.protocol) else self.protocol.split("/")[0]


FindMade = Callable[[str], Made]
"""What is known of a row by its `content`."""


def build_sections(records: Iterable[StoredRecord], known: FindMade = lambda content: Made()) -> list[Section]:
    """Sort records into sections, blocks and rows; real benchmarks first, then by protocol name.

    Args:
        records: what is filed.
        known: finds what was made of a row before.
    """
    items = ({**shown(item.record), "unranked": item.reason, "stored": item} for item in records)
    sections = [_section(group, known) for group in _grouped(items, _protocol_key).values()]
    return sorted(sections, key=lambda section: (section.synthetic, section.protocol, section.hash))


def _section(records: list[dict[str, Any]], known: FindMade) -> Section:
    metrics = records[0]["metrics"]
    main = metrics["main"]
    table = metrics["variants"][main]
    spans = tuple(sorted(table["averages"], key=span_order))
    blocks = {
        source: tuple(
            _block(group, main, spans[-1], known)
            for _, group in sorted(_grouped((r for r in records if r["source"] == source), _block_key).items())
        )
        for source in SOURCES
    }
    counts: dict[str, tuple[int, int]] = {}
    for record in records:
        for name, part in record["metrics"]["variants"].items():
            counts.setdefault(name, (part["videos"], part["instances"]))
    return Section(
        protocol=records[0]["protocol"]["name"],
        hash=records[0]["protocol"]["hash"],
        synthetic=records[0]["features"]["synthetic"],
        tious=tuple(table["tious"]),
        evaluators=(main, *sorted(counts.keys() - {main})),
        spans=spans,
        counts=counts,
        blocks=blocks["measured"],
        external=blocks["external"],
    )


def _block(records: list[dict[str, Any]], main: str, span: str, known: FindMade) -> Block:
    first = records[0]
    return Block(
        features=first["features"]["manifest_hash"] if first["source"] == "measured" else "",
        extractor=first["features"].get("extractor") or "",
        annotations=first["annotations"]["sha256"],
        rows=_rows(records, main, span, known),
    )


def _rows(records: list[dict[str, Any]], main: str, span: str, known: FindMade) -> tuple[Row, ...]:
    rows = []
    for key, group in _grouped(records, _row_key).items():
        seeds = tuple(sorted(group, key=lambda record: (record["seed"] is None, record["seed"], record["id"])))
        rows.append(Row(seeds, key[0], made=known(_content(seeds))))
    rows.sort(key=lambda row: (bool(row.reason), -round(row.average(main, span).mean or 0, DIGITS), row.name, row.key))
    told, ranks = _told_apart(rows), _ranks(rows, main, span)
    return tuple(replace(row, rank=ranks.get(row.key), told=told[row.key]) for row in rows)


def _told_apart(rows: list[Row]) -> dict[str, tuple[str, ...]]:
    """Key of a row -> what it differs in from others of its name: epochs, choice of the checkpoint, else the rest."""
    found = {row.key: () for row in rows}
    for namesakes in _grouped(rows, lambda row: row.name).values():
        if len(namesakes) < 2 or namesakes[0].records[0]["source"] == "external":
            continue
        said = {row.key: [row.length or "length unknown", SELECTION_WORDS[row.selection]] for row in namesakes}
        if len(set(map(tuple, said.values()))) < len(namesakes):
            for row in namesakes:
                said[row.key] += [f"config {row.records[0]['config_hash'][:8]}", _versions(row)]
        varies = [len(set(column)) > 1 for column in zip(*said.values())]
        found |= {key: tuple(word for word, shown in zip(words, varies) if shown) for key, words in said.items()}
    return found


def _versions(row: Row) -> str:
    parts = {f"{part['plugin']} {part['version']}" for part in row.records[0]["components"]}
    return ", ".join(sorted(parts))


def _ranks(rows: list[Row], main: str, span: str) -> dict[str, int]:
    """Key of every ranked row -> 1 and the number of rows of its supervision that are better by more than `DIGITS`."""
    found = {}
    for rivals in _grouped((row for row in rows if not row.reason), lambda row: row.supervision).values():
        means = {row.key: row.average(main, span).mean for row in rivals}
        order = sorted(mean or 0 for mean in means.values())
        for key, mean in means.items():
            if mean is not None:
                worse = bisect_right(order, 0, key=lambda other, mean=mean: round(other - mean, DIGITS))
                found[key] = 1 + len(order) - worse
    return found


def _grouped(items: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _protocol_key(record: Mapping[str, Any]) -> tuple[str, str]:
    return record["protocol"]["name"], record["protocol"]["hash"]


def _block_key(record: Mapping[str, Any]) -> tuple[str, str]:
    features = record["features"]["manifest_hash"] if record["source"] == "measured" else ""
    return features, annotation_key(record)


def _row_key(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What seeds of one row share; an external record is a row by itself."""
    names = tuple(record[key] for key in ("method", "variant", "supervision", "selection", "config_hash"))
    alone = record["id"] if record["source"] == "external" else digest(record["components"])
    return (record["unranked"], *names, coverage_summary(record), alone)
