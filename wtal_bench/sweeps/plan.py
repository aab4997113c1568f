"""A sweep file with seeds, bases and options -> the runs it needs, and the number each row is read by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.leaderboard.validate import HONEST
from wtal_bench.recipes import PLUS
from wtal_bench.running.ablation import Row, load_rows
from wtal_bench.running.config import load_config, split_option
from wtal_bench.running.datasets import protocol_of
from wtal_bench.running.measure import Measure, evaluator_of, read_measure, recorded
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.plan import (
    BEGUN,
    DONE,
    NEW,
    Planned,
    plan_seeds,
    refuse_changed,
    set_aside,
    share_parents,
    share_training,
)
from wtal_bench.running.provenance import config_hash
from wtal_bench.running.settings import RunConfig
from wtal_bench.sweeps.search import Search, load_search


@dataclass(frozen=True)
class Asked:
    """What the command line asks of a sweep.

    Attributes:
        file: the sweep file, or a shipped one's name.
        folder: of the runs.
        seeds: one run a row and seed.
        bases: configs the rows are applied to instead of the file's own; () for that.
        data: what `{data}` in the file stands for.
        rows: names of the rows to run; None: all.
        profile: of the rows' configs.
        metric: to compare by, where it is not the file's.
        options: "dotted.key=value", set after the rows' own.
    """

    file: str
    folder: Path
    seeds: Sequence[int] = (0,)
    bases: Sequence[str] = ()
    data: str | None = None
    rows: Sequence[str] | None = None
    profile: str | None = None
    metric: str | None = None
    options: Sequence[str] = ()

    @property
    def over(self) -> dict[str, Any]:
        """`options` by dotted key.

        Raises:
            ConfigError: one that the sweep has a word of its own for.
        """
        over = dict(split_option(option) for option in self.options)
        for key, other in (("profile", "--profile"), ("runtime.seed", "--seeds"), ("variant", "the rows' names")):
            if key in over:
                raise ConfigError(f"--cfg-options {key}={over[key]!r}: a sweep has {other} for it.")
        return over


@dataclass(frozen=True)
class Entry:
    """A row about to run.

    Attributes:
        name: what it is called: the row's name, and the base's where there are several.
        row, config: what it is.
        rival: what it is compared with, or None.
        measure: the number it is compared by.
        printed: the published value as a fraction; None where there is none of this metric on these data.
    """

    name: str
    row: Row
    config: RunConfig
    rival: RunConfig | None
    measure: Measure
    printed: float | None


@dataclass(frozen=True)
class Contest:
    """The runs of a row, one a seed, and those of what it is compared with (none without a rival)."""

    entry: Entry
    ours: tuple[Planned, ...]
    theirs: tuple[Planned, ...] = ()

    @property
    def runs(self) -> tuple[Planned, ...]:
        """Those that others begin from first."""
        return (*self.theirs, *self.ours)


@dataclass(frozen=True)
class Plan:
    """A whole sweep.

    Attributes:
        file: the sweep file.
        contests: the rows' runs.
        search: what drew the rows, or None.
        firsts: runs that no row shows: those that several rows begin from (`train.init_from`).
    """

    file: Path
    contests: tuple[Contest, ...]
    search: Search | None = None
    firsts: tuple[Planned, ...] = ()

    @classmethod
    def of(cls, contests: Sequence[Contest], folder: Path, file: Path, search: Search | None = None) -> Plan:
        """The plan of rows, in which nothing is trained twice.

        Args:
            contests: each row's runs.
            folder: in which the runs lie.
            file: the sweep file.
            search: what drew the rows.

        Raises:
            WtalError: what rows begin from cannot be read.
        """
        runs = share_training(cls(file, tuple(contests)).runs)
        firsts, runs = share_parents(runs, folder / file.stem)
        return cls(file, tuple(contests), search, tuple(firsts)).told({run.folder: run for run in runs})

    @property
    def runs(self) -> list[Planned]:
        """Every run once, those that others begin from before them."""
        rows = [run for contest in self.contests for run in contest.runs]
        return list({run.folder: run for run in (*self.firsts, *rows)}.values())

    def told(self, runs: Mapping[Path, Planned]) -> Plan:
        """The same plan of these runs, by their folders."""
        contests = (
            replace(contest, ours=_of(runs, contest.ours), theirs=_of(runs, contest.theirs))
            for contest in self.contests
        )
        return replace(self, contests=tuple(contests), firsts=_of(runs, self.firsts))


def _of(runs: Mapping[Path, Planned], those: Sequence[Planned]) -> tuple[Planned, ...]:
    return tuple(runs.get(run.folder, run) for run in those)


def read_rows(asked: Asked) -> tuple[list[Row], Search | None]:
    """The rows of a sweep file that were asked for, or the trials of its search.

    Raises:
        ConfigError: no such file or row, or something in it that cannot be.
    """
    search = load_search(asked.file, asked.data)
    if search is None:
        rows = load_rows(asked.file, asked.data)
    else:
        search = replace(search, base=_only_base(asked, search))
        config = load_config(search.base, named_by=None if asked.bases else search.file, profile=asked.profile)
        rows = search.rows(config)
    if asked.rows:
        names = [row.name for row in rows]
        for name in asked.rows:
            if name not in names:
                raise ConfigError(
                    f"{asked.file} has no row {name!r}.{did_you_mean(name, names)} Rows: {listing(names)}."
                )
        rows = [row for row in rows if row.name in asked.rows]
    return rows, search


def _only_base(asked: Asked, search: Search) -> str:
    if len(asked.bases) > 1:
        raise ConfigError("a search is over the settings of one recipe; give one --base.")
    return asked.bases[0] if asked.bases else search.base


def plan_sweep(asked: Asked) -> Plan:
    """Check every row, and say which runs there are to be and which are there; nothing trains.

    Raises:
        WtalError: a row that cannot run, a metric its protocol does not have, a seed that stands there twice.
    """
    rows, search = read_rows(asked)
    default = search.metric if search else next((row.published["metric"] for row in rows if row.published), "average")
    return Plan.of(contests_of(rows, asked, rows[0].file, default), asked.folder, rows[0].file, search)


def contests_of(
    rows: Sequence[Row], asked: Asked, file: Path, default: str | Callable[[RunConfig], str] = "average"
) -> list[Contest]:
    """The runs of rows on every base, each row checked.

    Args:
        rows: of a sweep file.
        asked: of the command line.
        file: whose name the folder of the runs has.
        default: metric of rows that name none, or what tells it from a row's config.

    Raises:
        WtalError: as `plan_sweep`.
    """
    over = asked.over
    entries = [_entry(row, base, asked, over, default) for base in asked.bases or (None,) for row in rows]
    contests = _contests(entries, asked.folder / file.stem, asked)
    for contest in contests:
        if any(run.state != DONE for run in contest.ours):
            check_model(contest.entry.config, start=False)
    return contests


def _contests(entries: Sequence[Entry], folder: Path, asked: Asked) -> list[Contest]:
    """All runs of the rows; what several rows are compared with is in it once."""
    contests: list[Contest] = []
    rivals: dict[str, tuple[Planned, ...]] = {}
    names: dict[str, str] = {}
    for entry in entries:
        theirs: tuple[Planned, ...] = ()
        if entry.rival is not None:
            name = _folder(f"against_{Path(entry.rival.path).stem}", asked)
            key = config_hash(entry.rival)
            if names.setdefault(name, key) != key:  # another config of the same file name
                name = f"{name}-{key[:8]}"
            beside = folder / name
            if key not in rivals:
                rivals[key] = tuple(plan_seeds(entry.rival, asked.seeds, lambda seed, at=beside: at / f"seed{seed}"))
            theirs = rivals[key]
        own = folder / _folder(entry.name, asked)
        ours = plan_seeds(entry.config, asked.seeds, lambda seed, at=own: at / f"seed{seed}")
        contests.append(Contest(entry, tuple(ours), theirs))
    return contests


def _folder(name: str, asked: Asked) -> str:
    return name if asked.profile in (None, HONEST) else f"{name}-{asked.profile}"


def _entry(
    row: Row, base: str | None, asked: Asked, over: Mapping[str, Any], default: str | Callable[[RunConfig], str]
) -> Entry:
    """Check what a row will be compared by."""
    config = row.config(base, asked.profile, over)
    protocol = protocol_of(config.data, config.path)
    default = default(config) if callable(default) else default
    printed = row.published["metric"] if row.published else default
    where = f"{row.where}: published.metric" if row.published else f"{row.where}: the file's metric"
    wanted, where = (printed, where) if asked.metric is None else (asked.metric, "--metric")
    measure = read_measure(wanted, evaluator_of(config, protocol), protocol, where)
    if not measure.label and config.test.frame_accuracy is None:
        raise ConfigError(
            f"{where}: {config.path} measures no frame accuracy: set test.frame_accuracy=dict(threshold=...)."
        )
    if measure.label:
        try:
            recorded(measure, protocol, where)
        except ConfigError as error:
            raise ConfigError(f"{error} Name another with --metric; the published values are then left out.") from error
    same = row.published is not None and read_measure(printed, measure.evaluator, protocol, where) == measure
    value = row.published["value"] / 100 if same and _own_data(row, asked) == config.data.protocol else None
    name = row.name if len(asked.bases) < 2 else f"{row.name}_on_{_stem(base or '')}"
    return Entry(name, row, config, row.rival(asked.profile, asked.options), measure, value)


def _stem(base: str) -> str:
    """A config's name in that of a folder: "acm_net_synthetic+ftcl"."""
    file, *ideas = Path(base).name.split(PLUS)
    return PLUS.join([Path(file).stem, *ideas])


def _own_data(row: Row, asked: Asked) -> str:
    """The protocol of the data a row's published value is of: that of its own base, as the file has it."""
    own = row if asked.data is None else next(other for other in load_rows(asked.file) if other.name == row.name)
    return own.config().data.protocol


def settled(plan: Plan, again: bool, out: Callable[[str], None] = print) -> Plan:
    """The plan without a run of something else: refused, or set aside. Says what is to be done.

    Raises:
        ConfigError: a folder holds the run of another config, seed or data, and not `again`.
    """
    runs = {run.folder: run for run in plan.runs}
    if not again:
        refuse_changed(runs.values())
    for folder, run in runs.items():
        if run.changed:
            runs[folder] = set_aside(run)
            out(f"{folder} is trained again: {listing(run.changed, 5)}")
    out(f"{len(runs)} runs: {states(runs.values())}")
    return plan.told(runs)


SCORED = "scored"


def states(runs: Any) -> str:
    """How many runs are done, begun and to be made, in words."""
    said = {
        DONE: "done (read, not trained again)",
        BEGUN: "begun (resumed)",
        NEW: "to train",
        SCORED: "to score (trained as another)",
    }
    found = [SCORED if run.scores else run.state for run in runs]
    return listing([f"{found.count(state)} {words}" for state, words in said.items() if state in found])
