"""Every rule of a record refuses what breaks it, with the reason, and nothing else."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from tests.leaderboard.fabricate import ECM, UNCLEAN, sha, suppliers
from wtal_bench import registry
from wtal_bench.errors import RecordError
from wtal_bench.leaderboard import origin_rules
from wtal_bench.leaderboard.filing import file_measured
from wtal_bench.leaderboard.record import load_record, load_records, write_record
from wtal_bench.leaderboard.validate import check_record, record_problems, unranked_reason


@pytest.fixture
def good(world, tmp_path) -> dict[str, Any]:
    return load_record(world.file(tmp_path / "good")).record


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set a dotted path (digits index lists); `...` deletes it."""

    def apply(record: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        node: Any = record
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node[key]
        last = int(last) if isinstance(node, list) else last
        if value is ...:
            del node[last]
        else:
            node[last] = value

    return apply


MAIN = "metrics/variants/thumos_seconds_212"

BROKEN = {
    "schema of the future": (change("schema", 4), "schema is 4"),
    "schema of the past": (change("schema", 1), "schema is 1"),
    "missing key": (change("seed", ...), "seed is missing"),
    "unknown key": (change("selektion", "last"), "Did you mean 'selection'"),
    "wrong type": (change("config", []), "config is \\[\\]"),
    "flag for a number": (change("seed", True), "seed is True"),
    "source": (change("source", "guessed"), "source is 'guessed'"),
    "selection": (change("selection", "best_on_tset"), "Did you mean 'best_on_test'"),
    "supervision": (change("supervision", "strong"), "supervision is 'strong'"),
    "empty method": (change("method", ""), "method is ''"),
    "method that begins a formula": (change("method", "=1+1"), "a letter or digit first"),
    "method with a line break": (change("method", "a\nb"), "printable"),
    "local time": (change("created", "2025-01-31T12:00:00+02:00"), "must be in UTC"),
    "future time": (change("created", "2126-11-22T12:00:00+00:00"), "lies in the future"),
    "time before the harness": (change("created", "2025-01-31T12:00:00+00:00"), "the harness was begun on"),
    "year beyond every calendar": (change("created", "99999-01-31T12:00:00+00:00"), "ISO 8601"),
    "no time": (change("created", "yesterday"), "ISO 8601"),
    "script as url": (change("url", "javascript:alert(1)"), "http:// or https://"),
    "unknown protocol": (change("protocol/name", "thumos14/v9"), "no protocol 'thumos14/v9'"),
    "protocol hash": (change("protocol/hash", "0" * 64), "another rule of the same name"),
    "feature hash": (change("features/manifest_hash", None), "features.manifest_hash is None"),
    "annotation hash": (change("annotations/sha256", "abc"), "annotations.sha256 is 'abc'"),
    "detections hash": (change("detections/sha256", ...), "detections.sha256 is None"),
    "detections elsewhere": (change("detections/file", "../x.json.gz"), "stored under their own hash"),
    "config changed": (change("config/model/width", 9), "config_hash is not the hash of config"),
    "features unsaid": (change("features/synthetic", ...), "features.synthetic is missing"),
    "seed below 0": (change("seed", -1), "seed is -1; needed: 0 to"),
    "seed too large": (change("seed", 2**32), "seed is 4294967296; needed: 0 to"),
    "number beyond every reader": (change("cost/steps", 10**400), "cost.steps is a whole number of 1329 bits"),
    "half a character": (change("environment/device", "\ud800"), "environment.device holds half a character"),
    "half a character in a key": (change("config/\ud800", 1), "a key of config holds half a character"),
    "negative cost": (change("cost/train_seconds", -1.0), "cost.train_seconds is -1.0"),
    "cost in words": (change("cost/train_seconds", "long"), "cost.train_seconds is 'long'"),
    "half a step": (change("cost/steps", 1.5), "cost.steps is 1.5; needed: a whole number"),
    "method of another config": (change("config/method", "bm"), "method is 'ecm', its own config says 'bm'"),
    "variant of another config": (change("config/variant", "x"), "variant is '', its own config says 'x'"),
    "selection of another config": (change("config/train/selection", "best_on_test"), "its own config says 'best_on_"),
    "protocol of another config": (
        change("config/data/protocol", "synthetic/v1"),
        "its own config says 'synthetic/v1'",
    ),
    "seed of another config": (change("config/seed", 3), "seed is 0, its own config says 3"),
    "profile of another config": (change("config/profile", "published"), "profile is None, its own config says"),
    "config without a model": (change("config/model", {}), "config.model is {}"),
    "fewer epochs": (change("trained/epochs", 3), "trained.epochs is 3; its config trains 4"),
    "more epochs": (change("trained/epochs", 5), "trained.epochs is 5; its config trains 4"),
    "iterations for epochs": (change("trained", {"iterations": 4}), "needed: {'epochs': n}"),
    "threads unsaid": (change("environment/threads", ...), "environment.threads is None"),
    "versions unsaid": (change("environment/packages", {"torch": "2.13.0"}), "torch and numpy among them"),
    "a version that is none": (change("environment/python", "snake"), "environment.python is 'snake'"),
    "annotations unsaid": (change("annotations/splits", {}), "annotations.splits is {}"),
    "rows unsaid": (change("detections/rows", ...), "detections.rows is None"),
    "kind of component": (change("components/0/kind", "header"), "components\\[0\\].kind is 'header'"),
    "component of another plugin": (change("components/0/name", "bm.Post"), "'bm.Post' says another"),
    "average out of range": (change(f"{MAIN}/averages/0.1:0.7", 10**15), "averages\\['0.1:0.7'\\] is"),
    "mAP without detections": (change("detections/count", 0), "above 0 without a single detection"),
    "no seed": (change("seed", None), "seed is null"),
    "no components": (change("components", []), "components is empty"),
    "component without version": (change("components/0/version", ...), "components\\[0\\]"),
    "commit": (change("distributions/0/commit", "HEAD"), "distributions\\[0\\].commit is 'HEAD'"),
    "dirty unsaid": (change("distributions/0/dirty", "no"), "dirty is 'no'"),
    "neither commit nor sources": (change("distributions/1/commit", None), "neither a commit nor a SHA-256"),
    "no harness": (change("distributions/0", ...), "wtal-bench itself is missing"),
    "a plugin nobody supplied": (change("distributions/1", ...), "which no distribution supplies"),
    "a component left unsaid": (change("config/model/head", {"type": "x.Head"}), "config.model uses x.Head"),
    "NaN": (change(f"{MAIN}/mAP/0", float("nan")), "mAP\\[0\\] is nan"),
    "infinity in cost": (change("cost/train_seconds", float("inf")), "cost.train_seconds is inf"),
    "percent for a fraction": (change(f"{MAIN}/mAP/0", 42.0), "not percent"),
    "negative AP": (change(f"{MAIN}/ap/BaseballPitch/0", -0.1), "fractions in 0..1"),
    "mAP not the mean": (change(f"{MAIN}/mAP/3", 0.9), "the mean of its class APs"),
    "average not the mean": (change(f"{MAIN}/averages/0.1:0.7", 0.9), "the mean of its values per tIoU"),
    "average missing": (change(f"{MAIN}/averages/0.1:0.5", ...), "averages is"),
    "other thresholds": (change(f"{MAIN}/tious/0", 0.15), "tious is"),
    "too few values": (change(f"{MAIN}/mAP", [0.1]), "7 values, one a tIoU"),
    "unknown class": (change(f"{MAIN}/ap/Juggling", [0.1] * 7), "Juggling"),
    "counts": (change(f"{MAIN}/videos", None), "videos is None"),
    "ranking evaluator missing": (change(MAIN, ...), "needed: thumos_seconds_212, by which thumos14/v1 is ranked"),
    "ranking evaluator changed": (change(f"{MAIN}/hash", "0" * 64), "score the detections again"),
    "evaluator nobody has": (change("metrics/variants/wtalk", {}), "no such evaluator. Did you mean 'wtalc'"),
    "column without its evaluator": (change("metrics/variants/wtalc/hash", ...), "wtalc.hash is None"),
    "column that is no table": (change("metrics/variants/wtalc", 0.4), "wtalc.is 0.4"),
    "other main evaluator": (change("metrics/main", "wtalc"), "leads with 'thumos_seconds_212'"),
    "unknown metric": (change("metrics/accuracy", 0.9), "metrics holds accuracy"),
    "classification mAP": (change("metrics/classification_mAP", 96.0), "null or within 0..1"),
    "bootstrap of another length": (change("bootstrap/values/wtalc/0", ...), "`resamples` values"),
    "fewer replicates": (change("bootstrap/resamples", 7), "bootstrap.resamples is 7; a filed record has 1000"),
    "bootstrap of another evaluator": (change("bootstrap/draw/wtalc", ...), "draw and values for each"),
    "edited identity": (change("seed", 7), "the record was edited"),
}


def test_a_good_record_has_no_problems(good):
    assert record_problems(good) == []


@pytest.mark.parametrize("name", BROKEN)
def test_refused_with_the_reason(good, name):
    spoil, complaint = BROKEN[name]
    bad = copy.deepcopy(good)
    spoil(bad)
    with pytest.raises(RecordError, match=complaint):
        check_record(bad, "somewhere")


def test_features_of_the_other_kind_keep_a_record_off_the_leaderboard(world, synthetic, tmp_path):
    made = dict(manifest_hash=sha("x"), extractor="stand-in", synthetic=True)
    stand_in = world.write(tmp_path / "a", features=made)
    with pytest.raises(RecordError, match="synthetic features in thumos14/v1, a real benchmark"):
        file_measured(tmp_path / "records", stand_in)
    real = synthetic.write(tmp_path / "b", features=dict(made, synthetic=False))
    with pytest.raises(RecordError, match="real features in synthetic_tiny/v2"):
        file_measured(tmp_path / "records", real)
    assert not (tmp_path / "records").exists()
    with pytest.raises(RecordError, match="does not belong here: synthetic features"):
        load_records(tmp_path / "a")


def test_an_evaluator_that_gives_zero_for_a_class_never_predicted_is_no_broken_mean(good):
    table = good["metrics"]["variants"]["wtalc"]
    table["ap"] = {name: [None] * 7 for name in table["ap"]}
    table["mAP"], table["averages"] = [0.0] * 7, dict.fromkeys(table["averages"], 0.0)
    assert record_problems(good) == []


def test_changed_or_missing_detections_are_refused(world, tmp_path):
    path = world.write(tmp_path)
    stored = load_record(path)
    content = stored.detections_path.read_bytes()
    stored.detections_path.write_bytes(content + b"\0")
    with pytest.raises(RecordError, match="changed or damaged"):
        load_record(path)
    stored.detections_path.unlink()
    with pytest.raises(RecordError, match="are missing"):
        load_record(path)


def test_links_are_refused(world, tmp_path):
    path = world.write(tmp_path / "real")
    found = load_record(path).detections_path
    (tmp_path / "linked").mkdir()
    for target in (path, found):
        (tmp_path / "linked" / target.name).symlink_to(target)
    with pytest.raises(RecordError, match="it is a link"):
        load_record(tmp_path / "linked" / path.name)
    (tmp_path / "linked" / path.name).unlink()
    shutil.copy(path, tmp_path / "linked")
    with pytest.raises(RecordError, match="are a link, which may lead out of the records"):
        load_record(tmp_path / "linked" / path.name)


def test_a_renamed_record_is_refused(world, tmp_path):
    path = world.write(tmp_path)
    with pytest.raises(RecordError, match="the file is called"):
        load_record(path.rename(path.with_name("best.json")))


def test_duplicates_are_refused_by_id_by_seed_and_by_detections(world, tmp_path):
    world.write(tmp_path / "a")
    world.write(tmp_path / "b")
    with pytest.raises(RecordError, match="the same id"):
        load_records(tmp_path)


def test_one_seed_of_one_config_is_filed_once(world, tmp_path):
    world.write(tmp_path / "a")
    record, _ = world.record()
    other = world.detections(noise=2.0)
    record["metrics"] = world.protocol.score(other, world.annotations)
    write_record(tmp_path / "b", record, other, world.protocol.classes)
    with pytest.raises(RecordError, match="the same config and seed"):
        load_records(tmp_path)


def test_the_same_detections_under_two_names_are_refused(world, tmp_path):
    world.write(tmp_path / "a")
    world.write(tmp_path / "b", method="mine")
    with pytest.raises(RecordError, match="the same detections"):
        load_records(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"selection": "val_holdout"}, ""),
        ({"selection": "best_on_test"}, "picked on the test set"),
        ({"distributions": UNCLEAN}, "wtal-bench: uncommitted changes"),
        ({"distributions": suppliers([ECM], commit=None, sources="0" * 64)}, "wtal-bench: code of no known commit"),
        ({"trained": None}, "weights of unknown training"),
    ],
)
def test_what_is_valid_but_not_ranked_says_why(world, tmp_path, changes, reason):
    found = unranked_reason(load_record(world.write(tmp_path, **changes)).record)
    assert (reason in found) if reason else not found


def test_the_kinds_of_components_are_those_of_the_registry():
    assert tuple(registry.KINDS) == origin_rules.KINDS
