"""`wtal-bench check-data`: report whether a feature store is sound and fits its annotations."""

from __future__ import annotations

import argparse
import json

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.check import check_data
from wtal_bench.data.store import FeatureStore

SUMMARY = "check a feature store against its annotations"
EXAMPLE = "wtal-bench check-data data/thumos14/features --annotations data/thumos14/thumos14.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("features", help="folder of the feature store")
    parser.add_argument("--annotations", help="annotation file they are for (default: check the features alone)")
    parser.add_argument(
        "--subset",
        action="append",
        default=[],
        help="subset that must have features; may be repeated (default: all)",
    )
    parser.add_argument("--no-checksums", action="store_true", help="do not read the features, look at the index only")
    parser.add_argument("--examples", type=int, default=5, help="videos named in each line (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the report; return 1 when it holds errors, else 0."""
    store = FeatureStore.open(args.features)
    annotations = Annotations.load(args.annotations) if args.annotations else None
    report = check_data(
        store,
        annotations,
        subsets=args.subset,
        checksums=not args.no_checksums,
        examples=args.examples,
    )
    print(json.dumps(report.as_dict(), indent=1) if args.json else report.text())
    return 1 if report.errors else 0
