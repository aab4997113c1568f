"""What an engine executes: anything that any process can do alone, as plain data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol


class Job(Protocol):
    """A piece of work that is sent to whichever process makes it; two that do the same share what lies on disk.

    `wtal_bench.running.plan.Planned` is a run to train.

    Attributes:
        folder: tells it from all others, and lies in the folder that every worker must see.
        start: folder of the job that has to be done before this one begins, or None.
        label: its name among others: "full/seed0".
        done: whether it need not be made: `read` tells what it left.
        refused: why it must not begin, in words; "" if it may.
        goes_on: what a new attempt does after its process died, in words: "goes on from its last checkpoint".
    """

    @property
    def folder(self) -> Path: ...

    @property
    def start(self) -> Path | None: ...

    @property
    def label(self) -> str: ...

    @property
    def done(self) -> bool: ...

    @property
    def refused(self) -> str: ...

    @property
    def goes_on(self) -> str: ...

    def joined(self) -> Job:
        """The same, which goes on with whatever of it lies on disk when it begins."""
        ...

    def make(self, out: Callable[[str], None]) -> Any:
        """Do it.

        Args:
            out: takes lines.

        Returns:
            What it left, small enough to send home.

        Raises:
            BusyError: another process is at it.
            WtalError: it cannot be done.
        """
        ...

    def read(self) -> Any:
        """What `make` would return, of one that is done."""
        ...


__all__ = ["Job"]
