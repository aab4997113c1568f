"""Runs as a plan: which are there, which are to be made, each one something that any process can do alone.

`plan_seeds` says what a config with some seeds needs, and looks at what lies in the folders; `refuse_changed` stops
before anything trains on top of old results; `execute` does one run. A plan's runs are plain data: they can be sent to
another process, and those that others begin from (`start`) stand before them.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from wtal_bench.errors import ConfigError, WtalError, listing
from wtal_bench.files import digest
from wtal_bench.running.checkpoint import read_checkpoint
from wtal_bench.running.datasets import Opened, open_data
from wtal_bench.running.parents import (
    PARENT,
    differences,
    parent_config,
    parent_differences,
    parent_record,
    run_of,
)
from wtal_bench.running.resuming import HARMLESS, made_from, moved, refuse_shorter, shown_changes
from wtal_bench.running.run import Result, score_checkpoint, train
from wtal_bench.running.settings import RunConfig
from wtal_bench.running.workdir import CONFIG, MAY_CHANGE, WorkDir
from wtal_bench.temporary import temporary_for

NEW, BEGUN, DONE = "new", "begun", "done"
REPLACED = "replaced"
"""Where, beside a run's folder, runs go that were replaced."""


@dataclass(frozen=True)
class Planned:
    """One run.

    Attributes:
        config: with its seed.
        folder: where it lies, or will.
        state: "new", "begun" (it has a checkpoint) or "done" (it has a record).
        changed: what it differs in from the run asked for, in words; such a run is no result of this config.
        resume: go on with the run in the folder, which has begun; without it one that has is refused.
        start: folder of the run of the same plan whose weights it begins from, or None.
        scores: it trains nothing: what `start` has trained is what it would train, and is scored as its config decodes.
        joins: whether it goes on with whatever of it another process has left in the folder meanwhile.
    """

    config: RunConfig
    folder: Path
    state: str = NEW
    changed: tuple[str, ...] = ()
    resume: bool = False
    start: Path | None = None
    scores: bool = False
    joins: bool = False

    goes_on: ClassVar[str] = "goes on from its last checkpoint"

    @property
    def label(self) -> str:
        """Its name among others: "full/seed0"."""
        return "/".join(self.folder.parts[-2:])

    @property
    def done(self) -> bool:
        """Whether it is read, not made."""
        return self.state == DONE and self.resume and not self.changed

    @property
    def refused(self) -> str:
        """Why it must not begin, in words; "" if it may."""
        holds = self.state != NEW and not self.resume
        return f"{self.folder} already holds a run: add --resume to continue it." if holds else ""

    def joined(self) -> Planned:
        """The same run, which goes on with whatever of it lies in its folder when it begins."""
        return replace(self, joins=True)

    def make(self, out: Callable[[str], None] = print) -> Result | None:
        """`execute` it as it lies by then."""
        return execute(as_it_lies(self), out)

    def read(self) -> Result:
        """What it left, of one that is done."""
        return read_result(self.folder)


def refuse_twice(seeds: Sequence[int]) -> None:
    """Refuse a seed that stands there twice.

    Raises:
        ConfigError: naming it.
    """
    twice = sorted({seed for seed in seeds if list(seeds).count(seed) > 1})
    if twice:
        raise ConfigError(f"seed {listing(map(str, twice))} stands twice among the seeds; name each once.")


def plan_seeds(
    config: RunConfig,
    seeds: Sequence[int],
    folder: Callable[[int], Path],
    *,
    resume: bool = True,
) -> list[Planned]:
    """One run a seed.

    Args:
        config: of any seed.
        seeds: each once.
        folder: seed -> where its run lies.
        resume: go on with runs that have begun.

    Raises:
        ConfigError: a seed stands there twice, for a run that counts twice makes the spread too small.
        WtalError: the data cannot be opened.
    """
    refuse_twice(seeds)
    opened: list[Opened] = []

    def data() -> Opened:
        """Opened once, and only where there is something to compare with."""
        if not opened:
            opened.append(open_data(config.data, "cpu", config.path))
        return opened[0]

    runs = []
    for seed in seeds:
        seeded = copy.deepcopy(config)
        seeded.runtime.seed = seed
        place = folder(seed)
        state, changed = _look(seeded, place, data)
        begun = state != NEW or (place / CONFIG).is_file()
        runs.append(Planned(seeded, place, state, changed, resume and begun, joins=resume))
    return runs


def execute(run: Planned, out: Callable[[str], None] = print) -> Result | None:
    """Make one run, or read the one that is done. In a distributed run every process calls it.

    Returns:
        What the run left; None in a process of a distributed run that is not the first.

    Raises:
        WtalError: it has changed (see `refuse_changed`), or whatever `train` refuses.
    """
    first = int(os.environ.get("RANK", 0)) == 0
    if run.done:
        out(f"{run.folder} is done: read, not trained again")
        return run.read() if first else None
    if run.scores:
        if run.start is not None and _trained_alike(run.config, run.start):
            return _score(run, run.start, out)
        out(f"{run.start} has no such weights any more: {run.label} is trained itself")
        run = replace(run, start=None, scores=False)
    work_dir = WorkDir(run.folder, resume=run.resume, share=not first)
    try:
        if run.start is not None and _has_weights(run.start):
            _keep(run.start, run.folder / PARENT)
        return train(run.config, work_dir, resume=run.resume and work_dir.checkpoint.is_file(), out=out)
    finally:
        work_dir.release()


def _score(run: Planned, trained: Path, out: Callable[[str], None]) -> Result:
    """Score what another run has trained; the folder then holds what training it again would leave."""
    out(f"{run.label}: its training is that of {'/'.join(trained.parts[-2:])}, whose weights are scored")
    work_dir = WorkDir(run.folder, resume=run.resume)
    try:
        if (trained / PARENT).exists():
            _keep(trained / PARENT, run.folder / PARENT)
        result = score_checkpoint(
            run.config, trained / "last.pth", run.folder, out, trained=read_result(trained).record
        )
        _keep(trained / "last.pth", work_dir.checkpoint)
        return result
    finally:
        work_dir.release()


def as_it_lies(run: Planned) -> Planned:
    """A planned run as its folder is now: somebody may have begun or finished it since it was planned.

    One that does not join others' work comes back as it was planned.

    Raises:
        WtalError: the data cannot be opened.
    """
    if not run.joins or run.state == DONE:
        return run
    state, changed = _look(run.config, run.folder, lambda: open_data(run.config.data, "cpu", run.config.path))
    begun = state != NEW or (run.folder / CONFIG).is_file()
    return replace(run, state=state, changed=changed, resume=begun)


def refuse_changed(runs: Iterable[Planned]) -> None:
    """Stop where a folder holds the run of another config, seed or data than is asked for.

    Raises:
        ConfigError: naming every such run and what it differs in.
    """
    stale = [run for run in runs if run.changed]
    if stale:
        lines = [f"  {run.folder} ({run.state}): {listing(run.changed, 5)}" for run in stale]
        raise ConfigError(
            "these runs are not those that are asked for now, and are not passed off as them:\n"
            + "\n".join(lines)
            + "\nTrain them again with --again (the old ones are moved beside them), or choose another --work-dir."
        )


def set_aside(run: Planned) -> Planned:
    """Move a run that has changed to `replaced/` beside its folder; return the new run that takes its place.

    Raises:
        WtalError: another process is in the folder, or it cannot be moved.
    """
    places = (run.folder.parent / REPLACED / f"{run.folder.name}-{count}" for count in range(1, 10**6))
    place = next(place for place in places if not place.exists())
    there = [run.folder / name for name in (CONFIG, "last.pth")]
    lock = WorkDir(run.folder, resume=any(path.is_file() for path in there))  # nobody else is in it
    try:
        place.parent.mkdir(exist_ok=True)
        run.folder.rename(place)
    except OSError as error:
        raise WtalError(f"cannot move {run.folder} to {place}: {error.strerror}.") from error
    finally:
        lock.release()
    return Planned(run.config, run.folder, start=run.start, scores=run.scores, joins=run.joins)


def share_training(runs: Iterable[Planned]) -> list[Planned]:
    """Let runs that are to be made and differ in nothing but how they decode score the weights of the first of them.

    A checkpoint that is picked by its scores hangs on the decoder, and so may hooks: such runs train each for itself.
    """
    found: list[Planned] = []
    trained: dict[str, Path] = {}
    for run in runs:
        train = run.config.train
        if train.selection == "last" and train.val_interval is None and not run.config.runtime.hooks:
            first = trained.setdefault(_training(run.config), run.folder)
            if first != run.folder and (run.state == NEW or run.changed):
                run = replace(run, start=first, scores=True)
        found.append(run)
    return found


def share_parents(runs: Iterable[Planned], folder: Path) -> tuple[list[Planned], list[Planned]]:
    """Train what several runs that are to be made begin from (`train.init_from`) once a seed, not once a run.

    A run that stands before them in the plan is taken, where it is what they begin from; else one is added.

    Args:
        runs: of a plan.
        folder: in which the runs that are added lie, each recipe in one of its own.

    Returns:
        Those runs, and the given ones, told which of them they begin from.

    Raises:
        WtalError: a recipe that `train.init_from` names cannot be read, or its data cannot be opened.
    """
    found: list[Planned] = []
    before: dict[tuple[str, int], Path] = {}
    alike: dict[str, dict[Path, RunConfig]] = {}
    for run in runs:
        if _trains_parent(run):
            parent = parent_config(run.config)
            key = _hash_of(parent)
            if (key, parent.runtime.seed) in before:
                run = replace(run, start=before[key, parent.runtime.seed])
            else:
                alike.setdefault(key, {})[run.folder] = parent
        if not run.scores:
            before.setdefault((_hash_of(run.config), run.config.runtime.seed), run.folder)
        found.append(run)
    places: dict[Path, list[Planned]] = {}
    for group in alike.values():
        parent = next(iter(group.values()))
        place = folder / f"{PARENT}_{Path(parent.path).stem}-{_hash_of(parent, rooted=False)[:8]}"
        places.setdefault(place, _firsts(group, place))  # of the same recipe on two folders of data, the first
    added = [first for firsts in places.values() for first in firsts]
    at = {(_hash_of(first.config), first.config.runtime.seed): first.folder for first in added}
    begins = {run: at.get((key, parent.runtime.seed)) for key, group in alike.items() for run, parent in group.items()}
    return added, [replace(run, start=begins.get(run.folder) or run.start) for run in found]


def _firsts(group: Mapping[Path, RunConfig], place: Path) -> list[Planned]:
    """What runs begin from, for the seeds that several of them have, or that are there from before."""
    parents = list(group.values())
    seeds = [parent.runtime.seed for parent in parents]
    seeds = [seed for seed in dict.fromkeys(seeds) if seeds.count(seed) > 1 or (place / f"seed{seed}").exists()]
    return plan_seeds(parents[0], seeds, lambda seed: place / f"seed{seed}")


def _trains_parent(run: Planned) -> bool:
    """Whether a run is to be made that would train what it begins from first, of which nothing is there."""
    made = run.state != NEW and not run.changed
    there = (run.folder / PARENT).exists() and not run.changed
    return isinstance(run.config.train.init_from, dict) and run.start is None and not made and not there


def _hash_of(config: RunConfig, *, rooted: bool = True) -> str:
    """A hash of what two runs of one seed have in common that are the same run.

    Args:
        config: of one.
        rooted: where its data lie counts: other folders may hold other features. Without it, as for a finished run,
            data may have moved.
    """
    left_out = {*HARMLESS, "runtime.seed"} - ({"data.root"} if rooted else set())
    return digest({section: _without(value, section, left_out) for section, value in config.resolved().items()})


def _without(value: Any, key: str, left_out: Collection[str]) -> Any:
    if not isinstance(value, dict):
        return value
    parts = {name: f"{key}.{name}" for name in value}
    return {name: _without(value[name], part, left_out) for name, part in parts.items() if part not in left_out}


def _training(config: RunConfig) -> str:
    """A hash of all that the trained weights depend on, and of where they are tested."""
    return digest(_but_decoding(config.resolved()))


def _but_decoding(tree: Mapping[str, Any]) -> dict[str, Any]:
    model = {key: value for key, value in tree["model"].items() if key != "postprocessor"}
    return {**tree, "model": model, "variant": None}


def _trained_alike(config: RunConfig, run: Path) -> bool:
    """Whether the weights in a run's folder are there, and what the config would train."""
    if not ((run / "last.pth").is_file() and (run / CONFIG).is_file()):
        return False
    before = json.loads((run / CONFIG).read_text(encoding="utf-8"))
    return not shown_changes(_but_decoding(before), _but_decoding(config.resolved()), HARMLESS)


def _look(config: RunConfig, folder: Path, data: Callable[[], Opened]) -> tuple[str, tuple[str, ...]]:
    """What lies in a run's folder, and what it differs in from the run asked for."""
    record = parent_record(folder)
    if record is not None:
        return DONE, tuple(differences(folder, record, config, data()))
    checkpoint = folder / "last.pth"
    if checkpoint.is_file() and (folder / CONFIG).is_file():
        return BEGUN, tuple(_since_begun(config, folder, checkpoint, data()))
    return NEW, tuple(_of_parent(config, folder))


def _of_parent(config: RunConfig, folder: Path) -> list[str]:
    """What the finished parent in a run's folder differs in from the one its config names now."""
    if not isinstance(config.train.init_from, dict):
        return []
    return [f"{PARENT}: {text}" for text in parent_differences(config, folder)]


def _since_begun(config: RunConfig, folder: Path, checkpoint: Path, opened: Opened) -> list[str]:
    """What has changed since an unfinished run began: what resuming it would be refused for."""
    before = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    found = shown_changes(before, config.resolved(), MAY_CHANGE)
    meta = read_checkpoint(checkpoint).get("meta") or {}
    source = config.train.init_from
    parent = None
    if isinstance(source, dict):
        parent = parent_record(folder / PARENT)
    elif source is not None:
        parent = parent_record(run_of(config))
    found += moved(meta.get("made_from") or {}, made_from(config, opened, parent)) + _of_parent(config, folder)
    try:
        refuse_shorter(checkpoint, meta, config)
    except WtalError as error:
        found.append(str(error))
    return found


def read_result(folder: Path) -> Result:
    """What a finished run left in its folder."""
    path = folder / "record" / f"{parent_record(folder)}.json"
    return Result(path, json.loads(path.read_text(encoding="utf-8")), folder)


def _keep(there: Path, here: Path) -> None:
    """Let a run have what lies in another's folder, as its own: that one may be moved, replaced or removed.

    Weights are linked, where the file system can: whoever writes a checkpoint writes a new file.
    """
    if here.exists():
        return
    if here.is_symlink():  # to what is no more
        here.unlink()
    hidden = shutil.ignore_patterns(".*")  # locks
    with temporary_for(here, folder=there.is_dir()) as staged:
        if there.is_dir():
            shutil.copytree(there, staged, copy_function=_linked, ignore=hidden, dirs_exist_ok=True)
        else:
            staged.unlink()
            _linked(there, staged)
        staged.rename(here)


def _linked(there: str | Path, here: str | Path) -> None:
    if Path(there).suffix == ".pth":
        with contextlib.suppress(OSError):
            os.link(Path(there).resolve(), here)  # of a link some systems would link the link
            return
    shutil.copy2(there, here)


def _has_weights(run: Path) -> bool:
    return any((run / name).is_file() for name in ("last.pth", "best.pth"))
