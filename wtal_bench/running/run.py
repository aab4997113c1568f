"""One run from config to record: train, choose the checkpoint, test, write down what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process

from wtal_bench.data.annotations import SEGMENTS, Annotations
from wtal_bench.data.coverage import Coverage
from wtal_bench.data.detection_notes import score_notes
from wtal_bench.data.note import Note
from wtal_bench.data.notes import as_recorded, printed
from wtal_bench.errors import CheckpointError, listing
from wtal_bench.files import write_json
from wtal_bench.interfaces import Batch
from wtal_bench.leaderboard.origin_rules import trained_problems
from wtal_bench.leaderboard.own import protocol_block
from wtal_bench.leaderboard.record import read_record, store_detections, write_record
from wtal_bench.modeling.model import Model
from wtal_bench.report.curves import draw_video
from wtal_bench.running.checkouts import distributions, unrepeatable
from wtal_bench.running.checkpoint import load_weights, meta_of, read_checkpoint, weights_of
from wtal_bench.running.configured_hooks import build_hooks
from wtal_bench.running.datasets import Opened, open_data
from wtal_bench.running.device import pick_device
from wtal_bench.running.diagnosis import diagnose
from wtal_bench.running.loader import Request
from wtal_bench.running.look import view_of
from wtal_bench.running.measure import selection_measure
from wtal_bench.running.model_checks import check_class_counts, check_model
from wtal_bench.running.parents import initial_weights, parent_config, parent_record
from wtal_bench.running.provenance import component_list, environment, recorded_config
from wtal_bench.running.resuming import Earlier, check_resumable, distinct, machine, made_from
from wtal_bench.running.runner import Testing, Training, build_testing, build_training
from wtal_bench.running.settings import RunConfig
from wtal_bench.running.workdir import CONFIG, WorkDir
from wtal_bench.structures import Detections
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
    check_class_counts(config, len(opened.protocol.classes), opened.protocol.name)
    build_hooks(config, opened.protocol)  # refused now, not after a parent was trained
    selection_measure(config, opened.protocol)
    out(f"{config.method} on {opened.protocol.name}: features {opened.store.folder}")

    def first(other: RunConfig, folder: WorkDir, begun: bool) -> None:
        train(other, folder, resume=begun, out=out)

    weights, parent = initial_weights(config, opened.protocol.name, work_dir, resume, first, out)
    if weights is not None:
        load_weights(model, *weights, strict=False)
    earlier = check_resumable(work_dir.checkpoint, config, opened, parent) if resume else Earlier()
    testing = build_testing(config, opened, model)
    training = build_training(
        config,
        opened,
        model,
        work_dir.path,
        checkpoint=work_dir.checkpoint if resume else None,
        made_from=made_from(config, opened, parent),
        machines=earlier.machines,
        out=out,
    )
    work_dir.begin(config.resolved())
    coverage = [*training.coverage, opened.test_coverage(testing.videos)]
    notes = opened.notes(coverage, (training.videos, testing.videos))
    for line in printed(notes):
        out(line)
    for note in (*earlier.notes, *unrepeatable(_suppliers(model, config, opened))):
        out(f"note: {note}")
    training.runner.train()
    trained = time.monotonic() - began
    barrier()  # the first process writes the checkpoints
    chosen = work_dir.path / ("last.pth" if config.train.selection == "last" else "best.pth")
    kept = read_checkpoint(chosen)
    out(_kept(kept["meta"], config))
    # what is scored is what the checkpoint holds: with train.ema those are not the weights trained last
    load_weights(model, weights_of(kept), chosen)
    testing.run()
    if not is_main_process():
        return None
    cost = {
        "train_seconds": round(trained, 3),
        "test_seconds": round(time.monotonic() - began - trained, 3),
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": training.runner.iter,
    }
    record = describe(testing, cost, parent, kept["meta"], data_block(coverage, notes, testing))
    record |= diagnosis_block(testing)
    *before, _ = distinct(earlier.machines, machine(testing.device))
    if before:  # the environment is that of the end; bits came from others too
        record["environment"]["before"] = before
    path = keep(testing, record, work_dir.records)
    if config.runtime.example:
        draw_example(testing, work_dir.path / "example.png")
    return Result(path, read_record(path), work_dir.path)


def keep(testing: Testing, record: dict[str, Any], folder: Path) -> Path:
    """Write the record with its detections.

    Of one's own data without any annotated test video there is nothing to score: `result.json` is no record then.
    """
    protocol, detections, beside = testing.opened.protocol, testing.metric.detections, testing.metric.beside
    if record["metrics"]["variants"] or not protocol.own:
        return write_record(folder, record, detections, protocol.classes, beside)
    stored = store_detections(folder, detections, protocol.classes, protocol.name, beside)
    write_json(folder / "result.json", {**record, "detections": stored})
    return folder / "result.json"


def data_block(coverage: Sequence[Coverage], notes: Sequence[Note], testing: Testing) -> dict[str, Any]:
    """A record's `data`: which videos the run saw, and what was said of them and of its score."""
    whole = [*notes, *score_notes(testing.metric.report)]
    return {"splits": {split.split: split.as_dict() for split in coverage}, "notes": as_recorded(whole)}


def diagnosis_block(testing: Testing) -> dict[str, Any]:
    """A record's `diagnosis`, as an entry of it; none where no test video is annotated."""
    found = diagnose(testing)
    return {"diagnosis": found} if found else {}


def typical(found: Mapping[str, Detections], annotations: Annotations) -> str:
    """The video to show: the one with the median number of detections, of those of which a class was found that is
    annotated, if there is any."""
    shown = {name: {segment.label for segment in annotations.videos[name].segments} for name in found}
    met = [name for name in found if shown[name].intersection(found[name].label.tolist())] or list(found)
    return sorted(met, key=lambda name: len(found[name]))[len(met) // 2]


def draw_example(testing: Testing, path: Path) -> None:
    """Draw a `typical` test video: its curves, what was found, and the truth."""
    found, opened = testing.metric.detections, testing.opened
    video = typical(found, opened.annotations)
    batch = testing.gather(Request((testing.videos.ids.index(video),)), testing.device).to(testing.device)
    testing.model.eval()
    ((outputs, meta),) = testing.model.video_outputs(batch)
    truth = None
    if opened.annotations.timed(video):
        truth = [(segment.label, segment.start, segment.end) for segment in opened.annotations.videos[video].segments]
    draw_video(path, outputs, meta, found[video], opened.protocol.classes, truth, view_of(testing.model, outputs))


def describe(
    testing: Testing, cost: dict[str, Any], parent: str | None, trained_as: Mapping[str, Any], data: dict[str, Any]
) -> dict[str, Any]:
    """The record of a finished run, but for what `write_record` fills in.

    Args:
        testing: what was scored.
        cost: seconds, parameters, steps.
        parent: id of the record whose weights it began from.
        trained_as: `meta` of the scored checkpoint.
        data: `data_block`.
    """
    config, opened = testing.config, testing.opened
    return {
        "source": "measured",
        "protocol": protocol_block(opened.protocol),
        "method": config.method,
        "variant": config.variant,
        "supervision": "weak",
        "components": _components(testing.model, config),
        "distributions": _suppliers(testing.model, config, opened),
        "config": recorded_config(config),
        "features": {
            "manifest_hash": opened.store.manifest_hash,
            "extractor": opened.store.manifest["extractor"],
            "synthetic": opened.store.synthetic,
        },
        "annotations": {
            "sha256": opened.annotations.sha256,
            "splits": opened.protocol.contents(opened.annotations),
            **_tags(opened),
        },
        "seed": trained_as.get("seed", config.runtime.seed),
        "trained": _trained(config, trained_as),
        "selection": config.train.selection,
        "metrics": testing.metric.report,
        "environment": environment(testing.device),
        "cost": cost,
        "parent": parent,
        "profile": config.profile,
        "data": data,
    }


def _components(model: Model, config: RunConfig) -> list[dict[str, str]]:
    return component_list(model.components(), [hook["type"] for hook in config.runtime.hooks])


def _suppliers(model: Model, config: RunConfig, opened: Opened) -> list[dict[str, Any]]:
    return distributions(_components(model, config), opened.protocol)


def _trained(config: RunConfig, trained_as: Mapping[str, Any]) -> dict[str, int] | None:
    """How long the scored weights were trained; None for weights that came without saying."""
    unit, key = ("epochs", "epoch") if config.train.epochs is not None else ("iterations", "iter")
    return {unit: trained_as[key]} if trained_as.get(key) else None


def _check_length(config: RunConfig, trained_as: Mapping[str, Any], checkpoint: Path) -> None:
    """Refuse weights that were not trained as long as the config trains: no record of them would keep the rules."""
    trained, train = _trained(config, trained_as), config.resolved()["train"]
    if not any(trained_problems(trained, train, bool(config.runtime.hooks), config.train.selection)):
        return
    ((unit, done),) = trained.items()
    beside = checkpoint.parent / CONFIG
    kept = read_record(beside) if beside.is_file() else {}
    fits = isinstance(kept.get("train"), Mapping) and kept["train"].get(unit) == done
    advice = f"{beside} is the config it was trained with: test it with that one"
    if not fits:
        advice = (
            f"Give the config it was trained with (--cfg-options train.{unit}={done} where it differs in nothing "
            "else); a training that was stopped is ended by `train --resume`"
        )
    raise CheckpointError(
        f"{checkpoint} was trained for {done} {unit}, {config.path or 'its config'} trains {train[unit]}: nothing was "
        f"tested, for no record may say so. {advice}."
    )


def _tags(opened: Opened) -> dict[str, str]:
    """Which tags were trained on: a named list with the hash of what it says."""
    if opened.tags == SEGMENTS:
        return {"tags": SEGMENTS}
    return {"tags": opened.tags, "tags_sha256": opened.annotations.tag_hash(opened.tags)}


def _kept(trained_as: Mapping[str, Any], config: RunConfig) -> str:
    """Which epoch is scored, and by what it was picked."""
    unit = "epoch" if config.train.epochs is not None else "iteration"
    best = trained_as.get("best")
    if config.train.selection == "last" or best is None:
        return f"kept the last {unit}"
    parts = {"": best} if "metric" in best else best
    kept = [
        f"{unit} {p['done']}{f' of {name}' if name else ''} ({p['metric']} {percent(p['value'])})"
        for name, p in parts.items()
    ]
    return f"kept {listing(kept)}"


def score_checkpoint(
    config: RunConfig,
    checkpoint: Path,
    work_dir: Path,
    out: Callable[[str], None] = print,
    trained: Mapping[str, Any] | None = None,
) -> Result:
    """Score a checkpoint and write a record of it.

    Args:
        config: how.
        checkpoint: what.
        work_dir: where the record goes.
        out: takes lines.
        trained: record of the run that trained it, where the config asks for that training to the last key: what it
            cost and began from is then said of this one, too. None: it begins from that run.

    Raises:
        WtalError: the checkpoint belongs to another model, was trained for another time than the config says, or the
            data do not fit. Nothing is written then.
    """
    began = time.monotonic()
    state = read_checkpoint(checkpoint)
    model = check_model(config)
    load_weights(model, weights_of(state), checkpoint)
    _check_length(config, meta_of(state), checkpoint)
    opened = open_data(config.data, pick_device(config).type, config.path)
    check_class_counts(config, len(opened.protocol.classes), opened.protocol.name)
    testing = build_testing(config, opened, model)
    meta = meta_of(state)
    coverage = [*_trained_on(meta), opened.test_coverage(testing.videos)]
    notes = opened.notes(coverage, (testing.videos,), meta.get("features"))
    for line in printed(notes):
        out(line)
    testing.run()
    cost = {
        "test_seconds": round(time.monotonic() - began, 3),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    parent = parent_record(checkpoint.parent)
    if trained is not None:
        parent = trained["parent"]
        cost |= {key: trained["cost"][key] for key in ("train_seconds", "steps") if key in trained["cost"]}
    record = describe(testing, cost, parent, meta, data_block(coverage, notes, testing))
    record |= diagnosis_block(testing)
    path = keep(testing, record, work_dir / "record")
    if not (work_dir / CONFIG).exists():  # by which others find the data again
        write_json(work_dir / CONFIG, config.resolved())
    return Result(path, read_record(path), work_dir)


def _trained_on(meta: Mapping[str, Any]) -> list[Coverage]:
    """The training videos a checkpoint was made with, as it says; none where it says nothing."""
    try:
        return [Coverage.from_dict(name, split) for name, split in meta.get("data", {}).items()]
    except (AttributeError, KeyError, TypeError):
        return []


def dry_run(config: RunConfig, work_dir: Path, out: Callable[[str], None] = print) -> None:
    """One training and one test step on two videos: everything is built, nothing is kept.

    Raises:
        WtalError: whatever a real run would refuse.
    """
    model = check_model(config)
    opened = open_data(config.data, pick_device(config).type, config.path)
    check_class_counts(config, len(opened.protocol.classes), opened.protocol.name)
    if isinstance(config.train.init_from, dict):
        parent = parent_config(config)
        check_model(parent)
        check_class_counts(parent, len(opened.protocol.classes), opened.protocol.name)
    else:
        weights, _ = initial_weights(config, opened.protocol.name, None, False, train, out)
        if weights is not None:
            load_weights(model, *weights, strict=False)
    testing = build_testing(config, opened, model)
    training = build_training(config, opened, model, work_dir, out=out)
    coverage = [*training.coverage, opened.test_coverage(testing.videos)]
    for line in printed(opened.notes(coverage, (training.videos, testing.videos))):
        out(line)
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
