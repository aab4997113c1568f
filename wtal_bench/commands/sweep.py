"""The verb `sweep`: run the rows of an ablation file, with one or several seeds, and compare like with like.

A row is compared by the metric its published value was printed in, computed by the evaluator the row's config names
(`test.evaluator`). Values of one metric by one evaluator share a table; nothing else does. A row that says what it is
compared with (`against`) is trained beside it, and its gain printed with an interval.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.leaderboard.validate import HONEST
from wtal_bench.recipes import describe
from wtal_bench.text import percent, signed, table

if TYPE_CHECKING:
    from wtal_bench.evaluation import Interval
    from wtal_bench.running.ablation import Row
    from wtal_bench.running.measure import Measure
    from wtal_bench.running.settings import RunConfig

SUMMARY = "Run the named variants of an ablation file and print them beside the published values."
EXAMPLE = "python tools/sweep.py configs/ablations/ecm.yaml --base configs/ecm_synthetic.py --seeds 0 1 2"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", help="ablation file (.yaml), or a shipped one's name, e.g. ablations/ecm")
    parser.add_argument("--base", help="apply the rows to this config instead of the file's own")
    parser.add_argument("--data", help="what {data} in the file's names of configs stands for, e.g. synthetic")
    parser.add_argument("--rows", nargs="+", help="run these rows only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds per row (default: 0)")
    parser.add_argument(
        "--profile", metavar="NAME", help="profile of the rows' configs, as for `train` (default: honest)"
    )
    parser.add_argument(
        "--metric",
        help="compare by this, e.g. mAP@0.5 or average, where the protocol lacks the metric the values were printed in",
    )
    parser.add_argument("--work-dir", default="work_dirs/sweep", help="folder of the runs (default: %(default)s)")
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
class Run:
    """A finished run: its record's file, and the number it is compared by."""

    path: Path
    value: float | None


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
    folder = Path(args.work_dir) / rows[0].file.stem
    alone: list[tuple[Entry, list[Run]]] = []
    gains: list[list[str]] = []
    for entry in entries:
        if entry.rival is None:
            runs = [_train(entry, entry.config, seed, folder / _folder(entry.row.name, args)) for seed in args.seeds]
            alone.append((entry, runs))
            print(f"{entry.row.name}  {entry.measure.title}  {_values(runs)}", flush=True)
        else:
            gains.append(_gain_line(entry, folder, args))
            print(*gains[-1], sep="  ", flush=True)
    print(*_tables(alone, args.seeds), sep="\n")
    if gains:
        print("\nrow, what it is compared with -> the row (%) per seed", *table([], gains, left=(0, 1, 2, 3)), sep="\n")
        print(
            "gain: mean over the seeds of the row less that of what it is compared with, in points, and the 95 % "
            "interval of a paired bootstrap over videos, which leaves out the spread between seeds."
        )
    return 0


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
    foreign = [entry.row.name for entry, _ in results if entry.row.published and entry.printed is None]
    if foreign:
        lines += ["", f"No published value of the same data, metric and evaluator: {listing(foreign, 99)}."]
    return lines


def _line(entry: Entry, runs: Sequence[Run]) -> list[str]:
    known = [run.value for run in runs if run.value is not None]
    mean = fmean(known) if known and len(known) == len(runs) else None
    spread = stdev(known) if mean is not None and len(known) > 1 else None
    difference = None if mean is None or entry.printed is None else mean - entry.printed
    printed = "-" if entry.printed is None else str(entry.row.published["value"])
    return [entry.row.name, percent(mean), percent(spread), printed, signed(difference), entry.row.paper_row]


def _gain_line(entry: Entry, folder: Path, args: argparse.Namespace) -> list[str]:
    """The cells of a row that is compared with another config, which is trained first."""
    beside = folder / _folder(f"against_{Path(entry.rival.path).stem}", args)
    theirs = [_train(entry, entry.rival, seed, beside) for seed in args.seeds]
    own = folder / _folder(entry.row.name, args)
    ours = [_train(entry, entry.config, seed, own, beside) for seed in args.seeds]
    found = _gain(entry, ours, theirs)
    shown = f"gain {signed(found.difference)} [{signed(found.low)}, {signed(found.high)}]"
    by = f"{entry.measure.title} by {entry.measure.evaluator}: {_values(theirs)} -> {_values(ours)}"
    return [entry.row.name, by, shown, "" if entry.printed is None else f"published {_published(entry.row)}"]


def _values(runs: Sequence[Run]) -> str:
    return ", ".join(percent(run.value) for run in runs)


def _gain(entry: Entry, ours: Sequence[Run], theirs: Sequence[Run]) -> Interval:
    from wtal_bench.leaderboard.compare import find_side, gain
    from wtal_bench.running.datasets import open_data

    opened = open_data(entry.config.data, "cpu", entry.config.path)
    sides = ([find_side(str(run.path)) for run in runs] for runs in (ours, theirs))
    measure = entry.measure
    return gain(*sides, opened.protocol, opened.annotations, evaluator=measure.evaluator, tious=measure.tious)


def _train(entry: Entry, config: RunConfig, seed: int, folder: Path, beside: Path | None = None) -> Run:
    """Train once, or read what an earlier call left.

    Args:
        entry: the row.
        config: what is trained: the row's, or that of what it is compared with.
        seed: of the run.
        folder: of the row; the run lies below it.
        beside: where what it is compared with lies: a row that follows it starts from there.
    """
    from wtal_bench.leaderboard.record import read_record
    from wtal_bench.running.run import train
    from wtal_bench.running.workdir import WorkDir

    config = copy.deepcopy(config)
    config.runtime.seed = seed
    folder = folder / f"seed{seed}"
    done = sorted((folder / "record").glob("*.json"))
    if not done:
        resume = (folder / "last.pth").is_file()
        work_dir = WorkDir(folder, resume=resume)
        try:
            if beside is not None and _follows(config, entry.rival):
                _share(beside / f"seed{seed}", folder / "init")
            done = [train(config, work_dir, resume=resume).record_path]
        finally:
            work_dir.release()
    return Run(done[-1], entry.measure.of(read_record(done[-1])["metrics"]))


def _follows(config: RunConfig, rival: RunConfig) -> bool:
    """Whether training starts from exactly what the row is compared with."""
    from wtal_bench.running.run import parent_config

    if not isinstance(config.train.init_from, dict):
        return False
    parent = parent_config(config).resolved()
    return {**parent, "runtime": None} == {**rival.resolved(), "runtime": None}


def _share(run: Path, link: Path) -> None:
    """Let a run start from one that is there, instead of training the same once more."""
    if not link.exists():
        link.symlink_to(run.resolve(), target_is_directory=True)


def _published(row: Any) -> str:
    if not row.published:
        return "-"
    shown = f"{row.published['value']} {row.published['metric']}"
    if "host" not in row.published:
        return shown
    return f"{row.published['host']} -> {shown} ({row.published['value'] - row.published['host']:+.1f})"
