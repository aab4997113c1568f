"""One run from config to record: train, choose the checkpoint, test, write down what happened."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process

from wtal_bench.data.annotations import SEGMENTS
from wtal_bench.errors import ConfigError, listing
from wtal_bench.files import expand, write_json
from wtal_bench.interfaces import Batch
from wtal_bench.leaderboard.record import store_detections, write_record
from wtal_bench.leaderboard.validate import HONEST
from wtal_bench.report.curves import draw_video
from wtal_bench.running.checkpoint import load_weights, read_checkpoint, weights_of
from wtal_bench.running.config import load_config
from wtal_bench.running.configured_hooks import build_hooks
from wtal_bench.running.datasets import Opened, open_data
from wtal_bench.running.device import pick_device
from wtal_bench.running.loader import Request
from wtal_bench.running.look import view_of
from wtal_bench.running.measure import selection_measure
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.provenance import component_list, environment, git_state, recorded_config
from wtal_bench.running.runner import Testing, Training, build_testing, build_training
from wtal_bench.running.settings import RunConfig
from wtal_bench.running.workdir import CONFIG, WorkDir
from wtal_bench.text import percent


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
        WtalError: see `build_training`.
    """
    began = time.monotonic()
    model = check_model(config)
    work_dir.refuse_changes(config.resolved())
    opened = open_data(config.data, pick_device(config).type, config.path)
    build_hooks(config, opened.protocol)  # refused now, not after a parent was trained
    selection_measure(config, opened.protocol)
    out(f"{config.method} on {opened.protocol.name}: features {opened.store.folder}")
    weights, parent = _initial_weights(config, opened.protocol.name, work_dir, resume, out)
    if weights is not None:
        load_weights(model, *weights, strict=False)
    testing = build_testing(config, opened, model)
    training = build_training(
        config, opened, model, work_dir.path, checkpoint=work_dir.checkpoint if resume else None, out=out
    )
    work_dir.begin(config.resolved())
    for note in opened.notes():
        out(f"note: {note}")
    for warning in (*training.videos.warnings, *testing.videos.warnings)[:5]:
        out(f"note: {warning}")
    training.runner.train()
    trained = time.monotonic() - began
    barrier()  # the first process writes the checkpoints
    chosen = work_dir.path / ("last.pth" if config.train.selection == "last" else "best.pth")
    out(_kept(chosen, config))
    # what is scored is what the checkpoint holds: with train.ema those are not the weights trained last
    load_weights(model, weights_of(read_checkpoint(chosen)), chosen)
    testing.run()
    if not is_main_process():
        return None
    cost = {
        "train_seconds": round(trained, 3),
        "test_seconds": round(time.monotonic() - began - trained, 3),
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": training.runner.iter,
    }
    record = describe(testing, cost, parent)
    path = keep(testing, record, work_dir.records)
    draw_example(testing, work_dir.path / "example.png")
    return Result(path, json.loads(path.read_text(encoding="utf-8")), work_dir.path)


def keep(testing: Testing, record: dict[str, Any], folder: Path) -> Path:
    """Write the record with its detections. A data set of one's own gets the same file without the board's rules."""
    protocol, detections = testing.opened.protocol, testing.metric.detections
    if not protocol.own:
        return write_record(folder, record, detections, protocol.classes)
    stored = store_detections(folder, detections, protocol.classes, protocol.name)
    write_json(folder / "result.json", {**record, "detections": stored})
    return folder / "result.json"


def draw_example(testing: Testing, path: Path) -> None:
    """Draw the test video with the median number of detections: its curves, what was found, and the truth."""
    found, opened = testing.metric.detections, testing.opened
    video = sorted(found, key=lambda name: len(found[name]))[len(found) // 2]
    batch = testing.gather(Request((testing.videos.ids.index(video),)), testing.device).to(testing.device)
    testing.model.eval()
    ((outputs, meta),) = testing.model.video_outputs(batch)
    truth = [(segment.label, segment.start, segment.end) for segment in opened.annotations.videos[video].segments]
    draw_video(path, outputs, meta, found[video], opened.protocol.classes, truth, view_of(testing.model, outputs))


def describe(testing: Testing, cost: dict[str, Any], parent: str | None) -> dict[str, Any]:
    """The record of a finished run, but for what `write_record` fills in."""
    config, opened = testing.config, testing.opened
    return {
        "source": "measured",
        "protocol": {"name": opened.protocol.name, "hash": opened.protocol.hash},
        "method": config.method,
        "variant": config.variant,
        "supervision": "weak",
        "components": component_list(testing.model.components(), [hook["type"] for hook in config.runtime.hooks]),
        "config": recorded_config(config),
        "features": {
            "manifest_hash": opened.store.manifest_hash,
            "extractor": opened.store.manifest["extractor"],
            "synthetic": opened.store.synthetic,
        },
        "annotations": {"sha256": opened.annotations.sha256, **_tags(opened)},
        "seed": config.runtime.seed,
        "selection": config.train.selection,
        "metrics": testing.metric.report,
        "environment": environment(testing.device),
        "cost": cost,
        "git": git_state(),
        "parent": parent,
        "profile": config.profile,
    }


def _tags(opened: Opened) -> dict[str, str]:
    """Which tags were trained on: a named list with the hash of what it says."""
    if opened.tags == SEGMENTS:
        return {"tags": SEGMENTS}
    return {"tags": opened.tags, "tags_sha256": opened.annotations.tag_hash(opened.tags)}


def _kept(checkpoint: Path, config: RunConfig) -> str:
    """Which epoch is scored, and by what it was picked."""
    unit = "epoch" if config.train.epochs is not None else "iteration"
    best = read_checkpoint(checkpoint)["meta"].get("best")
    if config.train.selection == "last" or best is None:
        return f"kept the last {unit}"
    parts = {"": best} if "metric" in best else best
    kept = [
        f"{unit} {p['done']}{f' of {name}' if name else ''} ({p['metric']} {percent(p['value'])})"
        for name, p in parts.items()
    ]
    return f"kept {listing(kept)}"


def score_checkpoint(config: RunConfig, checkpoint: Path, work_dir: Path, out: Callable[[str], None] = print) -> Result:
    """Score a checkpoint and write a record of it.

    Raises:
        WtalError: the checkpoint belongs to another model, or the data do not fit.
    """
    began = time.monotonic()
    state = read_checkpoint(checkpoint)
    model = check_model(config)
    load_weights(model, weights_of(state), checkpoint)
    opened = open_data(config.data, pick_device(config).type, config.path)
    testing = build_testing(config, opened, model)
    testing.run()
    cost = {
        "test_seconds": round(time.monotonic() - began, 3),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    record = describe(testing, cost, _parent_record(checkpoint.parent))
    trained_as = state.get("meta", {})
    record["seed"] = trained_as.get("seed", record["seed"])
    path = keep(testing, record, work_dir / "record")
    return Result(path, json.loads(path.read_text(encoding="utf-8")), work_dir)


def dry_run(config: RunConfig, work_dir: Path, out: Callable[[str], None] = print) -> None:
    """One training and one test step on two videos: everything is built, nothing is kept.

    Raises:
        WtalError: whatever a real run would refuse.
    """
    model = check_model(config)
    opened = open_data(config.data, pick_device(config).type, config.path)
    if isinstance(config.train.init_from, dict):
        check_model(parent_config(config))
    else:
        weights, _ = _initial_weights(config, opened.protocol.name, None, False, out)
        if weights is not None:
            load_weights(model, *weights, strict=False)
    testing = build_testing(config, opened, model)
    training = build_training(config, opened, model, work_dir, out=out)
    model.train()
    losses = model.train_step(_two_videos(training), training.runner.optim_wrapper)
    model.eval()
    predictions = model.test_step(next(iter(testing.loader)))
    terms = ", ".join(f"{name} {float(value):.4g}" for name, value in losses.items())
    found = sum(len(prediction.detections) for prediction in predictions)
    parameters = sum(p.numel() for p in model.parameters())
    out(f"dry run: {len(training.videos)} training and {len(testing.videos)} test videos, {parameters:,} parameters")
    out(f"dry run: one step gives {terms}; one test video gives {found} detections. Nothing was kept.")


def _two_videos(training: Training) -> Batch:
    count = min(2, len(training.videos))
    pairs = ((0, count - 1),) if training.config.train.pairs else None
    request = Request(tuple(range(count)), pairs=pairs, same=(True,) if pairs else None)
    return training.gather(request, training.device)


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
        path = expand(str(source))
        if path.suffix == ".pth":
            _check_parent(path.parent, protocol, where)
            return (None if resume else (weights_of(read_checkpoint(path)), path)), _parent_record(path.parent)
        run = path if (path / CONFIG).is_file() else _run_of_record(str(source), where)
    _check_parent(run, protocol, where)
    chosen = next((run / name for name in ("best.pth", "last.pth") if (run / name).is_file()), run / "last.pth")
    return (None if resume else (weights_of(read_checkpoint(chosen)), chosen)), _parent_record(run)


def parent_config(config: RunConfig) -> RunConfig:
    """The config that `train.init_from=dict(config=...)` names, to be run as the run itself is.

    Raises:
        ConfigError: another form of it.
    """
    source = config.train.init_from
    if set(source) - {"config", "options"} or "config" not in source:
        raise ConfigError(
            f"{config.path}: train.init_from is a dict(config='RECIPE', options=['train.epochs=10']), got {source!r}."
        )
    options = list(source.get("options", ()))
    own = config.profile in ("", HONEST) or any(option.startswith("profile=") for option in options)
    profile = None if own else config.profile
    parent = load_config(source["config"], options, named_by=Path(config.path), profile=profile)
    parent.runtime = config.runtime
    return parent


def _train_parent(config: RunConfig, work_dir: WorkDir, out: Callable[[str], None]) -> Path:
    """Train the parent first, in the run's own folder, with the run's seed; an unfinished one is resumed."""
    parent = parent_config(config)
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
