"""The verb `sweep`: run the rows of an ablation file, with one or several seeds, and what they are compared with."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.recipes import describe
from wtal_bench.text import percent, signed, table

if TYPE_CHECKING:
    from wtal_bench.evaluation import Interval
    from wtal_bench.running.ablation import Row
    from wtal_bench.running.settings import RunConfig

SUMMARY = "Run the named variants of an ablation file and print them beside the published values."
EXAMPLE = """python tools/sweep.py configs/ablations/ecm.yaml --base configs/ecm_synthetic.py --seeds 0 1 2
  wtal-bench sweep ablations/transfer --data synthetic --rows gaufuse_on_fac_net --seeds 0 1 2"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", help="ablation file (.yaml), or a shipped one's name, e.g. ablations/ecm")
    parser.add_argument("--base", help="apply the rows to this config instead of the file's own")
    parser.add_argument("--data", help="what {data} in the file's names of configs stands for, e.g. synthetic")
    parser.add_argument("--rows", nargs="+", help="run these rows only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds per row (default: 0)")
    parser.add_argument("--work-dir", default="work_dirs/sweep", help="folder of the runs (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")


def run(args: argparse.Namespace) -> int:
    """List, or train row by row; a finished row is not trained again."""
    from wtal_bench.running.ablation import load_rows

    rows = load_rows(args.file, args.data)
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
    # every row is checked before the first trains
    configs = [(row, row.config(args.base), row.rival()) for row in rows]
    folder = Path(args.work_dir) / rows[0].file.stem
    lines = []
    for row, config, rival in configs:
        lines.append(_line(row, config, rival, folder, args.seeds))
        print(*lines[-1], sep="  ", flush=True)
    print("\naverage mAP (%) per seed", *table([], lines, left=(0, 1, 2, 3)), sep="\n")
    if any(row.against for row in rows):
        print(
            "gain: mean over the seeds of the row less that of what it is compared with, in points, and the 95 % "
            "interval of a paired bootstrap over videos, which leaves out the spread between seeds."
        )
    return 0


@dataclass(frozen=True)
class Run:
    """A finished run: its record's file, and the widest average of the main evaluator."""

    path: Path
    average: float


def _line(row: Row, config: RunConfig, rival: RunConfig | None, folder: Path, seeds: Sequence[int]) -> list[str]:
    """The cells of one row of the table; what it is compared with is trained first."""
    if rival is None:
        runs = [_train(config, seed, folder / row.name) for seed in seeds]
        return [row.name, _averages(runs), f"published {_published(row)}", ""]
    beside = folder / f"against_{Path(rival.path).stem}"
    theirs = [_train(rival, seed, beside) for seed in seeds]
    ours = [_train(config, seed, folder / row.name, rival, beside) for seed in seeds]
    found = _gain(config, ours, theirs)
    shown = f"gain {signed(found.difference)} [{signed(found.low)}, {signed(found.high)}]"
    return [row.name, f"{_averages(theirs)} -> {_averages(ours)}", shown, f"published {_published(row)}"]


def _averages(runs: Sequence[Run]) -> str:
    return ", ".join(percent(run.average) for run in runs)


def _gain(config: RunConfig, ours: Sequence[Run], theirs: Sequence[Run]) -> Interval:
    from wtal_bench.leaderboard.compare import find_side, gain
    from wtal_bench.running.datasets import open_data

    opened = open_data(config.data, "cpu", config.path)
    sides = ([find_side(str(run.path)) for run in runs] for runs in (ours, theirs))
    return gain(*sides, opened.protocol, opened.annotations)


def _train(config: RunConfig, seed: int, folder: Path, rival: RunConfig | None = None, beside: Path = Path()) -> Run:
    """Train once, or read what an earlier call left.

    Args:
        config: what is trained.
        seed: of the run.
        folder: of the row; the run lies below it.
        rival, beside: what the row is compared with and where that lies: a row that follows it starts from there.
    """
    from wtal_bench.leaderboard.record import read_record
    from wtal_bench.leaderboard.rows import span_order
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
            if rival is not None and _follows(config, rival):
                _share(beside / f"seed{seed}", folder / "init")
            done = [train(config, work_dir, resume=resume).record_path]
        finally:
            work_dir.release()
    metrics = read_record(done[-1])["metrics"]
    averages = metrics["variants"][metrics["main"]]["averages"]
    return Run(done[-1], averages[max(averages, key=span_order)])


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
