"""Inputs that once ended in a traceback, a hang or nonsense: each is answered with exit code 2 and a sentence."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.fuzz.corpus import Corpus, make_corpus
from tests.fuzz.harness import answer
from tests.helpers import SHARED

CASES = SHARED / "cases"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def case(name: str) -> Path:
    """The folder of a case; skip the test where it has not travelled."""
    if not (CASES / name).is_dir():
        pytest.skip(f"the case {name} lies beside the checkout and is not here")
    return CASES / name


def refused(command: list[str]) -> str:
    """The sentence of a refusal."""
    signature, said = answer(command)
    assert not signature, said
    lines = [line for line in said.splitlines() if line.startswith("wtal-bench ")]
    assert len(lines) == 1, said
    return lines[0]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "aliases stand for more than"),
        (3, r"rows\.1\.name: is a whole number that 64 bits cannot hold"),
        (5, "is no UTF-8 text"),
        (7, "method: is a whole number that 64 bits cannot hold"),
    ],
)
def test_ablation_files(number, said):
    path = case(f"attack-fuzz_ablation_{number}") / "rows.yaml"
    assert re.search(rf"rows\.yaml: .*{said}", refused(["sweep", str(path), "--list"]))


def test_annotations_with_a_number_nothing_holds(corpus):
    path = case("attack-fuzz_annotations_2") / "ann.json"
    said = refused(["check-data", str(corpus.folder / "data" / "features"), "--annotations", str(path)])
    assert "ann.json: it holds the whole number" in said


def test_a_checkpoint_whose_optimiser_is_a_tensor(corpus, tmp_path):
    run = corpus.copy("run", tmp_path)
    shutil.copy(case("attack-fuzz_checkpoints_2") / "c.pth", run / "last.pth")
    config = str(corpus.folder / "config.json")
    said = refused(["train", config, "--work-dir", str(run), "--resume", "--cfg-options", "train.epochs=2"])
    assert "last.pth" in said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "videoname.npy: entry 0: 'v.u202e0' is no name"),
        (5, "videoname.npy: entry 0: .* is no UTF-8 text"),
        (7, r"duration\.npy: entry \d"),
    ],
)
def test_releases_of_any_content(number, said, tmp_path):
    folder = case(f"attack-fuzz_features_{number}")
    command = ["import-features", str(folder / "f.npy"), str(folder), "--format", "wtalc", "--extractor", "x"]
    assert re.search(said, refused([*command, "--out", str(tmp_path / "out"), "--fps", "25", "--stride", "16"]))
    assert not list(tmp_path.iterdir())


def test_a_feature_file_of_bytes(corpus, tmp_path):
    path = case("attack-fuzz_features_3") / "one.npy"
    run = [str(corpus.folder / "config.json"), str(corpus.folder / "run" / "last.pth"), str(path)]
    said = refused(["infer", *run, "--fps", "25", "--stride", "16", "--out", str(tmp_path / "out.json")])
    assert "one.npy" in said


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("data.features=" + "[" * 500, r"data\.features='\[+"),
        ("model.heads.pre.topk_ratio='[a'", r"model\.heads\.pre\.topk_ratio: expected float, int, got '\[a'"),
    ],
)
def test_options(option, said, corpus):
    case("attack-fuzz_options_1")
    assert re.search(said, refused(["train", str(corpus.folder / "config.json"), "--dry-run", "--cfg-options", option]))


def test_a_record_with_a_broken_character(tmp_path):
    folder = case("attack-fuzz_records_2")
    (path,) = folder.glob("*.json")
    (tmp_path / "records").mkdir()
    said = refused(["leaderboard", "--folder", str(tmp_path), "add", str(path), "--no-build"])
    assert "holds bytes that are no text" in said


@pytest.mark.parametrize("number", [1, 3, 5])
def test_stores(number, corpus, tmp_path):
    store = corpus.copy("data/features", tmp_path)
    for name in ("index.json", "manifest.json"):
        shutil.copy(case(f"attack-fuzz_stores_{number}") / name, store / name)
    said = refused(["check-data", str(store)])
    assert re.search(r"(index|manifest)\.json", said), said


def test_a_store_of_a_video_that_lasts_less_than_nothing():
    folder = case("attack-store_negative_duration")
    said = refused(["check-data", str(folder / "features"), "--annotations", str(folder / "annotations.json")])
    assert re.search(r"index\.json: durations of video '.*' is -.*, but must be a number from 0\.001", said)


def test_a_yaml_file_of_541_bytes_that_stands_for_31_thousand_million_values():
    path = case("attack-yaml_bomb") / "config.yaml"
    assert "aliases stand for more than" in refused(["train", str(path), "--dry-run"])
