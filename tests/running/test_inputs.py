"""What `infer` takes, and what it writes: any layout, a store, video files; JSON, a submission, CSV, subtitles."""

from __future__ import annotations

import contextlib
import csv
import json
import multiprocessing
import os
import pickle
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from tests.running.conftest import FPS, STRIDE, WIDTH, tiny_config
from wtal_bench.cli import main
from wtal_bench.data.importers.files import Options
from wtal_bench.data.store import FeatureStore, StoredVideo, plan_shards, write_shards, write_store
from wtal_bench.data.store.manifest import described
from wtal_bench.engines import work
from wtal_bench.engines.board import Board
from wtal_bench.errors import ConfigError
from wtal_bench.evaluation import read_detections
from wtal_bench.interfaces import Extractor
from wtal_bench.protocols import get_protocol
from wtal_bench.running.checkpoint import read_checkpoint, weights_of
from wtal_bench.running.config import load_config
from wtal_bench.running.exports import check_suffix, export
from wtal_bench.running.infer_jobs import Inference, PartsJob
from wtal_bench.running.infer_parts import PartsProgress
from wtal_bench.running.inputs import Rates, open_inputs
from wtal_bench.structures import Detections

CLASSES = get_protocol("synthetic_tiny/v2").classes
ROWS = [(0, 1.5, 3661.25, 0.5), (1, 0.0, 2.0, 0.25)]


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "my.json").write_text(json.dumps(tiny_config(dataset, epochs=1)))
    assert main(["train", str(folder / "my.json"), "--work-dir", str(folder / "run")]) == 0
    return folder


def infer(trained, out, *arguments) -> int:
    words = [trained / "my.json", trained / "run" / "last.pth", *arguments, "--out", out]
    return main(["infer", *map(str, words)])


def found(path) -> dict:
    return read_detections(path, CLASSES).videos


def test_features_of_any_layout_and_a_store_give_the_same_detections(trained, dataset, tmp_path):
    store = FeatureStore.open(dataset / "features")
    names = [name for name in store.ids if name.startswith("test")][:3]
    for name in names:
        features = store.video(name)
        for stream, part in (("rgb", features[:, : WIDTH // 2]), ("flow", features[:, WIDTH // 2 :])):
            (tmp_path / "two").mkdir(exist_ok=True)
            np.save(tmp_path / "two" / f"{name}_{stream}.npy", part)
        (tmp_path / "one").mkdir(exist_ok=True)
        np.savez(tmp_path / "one" / f"{name}.npz", features=features)
    assert infer(trained, tmp_path / "a.json", tmp_path / "two") == 0, "rate and stride are those of training"
    assert infer(trained, tmp_path / "b.json", tmp_path / "one", "--fps", FPS, "--stride", STRIDE) == 0
    assert infer(trained, tmp_path / "c.json", dataset / "features") == 0
    first, second, third = (found(tmp_path / f"{name}.json") for name in "abc")
    assert set(first) == set(second) == set(names) < set(third)
    for name in names:
        np.testing.assert_array_equal(first[name].rows(), second[name].rows())
        np.testing.assert_allclose(first[name].rows(), third[name].rows(), atol=1e-6)


def test_a_store_is_detected_in_parts_that_go_on_and_refuse_others(trained, dataset, tmp_path, capsys):
    assert infer(trained, tmp_path / "one.json.gz", dataset / "features") == 0
    whole = found(tmp_path / "one.json.gz")
    parts = [dataset / "features", "--part-videos", "5"]
    count = -(-len(whole) // 5)
    assert infer(trained, tmp_path / "parts", *parts) == 0
    assert f"written {count} parts; {count} are in" in capsys.readouterr().out
    files = sorted((tmp_path / "parts").glob("part-*.json.gz"))
    assert [name for path in files for name in found(path)] == list(whole)
    for path in files:
        for name, rows in found(path).items():
            np.testing.assert_array_equal(rows.rows(), whole[name].rows())
    bytes_before = [path.read_bytes() for path in files]
    files[1].unlink()
    (tmp_path / "parts" / f".{files[2].name}.lock").touch()  # what a killed process leaves
    assert infer(trained, tmp_path / "parts", *parts) == 0
    assert f"written 1 parts; {count} are in" in capsys.readouterr().out
    assert infer(trained, tmp_path / "parts", *parts) == 0
    assert [path.read_bytes() for path in files] == bytes_before
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {"parts.json", *(path.name for path in files)}
    assert infer(trained, tmp_path / "parts", dataset / "features", "--part-videos", "4") == 2
    assert "holds detections of another model, other videos or features, or other settings" in capsys.readouterr().err
    other = json.loads((trained / "my.json").read_text())
    other["model"]["postprocessor"]["nms"]["iou"] = 0.7
    (tmp_path / "other.json").write_text(json.dumps(other))
    decoded = [tmp_path / "other.json", trained / "run" / "last.pth", *parts, "--out", tmp_path / "parts"]
    assert main(["infer", *map(str, decoded)]) == 2, "a config that decodes in another way"
    assert (
        capsys.readouterr().err.count("holds detections of another model, other videos or features, or other settings")
        == 1
    )
    store = FeatureStore.open(dataset / "features")
    louder = [StoredVideo(name, 2 * store.video(name), store.meta(name).duration, FPS) for name in store.ids]
    keys = ("name", "extractor", "fps", "stride", "streams", "synthetic")
    write_store(tmp_path / "louder", louder, manifest={key: store.manifest[key] for key in keys}, dtype="float32")
    assert infer(trained, tmp_path / "parts", tmp_path / "louder", "--part-videos", "5") == 2
    assert "other videos or features" in capsys.readouterr().err, "the same names, other features"
    assert infer(trained, tmp_path / "other", *parts, "--part-format", ".csv") == 2
    truth = ["--protocol", "own", "--annotations", str(dataset / "annotations.json")]
    reports = []
    for path in ("one.json.gz", "parts"):
        assert main(["evaluate", str(tmp_path / path), *truth, "--json", str(tmp_path / "r.json")]) == 0
        reports.append(json.loads((tmp_path / "r.json").read_text())["metrics"])
    assert reports[0] == reports[1]


def _kill_the_worker(part: Path, others: int) -> None:
    """Let a worker make all parts but one, and kill it while it waits for that one."""
    with FileLock(part.with_name(f".{part.name}.lock")):
        end = time.monotonic() + 300
        while len(list(part.parent.glob("part-*"))) < others:
            assert time.monotonic() < end, "the worker made nothing"
            time.sleep(0.05)
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(0.2)  # not `join`: the driver waits for it, and only one can


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_part_and_what_workers_write_are_the_bytes_of_one_process(
    trained, dataset, tmp_path, capsys
):
    parts = [dataset / "features", "--part-videos", "5", "--threads", "1"]
    before = torch.get_num_threads()
    try:
        assert infer(trained, tmp_path / "one", *parts) == 0
    finally:
        torch.set_num_threads(before)
    names = sorted(path.name for path in (tmp_path / "one").glob("part-*"))
    (tmp_path / "shared").mkdir()
    killer = threading.Thread(target=_kill_the_worker, args=(tmp_path / "shared" / names[1], len(names) - 1))
    killer.start()
    capsys.readouterr()
    assert infer(trained, tmp_path / "shared", *parts, "--jobs", "1") == 0
    killer.join()
    printed = capsys.readouterr().out
    assert f"0 of {len(names)} parts are there; 1 worker processes, 1 thread each" in printed
    assert "its process died (signal SIGKILL); attempt 2 of 3 goes on with the parts that are missing" in printed
    assert "infer0: 1 parts written" in printed, "what the first attempt had written is not made again"
    assert f"written {len(names)} parts; {len(names)} are in" in printed
    files = [path.name for path in (tmp_path / "shared").iterdir()]
    assert sorted(files) == sorted(path.name for path in (tmp_path / "one").iterdir())
    for name in names:
        assert (tmp_path / "shared" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert infer(trained, tmp_path / "shared", *parts, "--jobs", "2") == 0, "with nothing to do no worker is started"
    assert "written 0 parts" in capsys.readouterr().out


def test_workers_are_refused_in_a_sentence_before_they_start(trained, dataset, tmp_path, capsys):
    features = dataset / "features"
    assert infer(trained, tmp_path / "found.json", features, "--jobs", "2") == 2
    assert "say with --part-videos N, of how many videos each is" in capsys.readouterr().err
    assert infer(trained, tmp_path / "a", features, "--part-videos", "5", "--engine", "here", "--jobs", "2") == 2
    assert "--engine here" in capsys.readouterr().err
    assert infer(trained, tmp_path / "a", features, "--part-videos", "5") == 0
    assert infer(trained, tmp_path / "a", features, "--part-videos", "4", "--jobs", "2") == 2
    assert "holds detections of another model, other videos or features, or other settings" in capsys.readouterr().err


def test_a_worker_of_parts_is_plain_data_and_says_why_it_cannot_work(trained, dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a worker goes where its ticket says
    asked = Inference(
        config=load_config(trained / "my.json"),
        checkpoint=trained / "run" / "last.pth",
        sources=(str(dataset / "features"),),
        rates=Rates(),
        options=Options(),
        extractor="EfficientNetLite0",
        extractor_options=(),
        min_score=0.0,
        plot=None,
        plot_format="png",
        out=tmp_path / "parts",
        part_videos=5,
        part_format=".json",
    )
    job = pickle.loads(pickle.dumps(PartsJob(asked, 0)))
    lines: list[str] = []
    assert work.perform(work.Ticket(job, tmp_path, torch.get_num_threads()), lines.append).state == work.DONE
    count = len(list((tmp_path / "parts").glob("part-*")))
    assert [line for line in lines if line.startswith("part ")] == [f"part {n + 1} of {count}" for n in range(count)]
    gone = PartsJob(replace(asked, sources=(str(tmp_path / "gone"),)), 0)
    report = work.perform(work.Ticket(gone, tmp_path, torch.get_num_threads()), lines.append)
    assert report.state == work.FAILED
    assert "gone" in report.text


def test_how_far_the_parts_are_is_said_with_the_time_that_is_left(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("wtal_bench.running.infer_parts.time.monotonic", lambda: now[0])
    paths = [tmp_path / f"part-{number}" for number in range(4)]
    paths[0].touch()
    progress = PartsProgress(paths)
    assert progress() == "1 of 4 parts are there"
    paths[1].touch()
    now[0] = 90.0
    assert progress() == "2 of 4 parts are there, about 3.0 minutes left"
    lines: list[str] = []
    board = Board(lines.append, live=False)
    board.headline = progress
    monkeypatch.setattr("wtal_bench.engines.board.BETWEEN", 0.0)
    board.tick()
    board.tick()
    assert lines == ["2 of 4 parts are there, about 3.0 minutes left"], "what has not changed is not said again"
    for path in paths:
        path.touch()
    assert progress() == "4 of 4 parts are there"


def test_scores_below_the_bound_are_left_out_of_file_and_picture(trained, dataset, tmp_path):
    np.save(tmp_path / "v.npy", FeatureStore.open(dataset / "features").video("test_000"))
    assert infer(trained, tmp_path / "all.json", tmp_path / "v.npy") == 0
    scores = found(tmp_path / "all.json")["v"].score
    bound = float(np.median(scores))
    plot = ["--plot", tmp_path / "plots", "--plot-format", "pdf"]
    assert infer(trained, tmp_path / "some.json", tmp_path / "v.npy", "--min-score", bound, *plot) == 0
    assert len(found(tmp_path / "some.json")["v"]) == (scores >= bound).sum()
    assert (tmp_path / "plots" / "v.pdf").read_bytes().startswith(b"%PDF")


def test_a_model_that_skips_its_start_finds_what_one_that_drew_it_finds(trained, dataset, tmp_path, monkeypatch):
    assert infer(trained, tmp_path / "a.json", dataset / "features") == 0
    monkeypatch.setattr("wtal_bench.running.infer.NoStart", contextlib.nullcontext)
    assert infer(trained, tmp_path / "b.json", dataset / "features") == 0
    first, second = found(tmp_path / "a.json"), found(tmp_path / "b.json")
    assert all(np.array_equal(first[name].rows(), second[name].rows()) for name in first)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "found.txt"], "detections are written as"),
        (["--plot", "p", "--plot-format", "jpg"], "pictures are png, pdf, svg"),
        (["--duration", "0"], "--duration must lie in"),
        (["--fps", "nan"], "--fps must lie in"),
        (["--pattern", "x.npy"], "must hold {id} once"),
    ],
)
def test_wrong_words_are_sentences(trained, dataset, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    np.save("v.npy", FeatureStore.open(dataset / "features").video("test_000"))
    arguments = ["infer", str(trained / "my.json"), str(trained / "run" / "last.pth"), "v.npy", *words]
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["v.npy"]


def test_rates_nobody_says_are_asked_for(dataset, tmp_path):
    np.save(tmp_path / "v.npy", np.ones((5, 3), np.float32))
    with pytest.raises(ConfigError, match="say --stride: neither the files nor"):
        open_inputs([str(tmp_path)], Rates(fps=25), {})
    with pytest.raises(ConfigError, match="a feature store knows its rate"):
        open_inputs([str(dataset / "features")], Rates(fps=25), {})
    (item,) = open_inputs([str(tmp_path)], Rates(duration=9.0), {"fps": 25.0, "stride": 16})
    assert item.load()[1].duration == 9.0


class Means(Extractor):
    """[S,N,H,W,3] -> [S,3]: mean colours."""

    size, width, window, offsets, words = 32, 3, 4, (0,), "mean colours"

    def __call__(self, frames):
        return frames.double().mean(dim=(1, 2, 3))


def test_videos_are_extracted_as_the_training_features_were(tmp_path):
    videos = pytest.importorskip("tests.extraction.videos")
    path = videos.write_video(tmp_path / "clip.mp4", videos.greys(40))
    trained = {"fps": 25.0, "stride": 4, "extractor": "mean colours"}
    (item,) = open_inputs([str(path)], Rates(), trained, extractor=Means)
    features, meta = item.load()
    assert (features.shape, meta.id, meta.duration, meta.stride) == ((10, 3), "clip", pytest.approx(1.6), 4.0)
    with pytest.raises(ConfigError, match="trained on features of 'I3D', --extractor makes those of 'mean colours'"):
        open_inputs([str(path)], Rates(), {**trained, "extractor": "I3D"}, extractor=Means)
    with pytest.raises(ConfigError, match="need an extractor"):
        open_inputs([str(path)], Rates(), trained)


def test_a_submission_holds_what_our_own_file_holds(tmp_path):
    videos = {"a": Detections.from_rows(ROWS), "b": Detections.empty()}
    export(str(tmp_path / "x.json"), videos, CLASSES, "v")
    export(str(tmp_path / "x.activitynet.json"), videos, CLASSES, "v")
    ours, theirs = found(tmp_path / "x.json"), found(tmp_path / "x.activitynet.json")
    for name in videos:
        np.testing.assert_array_equal(ours[name].rows(), theirs[name].rows())


def test_a_table_and_subtitles_say_the_same(tmp_path):
    videos = {"=cmd": Detections.from_rows(ROWS), "b": Detections.empty()}
    classes = ("Plié <i> & --> so", *CLASSES[1:])
    export(str(tmp_path / "x.csv"), videos, classes, "v")
    table = list(csv.DictReader((tmp_path / "x.csv").open(encoding="utf-8")))
    assert [(row["start"], row["end"], row["score"]) for row in table] == [
        ("1.500", "3661.250", "0.5"),
        ("0.000", "2.000", "0.25"),
    ]
    assert table[0]["video"] == "'=cmd", "no spreadsheet takes a name for a formula"
    written = export(str(tmp_path / "x.vtt"), videos, classes, "v")
    assert [path.name for path in written] == ["x_=cmd.vtt", "x_b.vtt"]
    text = written[0].read_text(encoding="utf-8")
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n")
    assert "00:00:01.500 --> 01:01:01.250\nPlié &lt;i&gt; &amp; --&gt; so (0.50)" in text


def test_elan_reads_every_detection_and_no_tier_holds_an_overlap(tmp_path):
    elan = pytest.importorskip("pympi").Elan
    rows = [(0, 1.0, 5.0, 0.5), (0, 4.0, 6.0, 0.25), (0, 5.0, 7.0, 0.125), (1, 0.0, 0.0004, 1.0)]
    classes = ("Plié <i>\x00&", *CLASSES[1:])
    export(str(tmp_path / "x.eaf"), {"a": Detections.from_rows(rows)}, classes, "v")
    export(str(tmp_path / "x.eaf"), {"a": Detections.from_rows(rows)}, classes, "v")  # over the first, without a .bak
    assert [path.name for path in tmp_path.iterdir()] == ["x.eaf"]
    read = elan.Eaf(str(tmp_path / "x.eaf"))
    name = r"Plié <i>\x00&"
    assert sorted(read.get_tier_names()) == sorted([name, f"{name} (2)", CLASSES[1]])
    assert [row[:3] for row in read.get_annotation_data_for_tier(name)] == [(1000, 5000, "0.5"), (5000, 7000, "0.125")]
    assert [row[:3] for row in read.get_annotation_data_for_tier(f"{name} (2)")] == [(4000, 6000, "0.25")]
    assert [row[:3] for row in read.get_annotation_data_for_tier(CLASSES[1])] == [(0, 1, "1")]


def test_a_writer_that_is_not_installed_is_missed_before_the_work_begins(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'wtal-bench\[elan\]'"):
        check_suffix("x.eaf")


def test_training_on_shards_at_an_address_gives_the_weights_of_one_file(dataset, tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "cache"))
    one = FeatureStore.open(dataset / "features")
    metas = [one.meta(row) for row in range(len(one))]
    videos = [StoredVideo(meta.id, one.video(meta.id), meta.duration, meta.fps, meta.num_frames) for meta in metas]
    manifest = {key: value for key, value in described(one.manifest).items() if key != "dtype"}
    plan = plan_shards(one.ids, [1] * len(one), 4, manifest)
    write_shards(tmp_path / "shards", plan, videos.__getitem__, manifest=manifest, dtype=one.manifest["dtype"])
    system = fsspec.filesystem("memory")
    system.put(str(tmp_path / "shards"), "/trained/features", recursive=True)
    weights = []
    for name, features in (("near", "features"), ("far", "memory://trained/features")):
        config = tiny_config(dataset, epochs=1)
        config["data"]["features"] = features
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
        assert main(["train", str(tmp_path / f"{name}.json"), "--work-dir", str(tmp_path / name)]) == 0
        weights.append(weights_of(read_checkpoint(tmp_path / name / "last.pth")))
    system.rm("/trained", recursive=True)
    assert weights[0].keys() == weights[1].keys()
    assert all(weights[0][key].equal(weights[1][key]) for key in weights[0])
