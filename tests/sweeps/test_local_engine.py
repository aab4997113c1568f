"""Runs side by side: the same bits as one after another, and nothing lost when a worker or the whole is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.running.conftest import dataset, tiny_config
from wtal_bench.cli import main
from wtal_bench.engines.board import Board
from wtal_bench.engines.engine import ATTEMPTS, Here, RunQueue
from wtal_bench.engines.local import Local
from wtal_bench.errors import WtalError
from wtal_bench.running.plan import Planned

__all__ = ["dataset"]

ROWS = """
base: base.json
rows:
  - name: one
  - name: two
    options: {train.lr: 0.01}
"""


@pytest.fixture
def here(dataset, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.json").write_text(json.dumps(tiny_config(dataset, epochs=3)))
    (tmp_path / "rows.yaml").write_text(ROWS)
    return tmp_path


def found(folder: str) -> dict[str, tuple]:
    """By run, what says that two are bit for bit the same: metrics and stored detections."""
    records = {path.parents[2].name: json.loads(path.read_text()) for path in Path(folder).rglob("seed0/record/*.json")}
    return {name: (record["metrics"], record["detections"]["sha256"]) for name, record in records.items()}


def sweep(*words: str) -> int:
    return main(["sweep", "rows.yaml", "--metric", "average", *words])


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def endless(here: Path, dataset: Path, epochs: int = 100_000) -> None:
    tree = tiny_config(dataset, epochs=epochs)
    tree["runtime"]["checkpoint_seconds"] = 0
    (here / "base.json").write_text(json.dumps(tree))


def start(*words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "wtal_bench", "sweep", "rows.yaml", "--metric", "average", *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """Worker processes of a process (Linux)."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_worker_processes_give_the_bits_of_one_process(here, one_thread, capsys):
    assert sweep("--work-dir", "a") == 0
    table = capsys.readouterr().out.splitlines()[-4:]
    assert sweep("--work-dir", "b", "--jobs", "2", "--threads", "1") == 0
    printed = capsys.readouterr().out
    assert "2 worker processes, 1 thread each" in printed
    assert "one/seed0: done" in printed
    assert printed.splitlines()[-4:] == table
    assert found("a") == found("b")
    assert len(found("b")) == 2
    assert sweep("--work-dir", "b", "--jobs", "2") == 0
    assert "2 done (read, not trained again)" in capsys.readouterr().out


@pytest.mark.slow
def test_seeds_of_one_config_run_side_by_side(here, one_thread, capsys):
    words = ["train", "base.json", "--seeds", "0", "1", "--work-dir", "w", "--jobs", "2"]
    assert main(words) == 0
    assert "2 seeds" in capsys.readouterr().out
    assert sorted(path.name for path in Path("w").iterdir()) == ["seed0", "seed1"]
    assert main(words) == 2
    assert "already holds a run: add --resume" in capsys.readouterr().err
    assert main(["train", "base.json", "--jobs", "2"]) == 2
    assert "name several with --seeds" in capsys.readouterr().err


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")


@pytest.mark.slow
@needs_proc
def test_a_killed_worker_costs_its_run_the_last_interval_and_ctrl_c_leaves_the_rest_resumable(here, dataset):
    endless(here, dataset)
    process = start("--work-dir", "w", "--jobs", "2")
    try:
        folders = [Path("w/rows/one/seed0"), Path("w/rows/two/seed0")]
        wait_for(lambda: all((folder / "last.pth").is_file() for folder in folders))
        workers = children(process.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        wait_for(lambda: len(children(process.pid)) == 2 and workers[0] not in children(process.pid))
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        printed, _ = process.communicate(timeout=120)
        assert process.returncode == 130
        assert "its process died (signal SIGKILL); attempt 2 of 3 goes on from its last checkpoint" in printed
        assert not any(map(alive, workers))
    finally:
        process.kill()
    for folder in folders:
        state = torch.load(folder / "last.pth", weights_only=True)
        assert state["meta"]["iter"] > 0
    done = max(torch.load(folder / "last.pth", weights_only=True)["meta"]["epoch"] for folder in folders)
    endless(here, dataset, epochs=done + 1)
    assert sweep("--work-dir", "w", "--jobs", "2") == 0
    assert len(found("w")) == 2
    assert not list(Path("w").rglob("*.tmp*"))  # what the kill cut short is swept by the next to write there


@needs_proc
def test_workers_end_with_the_process_that_started_them(here, dataset):
    endless(here, dataset)
    process = start("--work-dir", "w", "--jobs", "1")
    try:
        wait_for(lambda: Path("w/rows/one/seed0/last.pth").is_file())
        workers = children(process.pid)
    finally:
        process.kill()
        process.communicate()
    wait_for(lambda: not any(map(alive, workers)), 20)


@pytest.mark.slow
def test_two_sweeps_on_one_folder_share_the_work(here, dataset, one_thread):
    endless(here, dataset, epochs=10)
    both = [start("--work-dir", "w", *words) for words in ((), ("--jobs", "1", "--threads", "1"))]
    printed = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert len(found("w")) == 2
    trained = sum(text.count("kept the last epoch") for text in printed)
    assert trained == 2, "each run was trained by one of them alone"


def test_a_problem_of_one_run_does_not_keep_the_others_and_is_told_at_the_end(here, capsys):
    (here / "rows.yaml").write_text(ROWS.replace("0.01", "1.0e+30"))
    assert sweep("--work-dir", "w", "--jobs", "2") == 2
    said = capsys.readouterr().err
    assert "1 of 2 runs were not made, the others are kept" in said
    assert "two" in said
    assert set(found("w")) == {"one"}


def test_a_full_disk_on_one_worker_is_a_sentence(here, monkeypatch):
    import errno

    from wtal_bench.engines import work

    def full(run, say):
        raise OSError(errno.ENOSPC, "No space left on device", "w/last.pth")

    monkeypatch.setattr("wtal_bench.running.plan.execute", full)
    run = Planned(None, Path("w"))
    report = work.perform(work.Ticket(run, here, 1), print)
    assert report.state == work.FAILED
    assert "cannot write w/last.pth: No space left on device. Make room" in report.text


def test_workers_with_other_code_or_without_the_folder_are_refused(here):
    from wtal_bench.engines import work

    with pytest.raises(WtalError, match="runs other code"):
        work.refuse_other("0" * 64, None)
    work.refuse_other(work.code_hash(), None)
    with work.token_in(here) as token:
        work.refuse_other("", token)
    with pytest.raises(WtalError, match=r"share\. Name one with --work-dir"):
        work.refuse_other("", token)


def test_a_run_that_dies_is_tried_a_bounded_number_of_times_and_what_begins_from_it_fails():
    first, second = Planned(None, Path("a")), Planned(None, Path("b"), start=Path("a"))
    queue = RunQueue([second, first])
    said: list[str] = []
    for _ in range(ATTEMPTS - 1):
        assert queue.take().folder == Path("a")
        assert queue.take() is None, "what begins from a waits for it"
        assert list(queue.died(first, "killed", said.append)) == []
    (outcome,) = queue.died(queue.take(), "killed", said.append)
    assert outcome.problem.startswith("killed, the last of 3 attempts")
    assert said == [f"killed; attempt {count} of 3 goes on from its last checkpoint" for count in (2, 3)]
    (orphan,) = queue.orphans()
    assert orphan.run == second
    assert orphan.problem == "the run it begins from, a, was not made"
    assert queue.empty


def test_gpus_are_shared_out_in_turn():
    from wtal_bench.engines.local import _Worker

    engine = Local(3, 1, ("0", "MIG-a"))
    given = [_Worker(number, engine)._variables() for number in range(3)]
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in given] == ["0", "MIG-a", "0"]
    assert given[0]["OMP_NUM_THREADS"] == "1"
    assert Here().jobs == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "locla"], "Did you mean 'local'"),
        (["--engine", "here", "--jobs", "2"], "one run after another"),
    ],
)
def test_engines_that_cannot_be_are_refused(here, capsys, words, said):
    assert sweep(*words) == 2
    assert said in capsys.readouterr().err


def test_the_table_shows_what_runs_are_doing_brackets_and_all():
    from rich.console import Console

    lines: list[str] = []
    board = Board(lines.append, live=True)
    for number in range(40):
        board.begin(f"row{number}/seed0", "worker 0")
        board.end(f"row{number}/seed0", "done")
    board.begin("full/seed0", "worker 1")
    board.say("full/seed0", "epoch 1/2 [bold]")
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(board._table())
    shown = console.export_text()
    assert "epoch 1/2 [bold]" in shown
    assert "row39/seed0" in shown
    assert "row0/seed0" not in shown, "a table fits a terminal"
    assert lines == []
    plain = Board(lines.append, live=False)
    plain.begin("a/seed0", "worker 0")
    plain.say("a/seed0", "epoch 1/2")
    assert lines == ["a/seed0: begins (worker 0)", "a/seed0: epoch 1/2"]
