"""The life of a worker process of `local`. What it works with is imported when it begins, not when this module is."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from typing import Any

from wtal_bench import lean


class _Stopped(BaseException):
    """The worker was told to end; nothing that catches errors may catch it."""


def _stopped(number: int, frame: Any) -> None:
    raise _Stopped


def serve(pipe: Any) -> None:
    """The life of a worker: tickets in, lines and reports out, until it is told to stop or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent decides
    signal.signal(signal.SIGTERM, _stopped)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    lock = threading.Lock()

    def say(text: str) -> None:
        with lock, contextlib.suppress(OSError):
            pipe.send(text)

    with contextlib.suppress(_Stopped, EOFError):
        lean.leave_out()  # a worker begins in a fresh interpreter, whatever started it
        from wtal_bench.engines.work import perform

        while (ticket := pipe.recv()) is not None:
            report = perform(ticket, say)
            pipe.send(report)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
