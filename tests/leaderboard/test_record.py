"""Records are written whole, named by what they are, and found again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wtal_bench.errors import RecordError
from wtal_bench.evaluation import read_detections
from wtal_bench.leaderboard import record as record_module
from wtal_bench.leaderboard.identity import canonical, hash_config, record_id, slug
from wtal_bench.leaderboard.record import load_record, load_records, read_record


def test_a_written_record_loads_and_keeps_every_bit_of_the_detections(world, tmp_path):
    path = world.write(tmp_path / "run")
    stored = load_record(path)
    found = read_detections(stored.detections_path, world.protocol.classes).videos
    for name, expected in world.detections().items():
        np.testing.assert_array_equal(found[name].rows(), expected.rows())
    assert stored.record["detections"]["count"] == sum(map(len, found.values()))
    assert path.stem == stored.record["id"]


def test_equal_runs_give_equal_files_and_other_seeds_other_ids(world, tmp_path):
    first, again = world.write(tmp_path / "a"), world.write(tmp_path / "b")
    assert first.name == again.name
    assert first.read_bytes() == again.read_bytes()
    stored = [load_record(path).detections_path for path in (first, again)]
    assert stored[0].name == stored[1].name
    assert stored[0].read_bytes() == stored[1].read_bytes()
    assert world.write(tmp_path / "c", seed=1).name != first.name


def test_an_id_is_readable_and_ignores_time_and_cost(world):
    record, _ = world.record(seed=3, variant="Pre-Cls only")
    name = record_id({**record, "detections": {"sha256": "0" * 64}})
    assert name.startswith("ecm-pre-cls-only-s3-")
    later = {**record, "created": "2030-01-01T00:00:00+00:00", "cost": {}, "detections": {"sha256": "0" * 64}}
    assert record_id(later) == name


def test_the_config_hash_is_of_the_settings_whatever_their_order():
    base = {"model": {"width": 8}, "train": {"lr": 1.0}}
    assert hash_config(base) == hash_config({"train": {"lr": 1.0}, "model": {"width": 8}})
    assert hash_config(base) != hash_config({**base, "train": {"lr": 2.0}})


def test_canonical_json_refuses_what_is_no_json():
    with pytest.raises(RecordError, match="plain JSON"):
        canonical({"value": float("nan")})


def test_a_slug_cannot_leave_its_folder():
    assert slug("../../Éve/ÉCM+ v2") == "ve-cm-v2"
    assert slug("...") == "unnamed"


def test_a_crash_while_writing_leaves_no_record(world, tmp_path, monkeypatch):
    def crash(*_):
        raise OSError("disk full")

    monkeypatch.setattr(record_module, "write_json", crash)
    with pytest.raises(OSError, match="disk full"):
        world.write(tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.json"))
    assert load_records(tmp_path / "run") == []


def test_a_refused_record_keeps_its_detections(world, tmp_path):
    with pytest.raises(RecordError, match="detections are kept as"):
        world.write(tmp_path / "run", selection="first")
    assert len(list((tmp_path / "run").glob("*.json.gz"))) == 1
    assert not list((tmp_path / "run").glob("*.json"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "it is not valid JSON"),
        ('{"a": NaN}', "NaN, which is no JSON number"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ("[]", "list"),
    ],
)
def test_json_that_is_no_record_is_refused(tmp_path, text, complaint):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=complaint):
        read_record(path)


def test_all_bad_records_are_listed_at_once(world, tmp_path):
    for seed in (0, 1):
        path = world.write(tmp_path / "r", seed=seed)
        value = json.loads(path.read_text())
        value["selection"] = "first"
        path.write_text(json.dumps(value))
    with pytest.raises(RecordError) as caught:
        load_records(tmp_path / "r")
    assert str(caught.value).count("is refused") == 2


def test_rows_being_filed_this_moment_are_not_read(world, tmp_path):
    world.write(tmp_path / "r" / ".filing-x")
    assert load_records(tmp_path / "r") == []
