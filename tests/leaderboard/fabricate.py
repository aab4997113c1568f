"""Small worlds to test the leaderboard in: annotations of four videos, noisy detections, records scored from them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.evaluation import DetectionTable
from wtal_bench.leaderboard.filing import bootstrap_block
from wtal_bench.leaderboard.identity import record_folder
from wtal_bench.leaderboard.record import write_record
from wtal_bench.protocols import get_protocol
from wtal_bench.structures import Detections

REAL, SYNTHETIC = "thumos14/v1", "synthetic_tiny/v2"
VIDEOS = 6


def sha(text: str) -> str:
    """A SHA-256 that stands for `text`."""
    return hashlib.sha256(text.encode()).hexdigest()


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
        folder.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps({"version": "small", "classes": list(classes), "videos": videos}))
        self.annotations = Annotations.load(self.path)

    def detections(self, seed: int = 0, noise: float = 1.0) -> dict[str, Detections]:
        """Ground truth widened by about `noise` seconds, with two false positives a video."""
        random = np.random.default_rng(seed)
        found = {}
        for name, video in self.annotations.videos.items():
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

    def record(self, seed: int = 0, noise: float = 1.0, **changes: Any) -> tuple[dict[str, Any], dict[str, Detections]]:
        """A measured record without what `write_record` fills in, and its detections."""
        videos = self.detections(seed, noise)
        results = self.protocol.evaluate(DetectionTable.from_videos(videos), self.annotations)
        record = {
            "source": "measured",
            "protocol": {"name": self.protocol.name, "hash": self.protocol.hash},
            "method": "ecm",
            "supervision": "weak",
            "components": [{"kind": "head", "name": "ecm.Post", "plugin": "ecm", "version": "0.1.0"}],
            "config": {"model": {"width": 8}},
            "features": {"manifest_hash": sha("i3d"), "extractor": "I3D", "synthetic": self.protocol.synthetic},
            "annotations": {"sha256": self.annotations.sha256},
            "seed": seed,
            "selection": "last",
            "metrics": self.protocol.report(results),
            "environment": {"device": "cpu", "packages": {"torch": "2.13.0"}},
            "cost": {"train_seconds": 1.5},
            "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
            "created": "2025-01-31T12:00:00+00:00",
            **changes,
        }
        return record, videos

    def write(self, folder: Path, seed: int = 0, noise: float = 1.0, **changes: Any) -> Path:
        """Write a record into a run's folder."""
        record, videos = self.record(seed, noise, **changes)
        return write_record(folder, record, videos, self.protocol.classes)

    def file(self, root: Path, seed: int = 0, noise: float = 1.0, **changes: Any) -> Path:
        """Write a record with its bootstrap straight into a leaderboard's `records` folder."""
        record, videos = self.record(seed, noise, **changes)
        results = self.protocol.evaluate(DetectionTable.from_videos(videos), self.annotations)
        record["bootstrap"] = bootstrap_block(self.protocol, results, resamples=200)
        return write_record(record_folder(root, record), record, videos, self.protocol.classes)
