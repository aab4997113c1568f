"""What the leaderboard says, as plain tables of text: README and page are two spellings of one `Document`.

Every number is printed here (`wtal_bench.text`), so the two cannot differ. Text of records and papers is kept raw; the
writers escape it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from wtal_bench.leaderboard.gains import Gain, find_gains, host_of, ideas_of
from wtal_bench.leaderboard.published import SUPERVISION, PublishedGain, PublishedRow, normal_name, published_for
from wtal_bench.leaderboard.rows import (
    SELECTION_WORDS,
    SUPERVISION_WORDS,
    Block,
    Row,
    Score,
    Section,
    compare_rows,
)
from wtal_bench.text import MISSING, signed, span_order, spread

DATASETS = ("THUMOS14", "ActivityNet1.2", "ActivityNet1.3")
_NAMES = ("rank", "method", "n")
_TERMS = ("supervision", "checkpoint")
MATRIX_ROWS = 20
"""Ranked rows a table of all pairs may hold; the page compares any two."""

LEGEND = (
    "All values are mAP in percent, printed with two decimals by one rule (halves away from zero); "
    "leaderboard.csv and the records hold them unrounded.",
    "Measured: trained and scored by this harness, one record a seed; a row is the mean ± sample standard "
    "deviation over its n seeds. External: detections made elsewhere, scored here. Published: what papers "
    "print; their evaluators, features and video sets differ, so these numbers carry no rank and stand apart.",
    "A table holds one version of one protocol, one set of features and one annotation file. Rows are ranked by the "
    "first average under the first evaluator.",
    "Not ranked (shaded, below the others): a checkpoint picked on the test set, code nobody else can check out, a row "
    "whose stored detections were not scored again here, videos that a run left out (its table then shows how many it "
    "used of those annotated), and an old record, which does not say what it was made by.",
    "Rows of one method that differ in their epochs, in how the checkpoint was picked or in other settings say so "
    "beside the name.",
    "Collapsed: seeds that found nearly nothing (below 2 %), or no more than a random curve under the true tags does "
    "where that is known (synthetic/v2: 8.3 %). `wtal-bench report` says of each what failed.",
    "'vs first' is a bootstrap over the evaluated videos, paired, and over the seeds of both rows (means over seeds, "
    "95 % interval, as `compare` gives it). 'not distinguishable' means that the interval holds zero: with other "
    "videos or seeds the order of the two rows may turn round. A row of one seed shows no spread, so that its side of "
    "a comparison covers videos only.",
)


@dataclass(frozen=True)
class Cell:
    """One cell: its text, what to sort it by, and the numbers of its footnotes."""

    text: str
    sort: float | str | None = None
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Line:
    """One line of a table; `key` leads to the row's details, `shaded` marks what is not ranked."""

    cells: tuple[Cell, ...]
    source: str
    supervision: str
    selection: str
    shaded: bool = False
    key: str = ""


@dataclass(frozen=True)
class Table:
    """One table; several tables of a part that differ in their `evaluator` alone show one at a time on the page."""

    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    evaluator: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Part:
    """Tables that belong together, with a sentence or two before them.

    Attributes:
        folded: whether it starts closed.
        charted: the data set (`normal_name`) whose published curves the page draws before the tables; "" for none.
    """

    title: str
    lead: str
    tables: tuple[Table, ...]
    protocol: str = ""
    folded: bool = False
    charted: str = ""


@dataclass(frozen=True)
class Chapter:
    """All there is on one data set: `protocols` names the versions in it."""

    title: str
    synthetic: bool
    protocols: tuple[str, ...]
    parts: tuple[Part, ...]


@dataclass
class Footnotes:
    """Numbers footnotes in the order in which they are first used; equal texts share a number."""

    texts: dict[str, int] = field(default_factory=dict)

    def __call__(self, notes: Iterable[str]) -> tuple[int, ...]:
        return tuple(self.texts.setdefault(note, len(self.texts) + 1) for note in notes)


@dataclass(frozen=True)
class Document:
    """The whole leaderboard: chapters, and footnotes by number."""

    chapters: tuple[Chapter, ...]
    footnotes: tuple[str, ...]
    records: int


def build_document(
    sections: Sequence[Section], published: Sequence[PublishedRow], gains: Sequence[PublishedGain] = ()
) -> Document:
    """Lay out all rows, a chapter a data set: those with rows of this board first, real ones before generated ones.

    Args:
        sections: measured and external rows.
        published: what papers print.
        gains: which of it are ideas on hosts.
    """
    notes = Footnotes()
    titles = {normal_name(name): name for name in DATASETS}
    titles |= {normal_name(row.dataset): row.dataset for row in published}
    real: dict[str, list[Section]] = {title: [] for title in dict.fromkeys(titles.values())}
    synthetic: dict[str, list[Section]] = {}
    for section in sections:
        title = titles.get(normal_name(section.dataset), section.dataset)
        (synthetic if section.synthetic else real).setdefault(title, []).append(section)
    chapters = [
        _chapter(title, group, [row for row in published if row.dataset == title], gains, notes)
        for title, group in [*real.items(), *synthetic.items()]
    ]
    chapters = sorted((chapter for chapter in chapters if chapter.parts), key=lambda chapter: not chapter.protocols)
    count = sum(len(row.records) for section in sections for row in all_rows(section))
    return Document(tuple(chapters), tuple(notes.texts), count)


def all_rows(section: Section) -> list[Row]:
    """Every measured and external row of a section."""
    return [row for block in (*section.blocks, *section.external) for row in block.rows]


def _chapter(
    title: str,
    sections: list[Section],
    published: list[PublishedRow],
    gains: Sequence[PublishedGain],
    notes: Footnotes,
) -> Chapter:
    parts: list[Part] = []
    for section in sections:
        parts += [_measured(section, block, published) for block in section.blocks]
        parts += [part for block in section.blocks if (part := _on_hosts(section, block, gains, notes))]
        parts += [_external(section, block) for block in section.external]
    if published:
        parts += _published(published, notes)
    names = tuple(section.protocol for section in sections)
    return Chapter(title, any(section.synthetic for section in sections), names, tuple(parts))


def _measured(section: Section, block: Block, published: list[PublishedRow]) -> Part:
    tables = [_overview(section, block, published)]
    tables += [_scores(section, block.rows, evaluator, first=block.rows[0]) for evaluator in section.evaluators]
    ranked = [row for row in block.rows if row.rank is not None]
    if 2 < len(ranked) <= MATRIX_ROWS and all(row.draw(section.main) for row in ranked):
        tables.append(_pairs(section, ranked))
    return Part(f"Measured, {section.protocol}", _made_from(section, block), tuple(tables), section.protocol)


def _made_from(section: Section, block: Block) -> str:
    return (
        f"{section.protocol} ({section.hash[:12]}), features {block.extractor or 'unnamed'} ({block.features[:12]}), "
        f"annotations {block.annotations[:12]}."
    )


def _on_hosts(section: Section, block: Block, published: Sequence[PublishedGain], notes: Footnotes) -> Part | None:
    """What ideas add to the hosts they were put on; None for a block without a mix."""
    gains = find_gains(section, block)
    if not gains:
        return None
    printed = [_printed_gain(gain, published, notes) for gain in gains]
    noted, quoted = any(gain.note for gain in gains), any(printed)
    heads = ["host", "idea", "seeds", "host alone", "with idea", "gain", "95 % interval", *_TERMS]
    heads += [*(["note"] if noted else []), *(["published gain", "printed in"] if quoted else [])]
    lines = []
    for gain, paper in zip(gains, printed):
        count = len(gain.seeds)
        cells = [Cell(gain.host, gain.host.lower()), Cell(gain.ideas, gain.ideas.lower()), Cell(str(count), count)]
        cells += [_score(gain.before), _score(gain.after), Cell(signed(gain.difference), gain.difference)]
        cells += [Cell(_interval(gain)), *_terms(gain.mix), *([Cell(gain.note or MISSING)] if noted else [])]
        cells += (paper or [Cell(MISSING), Cell(MISSING)]) if quoted else []
        mix = gain.mix
        lines.append(Line(tuple(cells), "measured", mix.supervision, mix.selection, gain.shaded, mix.key))
    lead = (
        f"{_made_from(section, block)} Each idea beside the host it was put on, both trained here, over the seeds both "
        "have: beside the very runs it began from, or else a host trained with the same settings. Gains are percent "
        "points of the ranking average; the interval is a bootstrap over the evaluated videos, paired, and over those "
        "seeds (videos only where there is one). An idea that begins from its host's weights has trained longer than "
        "the host."
    )
    if quoted:
        lead += " Published gains are of the papers' own hosts, features and evaluators: they stand apart."
    caption = f"Ideas on hosts: average mAP, tIoU {section.span}, by {section.main}"
    table = Table(tuple(heads), tuple(lines), caption=caption)
    return Part(f"Ideas on hosts, {section.protocol}", lead, (table,), section.protocol)


def _interval(gain: Gain) -> str:
    if gain.interval is None:
        return MISSING
    text = f"[{signed(gain.interval.low)}, {signed(gain.interval.high)}]"
    mark = "" if gain.interval.distinguishable else ", not distinguishable"
    return f"{text}{mark}{_limits(len(gain.seeds))}"


def _printed_gain(gain: Gain, published: Sequence[PublishedGain], notes: Footnotes) -> list[Cell] | None:
    """The gain a paper prints for the same idea on the same host, and where; None where no paper does."""
    key = (*host_of(gain.mix), ideas_of(gain.mix))
    paper = next((paper for paper in published if (paper.host, paper.variant, (paper.idea,)) == key), None)
    if paper is None:
        return None
    before, after = paper.values
    place = f"{', '.join(paper.after.tables)}: {paper.after.dataset}, {paper.span}, {before} to {after}"
    return [Cell(f"{paper.points:+}", float(paper.points), notes(paper.notes)), Cell(place)]


def _external(section: Section, block: Block) -> Part:
    lead = (
        f"Detections made elsewhere, scored by {section.protocol} ({section.hash[:12]}) on annotations "
        f"{block.annotations[:12]}. Features and training are the authors' word."
    )
    tables = tuple(_scores(section, block.rows, evaluator) for evaluator in section.evaluators)
    return Part(f"External, {section.protocol}", lead, tables, section.protocol)


def _overview(section: Section, block: Block, published: list[PublishedRow]) -> Table:
    """The main average under every evaluator side by side, and what the paper prints."""
    videos = _lacking(block.rows)
    heads = [*_NAMES, *section.evaluators, *(["published"] if published else []), *videos, "vs first", *_TERMS]
    lines = []
    for row in block.rows:
        # what ranks comes first, where no narrow screen cuts it off
        cells = [*_names(row), *(_scored(section, row, evaluator)[0] for evaluator in section.evaluators)]
        if published:
            cells.append(_printed_average(row, published, section.span))
        cells += _covered(row, videos)
        cells += [_versus(row, block.rows[0], section, section.main), *_terms(row)]
        lines.append(_line(row, cells))
    caption = f"Average mAP, tIoU {section.span}, by evaluator; ranked and compared by {section.main}"
    return Table(tuple(heads), tuple(lines), caption=caption)


def _scores(section: Section, rows: Sequence[Row], evaluator: str, first: Row | None = None) -> Table:
    count, instances = section.counts[evaluator]
    videos = _lacking(rows)
    heads = [*_NAMES, *section.spans[::-1], *(f"{tiou:g}" for tiou in section.tious)]
    heads += [*videos, *(["vs first"] if first else []), *_TERMS]
    lines = []
    for row in rows:
        cells = [*_names(row), *_scored(section, row, evaluator), *_covered(row, videos)]
        if first is not None:
            cells.append(_versus(row, first, section, evaluator))
        cells += _terms(row)
        lines.append(_line(row, cells))
    caption = f"mAP by {evaluator}: {count} videos, {instances} instances"
    return Table(tuple(heads), tuple(lines), evaluator, caption)


def _pairs(section: Section, ranked: list[Row]) -> Table:
    """Row minus column for every pair of ranked rows; `=` where the two are not distinguishable."""
    heads = ("method", *(str(row.rank) for row in ranked))
    lines = []
    for row in ranked:
        cells = [Cell(f"{row.rank}. {row.label}", row.rank)]
        for other in ranked:
            found = None if other is row else compare_rows(row, other, section.main, section.span)
            text = MISSING if found is None else signed(found.difference) if found.distinguishable else "="
            cells.append(Cell(text, found.difference if found else None))
        lines.append(_line(row, cells))
    caption = f"Row minus column, average {section.span} by {section.main}; '=' is not distinguishable"
    return Table(heads, tuple(lines), caption=caption)


def _line(row: Row, cells: Iterable[Cell]) -> Line:
    source = row.records[0]["source"]
    return Line(tuple(cells), source, row.supervision, row.selection, bool(row.reason), row.key)


def _names(row: Row) -> list[Cell]:
    rank = MISSING if row.rank is None else str(row.rank)
    name = f"{row.label}: {row.reason}" if row.reason else row.label
    name += _collapsed(row)
    return [
        Cell(rank, row.rank),
        Cell(name, row.name.lower()),
        Cell(str(len(row.records)), len(row.records)),
    ]


def _collapsed(row: Row) -> str:
    """How many seeds collapsed, whatever their mean looks like beside the others'."""
    lost, all_of_them = row.collapsed, len(row.records)
    if not lost:
        return ""
    return " (collapsed)" if lost == all_of_them else f" ({lost} of {all_of_them} seeds collapsed)"


def _lacking(rows: Sequence[Row]) -> list[str]:
    """The column of videos used, where a row left some out."""
    return ["videos"] if any(row.videos and "?" not in row.videos for row in rows) else []


def _covered(row: Row, column: list[str]) -> list[Cell]:
    return [Cell(row.videos or "all") for _ in column]


def _terms(row: Row) -> list[Cell]:
    return [Cell(SUPERVISION_WORDS[row.supervision]), Cell(SELECTION_WORDS[row.selection])]


def _scored(section: Section, row: Row, evaluator: str) -> list[Cell]:
    """The averages, what ranks first, where no narrow screen cuts it off, and mAP at every tIoU."""

    def make() -> list[list]:
        scores = [*(row.average(evaluator, span) for span in section.spans[::-1]), *row.per_tiou(evaluator)]
        return [[spread(score.mean, score.std), score.mean] for score in scores]

    return [Cell(*cell) for cell in row.made.value(f"cells {evaluator} {section.shape}", make)]


def _score(score: Score) -> Cell:
    return Cell(spread(score.mean, score.std), score.mean)


def _versus(row: Row, first: Row, section: Section, evaluator: str) -> Cell:
    if row is first or row.reason:
        return Cell(MISSING)
    found = compare_rows(row, first, evaluator, section.span)
    if found is None:
        return Cell("unknown")
    limits = _limits(max(len(row.records), len(first.records)))
    interval = f"{signed(found.difference)} [{signed(found.low)}, {signed(found.high)}]{limits}"
    return Cell(interval if found.distinguishable else f"not distinguishable {interval}", found.difference)


def _limits(seeds: int) -> str:
    """What an interval leaves out where neither side has a second seed."""
    return ", videos only" if seeds == 1 else ""


def _printed_average(row: Row, published: list[PublishedRow], span: str) -> Cell:
    paper = published_for(published, row.method, published[0].dataset) if not row.variant else None
    value = paper.average(span)[0] if paper else None
    return Cell(MISSING) if value is None else Cell(paper.shown(span, average=True), value)


def _published(rows: list[PublishedRow], notes: Footnotes) -> list[Part]:
    lead = (
        "As papers print them: where a number contradicts its own row, a footnote says what it should be. A value in "
        "brackets is the mean of the row's own values where the paper prints none. Where papers print different values "
        "of one method, its row has the lowest and the highest, a note says who prints what, and it is sorted "
        "by its own paper's, else the fullest table's. Evaluators, features and video sets differ between papers: no "
        "ranks."
    )
    tables = [(_printed([row for row in rows if row.headline], notes, variants=False), "Published", True)]
    others = [row for row in rows if not row.headline]
    if others:
        tables.append((_printed(others, notes, variants=True), "Published ablations and re-runs", True))
    dataset = normal_name(rows[0].dataset)
    parts = [
        Part(title, lead, (table,), folded=folded, charted=dataset if title == "Published" else "")
        for table, title, folded in tables
    ]
    frame = [row for row in rows if row.cells.get("")]
    if frame:
        heads = ("method", "variant", "frame accuracy", "printed in")
        lines = tuple(_published_line(row, ("",), notes, variants=True, spans=()) for row in frame)
        parts.append(Part("Published frame accuracy", "", (Table(heads, lines),), folded=True))
    return parts


def _printed(rows: list[PublishedRow], notes: Footnotes, variants: bool) -> Table:
    given = {iou for row in rows for iou in row.cells if iou}
    tious = tuple(sorted((iou for iou in given if ":" not in iou), key=float))
    spans = tuple(sorted((iou for iou in given if ":" in iou), key=span_order))
    heads = ("method", "variant" if variants else "supervision", *tious, *spans, "printed in")

    def order(row: PublishedRow) -> tuple:
        if variants:
            return (row.tables, 0.0, "")
        average = row.average(spans[-1])[0] if spans else None
        best = average if average is not None else -1.0
        return (list(SUPERVISION_WORDS).index(row.supervision), -best, row.method)

    ordered = sorted(rows, key=order)
    lines = tuple(_published_line(row, (*tious, *spans), notes, variants, spans) for row in ordered)
    return Table(heads, lines)


def _published_line(
    row: PublishedRow, ious: Sequence[str], notes: Footnotes, variants: bool, spans: Sequence[str]
) -> Line:
    kind = row.variant if variants else SUPERVISION_WORDS[row.supervision]
    cells = [Cell(row.method, row.method.lower(), notes(row.notes)), Cell(kind)]
    for iou in ious:
        cell = row.cells.get(iou)
        value = row.average(iou)[0] if iou in spans else row.number(iou)
        cells.append(Cell(row.shown(iou, iou in spans), value, notes(cell.notes) if cell else ()))
    cells.append(Cell(", ".join(row.tables)))
    return Line(tuple(cells), "published", SUPERVISION.get(row.variant, "weak"), "as printed")
