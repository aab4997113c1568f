"""`wtal-bench check-data`: report whether a feature store is sound and fits its annotations."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.check import check_data
from wtal_bench.data.locate import FEATURES, find_features
from wtal_bench.data.store import FeatureStore
from wtal_bench.data.synthetic import ensure_synthetic
from wtal_bench.errors import ConfigError
from wtal_bench.options import number_in
from wtal_bench.protocols import Protocol, get_protocol, load_annotations

SUMMARY = "check a feature store against its annotations"
EXAMPLE = """\
wtal-bench check-data --protocol thumos14/v1
  wtal-bench check-data data/mine/features --annotations data/mine/annotations.json
  wtal-bench check-data data/archive/features --shard 7 --repair s3://lab/archive/features"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("features", nargs="?", help="folder of the feature store (default: the protocol's)")
    parser.add_argument(
        "--protocol", help="check what `train` and `evaluate` find for this protocol, and that its videos are there"
    )
    parser.add_argument(
        "--annotations", help="annotation file they are for (default: the protocol's, else check the features alone)"
    )
    parser.add_argument(
        "--subset",
        action="append",
        default=[],
        help="subset that must have features; may be repeated (default: the protocol's, else all)",
    )
    parser.add_argument(
        "--shard",
        type=number_in("[0, inf)", whole=True),
        action="append",
        help="check the features of this shard alone; may be repeated (default: all)",
    )
    parser.add_argument(
        "--repair",
        metavar="COPY",
        help="take what is damaged from this other copy of the features, a folder or an address",
    )
    parser.add_argument("--no-checksums", action="store_true", help="do not read the features, look at the index only")
    parser.add_argument(
        "--examples",
        type=number_in("[0, inf)", whole=True),
        default=5,
        help="videos named in each line (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the report; return 1 when it holds errors, else 0."""
    protocol = get_protocol(args.protocol) if args.protocol else None
    store = _opened(args, protocol)
    if protocol is not None:
        annotations = load_annotations(protocol, args.annotations)
        protocol.ground_truth(annotations)  # refuses another class list
    else:
        annotations = Annotations.load(args.annotations) if args.annotations else None
    report = check_data(
        store,
        annotations,
        rule=protocol,
        subsets=args.subset or ((protocol.train_subset, protocol.subset) if protocol else ()),
        checksums=not args.no_checksums,
        examples=args.examples,
        shards=args.shard,
    )
    print(json.dumps(report.as_dict(), indent=1) if args.json else report.text())
    return 1 if report.errors else 0


def _opened(args: argparse.Namespace, protocol: Protocol | None) -> FeatureStore:
    """The store; mended first where that was asked for, and opened though damaged where some shards are looked at."""
    place = args.features or _features(protocol)
    if args.repair is None:
        store = FeatureStore.open(place, damaged=args.shard is not None)
    else:
        from wtal_bench.data.store.repair import repair

        done = repair(FeatureStore.open(place, damaged=True), FeatureStore.open(args.repair), args.shard)
        out = sys.stderr if args.json else sys.stdout
        for shard in done:
            taken = f"{len(shard.taken)} of {shard.videos} videos taken from {args.repair}"
            print(f"mended shard {shard.shard}: {taken}", file=out)
        if not done:
            print("nothing to mend", file=out)
        store = FeatureStore.open(place, damaged=args.shard is not None)
    wrong = [shard for shard in args.shard or () if shard >= len(store.shards)]
    if wrong:
        raise ConfigError(f"{store.folder}: has the shards 0 .. {len(store.shards) - 1}, not {wrong[0]}.")
    return store


def _features(protocol: Protocol | None) -> Path:
    if protocol is None:
        raise ConfigError("give the folder of a feature store, or --protocol to check what `train` finds.")
    if protocol.synthetic:
        return ensure_synthetic(protocol.profile, protocol.world) / FEATURES
    return find_features(protocol.dataset)
