"""Sound inputs of every kind, made once in a folder: what the mutations start from."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.running.conftest import PROTOCOL, make_dataset, tiny_config
from wtal_bench.cli import main
from wtal_bench.files import shipped
from wtal_bench.testing.contracts import contract_cases

IDEA = '''"""An idea that adds nothing but a weight."""


def idea(host, scale=2.0, name="cls_pre"):
    return {"model": {"losses": {name: {"weight": scale}}}, "train": {"ema": 0.9}}
'''

TABLE = """video,label,duration,start,end,subset,fps,frames
v0,Run,10.0,1.0,2.5,train,25,250
v0,Jump,10.0,3.0,4.0,train,25,250
v1,Run,12.5,0.5,2.0,test,25,312
v2,,9.0,,,test,25,225
"""


@dataclass(frozen=True)
class Corpus:
    """The sound inputs.

    Attributes:
        folder: where they lie.
        config: tree of a config that trains in a second.
        annotations, detections, record: trees of those files.
        manifest, index: trees of the store's two files.
        official: annotations in ActivityNet's own layout.
        rows: tree of an ablation file.
        examples: config trees over the example models of all plugins, by name: every component is in one.
    """

    folder: Path
    config: dict[str, Any]
    annotations: dict[str, Any]
    detections: dict[str, Any]
    record: dict[str, Any]
    manifest: dict[str, Any]
    index: dict[str, Any]
    official: dict[str, Any]
    rows: dict[str, Any]
    examples: dict[str, dict[str, Any]]

    def copy(self, name: str, to: Path) -> Path:
        """A copy of one of the files or folders, to be mutated."""
        source, target = self.folder / name, to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target))


def make_corpus(folder: Path) -> Corpus:
    """Make the inputs in an empty folder; a small model is trained for its checkpoint and record."""
    make_dataset(folder / "data", videos=4)
    config = tiny_config(folder / "data", epochs=1)
    config["train"]["batch_size"] = 2
    _write(folder / "config.json", config)
    quietly("train", str(folder / "config.json"), "--work-dir", str(folder / "run"))
    annotations = _read(folder / "data" / "annotations.json")
    record_file = next((folder / "run" / "record").glob("*-s0-*.json"))
    record = _read(record_file)
    shutil.copy(record_file, folder / "record.json")
    packed = record_file.parent / record["detections"]["file"]
    shutil.copy(packed, folder / packed.name)
    found = {
        video: [{"label": annotations["classes"][0], "start": 1.0, "end": 4.5, "score": 0.5 + at / 10} for at in (0, 1)]
        for video, entry in annotations["videos"].items()
        if entry["subset"] == "test"
    }
    detections = {"version": "fuzz", "videos": found}
    _write(folder / "detections.json", detections)
    rows = {
        "base": str(folder / "config.json"),
        "method": "ecm",
        "rows": [
            {
                "name": "a",
                "paper_row": "T1",
                "published": {"metric": "mAP@0.5", "value": 1.0},
                "options": {"train.lr": 0.1, "model.heads.pre.topk_ratio": "{model.heads.pre.topk_ratio}"},
            },
            {"name": "b", "note": "n", "instead": {"x": "y"}, "options": {"model.losses.a2c": None}},
        ],
    }
    official = {
        "version": "VERSION 1.3",
        "taxonomy": [],
        "database": {
            "v0": {
                "subset": "training",
                "duration": 10.5,
                "url": "https://example.org",
                "annotations": [{"label": "Run", "segment": [1.0, 2.5]}, {"label": "Jump", "segment": [0.0, 9.0]}],
            },
            "v1": {"subset": "testing", "duration": 8.0, "annotations": []},
        },
    }
    (folder / "table.csv").write_text(TABLE)
    (folder / "rows.yaml").write_text(yaml.safe_dump(rows))
    (folder / "idea.py").write_text(IDEA)
    (folder / "published").mkdir()
    shutil.copy(shipped("leaderboard") / "published.csv", folder / "published" / "published.csv")
    rng = np.random.default_rng(0)
    np.save(folder / "video.npy", rng.gamma(0.7, 1.0, (30, 8)).astype(np.float32))
    return Corpus(
        folder,
        config,
        annotations,
        detections,
        record,
        _read(folder / "data" / "features" / "manifest.json"),
        _read(folder / "data" / "features" / "index.json"),
        official,
        rows,
        _examples(folder / "own"),
    )


def _examples(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for case in contract_cases():
        example = case.load()
        root = folder / f"{example.width}-{example.classes}"
        if not root.is_dir():
            _own_data(root, example.width, example.classes)
        config = {
            "method": "fuzz",
            "model": example.model,
            "train": {"sampling": "random_segments", "length": 24, "batch_size": 4, "epochs": 1, "lr": 1e-3},
            "test": {"sampling": "whole"},
            "data": {"protocol": "own", "root": str(root)},
            "runtime": {"device": "cpu"},
        }
        if example.pairs:
            config["train"]["pairs"] = {"source": "in_batch"}
        found[case.info.name] = json.loads(json.dumps(config))
    return found


def _own_data(root: Path, width: int, classes: int) -> None:
    path = make_dataset(root, videos=6, width=width) / "annotations.json"
    tree = _read(path)
    tree["classes"] = tree["classes"][:classes]
    for at, video in enumerate(tree["videos"].values()):
        video["segments"][0]["label"] = tree["classes"][at % classes]
    _write(path, tree)


def quietly(*words: str) -> int:
    """Run a verb of the command line without a word."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        status = main(list(words))
    assert status == 0, said.getvalue()
    return status


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, tree: Any) -> None:
    path.write_text(json.dumps(tree), encoding="utf-8")


__all__ = ["PROTOCOL", "Corpus", "make_corpus", "quietly"]
