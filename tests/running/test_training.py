"""Training: equal to a bare loop, exact on resuming, whatever the loop or the interruption."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.running.conftest import tiny_config
from wtal_bench.data.sampling import build_sampling
from wtal_bench.errors import CheckpointError, ConfigError, DataError
from wtal_bench.modeling.build import build_model
from wtal_bench.running.checkpoint import read_checkpoint, write_checkpoint
from wtal_bench.running.config import check_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.hooks import seed_everything
from wtal_bench.running.loader import Gather, Plan
from wtal_bench.running.parents import parent_config
from wtal_bench.running.run import train
from wtal_bench.running.workdir import WorkDir

REPOSITORY = Path(__file__).resolve().parents[2]


def run(tree: dict, folder: Path, resume: bool = False):
    """Train in `folder`; return (result, weights)."""
    work_dir = WorkDir(folder, resume=resume)
    try:
        result = train(check_config(tree, "test"), work_dir, resume=resume, out=lambda line: None)
    finally:
        work_dir.release()
    return result, read_checkpoint(folder / "last.pth")["state_dict"]


def assert_equal(ours: dict, theirs: dict) -> None:
    assert set(ours) == set(theirs)
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), f"{name} differs by {(ours[name] - theirs[name]).abs().max()}"


def bare_loop(tree: dict) -> tuple[list[float], dict]:
    """The same training without a Runner: what anyone would write in one screen of plain torch."""
    config = check_config(tree, "test")
    t, seed = config.train, config.runtime.seed
    videos = open_data(config.data, "cpu", "test").training("refuse")
    seed_everything(seed)
    model = build_model(config.model, "test").train()
    optimizer = torch.optim.Adam(model.parameters(), lr=t.lr, betas=tuple(t.betas), weight_decay=t.weight_decay)
    plan = Plan(videos.labels, t.batch_size, seed, shuffle=True)
    gather = Gather(videos, build_sampling(t.sampling, length=t.length), seed)
    curve, step = [], 0
    for epoch in range(t.epochs):
        for number in range(len(plan)):
            batch = gather(plan.batch(epoch, number), "cpu")
            seed_everything(seed, step)
            loss = model.losses(batch)["total"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.append(float(loss.detach()))
            step += 1
    return curve, model.state_dict()


def test_runner_equals_a_bare_loop(dataset, tmp_path):
    tree = tiny_config(dataset, epochs=3)
    tree["runtime"]["log_interval"] = 0.0
    lines = []
    work_dir = WorkDir(tmp_path / "run")
    train(check_config(tree, "test"), work_dir, out=lines.append)
    work_dir.release()
    curve, weights = bare_loop(tree)
    assert_equal(read_checkpoint(tmp_path / "run" / "last.pth")["state_dict"], weights)
    shown = [line.split("loss ")[1].split()[0] for line in lines if "loss" in line]
    assert shown == [f"{value:.4g}" for value in curve]


def test_same_seed_gives_the_same_bits_and_another_seed_others(dataset, tmp_path):
    tree = tiny_config(dataset)
    first, again = run(tree, tmp_path / "a"), run(tree, tmp_path / "b")
    assert_equal(first[1], again[1])
    assert first[0].record["detections"]["sha256"] == again[0].record["detections"]["sha256"]
    other = tiny_config(dataset)
    other["runtime"]["seed"] = 1
    different = run(other, tmp_path / "c")[1]
    assert any(not torch.equal(first[1][name], different[name]) for name in different)


@pytest.mark.parametrize(
    ("unit", "first", "last", "options"),
    [
        ("epochs", 2, 4, {}),
        ("epochs", 2, 4, {"ema": 0.1, "clip": 1.0}),
        ("epochs", 2, 4, {"accumulate": 4}),  # 3 batches an epoch: a step ends in the middle of an epoch
        ("iterations", 4, 11, {"checkpoint_interval": 2, "lr_schedule": [(3, 5e-4), (9, 1e-4)]}),
    ],
)
def test_resuming_repeats_nothing_and_skips_nothing(dataset, tmp_path, unit, first, last, options):
    def tree(length: int) -> dict:
        made = tiny_config(dataset, **options)
        del made["train"]["epochs"]
        made["train"][unit] = length
        return made

    straight = run(tree(last), tmp_path / "straight")[1]
    run(tree(first), tmp_path / "resumed")
    resumed = run(tree(last), tmp_path / "resumed", resume=True)[1]
    assert_equal(straight, resumed)


def test_resuming_after_kill_minus_nine_in_the_middle_of_an_epoch(dataset, tmp_path):
    tree = tiny_config(dataset, epochs=40)
    tree["runtime"]["checkpoint_seconds"] = 0
    straight = run(tree, tmp_path / "straight")[1]
    config = tmp_path / "config.json"
    config.write_text(json.dumps(tree))
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "wtal_bench", "train", str(config), "--work-dir", str(folder)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "epoch 7/40" in line:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert 3 <= read_checkpoint(folder / "last.pth")["meta"]["epoch"] < 40
    assert not list((folder / "record").glob("*.json")) if (folder / "record").exists() else True
    assert_equal(straight, run(tree, folder, resume=True)[1])


@pytest.mark.parametrize("options", [{"grad_reduction": "sum"}, {"accumulate": 2, "accumulate_reduction": "sum"}])
def test_a_sum_of_gradients_is_the_mean_times_the_videos(dataset, tmp_path, options):
    # plain SGD without momentum: one step moves by lr times the gradient
    base = dict(epochs=1, optimizer="SGD", lr=1e-4, batch_size=12)
    if "accumulate" in options:
        base |= dict(batch_size=6)
    factor = 12 if "grad_reduction" in options else 2
    mean = dict(options, grad_reduction="mean", accumulate_reduction="mean")
    tree = tiny_config(dataset, **(base | mean))
    start = build_and_copy(tree)
    moved_mean = difference(run(tree, tmp_path / "mean")[1], start)
    moved_sum = difference(run(tiny_config(dataset, **(base | options)), tmp_path / "sum")[1], start)
    for name in moved_mean:
        torch.testing.assert_close(moved_sum[name], factor * moved_mean[name], rtol=0.02, atol=2e-6)
    assert max(value.abs().max() for value in moved_sum.values()) > 1e-5


def build_and_copy(tree: dict) -> dict:
    seed_everything(tree["runtime"].get("seed", 0))
    return {name: value.clone() for name, value in build_model(tree["model"], "test").state_dict().items()}


def difference(after: dict, before: dict) -> dict:
    return {name: after[name] - before[name] for name in before}


def test_bf16_trains_on_the_cpu_and_stays_near_float32(dataset, tmp_path):
    tree = tiny_config(dataset, epochs=2)
    plain = run(tree, tmp_path / "f32")[1]
    tree["runtime"]["precision"] = "bf16"
    half = run(tree, tmp_path / "bf16")[1]
    assert all(value.dtype == torch.float32 for value in half.values())
    assert any(not torch.equal(half[name], plain[name]) for name in plain)
    for name in plain:
        torch.testing.assert_close(half[name], plain[name], rtol=0, atol=0.05)


def test_val_holdout_selects_by_tags_of_held_out_training_videos(dataset, tmp_path):
    tree = tiny_config(dataset, epochs=3, selection="val_holdout", holdout=0.4)
    result, _ = run(tree, tmp_path / "run")
    best = read_checkpoint(tmp_path / "run" / "best.pth")["meta"]["best"]
    assert best["metric"] == "holdout/classification_mAP"
    assert result.record["selection"] == "val_holdout"


def test_best_on_test_says_so_in_the_record(dataset, tmp_path):
    result, _ = run(tiny_config(dataset, epochs=2, selection="best_on_test"), tmp_path / "run")
    assert result.record["selection"] == "best_on_test"
    assert read_checkpoint(tmp_path / "run" / "best.pth")["meta"]["best"]["metric"] == "test/average"


def test_warm_start_keeps_its_parent_in_the_record(dataset, tmp_path):
    parent, _ = run(tiny_config(dataset, epochs=1), tmp_path / "parent")
    child, _ = run(tiny_config(dataset, epochs=1, init_from=str(tmp_path / "parent")), tmp_path / "child")
    assert child.record["parent"] == parent.record["id"]


def test_workers_change_nothing(dataset, tmp_path):
    tree = tiny_config(dataset)
    plain = run(tree, tmp_path / "none")[1]
    tree["runtime"]["num_workers"] = 1
    assert_equal(plain, run(tree, tmp_path / "one")[1])


def test_checkpoint_of_another_model_is_explained(dataset, tmp_path):
    run(tiny_config(dataset, epochs=1), tmp_path / "a")
    other = tiny_config(dataset, epochs=1, init_from=str(tmp_path / "a"))
    other["model"]["backbone"]["channels"] = 16
    other["model"]["heads"]["pre"]["channels"] = 16
    with pytest.raises(CheckpointError, match="belongs to another model"):
        run(other, tmp_path / "b")


def test_two_runs_in_one_folder_are_refused_while_the_first_lives(dataset, tmp_path):
    first = WorkDir(tmp_path / "run")
    time.sleep(0)
    with pytest.raises(Exception, match="another run is using"):
        WorkDir(tmp_path / "run")
    first.release()


def test_a_full_disk_is_named_and_the_older_checkpoint_survives(tmp_path):
    path = tmp_path / "last.pth"
    write_checkpoint(path, {"weights": torch.zeros(4)})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(DataError, match=r"cannot write .*last.pth: File too large"):
            write_checkpoint(path, {f"weights{at}": torch.zeros(300, 300) for at in range(9)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pth"]


def test_checkpoints_further_apart_change_no_bit(dataset, tmp_path):
    tree = tiny_config(dataset, epochs=4)
    straight = run(tree, tmp_path / "straight")[1]
    half = tiny_config(dataset, epochs=2)
    for made in (tree, half):
        made["runtime"]["checkpoint_seconds"] = 1e6
    run(half, tmp_path / "resumed")
    assert_equal(straight, run(tree, tmp_path / "resumed", resume=True)[1])


def own_data_config(dataset, folder, classes: int = 5, options: Sequence[str] = ()) -> dict:
    """A config on the data set as data of one's own, that begins from a recipe written for other data."""
    written = tiny_config(dataset, epochs=1)
    written["data"] = dict(protocol="thumos14/v1", tags="labels_all")
    written["model"]["heads"]["pre"]["num_classes"] = classes
    (folder / "parent.json").write_text(json.dumps(written))
    child = tiny_config(dataset, epochs=1, init_from={"config": str(folder / "parent.json"), "options": [*options]})
    child["data"] = dict(protocol="own", root=str(dataset))
    return child


def test_a_parent_is_trained_on_the_data_of_its_child(dataset, tmp_path):
    child, _ = run(own_data_config(dataset, tmp_path), tmp_path / "run")
    (record,) = (tmp_path / "run" / "init").glob("record/*.json")
    parent = json.loads(record.read_text())
    assert child.record["parent"] == parent["id"]
    assert parent["protocol"] == child.record["protocol"]
    assert parent["config"]["data"] == child.record["config"]["data"]


@pytest.mark.parametrize(
    ("classes", "options", "said"),
    [
        (20, [], r"num_classes=20, but own.* has 5 classes.* train\.init_from\.options changes its settings"),
        (5, ["data.protocol=thumos14/v1"], "asks for data.protocol='thumos14/v1', the run itself is 'own'"),
    ],
)
def test_a_parent_that_cannot_be_used_is_refused_before_it_trains(dataset, tmp_path, classes, options, said):
    with pytest.raises(ConfigError, match=said):
        run(own_data_config(dataset, tmp_path, classes, options=options), tmp_path / "run")
    assert not list(tmp_path.rglob("*.pth"))


def test_what_the_options_of_a_parent_say_of_data_is_kept(dataset, tmp_path):
    tree = own_data_config(dataset, tmp_path, options=["data.tags=labels_all"])
    data = parent_config(check_config(tree, "child.py")).data
    assert (data.protocol, data.root, data.tags) == ("own", str(dataset), "labels_all")
