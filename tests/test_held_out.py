"""Hold-out protocols: settings are chosen by videos that are neither trained on nor tested."""

from __future__ import annotations

import json
import pickle

import pytest

from tests.helpers import shared_file
from tests.running.conftest import PROTOCOL, dataset, no_pictures, tiny_config
from wtal_bench.cli import main
from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import DataError, WtalError
from wtal_bench.leaderboard.record import read_record
from wtal_bench.protocols import get_protocol, held_annotations, held_out, load_annotations, own_protocol
from wtal_bench.running.config import check_config, load_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.parents import parent_config

__all__ = ["dataset", "no_pictures"]


@pytest.mark.parametrize(
    "name", ["thumos14/v1@holdout", "synthetic/v2@world1", "synthetic/v2@world1.val", "activitynet13/v1@pick"]
)
def test_a_hold_out_protocol_travels_and_has_a_hash_of_its_own(name):
    protocol, ranks = get_protocol(name), get_protocol(name.partition("@")[0])
    assert pickle.loads(pickle.dumps(protocol)) == protocol
    assert protocol.held_out
    assert not ranks.held_out
    assert protocol.hash != ranks.hash
    assert protocol.dataset == ranks.dataset


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("thumos14/v1@test", "have seen the test"),
        ("synthetic/v2@world0", "have seen the test"),
        ("synthetic/v2@world0.test", "have seen the test"),
        ("synthetic/v2@world1.train", "trained on"),
        ("activitynet13/v1@val", "have seen the test"),
        ("thumos14/v1@train", "trained on"),
        ("thumos14/v1@world1", "names no videos"),
        ("thumos14/v1@a b", "names no videos"),
    ],
)
def test_the_test_and_the_training_videos_are_refused(name, said):
    with pytest.raises(WtalError, match=said):
        get_protocol(name)


def test_a_fifth_of_the_training_videos_is_held_out_the_same_everywhere():
    whole = Annotations.load(shared_file("data/thumos14.json"))
    protocol = get_protocol("thumos14/v1@holdout")
    parted = held_annotations(protocol, whole)
    held, kept = set(parted.subset("holdout")), set(parted.subset("train"))
    assert (len(held), len(kept)) == (40, 160)
    assert held | kept == set(whole.subset("train"))
    assert parted.subset("test") == whole.subset("test")
    for part in (held, kept):
        assert {s.label for name in part for s in whole.videos[name].segments} == set(range(20))
    shuffled = Annotations(**{**vars(whole), "videos": dict(reversed(whole.videos.items()))})
    assert set(held_annotations(protocol, shuffled).subset("holdout")) == held
    assert held_annotations(protocol, parted) is parted, "what is parted is not parted again"


def test_a_run_on_held_out_videos_scores_them_and_is_never_filed(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tree = tiny_config(dataset, epochs=1)
    tree["data"]["protocol"] = f"{PROTOCOL}@holdout"
    (tmp_path / "a.json").write_text(json.dumps(tree))
    assert main(["train", "a.json", "--work-dir", "run"]) == 0
    assert "leaderboard add" not in capsys.readouterr().out
    (path,) = (tmp_path / "run" / "record").glob("ecm*.json")
    record = read_record(path)
    splits = record["data"]["splits"]
    assert (splits["train"]["used"], splits["test"]["used"]) == (10, 2)
    assert splits["test"]["subset"] == "holdout"
    assert set(record["annotations"]["splits"]) == {"train", "holdout"}
    assert main(["leaderboard", "add", str(path), "--folder", "board"]) == 2
    assert "videos that settings are chosen by" in capsys.readouterr().err
    assert (
        main(
            [
                "evaluate",
                "--protocol",
                f"{PROTOCOL}@holdout",
                "--annotations",
                str(dataset),
                str(next(path.parent.glob("*.gz"))),
            ]
        )
        == 0
    )
    assert main(["report", "run", "--annotations", str(dataset / "annotations.json")]) == 0


def test_the_test_videos_say_nothing_to_a_held_out_run(dataset, tmp_path):
    tree = tiny_config(dataset)
    tree["data"]["protocol"] = f"{PROTOCOL}@holdout"
    opened = open_data(check_config(tree, "a.json").data, "cpu", "a.json")
    names = {*opened.training("refuse").ids, *opened.test("refuse").ids}
    assert names == {name for name in opened.annotations.videos if name.startswith("train")}
    truth = opened.protocol.ground_truth(opened.annotations)
    assert set(truth.videos) <= names


def test_own_data_are_held_out_too(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = tiny_config(dataset, epochs=1)
    tree["data"]["protocol"] = "own@holdout"
    (tmp_path / "a.json").write_text(json.dumps(tree))
    assert main(["train", "a.json", "--work-dir", "run"]) == 0
    (path,) = (tmp_path / "run" / "record").glob("ecm*.json")
    annotations = Annotations.load(dataset / "annotations.json")
    assert read_record(path)["protocol"]["name"] == f"{own_protocol(annotations).name}@holdout"
    assert main(["leaderboard", "add", str(path), "--folder", "board"]) == 2
    assert main(["train", "a.json", "--work-dir", "run", "--resume"]) == 0
    assert main(["compare", "run", "run", "--annotations", str(dataset / "annotations.json")]) == 0


def test_another_world_is_other_videos_of_the_same_kind():
    here, there = (load_annotations(get_protocol(name)) for name in ("synthetic_tiny/v2", "synthetic_tiny/v2@world3"))
    assert here.version != there.version
    assert here.classes == there.classes
    assert not get_protocol("synthetic_tiny/v2@world3").split_notes(there)
    tuned_on = get_protocol("synthetic_tiny/v2@world3.val")
    assert (tuned_on.world, tuned_on.subset) == (3, "val")
    assert load_annotations(tuned_on).sha256 == there.sha256


def test_a_parent_is_trained_without_the_held_out_videos_too():
    config = load_config("mixes/cw_on_um_synthetic.py", ["data.protocol=synthetic/v2@world1", "data.synthetic.world=1"])
    config.train.init_from = {"config": "um_synthetic.py"}
    assert parent_config(config).data == config.data


def test_too_few_videos_to_hold_out_are_an_error():
    protocol = get_protocol("synthetic_tiny/v2")
    bare = {"subset": "train", "duration": 9.0, "labels": ["syn_00"]}
    annotations = Annotations.from_dict({"version": "x", "classes": list(protocol.classes), "videos": {"a": bare}})
    with pytest.raises(DataError, match="0 of 1 training videos have annotated instances"):
        held_annotations(held_out(protocol, "holdout"), annotations)
