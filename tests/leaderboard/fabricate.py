"""Small worlds to test the leaderboard in: annotations of four videos, noisy detections, records scored from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.coverage import TEST, TRAIN, VALIDATION, cover
from wtal_bench.evaluation import DetectionTable
from wtal_bench.leaderboard.identity import record_folder
from wtal_bench.leaderboard.record import write_record
from wtal_bench.leaderboard.rescore import bootstrap_block
from wtal_bench.protocols import get_protocol, load_annotations
from wtal_bench.structures import Detections

REAL, SYNTHETIC = "thumos14/v1", "synthetic_tiny/v2"
VIDEOS, TRAINING = 6, 4


CREATED = "2026-11-22T12:00:00+00:00"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def harness(**changes: Any) -> dict[str, Any]:
    """The harness's own distribution, from a clean checkout."""
    row = {"name": "wtal-bench", "version": "0.1.0", "plugins": ["core"], "commit": COMMIT, "dirty": False}
    return {**row, "sources": None, **changes}


def suppliers(components: list[dict[str, str]], **changes: Any) -> list[dict[str, Any]]:
    """The harness, and a distribution for every plugin; `changes` are the harness's."""
    plugins = {part["plugin"]: part["version"] for part in components}
    rows = [harness(name=f"wtal-{name}", version=version, plugins=[name]) for name, version in plugins.items()]
    return [harness(**changes), *rows]


ECM = {"kind": "head", "name": "ecm.Post", "plugin": "ecm", "version": "0.1.0"}
UNCLEAN = suppliers([ECM], dirty=True)
"""Distributions of a run made with uncommitted changes."""


def settings(record: dict[str, Any]) -> dict[str, Any]:
    """What a record's config says of it too."""
    return {
        "method": record["method"],
        "variant": record.get("variant", ""),
        "model": {"width": 8},
        "train": {"epochs": 4, "selection": record["selection"], **record["config"].get("train", {})},
        "data": {"protocol": record["protocol"]["name"]},
    }


def sha(text: str) -> str:
    """A SHA-256 that stands for `text`."""
    return hashlib.sha256(text.encode()).hexdigest()


_scores: dict[tuple[Any, ...], str] = {}


class World:
    """Annotations for one protocol on disk, and detections and records made from them."""

    def __init__(self, folder: Path, protocol: str = REAL) -> None:
        self.folder = folder
        self.protocol = get_protocol(protocol)
        self.path = folder / "annotations.json"
        classes = self.protocol.classes
        videos = {}
        for index in range(VIDEOS):
            segments = [
                {"label": classes[(index + k) % 3], "start": 10.0 * k + 1, "end": 10.0 * k + 6.4} for k in range(3)
            ]
            videos[f"v{index}"] = {"subset": self.protocol.subset, "duration": 60.0, "fps": 25.0, "segments": segments}
        for index in range(TRAINING):
            segments = [{"label": classes[index % 3], "start": 1.0, "end": 6.4}]
            entry = {"subset": self.protocol.train_subset, "duration": 30.0, "fps": 25.0, "segments": segments}
            videos[f"t{index}"] = entry
        folder.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps({"version": "small", "classes": list(classes), "videos": videos}))
        if self.protocol.synthetic:  # its own annotations, made anew wherever a record is scored
            self.annotations = load_annotations(self.protocol)
        else:
            self.annotations = Annotations.load(self.path)

    def annotations_with(self, moved: Callable[[float, float], tuple[float, float]]) -> Annotations:
        """The annotations with every instance moved, in a file of their own."""
        videos = {}
        for name, video in self.annotations.videos.items():
            times = [(part.label, *moved(part.start, part.end)) for part in video.segments]
            rows = [{"label": self.protocol.classes[label], "start": a, "end": b} for label, a, b in times]
            videos[name] = {"subset": video.subset, "duration": video.duration, "segments": rows}
        path = self.folder / "moved.json"
        head = {"version": self.annotations.version, "classes": list(self.protocol.classes)}
        path.write_text(json.dumps({**head, "videos": videos}))
        return Annotations.load(path)

    def detections(self, seed: int = 0, noise: float = 1.0) -> dict[str, Detections]:
        """Ground truth widened by about `noise` seconds, with two false positives a video."""
        random = np.random.default_rng(seed)
        found = {}
        for name in self.annotations.subset(self.protocol.subset):
            video = self.annotations.videos[name]
            rows = [
                (
                    s.label,
                    max(0.0, s.start - abs(random.normal(0, noise))),
                    s.end + abs(random.normal(0, noise)),
                    random.random(),
                )
                for s in video.segments
            ]
            rows += [(k, 45.0 + k, 47.0 + k, 0.5 * random.random()) for k in range(2)]
            found[name] = Detections.from_rows(rows)
        return found

    def data(
        self, tested: Collection[str] | None = None, trained: Collection[str] | None = None, held_out: int = 0
    ) -> dict[str, Any]:
        """A record's `data`: all videos used, or those given; some held out of training."""
        split, test = self.protocol.train_subset, self.protocol.subset
        train, all_tested = self.annotations.subset(split), self.annotations.subset(test)
        there = train if trained is None else trained
        held, used = train[:held_out], [video for video in there if video not in train[:held_out]]
        found = [cover(TRAIN, split, self.annotations, train, used, there=there, held_out=held)]
        if held_out:
            found.append(cover(VALIDATION, split, self.annotations, held, held, there=there, alone=True))
        there = all_tested if tested is None else tested
        found.append(cover(TEST, test, self.annotations, all_tested, there, there=there))
        return {"splits": {part.split: part.as_dict() for part in found}, "notes": []}

    def scores(self, seed: int = 0, noise: float = 1.0) -> dict[str, Any]:
        """A record's `metrics` and `bootstrap`, made once for all worlds that are alike."""
        key = (self.protocol.hash, self.protocol.variants, self.annotations.sha256, seed, noise)
        if key not in _scores:
            found = DetectionTable.from_videos(self.detections(seed, noise))
            results = self.protocol.evaluate(found, self.annotations)
            made = {"metrics": self.protocol.report(results), "bootstrap": bootstrap_block(self.protocol, results)}
            _scores[key] = json.dumps(made)
        return json.loads(_scores[key])

    def record(self, seed: int = 0, noise: float = 1.0, **changes: Any) -> tuple[dict[str, Any], dict[str, Detections]]:
        """A measured record without what `write_record` fills in, and its detections."""
        videos = self.detections(seed, noise)
        record = {
            "source": "measured",
            "protocol": {"name": self.protocol.name, "hash": self.protocol.hash},
            "method": "ecm",
            "supervision": "weak",
            "components": [ECM],
            "config": {"model": {"width": 8}},
            "features": {"manifest_hash": sha("i3d"), "extractor": "I3D", "synthetic": self.protocol.synthetic},
            "annotations": {
                "sha256": self.annotations.sha256,
                "splits": self.protocol.contents(self.annotations),
            },
            "seed": seed,
            "trained": {"epochs": 4},
            "selection": "last",
            "metrics": self.scores(seed, noise)["metrics"],
            "environment": {
                "device": "cpu",
                "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
                "python": "3.12.1",
                "threads": 1,
                "wtal_bench": "0.1.0",
            },
            "cost": {"train_seconds": 1.5},
            "created": CREATED,
            "data": self.data(held_out=int(changes.get("selection") == "val_holdout")),
            **changes,
        }
        if record["source"] == "external":
            return {
                **record,
                "config": {},
                "components": [],
                "distributions": [],
                "seed": None,
                "trained": None,
            }, videos
        record.setdefault("distributions", suppliers(record["components"]))
        made = settings(record)
        record["config"] = {**made, **record["config"], "train": made["train"]}
        if "trained" not in changes:
            record["trained"] = {"epochs": made["train"]["epochs"]}
        return record, videos

    def write(self, folder: Path, seed: int = 0, noise: float = 1.0, **changes: Any) -> Path:
        """Write a record into a run's folder."""
        record, videos = self.record(seed, noise, **changes)
        return write_record(folder, record, videos, self.protocol.classes)

    def file(self, root: Path, seed: int = 0, noise: float = 1.0, **changes: Any) -> Path:
        """Write a record with its bootstrap straight into a leaderboard's `records` folder."""
        record, videos = self.record(seed, noise, **changes)
        record["bootstrap"] = self.scores(seed, noise)["bootstrap"]
        return write_record(record_folder(root, record), record, videos, self.protocol.classes)
