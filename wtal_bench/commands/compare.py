"""`wtal-bench compare`: two methods side by side, one run each or several, with a bootstrap over videos and runs."""

from __future__ import annotations

import argparse

from wtal_bench.errors import ConfigError
from wtal_bench.files import write_json
from wtal_bench.leaderboard.compare import as_json, common_truth, compare, find_side, refuse_other_annotations
from wtal_bench.leaderboard.comparison import report
from wtal_bench.options import number_in

SUMMARY = "Compare two methods per tIoU, class and video, with a bootstrap over videos and, given several runs, seeds."
EXAMPLE = """\
wtal-bench compare ecm-s0-1a2b3c4d gaufuse-s0-5e6f7a8b
  wtal-bench compare work_dirs/ecm work_dirs/mine          # folders of `train --seeds 0 1 2 --work-dir ...`
  wtal-bench compare --a ecm-s0-1a2b3c4d ecm-s1-2b3c4d5e ecm-s2-3c4d5e6f --b mine/seed*/record/*.json
  wtal-bench compare mine.json.gz theirs.json.gz --protocol thumos14/v1 --evaluator thumos_snippet
  wtal-bench compare runA/record runB/record               # of your own data: the annotations are found by the runs"""

RUN = "record id, record file, folder of a run or of one run a seed, or detection file (with --protocol)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("sides", nargs="*", metavar="A B", help=f"two of: {RUN}; differences are A minus B")
    parser.add_argument("--a", nargs="+", default=[], metavar="RUN", help="the runs of A, one a seed, each as above")
    parser.add_argument("--b", nargs="+", default=[], metavar="RUN", help="the runs of B")
    parser.add_argument("--protocol", help="scores detection files that have no record, such as thumos14/v1, or own")
    parser.add_argument("--evaluator", help="one of the protocol's evaluators (default: its main one)")
    parser.add_argument("--annotations", metavar="FILE", help="annotation file (default: found as `evaluate` finds it)")
    parser.add_argument("--folder", help="leaderboard folder that record ids are looked up in")
    parser.add_argument(
        "--resamples",
        type=number_in("[100, 1000000]", whole=True),
        default=2000,
        help="bootstrap replicates, at least 100, for fewer give no interval (default 2000)",
    )
    parser.add_argument(
        "--seed", type=number_in("[0, 4294967296)", whole=True), default=0, help="seed of the draw (default 0)"
    )
    parser.add_argument(
        "--top",
        type=number_in("[0, inf)", whole=True),
        default=10,
        help="classes and videos shown (default 10; 0 = all)",
    )
    parser.add_argument("--json", metavar="FILE", help="also write everything, unrounded")


def run(args: argparse.Namespace) -> int:
    """Print the comparison."""
    sides = tuple(find_side(words, args.folder) for words in _words(args))
    runs = [run for side in sides for run in side]
    protocol, truth = common_truth(runs, args.protocol, args.annotations)
    refuse_other_annotations(runs, truth)
    compared = compare(sides, protocol, truth, args.evaluator, args.resamples, args.seed)
    print(report(compared, protocol, args.top))
    if args.json:
        write_json(args.json, as_json(compared))
        print(f"wrote {args.json}")
    return 0


def _words(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The two sides as they were named: two words, or --a and --b."""
    if args.sides and not (args.a or args.b):
        if len(args.sides) == 2:
            return [args.sides[0]], [args.sides[1]]
        raise ConfigError(
            f"compare takes two, A and B; got {len(args.sides)}. Several runs a side: --a A1 A2 A3 --b B1 B2 B3, or a "
            "folder that holds a run a seed."
        )
    if args.sides or not (args.a and args.b):
        raise ConfigError("name two to compare: `compare A B`, or several runs of each with --a A1 A2 --b B1 B2.")
    return args.a, args.b
