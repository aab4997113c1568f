"""Writing a sharded store: many processes at once, here or on other machines, and again after a kill where it stopped.

The shards are planned first, from the sizes of what is to be read, so that every process that is started with the same
command plans the same. They are written into `.<name>.importing` beside the store, each under a lock and each complete
before it has its name; who finds them all there joins them. What is left of a killed import is finished by the next one
of the same features, and thrown away by one of others.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from wtal_bench.data.progress import track
from wtal_bench.data.store.index import COLUMNS, STRIDES
from wtal_bench.data.store.manifest import (
    INDEX,
    MANIFEST,
    SHARDED,
    SHARDS,
    check_manifest,
    manifest_hash,
    shard_name,
)
from wtal_bench.data.store.reading import FeatureStore
from wtal_bench.data.store.write import StoredVideo, check_free, place_folder, write_index, write_store
from wtal_bench.errors import DataError
from wtal_bench.files import canonical_json, write_text
from wtal_bench.reading import GIB, TEXT_LIMIT, is_file, read_json, read_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_PLAN = "plan"


@dataclass(frozen=True)
class Plan:
    """Which videos go into which shard.

    Attributes:
        shards: positions of every shard's videos.
        key: what is the same for every process that writes this very store.
    """

    shards: tuple[range, ...]
    key: str


def plan_shards(
    ids: Sequence[str], sizes: Sequence[int], limit: int, manifest: Mapping[str, Any], stamps: Sequence[Any] = ()
) -> Plan:
    """Plan the shards of a store: videos in order, a new shard where one would grow past the limit.

    Args:
        ids: of N videos.
        sizes: bytes of each, about.
        limit: bytes of a shard.
        manifest: what the features are; part of the key.
        stamps: what changes when the files of a video do; part of the key.
    """
    bounds, held = [0], 0
    for at, size in enumerate(sizes):
        if held and held + size > limit:
            bounds.append(at)
            held = 0
        held += size
    shards = tuple(range(first, end) for first, end in zip(bounds, [*bounds[1:], len(ids)]))
    key = hashlib.sha256(canonical_json([dict(manifest), limit, list(ids), list(sizes), list(stamps)]).encode())
    return Plan(shards, key.hexdigest())


def write_shards(
    folder: str | Path,
    plan: Plan,
    read: Callable[[int], StoredVideo],
    *,
    manifest: Mapping[str, Any],
    dtype: str = "float32",
    jobs: int = 1,
    overwrite: bool = False,
) -> tuple[FeatureStore, list[str]]:
    """Write a store shard by shard; the folder appears whole or not at all, finished shards outlive a kill.

    Args:
        folder: where the store will lie.
        plan: of its shards.
        read: returns the video at a position.
        manifest, dtype, overwrite: as `write_store`.
        jobs: processes that write at once (threads where the system cannot fork safely).

    Returns:
        The store, opened, and the ids of the videos that were cut (`StoredVideo.cut`).

    Raises:
        DataError: as `write_store`; or another process writes other features there.
    """
    folder = Path(folder)
    manifest = {**manifest, "format": SHARDED, "dtype": dtype}
    check_manifest(manifest, "manifest", written=False)
    check_free(folder, overwrite)
    work = _Work(folder, plan, manifest, read)
    with work.taken():
        try:
            _run(work, min(jobs, len(plan.shards)))
        except (DataError, BrokenProcessPool) as error:
            done = sum(map(work.done, range(len(plan.shards))))
            raise DataError(
                f"{_sentence(error)} {done} of {len(plan.shards)} shards are finished and kept: once that is mended, "
                "the same command goes on from there."
            ) from error
    cut = work.join(overwrite)
    return FeatureStore.open(folder), cut


def _sentence(error: Exception) -> str:
    if isinstance(error, BrokenProcessPool):
        return "A process that wrote shards was killed, perhaps for want of memory (fewer --jobs need less)."
    return str(error)


class _Work:
    """A sharded store that is being written, in the hidden folder all its writers share."""

    def __init__(
        self, folder: Path, plan: Plan, manifest: Mapping[str, Any], read: Callable[[int], StoredVideo]
    ) -> None:
        self.folder, self.plan, self.manifest, self.read = folder, plan, manifest, read
        self.path = folder.parent / f".{folder.name}.importing"
        self._lock = FileLock(f"{self.path}.lock")

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take part in the work: begin it, or go on where others are or were."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                self._set_up()
                handle = os.open(self.path / _PLAN, os.O_RDONLY)
                _flock(handle, shared=True)
        except OSError as error:
            raise DataError(
                f"cannot write feature store {self.folder}: {error.strerror or error}. Check that the disk has room "
                "and the folder is writable."
            ) from error
        try:
            yield
        finally:
            os.close(handle)

    def _set_up(self) -> None:
        if is_file(self.path / _PLAN):
            if read_text(self.path / _PLAN) == self.plan.key:
                return
            with open(self.path / _PLAN, "rb") as stream:
                if not _flock(stream.fileno(), shared=False):
                    raise DataError(
                        f"{self.folder}: another process is writing other features there, or the same with other "
                        "options. Wait for it, or choose another folder."
                    )
        shutil.rmtree(self.path, ignore_errors=True)
        (self.path / SHARDS).mkdir(parents=True)
        (self.path / "locks").mkdir()
        write_text(self.path / _PLAN, self.plan.key)

    def done(self, shard: int) -> bool:
        """Whether a shard is complete."""
        return is_file(self.path / shard_name(shard) / MANIFEST)

    def write(self, shard: int, wait: bool = False) -> bool:
        """Write a shard unless it is there; return False, at once, where another process is at it.

        Args:
            shard: its number.
            wait: for that other process, and do its work if it is killed.
        """
        if self.done(shard):
            return True
        try:
            with FileLock(self.path / "locks" / f"{shard:05d}", timeout=-1 if wait else 0):
                # in this order: once all shards are done another process may join them, and takes the plan away first
                if not self.done(shard) and self.going_on():
                    videos = self._videos(shard)
                    plain = {key: value for key, value in self.manifest.items() if key not in ("format", "dtype")}
                    folder, kind = self.path / shard_name(shard), self.manifest["dtype"]
                    write_store(folder, videos, manifest=plain, dtype=kind, ahead=True)
        except Timeout:
            return False
        except OSError as error:
            if self.going_on():
                raise DataError(f"cannot write into {self.path}: {error.strerror or error}.") from error
        return True

    def _videos(self, shard: int) -> Iterator[StoredVideo]:
        """A shard's videos; those that were cut are written down before the shard is."""
        cut = []
        for at in self.plan.shards[shard]:
            video = self.read(at)
            cut += [video.id] if video.cut else []
            yield video
        write_text(self.path / "cut" / f"{shard:05d}", "\n".join(cut))

    def going_on(self) -> bool:
        """Whether the work is still to be joined."""
        return is_file(self.path / _PLAN)

    def join(self, overwrite: bool) -> list[str]:
        """Give all shards their place in the store, unless another process was faster; return the videos cut."""
        cut: list[str] = []
        with self._lock:
            if self.going_on():
                cut = [video for path in sorted((self.path / "cut").iterdir()) for video in read_text(path).split("\n")]
                place_folder(self.folder, self._fill, overwrite)
            shutil.rmtree(self.path, ignore_errors=True)
            Path(self._lock.lock_file).unlink(missing_ok=True)
        return list(filter(None, cut))

    def _fill(self, target: Path) -> None:
        columns: dict[str, list] = {}
        shards, rows = [], 0
        for shard in range(len(self.plan.shards)):
            folder = self.path / shard_name(shard)
            manifest = read_json(folder / MANIFEST, limit=TEXT_LIMIT)
            index = read_json(folder / INDEX, limit=GIB)
            index["offsets"] = [rows + offset for offset in index["offsets"]]
            for name in (*COLUMNS, STRIDES) if STRIDES in index else COLUMNS:
                columns.setdefault(name, []).extend(index[name])
            shards.append([manifest["videos"], manifest["rows"], manifest_hash(manifest)])
            rows += manifest["rows"]
        write_index(target, {**self.manifest, "shards": shards}, columns)
        (self.path / _PLAN).unlink()
        os.rename(self.path / SHARDS, target / SHARDS)


_WORK: _Work | None = None
"""What a forked process works at: it has the parent's memory, and nothing need be pickled."""


def _write(shard: int, wait: bool) -> tuple[int, bool]:
    return shard, _WORK.write(shard, wait)


def _run(work: _Work, jobs: int) -> None:
    """Write every shard: first those that nobody is at, then, if they are not done by then, the others."""
    global _WORK
    left = list(range(len(work.plan.shards)))
    if jobs == 1:
        left = [shard for shard in track(left, len(left), _DOING) if not work.write(shard)]
        for shard in left:
            work.write(shard, wait=True)
        return
    _WORK = work
    try:
        for wait in (False, True):
            with _pool(jobs) as pool:
                futures = [pool.submit(_write, shard, wait) for shard in left if not work.done(shard)]
                try:
                    results = [future.result() for future in track(as_completed(futures), len(futures), _DOING)]
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
            left = [shard for shard, written in results if not written]
    finally:
        _WORK = None


_DOING = "writing shards"


def _pool(jobs: int) -> Executor:
    if jobs > 1 and sys.platform == "linux":  # elsewhere a fork may hang in the system's own libraries
        return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork"))
    return ThreadPoolExecutor(jobs)


def _flock(handle: int, *, shared: bool) -> bool:
    """Lock an open file without waiting; True, too, where the system or the file system has no such locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


__all__ = ["Plan", "plan_shards", "write_shards"]
