"""What a run remembers of its data and machine, and what may have changed when it goes on from a checkpoint.

Same data or no resuming: half a training on other features is no training on either. Same bits only from the same
machine: how a CPU adds depends on its threads, and kernels differ between versions, so a change is said and recorded.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import wtal_bench
from wtal_bench.data.annotations import SEGMENTS
from wtal_bench.errors import CheckpointError, DataError, listing
from wtal_bench.files import digest
from wtal_bench.running.checkpoint import read_checkpoint
from wtal_bench.running.datasets import Opened, read_only
from wtal_bench.running.device import pick_device
from wtal_bench.running.provenance import environment, recorded_config
from wtal_bench.running.settings import RunConfig
from wtal_bench.running.workdir import MAY_CHANGE, changes

HARMLESS = MAY_CHANGE - {"train.epochs", "train.iterations"}
"""Settings that change no bit of a result."""

MADE_FROM = {
    "features": "the features (manifest hash {})",
    "annotations": "the annotations (SHA-256 {})",
    "tags": "the tag list that is trained on (hash {})",
    "only": "the list of videos of data.only (hash {})",
    "parent": "the run whose weights it began from (train.init_from; record {})",
}
"""What a result is made from, apart from its config, in words; {} is the name of the old one -> that of the new one."""


@dataclass(frozen=True)
class Earlier:
    """What a run that is resumed was before.

    Attributes:
        machines: those it was trained on so far, in order; each differs from the one before it.
        notes: what a reader of its numbers should know.
    """

    machines: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


def made_from(config: RunConfig, opened: Opened, parent: str | None = None) -> dict[str, str]:
    """The data a run is made from, by hash, and the record its weights begin from: what its checkpoints hold."""
    found = {"features": opened.store.manifest_hash, "annotations": opened.annotations.sha256}
    if opened.tags != SEGMENTS:
        found["tags"] = opened.annotations.tag_hash(opened.tags)
    if config.data.only is not None:
        found["only"] = digest(read_only(config.data, config.path))
    return found if parent is None else {**found, "parent": parent}


def machine(device: torch.device) -> dict[str, Any]:
    """What the bits of a result depend on besides its config and data: threads, processes, device and versions."""
    here = environment(device)
    return {
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
        "device": here["device"],
        "wtal_bench": wtal_bench.__version__,
        "python": platform.python_version(),
        **here["packages"],
    }


def check_resumable(checkpoint: Path, config: RunConfig, opened: Opened, parent: str | None) -> Earlier:
    """Refuse to go on from a checkpoint that is of other data, or has been trained longer than is asked for.

    Args:
        checkpoint: the run's newest.
        config, opened: what it is to go on with.
        parent: the record its weights begin from.

    Raises:
        DataError: its data, or the run it began from, are others now.
        CheckpointError: it has more epochs (iterations) than the config asks for, or cannot be read.
    """
    meta = read_checkpoint(checkpoint).get("meta") or {}
    changed = moved(meta.get("made_from") or {}, made_from(config, opened, parent))
    if changed:
        raise DataError(
            f"{checkpoint.parent} cannot be resumed: it began with other data than there are now. Changed: "
            f"{listing(changed)}. Put back what it began with, or start a new run (another --work-dir)."
        )
    refuse_shorter(checkpoint, meta, config)
    machines, here = tuple(meta.get("machines") or ()), machine(pick_device(config))
    differs = [
        f"{key} {here.get(key)} (was {was})" for key, was in (machines or ({},))[-1].items() if here.get(key) != was
    ]
    note = (
        f"resumed with {listing(differs)}: the same bits come only from the same thread count, versions and device, so "
        "no single run repeats this one exactly. Its record says so."
    )
    return Earlier(machines, (note,) if differs else ())


def refuse_shorter(checkpoint: Path, meta: Mapping[str, Any], config: RunConfig) -> None:
    """Refuse a checkpoint that has been trained longer than the config asks for.

    Raises:
        CheckpointError: the text says how long it was trained.
    """
    done, epochs, iterations = meta.get("iter", 0), config.train.epochs, config.train.iterations
    each = meta.get("steps_per_epoch") or (done / meta["epoch"] if meta.get("epoch") else 1)
    if epochs is not None and done > epochs * each:
        unit, asked, trained = "epochs", epochs, f"{done / each:.4g}"
    elif iterations is not None and done > iterations:
        unit, asked, trained = "iterations", iterations, str(done)
    else:
        return
    raise CheckpointError(
        f"{checkpoint} has been trained for {trained} {unit}, train.{unit}={asked} asks for fewer, and nothing takes "
        f"training back. Resume with train.{unit}={trained} or more, or start a new run (another --work-dir)."
    )


def moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of `MADE_FROM` two results differ in, in words; what one of them does not name is not held against it."""
    return [
        words.format(
            f"{str(before[key])[:12]} -> {str(now[key])[:12]}" if key != "parent" else f"{before[key]} -> {now[key]}"
        )
        for key, words in MADE_FROM.items()
        if before.get(key) is not None and now.get(key) is not None and before[key] != now[key]
    ]


def record_differences(record: Mapping[str, Any], config: RunConfig, opened: Opened, parent: str | None) -> list[str]:
    """What a finished run's record differs in from the run that is asked for now, in words; empty when it is that run.

    Args:
        record: as the run wrote it.
        config: with the seed asked for.
        opened: its data.
        parent: the record the run asked for would begin from; None where it begins from none, or that is yet to come.
    """
    found = shown_changes(record["config"], recorded_config(config), HARMLESS)
    if record["seed"] != config.runtime.seed:
        found.append(f"seed ({record['seed']} -> {config.runtime.seed})")
    if record["protocol"].get("hash") != opened.protocol.hash:
        found.append(f"the rule of {opened.protocol.name} ({record['protocol']['name']} before)")
    tags = record["annotations"].get("tags_sha256")
    was = {"features": record["features"]["manifest_hash"], "annotations": record["annotations"]["sha256"]}
    return found + moved({**was, "tags": tags, "parent": record.get("parent")}, made_from(config, opened, parent))


def shown_changes(before: Mapping[str, Any], now: Mapping[str, Any], leave_out: Iterable[str] = ()) -> list[str]:
    """The dotted keys in which two configs differ, each with both values."""
    keys = [key for key in changes(dict(before), dict(now)) if key not in set(leave_out)]
    return [f"{key} ({_value(before, key)} -> {_value(now, key)})" for key in keys]


def _value(tree: Any, key: str) -> str:
    for name in key.split("."):
        if not isinstance(tree, Mapping) or name not in tree:
            return "not set"
        tree = tree[name]
    text = repr(tree)
    return text if len(text) <= 40 else f"{text[:37]}..."


def distinct(machines: Sequence[Mapping[str, Any]], here: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The machines of a run, this one last; going on with an equal one is no new machine."""
    earlier = [dict(item) for item in machines]
    return earlier if earlier and earlier[-1] == here else [*earlier, dict(here)]
