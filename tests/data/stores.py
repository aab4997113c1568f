"""Small stores and annotations the tests of this room share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.store import FeatureStore, StoredVideo, write_store

MANIFEST = {
    "name": "toy",
    "extractor": "random numbers",
    "fps": 25,
    "stride": 16,
    "window": 16,
    "streams": {"rgb": [0, 3], "flow": [3, 5]},
    "synthetic": True,
}
LENGTHS = (7, 1, 12, 4)


def features(video: int, length: int, width: int = 5) -> np.ndarray:
    """Return [T,D] float32 random numbers of one toy video."""
    return np.random.default_rng([11, video]).standard_normal((length, width)).astype(np.float32)


def stored(lengths: Sequence[int] = LENGTHS) -> list[StoredVideo]:
    """Return toy videos v0, v1, ... whose durations fit their lengths."""
    return [
        StoredVideo(f"v{video}", features(video, length), duration=length * 0.64, fps=25.0)
        for video, length in enumerate(lengths)
    ]


def toy_store(folder: Path, lengths: Sequence[int] = LENGTHS, *, dtype: str = "float32", **manifest) -> FeatureStore:
    """Write and open a store of toy videos."""
    return write_store(folder, stored(lengths), manifest={**MANIFEST, **manifest}, dtype=dtype)


def toy_annotations(lengths: Sequence[int] = LENGTHS, subsets: Sequence[str] | None = None, **more) -> Annotations:
    """Return annotations of the toy videos: v0 has class A, v1 B, v2 A and B, v3 A, and so on."""
    classes = ("A", "B", "C")
    videos = {}
    for video, length in enumerate(lengths):
        labels = (("A",), ("B",), ("A", "B"), ("A",))[video % 4]
        duration = length * 0.64
        videos[f"v{video}"] = {
            "subset": subsets[video] if subsets else "train",
            "duration": duration,
            "segments": [{"label": label, "start": 0.125 * duration, "end": 0.75 * duration} for label in labels],
        }
    return Annotations.from_dict({"version": "toy", "classes": list(classes), "videos": videos, **more})
