"""Folders take their place in one step or leave what was there; JSON is read strictly; locks outlive no process."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wtal_bench.data.folders import locked
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.files import JsonError, move_into_place, parse_json, sibling, write_text
from wtal_bench.running.workdir import LOCK, WorkDir

# ---- JSON ----


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' stands twice in one JSON object"),
        ('{"a": [NaN]}', "it holds NaN, which is no JSON number"),
        ("-Infinity", "it holds -Infinity"),
        ('{"a": 1', "it is not valid JSON"),
        (b"\xff\xfe\x00", "it is not valid JSON"),
        ("[" * 100_000, "it is not valid JSON"),
    ],
)
def test_what_is_no_strict_json_is_told(text, complaint):
    with pytest.raises(JsonError, match=complaint):
        parse_json(text)


def test_strict_json_is_read_as_it_is():
    value = {"a": [1, 2.5, None, True], "é": {"b": "NaN"}}
    assert parse_json(json.dumps(value)) == parse_json(json.dumps(value).encode()) == value


def test_a_caller_may_take_numbers_that_are_not_finite():
    first, second = parse_json('{"score": [NaN, -Infinity]}', nan=True)["score"]
    assert math.isnan(first)
    assert second == -math.inf
    with pytest.raises(JsonError, match="stands twice"):
        parse_json('{"a": NaN, "a": 1}', nan=True)


# ---- folders ----


def folder_with(path, text):
    path.mkdir()
    (path / "file").write_text(text)
    return path


@pytest.mark.parametrize("replace", [False, True])
def test_a_folder_takes_its_place(tmp_path, replace):
    staging = folder_with(sibling(tmp_path / "data"), "new")
    move_into_place(staging, tmp_path / "data", replace=replace, same=lambda: pytest.fail("nothing lies there"))
    assert (tmp_path / "data" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_what_lies_there_is_replaced_only_on_demand(tmp_path):
    folder = folder_with(tmp_path / "data", "old")
    staging = folder_with(sibling(folder), "new")
    with pytest.raises(OSError, match="not empty"):
        move_into_place(staging, folder, replace=False, same=lambda: False)
    assert (folder / "file").read_text() == "old"
    move_into_place(staging, folder, replace=True, same=lambda: False)
    assert (folder / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("replace", [False, True])
def test_an_equal_folder_of_a_faster_process_stays(tmp_path, replace):
    folder = folder_with(tmp_path / "data", "theirs")
    staging = folder_with(sibling(folder), "mine")
    move_into_place(staging, folder, replace=replace, same=lambda: True)
    assert (folder / "file").read_text() == "theirs"


def test_a_move_that_fails_leaves_what_was_there(tmp_path):
    folder = folder_with(tmp_path / "data", "old")
    with pytest.raises(FileNotFoundError):
        move_into_place(tmp_path / "nothing", folder, replace=True, same=lambda: False)
    assert (folder / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# ---- locks ----

HOLD = "import sys, time\nfrom wtal_bench.{}\nprint(flush=True)\ntime.sleep(60)"
HOLD_WORK_DIR = HOLD.format("running.workdir import WorkDir\nheld = WorkDir(sys.argv[1])")
HOLD_CACHE = HOLD.format(
    "data.folders import locked\nfrom pathlib import Path\nheld = locked(Path(sys.argv[1]))\nheld.__enter__()"
)


@pytest.fixture
def holder():
    """Starts a process that runs some code and waits until it has printed a line."""
    started = []

    def start(code, *arguments):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == b"\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_held_work_dir_is_refused_until_its_process_ends(tmp_path, holder):
    other = holder(HOLD_WORK_DIR, tmp_path / "run")
    for _ in range(2):  # a refused run must not take the other one's lock away
        with pytest.raises(ConfigError, match="another run is using"):
            WorkDir(tmp_path / "run")
        assert (tmp_path / "run" / LOCK).is_file()
    other.kill()  # it cannot tidy up: the lock file stays, the lock does not
    other.wait()
    assert (tmp_path / "run" / LOCK).is_file()
    WorkDir(tmp_path / "run").release()
    assert not (tmp_path / "run").exists() or list((tmp_path / "run").iterdir()) == []


def test_a_lock_file_somebody_left_locks_nothing(tmp_path):
    (tmp_path / LOCK).write_text("12345")
    held = WorkDir(tmp_path)
    held.begin({"method": "x"})
    held.release()
    WorkDir(tmp_path).release()
    assert (tmp_path / "config.json").is_file()


def test_one_process_does_not_hold_a_folder_twice(tmp_path):
    held = WorkDir(tmp_path / "run")
    with pytest.raises(ConfigError, match="another run is using"):
        WorkDir(tmp_path / "run")
    held.release()
    held.release()  # once more is no harm
    WorkDir(tmp_path / "run").release()


def test_the_cache_waits_for_the_one_who_writes(tmp_path, holder):
    folder = tmp_path / "synthetic" / "tiny"
    other = holder(HOLD_CACHE, folder)
    leftover = tmp_path / "synthetic" / ".tiny.0123456789ab"
    leftover.mkdir()
    waiting = "import sys\nfrom pathlib import Path\nfrom wtal_bench.data.folders import locked\n"
    waiting += "with locked(Path(sys.argv[1])): print('in')"
    with subprocess.Popen([sys.executable, "-c", waiting, str(folder)], stdout=subprocess.PIPE) as second:
        time.sleep(1.0)
        assert second.poll() is None  # it waits
        assert leftover.is_dir()  # and tidies up under the lock alone
        os.kill(other.pid, 9)  # a killed process gives the lock back
        assert second.stdout.read() == b"in\n"
        assert second.wait() == 0
    assert not leftover.exists()
    with locked(folder):
        assert (tmp_path / "synthetic" / ".tiny.lock").is_file()


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_a_device_is_written_to_and_stays_one():
    with pytest.raises(DataError, match="cannot write /dev/full: No space left"):
        write_text("/dev/full", "text")
    assert Path("/dev/full").is_char_device()
    write_text("/dev/null", "text")
    assert Path("/dev/null").is_char_device()
