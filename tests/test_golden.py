"""Every golden file that travels is compared with by a test, and none could be missing unseen.

Two halves make the proof. Here: every file is a parameter of a test function that pytest would run and not skip; the
test modules are imported and asked for their marks, so it holds whatever part of the suite is being run, on whatever
worker. In `conftest`: a test that was given a golden file and passed without opening it fails.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from tests.helpers import NAMED, REPOSITORY, SUFFIXES, has

TRAVELLING = REPOSITORY / "tests" / "golden"
FILES = sorted(str(p.relative_to(TRAVELLING)) for p in TRAVELLING.rglob("*") if p.suffix in SUFFIXES)
LARGEST = 1_000_000
"""Bytes of one file, so that a clone stays quick."""

AWAITING: dict[str, tuple[str, ...]] = {}
"""Folder -> files that still wait for their test. The list only shrinks: a file that has its test may not stay."""

pytestmark = pytest.mark.skipif(bool(NAMED), reason="WTAL_GOLDEN names other files than these")


@cache
def readers() -> dict[str, set[str]]:
    """Golden file -> the test modules in which it is a parameter of a test that is not skipped."""
    found: dict[str, set[str]] = {name: set() for name in FILES}
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        module = importlib.import_module(name)
        for test in vars(module).values():
            if callable(test) and getattr(test, "__module__", None) == name and test.__name__.startswith("test_"):
                for golden in parameters(test):
                    found[golden].add(name)
    return found


def parameters(test: object) -> Iterator[str]:
    """The travelling golden files a test function is parametrised with."""
    for mark in getattr(test, "pytestmark", ()):
        for entry in mark.args[1] if mark.name == "parametrize" else ():
            if any(own.name == "skip" for own in getattr(entry, "marks", ())):
                continue
            own = entry.values if hasattr(entry, "marks") else entry  # a pytest.param, or the bare value
            for value in own if isinstance(own, (tuple, list)) else (own,):
                if isinstance(value, Path) and TRAVELLING in value.parents and value.suffix in SUFFIXES:
                    yield str(value.relative_to(TRAVELLING))


def awaited(name: str) -> bool:
    """Whether a file stands in `AWAITING`."""
    folder, _, file = name.partition("/")
    return any(fnmatch(file, pattern) for pattern in AWAITING.get(folder, ()))


def compared(name: str) -> bool:
    """Whether a file has its test: gradients and whole runs are a matter for tests/parity alone."""
    modules = readers()[name]
    if name.startswith("trajectory/") or (name.endswith(".npz") and has(TRAVELLING / name, "grad/")):
        return any(module.startswith("tests.parity.") for module in modules)
    return bool(modules)


def test_every_golden_file_is_compared_with_by_some_test():
    assert not [name for name in FILES if not compared(name) and not awaited(name)]


def test_what_awaits_its_test_has_none_and_exists():
    assert not [name for name in FILES if awaited(name) and compared(name)], "take these out of AWAITING"
    for folder, patterns in AWAITING.items():
        for pattern in patterns:
            assert any(fnmatch(name, f"{folder}/{pattern}") for name in FILES), f"{folder}/{pattern} names no file"


def test_only_numbers_travel_and_no_file_is_large():
    others = {p.name for p in TRAVELLING.rglob("*") if p.is_file() and p.suffix not in SUFFIXES}
    assert others == {"README.md"}
    assert not [name for name in FILES if (TRAVELLING / name).stat().st_size > LARGEST]
    # cases over real annotations do not travel: their files name them
    real = [n for n in FILES if n.endswith(".json") and "ground_truth_file" in json.loads((TRAVELLING / n).read_text())]
    assert not real


def pytest_here(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Run part of the suite with another golden folder."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    env = {**os.environ, "WTAL_GOLDEN": str(folder)}
    return subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("made", [True, False], ids=["empty", "missing"])
def test_an_empty_or_missing_golden_folder_is_a_failure(tmp_path, made):
    folder = tmp_path / "golden"
    if made:
        folder.mkdir()
    done = pytest_here(folder, "tests/decoding/test_nms_golden.py", "-k", "absent")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"no golden file evaluation/nms_cases*.json in {folder}" in done.stdout


def test_a_test_that_leaves_its_golden_file_closed_fails(pytester_like):
    done = pytester_like("def test_nothing(path): pass")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "passed without opening nms_cases.json" in done.stdout
    assert pytester_like("def test_reads(path): path.read_text()").returncode == 0


@pytest.fixture
def pytester_like(tmp_path):
    """Run one test function, given a golden file, under this suite's conftest."""

    def run(function: str) -> subprocess.CompletedProcess:
        file = tmp_path / "test_closed.py"
        mark = '@pytest.mark.parametrize("path", golden_files("evaluation", "nms_cases.json"))'
        file.write_text(f"import pytest\nfrom tests.helpers import golden_files\n\n{mark}\n{function}\n")
        return pytest_here(TRAVELLING, "-p", "tests.conftest", "--rootdir", str(tmp_path), str(file))

    return run
