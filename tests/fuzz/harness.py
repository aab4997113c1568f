"""Running one mutated input and judging the answer."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import stranger
from tests.fuzz.corpus import Corpus
from tests.fuzz.readers import READERS
from wtal_bench import protocols
from wtal_bench.cli import BUG, main

SECONDS = 30
"""How long one input may take; the slowest sound one takes about two."""

GROWTH = 1 << 30
"""Bytes by which one input may raise the memory of the process."""


class TooSlow(BaseException):
    """Raised by the clock in the middle of whatever hangs."""


@dataclass(frozen=True)
class Failure:
    """An input that was not answered as it should be.

    Attributes:
        reader, number: which input.
        signature: what went wrong and where, alike for alike failures.
        command: the words of the command line.
        said: what was printed.
    """

    reader: str
    number: int
    signature: str
    command: list[str]
    said: str


def run_case(
    number: int, seed: int, corpus: Corpus, only: str | None = None, keep: Path | None = None
) -> Failure | None:
    """Make input `number` of a seed, run its commands, and say what is wrong with the answer, if anything is.

    Args:
        number, seed: which input; the same give the same.
        corpus: what is mutated.
        only: one reader; None takes them in turn.
        keep: folder for the inputs of failures.
    """
    names = list(READERS)
    name = only or names[number % len(names)]
    rng = random.Random(f"{seed} {number} {name}")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, _inside(Path(folder)):
        for command in READERS[name](rng, corpus, Path(folder)):
            before = set(_files(Path(folder)))
            signature, said = answer(command)
            signature = signature or left_behind(Path(folder), before)
            if signature:
                if keep is not None:
                    with contextlib.suppress(shutil.Error, OSError):
                        shutil.copytree(folder, keep / f"{name}-{number}", symlinks=True, dirs_exist_ok=True)
                return Failure(name, number, signature, command, said)
    return None


def answer(command: list[str]) -> tuple[str, str]:
    """Run a command in this process: (what is wrong with its answer, or "", and what it said)."""
    said, peak, began = io.StringIO(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), _clock():
            status = main([*command, "--traceback"])
    except SystemExit as left:
        status = left.code if left.code == 2 else f"{left.code} by SystemExit"
    except TooSlow as error:
        traceback.print_exc(file=said)
        return f"hangs@{_place(error)}", said.getvalue()
    except BaseException as error:
        traceback.print_exc(file=said)
        return f"{type(error).__name__}@{_place(error)}", said.getvalue()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
    text = said.getvalue()
    if status == BUG:
        frames = re.findall(r'File "(.*?)", line (\d+)', text)
        own = [frame for frame in frames if "wtal_bench" in frame[0] or "wtal_plugins" in frame[0]] or frames
        path, line = own[-1] if own else ("nowhere", 0)
        return f"the net: {text.strip().splitlines()[-1][:60]} @{os.path.basename(path)}:{line}", text
    if status not in (0, 1, 2):
        return f"exit status {status}", text
    if status == 2 and not text.strip():
        return "says nothing", text
    if grown > GROWTH:
        return f"takes {grown >> 20} MiB", text
    return (f"takes {time.monotonic() - began:.0f} s" if time.monotonic() - began > SECONDS else ""), text


def left_behind(folder: Path, before: set[Path]) -> str:
    """What a command left that it should not have: a temporary, or half a file."""
    new = [path for path in _files(folder) if path not in before]
    hidden = [path for path in new if re.match(r"\.[^/]*\.[0-9a-z_]{8,}", path.name)]
    if hidden:
        return f"leaves a temporary ({hidden[0].name[:12]})"
    empty = [
        path for path in new if path.suffix in (".json", ".gz", ".npy") and path.is_file() and not path.stat().st_size
    ]
    return f"leaves an empty {empty[0].suffix}" if empty else ""


def _files(folder: Path) -> list[Path]:
    return [Path(root) / name for root, folders, files in os.walk(folder) for name in (*folders, *files)]


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/wtal_bench/" in frame.filename or "/plugins/" in frame.filename] or frames
    return f"{os.path.basename(own[-1].filename)}:{own[-1].lineno}"


@contextlib.contextmanager
def _clock() -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Work in a folder, with a stranger's protocol among the known ones."""
    here, infos = Path.cwd(), protocols.protocol_infos
    os.chdir(folder)
    protocols.protocol_infos = lambda: [*infos(), stranger.INFO]
    protocols._stranger.cache_clear()
    try:
        yield
    finally:
        os.chdir(here)
        protocols.protocol_infos = infos
