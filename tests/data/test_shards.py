"""The sharded store: the same videos as in one file, written by many, finished after a kill, mended shard by shard."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.data.stores import LENGTHS, MANIFEST, stored, toy_store
from wtal_bench.cli import main
from wtal_bench.data.gather import gather
from wtal_bench.data.store import FeatureStore, plan_shards, write_shards
from wtal_bench.data.store import files as store_files
from wtal_bench.data.store.repair import repair
from wtal_bench.errors import DataError

VIDEOS = stored(LENGTHS * 3)
PLAN = plan_shards([v.id for v in VIDEOS], [v.features.nbytes for v in VIDEOS], 300, MANIFEST)


def sharded(folder: Path, read=VIDEOS.__getitem__, plan=PLAN, **options) -> FeatureStore:
    return write_shards(folder, plan, read, manifest=MANIFEST, **options)[0]


def test_a_plan_covers_every_video_once_within_the_limit():
    assert [at for shard in PLAN.shards for at in shard] == list(range(len(VIDEOS)))
    assert len(PLAN.shards) > 3
    for shard in PLAN.shards:
        assert len(shard) == 1 or sum(VIDEOS[at].features.nbytes for at in shard) <= 300


@pytest.mark.parametrize("resident", [None, "ram"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_sharded_store_holds_what_one_file_does(tmp_path, dtype, resident):
    one = toy_store(tmp_path / "one", LENGTHS * 3, dtype=dtype)
    sharded(tmp_path / "s", dtype=dtype)
    store = FeatureStore.open(tmp_path / "s", resident)
    assert (store.ids, store.width, store.streams) == (one.ids, one.width, one.streams)
    assert [store.meta(row) for row in range(len(store))] == [one.meta(row) for row in range(len(one))]
    for row in range(len(store)):
        np.testing.assert_array_equal(store.video(row, ["flow", "rgb"]), one.video(row, ["flow", "rgb"]))
    rows = [11, 0, 5, 5, 7]
    for sampling in ("whole", {"type": "linear", "length": 6}):
        got, wanted = (gather(which, rows, sampling, seed=3).features for which in (store, one))
        assert got.equal(wanted)
    assert store.bank.equal(FeatureStore.open(tmp_path / "one", "ram").bank)
    store.verify()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).video("v7"), one.video("v7"))


def test_every_shard_is_a_store_of_its_own(tmp_path):
    store = sharded(tmp_path / "s")
    ids = []
    for number in range(len(PLAN.shards)):
        shard = FeatureStore.open(tmp_path / "s" / "shards" / f"{number:05d}")
        shard.verify()
        ids += shard.ids
    assert tuple(ids) == store.ids
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["index.json", "manifest.json", "shards"]


def test_few_maps_are_enough_for_many_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(store_files, "MAPPED", 2)
    sharded(tmp_path / "s").verify()
    store = FeatureStore.open(tmp_path / "s")
    for row in (11, 0, 11, 4, 8, 0):
        np.testing.assert_array_equal(store.video(row), VIDEOS[row].features)
    assert store._files._map.cache_info().currsize == 2


@pytest.mark.parametrize("jobs", [1, 3])
def test_processes_write_the_same_bytes(tmp_path, jobs):
    store = sharded(tmp_path / "a", jobs=jobs)
    assert store.manifest_hash == sharded(tmp_path / "b").manifest_hash
    for path in sorted((tmp_path / "a").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_two_commands_share_the_work_and_end_with_one_store(tmp_path):
    reads, both = [], threading.Barrier(2, timeout=20)

    def read(at: int):
        if len(reads) < 2:  # neither begins its second video before the other has begun
            reads.append(at)
            both.wait()
        else:
            reads.append(at)
        return VIDEOS[at]

    with ThreadPoolExecutor(2) as pool:
        stores = list(pool.map(lambda _: sharded(tmp_path / "s", read), range(2)))
    assert len({store.manifest_hash for store in stores}) == 1
    assert sorted(reads) == list(range(len(VIDEOS)))
    stores[1].verify()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_an_import_that_failed_goes_on_where_it_was(tmp_path):
    reads = []

    def read(at: int, last: int = 6):
        reads.append(at)
        if at > last:
            raise DataError("video 'v7' (in/v7.npy): is truncated.")
        return VIDEOS[at]

    with pytest.raises(DataError, match=r"'v7'.*shards are finished and kept.*the same command goes on"):
        sharded(tmp_path / "s", read)
    assert not (tmp_path / "s").exists()
    done = {at for shard in PLAN.shards if shard[-1] < 7 for at in shard}
    assert done
    reads.clear()
    store = sharded(tmp_path / "s", lambda at: read(at, last=99))
    assert set(reads) == set(range(len(VIDEOS))) - done
    assert store.manifest_hash == sharded(tmp_path / "b").manifest_hash


def test_a_killed_worker_costs_its_shard_alone(tmp_path):
    def read(at: int):
        if at == 9 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os._exit(9)
        return VIDEOS[at]

    with pytest.raises(DataError, match=r"was killed, perhaps for want of memory.*finished and kept"):
        sharded(tmp_path / "s", read, jobs=2)
    kept = len(list((tmp_path / ".s.importing" / "shards").glob("*/manifest.json")))
    assert kept >= 1
    sharded(tmp_path / "s", read, jobs=2).verify()


def test_what_another_import_left_is_thrown_away_unless_it_still_runs(tmp_path):
    def broken(at: int):
        raise DataError("no")

    other = plan_shards([v.id for v in VIDEOS], [v.features.nbytes for v in VIDEOS], 100, MANIFEST)
    with pytest.raises(DataError, match="0 of"):
        sharded(tmp_path / "s", broken, other)
    assert len(sharded(tmp_path / "s")) == len(VIDEOS)

    def meanwhile(at: int):
        if at == 3:
            with pytest.raises(DataError, match="another process is writing other features there"):
                sharded(tmp_path / "t", plan=other)
        return VIDEOS[at]

    sharded(tmp_path / "t", meanwhile).verify()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "t"]


def test_a_sharded_store_is_replaced_only_when_told(tmp_path):
    toy_store(tmp_path / "s")
    with pytest.raises(DataError, match="already there"):
        sharded(tmp_path / "s")
    assert len(sharded(tmp_path / "s", overwrite=True)) == len(VIDEOS)
    toy_store(tmp_path / "t")
    shutil.rmtree(tmp_path / "t")
    (tmp_path / "t").mkdir()
    with pytest.raises(DataError, match="is no feature store"):
        sharded(tmp_path / "t", overwrite=True)


@pytest.mark.parametrize("harm", ["gone", "cut", "longer", "header"])
def test_a_damaged_shard_is_named_with_the_way_to_mend_it(tmp_path, harm):
    sharded(tmp_path / "s")
    path = tmp_path / "s" / "shards" / "00002" / "features.npy"
    content = path.read_bytes()
    broken = {"cut": content[:-4], "longer": content + b"x", "header": b"\x93NUMPX" + content[6:]}
    path.unlink() if harm == "gone" else path.write_bytes(broken[harm])
    with pytest.raises(DataError, match=r"shards/00002.*--shard 2 --repair"):
        FeatureStore.open(tmp_path / "s").verify()


@pytest.mark.parametrize("harm", ["features gone", "bits", "cut", "header", "index", "manifest", "all gone"])
def test_a_shard_is_mended_from_a_copy_to_the_last_byte(tmp_path, harm, capsys):
    sharded(tmp_path / "s")
    toy_store(tmp_path / "copy", LENGTHS * 3)
    shard = tmp_path / "s" / "shards" / "00001"
    whole = {path.name: path.read_bytes() for path in shard.iterdir()}
    features = bytearray(whole["features.npy"])
    features[-1] ^= 1
    broken = {"bits": features, "cut": features[:-5], "header": b"\0" * 128 + whole["features.npy"][128:]}
    if harm in broken:
        (shard / "features.npy").write_bytes(broken[harm])
    elif harm == "all gone":
        shutil.rmtree(shard)
    elif harm == "features gone":
        (shard / "features.npy").unlink()
    else:
        (shard / f"{harm}.json").write_text("{}")
    command = ["check-data", str(tmp_path / "s"), "--shard", "1"]
    assert main([*command, "--repair", str(tmp_path / "copy")]) == 0
    out = capsys.readouterr().out
    wanted = {"bits": 1, "cut": 1, "all gone": len(PLAN.shards[1]), "features gone": len(PLAN.shards[1])}.get(harm, 0)
    assert f"mended shard 1: {wanted} of {len(PLAN.shards[1])} videos taken" in out
    assert f"checksums: {len(PLAN.shards[1])} of {len(PLAN.shards[1])} videos intact" in out
    assert {path.name: path.read_bytes() for path in shard.iterdir()} == whole
    assert main(["check-data", str(tmp_path / "s"), "--repair", str(tmp_path / "copy")]) == 0
    assert "nothing to mend" in capsys.readouterr().out


def test_check_data_names_every_damaged_video_of_a_shard_and_no_other(tmp_path, capsys):
    sharded(tmp_path / "s")
    (tmp_path / "s" / "shards" / "00002" / "features.npy").unlink()
    assert main(["check-data", str(tmp_path / "s"), "--shard", "1"]) == 0
    assert main(["check-data", str(tmp_path / "s"), "--shard", "1", "--shard", "2"]) == 1
    out = capsys.readouterr().out
    assert all(f"ERROR: video {VIDEOS[at].id!r}" in out for at in PLAN.shards[2])
    assert main(["check-data", str(tmp_path / "s"), "--shard", "99"]) == 2
    assert "has the shards 0 .." in capsys.readouterr().err


def test_a_copy_of_other_features_mends_nothing(tmp_path):
    sharded(tmp_path / "s")
    path = tmp_path / "s" / "shards" / "00001" / "features.npy"
    path.write_bytes(path.read_bytes()[:-4])
    store = FeatureStore.open(tmp_path / "s", damaged=True)
    with pytest.raises(DataError, match="holds other features of video"):
        repair(store, toy_store(tmp_path / "other", LENGTHS * 3, dtype="float16"))
    with pytest.raises(DataError, match="lacks 1 of the damaged videos"):
        repair(store, toy_store(tmp_path / "few", LENGTHS[:1]))


def test_a_store_of_one_file_is_mended_too(tmp_path):
    whole = toy_store(tmp_path / "s")
    copy = toy_store(tmp_path / "copy")
    path = tmp_path / "s" / "features.npy"
    content = path.read_bytes()
    path.write_bytes(content[:300])
    done = repair(FeatureStore.open(tmp_path / "s", damaged=True), copy)
    assert [(mended.shard, mended.taken) for mended in done] == [(0, ("v2", "v3"))]
    assert path.read_bytes() == content
    assert FeatureStore.open(tmp_path / "s").manifest_hash == whole.manifest_hash


def test_a_shard_of_another_store_is_refused(tmp_path):
    sharded(tmp_path / "s")
    manifest = tmp_path / "s" / "shards" / "00001" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"toy"', '"boy"'))
    store = FeatureStore.open(tmp_path / "s")
    store.video(0)
    with pytest.raises(DataError, match="is no shard of the store that was opened here"):
        store.video(PLAN.shards[1][0])


@pytest.mark.parametrize(
    ("shards", "text"),
    [
        (None, r"'shards' must give each shard \[videos, rows, hash"),
        ([[1, 2]], r"'shards' must give each shard"),
        ([[True, 2, ""]], r"'shards' must give each shard"),
        ([[12, 71, "x"]], r"its shards hold 71 rows, 'rows' says 72"),
        ([[11, 72, "x"]], r"its shards hold 11 videos, 'videos' says 12"),
    ],
)
def test_a_manifest_whose_shards_do_not_add_up_is_refused(tmp_path, shards, text):
    sharded(tmp_path / "s")
    path = tmp_path / "s" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shards": shards}))
    with pytest.raises(DataError, match=text):
        FeatureStore.open(tmp_path / "s")
