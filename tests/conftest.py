"""Slow tests come first. A test given a golden file reads it: one missing fails the test, as does one left closed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import FOLDERS, Absent

_opened: set[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _opened is not None and isinstance(arguments[0], str):
        _opened.add(arguments[0])


# the interpreter's own record of what is opened: no reader, of whatever library, can pass it by or forget to report
sys.addaudithook(_watch)


def given(item: pytest.Item) -> list[Any]:
    """The values a test is parametrised with."""
    return list(item.callspec.params.values()) if hasattr(item, "callspec") else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first: begun last, one keeps a worker busy while the others have nothing left to do."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n` alone, a worker that has nothing left takes tests from the others; `--dist` still chooses another way.

    Not an option in pyproject.toml: where pytest-xdist is missing, pytest would know no such option, and not start.
    """
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail in words where a golden file should be and is not."""
    for value in given(item):
        if isinstance(value, Absent):
            pytest.fail(value.reason, pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that passes without having opened the golden files it stands for."""
    global _opened
    golden = [v for v in given(item) if isinstance(v, Path) and any(root in v.parents for root in FOLDERS)]
    if not golden:
        return (yield)
    _opened = set()
    try:
        result = yield
        closed = [path.name for path in golden if str(path) not in _opened]
    finally:
        _opened = None
    if closed:
        pytest.fail(f"passed without opening {', '.join(closed)}, which it was given to compare with", pytrace=False)
    return result
