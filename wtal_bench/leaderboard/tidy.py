"""The filed records as one tidy pandas table, and the CSV made from it.

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

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wtal_bench.leaderboard.gains import Gain, find_gains
from wtal_bench.leaderboard.published import PublishedRow
from wtal_bench.leaderboard.rows import Block, Row, Score, Section
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


def to_csv(records: pd.DataFrame, published: Sequence[PublishedRow], sections: Iterable[Section] = ()) -> str:
    """Spell a frame and what papers print as CSV: percent, unrounded, mean and deviation over the seeds of a row.

    Args:
        records: what `records_frame` made.
        published: what papers print.
        sections: where the gains of ideas on hosts are taken from.
    """
    import pandas as pd

    keys = [*OF_ROW, "row", "evaluator", "metric", "iou"]
    groups: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for line in zip(*(records[name].tolist() for name in (*keys, "value", "seed", "record"))):
        groups.setdefault(line[: len(keys)], []).append(line[len(keys) :])
    measured = [_measured_line(dict(zip(keys, key)), *zip(*seeds)) for key, seeds in groups.items()]
    gains = [
        line
        for section in sections
        for block in section.blocks
        for gain in find_gains(section, block)
        for line in _gain_lines(section, block, gain)
    ]
    lines = [*measured, *gains, *(line for paper in published for line in _published_lines(paper))]
    frame = pd.DataFrame(lines, columns=list(CSV_COLUMNS)).map(lambda x: table_cell(x) if isinstance(x, str) else x)
    return frame.to_csv(index=False, lineterminator="\n", na_rep="")


def _measured_line(
    about: dict[str, Any], values: Sequence[float], seeds: Sequence[Any], records: Sequence[str]
) -> dict[str, Any]:
    """A row's line of one evaluator and threshold, from its value, seed and id of every record."""
    import pandas as pd

    score = Score.over(None if value != value else value for value in values)
    return {
        **about,
        "percent": _percent(score.mean),
        "std": _percent(score.std),
        "n": str(len(records)),
        "seeds": " ".join(str(seed) for seed in seeds if seed is not pd.NA),
        "records": " ".join(records),
        "rank": "" if about["rank"] is pd.NA else str(about["rank"]),
    }


def _lines(section: Section, row: Row) -> Iterator[dict[str, Any]]:
    first = row.records[0]
    of_row = {
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
        "row": row.key,
    }
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
