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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from statistics import fmean

from wtal_bench.errors import RecordError, did_you_mean, listing
from wtal_bench.files import shipped
from wtal_bench.reading import MIB, read_text

COLUMNS = ("method", "variant", "dataset", "split", "metric", "iou", "value", "table", "quoted_by", "note")
METRICS = ("mAP", "avg_mAP", "frame_accuracy")
SUPERVISION = {"fully supervised": "full", "extra weak supervision": "extra_weak"}
GAIN_COLUMNS = ("host", "variant", "idea", "table", "method", "without", "with", "note")
_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,6})?")
_IOU = re.compile(r"(?:0\.\d{1,2}(?::0\.\d{1,2})?)?")
HEADLINE = ("", "full method", *SUPERVISION)
"""Variants that belong in the main table; the others are ablations and re-runs."""


@dataclass(frozen=True)
class Cell:
    """One printed number: its text in percent and the notes that belong to it."""

    value: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedRow:
    """One method's numbers on one data set, as one or several papers print them.

    Attributes:
        cells: by iou ("0.5", "0.1:0.7", "" for frame accuracy).
        tables: the tables that print this row, a paper's own first.
        notes: what belongs to the whole row.
    """

    method: str
    variant: str
    dataset: str
    split: str
    tables: tuple[str, ...]
    own: bool
    cells: dict[str, Cell] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def supervision(self) -> str:
        """weak, extra_weak or full."""
        return SUPERVISION.get(self.variant, "weak")

    @property
    def headline(self) -> bool:
        """Whether the row is a method as such, not an ablation or a re-run."""
        return self.variant in HEADLINE

    def number(self, iou: str) -> float | None:
        """The value in percent, None where the paper prints none."""
        cell = self.cells.get(iou)
        return float(cell.value) if cell else None

    def average(self, iou: str) -> tuple[float | None, bool]:
        """The average over a range like "0.1:0.7", and whether it was computed here because the paper prints none."""
        printed = self.number(iou)
        if printed is not None:
            return printed, False
        parts = [self.number(part) for part in expand(iou)]
        return (None, False) if None in parts else (fmean(parts), True)


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


def normal_name(method: str) -> str:
    """Reduce a method's name to what identifies it: FAC-Net, fac_net and FACNet are one method."""
    return re.sub(r"[^a-z0-9]", "", method.lower())


def published_file(folder: Path) -> Path:
    """The `published.csv` of a leaderboard, or else the one that travels with the package."""
    own = folder / "published.csv"
    return own if own.is_file() else shipped("leaderboard") / "published.csv"


def read_published(path: str | Path) -> list[PublishedRow]:
    """Read the file and join its cells into rows; rows of several papers that never disagree become one.

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
    return _join_agreeing([_row(key, cells) for key, cells in grouped.items()])


def read_published_gains(path: str | Path, rows: Iterable[PublishedRow]) -> list[PublishedGain]:
    """Read which published rows are an idea on a host; [] without such a file.

    Args:
        path: `published_gains.csv`.
        rows: what `read_published` returned.

    Raises:
        RecordError: naming the line that cannot be understood or names no published row.
    """
    path = Path(path)
    if not path.is_file():
        return []
    known = {(table, row.method, row.variant): row for row in rows for table in row.tables}
    found: dict[tuple[str, str, str], PublishedGain] = {}
    for number, line in _lines(path, GAIN_COLUMNS):
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
    own = {iou: Cell(value, tuple(n for n in notes[iou] if n not in of_row)) for iou, (value, _) in cells.items()}
    return PublishedRow(method, variant, dataset, split, (table,), not quoted_by, own, of_row)


def _join_agreeing(rows: list[PublishedRow]) -> list[PublishedRow]:
    joined: list[PublishedRow] = []
    for row in sorted(rows, key=lambda row: not row.own):
        same = (place for place, other in enumerate(joined) if row.headline and other.headline and _agree(row, other))
        place = next(same, None)
        if place is None:
            joined.append(row)
        else:
            joined[place] = _merge(joined[place], row)
    return joined


def _agree(a: PublishedRow, b: PublishedRow) -> bool:
    names = ("dataset", "split", "supervision")
    if normal_name(a.method) != normal_name(b.method) or any(getattr(a, n) != getattr(b, n) for n in names):
        return False
    return all(a.cells[iou].value == b.cells[iou].value for iou in a.cells.keys() & b.cells.keys())


def _merge(first: PublishedRow, other: PublishedRow) -> PublishedRow:
    cells = dict(first.cells)
    for iou, cell in other.cells.items():
        notes = tuple(dict.fromkeys((*cells[iou].notes, *cell.notes))) if iou in cells else cell.notes
        cells[iou] = Cell(cell.value, notes)
    return PublishedRow(
        first.method,
        first.variant,
        first.dataset,
        first.split,
        (*first.tables, *other.tables),
        first.own,
        cells,
        tuple(dict.fromkeys((*first.notes, *other.notes))),
    )
