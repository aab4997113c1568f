"""The verbs of a run, from the command line: train, test, infer, sweep, list, new-plugin."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.running.conftest import FPS, STRIDE, WIDTH, tiny_config
from wtal_bench.cli import main
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.store import FeatureStore
from wtal_bench.evaluation import read_detections
from wtal_bench.leaderboard.identity import hash_config
from wtal_bench.protocols import get_protocol
from wtal_bench.running.checkpoint import read_checkpoint
from wtal_bench.running.config import check_config

PROTOCOL = get_protocol("synthetic_tiny/v2")
CLASSES = PROTOCOL.classes
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory) -> Path:
    """A folder with config.json and a finished run."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "my.json").write_text(json.dumps(tiny_config(dataset)))
    assert main(["train", str(folder / "my.json"), "--work-dir", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_file(folder: Path, dataset: Path, **train) -> Path:
    path = folder / "my.json"
    path.write_text(json.dumps(tiny_config(dataset, **train)))
    return path


def record_of(run: Path) -> dict:
    (path,) = (run / "record").glob("*.json")
    return json.loads(path.read_text())


# ---- train ----


def test_train_leaves_what_it_says_and_says_what_it_leaves(dataset, here, capsys):
    path = config_file(here, dataset, epochs=1)
    path.write_text(path.read_text().replace('"example": false', '"example": true'))
    assert main(["train", str(path), "--work-dir", "run"]) == 0
    said = capsys.readouterr().out
    record = record_of(here / "run")
    for part in (
        "mAP (%) at tIoU",
        f"avg {PROTOCOL.headline}",
        "activitynet",
        "selection last; seed 0",
        f"{record['id']}.json",
    ):
        assert part in said
    for name in ("record      ", "detections  ", "picture     "):
        (line,) = [line for line in said.splitlines() if line.startswith(name)]
        assert Path(line.removeprefix(name)).is_file()
    assert (here / "run" / "example.png").read_bytes().startswith(PNG)
    resolved = json.loads((here / "run" / "config.json").read_text())
    assert resolved == check_config(json.loads(path.read_text()), str(path)).resolved()
    meta = read_checkpoint(here / "run" / "last.pth")["meta"]
    assert meta["config_hash"] == record["config_hash"] == hash_config(record["config"])
    assert (meta["method"], meta["protocol"], meta["epoch"], meta["iter"]) == ("ecm", "synthetic_tiny/v2", 1, 3)
    assert sorted(item.name for item in here.iterdir()) == ["my.json", "run"]


def test_a_dry_run_builds_everything_and_keeps_nothing(dataset, here, capsys):
    path = config_file(here, dataset)
    assert main(["train", str(path), "--dry-run", "--work-dir", "run"]) == 0
    said = capsys.readouterr().out
    assert "12 training and 12 test videos" in said
    assert "one step gives loss" in said
    assert "Nothing was kept." in said
    assert [item.name for item in here.iterdir()] == ["my.json"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("nowhere.pth", "nowhere.pth: there is no such file"),
        ("some-record", "is no checkpoint, no run's folder and no record id"),
        ({"config": "nowhere.json"}, "child.json: train.init_from.config: no recipe 'nowhere.json'"),
        ({"config": "my.json", "epochs": 3}, "train.init_from is a dict(config="),
        ({"config": "my.json", "options": ["train.epohcs=3"]}, "Did you mean 'epochs'?"),
        ({"config": "my.json", "options": ["model.heads.pre.dropuot=3"]}, "Did you mean 'dropout'?"),
    ],
    ids=str,
)
def test_a_dry_run_looks_for_the_weights_to_start_from(dataset, here, capsys, source, expected):
    config_file(here, dataset)
    (here / "child.json").write_text(json.dumps(tiny_config(dataset, init_from=source)))
    for more in (["--dry-run"], ["--work-dir", "run"]):
        assert main(["train", "child.json", *more]) == 2
        assert expected in capsys.readouterr().err
    assert sorted(item.name for item in here.iterdir()) == ["child.json", "my.json"]


def test_a_parent_is_trained_first_in_the_runs_own_folder_and_once(dataset, here, capsys):
    config_file(here, dataset, epochs=1)
    source = {"config": "my.json", "options": ["train.lr=0.002"]}
    (here / "child.json").write_text(json.dumps(tiny_config(dataset, epochs=1, init_from=source)))
    assert main(["train", "child.json", "--dry-run"]) == 0
    assert main(["train", "child.json", "--work-dir", "run"]) == 0
    assert "training my.json first" in capsys.readouterr().out
    parent, child = record_of(here / "run" / "init"), record_of(here / "run")
    assert child["parent"] == parent["id"]
    assert parent["config"]["train"]["lr"] == 0.002
    assert main(["train", "child.json", "--work-dir", "run", "--resume", "--cfg-options", "train.epochs=2"]) == 0
    assert "first (train.init_from)" not in capsys.readouterr().out
    assert record_of(here / "run" / "init") == parent


def test_train_makes_a_folder_of_its_own_and_resumes_the_newest(dataset, here, capsys):
    path = config_file(here, dataset, epochs=1)
    assert main(["train", str(path), "--resume"]) == 2
    assert "work_dirs/my holds no run to resume" in capsys.readouterr().err
    assert main(["train", str(path)]) == 0
    (run,) = (here / "work_dirs" / "my").iterdir()
    assert run.name.split("-")[2] == "seed0"
    assert main(["train", str(path), "--resume", "--cfg-options", "train.epochs=2"]) == 0
    assert [folder.name for folder in (here / "work_dirs" / "my").iterdir()] == [run.name]
    assert read_checkpoint(run / "last.pth")["meta"]["epoch"] == 2


def test_seeds_train_one_run_each_and_are_resumed_one_by_one(dataset, here, capsys):
    path = config_file(here, dataset, epochs=1)
    words = ["train", str(path), "--seeds", "0", "1", "--work-dir", "runs"]
    assert main(words) == 0
    records = [record_of(here / "runs" / f"seed{seed}") for seed in (0, 1)]
    said = capsys.readouterr().out
    assert_seeds_are_summed_up(said, records)
    assert [record["seed"] for record in records] == [0, 1]
    assert records[0]["config_hash"] == records[1]["config_hash"]  # one row of the leaderboard
    assert records[0]["detections"]["sha256"] != records[1]["detections"]["sha256"]
    # seed 0 was finished, seed 1 never begun, as after a night's power cut
    (here / "runs" / "seed1").rename(here / "gone")
    assert main([*words, "--resume"]) == 0
    assert record_of(here / "runs" / "seed1")["detections"] == records[1]["detections"]
    assert main(words) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert main(["train", str(path), "--seeds", "0", "--resume"]) == 2
    assert "needs --work-dir" in capsys.readouterr().err
    for more in ([], ["--dry-run"]):
        assert main(["train", str(path), "--seeds", "0", "1", "0", *more]) == 2
        assert "seed 0 stands twice" in capsys.readouterr().err
    assert main(["train", str(path), "--seeds", "0", "--seed", "1"]) == 2
    assert "give one" in capsys.readouterr().err


def assert_seeds_are_summed_up(said: str, records: list[dict]) -> None:
    blocks = [record["metrics"]["variants"][PROTOCOL.main] for record in records]
    values = np.array([[*block["mAP"], *(v for k, v in block["averages"].items() if ":" in k)] for block in blocks])
    lines = said.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith(f"mAP (%) at tIoU by {PROTOCOL.main}, selection"))
    seeds, mean, std = lines[first + 2 : first + 2 + len(records)], *lines[first + 2 + len(records) :][:2]
    expected = [*values, values.mean(axis=0), values.std(axis=0, ddof=1)]
    for name, line, row in zip(["0", "1", "mean", "std"], [*seeds, mean, std], expected, strict=True):
        assert line.split()[0] == name
        np.testing.assert_allclose(list(map(float, line.split()[1:])), 100 * row, atol=0.00501)
    average = 100 * np.array([block["averages"][PROTOCOL.headline] for block in blocks])
    assert f"{average.mean():.2f} ± {average.std(ddof=1):.2f}" in said
    assert lines[-1] == f"mean ± sample standard deviation (n - 1) over n = {len(records)} seeds"


def test_one_seed_shows_no_spread(dataset, here, capsys):
    path = config_file(here, dataset, epochs=1)
    assert main(["train", str(path), "--seeds", "3", "--work-dir", "runs"]) == 0
    said = capsys.readouterr().out
    assert "1 seed, which shows no spread" in said
    assert "std" in said
    assert "±" not in said


def test_seed_and_deterministic_are_settings(dataset, here, capsys):
    path = config_file(here, dataset)
    assert main(["train", str(path), "--seed", "7", "--deterministic", "--print-config"]) == 0
    runtime = json.loads(capsys.readouterr().out)["runtime"]
    assert (runtime["seed"], runtime["deterministic"]) == (7, True)


def test_several_processes_need_a_folder_they_agree_on(dataset, here, monkeypatch, capsys):
    path = config_file(here, dataset)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", str(path)]) == 2
    assert "name the run's folder with --work-dir" in capsys.readouterr().err
    assert [item.name for item in here.iterdir()] == ["my.json"]


def test_a_record_is_filed_when_asked(dataset, here, capsys):
    (here / "leaderboard" / "records").mkdir(parents=True)
    tree = tiny_config(dataset, epochs=1)
    tree["data"] = dict(protocol=PROTOCOL.name, synthetic=dict(profile="tiny", world=0))  # the protocol's own videos
    tree["model"]["backbone"]["in_channels"] = 32
    (here / "my.json").write_text(json.dumps(tree))
    assert main(["train", "my.json", "--work-dir", "run", "--file"]) == 0
    name = record_of(here / "run")["id"]
    assert list((here / "leaderboard" / "records").rglob(f"{name}.json"))
    assert name in (here / "leaderboard" / "leaderboard.csv").read_text()


# ---- test ----


def test_test_scores_a_checkpoint_as_training_did(trained, capsys):
    words = ["test", str(trained / "my.json"), str(trained / "run" / "last.pth")]
    assert main(words) == 0
    assert "mAP (%) at tIoU" in capsys.readouterr().out
    ours, again = record_of(trained / "run"), record_of(trained / "run" / "test")
    assert again["detections"] == ours["detections"]
    assert again["metrics"] == ours["metrics"]


def test_test_takes_other_settings_of_the_decoder(trained, tmp_path, capsys):
    words = ["test", str(trained / "my.json"), str(trained / "run" / "last.pth"), "--work-dir", str(tmp_path / "other")]
    assert main([*words, "--cfg-options", "model.postprocessor.thresholds=[0.9]"]) == 0
    other = record_of(tmp_path / "other")
    assert other["config"]["model"]["postprocessor"]["thresholds"] == [0.9]
    assert other["detections"]["sha256"] != record_of(trained / "run")["detections"]["sha256"]


def test_test_of_a_folder_says_what_to_name(trained, capsys):
    assert main(["test", str(trained / "my.json"), str(trained / "run")]) == 2
    assert "name a checkpoint in it" in capsys.readouterr().err


# ---- infer ----


@pytest.fixture
def video(dataset, tmp_path) -> Path:
    """Features of one test video in a file of their own."""
    path = tmp_path / "test_003.npy"
    store = FeatureStore.open(dataset / "features")
    np.save(path, store.video("test_003"))
    return path


def infer(trained: Path, *words: str) -> int:
    common = [str(trained / "my.json"), str(trained / "run" / "last.pth")]
    return main(["infer", *common, *words, "--fps", str(FPS), "--stride", str(STRIDE)])


def test_infer_finds_what_the_test_found_and_draws_it(trained, dataset, video, here, capsys):
    duration = Annotations.load(dataset / "annotations.json").videos["test_003"].duration
    words = [str(video), "--duration", str(duration), "--out", "found.json", "--plot", "pictures"]
    assert infer(trained, *words) == 0
    found = read_detections(here / "found.json", CLASSES).videos["test_003"]
    record = record_of(trained / "run")
    scored = read_detections(trained / "run" / "record" / record["detections"]["file"], CLASSES).videos["test_003"]
    assert len(found) > 0
    np.testing.assert_allclose(found.rows(), scored.rows(), rtol=1e-6, atol=1e-6)
    assert (here / "pictures" / "test_003.png").read_bytes().startswith(PNG)
    said = capsys.readouterr().out
    assert f"test_003: {len(found)} detections" in said
    assert "written found.json" in said


def test_infer_leaves_out_low_scores_and_takes_several_files(trained, video, here):
    np.save(here / "short.npy", np.ones((1, WIDTH), np.float16))
    assert infer(trained, str(video), str(here / "short.npy"), "--out", "all.json.gz") == 0
    every = read_detections(here / "all.json.gz", CLASSES).videos
    assert set(every) == {"test_003", "short"}
    limit = float(np.median(every["test_003"].score))
    assert infer(trained, str(video), "--out", "best.json", "--min-score", str(limit)) == 0
    best = read_detections(here / "best.json", CLASSES).videos["test_003"]
    assert len(best) == int((every["test_003"].score >= limit).sum())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no such file"),
        (b"not numpy", "is no .npy file"),
        (np.array([{"a": 1}], dtype=object), "is an array of Python objects"),
        (np.ones((4, WIDTH), np.int64), "holds int64 numbers, features are floats"),
        (np.ones(4), "holds an array of shape (4,)"),
        (np.ones((0, WIDTH)), "T >= 1"),
        (np.full((4, WIDTH), np.nan), "snippet 0 holds NaN"),
        (
            np.ones((4, WIDTH + 1)),
            "has 9 columns, the model was trained on features of 8 (streams rgb, flow), made by 'random'",
        ),
        (np.ones((WIDTH, 5)), "has 5 columns and 8 snippets, the model was trained on features of 8 columns"),
        (np.ones((WIDTH, 5)), "the array is [D,T]? Say --transposed."),
    ],
    ids=["missing", "text", "objects", "integers", "one axis", "empty", "nan", "width", "turned", "turned, advice"],
)
def test_infer_refuses_files_that_are_no_features(trained, here, capsys, content, expected):
    path = here / "video.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    before = list(here.iterdir())
    assert infer(trained, str(path), "--out", "found.json") == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "video.npy" in error
    assert list(here.iterdir()) == before


def test_infer_refuses_what_would_be_ambiguous(trained, video, here, capsys):
    (here / "more").mkdir()
    (here / "more" / video.name).write_bytes(video.read_bytes())
    assert infer(trained, str(video), str(here / "more" / video.name)) == 2
    assert "is found twice" in capsys.readouterr().err
    for words, expected in ((["--fps", "0"], "--fps must lie in"), (["--duration", "-1"], "--duration must lie in")):
        common = ["infer", str(trained / "my.json"), str(trained / "run" / "last.pth"), str(video)]
        assert main([*common, "--fps", "25", "--stride", "16", *words]) == 2
        assert expected in capsys.readouterr().err


# ---- sweep ----


ROWS = """
base: my.json
rows:
  - name: full
    paper_row: Table 1, all losses
    published: {metric: mAP@0.5, value: 12.3}
  - name: no_a2c
    paper_row: Table 1, without
    options: {model.losses.a2c: null}
"""


def test_sweep_trains_its_rows_once_and_prints_them_beside_the_paper(dataset, here, capsys):
    config_file(here, dataset, epochs=1)
    (here / "rows.yaml").write_text(ROWS)
    assert main(["sweep", "rows.yaml", "--list"]) == 0
    assert "12.3 mAP@0.5" in capsys.readouterr().out
    assert sorted(path.name for path in here.iterdir()) == ["my.json", "rows.yaml"]

    assert main(["sweep", "rows.yaml", "--seeds", "0", "1", "--work-dir", "out"]) == 0
    said = capsys.readouterr().out
    table = said[said.index("mAP@0.5 (%) by activitynet, seeds 0, 1") :]
    runs = {(row, seed): here / "out" / "rows" / row / f"seed{seed}" for row in ("full", "no_a2c") for seed in (0, 1)}
    records = {key: record_of(run) for key, run in runs.items()}
    assert {key: (record["variant"], record["seed"]) for key, record in records.items()} == {key: key for key in runs}
    assert "a2c" in records["full", 0]["config"]["model"]["losses"]
    assert records["no_a2c", 0]["config"]["model"]["losses"]["a2c"] is None
    for row in ("full", "no_a2c"):
        values = [100 * at_half(records[row, seed]["metrics"]) for seed in (0, 1)]
        (line,) = [line for line in table.splitlines() if line.startswith(row)]
        mean, spread, published, difference = line.split()[1:5]
        assert (mean, spread) == (f"{np.mean(values):.2f}", f"{np.std(values, ddof=1):.2f}")
        if row == "full":
            assert (published, difference) == ("12.3", f"{np.mean(values) - 12.3:+.2f}")
        else:
            assert (published, difference) == ("-", "-")

    before = {path: path.stat().st_mtime_ns for path in (here / "out").rglob("*.pth")}
    assert main(["sweep", "rows.yaml", "--work-dir", "out"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (here / "out").rglob("*.pth")} == before


def at_half(metrics) -> float:
    block = metrics["variants"][metrics["main"]]
    return block["mAP"][block["tious"].index(0.5)]


def test_sweep_compares_by_the_evaluator_the_rows_name_and_refuses_what_the_protocol_lacks(dataset, here, capsys):
    config_file(here, dataset, epochs=1)
    for metric, words in (
        ("mAP@0.75", r"synthetic_tiny/v2 has no mAP@0.75: it is scored at tIoU 0.1, 0.2"),
        ("mAP@0.5:0.95", "not at 0.55"),
        ("mAP", "expected 'average' or a tIoU of synthetic_tiny/v2"),
        ("frame_accuracy", "measures no frame accuracy: set test.frame_accuracy"),
    ):
        (here / "rows.yaml").write_text(ROWS.replace("mAP@0.5", metric))
        assert main(["sweep", "rows.yaml", "--work-dir", "out"]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert "row 'full'" in said
    assert not (here / "out").exists()
    (here / "rows.yaml").write_text(ROWS.replace("model.losses.a2c: null", "test.evaluator: thumos_snippet"))
    assert main(["sweep", "rows.yaml", "--work-dir", "out"]) == 2
    assert "test.evaluator='thumos_snippet': synthetic_tiny/v2 has no such evaluator" in capsys.readouterr().err


def test_sweep_never_sets_a_published_value_beside_another_metric_or_other_data(dataset, here, capsys):
    config_file(here, dataset, epochs=1)
    (here / "rows.yaml").write_text(ROWS)
    assert main(["sweep", "rows.yaml", "--rows", "full", "--metric", "average", "--work-dir", "out"]) == 0
    said = capsys.readouterr().out
    assert "mAP@0.1:0.7 (%) by activitynet" in said
    assert "12.3" not in said
    assert "No published value of the same data, metric and evaluator: full." in said
    other = json.loads((here / "my.json").read_text())
    (here / "thumos.json").write_text(json.dumps({**other, "data": {"protocol": "thumos14/v1"}}))
    (here / "rows.yaml").write_text(ROWS.replace("my.json", "thumos.json"))
    assert main(["sweep", "rows.yaml", "--rows", "full", "--base", "my.json", "--work-dir", "out"]) == 0
    said = capsys.readouterr().out
    assert "12.3" not in said
    assert "No published value" in said


def test_sweep_goes_on_where_it_was_interrupted(dataset, here):
    config_file(here, dataset, epochs=1)
    (here / "rows.yaml").write_text(ROWS)
    folder = here / "out" / "rows" / "full" / "seed0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")  # killed before its first checkpoint
    assert main(["sweep", "rows.yaml", "--rows", "full", "--work-dir", "out"]) == 0
    assert record_of(folder)["variant"] == "full"
    assert not (here / "out" / "rows" / "no_a2c").exists()


def test_sweep_checks_every_row_before_the_first_trains(dataset, here, capsys):
    config_file(here, dataset)
    (here / "rows.yaml").write_text(ROWS.replace("model.losses.a2c", "train.epohcs"))
    assert main(["sweep", "rows.yaml", "--work-dir", "out"]) == 2
    assert "Did you mean 'epochs'?" in capsys.readouterr().err
    (here / "rows.yaml").write_text(ROWS)
    assert main(["sweep", "rows.yaml", "--rows", "ful"]) == 2
    assert "Did you mean 'full'?" in capsys.readouterr().err
    assert main(["sweep", "row.yaml"]) == 2
    assert "Did you mean 'rows.yaml'?" in capsys.readouterr().err
    assert sorted(path.name for path in here.iterdir()) == ["my.json", "rows.yaml"]


# ---- list ----


def test_list_shows_kinds_names_and_origins(capsys):
    assert main(["list", "--kind", "loss"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("loss (")
    assert "VideoCrossEntropy" in said
    assert "head (" not in said
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["components"]
    assert {"backbone", "head", "loss", "postprocessor"} <= {row["kind"] for row in rows}
    assert all(row["summary"] for row in rows)
    assert main(["list", "--kind", "losses"]) == 2
    assert "Did you mean 'loss'?" in capsys.readouterr().err
