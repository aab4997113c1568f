"""What runs side by side are doing: one live table on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

BETWEEN = 10.0
"""Seconds between two lines of how far the whole is, where there is no terminal."""
SHOWN = 30
"""Lines of the table at most: those that are at work, and as many of the others as there is room for."""


class Board:
    """Shows runs.

    Args:
        out: writes a line, where there is no terminal or a line is to stay.
        live: a table that is redrawn; None: if standard error is a terminal.

    Attributes:
        headline: says how far the whole is, or None.
    """

    def __init__(self, out: Callable[[str], None] = print, live: bool | None = None) -> None:
        self.out = out
        self.live = sys.stderr.isatty() if live is None else live
        self._rows: dict[str, list[Any]] = {}
        self._shown: Any = None
        self.headline: Callable[[], str] | None = None
        self._told = (time.monotonic(), "")

    def __enter__(self) -> Board:
        if self.live:
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)
            self._shown = Live(console=console, get_renderable=self._table, refresh_per_second=2, transient=True)
            self._shown.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._shown is not None:
            self._shown.stop()
            self._shown = None

    def note(self, text: str) -> None:
        """A line that stays."""
        if self._shown is None:
            self.out(text)
        else:
            self._shown.console.print(text, markup=False, highlight=False)

    def tick(self) -> None:
        """Say how far the whole is, now and then, where nothing is redrawn: engines call it while they wait."""
        told, before = self._told
        if self.live or self.headline is None or time.monotonic() - told < BETWEEN:
            return
        self._told = (time.monotonic(), self.headline())
        if self._told[1] != before:
            self.out(self._told[1])

    def begin(self, name: str, who: str) -> None:
        """A run begins."""
        self._rows.pop(name, None)
        self._rows[name] = [who, "begins", time.monotonic(), None]
        if not self.live:
            self.out(f"{name}: begins ({who})")

    def say(self, name: str, text: str) -> None:
        """A run says something."""
        if name in self._rows and text.strip():
            self._rows[name][1] = text
        if not self.live:
            self.out(f"{name}: {text}")

    def end(self, name: str, how: str) -> None:
        """A run is over, for now."""
        if name in self._rows:
            self._rows[name][1] = how
            self._rows[name][3] = time.monotonic()
        if not self.live:
            self.out(f"{name}: {how}")

    def _table(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table("run", "where", "seconds", "says", expand=True)
        for column in table.columns:
            column.no_wrap = True
        working = [name for name, row in self._rows.items() if row[3] is None]
        others = [name for name in self._rows if name not in working]
        for name in [*others[-max(0, SHOWN - len(working)) :], *working][-SHOWN:]:
            who, text, began, ended = self._rows[name]
            seconds = (ended or time.monotonic()) - began
            # as texts: square brackets are markup otherwise
            table.add_row(Text(name), Text(who), f"{seconds:.0f}", Text(text), style="dim" if ended else "")
        return Group(table, Text(self.headline())) if self.headline is not None else table
