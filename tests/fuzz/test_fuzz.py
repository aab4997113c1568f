"""Mutated inputs of every kind: exit code 2 and a sentence, or a result; never a traceback, a hang, or half a file."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.fuzz.corpus import Corpus, make_corpus
from tests.fuzz.harness import answer, left_behind, run_case
from tests.fuzz.readers import READERS
from tests.running.conftest import no_pictures
from wtal_bench import cli

__all__ = ["no_pictures"]  # `python -m tests.fuzz` has runs draw

INPUTS = 13
"""Of every reader; 24 readers make about 300."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("reader", READERS)
def test_mutated_inputs_never_reach_the_outermost_net(reader, corpus):
    """`run_case` judges every answer; exit status 3, which the net gives, is among what it complains of."""
    failures = [run_case(number, seed=2026, corpus=corpus, only=reader) for number in range(INPUTS)]
    told = [f"{found.signature}: {' '.join(found.command)[:300]}\n{found.said[-2000:]}" for found in failures if found]
    assert not told, "\n\n".join(told)


def test_the_same_number_makes_the_same_input(corpus, tmp_path):
    import random

    texts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        READERS["annotations"](random.Random("2026 7 annotations"), corpus, tmp_path / name)
        texts.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir()) if path.is_file()])
    assert texts[0] == texts[1]


# ---- the judge itself ----


@pytest.fixture
def verb(monkeypatch):
    """Put a verb `broken` on the list that does what a test wants."""
    import sys
    from types import ModuleType

    def install(action) -> None:
        module = ModuleType("tests.broken_verb")
        module.SUMMARY = module.EXAMPLE = "wtal-bench broken"
        module.configure = lambda parser: None
        module.run = lambda args: action()
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.VERBS, "broken", module.__name__)

    return install


def _raise(error: BaseException):
    raise error


@pytest.mark.parametrize(
    ("action", "complaint"),
    [
        (lambda: {}["x"], r"the net: KeyError: 'x' @"),
        (lambda: _raise(SystemExit(3)), "exit status 3 by SystemExit"),
        (lambda: _raise(GeneratorExit()), "GeneratorExit@"),
        (lambda: 2, "says nothing"),
        (lambda: 7, "exit status 7"),
    ],
)
def test_a_bad_answer_is_told(verb, action, complaint):
    verb(action)
    assert re.match(complaint, answer(["broken"])[0])


def test_a_hang_is_told(verb, monkeypatch):
    monkeypatch.setattr("tests.fuzz.harness.SECONDS", 0.2)

    def hang():
        try:
            while True:
                pass
        except Exception:  # what hides every error does not hide the clock
            return 0

    verb(hang)
    assert answer(["broken"])[0].startswith("hangs@")


def test_what_is_left_behind_is_told(tmp_path):
    assert left_behind(tmp_path, set()) == ""
    (tmp_path / ".out.json.k2j3h4g5").write_text("")
    assert "leaves a temporary" in left_behind(tmp_path, set())
    (tmp_path / ".out.json.k2j3h4g5").unlink()
    Path(tmp_path / "out.json").touch()
    assert left_behind(tmp_path, set()) == "leaves an empty .json"


def test_devices_are_as_they_were(corpus):
    """Whoever runs this as root must not take /dev/full away from everybody."""
    for number in range(30):
        run_case(number, seed=7, corpus=corpus, only="outputs")
    for name in filter(os.path.exists, ("/dev/full", "/dev/null", "/dev/zero")):
        assert not os.path.isfile(name), name
