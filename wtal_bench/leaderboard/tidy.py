"""The filed records as one tidy pandas table, and the rows as CSV.

Columns of `records_frame`, one row a record, evaluator and threshold:

    source            measured, or external: somebody else's detections, scored here
    protocol, protocol_hash
    features, annotations   what was trained and scored on, by hash ("" where unknown): compare rows of equal ones alone
    method, variant, supervision, selection, seed     seed is <NA> for external rows
    row               names the experiment: its records differ in their seed alone
    rank              of the row, by the average and evaluator that rank; <NA> when it is not ranked
    unranked_because  why not; "" when it is
    evaluator, evaluator_hash     the hash is "" where the record lacks that column
    metric, iou       mAP at one threshold ("0.5"), or avg_mAP over some ("0.1:0.7")
    value             a fraction, unrounded; NaN where undefined or lacking
    record            its id
    config_hash, commit, created

A table as on the page: `frame().query("evaluator == 'thumos_snippet'").pivot_table("value", ["method", "variant"],
"iou")`.

The CSV holds, besides means over the seeds of a row, what an idea adds to its host (metrics `gain`, `gain_low` and
`gain_high`, in percent points, under the mix's name; `seeds` are those compared, `records` the mix's and then the
host's, `note` names the host), and what papers print. A text that a spreadsheet would take for a formula has an
apostrophe in front: "'+ Embedding".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wtal_bench.leaderboard.gains import Gain, find_gains
from wtal_bench.leaderboard.published import PublishedRow
from wtal_bench.leaderboard.rows import Block, Row, Section
from wtal_bench.leaderboard.tables import all_rows
from wtal_bench.leaderboard.validate import harness_commit
from wtal_bench.text import exact_percent, table_cell

if TYPE_CHECKING:
    import pandas as pd

OF_ROW = (
    *("source", "protocol", "protocol_hash", "features", "annotations"),
    *("method", "variant", "supervision", "selection", "rank", "unranked_because"),
)
OF_RECORD = ("seed", "record", "config_hash", "commit", "created")
FRAME_COLUMNS = (*OF_ROW, "row", *OF_RECORD, "evaluator", "evaluator_hash", "metric", "iou", "value")
CSV_COLUMNS = (
    *OF_ROW,
    *("n", "seeds", "evaluator", "metric", "iou", "percent", "std", "records"),
    *("printed_in", "note"),
)


def records_frame(sections: Iterable[Section]) -> pd.DataFrame:
    """Spell every record's numbers as rows of the columns above, in the order of the leaderboard."""
    import pandas as pd

    rows = [line for section in sections for row in all_rows(section) for line in _lines(section, row)]
    table = pd.DataFrame(rows, columns=list(FRAME_COLUMNS), dtype=object)  # a seed must not pass through a float
    return table.astype({"rank": "Int64", "seed": "Int64", "value": "float64"}).infer_objects()


def to_csv(sections: Iterable[Section], published: Sequence[PublishedRow]) -> str:
    """Spell rows and what papers print as CSV: percent, unrounded, mean and deviation over the seeds of a row.

    Args:
        sections: measured and external rows.
        published: what papers print.
    """
    sections, stream = list(sections), io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    stream.writelines(
        line for section in sections for row in all_rows(section) for line in _measured_lines(section, row)
    )
    gains = [
        line
        for section in sections
        for block in section.blocks
        for gain in find_gains(section, block)
        for line in _gain_lines(section, block, gain)
    ]
    lines = [*gains, *(line for paper in published for line in _published_lines(paper))]
    writer.writerows([table_cell(line.get(name, "")) for name in CSV_COLUMNS] for line in lines)
    return stream.getvalue()


def _measured_lines(section: Section, row: Row) -> Iterator[str]:
    """A line for every evaluator and threshold, in the order of the columns; what they share is spelled once."""
    about = {**_of_row(section, row), "rank": "" if row.rank is None else str(row.rank)}
    seeds = " ".join(str(seed) for seed in row.seeds if seed is not None)
    before = _spelled([*(about[name] for name in OF_ROW), str(len(row.records)), seeds])
    after = _spelled([" ".join(record["id"] for record in row.records), "", ""])
    for numbers in row.made.value(f"csv {section.shape}", lambda: list(_numbers(section, row))):
        yield f"{before},{numbers},{after}\n"


def _numbers(section: Section, row: Row) -> Iterator[str]:
    """Evaluator, metric, threshold, mean and deviation."""
    for evaluator in section.evaluators:
        scores = [("mAP", f"{tiou:g}", score) for tiou, score in zip(section.tious, row.per_tiou(evaluator))]
        scores += [("avg_mAP", span, row.average(evaluator, span)) for span in section.spans]
        for metric, iou, score in scores:
            yield _spelled([evaluator, metric, iou, _percent(score.mean), _percent(score.std)])


def _spelled(cells: Sequence[str]) -> str:
    """Cells of a line of CSV, without its end."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(map(table_cell, cells))
    return stream.getvalue()[:-1]


def _of_row(section: Section, row: Row) -> dict[str, Any]:
    first = row.records[0]
    return {
        "source": first["source"],
        "protocol": section.protocol,
        "protocol_hash": section.hash,
        "features": first["features"].get("manifest_hash") or "",
        "annotations": first["annotations"]["sha256"],
        "method": row.method,
        "variant": row.variant,
        "supervision": row.supervision,
        "selection": row.selection,
        "rank": row.rank,
        "unranked_because": row.reason,
    }


def _lines(section: Section, row: Row) -> Iterator[dict[str, Any]]:
    of_row = {**_of_row(section, row), "row": row.key}
    for record in row.records:
        of_record = {
            "seed": record["seed"],
            "record": record["id"],
            "config_hash": record["config_hash"],
            "commit": harness_commit(record)[0],
            "created": record["created"],
        }
        for evaluator in section.evaluators:
            table = record["metrics"]["variants"].get(evaluator, {})
            values = table.get("mAP") or [None] * len(section.tious)
            numbers = [("mAP", f"{tiou:g}", value) for tiou, value in zip(section.tious, values)]
            numbers += [("avg_mAP", span, table.get("averages", {}).get(span)) for span in section.spans]
            for metric, iou, value in numbers:
                column = {"evaluator": evaluator, "evaluator_hash": table.get("hash", "")}
                yield {**of_row, **of_record, **column, "metric": metric, "iou": iou, "value": value}


def _gain_lines(section: Section, block: Block, gain: Gain) -> Iterator[dict[str, str]]:
    interval = gain.interval
    bounds = {"gain_low": interval.low, "gain_high": interval.high} if interval else {}
    for metric, value in {"gain": gain.difference, **bounds}.items():
        yield {
            "source": "measured",
            "protocol": section.protocol,
            "protocol_hash": section.hash,
            "features": block.features,
            "annotations": block.annotations,
            "method": gain.mix.method,
            "variant": gain.mix.variant,
            "supervision": gain.mix.supervision,
            "selection": gain.mix.selection,
            "unranked_because": gain.mix.reason,
            "n": str(len(gain.seeds)),
            "seeds": " ".join(map(str, gain.seeds)),
            "evaluator": section.main,
            "metric": metric,
            "iou": section.span,
            "percent": _percent(value),
            "records": " ".join(record["id"] for record in gain.pair),
            "note": f"{gain.ideas} on {gain.host}{f': {gain.note}' if gain.note else ''}",
        }


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else format(exact_percent(fraction), "f")


def _published_lines(paper: PublishedRow) -> Iterator[dict[str, str]]:
    """A line for every value; papers that print the same share it, papers that differ have one each."""
    for iou, cell in paper.cells.items():
        for value in cell.values:
            yield {
                "source": "published",
                "protocol": paper.dataset,
                "method": paper.method,
                "variant": paper.variant,
                "supervision": paper.supervision,
                "metric": "avg_mAP" if ":" in iou else "mAP" if iou else "frame_accuracy",
                "iou": iou,
                "percent": value,
                "printed_in": "; ".join(table for table, text in cell.printed if text == value),
                "note": " | ".join((*paper.notes, *cell.notes)),
            }
