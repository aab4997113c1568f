"""What a large leaderboard costs, of generated records of full size: made anew, unchanged, and with one record changed.

Each in a process of its own, from its start to its end; then the steps of making it anew.

Example: python tests/benchmarks/bench_leaderboard.py --records 1000 --seeds 5 --protocol thumos14/v1
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.leaderboard.build import build, stale
from wtal_bench.leaderboard.identity import hash_config, record_folder, record_id
from wtal_bench.leaderboard.markdown import to_markdown
from wtal_bench.leaderboard.page import to_html
from wtal_bench.leaderboard.published import read_published
from wtal_bench.leaderboard.record import load_records
from wtal_bench.leaderboard.rows import build_sections
from wtal_bench.leaderboard.tables import build_document
from wtal_bench.leaderboard.tidy import records_frame, to_csv
from wtal_bench.leaderboard.validate import SCHEMA
from wtal_bench.protocols import Protocol, get_protocol

TINY = "--records 2 --seeds 2 --detections-kb 1"
"""What the test suite runs, so that this file cannot rot."""

RESAMPLES = 1000


def main() -> None:
    """Generate, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5, help="records a row")
    parser.add_argument("--protocol", default="thumos14/v1")
    parser.add_argument("--detections-kb", type=int, default=500, help="size of every stored detection file")
    parser.add_argument("--published", type=Path, default=Path("leaderboard/published.csv"))
    parser.add_argument("--once", nargs=2, metavar=("build|check", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        once(*args.once)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "published.csv").write_bytes(args.published.read_bytes())
        protocol = get_protocol(args.protocol)
        for number in range(args.records):
            write_one(folder / "records", protocol, number, args.seeds, args.detections_kb)
        print(f"{args.records} records, {args.seeds} seeds a row, {args.protocol}, {args.detections_kb} KB each")
        compare(folder, folder / "cache")
        report(folder)


def once(action: str, folder: str) -> None:
    """Build or check in this process; print its processor time since it began, and its peak memory."""
    if action == "build":
        build(folder)
    elif stale(folder):
        raise SystemExit("a rebuild of the same records differs")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": time.process_time(), "peak_GiB": peak}))


def compare(folder: Path, cache: Path) -> None:
    """A board made anew, unchanged, and with one record changed."""
    step(folder, cache, "build", "build, nothing remembered")
    step(folder, cache, "check", "check, nothing changed")
    path = min((folder / "records").rglob("*.json"))
    path.write_text(path.read_text().replace("2026-11-22", "2026-11-23"))
    step(folder, cache, "build", "build, one record changed")


def step(folder: Path, cache: Path, action: str, label: str) -> None:
    """Run one of them and print what it took."""
    command = [sys.executable, __file__, "--once", action, str(folder)]
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "WTAL_CACHE": str(cache)},
    )
    found = json.loads(done.stdout)
    print(f"{label:28} {found['seconds']:7.2f} s of processor time, {found['peak_GiB']:.2f} GiB")


def report(folder: Path) -> None:
    """Time the steps of making it anew."""
    seconds = {}
    began = time.process_time()
    records = load_records(folder / "records")
    seconds["read and check records"] = time.process_time() - began
    began = time.process_time()
    sections, published = build_sections(records), read_published(folder / "published.csv")
    document = build_document(sections, published)
    seconds["rows, tables, comparisons"] = time.process_time() - began
    writers = {
        "README": lambda: to_markdown(document),
        "frame, csv": lambda: to_csv(records_frame(sections), published),
        "page": lambda: to_html(document, sections, published),
    }
    for label, write in writers.items():
        began = time.process_time()
        write()
        seconds[label] = time.process_time() - began
    for label, value in seconds.items():
        print(f"  {label:26} {value:7.2f} s")


def write_one(root: Path, protocol: Protocol, number: int, seeds: int, kilobytes: int) -> None:
    """Write a record that keeps every rule, with random bytes in place of its detections."""
    random = np.random.default_rng(number)
    content = random.bytes(1000 * kilobytes)
    sha256 = hashlib.sha256(content).hexdigest()
    seed, method = number % seeds, f"method {number // seeds}"
    config = {
        "method": method,
        "variant": "",
        "model": {"width": number // seeds},
        "train": {"epochs": 4, "selection": "last"},
        "data": {"protocol": protocol.name},
    }
    variants = {preset.name: {"hash": preset.hash, **table(protocol, random)} for preset in protocol.presets}
    span = list(protocol.averages)[-1]
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "source": "measured",
        "protocol": {"name": protocol.name, "hash": protocol.hash},
        "method": method,
        "variant": "",
        "supervision": "weak",
        "components": [{"kind": "head", "name": "x.Head", "plugin": "x", "version": "0.1"}],
        "distributions": [
            {"name": name, "version": "0.1", "plugins": [plugin], "commit": "0" * 40, "dirty": False, "sources": None}
            for name, plugin in (("wtal-bench", "core"), ("wtal-x", "x"))
        ],
        "config": config,
        "config_hash": hash_config(config),
        "features": {"manifest_hash": "a" * 64, "extractor": "I3D", "synthetic": protocol.synthetic},
        "annotations": {
            "sha256": "b" * 64,
            "splits": {name: split.content for name, split in protocol.splits.items()},
        },
        "seed": seed,
        "trained": {"epochs": 4},
        "selection": "last",
        "metrics": {"main": protocol.main, "variants": variants},
        "detections": {
            "sha256": sha256,
            "rows": sha256,
            "file": f"{sha256}.json.gz",
            "videos": 1,
            "count": 1,
        },
        "bootstrap": {
            "resamples": RESAMPLES,
            "draw": dict.fromkeys(variants, "one"),
            "values": {name: replicates(part["averages"][span], random) for name, part in variants.items()},
        },
        "environment": {
            "device": "cpu",
            "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
            "python": "3.12.1",
            "threads": 1,
            "wtal_bench": "0.1",
        },
        "cost": {},
        "parent": None,
        "created": "2026-11-22T12:00:00+00:00",
    }
    record["id"] = record_id(record)
    folder = record_folder(root, record)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{sha256}.json.gz").write_bytes(content)
    (folder / f"{record['id']}.json").write_text(json.dumps(record, indent=1, sort_keys=True))


def table(protocol: Protocol, random: np.random.Generator) -> Mapping[str, Any]:
    """One evaluator's block with random APs and the means that belong to them."""
    ap = random.uniform(0, 1, (len(protocol.classes), len(protocol.tious)))
    mean = dict(zip(protocol.tious, ap.mean(axis=0).tolist()))
    return {
        "tious": list(protocol.tious),
        "mAP": list(mean.values()),
        "ap": dict(zip(protocol.classes, ap.tolist())),
        "averages": {name: float(np.mean([mean[t] for t in span])) for name, span in protocol.averages.items()},
        "videos": 212,
        "instances": 3358,
        "detections": 31587,
        "ignored": 0,
    }


def replicates(average: float, random: np.random.Generator) -> list[float]:
    """Replicates about an average, rounded as filing rounds them."""
    return np.clip(average + random.normal(0, 0.01, RESAMPLES), 0, 1).round(6).tolist()


if __name__ == "__main__":
    main()
