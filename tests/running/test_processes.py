"""One run over processes and hosts: the weights of one process with the same global batch, and nothing lost on a kill.

Stated tolerance: float32 sums in another order, rtol 1e-4 and atol 1e-6 on every weight after two epochs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.helpers import REPOSITORY
from tests.running.conftest import tiny_config
from wtal_bench.cli import main
from wtal_bench.running.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture
def here(dataset, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write(tmp_path, dataset, 2)
    return tmp_path


def write(folder: Path, dataset: Path, epochs: int) -> None:
    tree = tiny_config(dataset, epochs=epochs)
    tree["runtime"]["checkpoint_seconds"] = 0
    for head in tree["model"]["heads"].values():
        if "dropout" in head:
            head["dropout"] = 0.0  # ranks draw their own masks, which no single process can repeat
    (folder / "a.json").write_text(json.dumps(tree))


def weights(folder: str) -> dict[str, torch.Tensor]:
    return read_checkpoint(Path(folder) / "last.pth")["state_dict"]


def assert_close(left: dict, right: dict) -> None:
    assert set(left) == set(right)
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], rtol=1e-4, atol=1e-6)


def test_nproc_gives_the_weights_of_one_process_and_goes_on_with_another_number_of_them(here, dataset):
    assert main(["train", "a.json", "--work-dir", "one"]) == 0
    assert main(["train", "a.json", "--work-dir", "two", "--nproc", "2"]) == 0
    assert_close(weights("one"), weights("two"))
    (record,) = Path("two").glob("record/*.json")
    assert json.loads(record.read_text())["detections"]["videos"] == 12
    write(here, dataset, 4)
    record.unlink()
    assert main(["train", "a.json", "--work-dir", "two", "--resume"]) == 0
    (record,) = Path("two").glob("record/*.json")
    (before,) = json.loads(record.read_text())["environment"]["before"]
    assert before["processes"] == 2
    assert main(["train", "a.json", "--work-dir", "straight"]) == 0
    assert_close(weights("straight"), weights("two"))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_a_killed_process_ends_the_run_with_a_sentence_and_it_resumes(here, dataset):
    write(here, dataset, 100_000)
    command = [sys.executable, "-m", "wtal_bench", "train", "a.json", "--work-dir", "run", "--nproc", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 100
        while not Path("run/last.pth").is_file():
            assert time.monotonic() < end
            time.sleep(0.1)
        ranks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        second = next(
            int(pid) for pid in ranks if b"\0RANK=1\0" in b"\0" + Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
        )
        os.kill(second, signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 2, said
    assert "Traceback" not in said
    assert "process 2 of 2 was killed (SIGKILL)" in said or "another process of this run is gone" in said
    assert "--resume to go on" in said
    epoch = read_checkpoint(Path("run/last.pth"))["meta"]["epoch"]
    write(here, dataset, epoch + 1)
    assert main(["train", "a.json", "--work-dir", "run", "--resume", "--nproc", "2"]) == 0


def test_what_cannot_be_is_refused_with_a_sentence(here, capsys):
    for words, said in (
        (["--nproc", "2", "--seeds", "0", "1"], "have one process each"),
        (["--nproc", "2", "--jobs", "2", "--seeds", "0", "1"], "have one process each"),
    ):
        assert main(["train", "a.json", *words]) == 2
        assert said in capsys.readouterr().err
    assert main(["train", "a.json", "--work-dir", "w", "--nproc", "2", "--cfg-options", "train.lr=1e30"]) == 2


@contextmanager
def two_hosts() -> Iterator[tuple[list[str], list[str], str, list[dict[str, str]]]]:
    """Two network namespaces with a cable between them: the words that run a command in each, the first one's address.

    Where namespaces are refused, two rendez-vous on this machine's loopback stand for them.
    """
    name = f"w{uuid.uuid4().hex[:6]}"
    hosts = [f"{name}a", f"{name}b"]
    steps = [
        *(f"ip netns add {host}" for host in hosts),
        f"ip link add {hosts[0]} type veth peer name {hosts[1]}",
        *(f"ip link set {host} netns {host}" for host in hosts),
        *(f"ip -n {host} addr add 10.77.9.{at}/24 dev {host}" for at, host in enumerate(hosts, 1)),
        *(f"ip -n {host} link set {device} up" for host in hosts for device in (host, "lo")),
    ]
    try:
        for step in steps:
            subprocess.run(step.split(), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host], capture_output=True) if Path("/usr/sbin/ip").exists() else None
        yield [], [], "127.0.0.1", [{"GLOO_SOCKET_IFNAME": "lo"}] * 2
        return
    try:
        first, second = (["ip", "netns", "exec", host] for host in hosts)
        yield first, second, "10.77.9.1", [{"GLOO_SOCKET_IFNAME": host} for host in hosts]
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host], capture_output=True)


def test_two_hosts_give_the_weights_of_one_process(here):
    assert main(["train", "a.json", "--work-dir", "one"]) == 0
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    with two_hosts() as (first, second, address, variables):
        agents = []
        for rank, (inside, own) in enumerate(zip((first, second), variables, strict=True)):
            torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"]
            meet = ["--node_rank", str(rank), "--master_addr", address, "--master_port", str(port)]
            verb = ["-m", "wtal_bench", "train", str(here / "a.json"), "--work-dir", str(here / "hosts")]
            agents.append(
                subprocess.Popen(
                    [*inside, *torchrun, *meet, *verb],
                    cwd=REPOSITORY,
                    env={**os.environ, **own},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        said = [agent.communicate(timeout=200)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert_close(weights("one"), weights("hosts"))
    (ours,), (theirs,) = (map(json.loads, map(Path.read_text, Path(f).glob("record/*.json"))) for f in ("one", "hosts"))
    assert theirs["detections"]["videos"] == ours["detections"]["videos"]
    ours, theirs = (record["metrics"]["variants"]["activitynet"]["mAP"] for record in (ours, theirs))
    assert theirs == pytest.approx(ours, abs=1e-3)
