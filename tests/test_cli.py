"""The one door: verbs, their help, their exit codes, and the thin doors in tools/."""

from __future__ import annotations

import ast
import errno
import importlib
import os
import re
import subprocess
import sys
from types import ModuleType

import pytest

from tests.helpers import REPOSITORY
from wtal_bench import __version__, cli
from wtal_bench.cli import VERBS, main
from wtal_bench.errors import DataError
from wtal_bench.recipes import find

TOOLS = sorted((REPOSITORY / "tools").glob("*.py"))


def shown(capsys, *words: str) -> str:
    """What argparse prints before it leaves with 0."""
    with pytest.raises(SystemExit) as left:
        main(list(words))
    assert left.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_every_argument_and_an_example(verb, capsys):
    said = shown(capsys, verb, "--help")
    assert said.startswith(f"usage: wtal-bench {verb}")
    example = said[said.index("example:") :]
    assert re.search(rf"wtal-bench {verb}", example)


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_name_what_a_wheel_has_and_arguments_that_are_taken(verb, capsys):
    module = importlib.import_module(VERBS[verb])
    usage = shown(capsys, verb, "--help")
    # a wheel has neither tools/ nor configs/: recipes are named as `list --configs` names them
    assert not re.search(r"(^|\s)(python tools/\w+\.py [^C]|configs/)", module.EXAMPLE)
    for name in re.findall(r"(?<=\s)(?:\w+_(?:synthetic|thumos)|ablations/\w+)(?=\s|$)", module.EXAMPLE):
        assert find(name).is_file(), f"{verb}: its example names {name}"
    usage = usage[: usage.index("example:")]
    usage += shown(capsys, verb, "add", "--help") if verb == "leaderboard" else ""
    for command in module.EXAMPLE.replace("&&", "\n").splitlines():
        for option in re.findall(r"(?<=\s)--[a-z-]+", command.partition("#")[0].partition(f"wtal-bench {verb}")[2]):
            assert option in usage, f"{verb}: its example uses {option}"


def test_the_overview_lists_every_verb(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for verb, name in VERBS.items():
        (line,) = [line for line in said.splitlines() if line.startswith(f"  {verb} ")]
        assert importlib.import_module(name).SUMMARY in line
    assert "example:" in said
    assert main([]) == 2
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(("given", "nearest"), [("tarin", "train"), ("newplugin", "new-plugin"), ("Lists", "list")])
def test_an_unknown_verb_is_told_with_the_nearest(given, nearest, capsys):
    assert main([given]) == 2
    printed = capsys.readouterr()
    assert f"no verb {given!r}. Did you mean '{nearest}'?" in printed.err
    assert printed.out == ""


def test_an_unknown_argument_ends_with_2(capsys):
    with pytest.raises(SystemExit) as left:
        main(["list", "--kinds", "head"])
    assert left.value.code == 2
    assert "unrecognized arguments: --kinds" in capsys.readouterr().err


# ---- what a verb's errors become ----


@pytest.fixture
def verb(monkeypatch):
    """Put a verb `broken` on the list that raises what a test wants."""

    def install(error: BaseException | None, status: int = 0) -> None:
        module = ModuleType("tests.broken_verb")
        module.SUMMARY = module.EXAMPLE = "wtal-bench broken"
        module.configure = lambda parser: None

        def run(args):
            if error is not None:
                raise error
            return status

        module.run = run
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.VERBS, "broken", module.__name__)

    return install


@pytest.mark.parametrize("status", [0, 1])
def test_the_status_of_a_verb_is_passed_on(verb, status):
    verb(None, status)
    assert main(["broken"]) == status


def test_bad_input_is_told_without_a_traceback(verb, capsys):
    verb(DataError("video 'v0' is bad; fix it."))
    assert main(["broken"]) == 2
    assert capsys.readouterr().err == "wtal-bench broken: video 'v0' is bad; fix it.\n"


def test_an_interruption_ends_with_130(verb, capsys):
    verb(KeyboardInterrupt())
    assert main(["broken"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_no_more_is_bad_input(verb, capsys, number):
    verb(OSError(number, os.strerror(number), "some/file"))
    assert main(["broken"]) == 2
    assert capsys.readouterr().err == f"wtal-bench broken: cannot write some/file: {os.strerror(number)}.\n"


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "a bug"), ZeroDivisionError("a bug"), RecursionError("a bug")])
def test_a_bug_is_reported_in_a_few_lines_and_whole_for_developers(verb, capsys, error):
    verb(error)
    assert main(["broken"]) == cli.BUG
    said = capsys.readouterr().err
    assert re.fullmatch(r"wtal-bench broken: this is a bug.*\n  what .*a bug\n  where  .*\n  send .*\n", said), said
    assert "Traceback" not in said
    assert main(["broken", "--traceback"]) == cli.BUG
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):")
    assert f"{type(error).__name__}: " in said


def test_bad_input_keeps_its_sentence_under_traceback(verb, capsys):
    verb(DataError("video 'v0' is bad; fix it."))
    assert main(["--traceback", "broken"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.endswith("wtal-bench broken: video 'v0' is bad; fix it.\n")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOENT, errno.EISDIR])
def test_what_the_system_refuses_is_told_with_the_file(verb, capsys, number):
    verb(OSError(number, os.strerror(number), "some/file"))
    assert main(["broken"]) == 2
    assert capsys.readouterr().err == f"wtal-bench broken: cannot use some/file: {os.strerror(number)}.\n"


def test_too_little_memory_is_told(verb, capsys):
    verb(MemoryError())
    assert main(["broken"]) == 2
    assert "there is not enough memory for this" in capsys.readouterr().err


def test_a_message_that_quotes_a_whole_file_is_cut(verb, capsys):
    verb(DataError("x" * 1_000_000))
    assert main(["broken"]) == 2
    assert len(capsys.readouterr().err) < 5000


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_output_and_a_reader_that_leaves_are_told_quietly():
    command = f"{sys.executable} -m wtal_bench list"
    full = subprocess.run(["bash", "-c", f"{command} > /dev/full"], capture_output=True, text=True, cwd=REPOSITORY)
    assert (full.returncode, full.stderr) == (2, "wtal-bench list: cannot write a file: No space left on device.\n")
    script = f"set -o pipefail; {command} | true"
    left = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=REPOSITORY)
    assert (left.returncode, left.stderr) == (0, "")


# ---- what is loaded ----


def test_helping_loads_no_torch():
    """Neither the package, nor the overview, nor any verb's own help."""
    code = (
        "import contextlib, io, sys\n"
        "import wtal_bench\n"
        "from wtal_bench.cli import VERBS, main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    main(['--help'])\n"
        "    for verb in VERBS:\n"
        "        try: main([verb, '--help'])\n"
        "        except SystemExit: pass\n"
        "sys.exit(str([m for m in ('torch', 'mmengine', 'matplotlib') if m in sys.modules] or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr


# ---- tools/ ----


def test_every_tool_is_a_thin_door_with_an_example():
    for path in TOOLS:
        text = path.read_text()
        assert len(text.splitlines()) <= 30, path.name
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.List)]
        (words,) = [node.elts for node in calls]
        assert words[0].value == path.stem.replace("_", "-"), path.name
        assert words[0].value in VERBS
    assert {path.stem.replace("_", "-") for path in TOOLS} == set(VERBS)


def test_every_tool_works_from_anywhere(tmp_path):
    """In processes of their own: a script's folder is on its path, and no module there may hide another."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path, "env": environment}
    running = {path: subprocess.Popen([sys.executable, str(path), "--help"], **pipes) for path in TOOLS}
    for path, process in running.items():
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, f"{path.name}: {err}"
        assert out.startswith(f"usage: wtal-bench {path.stem.replace('_', '-')}")
        assert err == ""
    assert list(tmp_path.iterdir()) == []


def test_a_tool_that_loads_everything_is_not_misled_by_its_neighbours(tmp_path):
    """`tools/` holds test.py and list.py, which other packages could take for modules of that name."""
    command = [sys.executable, str(REPOSITORY / "tools" / "train.py"), "nowhere.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("wtal-bench train: no recipe 'nowhere.py'.")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--kind", "tsne", "--seed", "-1"], "--seed must lie in [0, 4294967296), got -1."),
        ([], "say with --kind what to draw: tsne, similarity, curves, or what --list shows for RUN."),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused_before_the_run_is_opened(words, expected, capsys):
    assert main(["picture", "RUN", *words]) == 2
    assert expected in capsys.readouterr().err
