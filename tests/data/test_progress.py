"""Progress: every item comes through once, and lines say how far the work is when there is no terminal."""

from __future__ import annotations

import io

from wtal_bench.data import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines_come_now_and_then_with_the_time_left(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 11.0, 12.0, 22.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert list(progress.track(iter("abcd"), 4, "counting")) == list("abcd")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["counting: 1 of 4, about 33 s left", "counting: 3 of 4, about 7 s left"]


def test_quick_work_prints_nothing(capsys):
    assert list(progress.track(range(3), 3, "counting")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    assert list(progress.track(range(3), 3, "counting")) == [0, 1, 2]
    assert "counting" in terminal.getvalue()
