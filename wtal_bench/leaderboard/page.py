"""The document as one self-contained page: no network, works from a file, sorts and filters in the browser.

Tables are plain HTML, so the page reads without scripts too; the script adds sorting, filters, curves and comparisons.
Text of records never becomes markup: HTML is escaped here, the data block is JSON with `<` escaped, the script only
sets text, and a content-security policy admits nothing but this very style and script (by hash).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from wtal_bench.leaderboard.published import PublishedRow, normal_name
from wtal_bench.leaderboard.rows import SELECTION_WORDS, Row, Section
from wtal_bench.leaderboard.tables import LEGEND, Cell, Chapter, Document, Line, Part, Table
from wtal_bench.leaderboard.validate import harness_commit
from wtal_bench.text import html_text as escape
from wtal_bench.text import percent, visible_data

_FILTERS = (("protocol", "Protocol"), ("supervision", "Supervision"), ("selection", "Checkpoint"), ("source", "Source"))
_WORDY = ("printed in", "variant", "95 % interval", "note")
"""Columns of running text, which may wrap."""
_NAMES = ("method", "host", "idea")
"""Columns that name a line: the first there is leads to its details, and all are searched."""
WIDENING = (
    *(1.0, 1.024794, 1.050804, 1.078099, 1.106748, 1.136826, 1.168413, 1.201589, 1.236442, 1.273062, 1.311545),
    *(1.351993, 1.39451, 1.439209, 1.486206, 1.535625, 1.587595, 1.642254, 1.699745, 1.760219, 1.823837, 1.890766),
    *(1.961182, 2.035272, 2.113233, 2.195271, 2.281605, 2.372463, 2.468088, 2.568735, 2.674674, 2.786188, 2.903577),
    *(3.027157, 3.15726, 3.294237, 3.438461, 3.590321, 3.750232, 3.918627, 4.095969, 4.282741, 4.479457, 4.686658),
    *(4.904914, 5.13483, 5.377042, 5.632222, 5.90108, 6.184368, 6.482877),
)
"""What `t_over_z` gives, to six digits, where 1 over the degrees of freedom is 0, 1/50, 2/50 ... 1; the page compares
by it. Written down, since no other part of a page needs scipy, which takes a third of a second to load."""


def to_html(document: Document, sections: Sequence[Section], published: Sequence[PublishedRow]) -> str:
    """Spell the document as HTML, with what the charts and comparisons need."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:"
    body = "\n".join(
        [*_head(document), *(line for chapter in document.chapters for line in _chapter(chapter)), *_notes(document)]
    )
    data = _data(sections, published)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="color-scheme" content="light dark">
<title>wtal-bench leaderboard</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<svg id="seed" hidden></svg>
{body}
<script type="application/json" id="data">{data.replace("<", chr(92) + "u003c")}</script>
<script>{script}</script>
</body>
</html>
"""


@cache
def _asset(name: str) -> str:
    return files("wtal_bench.leaderboard").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _head(document: Document) -> Iterator[str]:
    yield "<header><h1>wtal-bench leaderboard</h1>"
    yield f"<p>Weakly supervised temporal action localization, {document.records} records.</p>"
    yield '<button type="button" id="theme">light / dark</button></header>'
    yield '<details class="legend"><summary>How to read this page</summary><ul>'
    yield from (f"<li>{_marked(text)}</li>" for text in LEGEND)
    yield "<li>Press a method's name for its curve, its classes, its seeds, and to compare it with another row.</li>"
    yield '</ul></details><div class="filters" role="search">'
    for name, label in _FILTERS:
        yield f'<label>{label}<select id="{name}"><option value="">all</option></select></label>'
    yield '<label>Method<input id="text" type="search" autocomplete="off"></label>'
    yield '<button type="button" id="reset">clear</button><span id="count" role="status"></span></div>'
    yield '<p id="none" hidden>Nothing matches these filters.</p>'


def _chapter(chapter: Chapter) -> Iterator[str]:
    names = escape(json.dumps([*chapter.protocols] or [chapter.title]))
    yield f'<section class="chapter" data-protocols="{names}">'
    said = " (synthetic)" if chapter.synthetic and chapter.title != "synthetic" else ""
    yield f"<h2>{escape(chapter.title)}{said}</h2>"
    for part in chapter.parts:
        yield from _part(part)
    yield "</section>"


def _part(part: Part) -> Iterator[str]:
    yield '<section class="part">'
    if part.folded:
        yield f"<details><summary><strong>{escape(part.title)}</strong></summary>"
    else:
        yield f"<h3>{escape(part.title)}</h3>"
    if part.lead:
        yield f'<p class="lead">{escape(part.lead)}</p>'
    if part.charted:
        yield f'<div class="place" data-dataset="{escape(part.charted)}"></div>'
    evaluators = [table.evaluator for table in part.tables if table.evaluator]
    chosen = False
    for table in part.tables:
        if table.evaluator and not chosen:
            chosen = True
            options = "".join(f"<option>{escape(name)}</option>" for name in evaluators)
            yield f'<label class="choice">Evaluator<select class="evaluator">{options}</select></label>'
            yield '<div class="place"></div>'
        yield from _table(table, part)
    if part.folded:
        yield "</details>"
    yield "</section>"


def _table(table: Table, part: Part) -> Iterator[str]:
    evaluator = f' data-evaluator="{escape(table.evaluator)}"' if table.evaluator else ""
    yield f"<figure{evaluator}>"
    if table.caption:
        yield f"<figcaption>{escape(table.caption)}</figcaption>"
    yield '<div class="scroll" tabindex="0"><table><thead><tr>'
    kinds = [_kind(table, column) for column in range(len(table.heads))]
    for head, kind in zip(table.heads, kinds):
        yield f'<th scope="col" class="{kind}"><button type="button">{_breakable(head)}</button></th>'
    yield "</tr></thead><tbody>"
    names = [column for column, head in enumerate(table.heads) if head in _NAMES]
    for line in table.lines:
        yield _line(line, names, kinds, part)
    yield "</tbody></table></div></figure>"


def _marked(text: str) -> str:
    """Text of this program's own with `commands` in it."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _breakable(head: str) -> str:
    return escape(head).replace("_", "_<wbr>")


def _kind(table: Table, column: int) -> str:
    if table.heads[column] in _NAMES:
        return "text"  # whatever a name sorts by
    if table.heads[column] in _WORDY or table.heads[column].startswith("vs "):
        return "words"
    return "number" if any(isinstance(line.cells[column].sort, int | float) for line in table.lines) else "text"


def _line(line: Line, names: Sequence[int], kinds: Sequence[str], part: Part) -> str:
    marks = {
        "data-source": line.source,
        "data-supervision": line.supervision,
        "data-selection": line.selection,
        "data-protocol": part.protocol,
        # found by what is shown and by the identifier, which names sort by
        "data-text": " ".join(f"{cell.text} {cell.sort}" for cell in (line.cells[at] for at in names)).lower(),
    }
    if line.key:
        marks["data-key"] = line.key
    attributes = " ".join(f'{key}="{escape(value)}"' for key, value in marks.items())
    shaded = ' class="shaded"' if line.shaded else ""
    cells = "".join(
        _cell(cell, "th" if column == names[0] else "td", kind)
        for column, (cell, kind) in enumerate(zip(line.cells, kinds))
    )
    return f"<tr{shaded} {attributes}>{cells}</tr>"


def _cell(cell: Cell, tag: str, kind: str) -> str:
    key = escape(cell.sort) if isinstance(cell.sort, str) else cell.sort
    sort = "" if key is None else f' data-sort="{key}"'
    scope = ' scope="row"' if tag == "th" else ""
    notes = "".join(f'<sup><a href="#note-{number}">{number}</a></sup>' for number in cell.notes)
    return f'<{tag}{scope} class="{kind}"{sort}>{escape(cell.text)}{notes}</{tag}>'


def _notes(document: Document) -> Iterator[str]:
    if document.footnotes:
        yield '<h2 class="printed">Notes to published numbers</h2><ol class="notes printed">'
        for number, text in enumerate(document.footnotes, 1):
            yield f'<li id="note-{number}">{escape(text)}</li>'
        yield "</ol>"


def _data(sections: Sequence[Section], published: Sequence[PublishedRow]) -> str:
    rows = {}
    for section in sections:
        for block in (*section.blocks, *section.external):
            rows |= {row.key: _row(section, row, f"{block.features}{block.annotations}") for row in block.rows}
    curves = [_curve(part) for paper in published if paper.headline for part in _apart(paper)]
    texts = ",".join(f"{_json(key)}:{text}" for key, text in rows.items())
    return f'{{"rows":{{{texts}}},"published":{_json(curves)},"widening":{_json(WIDENING)}}}'


def _json(value: Any) -> str:
    return json.dumps(visible_data(value), separators=(",", ":"), allow_nan=False)


def _apart(paper: PublishedRow) -> Sequence[PublishedRow]:
    """A row whose tables differ as each of them prints it: a curve through values of two papers is nobody's."""
    if not paper.disputed:
        return (paper,)
    alike = {tuple((iou, cell.value) for iou, cell in part.cells.items()): part for part in reversed(paper.parts)}
    return tuple(alike.values())[::-1]


def _row(section: Section, row: Row, block: str) -> str:
    """A row as JSON: how it stands among others, then its numbers, which are remembered with it."""
    about = {
        "name": row.label,
        "source": row.records[0]["source"],
        "protocol": section.protocol,
        "dataset": normal_name(section.dataset),
        "block": block,
    }
    numbers = row.made.value(f"page {section.shape}", lambda: _json(_numbers(section, row)))
    return f"{_json(about)[:-1]},{numbers[1:]}"


def _numbers(section: Section, row: Row) -> dict[str, Any]:
    sample = row.sample(section.main, section.span)
    return {
        "main": section.main,
        "span": section.span,
        "tious": section.tious,
        "classes": list(row.per_class(section.main)),
        "average": {name: row.average(name, section.span).mean for name in section.evaluators},
        "evaluators": {name: _evaluator(row, name) for name in section.evaluators},
        "draw": row.draw(section.main),
        "replicates": None if sample is None else _thousandths(sample.videos),
        "deviation": None if sample is None or len(sample.values) == 1 else _thousandths(sample.deviation),
        "values": None if sample is None else [round(value, 9) for value in sample.values],
        "settings": _settings(row),
        "seeds": _seeds(section, row),
        "records": [_record(record) for record in row.records],
    }


def _thousandths(values: np.ndarray) -> list[int]:
    """Whole thousandths of a point: a tenth of the bytes, far below the noise of a bootstrap."""
    return (values * 1e5).round().astype(int).tolist()


def _settings(row: Row) -> str:
    """How a row was trained and picked, whether or not others of its name differ in that."""
    said = [row.length, f"checkpoint: {SELECTION_WORDS[row.selection]}"]
    if row.records[0]["source"] == "measured":
        said.append(f"config {row.records[0]['config_hash'][:12]}")
    return ", ".join(filter(None, said))


def _seeds(section: Section, row: Row) -> dict[str, Any]:
    """The row seed by seed as the tables print it, for every evaluator; below several, their mean and deviation."""
    names = ["-" if record["seed"] is None else str(record["seed"]) for record in row.records]
    tables = {}
    for evaluator in section.evaluators:
        lines = []
        for name, record in zip(names, row.records):
            block = record["metrics"]["variants"].get(evaluator)
            means = [None] * len(section.tious) if block is None else block["mAP"]
            averages = [None if block is None else block["averages"][span] for span in section.spans]
            lines.append([name, *map(percent, (*means, *averages))])
        if len(row.records) > 1:
            scores = [*row.per_tiou(evaluator), *(row.average(evaluator, span) for span in section.spans)]
            lines.append(["mean", *(percent(score.mean) for score in scores)])
            lines.append(["std", *(percent(score.std) for score in scores)])
        tables[evaluator] = lines
    return {"heads": ["seed", *(f"{tiou:g}" for tiou in section.tious), *section.spans], "evaluators": tables}


def _evaluator(row: Row, evaluator: str) -> dict[str, list[float | None]]:
    scores, classes = row.per_tiou(evaluator), row.per_class(evaluator)
    return {
        "mean": [_short(score.mean) for score in scores],
        "std": [_short(score.std) for score in scores],
        "classes": [_short(classes.get(name)) for name in row.per_class(row.main)],
    }


def _record(record: dict[str, Any]) -> str:
    seed = [] if record["seed"] is None else [f"seed {record['seed']}"]
    parts = [*seed, record["id"], record["created"][:10]]
    packages = record["environment"].get("packages")
    if isinstance(packages, dict) and "torch" in packages:
        parts.append(f"torch {packages['torch']}")
    if "device" in record["environment"]:
        parts.append(str(record["environment"]["device"]))
    commit, dirty = harness_commit(record)
    if commit:
        parts.append(f"commit {commit[:10]}{' + changes' if dirty else ''}")
    return ", ".join([*parts, *([record["url"]] if "url" in record else [])])


def _curve(paper: PublishedRow) -> dict[str, Any]:
    tious = sorted((iou for iou in paper.cells if iou and ":" not in iou), key=float)
    return {
        "name": f"{paper.method} ({paper.tables[0]})",
        "dataset": normal_name(paper.dataset),
        "supervision": paper.supervision,
        "tious": [float(iou) for iou in tious],
        "mean": [_short(paper.number(iou) / 100) for iou in tious],
    }


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
