"""A whole field in one line: the published rows of a data set, measured again, beside what the papers print.

A sweep file holds `reproduce` in the place of rows::

    reproduce:
      profiles: [honest, published]       # those a recipe has
      seeds: [0, 1, 2, 3, 4]              # where the command line names none
      recipes:
        - ../ecm_thumos.py
        - {recipe: ../um_thumos.py, options: {train.epochs: 3}}

What was published is looked up by the recipe's method, or by its host and idea, in `leaderboard/published.csv` and
`published_gains.csv`; compared is the widest average the paper prints that the protocol has, else mAP@0.5, by the
evaluator the paper's numbers were made with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.leaderboard.build import find_folder
from wtal_bench.leaderboard.published import (
    PublishedGain,
    PublishedRow,
    expand,
    normal_name,
    published_file,
    published_for,
    read_published,
    read_published_gains,
)
from wtal_bench.leaderboard.validate import HONEST, PUBLISHED
from wtal_bench.protocols import get_protocol
from wtal_bench.running.ablation import Row, check_options, read_top
from wtal_bench.running.settings import RunConfig
from wtal_bench.sweeps.plan import Asked, Contest, Plan, contests_of
from wtal_bench.sweeps.tables import Results, Table, score_of
from wtal_bench.text import fixed, percent, spread

KEYS = ("profiles", "seeds", "recipes", "note")
DATASET = re.compile(r"_(thumos|anet12|anet13|synthetic)$")


@dataclass(frozen=True)
class Field:
    """The recipes of a data set.

    Attributes:
        file: the sweep file.
        rows: one a recipe.
        profiles: those to run, as far as a recipe has them.
        seeds: where the command line names none.
    """

    file: Path
    rows: tuple[Row, ...]
    profiles: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Printed:
    """What a paper prints of a recipe: the value in percent, which metric it is of, and the table it stands in."""

    value: float
    metric: str
    table: str


def load_field(path: str | Path) -> Field | None:
    """Read the recipes of a sweep file; None where it has rows or a search.

    Raises:
        ConfigError: something in it that cannot be.
    """
    path, top = read_top(path)
    given, where = top.get("reproduce"), f"{path}: reproduce"
    if given is None:
        return None
    if not isinstance(given, Mapping) or top.get("rows") or top.get("search"):
        raise ConfigError(f"{where} is a mapping with `recipes`, in a file without rows and search.")
    for key in given:
        if key not in KEYS:
            raise ConfigError(
                f"{where}: unknown key {key!r:.80}.{did_you_mean(str(key), KEYS)} Known: {listing(KEYS)}."
            )
    recipes, profiles, seeds = given.get("recipes"), given.get("profiles", [HONEST]), given.get("seeds", [0])
    if not (isinstance(recipes, list) and recipes):
        raise ConfigError(f"{where}.recipes is a list of configs, got {recipes!r:.80}.")
    if not (isinstance(profiles, list) and HONEST in profiles and all(isinstance(name, str) for name in profiles)):
        raise ConfigError(f"{where}.profiles is a list of names with {HONEST!r} among them, got {profiles!r:.80}.")
    if not (isinstance(seeds, list) and seeds and all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds)):
        raise ConfigError(f"{where}.seeds is a list of whole numbers, got {seeds!r:.80}.")
    rows = tuple(_row(recipe, path, f"{where}.recipes[{at}]") for at, recipe in enumerate(recipes))
    names = [row.name for row in rows]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{where}.recipes: {listing(doubled)} stand there twice.")
    return Field(path, rows, tuple(profiles), tuple(seeds))


def _row(given: Any, file: Path, where: str) -> Row:
    entry = {"recipe": given} if isinstance(given, str) else given
    if not isinstance(entry, Mapping) or not isinstance(entry.get("recipe"), str) or set(entry) - {"recipe", "options"}:
        raise ConfigError(f"{where} is a config, or {{recipe: CONFIG, options: {{...}}}}; got {given!r:.80}.")
    options = entry.get("options") or {}
    if not isinstance(options, Mapping):
        raise ConfigError(f"{where}.options is a mapping of dotted keys, got {options!r:.80}.")
    check_options(options, where)
    name = Path(entry["recipe"]).name
    name = DATASET.sub("", re.sub(r"\.(py|yaml|json)(?=\+|$)", "", name))
    # the row is the recipe itself, and keeps its variant: what is published is looked up by it
    return Row(name=name, base=entry["recipe"], options=options, file=file, where=where, renames=False)


def plan_field(asked: Asked, field: Field) -> Plan:
    """Every recipe with every profile it has and every seed; nothing trains.

    Raises:
        WtalError: a recipe that cannot run.
    """
    rows = [row for row in field.rows if asked.rows is None or row.name in asked.rows]
    if asked.rows and (odd := [name for name in asked.rows if name not in {row.name for row in field.rows}]):
        names = [row.name for row in field.rows]
        raise ConfigError(
            f"{asked.file} has no recipe {odd[0]!r}.{did_you_mean(odd[0], names)} It has {listing(names)}."
        )
    if asked.profile or asked.bases or asked.metric:
        raise ConfigError("a reproduction takes profiles, recipes and metrics from its file: leave --profile, --base "
                          "and --metric out.")  # fmt: skip
    known = Known.read()
    contests: list[Contest] = []
    for profile in field.profiles:
        having = [row for row in rows if _has(row, profile, asked)]
        contests += contests_of(having, replace(asked, profile=profile), field.file, known.metric)
    return Plan.of(contests, asked.folder, field.file)


def _has(row: Row, profile: str, asked: Asked) -> bool:
    """Whether a recipe is run with a profile: every one honestly; an idea on another's host in no other way.

    No paper says how the checkpoint of a transfer table was picked, and the host's own way may not fit a mix's length.
    """
    if profile == HONEST:
        return True
    if row.ideas:
        return False
    try:
        row.config(None, profile, asked.over)
    except ConfigError as error:
        if "there is no profile" in str(error):
            return False
        raise
    return True


@dataclass(frozen=True)
class Known:
    """What is printed anywhere."""

    rows: Sequence[PublishedRow]
    gains: Sequence[PublishedGain]

    @classmethod
    def read(cls) -> Known:
        """From the leaderboard's folder here, or the files that travel with the package."""
        file = published_file(find_folder())
        rows = read_published(file)
        return cls(rows, read_published_gains(file.with_name("published_gains.csv"), rows))

    def printed(self, config: RunConfig) -> Printed | None:
        """What is printed of a recipe; None where nothing is."""
        protocol = get_protocol(config.data.protocol)
        row = self._row(config, protocol.dataset)
        if row is None:
            return None
        for iou in self._widest(row, protocol.tious):
            cell = row.cells[iou]
            return Printed(float(cell.value), f"mAP@{iou}", row.tables[0])
        return None

    def metric(self, config: RunConfig) -> str:
        """What a recipe is compared by: what is printed of it, else the average."""
        printed = self.printed(config)
        return "average" if printed is None else printed.metric

    def _row(self, config: RunConfig, dataset: str) -> PublishedRow | None:
        if config.ideas:
            host = (config.host["method"], config.host.get("variant") or "")
            for gain in self.gains:
                same = (gain.host, gain.variant) == host and [gain.idea] == list(config.ideas)
                if same and normal_name(gain.after.dataset) == normal_name(dataset):
                    return gain.after
            return None
        if config.variant:
            for gain in self.gains:  # a host with something of its own, "STPN + embedding"
                if (gain.host, gain.variant) == (config.method, config.variant):
                    return gain.before
            return None
        row = published_for(self.rows, config.method, dataset)
        return None if row is None else row.leading

    @staticmethod
    def _widest(row: PublishedRow, tious: Iterable[float]) -> list[str]:
        has = {f"{tiou:g}" for tiou in tious}
        spans = [iou for iou in row.cells if ":" in iou and set(expand(iou)) <= has]
        single = ["0.5"] if "0.5" in row.cells else []
        return sorted(spans, key=lambda span: -len(expand(span))) + single


def field_table(plan: Plan, results: Results, seeds: Sequence[int]) -> Table:
    """The page: a line a recipe, what is printed of it beside what was measured with both profiles."""
    known = Known.read()
    pairs: dict[str, dict[str, Contest]] = {}
    for contest in plan.contests:
        pairs.setdefault(contest.entry.name, {})[contest.entry.config.profile] = contest
    rows = [_cells(name, contests, known, results) for name, contests in pairs.items()]
    head = ("recipe", "metric", "published", "measured, published profile", "difference", "in std", "measured, honest",
            "evaluator", "table")  # fmt: skip
    notes = (
        f"mean ± sample standard deviation (n - 1) over seeds {listing(map(str, seeds))}; percent",
        "difference: what was measured with the published profile (without one, honestly) less what is printed, in "
        "points, and in standard deviations over the seeds",
        "published profile: the checkpoint picked as the authors did, mostly by the test videos; never ranked",
    )
    return Table(f"{plan.file.stem}: published and measured", head, tuple(rows), (0, 1, 7, 8), notes)


def _cells(name: str, contests: Mapping[str, Contest], known: Known, results: Results) -> tuple[str, ...]:
    honest, authors = contests[HONEST], contests.get(PUBLISHED)
    leading = authors or honest
    entry = leading.entry
    printed = known.printed(entry.config)
    if any(run.folder not in results for contest in contests.values() for run in contest.runs):
        return (name, entry.measure.title, "-" if printed is None else f"{printed.value:g}", "failed", "-", "-", "-",
                entry.measure.evaluator, "" if printed is None else printed.table)  # fmt: skip
    score, plain = score_of(leading, results), score_of(honest, results)
    points = None if printed is None or score.mean is None else 100 * score.mean - printed.value
    far = None if points is None or not score.std else points / (100 * score.std)
    return (
        name,
        entry.measure.title,
        "-" if printed is None else f"{printed.value:g}",
        "-" if authors is None else spread(score.mean, score.std),
        "-" if points is None else f"{'+' if points >= 0 else ''}{fixed(points, 2)}",
        "-" if far is None else f"{'+' if far >= 0 else ''}{fixed(far, 1)}",
        spread(plain.mean, plain.std) if plain.std is not None else percent(plain.mean),
        entry.measure.evaluator,
        "" if printed is None else printed.table,
    )
