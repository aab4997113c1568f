"""The contract of a hook, as a check over short runs: training stopped anywhere and resumed is training not stopped."""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from wtal_bench.data.store import StoredVideo, write_store
from wtal_bench.running.checkpoint import read_checkpoint
from wtal_bench.running.config import check_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.runner import build_training
from wtal_bench.testing.examples import Example, random_batch

VIDEOS, EPOCHS = 12, 4
FPS, STRIDE = 25.0, 16


class _InterruptedError(Exception):
    """Somebody pressed Ctrl-C."""


def check_resuming(example: Example) -> None:
    """Train an example with its hooks for four epochs: at once, in two halves, and interrupted in an epoch's middle.

    Raises:
        AssertionError: naming what differs: a parameter, the optimiser's state, a hook's, or where training ended.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        _write_data(example, root / "data")
        straight = _train(example, root, "straight")
        _train(example, root, "halves", epochs=EPOCHS // 2)
        halves = _train(example, root, "halves", resume=True)
        compare_checkpoints(straight, halves, "after a resumed half")
        for steps in (4, 8):
            folder = f"interrupted{steps}"
            with contextlib.suppress(_InterruptedError):
                _train(example, root, folder, interrupt=steps)
            compare_checkpoints(straight, _train(example, root, folder, resume=True), f"interrupted at step {steps}")


def compare_checkpoints(ours: Any, theirs: Any, when: str, path: str = "") -> None:
    """Refuse any difference between two checkpoints.

    Raises:
        AssertionError: naming the first entry that differs.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), f"{when}, {path or 'the checkpoint'} holds {set(ours) ^ set(theirs)} once"
        for key in ours:
            compare_checkpoints(ours[key], theirs[key], when, f"{path}.{key}" if path else str(key))
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), f"{when}, {path} is another tensor"
    else:
        assert ours == theirs or ours != ours, f"{when}, {path} is {theirs!r}, in a straight run {ours!r}"


def _train(
    example: Example,
    root: Path,
    folder: str,
    *,
    epochs: int = EPOCHS,
    resume: bool = False,
    interrupt: int | None = None,
) -> dict[str, Any]:
    """Train in `root/folder`; return the last checkpoint, without what tells long runs from short ones."""
    shown = 0

    def out(line: str) -> None:  # called in every step
        nonlocal shown
        shown += 1
        if shown == interrupt:
            raise _InterruptedError

    config = check_config(_config(example, root / "data", epochs), "contract")
    work_dir = root / folder
    work_dir.mkdir(exist_ok=True)
    last = work_dir / "last.pth"
    opened = open_data(config.data, "cpu", "contract")
    checkpoint = last if resume and last.is_file() else None
    build_training(config, opened, check_model(config), work_dir, checkpoint=checkpoint, out=out).runner.train()
    return read_checkpoint(last)


def _config(example: Example, data: Path, epochs: int) -> dict[str, Any]:
    return {
        "method": "example",
        "model": copy.deepcopy(example.model),
        "train": {
            "lr": 1e-3,
            "batch_size": 3,
            "epochs": epochs,
            "selection": example.selection,
            "holdout": 0.25,
            "pairs": {"source": "in_batch"} if example.pairs else None,
        },
        "data": {"protocol": "own", "root": str(data)},
        "runtime": {
            "device": "cpu",
            "log_interval": 0.0,
            "hooks": copy.deepcopy(list(example.hooks)),
            "checkpoint_seconds": 0.0,
        },
    }


def _write_data(example: Example, root: Path) -> None:
    """A data set of random features in the real formats, every class in several videos."""
    lengths = [max(example.shortest, 12 + 3 * at) for at in range(VIDEOS)]
    classes = [f"class {at}" for at in range(example.classes)]
    stored, videos = [], {}
    for seed, subset in enumerate(("train", "test")):
        batch = random_batch(lengths, width=example.width, classes=example.classes, seed=seed)
        for at, length in enumerate(lengths):
            name, duration = f"{subset}_{at:02d}", length * STRIDE / FPS
            stored.append(StoredVideo(name, batch.features[at, :length].float().numpy(), duration, FPS))
            segment = {"label": classes[at % len(classes)], "start": duration / 4, "end": duration / 2}
            videos[name] = {"subset": subset, "duration": duration, "fps": FPS, "segments": [segment]}
    streams = {"all": [0, example.width]}
    manifest = dict(name="contract", extractor="random", fps=FPS, stride=STRIDE, window=STRIDE, streams=streams)
    write_store(root / "features", stored, manifest={**manifest, "synthetic": True})
    (root / "annotations.json").write_text(
        json.dumps({"version": "contract", "classes": classes, "videos": videos}), encoding="utf-8"
    )
