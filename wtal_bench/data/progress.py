"""Showing how far long work is: a bar with the time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[Item], total: int, text: str) -> Iterator[Item]:
    """Yield the items while showing progress on standard error.

    Args:
        items: what is worked on; the work happens between two items.
        total: how many there are.
        text: what is being done, e.g. "checking features".
    """
    return _bar(items, total, text) if sys.stderr.isatty() else _lines(items, total, text)


def _bar(items: Iterable[Item], total: int, text: str) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, text, total=total, console=Console(stderr=True), transient=True)


def _lines(items: Iterable[Item], total: int, text: str) -> Iterator[Item]:
    started = shown = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - shown >= _SECONDS_BETWEEN_LINES:
            shown = now
            left = (now - started) / max(done, 1) * (total - done)
            print(f"{text}: {done} of {total}, about {left:.0f} s left", file=sys.stderr, flush=True)
        yield item
