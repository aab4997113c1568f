"""What a large leaderboard costs, of generated records of full size: made anew, unchanged, and with one record changed.

Each in a process of its own, from its start to its end; then the steps of making it anew. What comes out of remembered
parts is held against a build that remembers nothing. Records count as scored again (their detections are random bytes),
so all rows are ranked and compared with the first.

Example: python tests/benchmarks/bench_leaderboard.py --records 1000 --seeds 5 --protocol thumos14/v1
"""

from __future__ import annotations

import argparse
import csv
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
from types import SimpleNamespace
from typing import Any

import numpy as np

from wtal_bench.data.coverage import ids_hash
from wtal_bench.leaderboard import rescore
from wtal_bench.leaderboard.build import build, stale
from wtal_bench.leaderboard.identity import hash_config, record_folder, record_id
from wtal_bench.leaderboard.markdown import to_markdown
from wtal_bench.leaderboard.page import to_html
from wtal_bench.leaderboard.published import read_published
from wtal_bench.leaderboard.record import load_records
from wtal_bench.leaderboard.rows import build_sections
from wtal_bench.leaderboard.tables import build_document
from wtal_bench.leaderboard.tidy import to_csv
from wtal_bench.leaderboard.validate import SCHEMA
from wtal_bench.protocols import Protocol, get_protocol

TINY = "--records 2 --seeds 2 --detections-kb 1"
"""What the test suite runs, so that this file cannot rot."""

RESAMPLES, VIDEOS = 1000, {"train": 200, "test": 212}


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
    rescore.finder = lambda _: lambda stored: Trusted()
    rescore.score_again = lambda stored, _: (rescore.Verification(stored.record["id"], rescore.SAME), None)
    if action == "build":
        build(folder)
    elif stale(folder):
        raise SystemExit("a rebuild of the same records differs")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": time.process_time(), "peak_GiB": peak}))


class Trusted:
    """Annotations that every record was scored on (`rescore.Truth`)."""

    annotations = SimpleNamespace(sha256="b" * 64, tag_lists={})
    protocol = SimpleNamespace(hash="")

    def refuses(self, record: Mapping[str, Any]) -> str:
        """None of them."""
        return ""


def compare(folder: Path, cache: Path) -> None:
    """A board made anew, unchanged, and with one record changed."""
    time.sleep(2.1)  # until what was written has settled (`leaderboard.seen`)
    step(folder, cache, "build", "build, nothing remembered")
    step(folder, cache, "check", "check, nothing changed")
    paths = sorted((folder / "records").rglob("*.json"))
    for path, label in ((paths[0], "one record changed"), (best(paths), "one of the best row changed")):
        path.write_text(path.read_text().replace("2026-11-22", "2026-11-23"))
        step(folder, cache, "build", f"build, {label}")
    made = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    step(folder, folder / "nothing", "build", "the same, nothing remembered")
    if any(path.read_bytes() != content for path, content in made.items()):
        raise SystemExit("remembered parts give other files than a build without them")


def best(paths: list[Path]) -> Path:
    """A record of the row that ranks first, which all others are compared with."""
    with open(paths[0].parents[3] / "leaderboard.csv", encoding="utf-8") as stream:
        line = next(line for line in csv.DictReader(stream) if line["rank"] == "1")
    return next(path for path in paths if path.stem in line["records"].split())


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
    print(f"{label:34} {found['seconds']:7.2f} s of processor time, {found['peak_GiB']:.2f} GiB")


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
        "csv": lambda: to_csv(sections, published),
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
            "videos": VIDEOS["test"],
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
        "data": {"splits": {name: split(protocol, name) for name in VIDEOS}, "notes": []},
        "parent": None,
        "created": "2026-11-22T12:00:00+00:00",
    }
    record["id"] = record_id(record)
    folder = record_folder(root, record)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{sha256}.json.gz").write_bytes(content)
    (folder / f"{record['id']}.json").write_text(json.dumps(record, indent=1, sort_keys=True))


def split(protocol: Protocol, name: str) -> Mapping[str, Any]:
    """The videos of a split, all used."""
    ids = [f"video_{name}_{number:07}" for number in range(VIDEOS[name])]
    counts = dict.fromkeys(("annotated", "with_features", "used"), len(ids))
    return {
        "subset": protocol.subset if name == "test" else protocol.train_subset,
        **counts,
        **{"held_out": 0, "instances": 3000, "instances_lost": 0, "ids_hash": ids_hash(ids)},
        **{"ids": ids, "missing": [], "left_out": [], "bare": []},
    }


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
