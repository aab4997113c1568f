"""What a worker of any engine does with one run, on whichever machine it is."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import platform
import socket
import sys
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wtal_bench.engines.job import Job
from wtal_bench.errors import WtalError
from wtal_bench.files import digest, write_text
from wtal_bench.running.checkouts import hash_everything
from wtal_bench.running.provenance import environment
from wtal_bench.running.workdir import BusyError

DONE, BUSY, FAILED = "done", "busy", "failed"

TOKEN = ".sweep-token"
"""Begins the name of a file by which workers show that they see the folder of the runs."""


@dataclass(frozen=True)
class Ticket:
    """A run for a worker elsewhere.

    Attributes:
        run: what to make.
        folder: the working folder that its relative paths are read in.
        threads: torch's, which the bits of a result depend on.
        code: hash of the code of who sends it (`code_hash`); "" is not compared.
        token: a file only the sender's machines see, or None.
    """

    run: Job
    folder: Path
    threads: int
    code: str = ""
    token: Path | None = None


@dataclass(frozen=True)
class Report:
    """What a worker says when it is through.

    Attributes:
        state: "done", "busy" (another process is in the folder) or "failed".
        text: why, unless it is done.
        result: what the run's `make` returned.
    """

    state: str
    text: str = ""
    result: Any = None


def perform(ticket: Ticket, say: Callable[[str], None]) -> Report:
    """Make one run; whatever goes wrong is a report, for others go on. Signals end the process as always."""
    import torch

    try:
        os.chdir(ticket.folder)
        refuse_other(ticket.code, ticket.token)
        torch.set_num_threads(ticket.threads)
        with contextlib.redirect_stdout(_Lines(say)):
            return Report(DONE, result=ticket.run.make(say))
    except BusyError as error:
        return Report(BUSY, str(error))
    except WtalError as error:
        return Report(FAILED, str(error))
    except OSError as error:
        return Report(FAILED, _refused(error))
    except MemoryError:
        return Report(FAILED, "there is not enough memory for this: fewer runs side by side (--jobs) need less.")
    except Exception as error:
        faults = sys.modules.get("wtal_bench.modeling.faults")  # there, if a model was made
        told = faults.fault(error) if faults else ""
        if told:
            return Report(FAILED, told)
        return Report(FAILED, f"a bug of the harness, not of your input:\n{traceback.format_exc()}")


def _refused(error: OSError) -> str:
    what = "cannot write" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) else "cannot use"
    name = error.filename or "a file of the run"
    return (
        f"{socket.gethostname()}: {what} {name}: {error.strerror or error}. Make room and give the same command again: "
        "the run goes on from its last checkpoint."
    )


def in_short(error: Exception) -> str:
    """The first line of what a cluster's own error says, which may fill pages."""
    return str(error).strip().partition("\n")[0][:300]


class _Lines(io.TextIOBase):
    """A stream that hands on whole lines."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self._begun = say, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self.say(line)
        return len(text)


# ---- the same code and the same folder elsewhere ----


def code_hash() -> str:
    """SHA-256 (hex) over what decides the bits of a result: sources, plugins' included, Python and packages."""
    import torch

    packages = environment(torch.device("cpu"))["packages"]
    return digest([hash_everything(), platform.python_version_tuple()[:2], packages])


def refuse_other(code: str, token: Path | None) -> None:
    """Refuse to work with other code than the sender's, or without seeing its folder.

    Raises:
        WtalError: the text names this machine.
    """
    host = socket.gethostname()
    if token is not None and not token.is_file():
        raise WtalError(
            f"worker {host} does not see {token.parent}: runs, data and code must lie in a folder that all machines "
            "share. Name one with --work-dir."
        )
    if code and code != (own := code_hash()):
        raise WtalError(
            f"worker {host} runs other code (hash {own[:12]}) than this machine (hash {code[:12]}): numbers of two "
            "versions are not those of one table. Install the same version of wtal-bench, its plugins, Python, torch "
            "and numpy there."
        )


@contextlib.contextmanager
def token_in(folder: Path) -> Iterator[Path]:
    """A file in the folder of the runs, gone afterwards."""
    path = folder / f"{TOKEN}-{uuid.uuid4().hex[:12]}"
    write_text(path, f"{socket.gethostname()}\n")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
