"""Where a run's weights begin: `train.init_from` names a checkpoint, a run, a record, or a recipe to train first."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from wtal_bench.errors import ConfigError, listing
from wtal_bench.files import expand
from wtal_bench.leaderboard.record import newest_record
from wtal_bench.leaderboard.validate import HONEST
from wtal_bench.running.checkpoint import read_checkpoint, weights_of
from wtal_bench.running.config import load_config, split_option
from wtal_bench.running.datasets import Opened, open_data
from wtal_bench.running.resuming import record_differences
from wtal_bench.running.settings import RunConfig
from wtal_bench.running.workdir import CONFIG, WorkDir

PARENT = "init"
"""Where, in a run's folder, the run lies that was trained first for it."""

Weights = tuple[dict[str, Any], Path]
"""Weights, and the file they came from."""


def initial_weights(
    config: RunConfig,
    protocol: str,
    work_dir: WorkDir | None,
    resume: bool,
    train: Callable[[RunConfig, WorkDir, bool], Any],
    out: Callable[[str], None],
) -> tuple[Weights | None, str | None]:
    """Resolve `train.init_from`.

    Args:
        config: of the run.
        protocol: name of the one it is trained under.
        work_dir: its folder; None where no parent is to be trained.
        resume: it has begun, so the weights are its own by now.
        train: trains a parent in a folder, from there on if it is to be resumed.
        out: writes lines.

    Returns:
        The weights to start from (None: the model's own), and the id of the record of the run they are of.

    Raises:
        WtalError: it names nothing, a run under another protocol, or one that is no longer what it names.
    """
    source = config.train.init_from
    if source is None:
        return None, None
    where = f"{config.path}: train.init_from"
    if isinstance(source, dict):
        run = _train_parent(config, work_dir, train, out)
    else:
        path = expand(str(source))
        if path.suffix == ".pth":
            _check_parent(path.parent, protocol, where)
            return (None if resume else (weights_of(read_checkpoint(path)), path)), parent_record(path.parent)
        run = run_of(config)
    _check_parent(run, protocol, where)
    chosen = next((run / name for name in ("best.pth", "last.pth") if (run / name).is_file()), run / "last.pth")
    return (None if resume else (weights_of(read_checkpoint(chosen)), chosen)), parent_record(run)


def parent_config(config: RunConfig) -> RunConfig:
    """The config that `train.init_from=dict(config=...)` names, to be run as the run itself is: on its data.

    What its `options` say of data is kept: other tags for the first stage, say.

    Raises:
        ConfigError: another form of it, or options that take it to another protocol.
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
    keys = [split_option(option)[0].split(".") for option in options]
    said = {key[1]: getattr(parent.data, key[1]) for key in keys if key[0] == "data" and len(key) > 1}
    parent.data = replace(config.data, **said)
    if parent.data.protocol != config.data.protocol:  # before it trains: afterwards it would not be used
        raise ConfigError(
            f"{config.path}: train.init_from.options asks for data.protocol={parent.data.protocol!r}, the run itself "
            f"is {config.data.protocol!r}: test videos of one may be training videos of the other. Leave it out: a "
            "parent is trained on the data of the run."
        )
    return parent


def parent_record(run: Path) -> str | None:
    """The id of the record in a run's folder, None without one."""
    record = newest_record(run)
    return None if record is None else record.stem


def run_of(config: RunConfig) -> Path:
    """The folder of the run that a text in `train.init_from` names.

    Raises:
        ConfigError: it names none.
    """
    path = expand(str(config.train.init_from))
    if path.suffix == ".pth":
        return path.parent
    return (
        path
        if (path / CONFIG).is_file()
        else _run_of_record(str(config.train.init_from), f"{config.path}: train.init_from")
    )


def parent_differences(config: RunConfig, folder: Path) -> list[str]:
    """What the finished parent in a run's folder differs in from the one its config names now, in words.

    Args:
        config: whose `train.init_from` is a dict.
        folder: of the run; a parent that is not there, or not finished, differs in nothing.
    """
    run = folder / PARENT
    record = parent_record(run)
    if record is None:
        return []
    parent = parent_config(config)
    opened = open_data(parent.data, "cpu", parent.path)
    return differences(run, record, parent, opened)


def differences(run: Path, record: str, config: RunConfig, opened: Opened) -> list[str]:
    """What a finished run, and the parent it was trained from, differ in from what is asked for now, in words.

    Args:
        run: its folder.
        record: id of its record.
        config: what is asked for, with its seed.
        opened: the data of that.
    """
    stored = json.loads((run / "record" / f"{record}.json").read_text(encoding="utf-8"))
    source = config.train.init_from
    if isinstance(source, dict):
        begins = parent_record(run / PARENT)
        deeper = [f"{PARENT}: {text}" for text in parent_differences(config, run)]
        if begins is None and stored.get("parent"):
            deeper.append(f"{PARENT}: {run / PARENT} is gone, so what it began from ({stored['parent']}) is unknown")
    else:
        begins, deeper = (None if source is None else parent_record(run_of(config))), []
    return record_differences(stored, config, opened, begins) + deeper


def _train_parent(
    config: RunConfig, work_dir: WorkDir, train: Callable[[RunConfig, WorkDir, bool], Any], out: Callable[[str], None]
) -> Path:
    """Train the parent first, in the run's own folder, with the run's seed; an unfinished one is resumed."""
    folder = work_dir.path / PARENT
    if parent_record(folder) is not None:
        changed = parent_differences(config, work_dir.path)
        if changed:
            raise ConfigError(
                f"{folder} holds the run that {config.path} begins from (train.init_from), trained as it was before: "
                f"{listing(changed, 5)}. It is not used. Start a new run (another --work-dir), or remove "
                f"{work_dir.path} to train both again."
            )
        return folder
    parent = parent_config(config)
    out(f"training {parent.path} first (train.init_from)")
    resume = (folder / "last.pth").is_file()
    own = WorkDir(folder, resume=resume, share=work_dir.shared)
    try:
        train(parent, own, resume)
    except ConfigError as error:
        raise ConfigError(
            f"{error} That is the run {config.path} begins from: train.init_from.options changes its settings."
        ) from error
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


def _check_parent(run: Path, protocol: str, where: str) -> None:
    name = parent_record(run)
    if name is None:
        return
    record = json.loads((run / "record" / f"{name}.json").read_text(encoding="utf-8"))
    if record["protocol"]["name"] != protocol:
        raise ConfigError(
            f"{where}: {run} was trained under {record['protocol']['name']}, this run is {protocol}: its test videos "
            "may be training videos here. Train the parent under the same protocol."
        )
