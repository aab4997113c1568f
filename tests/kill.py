"""`kill -9` at random moments of whatever writes; what is left must finish as if nothing had happened.

    python -m tests.kill --n 50
    python -m tests.kill --n 200 --only import add --seed 7

Each scenario runs undisturbed. Then it is killed again and again, every time in a fresh copy of its world: half the
times before one of its own file operations (drawn, every second time from those that rename or remove; none comes twice
before all have come), half the times after a drawn share of the time it takes. Then the same command, or its
`--resume`, is run to the end, and what lies there must equal the undisturbed result to the last bit, with no temporary
file left over.

One process imports torch and the harness and forks every run; it runs no thread, so a fork is whole.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import wtal_bench.running.run
from tests.leaderboard.fabricate import SYNTHETIC, World
from tests.running.conftest import make_dataset, tiny_config
from wtal_bench.cli import main as wtal
from wtal_bench.data.store import FeatureStore

WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "os.truncate", "os.symlink"}
"""Events of the interpreter (sys.addaudithook) that are file operations."""
TURNS = WATCHED - {"open", "os.scandir"}
"""Those that make, move or take away a name: between two of them things may stand half done."""
PATIENCE = 120.0
"""Seconds after which a run counts as hanging."""


@dataclass(frozen=True)
class Scenario:
    """Something that writes.

    Attributes:
        name: what `--only` calls it.
        prepare: makes its world in an empty folder, which is the current one.
        command: -> the command line, run in that folder.
        again: -> the command lines that finish what was killed.
        result: -> what has to be equal, from what lies there.
        check: called right after the kill: what must hold even then.
    """

    name: str
    prepare: Callable[[], None]
    command: Callable[[], list[str]]
    again: Callable[[], list[list[str]]]
    result: Callable[[], Any]
    check: Callable[[], None] = lambda: None


@dataclass
class Outcome:
    """What the kills of one scenario came to."""

    name: str
    kills: int = 0
    early: int = 0
    failures: list[str] = field(default_factory=list)


# ---- processes ----


def fork(argv: Sequence[str], log: Path, die_at: int | None = None, told: Path | None = None) -> int:
    """Start a verb in a child in the current folder.

    Args:
        argv: verb and arguments.
        log: gets what it prints.
        die_at: its file operation, counted from 1, in the current folder, before which it kills itself.
        told: gets how many there were, and which modules it had imported, if it ends well.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        stream = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        operations = _watch(os.getcwd(), die_at)
        status = wtal(list(argv))
        if told is not None:
            told.write_text(json.dumps({"operations": operations(), "modules": sorted(sys.modules)}))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status if isinstance(status, int) else 0)


def _watch(folder: str, die_at: int | None) -> Callable[[], list[str]]:
    done: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in WATCHED or not arguments or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if os.path.abspath(os.fsdecode(arguments[0])).startswith(folder):
            done.append(event)
            if len(done) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: done


def finish(pid: int, log: Path) -> int:
    """Wait for a child; return its status, negative for a signal."""
    started = time.monotonic()
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - started > PATIENCE:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"hangs for {PATIENCE:g} s: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.002)


def run(argv: Sequence[str], log: Path, **options: Any) -> None:
    """Run a verb to its end.

    Raises:
        AssertionError: it fails; the text holds what it printed last.
    """
    status = finish(fork(argv, log, **options), log)
    assert status == 0, f"`{' '.join(argv)}` ends with {status}: {log.read_text(errors='replace')[-800:]}"


# ---- killing ----


def kill(scenario: Scenario, kills: int, seed: int, scratch: Path, say: Callable[[str], None]) -> Outcome:
    """Run a scenario undisturbed, then kill it `kills` times."""
    log = scratch / "log"
    world, reference = scratch / "world", scratch / "reference"
    _enter(world)
    scenario.prepare()
    _enter(reference, world)
    run(scenario.command(), log, told=scratch / "told")
    told = json.loads((scratch / "told").read_text())
    operations, expected = told["operations"], scenario.result()
    moments = _moments(operations, random.Random(f"{seed} {scenario.name}"))
    assert not leftovers(reference), f"{scenario.name}: an undisturbed run leaves {leftovers(reference)}"
    for module in told["modules"]:  # what every run would import anew
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    _enter(scratch / "again", world)
    started = time.monotonic()
    run(scenario.command(), log)
    seconds = time.monotonic() - started
    difference = differs(expected, scenario.result())
    assert not difference, f"{scenario.name}: two undisturbed runs differ: {difference}"
    outcome = Outcome(scenario.name)
    say(f"{scenario.name}: {len(operations)} file operations in {seconds:.1f} s")
    for number in range(kills):
        draw = random.Random(f"{seed} {scenario.name} {number}")
        at = next(moments) if number % 2 == 0 else None
        wait = draw.uniform(0, seconds)
        moment = f"kill {number}, before file operation {at}" if at else f"kill {number}, after {wait:.3f} s"
        try:
            _enter(scratch / "killed", world)
            status = _killed(scenario, log, at, wait)
            outcome.kills += status == -signal.SIGKILL
            outcome.early += status == 0
            assert status in (0, -signal.SIGKILL), f"ends with {status}: {log.read_text(errors='replace')[-500:]}"
            scenario.check()
            for argv in scenario.again():
                run(argv, log)
            difference = differs(expected, scenario.result())
            assert not difference, f"is not what an undisturbed run gives: {difference}"
            assert not leftovers(Path.cwd()), f"leaves {leftovers(Path.cwd())}"
        except Exception as error:
            outcome.failures.append(f"{scenario.name}, {moment}: {error}")
            say(f"FAILED {outcome.failures[-1]}")
    return outcome


def _moments(operations: list[str], draw: random.Random) -> Iterator[int]:
    """File operations to die before, by number: one that turns something and any, in turn; none twice before all."""
    every = list(range(1, len(operations) + 1))
    turns = [number for number, event in zip(every, operations) if event in TURNS]
    decks = [_dealt(turns, draw), _dealt(every, draw)]
    for deck in itertools.cycle(decks):
        yield next(deck)


def _dealt(cards: list[int], draw: random.Random) -> Iterator[int]:
    while True:
        yield from draw.sample(cards, len(cards))


def _killed(scenario: Scenario, log: Path, at: int | None, wait: float) -> int:
    pid = fork(scenario.command(), log, die_at=at)
    if at is None:
        time.sleep(wait)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return finish(pid, log)


def _enter(folder: Path, world: Path | None = None) -> None:
    """Make a folder anew, as a copy of a world where one is given, and go there."""
    os.chdir(folder.parent)
    shutil.rmtree(folder, ignore_errors=True)
    if world is None:
        folder.mkdir(parents=True)
    else:
        shutil.copytree(world, folder, symlinks=True)
    os.chdir(folder)


def leftovers(folder: Path) -> list[str]:
    """Temporary files and folders below a folder, by their names."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob(".*") if p.suffix in (".tmp", ".old"))


def differs(ours: Any, theirs: Any, path: str = "") -> str:
    """Where two results differ, or ""."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return f"{path or 'the result'} has {sorted(map(str, set(ours) ^ set(theirs)))} on one side only"
        found = (differs(ours[key], theirs[key], f"{path}.{key}") for key in ours)
        return next(filter(None, found), "")
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple) and len(ours) == len(theirs):
        return next(filter(None, (differs(a, b, f"{path}[{at}]") for at, (a, b) in enumerate(zip(ours, theirs)))), "")
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        same = ours.dtype == theirs.dtype and torch.equal(ours.nan_to_num(-1.0), theirs.nan_to_num(-1.0))
        return "" if same else f"{path} is another tensor"
    return "" if ours == theirs or (ours != ours and theirs != theirs) else f"{path} is {theirs!r}, not {ours!r}"


def files_of(folder: str | Path) -> dict[str, str]:
    """Every file below a folder with the hash of its bytes; locks are none."""
    root = Path(folder)
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# ---- what is killed ----

LASTING = ("metrics", "detections", "config_hash", "components", "features", "annotations", "seed", "selection")
"""Keys of a record that do not say when and how long it ran."""


def run_result(folder: str | Path) -> dict[str, Any]:
    """The last checkpoint, whole, and the record without dates and costs."""
    root = Path(folder)
    records = sorted((root / "record").glob("*.json"))
    assert len(records) == 1, f"{folder} has {len(records)} records"
    record = json.loads(records[0].read_text())
    detections = files_of(root / "record").get(record["detections"]["file"])
    kept = {key: record.get(key) for key in LASTING} | {"detections on disk": detections}
    return {"checkpoint": torch.load(root / "last.pth", weights_only=True), "record": kept}


def train_again() -> list[list[str]]:
    """What a user types after a crash."""
    resume = ["--resume"] if Path("run/config.json").is_file() else []
    return [["train", "config.json", "--work-dir", "run", *resume]]


def training(name: str, tree: Callable[[str], dict], data: Path) -> Scenario:
    """A training run of a config tree."""

    def prepare() -> None:
        Path("config.json").write_text(json.dumps(tree(str(data))))

    command = ["train", "config.json", "--work-dir", "run"]
    return Scenario(name, prepare, lambda: command, train_again, lambda: run_result("run"))


def ecm_tree(root: str) -> dict[str, Any]:
    """Four epochs of a small ECM with dropout, a checkpoint after each."""
    return tiny_config(Path(root), epochs=4)


def labels_tree(root: str) -> dict[str, Any]:
    """GauFuse's pseudo labels on that ECM, made anew before every epoch but the first."""
    tree = tiny_config(Path(root), epochs=4)
    decoder = dict(num_classes=5, class_threshold=0.1, curve=dict(field="cas", activation="sigmoid"))
    decoder |= dict(thresholds=dict(linspace=(0.3, 0.7, 5)))
    generations, schedule = [1, 2, 3], [(1, "absolute", 1.0), (2, "delta", 2.0)]
    labels = dict(type="gaufuse.PseudoLabels", num_columns=5, decoder=decoder)
    tree["model"]["heads"]["labels"] = labels | dict(generations=generations, schedule=schedule)
    tree["model"]["losses"]["pseudo"] = dict(type="gaufuse.PseudoLabelLoss", form="softmax_with_zero", weight=0.5)
    tree["model"]["postprocessor"] = dict(type="gaufuse.FusedDecoder", decoder=decoder)
    return tree


def checkpoint_tree(root: str) -> dict[str, Any]:
    """A model whose checkpoints take longer than its epochs, written after each, the best one too."""
    tree = tiny_config(Path(root), epochs=5, selection="val_holdout", holdout=0.25, val_interval=1)
    tree["model"]["backbone"]["channels"] = 256
    for head in tree["model"]["heads"].values():
        head |= {"channels": 256} if "channels" in head else {}
    return tree


IMPORT = [
    "import-features",
    "npy",
    "--out",
    "store",
    "--extractor",
    "x",
    "--fps",
    "25",
    "--stride",
    "16",
    "--name",
    "n",
]


def importing(data: Path) -> Scenario:
    """`import-features --overwrite` onto a store that is there."""

    def prepare() -> None:
        for value in (1.0, 2.0):
            shutil.rmtree("npy", ignore_errors=True)
            Path("npy").mkdir()
            for at in range(6):
                np.save(f"npy/v{at}.npy", np.full((40 + at, 64), value, dtype=np.float32))
            if value == 1.0:
                run(IMPORT, Path.cwd().parent / "log")

    def check() -> None:
        store = FeatureStore.open("store")
        store.verify()
        assert float(store.video(0)[0, 0]) in (1.0, 2.0)

    command = [*IMPORT, "--overwrite"]
    return Scenario("import", prepare, lambda: command, lambda: [command], lambda: files_of("store"), check)


def board(*words: str) -> list[str]:
    """A leaderboard command."""
    return ["leaderboard", *words, "--folder", "board", "--annotations", "world/annotations.json"]


def adding(data: Path, replace: bool) -> Scenario:
    """`leaderboard add` of a row, or of one that takes another's place."""

    def prepare() -> None:
        world = World(Path("world"), SYNTHETIC)
        Path("board/records").mkdir(parents=True)
        run(board("add", str(world.write(Path("first"), seed=0))), Path.cwd().parent / "log")
        world.write(Path("second"), seed=0 if replace else 1, noise=0.5)

    def command() -> list[str]:
        (row,) = Path("second").glob("*.json")
        return board("add", str(row), *(["--replace"] if replace else []))

    def again() -> list[list[str]]:
        # a row that is filed already is refused: then only the tables may be missing; hidden folders do not count
        (row,) = Path("second").glob("*.json")
        found = Path("board/records").rglob(row.name)
        filed = not all(any(part.startswith(".") for part in path.parts) for path in found)
        return [command()] if replace or not filed else [board("build")]

    def result() -> dict[str, str]:
        run(board("--check", "--verify"), Path.cwd().parent / "log")
        return files_of("board")

    return Scenario("add --replace" if replace else "add", prepare, command, again, result)


ROWS = """
method: ecm
base: config.json
rows:
  - name: one
  - name: two
    options: {train.lr: 0.01}
"""


def sweeping(data: Path) -> Scenario:
    """A sweep over two rows; called again it goes on."""

    def prepare() -> None:
        Path("config.json").write_text(json.dumps(tiny_config(data, epochs=2)))
        Path("rows.yaml").write_text(ROWS)

    command = ["sweep", "rows.yaml", "--work-dir", "runs"]

    def result() -> dict[str, Any]:
        return {name: run_result(f"runs/rows/{name}/seed0") for name in ("one", "two")}

    return Scenario("sweep", prepare, lambda: command, lambda: [command], result)


def scenarios(data: Path) -> dict[str, Callable[[], Scenario]]:
    """Every scenario by name."""
    return {
        "train": functools.partial(training, "train", ecm_tree, data),
        "labels": functools.partial(training, "labels", labels_tree, data),
        "checkpoint": functools.partial(training, "checkpoint", checkpoint_tree, data),
        "import": functools.partial(importing, data),
        "add": functools.partial(adding, data, False),
        "add --replace": functools.partial(adding, data, True),
        "sweep": functools.partial(sweeping, data),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Kill; return 1 if anything did not come back."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=10, help="kills a scenario (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these scenarios only")
    parser.add_argument(
        "--pictures", action="store_true", help="let runs draw their picture, three quarters of such a small one's time"
    )
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if not args.pictures:
        wtal_bench.running.run.draw_example = lambda session, path: None
    failed = 0
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        os.environ["WTAL_CACHE"] = str(root / "cache")
        known = scenarios(make_dataset(root / "data", videos=6))
        for name in args.only or known:
            if name not in known:
                parser.error(f"no scenario {name!r}: {', '.join(known)}")
            (root / name).mkdir()
            started = time.monotonic()
            outcome = kill(known[name](), args.n, args.seed, root / name, functools.partial(print, flush=True))
            os.chdir(here)
            failed += len(outcome.failures)
            took = time.monotonic() - started
            print(
                f"{name}: {outcome.kills} killed, {outcome.early} ended before, {args.n - len(outcome.failures)} of "
                f"{args.n} finished bit-equal, {took:.0f} s",
                flush=True,
            )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
