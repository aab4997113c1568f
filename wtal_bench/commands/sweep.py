"""The verb `sweep`: run the rows of an ablation file, or the trials of a search, and compare like with like.

A row is compared by the metric its published value was printed in, computed by the evaluator the row's config names
(`test.evaluator`). Values of one metric by one evaluator share a table; nothing else does. A row that says what it is
compared with (`against`) is trained beside it, and its gain printed with an interval. A search is scored on videos that
are held out (`wtal_bench.held_out`), never on the test videos.

A finished run is read, not trained again, as long as it is the run that is asked for: same config, base, seed and data.
Where it is not, the sweep refuses before anything trains, or with `--again` moves it aside and trains anew. Rows that
differ in their post-processing alone train once: the others score the weights of the first. What several rows begin
from (`train.init_from`) is trained once a seed too, in a folder of its own beside theirs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wtal_bench.engines.choose import add_arguments
from wtal_bench.errors import WtalError
from wtal_bench.options import number_in
from wtal_bench.recipes import describe
from wtal_bench.text import table

if TYPE_CHECKING:
    from wtal_bench.engines.engine import Engine
    from wtal_bench.running.run import Result
    from wtal_bench.sweeps.plan import Asked, Plan

SUMMARY = "Run the rows of an ablation file, a search over settings or a whole field, and print their table."
EXAMPLE = """wtal-bench sweep ablations/ecm --base ecm_synthetic --seeds 0 1 2
  wtal-bench sweep ablations/transfer --data synthetic --dry-run
  wtal-bench sweep ablations/ecm --base ecm_synthetic --engine local --jobs 2
  wtal-bench sweep reproduce/thumos14 --engine slurm --slurm partition=gpu timeout_min=480
  wtal-bench sweep my_search.yaml --out trials.md

a file of one's own; `against` trains the rival beside the row, and the row's number is its gain, with an interval:
  method: wtalc
  rows:
    - {name: smooth, base: mine.py, against: wtalc_synthetic.py}
    - {name: smooth_twice, base: mine.py, against: wtalc_synthetic.py, options: {model.losses.smooth.weight: 2.0}}"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "file", help="ablation, search or reproduction file (.yaml), or a shipped one's name, e.g. ablations/ecm"
    )
    parser.add_argument("--base", nargs="+", default=[], help="apply the rows to these configs, not to the file's own")
    parser.add_argument("--data", help="what {data} in the file's names of configs stands for, e.g. synthetic")
    parser.add_argument("--rows", nargs="+", help="run these rows only")
    parser.add_argument(
        "--seeds",
        type=number_in("[0, 4294967296)", whole=True),
        nargs="+",
        help="seeds per row (default: 0, or those of a reproduction)",
    )
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="change settings of every row and its rival"
    )
    parser.add_argument(
        "--profile", metavar="NAME", help="profile of the rows' configs, as for `train` (default: honest)"
    )
    parser.add_argument(
        "--metric",
        help="compare by this, e.g. mAP@0.5 or average, where the protocol lacks the metric the values were printed in",
    )
    parser.add_argument("--work-dir", default="work_dirs/sweep", help="folder of the runs (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables here too (.md or .csv)")
    parser.add_argument(
        "--again",
        action="store_true",
        help="train again what a changed config, base, seed or data set has made old; the old run is kept under "
        "replaced/ (default: say what changed, and stop)",
    )
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the runs with their states, estimate the time of the rest, stop"
    )
    add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """List, plan, or train row by row; a finished row is not trained again."""
    from wtal_bench.engines.choose import engine_of
    from wtal_bench.sweeps.estimate import estimate, plan_lines
    from wtal_bench.sweeps.plan import Asked, plan_sweep, read_rows, settled
    from wtal_bench.sweeps.reproduce import load_field, plan_field
    from wtal_bench.sweeps.tables import check_out, published

    check_out(args.out)
    field = load_field(args.file)
    asked = Asked(
        file=args.file,
        folder=Path(args.work_dir),
        seeds=args.seeds or (field.seeds if field else [0]),
        bases=args.base,
        data=args.data,
        rows=args.rows,
        profile=args.profile,
        metric=args.metric,
        options=args.cfg_options,
    )
    rows, search = read_rows(asked) if field is None else (list(field.rows), None)
    kind = "recipes" if field else "rows" if search is None else "trials"
    print(f"{kind} of {describe(rows[0].file)}")
    if args.list:
        third = [row.paper_row if search is None else row.where.removeprefix(f"{search.where}: ") for row in rows]
        lines = [[row.name, published(row), more] for row, more in zip(rows, third, strict=True)]
        print("\n".join(table([], lines, left=(0, 1, 2))))
        return 0
    # every row is checked before the first trains
    plan = plan_sweep(asked) if field is None else plan_field(asked, field)
    if field is not None:
        from wtal_bench.sweeps.pilot import hours

        _say(hours(plan, _say))
    if args.dry_run:
        print(*plan_lines(plan, args.jobs or 1), sep="\n")
        return 0
    engine = engine_of(args, _say, keep_going=search is not None or field is not None)
    plan = settled(plan, args.again, _say)
    if field is None:
        _say(f"{estimate(plan, engine.jobs)} ({engine.describe})")
    results, problems = _run(plan, engine)
    page = args.out or (None if field is None else asked.folder / plan.file.stem / "README.md")
    _report(plan, results, asked, page, field is not None)
    if problems and search is None:
        shown = "".join(f"\n  {folder}: {problem}" for folder, problem in problems.items())
        raise WtalError(f"{len(problems)} of {len(plan.runs)} runs were not made, the others are kept:{shown}")
    return 0


def _run(plan: Plan, engine: Engine) -> tuple[dict[Path, Result], dict[Path, str]]:
    """Make, or read, every run, and say every row as soon as it is whole: results and problems by folder."""
    from wtal_bench.sweeps.tables import said

    results: dict[Path, Result] = {}
    problems: dict[Path, str] = {}
    left = list(plan.contests)
    for outcome in engine.run(plan.runs):
        if outcome.result is None:
            problems[outcome.run.folder] = outcome.problem
            _say(f"{outcome.run.folder}  failed: {outcome.problem}")
            if plan.search is not None and outcome.run in plan.contests[0].runs:
                # what the recipe itself fails by is no matter of a setting
                raise WtalError(f"{outcome.run.folder}: {outcome.problem}")
            continue
        results[outcome.run.folder] = outcome.result
        for contest in [contest for contest in left if all(run.folder in results for run in contest.runs)]:
            left.remove(contest)
            _say(said(contest, results))
    return results, problems


def _report(plan: Plan, results: dict[Path, Result], asked: Asked, out: Path | None, whole_field: bool) -> None:
    from wtal_bench.sweeps.reproduce import field_table
    from wtal_bench.sweeps.tables import chosen_lines, foreign_rows, row_tables, search_table, write_tables

    if whole_field:
        tables, more = [field_table(plan, results, asked.seeds)], []
    elif plan.search is None:
        tables, more = row_tables(plan, results, asked.seeds), foreign_rows(plan)
    else:
        tables, more = [search_table(plan, results, asked.seeds)], chosen_lines(plan, results)
    for each in tables:
        print(*each.lines(), sep="\n")
    if more:
        print(*more, sep="\n")
    if out is not None:
        write_tables(out, tables, [line for line in more if line])
        print(f"wrote {out}")


def _say(text: str) -> None:
    print(text, flush=True)
