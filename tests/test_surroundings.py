"""Consoles, folders and disks as they are elsewhere: verbs say what they have to say and leave nothing half-written.

Each test runs verbs in one process of its own, whose surroundings are set before the harness is imported.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import REPOSITORY
from tests.running.conftest import make_dataset, tiny_config

LABELS = ("深蹲", "Poirier d'été", "Jumping jack")
PROGRAM = """
import json, os, sys
{before}
sys.path.insert(0, {repository!r})
from wtal_bench.cli import main
for argv in json.loads(sys.argv[1]):
    print("##", argv[0], main(argv), flush=True)
"""


def run(commands: list[list[str]], cwd: Path, *, before: str = "", mount: str = "", **variables: str):
    """Run verbs one after the other in one process.

    Args:
        commands: their command lines.
        cwd: where.
        before: code that comes before the harness is imported.
        mount: shell commands that change what is mounted, for that process alone.
        variables: of the environment; an empty one is taken out.
    """
    program = PROGRAM.format(before=before, repository=str(REPOSITORY))
    command = [sys.executable, "-c", program, json.dumps(commands)]
    if mount:
        command = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    environment = {name: value for name, value in environment.items() if value}
    return subprocess.run(command, capture_output=True, cwd=cwd, env=environment)


def statuses(done) -> list[int]:
    """The exit statuses of the verbs."""
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    return [int(line.split()[2]) for line in done.stdout.decode(errors="replace").splitlines() if line[:2] == "##"]


def can_mount() -> bool:
    """Whether this user may mount something in a name space of his own."""
    try:
        return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
    except OSError:
        return False


needs_mount = pytest.mark.skipif(not can_mount(), reason="needs the right to mount (root on Linux)")


def write_videos(folder: Path) -> None:
    """tags.csv and features/ of twelve videos whose class names need more than ASCII."""
    rng = np.random.default_rng(0)
    (folder / "my features").mkdir()
    with open(folder / "tags.csv", "w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["video", "label", "duration", "subset", "start", "end"])
        for at in range(12):
            length = 30 + at
            np.save(folder / "my features" / f"clip {at}.npy", rng.gamma(0.7, 1, (length, 8)).astype(np.float32))
            subset = "test" if at > 8 else "train"
            table.writerow([f"clip {at}", LABELS[at % 3], length * 0.64, subset, 3.2, 12.8])


def own_config(folder: Path) -> None:
    """A config of ECM on these videos."""
    tree = tiny_config(folder, epochs=1)
    tree["model"]["heads"]["pre"]["num_classes"] = tree["model"]["heads"]["weights"]["num_classes"] = 3
    tree["model"]["postprocessor"]["num_classes"] = 3
    tree["data"] = {"protocol": "own", "root": "my data"}
    (folder / "my config.json").write_text(json.dumps(tree))


EVERYTHING = [
    ["import-annotations", "tags.csv", "my data/annotations.json", "--version", "mine-1"],
    [
        "import-features",
        "my features",
        "--out",
        "my data/features",
        "--annotations",
        "my data/annotations.json",
        "--extractor",
        "I3D",
        "--fps",
        "25",
        "--stride",
        "16",
        "--name",
        "n",
    ],
    ["check-data", "my data/features", "--annotations", "my data/annotations.json"],
    ["train", "my config.json", "--work-dir", "my run"],
    [
        "infer",
        "my config.json",
        "my run/last.pth",
        "my features/clip 9.npy",
        "--fps",
        "25",
        "--stride",
        "16",
        "--out",
        "found.json",
    ],
    ["report", "my run"],
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "surroundings",
    [
        pytest.param(dict(LC_ALL="POSIX", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0"), id="ascii"),
        pytest.param(dict(LANG="C", LC_ALL="", PYTHONIOENCODING="cp1252"), id="windows console"),
    ],
)
def test_a_console_that_cannot_print_a_class_name_shows_it_escaped(tmp_path, surroundings):
    """In folders and files with spaces, an apostrophe and letters beyond ASCII in their names."""
    folder = tmp_path / "it's my folder"
    folder.mkdir()
    write_videos(folder)
    own_config(folder)
    done = run(EVERYTHING, folder, **surroundings)
    assert statuses(done) == [0] * len(EVERYTHING), done.stderr.decode(errors="replace")
    assert rb"\u6df1\u8e72" in done.stdout
    assert b"next: wtal-bench check-data 'my data/features' --annotations 'my data/annotations.json'" in done.stdout
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    assert LABELS[0] in json.dumps(found, ensure_ascii=False)


def test_an_argument_that_is_no_unicode_is_told(tmp_path):
    write_videos(tmp_path)
    command = [*EVERYTHING[1][:4], "--extractor", "I3D", "--fps", "25", "--stride", "16", "--name", "\udcff"]
    done = run([command], tmp_path, PYTHONUTF8="1")
    assert statuses(done) == [2]
    assert b"no text here" in done.stderr
    assert not (tmp_path / "my data" / "features").exists()


def test_who_has_no_home_has_a_cache(tmp_path):
    """A container's user without a name: no HOME, and the system's list of users does not know him."""
    before = "import pwd, tempfile\ndef unknown(uid): raise KeyError(uid)\npwd.getpwuid = unknown\n"
    before += f"tempfile.tempdir = {str(tmp_path)!r}"
    done = run([["make-synthetic", "--profile", "tiny"]], tmp_path, before=before, HOME="", WTAL_CACHE="")
    assert statuses(done) == [0], done.stderr.decode()
    assert [path.name for path in tmp_path.iterdir()] == [f"wtal_bench-{os.getuid()}"]
    done = run([["check-data", "~/nowhere"]], tmp_path, before=before, HOME="", WTAL_CACHE="")
    assert statuses(done) == [2]
    assert b"~/nowhere: there is no feature store" in done.stderr


def test_without_file_locks_of_the_system_training_and_importing_work(tmp_path):
    """Windows has no fcntl."""
    make_dataset(tmp_path / "data", videos=4)
    write_videos(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(tiny_config(tmp_path / "data", epochs=1)))
    imported = [*EVERYTHING[1][:4], "--extractor", "I3D", "--fps", "25", "--stride", "16", "--name", "n"]
    commands = [imported, [*imported, "--overwrite"], ["train", "config.json", "--work-dir", "run"]]
    before = "import sys\nsys.modules['fcntl'] = None"
    done = run(commands, tmp_path, before=before)
    assert statuses(done) == [0, 0, 0], done.stderr.decode()
    assert not [path for path in (tmp_path / "my data").iterdir() if path.name != "features"]


@needs_mount
def test_a_full_disk_is_told_and_leaves_nothing_half_written(tmp_path):
    make_dataset(tmp_path / "data", videos=4)
    write_videos(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(tiny_config(tmp_path / "data", epochs=1)))
    disk = tmp_path / "disk"
    disk.mkdir()
    imported = ["import-features", "my features", "--out", "disk/store", "--extractor", "I3D", "--fps", "25"]
    commands = [
        [*imported, "--stride", "16", "--name", "n"],
        ["train", "config.json", "--work-dir", "disk/run"],
        ["make-synthetic", "--profile", "tiny", "--out", "disk/tiny"],
        ["list", "--configs"],
    ]
    listing = "import atexit, pathlib\natexit.register(lambda: print('left', sorted(str(p) for p in "
    listing += "pathlib.Path('disk').rglob('*') if p.suffix in ('.npy', '.pth', '.gz', '.tmp'))))"
    done = run(commands, tmp_path, before=listing, mount=f"mount -t tmpfs -o size=8k tmpfs '{disk}'")
    assert statuses(done) == [2, 2, 2, 0], done.stderr.decode()
    assert done.stderr.count(b"No space left on device") == 3
    assert b"left []" in done.stdout


@needs_mount
def test_a_read_only_cache_serves_what_it_holds_and_says_what_it_cannot(tmp_path):
    cache = tmp_path / "cache"
    make = ["make-synthetic", "--profile", "tiny"]
    assert statuses(run([make], tmp_path, WTAL_CACHE=str(cache))) == [0]
    before = sorted(cache.rglob("*"))
    frozen = f"mount --bind '{cache}' '{cache}' && mount -o remount,ro,bind '{cache}'"
    done = run([make, [*make, "--world", "1"]], tmp_path, mount=frozen, WTAL_CACHE=str(cache))
    assert statuses(done) == [0, 2], done.stderr.decode()
    assert b"cannot write into the cache" in done.stderr
    assert b"WTAL_CACHE" in done.stderr
    assert sorted(cache.rglob("*")) == before


@needs_mount
def test_a_read_only_folder_is_told(tmp_path):
    make_dataset(tmp_path / "data", videos=4)
    (tmp_path / "config.json").write_text(json.dumps(tiny_config(tmp_path / "data", epochs=1)))
    (tmp_path / "fixed").mkdir()
    commands = [
        ["train", "config.json", "--work-dir", "fixed/run"],
        ["make-synthetic", "--profile", "tiny", "--out", "fixed/tiny"],
        ["new-plugin", "some_idea", "--out", "fixed/some_idea"],
    ]
    frozen = f"mount --bind '{tmp_path}/fixed' '{tmp_path}/fixed' && mount -o remount,ro,bind '{tmp_path}/fixed'"
    done = run(commands, tmp_path, mount=frozen)
    assert statuses(done) == [2, 2, 2], done.stderr.decode()
    assert done.stderr.count(b"Read-only file system") == 3
