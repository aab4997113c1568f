"""Stores at addresses: the same videos as on this disk, a bounded cache that is not believed, errors that say why."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import re
import sys
import threading
import uuid
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.data.stores import LENGTHS, MANIFEST, stored, toy_store
from wtal_bench.cli import main
from wtal_bench.data.gather import gather
from wtal_bench.data.locate import find_features
from wtal_bench.data.store import FeatureStore, plan_shards, remote, write_shards
from wtal_bench.data.store.remote import Cache, Remote, is_remote
from wtal_bench.errors import ConfigError, DataError

fsspec = pytest.importorskip("fsspec")
VIDEOS = stored(LENGTHS * 3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "_WAITS", (0, 0))
    return tmp_path / "cache" / "remote_features"


@pytest.fixture
def local(tmp_path) -> FeatureStore:
    plan = plan_shards([v.id for v in VIDEOS], [v.features.nbytes for v in VIDEOS], 300, MANIFEST)
    return write_shards(tmp_path / "local", plan, VIDEOS.__getitem__, manifest=MANIFEST)[0]


@pytest.fixture
def address(local) -> str:
    """An address in memory that holds a copy of the local store."""
    system = fsspec.filesystem("memory")
    root = f"/{uuid.uuid4().hex}/features"
    system.put(str(local.folder), root, recursive=True)
    yield f"memory:/{root}"
    system.rm(root, recursive=True)


class Ranges(SimpleHTTPRequestHandler):
    """A file server that knows ranges, as every object store does, and counts what it is asked for."""

    asked: list[str]
    knows_ranges = True

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span and self.knows_ranges:
            first, end = int(span[1]), min(len(content), int(span[2] or len(content)) + 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(content)}")
            content = content[first:end]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server(local):
    pytest.importorskip("aiohttp")
    handler = type("Handler", (Ranges,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(local.folder))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", handler
        running.shutdown()


def same(store: FeatureStore, local: FeatureStore) -> None:
    assert (store.ids, store.manifest_hash, store.width) == (local.ids, local.manifest_hash, local.width)
    for row in (3, 0, 11, 3):
        np.testing.assert_array_equal(store.video(row), local.video(row))
    got, wanted = (gather(which, [5, 1, 5, 8], "whole").features for which in (store, local))
    assert got.equal(wanted)


def test_a_store_in_memory_holds_what_the_local_one_does(local, address):
    store = FeatureStore.open(address)
    same(store, local)
    store.verify()
    assert FeatureStore.open(address, "ram").bank.equal(FeatureStore.open(local.folder, "ram").bank)
    again = pickle.loads(pickle.dumps(store))
    same(again, local)


def test_a_store_of_one_file_is_read_too(tmp_path):
    one = toy_store(tmp_path / "one")
    system = fsspec.filesystem("memory")
    system.put(str(one.folder), "/one_file", recursive=True)
    store = FeatureStore.open("memory://one_file")
    store.verify()
    assert store.ids == one.ids


def test_https_fetches_ranges_of_videos_once(local, server, cache):
    address, handler = server
    store = FeatureStore.open(address)
    same(store, local)
    asked = len(handler.asked)
    same(FeatureStore.open(address), local)
    assert handler.asked[asked:] == ["/manifest.json"]  # index and videos are in the cache
    assert {path.name for path in cache.glob("??/*")} >= {store.index.checksum(row) for row in (0, 1, 3, 5, 8, 11)}


@pytest.mark.skipif(sys.platform != "linux", reason="loader workers are forked on Linux")
def test_a_forked_loader_worker_fetches_too(local, server):
    store = FeatureStore.open(server[0])
    store.video(0)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=lambda: queue.put(store.video(6).sum()), daemon=True)
    worker.start()
    assert queue.get(timeout=20) == local.video(6).sum()
    worker.join()


def test_a_batch_is_fetched_together(local, address, monkeypatch):
    store, calls = FeatureStore.open(address), []
    real = store._files.place.ranges
    monkeypatch.setattr(store._files.place, "ranges", lambda wanted: calls.append(len(wanted)) or real(wanted))
    gather(store, [0, 4, 4, 9, 2], "whole")
    gather(store, [4, 7, 0], "whole")
    assert calls == [4, 1]


def test_a_server_without_ranges_is_found_out(server):
    address, handler = server
    store = FeatureStore.open(address)
    handler.knows_ranges = False
    with pytest.raises(DataError, match="a server that knows no ranges"):
        store.video(6)


def test_s3_is_read(local, monkeypatch):
    pytest.importorskip("s3fs")
    boto3 = pytest.importorskip("boto3")
    moto_server = pytest.importorskip("moto.server")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="lab")
        for path in filter(Path.is_file, local.folder.rglob("*")):
            client.upload_file(str(path), "lab", f"archive/features/{path.relative_to(local.folder)}")
        same(FeatureStore.open("s3://lab/archive/features"), local)
        with pytest.raises(DataError, match="there is no feature store"):
            FeatureStore.open("s3://lab/archive/nothing")
    finally:
        server.stop()


def test_the_cache_keeps_to_its_limit_and_lets_the_oldest_go(tmp_path):
    cache = Cache(tmp_path / "c", limit=1000)
    contents = [bytes([number]) * 100 for number in range(30)]
    names = [hashlib.sha256(content).hexdigest() for content in contents]
    for number, (name, content) in enumerate(zip(names, contents)):
        cache.put(name, content)
        if (path := cache.get(name)) is not None:
            os.utime(path, (number, number))
        if (path := cache.get(names[0])) is not None:
            os.utime(path, (number, number))
        assert sum(path.stat().st_size for path in cache.folder.glob("??/*")) <= 1100
    assert cache.get(names[0]) is not None  # used all the time
    assert cache.get(names[29]) is not None
    assert cache.get(names[5]) is None
    cache.put("ff" * 32, b"x" * 1001)
    assert cache.get("ff" * 32) is None


def test_what_lies_in_the_cache_is_not_believed(local, address, cache):
    FeatureStore.open(address).video(4)
    path = Cache(cache, 10**6).path(local.index.checksum(4))
    path.write_bytes(b"\0" * path.stat().st_size)
    np.testing.assert_array_equal(FeatureStore.open(address).video(4), local.video(4))


@pytest.mark.parametrize("limit", ["0", "0.0000003"])
def test_a_cache_too_small_for_a_batch_changes_no_result(local, address, monkeypatch, limit):
    monkeypatch.setenv("WTAL_CACHE_GB", limit)
    same(FeatureStore.open(address), local)


def test_a_cache_that_cannot_be_written_is_done_without(local, address, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "file"))
    same(FeatureStore.open(address), local)
    assert "nothing is kept in" in caplog.text


@pytest.mark.parametrize("given", ["much", "-1", "nan"])
def test_a_limit_that_is_none_is_refused(address, monkeypatch, given):
    monkeypatch.setenv("WTAL_CACHE_GB", given)
    with pytest.raises(ConfigError, match="WTAL_CACHE_GB must be gigabytes"):
        FeatureStore.open(address)


def test_damage_and_what_is_missing_far_away_are_named(address):
    system, root = fsspec.filesystem("memory"), address.removeprefix("memory:/")
    store = FeatureStore.open(address)
    name = f"{root}/{store.shards.file(2)}"
    content = bytearray(system.cat_file(name))
    content[-1] ^= 1
    system.pipe_file(name, bytes(content))
    with pytest.raises(DataError, match=r"shards/00002/features.npy: the features of video .* upload a sound copy"):
        store.verify()
    system.pipe_file(name, bytes(content[:-1]))
    with pytest.raises(DataError, match="A shard that was cut off"):
        store.verify()
    system.rm_file(name)
    with pytest.raises(DataError, match=r"features\.npy: cannot be read"):
        store.video(store.shards.videos(2)[-1])  # never arrived sound, so it is in no cache
    system.pipe_file(f"{root}/index.json", b"{}")
    manifest = system.cat_file(f"{root}/manifest.json")
    system.pipe_file(f"{root}/manifest.json", manifest.replace(b'"index_sha256": "', b'"index_sha256": "0'))
    with pytest.raises(DataError, match=r"index\.json is not the one"):
        FeatureStore.open(address)


def test_a_fetch_that_fails_is_tried_again(address, monkeypatch):
    store = FeatureStore.open(address)
    system = store._files.place.system
    real, calls = system.cat_ranges, []

    def flaky(paths, *args, **options):
        calls.append(len(paths))
        found = real(paths, *args, **options)
        return [OSError("connection reset"), *found[1:]] if len(calls) == 1 else found

    monkeypatch.setattr(type(system), "cat_ranges", staticmethod(flaky))
    gather(store, [1, 2, 3], "whole")
    assert calls == [3, 1]


def test_what_cannot_be_read_says_what_to_install_or_mend(monkeypatch):
    with pytest.raises(ConfigError, match="no such kind of address"):
        Remote("nothing://x/y")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ConfigError, match=r"pip install 'wtal-bench\[remote\]' s3fs"):
        Remote("s3://x/y")


def test_addresses_are_told_from_folders():
    for place in ("s3://a/b", "https://a/b", Path("gs://a/b"), "memory://x"):
        assert is_remote(place)
    for place in ("data/s3", "/s3:/x", Path("C:/x"), "./a:/b", ""):
        assert not is_remote(place)
    assert Remote(str(Path("memory://a/b"))).address == "memory://a/b"
    assert find_features("thumos14", "s3://lab/features") == "s3://lab/features"


def test_the_verbs_take_addresses(local, address, capsys):
    assert main(["check-data", address]) == 0
    assert f"checksums: {len(VIDEOS)} of {len(VIDEOS)} videos intact" in capsys.readouterr().out
    shard = local.folder / "shards" / "00001" / "features.npy"
    content = shard.read_bytes()
    shard.write_bytes(content[:-3])
    assert main(["check-data", str(local.folder), "--repair", address]) == 0
    assert shard.read_bytes() == content
    assert main(["check-data", address, "--repair", str(local.folder)]) == 2
    assert "only a store in a folder of this machine can be mended" in capsys.readouterr().err
