"""A data set small enough to train on in a second, on disk in the real formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from wtal_bench.data.store import StoredVideo, write_store
from wtal_bench.protocols import get_protocol

PROTOCOL = "synthetic_tiny/v2"
WIDTH = 8
FPS, STRIDE = 25.0, 16


def make_dataset(folder: Path, videos: int = 12, width: int = WIDTH) -> Path:
    """Write features/ and annotations.json with `videos` training and as many test videos."""
    classes = get_protocol(PROTOCOL).classes
    rng = np.random.default_rng(5)
    annotations, stored = {}, []
    for subset in ("train", "test"):
        for number in range(videos):
            name = f"{subset}_{number:03d}"
            length = int(rng.integers(20, 50))
            duration = length * STRIDE / FPS
            label = number % len(classes)
            start = float(rng.uniform(0, duration / 2))
            segment = {"label": classes[label], "start": start, "end": start + duration / 4}
            features = rng.gamma(0.7, 1.0, (length, width)).astype(np.float32)
            first, last = int(start / duration * length), int((start + duration / 4) / duration * length) + 1
            features[first:last, label] += 3
            stored.append(StoredVideo(name, features, duration, FPS))
            annotations[name] = {"subset": subset, "duration": duration, "fps": FPS, "segments": [segment]}
    manifest = {
        "name": "unit-test",
        "extractor": "random",
        "fps": FPS,
        "stride": STRIDE,
        "window": STRIDE,
        "streams": {"rgb": [0, width // 2], "flow": [width // 2, width]},
        "synthetic": True,
    }
    write_store(folder / "features", stored, manifest=manifest, dtype="float32")
    text = json.dumps({"version": "unit-test", "classes": list(classes), "videos": annotations})
    (folder / "annotations.json").write_text(text)
    return folder


def tiny_config(root: Path, **train) -> dict:
    """A config tree of the ECM model for that data set: dropout on, no picture, four fifths of such a run's time."""
    stream = dict(fold_mode="stride", agg_norm="fold_len", dropout=0.5)
    return dict(
        method="ecm",
        model=dict(
            type="Localizer",
            backbone=dict(type="ecm.Trunk", in_channels=WIDTH, channels=8),
            heads=dict(
                pre=dict(type="ecm.PreClassification", channels=8, num_classes=5, dropout=0.5),
                weights=dict(type="ecm.Weights", num_classes=5),
                post=dict(type="ecm.PostClassification", **stream),
                absence=dict(type="ecm.AbsenceClassification", **stream),
            ),
            losses=dict(
                cls_pre=dict(type="VideoCrossEntropy"),
                cls_post=dict(type="VideoCrossEntropy", reads="post_logits"),
                a2c=dict(type="ecm.AggregationConsistency", weight=5.0),
            ),
            postprocessor=dict(
                type="ThresholdDecoder",
                num_classes=5,
                class_threshold=0.1,
                normalize="rectified",
                thresholds=[0.2, 0.5],
                nms=dict(iou=0.5),
            ),
        ),
        train=dict(sampling="random_segments", length=24, batch_size=4, epochs=2, lr=1e-3) | train,
        test=dict(sampling="whole"),
        data=dict(protocol=PROTOCOL, root=str(root)),
        runtime=dict(device="cpu", log_interval=0.0, example=False),
    )


def draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs of recipes draw no example; `tiny_config` asks for none."""
    monkeypatch.setattr("wtal_bench.running.run.draw_example", lambda testing, path: None)


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    """No test of runs draws, nor what a module's tests share; tests/commands/test_runs.py looks at what is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        yield


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data"))
