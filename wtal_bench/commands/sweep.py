"""The verb `sweep`: run the rows of an ablation file, with one or several seeds, and compare like with like.

A row is compared by the metric its published value was printed in, computed by the evaluator the row's config names
(`test.evaluator`). Values of one metric by one evaluator share a table; nothing else does. A row that says what it is
compared with (`against`) is trained beside it, and its gain printed with an interval.

A finished run is read, not trained again, as long as it is the run that is asked for: same config, base, seed and data.
Where it is not, the sweep refuses before anything trains, or with `--again` moves it aside and trains anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.leaderboard.rows import Score
from wtal_bench.leaderboard.validate import HONEST
from wtal_bench.options import number_in
from wtal_bench.recipes import describe
from wtal_bench.text import percent, signed, table

if TYPE_CHECKING:
    from wtal_bench.evaluation import Interval
    from wtal_bench.running.ablation import Row
    from wtal_bench.running.measure import Measure
    from wtal_bench.running.plan import Planned
    from wtal_bench.running.settings import RunConfig

SUMMARY = "Run the named variants of an ablation file and print them beside the published values."
EXAMPLE = "python tools/sweep.py configs/ablations/ecm.yaml --base configs/ecm_synthetic.py --seeds 0 1 2"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", help="ablation file (.yaml), or a shipped one's name, e.g. ablations/ecm")
    parser.add_argument("--base", help="apply the rows to this config instead of the file's own")
    parser.add_argument("--data", help="what {data} in the file's names of configs stands for, e.g. synthetic")
    parser.add_argument("--rows", nargs="+", help="run these rows only")
    parser.add_argument(
        "--seeds",
        type=number_in("[0, 4294967296)", whole=True),
        nargs="+",
        default=[0],
        help="seeds per row (default: 0)",
    )
    parser.add_argument(
        "--profile", metavar="NAME", help="profile of the rows' configs, as for `train` (default: honest)"
    )
    parser.add_argument(
        "--metric",
        help="compare by this, e.g. mAP@0.5 or average, where the protocol lacks the metric the values were printed in",
    )
    parser.add_argument("--work-dir", default="work_dirs/sweep", help="folder of the runs (default: %(default)s)")
    parser.add_argument(
        "--again",
        action="store_true",
        help="train again what a changed config, base, seed or data set has made old; the old run is kept under "
        "replaced/ (default: say what changed, and stop)",
    )
    parser.add_argument("--list", action="store_true", help="print the rows and stop")


@dataclass(frozen=True)
class Entry:
    """A row about to run.

    Attributes:
        row, config: what it is.
        rival: what it is compared with, or None.
        measure: the number it is compared by.
        printed: the published value as a fraction; None where there is none of this metric on these data.
    """

    row: Row
    config: RunConfig
    rival: RunConfig | None
    measure: Measure
    printed: float | None


@dataclass(frozen=True)
class Job:
    """The runs of a row, one a seed, and those of what it is compared with (none without a rival)."""

    entry: Entry
    ours: tuple[Planned, ...]
    theirs: tuple[Planned, ...] = ()


@dataclass(frozen=True)
class Run:
    """A finished run: its record's file and content."""

    path: Path
    record: dict[str, Any]


def run(args: argparse.Namespace) -> int:
    """List, or train row by row; a finished row is not trained again."""
    from wtal_bench.running.ablation import load_rows

    rows = load_rows(args.file, args.data)
    default = next((row.published["metric"] for row in rows if row.published), "average")
    if args.rows:
        names = [row.name for row in rows]
        for name in args.rows:
            if name not in names:
                raise ConfigError(
                    f"{args.file} has no row {name!r}.{did_you_mean(name, names)} Rows: {listing(names)}."
                )
        rows = [row for row in rows if row.name in args.rows]
    print(f"rows of {describe(rows[0].file)}")
    if args.list:
        print("\n".join(table([], [[row.name, _published(row), row.paper_row] for row in rows], left=(0, 1, 2))))
        return 0
    entries = [_entry(row, args, default) for row in rows]  # every row is checked before the first trains
    jobs = _settled(_plan(entries, Path(args.work_dir) / rows[0].file.stem, args), args.again)
    done: dict[Path, Run] = {}
    alone: list[tuple[Entry, list[Run]]] = []
    gains: list[list[str]] = []
    for job in jobs:
        theirs, ours = ([_execute(run, done) for run in runs] for runs in (job.theirs, job.ours))
        if job.theirs:
            gains.append(_gain_line(job.entry, ours, theirs))
            print(*gains[-1], sep="  ", flush=True)
        else:
            alone.append((job.entry, ours))
            print(f"{job.entry.row.name}  {job.entry.measure.title}  {_values(job.entry, ours)}", flush=True)
    print(*_tables(alone, args.seeds), sep="\n")
    if gains:
        print("\nrow, what it is compared with -> the row (%) per seed", *table([], gains, left=(0, 1, 2, 3)), sep="\n")
        over = "videos and seeds" if len(args.seeds) > 1 else "videos only: one seed shows no spread"
        print(
            "gain: mean over the seeds of the row less that of what it is compared with, in points, and the 95 % "
            f"interval of a paired bootstrap over {over}."
        )
    return 0


def _plan(entries: Sequence[Entry], folder: Path, args: argparse.Namespace) -> list[Job]:
    """All runs of the rows; what several rows are compared with is in it once."""
    from wtal_bench.running.plan import begins_from, plan_seeds
    from wtal_bench.running.provenance import config_hash

    jobs, rivals, names = [], {}, {}
    for entry in entries:
        start, theirs = None, ()
        if entry.rival is not None:
            name = _folder(f"against_{Path(entry.rival.path).stem}", args)
            key = config_hash(entry.rival)
            if names.setdefault(name, key) != key:  # another config of the same file name
                name = f"{name}-{key[:8]}"
            beside = folder / name
            if key not in rivals:
                rivals[key] = tuple(plan_seeds(entry.rival, args.seeds, lambda seed, at=beside: at / f"seed{seed}"))
            theirs = rivals[key]
            if begins_from(entry.config, entry.rival):
                places = {run.config.runtime.seed: run.folder for run in theirs}
                start = places.__getitem__
        own = folder / _folder(entry.row.name, args)
        ours = plan_seeds(entry.config, args.seeds, lambda seed, at=own: at / f"seed{seed}", start=start)
        jobs.append(Job(entry, tuple(ours), theirs))
    return jobs


def _settled(jobs: Sequence[Job], again: bool) -> list[Job]:
    """The jobs without a run of something else: refused, or set aside. Says what is to be done."""
    from wtal_bench.running.plan import BEGUN, DONE, NEW, refuse_changed, set_aside

    runs = {run.folder: run for job in jobs for run in (*job.theirs, *job.ours)}
    if not again:
        refuse_changed(runs.values())
    for folder, run in runs.items():
        if run.changed:
            runs[folder] = set_aside(run)
            print(f"{folder} is trained again: {listing(run.changed, 5)}")
    said = {DONE: "done (read, not trained again)", BEGUN: "begun (resumed)", NEW: "to train"}
    states = [run.state for run in runs.values()]
    counts = [f"{states.count(state)} {words}" for state, words in said.items() if state in states]
    print(f"{len(runs)} runs: {listing(counts)}", flush=True)
    return [
        Job(job.entry, tuple(runs[run.folder] for run in job.ours), tuple(runs[run.folder] for run in job.theirs))
        for job in jobs
    ]


def _execute(run: Planned, done: dict[Path, Run]) -> Run:
    """Make a run, or read it; once, whatever number of rows needs it."""
    from wtal_bench.running.plan import execute

    if run.folder not in done:
        result = execute(run)
        done[run.folder] = Run(result.record_path, result.record)
    return done[run.folder]


def _folder(name: str, args: argparse.Namespace) -> str:
    return name if args.profile in (None, HONEST) else f"{name}-{args.profile}"


def _entry(row: Row, args: argparse.Namespace, default: str) -> Entry:
    """Check what a row will be compared by."""
    from wtal_bench.running.datasets import protocol_of
    from wtal_bench.running.measure import evaluator_of, read_measure, recorded

    config = row.config(args.base, args.profile)
    protocol = protocol_of(config.data, config.path)
    printed = row.published["metric"] if row.published else default
    where = f"{row.where}: published.metric" if row.published else f"{row.where}: the file's metric"
    wanted, where = (printed, where) if args.metric is None else (args.metric, "--metric")
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
    value = row.published["value"] / 100 if same and _own_data(row, args) == config.data.protocol else None
    return Entry(row, config, row.rival(args.profile), measure, value)


def _own_data(row: Row, args: argparse.Namespace) -> str:
    """The protocol of the data a row's published value is of: that of its own base, as the file has it."""
    from wtal_bench.running.ablation import load_rows

    own = row if args.data is None else next(other for other in load_rows(args.file) if other.name == row.name)
    return own.config().data.protocol


def _tables(results: Sequence[tuple[Entry, list[Run]]], seeds: Sequence[int]) -> list[str]:
    """One table for every metric and evaluator."""
    lines: list[str] = []
    for measure in dict.fromkeys(entry.measure for entry, _ in results):
        rows = [_line(entry, runs) for entry, runs in results if entry.measure == measure]
        by = f" by {measure.evaluator}" if measure.evaluator else ""
        lines += ["", f"{measure.title} (%){by}, seeds {listing(map(str, seeds))}"]
        lines += table(["row", "measured", "std over seeds", "published", "difference", "paper row"], rows, left=(0, 5))
        if len(seeds) > 1:
            lines.append(f"std: sample standard deviation (n - 1) over {len(seeds)} seeds")
    foreign = [entry.row.name for entry, _ in results if entry.row.published and entry.printed is None]
    if foreign:
        lines += ["", f"No published value of the same data, metric and evaluator: {listing(foreign, 99)}."]
    return lines


def _line(entry: Entry, runs: Sequence[Run]) -> list[str]:
    score = Score.over(_value(entry, run) for run in runs)
    difference = None if score.mean is None or entry.printed is None else score.mean - entry.printed
    printed = "-" if entry.printed is None else str(entry.row.published["value"])
    return [entry.row.name, percent(score.mean), percent(score.std), printed, signed(difference), entry.row.paper_row]


def _gain_line(entry: Entry, ours: Sequence[Run], theirs: Sequence[Run]) -> list[str]:
    """The cells of a row that is compared with another config."""
    found = _gain(entry, ours, theirs)
    shown = f"gain {signed(found.difference)} [{signed(found.low)}, {signed(found.high)}]"
    by = f"{entry.measure.title} by {entry.measure.evaluator}: {_values(entry, theirs)} -> {_values(entry, ours)}"
    return [entry.row.name, by, shown, "" if entry.printed is None else f"published {_published(entry.row)}"]


def _value(entry: Entry, run: Run) -> float | None:
    return entry.measure.of(run.record["metrics"])


def _values(entry: Entry, runs: Sequence[Run]) -> str:
    return ", ".join(percent(_value(entry, run)) for run in runs)


def _gain(entry: Entry, ours: Sequence[Run], theirs: Sequence[Run]) -> Interval:
    from wtal_bench.leaderboard.compare import find_side, gain
    from wtal_bench.running.datasets import open_data

    opened = open_data(entry.config.data, "cpu", entry.config.path)
    sides = (find_side([str(run.path) for run in runs]) for runs in (ours, theirs))
    measure = entry.measure
    return gain(*sides, opened.protocol, opened.annotations, evaluator=measure.evaluator, tious=measure.tious)


def _published(row: Any) -> str:
    if not row.published:
        return "-"
    shown = f"{row.published['value']} {row.published['metric']}"
    if "host" not in row.published:
        return shown
    return f"{row.published['host']} -> {shown} ({row.published['value'] - row.published['host']:+.1f})"
