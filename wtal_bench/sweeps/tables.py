"""Finished runs of a sweep -> tables: rows beside published values, gains with an interval, trials of a search."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wtal_bench.errors import ConfigError, listing
from wtal_bench.files import write_text
from wtal_bench.leaderboard.compare import find_side, gain
from wtal_bench.leaderboard.markdown import escape
from wtal_bench.leaderboard.rows import Score
from wtal_bench.running.datasets import open_data
from wtal_bench.running.run import Result
from wtal_bench.sweeps.plan import Contest, Entry, Plan
from wtal_bench.sweeps.search import Search, cfg_options, config_lines
from wtal_bench.text import percent, signed, table, table_cell

if TYPE_CHECKING:
    from wtal_bench.evaluation import Interval

SUFFIXES = (".md", ".csv")
"""Kinds of files tables are written to."""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: a line above it.
        head, rows: its cells.
        left: columns of words.
        notes: lines below it.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: tuple[int, ...] = (0,)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For a terminal."""
        return ["", self.title, *table(self.head, self.rows, left=self.left), *self.notes]


Results = Mapping[Path, Result]
"""A run's folder -> what it left."""


def row_tables(plan: Plan, results: Results, seeds: Sequence[int]) -> list[Table]:
    """One table for every metric and evaluator, of the rows that are compared with nothing; and one of the gains."""
    tables = []
    whole = [contest for contest in plan.contests if _whole(contest, results)]
    alone = [contest for contest in whole if not contest.theirs]
    for measure in dict.fromkeys(contest.entry.measure for contest in alone):
        rows = [_line(contest, results) for contest in alone if contest.entry.measure == measure]
        by = f" by {measure.evaluator}" if measure.evaluator else ""
        notes = [f"std: sample standard deviation (n - 1) over {len(seeds)} seeds"] if len(seeds) > 1 else []
        head = ("row", "measured", "std over seeds", "published", "difference", "paper row")
        title = f"{measure.title} (%){by}, seeds {listing(map(str, seeds))}"
        tables.append(Table(title, head, tuple(rows), (0, 5), tuple(notes)))
    compared = [contest for contest in whole if contest.theirs]
    if compared:
        over = "videos and seeds" if len(seeds) > 1 else "videos only: one seed shows no spread"
        note = (
            "gain: mean over the seeds of the row less that of what it is compared with, in points, and the 95 % "
            f"interval of a paired bootstrap over {over}."
        )
        rows = [gain_cells(contest, results) for contest in compared]
        head = ("row", "compared with -> the row (%), a number a seed", "gain [95 % interval]", "published")
        tables.append(Table("gains", head, tuple(rows), (0, 1, 2, 3), (note,)))
    return tables


def foreign_rows(plan: Plan) -> list[str]:
    """Lines on rows whose published value is of other data, metric or evaluator."""
    alone = [contest.entry for contest in plan.contests if not contest.theirs]
    names = [entry.name for entry in alone if entry.row.published and entry.printed is None]
    return ["", f"No published value of the same data, metric and evaluator: {listing(names, 99)}."] if names else []


def said(contest: Contest, results: Results) -> str:
    """A finished row in a line."""
    if contest.theirs:
        return "  ".join(gain_cells(contest, results))
    return f"{contest.entry.name}  {contest.entry.measure.title}  {_values(contest.entry, contest.ours, results)}"


def _line(contest: Contest, results: Results) -> tuple[str, ...]:
    entry = contest.entry
    score = score_of(contest, results)
    difference = None if score.mean is None or entry.printed is None else score.mean - entry.printed
    printed = "-" if entry.printed is None else str(entry.row.published["value"])
    return (entry.name, percent(score.mean), percent(score.std), printed, signed(difference), entry.row.paper_row)


def score_of(contest: Contest, results: Results) -> Score:
    """The row's number over its seeds."""
    return Score.over(contest.entry.measure.of(results[run.folder].record["metrics"]) for run in contest.ours)


def gain_cells(contest: Contest, results: Results) -> tuple[str, ...]:
    """The cells of a row that is compared with another config."""
    entry, found = contest.entry, _gain(contest, results)
    shown = f"gain {signed(found.difference)} [{signed(found.low)}, {signed(found.high)}]"
    values = f"{_values(entry, contest.theirs, results)} -> {_values(entry, contest.ours, results)}"
    by = f"{entry.measure.title} by {entry.measure.evaluator}: {values}"
    return (entry.name, by, shown, "" if entry.printed is None else f"published {published(entry.row)}")


def _values(entry: Entry, runs: Sequence[Any], results: Results) -> str:
    return ", ".join(percent(entry.measure.of(results[run.folder].record["metrics"])) for run in runs)


def _gain(contest: Contest, results: Results) -> Interval:
    entry, measure = contest.entry, contest.entry.measure
    opened = open_data(entry.config.data, "cpu", entry.config.path)
    sides = (
        find_side([str(results[run.folder].record_path) for run in runs]) for runs in (contest.ours, contest.theirs)
    )
    return gain(*sides, opened.protocol, opened.annotations, evaluator=measure.evaluator, tious=measure.tious)


def published(row: Any) -> str:
    """A row's published value as words."""
    if not row.published:
        return "-"
    shown = f"{row.published['value']} {row.published['metric']}"
    if "host" not in row.published:
        return shown
    return f"{row.published['host']} -> {shown} ({row.published['value'] - row.published['host']:+.1f})"


# ---- searches ----


def search_table(plan: Plan, results: Results, seeds: Sequence[int]) -> Table:
    """Every trial, the best one first; a trial without a number comes last."""
    search, measure = _search(plan), plan.contests[0].entry.measure
    keys = list(search.space)
    scored = [(contest, score_of(contest, results)) for contest in plan.contests if _whole(contest, results)]
    scored.sort(key=lambda pair: -1.0 if pair[1].mean is None else pair[1].mean, reverse=True)
    rows = []
    for number, (contest, score) in enumerate(scored, 1):
        settings = _settings(contest, keys)
        records = [results[run.folder].record for run in contest.ours]
        spread = [percent(score.std)] if len(seeds) > 1 else []
        cost = sum(r["cost"].get("train_seconds", 0) + r["cost"].get("test_seconds", 0) for r in records) / len(records)
        rows.append((str(number), contest.entry.name, percent(score.mean), *spread, *settings, f"{cost:.0f}"))
    for contest in plan.contests:
        if not _whole(contest, results):
            spread = ["-"] if len(seeds) > 1 else []
            rows.append(("-", contest.entry.name, "failed", *spread, *_settings(contest, keys), "-"))
    head = ("", "trial", measure.title, *(["std"] if len(seeds) > 1 else []), *keys, "seconds a run")
    protocol = plan.contests[0].entry.config.data.protocol
    title = f"search on {protocol}: {measure.title} (%) by {measure.evaluator}, seeds {listing(map(str, seeds))}"
    return Table(title, head, tuple(rows), (1,), ("an empty cell is the recipe's own setting",))


def chosen_lines(plan: Plan, results: Results) -> list[str]:
    """What the best trial gained over the recipe, and its settings as lines to paste."""
    search = _search(plan)
    scored = [(contest, score_of(contest, results).mean) for contest in plan.contests if _whole(contest, results)]
    scored = [(contest, value) for contest, value in scored if value is not None]
    if not scored:
        return ["", "no trial has a number: nothing was scored"]
    best, value = max(scored, key=lambda pair: pair[1])
    own = next((value for contest, value in scored if not _point(contest, search)), None)
    point = _point(best, search)
    if not point:
        return [
            "",
            f"the recipe as it is is the best of {len(plan.contests)} trials ({percent(value)}): nothing to change",
        ]
    over = "" if own is None else f", {signed(value - own)} over the recipe"
    return [
        "",
        f"best of {len(plan.contests)} trials: {best.entry.name}, {percent(value)}{over}, on the videos it was chosen "
        "by; expect less on others",
        "in the config:",
        *(f"  {line}" for line in config_lines(point)),
        f"or: --cfg-options {' '.join(cfg_options(point))}",
    ]


def _settings(contest: Contest, keys: Sequence[str]) -> list[str]:
    options = contest.entry.row.options
    return [repr(options[key]) if key in options else "" for key in keys]


def _whole(contest: Contest, results: Results) -> bool:
    """Whether all of its runs were made; those of a trial that diverged were not."""
    return all(run.folder in results for run in contest.runs)


def _point(contest: Contest, search: Search) -> dict[str, Any]:
    return {key: value for key, value in contest.entry.row.options.items() if key in search.space}


def _search(plan: Plan) -> Search:
    assert plan.search is not None
    return plan.search


# ---- files ----


def check_out(path: Path | None) -> None:
    """Refuse a file that tables cannot be written to, before anything trains.

    Raises:
        ConfigError: another suffix.
    """
    if path is not None and path.suffix not in SUFFIXES:
        raise ConfigError(f"--out {path}: tables are written as {listing(SUFFIXES)}; end the name with one of them.")


def write_tables(path: Path, tables: Sequence[Table], more: Sequence[str] = ()) -> None:
    """Write tables as Markdown or CSV, by the suffix; a CSV of several has the title in its first column.

    Args:
        path: the file.
        tables: in order.
        more: lines below them (Markdown alone).
    """
    if path.suffix == ".csv":
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        for each in tables:
            title = [each.title] if len(tables) > 1 else []
            head = [[*(["table"] if title else []), *each.head]] if each.head else []
            writer.writerows(
                [[table_cell(cell) for cell in row] for row in [*head, *([*title, *r] for r in each.rows)]]
            )
        write_text(path, stream.getvalue())
        return
    lines: list[str] = []
    for each in tables:
        head = each.head or tuple("" for _ in each.rows[0])
        marks = ("---" if column in each.left else "---:" for column in range(len(head)))
        body = (head, tuple(marks), *(tuple(map(escape, row)) for row in each.rows))
        lines += [f"**{escape(each.title)}**", "", *(f"| {' | '.join(row)} |" for row in body), ""]
        lines += [f"{escape(note)}\n" for note in each.notes]
    if more:
        lines += ["```", *more, "```", ""]
    write_text(path, "\n".join(lines))
