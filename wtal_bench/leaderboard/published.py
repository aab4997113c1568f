"""The papers' own numbers: `leaderboard/published.csv`, one row a cell, with its footnotes, and their transfer tables.

Columns: method, variant, dataset, split, metric, iou, value (percent, as printed, right or wrong), table, quoted_by
(empty for a paper's own row), note. A note says what a number should have been, which version of it another paper
gives, or what it was measured with; several notes are parted by ` | `.

`leaderboard/published_gains.csv` says which of these rows are an idea on a host. Columns: host, variant, idea (as
records name them), table, method, without, with (a method of that table, and its variants without and with the idea),
note.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from wtal_bench.errors import RecordError, did_you_mean, listing
from wtal_bench.files import shipped
from wtal_bench.reading import MIB, read_text
from wtal_bench.text import MISSING, fixed

COLUMNS = ("method", "variant", "dataset", "split", "metric", "iou", "value", "table", "quoted_by", "note")
METRICS = ("mAP", "avg_mAP", "frame_accuracy")
SUPERVISION = {"fully supervised": "full", "extra weak supervision": "extra_weak"}
GAIN_COLUMNS = ("host", "variant", "idea", "table", "method", "without", "with", "note")
_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,6})?")
_IOU = re.compile(r"(?:0\.\d{1,2}(?::0\.\d{1,2})?)?")
HEADLINE = ("", "full method", *SUPERVISION)
"""Variants that belong in the main table; the others are ablations and re-runs."""


RANGE = "\N{EN DASH}"
"""Between the lowest and the highest value that papers print of one method."""


@dataclass(frozen=True)
class Cell:
    """One printed number.

    Attributes:
        value: in percent, as the first table of the row that has it prints it.
        notes: what belongs to it.
        printed: every table that prints it, with what it prints.
    """

    value: str
    notes: tuple[str, ...] = ()
    printed: tuple[tuple[str, str], ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """The different values that are printed, lowest first."""
        texts = {float(value): value for _, value in reversed(self.printed)} or {float(self.value): self.value}
        return tuple(texts[number] for number in sorted(texts))


@dataclass(frozen=True)
class PublishedRow:
    """One method's numbers on one data set, as one or several papers print them.

    Attributes:
        cells: by iou ("0.5", "0.1:0.7", "" for frame accuracy).
        tables: the tables that print this row, a paper's own first.
        own: whether the first of them is the method's own paper's.
        notes: what belongs to the whole row.
        parts: the row as each table alone prints it, in the order of `tables`; empty for a row of one table.
    """

    method: str
    variant: str
    dataset: str
    split: str
    tables: tuple[str, ...]
    own: bool
    cells: dict[str, Cell] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    parts: tuple[PublishedRow, ...] = ()

    @property
    def supervision(self) -> str:
        """weak, extra_weak or full."""
        return SUPERVISION.get(self.variant, "weak")

    @property
    def headline(self) -> bool:
        """Whether the row is a method as such, not an ablation or a re-run."""
        return self.variant in HEADLINE

    @property
    def leading(self) -> PublishedRow:
        """The row, or where tables differ, what the one says that stands for it: values of two papers are no row."""
        return self.parts[0] if self.disputed else self

    @property
    def disputed(self) -> bool:
        """Whether two tables print different values."""
        return any(len(cell.values) > 1 for cell in self.cells.values())

    def number(self, iou: str) -> float | None:
        """The value in percent, a paper's own before one that quotes it; None where no table prints one."""
        cell = self.cells.get(iou)
        return float(cell.value) if cell else None

    def average(self, iou: str) -> tuple[float | None, bool]:
        """The average over a range like "0.1:0.7", and whether it was computed here because no table prints one.

        It is computed from the values of one table, or of several that never disagree.
        """
        printed = self.number(iou)
        if printed is not None:
            return printed, False
        found = self._computed(iou)
        return (None, False) if not found else (found[0], True)

    def shown(self, iou: str, average: bool = False) -> str:
        """The value as text: as printed, lowest and highest where tables differ, in brackets where it is computed.

        Args:
            iou: a threshold or a range.
            average: whether to compute it where no table prints it.
        """
        cell = self.cells.get(iou)
        if cell is not None:
            return spanned(cell.values)
        numbers = self._computed(iou) if average else []
        values = sorted({fixed(number, 1) for number in numbers}, key=float)
        return f"({spanned(values)})" if values else MISSING

    def _computed(self, iou: str) -> list[float]:
        """The average over a range by every table that has all its values; by all together where none disagrees."""
        rows = self.parts if self.disputed else (self,)
        means = [[row.number(part) for part in expand(iou)] for row in rows]
        return [fmean(values) for values in means if None not in values]


def spanned(values: Sequence[str]) -> str:
    """The lowest and the highest of values in rising order, or the one there is."""
    return values[0] if len(values) == 1 else f"{values[0]}{RANGE}{values[-1]}"


@dataclass(frozen=True)
class PublishedGain:
    """What a paper's transfer table prints for one idea on one host.

    Attributes:
        host, variant, idea: as records name them.
        before, after: the rows without and with the idea.
        span: the widest average both rows print.
        notes: what belongs to the pair and to its two averages.
    """

    host: str
    variant: str
    idea: str
    before: PublishedRow
    after: PublishedRow
    span: str
    notes: tuple[str, ...]

    @property
    def values(self) -> tuple[str, str]:
        """Both averages in percent, as printed."""
        return self.before.cells[self.span].value, self.after.cells[self.span].value

    @property
    def points(self) -> Decimal:
        """After less before, in percent points, to the digits that are printed."""
        before, after = map(Decimal, self.values)
        return after - before


def expand(span: str) -> list[str]:
    """Return the thresholds of a range as they are printed: "0.1:0.3" -> ["0.1", "0.2", "0.3"].

    Steps are 0.1, and 0.05 for the ActivityNet range that ends in 0.95.
    """
    low, high = (round(float(end) * 100) for end in span.split(":"))
    return [f"{at / 100:g}" for at in range(low, high + 1, 5 if high % 10 else 10)]


@lru_cache(maxsize=4096)
def normal_name(method: str) -> str:
    """Reduce a method's name to what identifies it: FAC-Net, fac_net and FACNet are one method."""
    return re.sub(r"[^a-z0-9]", "", method.lower())


def published_file(folder: Path) -> Path:
    """The `published.csv` of a leaderboard, or else the one that travels with the package."""
    own = folder / "published.csv"
    return own if own.is_file() else shipped("leaderboard") / "published.csv"


def read_published(path: str | Path) -> list[PublishedRow]:
    """Read the file and join its cells into rows: one row a method, whatever number of papers print it.

    Ablations and re-runs stay rows of their own, for they are experiments of the paper that prints them.

    Returns:
        The papers' own rows first, then the quoted ones, each in the order of the file.

    Raises:
        RecordError: naming the line that cannot be understood.
    """
    path = Path(path)
    if not path.is_file():
        return []
    lines = _lines(path, COLUMNS)
    grouped: dict[tuple[str, ...], dict[str, tuple[str, str]]] = {}
    for number, line in lines:
        _check_line(f"{path}, line {number}", line)
        key = tuple(line[name] for name in ("method", "variant", "dataset", "split", "table", "quoted_by"))
        cells = grouped.setdefault(key, {})
        if line["iou"] in cells:
            raise RecordError(
                f"{path}, line {number}: {line['table']} gives {line['method']} twice at {line['iou']!r}."
            )
        cells[line["iou"]] = (line["value"], line["note"])
    return _joined([_row(key, cells) for key, cells in grouped.items()])


def read_published_gains(path: str | Path, rows: Iterable[PublishedRow]) -> list[PublishedGain]:
    """Read which published rows are an idea on a host; [] without such a file.

    Args:
        path: `published_gains.csv`.
        rows: what `read_published` returned.

    Raises:
        RecordError: naming the line that cannot be understood or names no published row, or the missing file of rows.
    """
    path = Path(path)
    if not path.is_file():
        return []
    lines, beside = _lines(path, GAIN_COLUMNS), path.with_name("published.csv")
    rows = list(rows)
    if lines and not rows and not beside.is_file():
        raise RecordError(f"{beside} is missing: {path.name} says which of its rows are gains. Put it back beside it.")
    parts = [part for row in rows for part in (row.parts or (row,))]  # a gain is of one table's own values
    known = {(table, row.method, row.variant): row for row in parts for table in row.tables}
    found: dict[tuple[str, str, str], PublishedGain] = {}
    for number, line in lines:
        gain = _published_gain(f"{path}, line {number}", line, known)
        if found.setdefault((gain.host, gain.variant, gain.idea), gain) is not gain:
            raise RecordError(f"{path}, line {number}: {gain.idea} on {gain.host} stands here twice; keep one line.")
    return list(found.values())


def _published_gain(
    where: str, line: dict[str, str], known: Mapping[tuple[str, str, str], PublishedRow]
) -> PublishedGain:
    _check_width(where, line, GAIN_COLUMNS)
    pair = []
    for column in ("without", "with"):
        row = known.get((line["table"], line["method"], line[column]))
        if row is None:
            variants = [
                variant for table, method, variant in known if (table, method) == (line["table"], line["method"])
            ]
            raise RecordError(
                f"{where}: published.csv has no {line['method']!r} {line[column]!r} in {line['table']!r}."
                f"{did_you_mean(line[column], variants)} It has: {listing(map(repr, variants))}."
            )
        pair.append(row)
    spans = [iou for iou in pair[0].cells if ":" in iou and iou in pair[1].cells]
    if not spans:
        raise RecordError(f"{where}: the two rows print no average in common, so there is no gain to show.")
    span = max(spans, key=lambda span: len(expand(span)))
    notes = [line["note"], *(note for row in pair for note in (*row.notes, *row.cells[span].notes))]
    names = (line[name] for name in GAIN_COLUMNS[:3])
    return PublishedGain(*names, *pair, span, tuple(dict.fromkeys(filter(None, notes))))


def _lines(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(read_text(path, kind=RecordError, limit=64 * MIB)), strict=True)
    try:
        if tuple(reader.fieldnames or ()) != columns:
            raise RecordError(
                f"{path}: its columns are {listing(reader.fieldnames or ())}; needed: {listing(columns, 99)}"
            )
        return [(reader.line_num, line) for line in reader]
    except csv.Error as error:
        raise RecordError(f"{path}, line {reader.line_num}: it is no CSV table ({error}).") from error


def published_for(rows: Iterable[PublishedRow], method: str, dataset: str) -> PublishedRow | None:
    """Return the paper's own headline row of a method, else the first that quotes it; None if nobody prints it."""
    names = (normal_name(method), normal_name(dataset))
    found = [row for row in rows if row.headline and (normal_name(row.method), normal_name(row.dataset)) == names]
    return min(found, key=lambda row: not row.own, default=None)


def _check_line(where: str, line: dict[str, str]) -> None:
    _check_width(where, line, COLUMNS)
    if line["metric"] not in METRICS:
        raise RecordError(f"{where}: metric is {line['metric']!r}.{did_you_mean(line['metric'], METRICS)}")
    if not _NUMBER.fullmatch(line["value"]) or not float(line["value"]) <= 100:
        raise RecordError(f"{where}: value is {line['value']!r:.80}; needed: percent as printed, 0 to 100.")
    if not _IOU.fullmatch(line["iou"]):
        raise RecordError(
            f"{where}: iou is {line['iou']!r:.80}; needed: a threshold such as 0.5, a range such as 0.1:0.7, or "
            "nothing for frame accuracy."
        )
    low, _, high = line["iou"].partition(":")
    if high and not float(low) < float(high):
        raise RecordError(f"{where}: iou is {line['iou']!r}; a range goes from the lower to the higher threshold.")
    for name in ("method", "dataset"):
        if not line[name].strip():
            raise RecordError(f"{where}: {name} is empty.")
    for name, text in line.items():
        if not text.isprintable():
            raise RecordError(f"{where}: {name} holds a character that is not printable.")


def _check_width(where: str, line: dict[str, str], columns: tuple[str, ...]) -> None:
    if None in line or None in line.values():
        raise RecordError(f"{where}: it has not {len(columns)} columns; put a text that holds commas in double quotes.")


def _row(key: tuple[str, ...], cells: dict[str, tuple[str, str]]) -> PublishedRow:
    method, variant, dataset, split, table, quoted_by = key
    notes = {iou: tuple(filter(None, note.split(" | "))) for iou, (_, note) in cells.items()}
    of_row = tuple(note for note in next(iter(notes.values())) if all(note in others for others in notes.values()))
    if len(cells) == 1:
        of_row = ()
    own = {
        iou: Cell(value, tuple(note for note in notes[iou] if note not in of_row), ((table, value),))
        for iou, (value, _) in cells.items()
    }
    return PublishedRow(method, variant, dataset, split, (table,), not quoted_by, own, of_row)


def _joined(rows: Iterable[PublishedRow]) -> list[PublishedRow]:
    """One row for every method; what is no headline stays as it is. Papers' own rows come first."""
    groups: dict[tuple[str, ...], list[PublishedRow]] = {}
    rows = sorted(rows, key=lambda row: not row.own)
    for place, row in enumerate(rows):
        key = (normal_name(row.method), row.dataset, row.split, row.supervision)
        groups.setdefault(key if row.headline else (str(place),), []).append(row)
    return [_merged(sorted(group, key=lambda row: (not row.own, -len(row.cells)))) for group in groups.values()]


def _merged(parts: Sequence[PublishedRow]) -> PublishedRow:
    """The rows of several tables as one; the first gives the name, and the values that stand for it.

    It is the method's own paper's, else the one with most values.
    """
    if len(parts) == 1:
        return parts[0]
    cells = {}
    for iou in dict.fromkeys(iou for part in parts for iou in part.cells):
        found = [part.cells[iou] for part in parts if iou in part.cells]
        notes = tuple(dict.fromkeys(note for cell in found for note in cell.notes))
        cells[iou] = Cell(found[0].value, notes, tuple(pair for cell in found for pair in cell.printed))
    row = replace(
        parts[0],
        tables=tuple(table for part in parts for table in part.tables),
        cells=cells,
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        parts=tuple(parts),
    )
    return replace(row, notes=(*row.notes, _dispute(row))) if row.disputed else row


def _dispute(row: PublishedRow) -> str:
    """Who prints what, where tables differ."""
    differ = {iou: cell for iou, cell in row.cells.items() if len(cell.values) > 1}
    alike: dict[tuple[str | None, ...], list[str]] = {}
    for part in row.parts:
        values = tuple(part.cells[iou].value if iou in part.cells else None for iou in differ)
        alike.setdefault(values, []).extend(part.tables)
    said = [
        f"{listing(tables)} {'prints' if len(tables) == 1 else 'print'} "
        + ", ".join(f"{value} at {iou}" if iou else value for iou, value in zip(differ, values) if value is not None)
        for values, tables in alike.items()
        if any(value is not None for value in values)
    ]
    return f"Papers differ: {'; '.join(said)}."
