"""One run from config to record: train, choose the checkpoint, test, write down what happened."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process

from wtal_bench.errors import ConfigError
from wtal_bench.files import write_json
from wtal_bench.interfaces import Batch
from wtal_bench.leaderboard.record import store_detections, write_record
from wtal_bench.running.checkpoint import load_weights, read_checkpoint, weights_of
from wtal_bench.running.config import load_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.loader import Request
from wtal_bench.running.picture import draw_video
from wtal_bench.running.provenance import component_list, environment, git_state, recorded_config
from wtal_bench.running.runner import Session, build_runner, check_model, pick_device
from wtal_bench.running.settings import RunConfig
from wtal_bench.running.workdir import CONFIG, WorkDir


@dataclass(frozen=True)
class Result:
    """What a run leaves: its record's path, the record, and the folder."""

    record_path: Path
    record: dict[str, Any]
    work_dir: Path


def train(
    config: RunConfig, work_dir: WorkDir, *, resume: bool = False, out: Callable[[str], None] = print
) -> Result | None:
    """Run a config to its record. Every process of a distributed run calls this; only the first returns a result.

    Raises:
        WtalError: see `build_runner`.
    """
    began = time.monotonic()
    check_model(config)
    work_dir.refuse_changes(config.resolved())
    opened = open_data(config.data, pick_device(config).type, config.path)
    out(f"{config.method} on {opened.protocol.name}: features {opened.store.folder}")
    weights, parent = _initial_weights(config, opened.protocol.name, work_dir, resume, out)
    session = build_runner(
        config,
        opened,
        work_dir.path,
        checkpoint=work_dir.checkpoint if resume else None,
        weights=weights,
        out=out,
    )
    work_dir.begin(config.resolved())
    for note in opened.protocol.split_notes(opened.annotations):
        out(f"note: {note}")
    for warning in (*session.train.warnings, *session.test.warnings)[:5]:
        out(f"note: {warning}")
    session.runner.train()
    trained = time.monotonic() - began
    barrier()  # the first process writes the checkpoints
    chosen = work_dir.path / ("last.pth" if config.train.selection == "last" else "best.pth")
    # what is scored is what the checkpoint holds: with train.ema those are not the weights trained last
    load_weights(session.model, weights_of(read_checkpoint(chosen)), chosen)
    session.runner.test()
    if not is_main_process():
        return None
    cost = {
        "train_seconds": round(trained, 3),
        "test_seconds": round(time.monotonic() - began - trained, 3),
        "parameters": sum(p.numel() for p in session.model.parameters()),
        "steps": session.runner.iter,
    }
    record = describe(session, cost, parent)
    path = keep(session, record, work_dir.records)
    draw_example(session, work_dir.path / "example.png")
    return Result(path, json.loads(path.read_text(encoding="utf-8")), work_dir.path)


def keep(session: Session, record: dict[str, Any], folder: Path) -> Path:
    """Write the record with its detections. A data set of one's own gets the same file without the board's rules."""
    protocol, detections = session.opened.protocol, session.metric.detections
    if not protocol.own:
        return write_record(folder, record, detections, protocol.classes)
    stored = store_detections(folder, detections, protocol.classes, protocol.name)
    write_json(folder / "result.json", {**record, "detections": stored})
    return folder / "result.json"


def draw_example(session: Session, path: Path) -> None:
    """Draw the test video with the median number of detections: its curves, what was found, and the truth."""
    found = session.metric.detections
    video = sorted(found, key=lambda name: len(found[name]))[len(found) // 2]
    gather = session.runner.test_dataloader.collate_fn.gather
    batch = gather(Request((session.test.ids.index(video),)), session.device).to(session.device)
    session.model.eval()
    ((outputs, meta),) = session.model.video_outputs(batch)
    segments = session.opened.annotations.videos[video].segments
    truth = [(segment.label, segment.start, segment.end) for segment in segments]
    draw_video(path, outputs, meta, found[video], session.opened.protocol.classes, truth)


def describe(session: Session, cost: dict[str, Any], parent: str | None) -> dict[str, Any]:
    """The record of a finished run, but for what `write_record` fills in."""
    config, opened = session.config, session.opened
    manifest = opened.store.manifest
    return {
        "source": "measured",
        "protocol": {"name": opened.protocol.name, "hash": opened.protocol.hash},
        "method": config.method,
        "variant": config.variant,
        "supervision": "weak",
        "components": component_list(session.model.components()),
        "config": recorded_config(config),
        "features": {
            "manifest_hash": opened.store.manifest_hash,
            "extractor": manifest["extractor"],
            "synthetic": opened.store.synthetic,
        },
        "annotations": {"sha256": opened.annotations.sha256},
        "seed": config.runtime.seed,
        "selection": config.train.selection,
        "metrics": session.metric.report,
        "environment": environment(session.device),
        "cost": cost,
        "git": git_state(),
        "parent": parent,
    }


def score_checkpoint(config: RunConfig, checkpoint: Path, work_dir: Path, out: Callable[[str], None] = print) -> Result:
    """Score a checkpoint and write a record of it.

    Raises:
        WtalError: the checkpoint belongs to another model, or the data do not fit.
    """
    began = time.monotonic()
    state = read_checkpoint(checkpoint)
    load_weights(check_model(config), weights_of(state), checkpoint)
    opened = open_data(config.data, pick_device(config).type, config.path)
    session = build_runner(config, opened, work_dir, out=out)
    load_weights(session.model, weights_of(state), checkpoint)
    session.runner.test()
    cost = {
        "test_seconds": round(time.monotonic() - began, 3),
        "parameters": sum(p.numel() for p in session.model.parameters()),
    }
    record = describe(session, cost, _parent_record(checkpoint.parent))
    trained_as = state.get("meta", {})
    record["seed"] = trained_as.get("seed", record["seed"])
    path = keep(session, record, work_dir / "record")
    return Result(path, json.loads(path.read_text(encoding="utf-8")), work_dir)


def dry_run(config: RunConfig, work_dir: Path, out: Callable[[str], None] = print) -> None:
    """One training and one test step on two videos: everything is built, nothing is kept.

    Raises:
        WtalError: whatever a real run would refuse.
    """
    check_model(config)
    opened = open_data(config.data, pick_device(config).type, config.path)
    if isinstance(config.train.init_from, dict):
        weights = None
        check_model(_parent_config(config))
    else:
        weights, _ = _initial_weights(config, opened.protocol.name, None, False, out)
    session = build_runner(config, opened, work_dir, weights=weights, out=out)
    session.runner._train_loop = session.runner.build_train_loop(session.runner._train_loop)
    model, step = session.model, session.runner.optim_wrapper
    batch = _two_videos(session)
    model.train()
    losses = model.train_step(batch, step)
    model.eval()
    predictions = model.test_step(next(iter(session.runner.test_dataloader)))
    terms = ", ".join(f"{name} {float(value):.4g}" for name, value in losses.items())
    found = sum(len(prediction.detections) for prediction in predictions)
    parameters = sum(p.numel() for p in model.parameters())
    out(f"dry run: {len(session.train)} training and {len(session.test)} test videos, {parameters:,} parameters")
    out(f"dry run: one step gives {terms}; one test video gives {found} detections. Nothing was kept.")


def _two_videos(session: Session) -> Batch:
    gather = session.runner.train_dataloader.collate_fn.gather
    count = min(2, len(session.train))
    pairs = ((0, count - 1),) if session.config.train.pairs else None
    return gather(Request(tuple(range(count)), pairs=pairs, same=(True,) if pairs else None), session.device)


def _initial_weights(
    config: RunConfig, protocol: str, work_dir: WorkDir | None, resume: bool, out: Callable[[str], None]
) -> tuple[tuple[dict[str, Any], Path] | None, str | None]:
    """Resolve `train.init_from`: (weights and where from, id of the parent's record)."""
    source = config.train.init_from
    if source is None:
        return None, None
    where = f"{config.path}: train.init_from"
    if isinstance(source, dict):
        run = _train_parent(config, work_dir, out)
    else:
        path = Path(str(source)).expanduser()
        if path.suffix == ".pth":
            _check_parent(path.parent, protocol, where)
            return (None if resume else (weights_of(read_checkpoint(path)), path)), _parent_record(path.parent)
        run = path if (path / CONFIG).is_file() else _run_of_record(str(source), where)
    _check_parent(run, protocol, where)
    chosen = next((run / name for name in ("best.pth", "last.pth") if (run / name).is_file()), run / "last.pth")
    return (None if resume else (weights_of(read_checkpoint(chosen)), chosen)), _parent_record(run)


def _parent_config(config: RunConfig) -> RunConfig:
    source = config.train.init_from
    if set(source) - {"config", "options"} or "config" not in source:
        raise ConfigError(
            f"{config.path}: train.init_from is a dict(config='RECIPE', options=['train.epochs=10']), got {source!r}."
        )
    parent = load_config(source["config"], source.get("options", ()), named_by=Path(config.path))
    parent.runtime = config.runtime
    return parent


def _train_parent(config: RunConfig, work_dir: WorkDir, out: Callable[[str], None]) -> Path:
    """Train the parent first, in the run's own folder, with the run's seed; an unfinished one is resumed."""
    parent = _parent_config(config)
    folder = work_dir.path / "init"
    if any((folder / "record").glob("*.json")):
        return folder
    out(f"training {parent.path} first (train.init_from)")
    resume = (folder / "last.pth").is_file()
    own = WorkDir(folder, resume=resume, share=work_dir.shared)
    try:
        train(parent, own, resume=resume, out=out)
    finally:
        own.release()
    return folder


def _run_of_record(name: str, where: str) -> Path:
    found = sorted(Path("work_dirs").rglob(f"record/{name}.json"))
    if not found:
        raise ConfigError(
            f"{where}={name!r} is no checkpoint, no run's folder and no record id of a run under work_dirs/. A record "
            "on the leaderboard keeps no weights: name the run's folder, or dict(config='RECIPE') to train it."
        )
    return found[-1].parents[1]


def _parent_record(run: Path) -> str | None:
    records = sorted((run / "record").glob("*.json"))
    return records[-1].stem if records else None


def _check_parent(run: Path, protocol: str, where: str) -> None:
    name = _parent_record(run)
    if name is None:
        return
    record = json.loads((run / "record" / f"{name}.json").read_text(encoding="utf-8"))
    if record["protocol"]["name"] != protocol:
        raise ConfigError(
            f"{where}: {run} was trained under {record['protocol']['name']}, this run is {protocol}: its test videos "
            "may be training videos here. Train the parent under the same protocol."
        )
