"""A file is known again by its look as long as any change to it would show there; otherwise it is read."""

from __future__ import annotations

import hashlib
import os

import pytest

from wtal_bench.errors import RecordError
from wtal_bench.leaderboard import seen as module
from wtal_bench.leaderboard.seen import SETTLED, Seen


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    return path


@pytest.fixture
def later(monkeypatch):
    """So late that what is there has settled."""
    monkeypatch.setattr(module, "SETTLED", -(10**12))


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def again(seen: Seen, file) -> Seen:
    """What the next process knows."""
    return Seen(file.parent, seen.settled)


def test_a_settled_file_is_read_once(file, later, monkeypatch):
    first = Seen(file.parent)
    assert first.known(file) is None
    assert first.hash(file) == sha(b"one")
    assert first.news
    monkeypatch.setattr(module, "read_bytes", lambda *_, **__: pytest.fail("read"))
    second = again(first, file)
    assert second.hash(file) == second.known(str(file)) == sha(b"one")
    assert second.settled == first.settled
    assert not second.news


def test_a_file_that_changed_as_it_was_read_is_read_again(file):
    first = Seen(file.parent)
    assert first.hash(file) == sha(b"one")
    assert first.settled == {}
    assert again(first, file).known(file) is None


def test_times_in_whole_seconds_or_in_the_future_settle_as_late(file, monkeypatch):
    now = os.stat(file).st_ctime_ns
    for clock, settled in ((now + SETTLED, False), (now + SETTLED + 1, True)):
        monkeypatch.setattr(module.time, "time_ns", lambda clock=clock: clock)
        seen = Seen(file.parent)
        seen.hash(file)
        assert bool(seen.settled) is settled
    os.utime(file, ns=(now, now + 100 * SETTLED))
    seen = Seen(file.parent)
    seen.hash(file)
    assert not seen.settled


@pytest.mark.parametrize("change", ["content", "time", "another file", "size"])
def test_whatever_changed_is_read(file, later, change):
    first = Seen(file.parent)
    first.hash(file)
    before = file.stat()
    if change == "another file":
        (file.parent / "new").write_bytes(b"two")
        os.utime(file.parent / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
        os.replace(file.parent / "new", file)
    elif change == "time":
        os.utime(file, ns=(1, 1))
    else:
        file.write_bytes(b"two" if change == "content" else b"three")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = again(first, file)
    assert second.known(file) is None
    assert second.hash(file) == sha(file.read_bytes())


def test_without_a_time_of_change_every_file_is_read(file, later, monkeypatch):
    monkeypatch.setattr(module, "_look", lambda path: None)
    seen = Seen(file.parent)
    assert seen.hash(file) == sha(b"one")
    assert seen.settled == {}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match="there is no such file"):
        Seen(tmp_path).hash(tmp_path / "gone")
