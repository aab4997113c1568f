"""Runs on Ray and Slurm: the same bits, resumed when a worker is lost, refused where folder or code are not shared."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.sweeps.test_local_engine import dataset, endless, found, here, one_thread, sweep
from wtal_bench.cli import main
from wtal_bench.engines import node_local, work
from wtal_bench.engines.board import Board
from wtal_bench.engines.work import Report, Ticket
from wtal_bench.errors import ConfigError, WtalError
from wtal_bench.running.config import load_config
from wtal_bench.running.plan import plan_seeds

__all__ = ["dataset", "here", "one_thread"]


def planned(folder: str) -> list:
    return plan_seeds(load_config("base.json"), [0], lambda seed: Path(folder) / "one" / f"seed{seed}")


@pytest.mark.slow
def test_ray_gives_the_bits_of_one_process_and_resumes_what_a_lost_worker_was_at(
    here, dataset, one_thread, monkeypatch
):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
    from wtal_bench.engines import ray as engine

    assert sweep("--work-dir", "a") == 0
    lost = Path("lost").resolve()

    def once_lost(ticket: Ticket) -> Report:
        if not lost.exists():
            lost.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return work.perform(ticket, lambda text: None)

    monkeypatch.setattr(engine, "_performed", once_lost)
    infer = ["infer", "base.json", "a/rows/one/seed0/last.pth", str(dataset / "features"), "--part-videos", "7"]
    assert main([*infer, "--out", "alone"]) == 0
    try:
        assert sweep("--work-dir", "b", "--engine", "ray", "--jobs", "2") == 0
        assert main([*infer, "--out", "shared", "--engine", "ray", "--jobs", "2"]) == 0
    finally:
        ray.shutdown()
    assert lost.exists()
    assert found("a") == found("b")
    assert not list(Path("b").rglob(f"{work.TOKEN}*"))
    alone, shared = ({path.name: path.read_bytes() for path in Path(out).glob("part-*")} for out in ("alone", "shared"))
    assert len(alone) == 4
    assert shared == alone


@pytest.mark.parametrize("name", ["ray", "submitit"])
def test_a_missing_package_is_named_with_its_pip_line(here, capsys, monkeypatch, name):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    extra = {"ray": "ray", "submitit": "slurm"}[name]
    assert sweep("--engine", extra) == 2
    assert f"pip install 'wtal-bench[{extra}]'" in capsys.readouterr().err


def test_slurm_without_sbatch_is_a_sentence(here, capsys, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert sweep("--engine", "slurm") == 2
    assert "there is no sbatch here" in capsys.readouterr().err


@pytest.mark.slow
def test_an_array_job_gives_the_bits_of_one_process(here, one_thread):
    pytest.importorskip("submitit")
    from wtal_bench.engines.slurm import Slurm

    assert sweep("--work-dir", "a", "--rows", "one") == 0
    runs = planned("b/rows")
    runs[0].config.variant = "one"
    lines: list[str] = []
    (outcome,) = Slurm({"timeout_min": 5}, board=Board(lines.append, live=False), cluster="local", poll=0.2).run(runs)
    assert outcome.problem == ""
    assert found("a")["one"] == found("b")["one"]
    assert "submitted 1 tasks" in lines[0]
    said = len(lines)
    (again,) = Slurm(board=Board(lines.append, live=False), cluster="local", poll=0.2).run(planned_again(runs))
    assert again.result.record["id"] == outcome.result.record["id"]
    assert len(lines) == said, "what is done is read, nothing is submitted"


def planned_again(runs: list) -> list:
    return plan_seeds(runs[0].config, [0], lambda seed: runs[0].folder)


def test_a_pre_empted_task_asks_for_the_same_again_and_goes_on(here, dataset, monkeypatch):
    submitit = pytest.importorskip("submitit")
    from wtal_bench.engines.slurm import Task

    endless(here, dataset, epochs=4)
    (run,) = planned("w")
    ticket = Ticket(run, here, 1)
    steps: list[str] = []

    def pre_empted(text: str) -> None:
        steps.append(text)
        if text.startswith("epoch 3/"):
            raise SystemExit(-1)  # what submitit does when the signal comes

    with pytest.raises(SystemExit):
        work.perform(ticket, pre_empted)
    begun = len(steps)
    delayed = Task().checkpoint(ticket)
    assert isinstance(delayed, submitit.helpers.DelayedSubmission)
    assert delayed.args == (ticket,)
    assert work.perform(ticket, steps.append).state == work.DONE
    rest = [text for text in steps[begun:] if text.startswith("epoch")]
    assert rest[0].startswith(("epoch 2/4", "epoch 3/4"))


def test_slurm_options_that_nobody_knows_are_refused(here):
    pytest.importorskip("submitit")
    from wtal_bench.engines.slurm import Slurm

    engine = Slurm({"gpus_per_nood": 1}, cluster="local")
    with pytest.raises(ConfigError, match="gpus_per_nood"):
        list(engine.run(planned("w")))


MOUNTS = r"""
22 1 0:21 / / rw,relatime - {root} /dev/root rw
23 22 0:5 / /tmp rw shared:2 - ext4 /dev/sdb rw
24 22 0:6 / /dev/shm rw - tmpfs tmpfs rw
25 22 0:7 / /home rw shared:3 - nfs4 server:/home rw
26 23 0:8 / /tmp/all\040machines rw - lustre server:/all rw
27 25 0:9 / /home/scratch rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("folder", "root", "why"),
    [
        ("/home/me/runs", "ext4", ""),
        ("/home/scratch/runs", "ext4", "tmpfs that is mounted at /home/scratch"),
        ("/dev/shm/runs", "ext4", "tmpfs"),
        ("/tmp/runs", "ext4", "every machine has one of its own"),
        ("/tmp/all machines/runs", "ext4", ""),
        ("/var/tmp/runs", "xfs", "every machine has one of its own"),
        ("/data/runs", "xfs", ""),
        ("/data/runs", "overlay", "overlay that is mounted at /"),
    ],
)
def test_a_folder_on_a_file_system_of_one_machine_is_told_by_its_mount(folder, root, why):
    found = node_local._why_local(Path(folder), MOUNTS.format(root=root))
    assert why in found
    assert bool(found) == bool(why)


def test_an_array_job_is_not_submitted_from_a_folder_of_this_machine_alone(here, monkeypatch):
    pytest.importorskip("submitit")
    from wtal_bench.engines.slurm import Slurm

    mounts = here / "mounts"
    monkeypatch.setattr(node_local, "MOUNTS", mounts)
    monkeypatch.setattr(node_local, "TEMPORARY", ())
    monkeypatch.setattr("shutil.which", lambda name: "sbatch")
    mounts.write_text(f"22 1 0:21 / / rw - overlay overlay rw\n23 22 0:5 / {here}/nfs rw - nfs4 server:/ rw\n")
    with pytest.raises(ConfigError, match=r"the folder of the runs, .* lies on the overlay that is mounted at /: the"):
        list(Slurm().run(planned("w")))
    assert not Path("w").exists(), "refused before anything is written"
    with pytest.raises(ConfigError, match="the current folder"):
        list(Slurm().run(planned("nfs/w")))


def test_words_of_another_engine_are_refused(here, capsys):
    assert sweep("--engine", "local", "--address", "auto") == 2
    assert "--address belongs to --engine ray" in capsys.readouterr().err


def test_a_folder_that_workers_do_not_see_is_found_before_the_first_run(here, monkeypatch):
    ticket = Ticket(planned("w")[0], here, 1, token=here / "elsewhere" / "token")
    report = work.perform(ticket, print)
    assert report.state == work.FAILED
    assert "does not see" in report.text
    assert not Path("w").exists()
    assert issubclass(ConfigError, WtalError)
