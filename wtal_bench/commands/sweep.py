"""The verb `sweep`: run the rows of an ablation file, each with one or several seeds."""

from __future__ import annotations

import argparse
from pathlib import Path

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.recipes import describe
from wtal_bench.text import percent, table

SUMMARY = "Run the named variants of an ablation file and print them beside the published values."
EXAMPLE = "python tools/sweep.py configs/ablations/ecm.yaml --base configs/ecm_synthetic.py --seeds 0 1 2"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", help="ablation file (.yaml), or a shipped one's name, e.g. ablations/ecm")
    parser.add_argument("--base", help="apply the rows to this config instead of the file's own")
    parser.add_argument("--rows", nargs="+", help="run these rows only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds per row (default: 0)")
    parser.add_argument("--work-dir", default="work_dirs/sweep", help="folder of the runs (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")


def run(args: argparse.Namespace) -> int:
    """List, or train row by row; a finished row is not trained again."""
    from wtal_bench.running.ablation import load_rows

    rows = load_rows(args.file)
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
    configs = [(row, row.config(args.base)) for row in rows]  # every row is checked before the first trains
    lines = []
    for row, config in configs:
        values = [_train(config, seed, Path(args.work_dir) / rows[0].file.stem / row.name) for seed in args.seeds]
        lines.append([row.name, ", ".join(map(percent, values)), f"published {_published(row)}"])
        print(*lines[-1], sep="  ", flush=True)
    print("\naverage mAP (%) per seed", *table([], lines, left=(0, 1, 2)), sep="\n")
    return 0


def _train(config, seed: int, folder: Path) -> float:
    import copy

    from wtal_bench.leaderboard.record import read_record
    from wtal_bench.leaderboard.rows import span_order
    from wtal_bench.running.run import train
    from wtal_bench.running.workdir import WorkDir

    config = copy.deepcopy(config)
    config.runtime.seed = seed
    folder = folder / f"seed{seed}"
    done = sorted((folder / "record").glob("*.json"))
    if done:
        record = read_record(done[-1])
    else:
        resume = (folder / "last.pth").is_file()
        work_dir = WorkDir(folder, resume=resume)
        try:
            record = train(config, work_dir, resume=resume).record
        finally:
            work_dir.release()
    metrics = record["metrics"]
    averages = metrics["variants"][metrics["main"]]["averages"]
    return averages[max(averages, key=span_order)]


def _published(row) -> str:
    if not row.published:
        return "-"
    return f"{row.published['value']} {row.published['metric']}"
