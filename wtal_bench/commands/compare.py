"""`wtal-bench compare`: two runs side by side, with a bootstrap over videos."""

from __future__ import annotations

import argparse

from wtal_bench.files import write_json
from wtal_bench.leaderboard.compare import (
    as_json,
    common_protocol,
    compare,
    find_side,
    refuse_other_annotations,
    report,
)
from wtal_bench.options import number_in
from wtal_bench.protocols import load_annotations

SUMMARY = "Compare two runs per tIoU, class and video, with a bootstrap over videos."
EXAMPLE = """\
wtal-bench compare ecm-s0-1a2b3c4d gaufuse-s0-5e6f7a8b
  wtal-bench compare mine.json.gz theirs.json.gz --protocol thumos14/v1 --evaluator thumos_snippet"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("a", metavar="A", help="record id, record file, or detection file (with --protocol)")
    parser.add_argument("b", metavar="B", help="the same; differences are A minus B")
    parser.add_argument("--protocol", help="scores detection files that have no record, such as thumos14/v1")
    parser.add_argument("--evaluator", help="one of the protocol's evaluators (default: its main one)")
    parser.add_argument("--annotations", metavar="FILE", help="annotation file (default: found as `evaluate` finds it)")
    parser.add_argument("--folder", help="leaderboard folder that record ids are looked up in")
    parser.add_argument(
        "--resamples",
        type=number_in("[1, 1000000]", whole=True),
        default=2000,
        help="bootstrap replicates (default 2000)",
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
    sides = tuple(find_side(text, args.folder) for text in (args.a, args.b))
    protocol = common_protocol(sides, args.protocol)
    truth = load_annotations(protocol, args.annotations)
    refuse_other_annotations(sides, truth)
    compared = compare(sides, protocol, truth, args.evaluator, args.resamples, args.seed)
    print(report(compared, protocol, args.top))
    if args.json:
        write_json(args.json, as_json(compared))
        print(f"wrote {args.json}")
    return 0
