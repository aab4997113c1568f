"""A store at an address, `s3://`, `gs://`, `https://`: videos are fetched when asked for and kept in a bounded cache.

What travels is a video, a range of its shard's file, several at once; the index says what its bytes must hash to, so
neither the way nor the cache need be trusted. The cache is a folder of such videos, named by their checksums: any
number of processes share it, and what was used longest ago goes when it is full.

    WTAL_CACHE       the folder of all that can be made again (default ~/.cache/wtal_bench)
    WTAL_CACHE_GB    how much of features it may hold (default 50)

`fsspec` reads the addresses (extra `remote`) and takes credentials from where each provider's own tools look for them.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.data.store.files import HEADER, Shards
from wtal_bench.data.store.index import Index
from wtal_bench.data.store.manifest import DTYPES, INDEX, MANIFEST, width_of
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.files import cache_folder
from wtal_bench.reading import GIB, size

_LOG = logging.getLogger("wtal_bench")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")
_PIP = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
_WAITS = (0.5, 2.0)
"""Seconds between attempts to fetch what did not arrive."""
_SHARE = 0.9
"""How full the cache is left when it was too full."""


def is_remote(place: str | os.PathLike[str]) -> bool:
    """Whether a store's place is an address, not a folder of this machine."""
    return _ADDRESS.match(str(place)) is not None


class Remote:
    """Reads files, and ranges of them, below an address.

    Args:
        address: of the store; one that went through `Path`, and lost a slash, is understood.

    Raises:
        ConfigError: a kind of address that nothing installed reads.
    """

    def __init__(self, address: str) -> None:
        kind, _, rest = str(address).partition(":/")
        self.address = f"{kind}://{rest.lstrip('/') if kind != 'file' else rest}".rstrip("/")
        self._kind = kind
        self._open()

    @property
    def system(self) -> Any:
        """Fsspec's file system, one of this process: its connections outlive no fork (loader workers are forked)."""
        if self._process != os.getpid():
            self._open()
        return self._system

    def _open(self) -> None:
        try:
            from fsspec.core import url_to_fs

            self._system, root = url_to_fs(self.address)
        except ImportError as error:
            package = f" {_PIP[self._kind]}" if self._kind in _PIP else ""
            raise ConfigError(
                f"{self.address}: reading {self._kind}:// needs a package ({error}): pip install "
                f"'wtal-bench[remote]'{package}."
            ) from error
        except ValueError as error:
            raise ConfigError(f"{self.address}: no such kind of address ({error}).") from error
        self.root, self._process = root.rstrip("/"), os.getpid()

    def read(self, name: str, limit: int) -> bytes:
        """The whole of a small file.

        Raises:
            DataError: it is not there, cannot be reached, or is larger than `limit` bytes.
        """
        try:
            with self.system.open(f"{self.root}/{name}", "rb") as stream:
                content = stream.read(limit + 1)
        except FileNotFoundError as error:
            raise DataError(
                f"{self.address}: there is no feature store (no {name}). Give the address of a folder that holds "
                f"{MANIFEST} and {INDEX}, as `wtal-bench import-features` writes them."
            ) from error
        except Exception as error:  # every kind of address has its own ways to fail
            raise self._unreachable(name, error) from error
        if len(content) > limit:
            raise DataError(f"{self.address}/{name}: has more than the {size(limit)} that are read.")
        return content

    def ranges(self, wanted: Sequence[tuple[str, int, int]]) -> list[bytes]:
        """Some ranges of files, fetched at once where the kind of address can.

        Args:
            wanted: (file below the address, first byte, end) of each.

        Raises:
            DataError: one could not be had, after three attempts.
        """
        got: dict[int, bytes] = {}
        for wait in (*_WAITS, None):
            left = [at for at in range(len(wanted)) if at not in got]
            paths, starts, ends = zip(*(wanted[at] for at in left))
            try:
                found = self.system.cat_ranges(
                    [f"{self.root}/{path}" for path in paths], list(starts), list(ends), on_error="return"
                )
            except Exception as error:  # as above; some kinds fail as a whole
                found = [error] * len(left)
            got |= {at: content for at, content in zip(left, found) if isinstance(content, bytes)}
            failed = [(path, error) for path, error in zip(paths, found) if not isinstance(error, bytes)]
            if not failed:
                return [got[at] for at in range(len(wanted))]
            if wait is None or all(isinstance(error, FileNotFoundError) for _, error in failed):
                break
            time.sleep(wait)
        raise self._unreachable(*failed[0])

    def _unreachable(self, name: str, error: Any) -> DataError:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        return DataError(
            f"{self.address}/{name}: cannot be read ({why:.200}). Is the address right, the network up, and are the "
            "credentials where the provider's own tools find them?"
        )


class Cache:
    """A folder of byte strings named by their sha256, that holds no more than its limit.

    Args:
        folder: where; made when something is put.
        limit: bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._seen: set[str] = set()
        self._added = limit  # what earlier processes left is looked at with the first that is put

    @classmethod
    def usual(cls) -> Cache:
        """The cache of this machine.

        Raises:
            ConfigError: WTAL_CACHE_GB is no number of gigabytes.
        """
        given = os.environ.get("WTAL_CACHE_GB", "50")
        try:
            limit = float(given)
        except ValueError:
            limit = -1.0
        if not 0 <= limit < 1e9:
            raise ConfigError(f"WTAL_CACHE_GB must be gigabytes, 0 for no cache, got {given!r}.")
        return cls(cache_folder() / "remote_features", int(limit * 1e9))

    def path(self, sha256: str) -> Path:
        """Where something lies or would lie."""
        return self.folder / sha256[:2] / sha256

    def get(self, sha256: str) -> Path | None:
        """Where something lies, whole; None when it is not there. It is now the last to go.

        What this process sees for the first time is hashed: the machine may have gone down while it was written.
        """
        path = self.path(sha256)
        try:
            if sha256 not in self._seen:
                if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                    path.unlink(missing_ok=True)
                    return None
                self._seen.add(sha256)
            os.utime(path)
        except OSError:
            return None
        return path

    def put(self, sha256: str, content: bytes) -> None:
        """Keep something, whose sha256 that is, unless the disk refuses: then it is fetched again next time."""
        if len(content) > self.limit:
            return
        path = self.path(sha256)
        fresh = path.with_name(f".{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(content)
            os.replace(fresh, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            _LOG.warning("nothing is kept in %s: %s", self.folder, error.strerror or error)
            return
        self._seen.add(sha256)
        self._added += len(content)
        if self._added > (1 - _SHARE) * self.limit:
            self._trim()

    def _trim(self) -> None:
        """Throw away what was used longest ago, until there is room for a while."""
        files = []
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(OSError):
                found = path.stat()
                files.append((found.st_mtime_ns, found.st_size, path))
        held = sum(size for _, size, _ in files)
        room = held > self.limit
        for _, length, path in sorted(files) if room else ():
            if held <= _SHARE * self.limit:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                self._seen.discard(path.name)
            held -= length
        # the next look comes when this process may have filled it, or a tenth of it beside others
        self._added = 0


class RemoteRows:
    """Rows of a store at an address, fetched a video at a time; see `files.Rows`.

    Args:
        place: where the store lies.
        manifest, index: checked.
        cache: keeps videos on this disk.
    """

    def __init__(self, place: Remote, manifest: Mapping[str, Any], index: Index, cache: Cache) -> None:
        self.place, self.cache, self.shards = place, cache, Shards(manifest)
        self._kind, self._width = np.dtype(DTYPES[manifest["dtype"]]), width_of(manifest)
        self._index = index

    def video(self, row: int) -> np.ndarray:
        """[T,D] of one video, from the cache or fetched."""
        shape = (int(self._index.lengths[row]), self._width)
        path = self.cache.get(self._index.checksum(row))
        if path is not None:
            with contextlib.suppress(OSError, ValueError):  # another process has just thrown it away
                return np.memmap(path, self._kind, "c", shape=shape)
        (content,) = self._fetch([row])
        return np.frombuffer(bytearray(content), self._kind).reshape(shape)

    def prepare(self, rows: Sequence[int]) -> None:
        """Fetch at once what of these videos is not in the cache."""
        missing = [row for row in dict.fromkeys(rows) if self.cache.get(self._index.checksum(row)) is None]
        if missing:
            self._fetch(missing)

    def check(self, shard: int) -> None:
        """Nothing that can be looked at without fetching the features, which are checked as they arrive."""

    def _fetch(self, rows: Sequence[int]) -> list[bytes]:
        contents = self.place.ranges([self._range(row) for row in rows])
        for row, content in zip(rows, contents):
            self._check(row, content)
            self.cache.put(self._index.checksum(row), content)
        return contents

    def _range(self, row: int) -> tuple[str, int, int]:
        """The file and bytes of a video."""
        shard = self.shards.of(row)
        first = int(self._index.offsets[row] - self.shards.first_row[shard])
        step = self._width * self._kind.itemsize
        return self.shards.file(shard), HEADER + first * step, HEADER + (first + int(self._index.lengths[row])) * step

    def _check(self, row: int, content: bytes) -> None:
        name, first, end = self._range(row)
        where, video = f"{self.place.address}/{name}", self._index.ids[row]
        if len(content) != end - first:
            raise DataError(
                f"{where}: gave {len(content)} bytes where the {end - first} of video {video!r} were asked for. A "
                "shard that was cut off, or a server that knows no ranges (HTTP Range)?"
            )
        if hashlib.sha256(content).hexdigest() != self._index.checksum(row):
            raise DataError(
                f"{where}: the features of video {video!r} differ from the checksum in {INDEX}. The shard there is "
                "damaged: upload a sound copy of it."
            )


def read_index(place: Remote, manifest: Mapping[str, Any], cache: Cache) -> bytes:
    """The bytes of index.json: from the cache, where the manifest names the same as last time."""
    wanted = manifest.get("index_sha256")
    if isinstance(wanted, str) and re.fullmatch(r"[0-9a-f]{64}", wanted):
        path = cache.get(wanted)
        if path is not None:
            with contextlib.suppress(OSError):
                return path.read_bytes()
    content = place.read(INDEX, GIB)
    cache.put(hashlib.sha256(content).hexdigest(), content)
    return content


__all__ = ["Cache", "Remote", "RemoteRows", "is_remote", "read_index"]
