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

from tests.running.conftest import make_dataset
from wtal_bench import temporary
from wtal_bench.data.folders import locked
from wtal_bench.data.locate import find_features
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.files import JsonError, move_into_place, parse_json, write_text
from wtal_bench.running.workdir import LOCK, WorkDir
from wtal_bench.temporary import restore, sweep, temporary_for

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
    path.mkdir(exist_ok=True)
    (path / "file").write_text(text)
    return path


def move(folder, text, **options):
    """Make a folder with a file as every writer does, and give it its name."""
    with temporary_for(folder, folder=True) as staging:
        move_into_place(folder_with(staging, text), folder, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["exchange", "two renames"])
def system(request, monkeypatch):
    """With and without a file system that exchanges two names in one step."""
    if request.param == "two renames":
        monkeypatch.setattr(temporary, "_exchange", lambda left, right: False)


@pytest.mark.parametrize("replace", [False, True])
def test_a_folder_takes_its_place(tmp_path, replace, system):
    move(tmp_path / "data", "new", replace=replace, same=lambda: pytest.fail("nothing lies there"))
    assert (tmp_path / "data" / "file").read_text() == "new"
    assert names(tmp_path) == ["data"]


def test_what_lies_there_is_replaced_only_on_demand(tmp_path, system):
    folder = folder_with(tmp_path / "data", "old")
    with pytest.raises(OSError, match="not empty"):
        move(folder, "new", replace=False, same=lambda: False)
    assert (folder / "file").read_text() == "old"
    move(folder, "new", replace=True, same=lambda: False)
    assert (folder / "file").read_text() == "new"
    assert names(tmp_path) == ["data"]


@pytest.mark.parametrize("replace", [False, True])
def test_an_equal_folder_of_a_faster_process_stays(tmp_path, replace):
    folder = folder_with(tmp_path / "data", "theirs")
    move(folder, "mine", replace=replace, same=lambda: True)
    assert (folder / "file").read_text() == "theirs"
    assert names(tmp_path) == ["data"]


def test_a_move_that_fails_leaves_what_was_there(tmp_path, system):
    folder = folder_with(tmp_path / "data", "old")
    with pytest.raises(FileNotFoundError):
        move_into_place(tmp_path / "nothing", folder, replace=True, same=lambda: False)
    assert (folder / "file").read_text() == "old"
    assert names(tmp_path) == ["data"]


KILLED = """
import os, sys
from pathlib import Path
from wtal_bench import temporary
from wtal_bench.files import atomic_write, move_into_place
from wtal_bench.temporary import temporary_for

folder, when = Path(sys.argv[1]), sys.argv[2]
die = lambda: os.kill(os.getpid(), 9)
if when == "in a file":
    with atomic_write(folder) as stream:
        stream.write("half")
        die()
if when != "after the exchange":
    temporary._exchange = lambda left, right: False
rename, count = os.rename, 0

def renamed(left, right):
    global count
    count += 1
    rename(left, right)
    if when == f"after rename {count}":
        die()

os.rename = renamed
with temporary_for(folder, folder=True) as staging:
    (staging / "file").write_text("new")
    if when == "while made":
        die()
    move_into_place(staging, folder, replace=True, same=lambda: False)
    die()
"""


@pytest.mark.skipif(os.name == "nt", reason="no locks that tell the dead from the living")
@pytest.mark.parametrize(
    ("when", "left"),
    [
        ("while made", "old"),
        ("after rename 1", "old"),
        ("after rename 2", "new"),
        ("after rename 3", "new"),
        ("after the exchange", "new"),
    ],
)
def test_a_kill_at_any_moment_of_a_swap_leaves_one_of_the_two_and_is_swept_up(tmp_path, when, left):
    folder = folder_with(tmp_path / "da[t]a", "old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), when], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert len(names(tmp_path)) == 2 or when == "after rename 1"
    assert restore(folder)
    assert (folder / "file").read_text() == left
    with temporary_for(folder, folder=True) as living:
        sweep(folder)
        assert living.exists()
    assert names(tmp_path) == ["da[t]a"]


@pytest.mark.skipif(os.name == "nt", reason="no locks that tell the dead from the living")
def test_the_next_writer_of_a_file_removes_what_a_killed_one_left(tmp_path):
    file = tmp_path / "last.pth"
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", KILLED, str(file), "in a file"], capture_output=True, text=True)
        assert done.returncode == -9, done.stderr
        assert len(names(tmp_path)) == 1, "each sweeps up its predecessor's"
    (tmp_path / ".last.pth.mine").write_text("somebody's")
    (tmp_path / ".best.pth.0123456789ab.tmp").write_text("of another name")
    write_text(file, "whole")
    assert names(tmp_path) == [".best.pth.0123456789ab.tmp", ".last.pth.mine", "last.pth"]


def test_a_store_whose_swap_was_killed_is_found_again(tmp_path):
    store = make_dataset(tmp_path, videos=2) / "features"
    os.rename(store, tmp_path / ".features.0123456789ab.old")
    assert find_features("any", folder=tmp_path) == store
    os.rename(store, tmp_path / ".features.0123456789ab.old")
    assert len(FeatureStore.open(store)) == 4


def test_a_pipe_is_written_to_and_a_link_is_kept(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "hello")
    assert os.read(reader, 99) == b"hello"
    os.close(reader)
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "text"
    assert names(tmp_path) == ["link", "pipe", "real"]


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
