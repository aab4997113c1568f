"""Videos -> a feature store, video by video: resumable, one batch of snippets in memory, decoding while it computes."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from wtal_bench.data.progress import track
from wtal_bench.data.store import FeatureStore, StoredVideo, write_store
from wtal_bench.errors import ConfigError, DataError, listing
from wtal_bench.extraction.decode import Decoded, FrameReader, VideoFile, probe
from wtal_bench.extraction.snippets import SnippetGrid, read_snippets
from wtal_bench.files import JsonError, atomic_write, digest, parse_json, write_json
from wtal_bench.interfaces import Extractor


@dataclass
class Report:
    """What an extraction did.

    Attributes:
        store: the store written; None where videos failed and were not to be left out.
        failed: video id -> why it could not be read.
        notes: sentences about videos that were read with a doubt.
        reused: videos that an earlier, interrupted call had done.
        seconds: length of the videos decoded now.
        spent: seconds this took.
        waited: seconds of `spent` in which computing waited for decoding.
    """

    store: FeatureStore | None = None
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reused: int = 0
    seconds: float = 0.0
    spent: float = 0.0
    waited: float = 0.0


def extract_features(
    paths: Sequence[Path],
    out: Path,
    extractor: Extractor,
    *,
    fps: float = 25.0,
    stride: int = 16,
    batch: int = 32,
    device: str = "cpu",
    dtype: str = "float32",
    name: str | None = None,
    overwrite: bool = False,
    leave_out_broken: bool = False,
) -> Report:
    """Extract the features of videos into a store.

    What is done is kept beside `out` until the store is written: a call that is repeated after it was interrupted
    goes on with the video it was at. A video that cannot be read does not stop the others.

    Args:
        paths: the videos; a file's stem is the video's id.
        out: the store's folder.
        extractor: what turns pictures into features.
        fps: frames a second that videos are decoded at, whatever their own rate.
        stride: frames between two snippets.
        batch: snippets computed at once.
        device: torch's name of where.
        dtype: "float32" or "float16".
        name: name of the feature set; the folder's by default.
        overwrite: replace a store that is there.
        leave_out_broken: write the store without the videos that cannot be read.

    Raises:
        DataError: not one video can be read; `out` is there; the disk is full.
        ConfigError: a rate, stride or batch that cannot be.
    """
    grid = SnippetGrid(fps, stride, tuple(extractor.offsets))
    if batch < 1:
        raise ConfigError(f"the batch must be at least 1 snippet, got {batch!r}.")
    if out.exists() and not overwrite:
        raise DataError(f"{out} is already there; choose another folder, or say --overwrite.")
    manifest = _manifest(name or out.name, extractor, grid, dtype)
    parts = out.parent / f".{out.name}.extracting"
    report = Report()
    with _alone(out, parts):
        kept = _Parts(parts, manifest)
        videos = _probed(paths, report)
        started = time.monotonic()
        total = sum(max(1, round(video.seconds * fps / stride)) for video in videos)
        work = _Work(grid, extractor.to(torch.device(device)), torch.device(device), batch, kept, report)
        for _ in track(work.snippets(videos), total, "extracting snippets"):
            pass
        report.spent = time.monotonic() - started
        done = [video for video in videos if video.id not in report.failed]
        if not done:
            raise DataError(f"not one of {len(paths)} videos could be read: {listing(report.failed.values(), 3)}")
        if report.failed and not leave_out_broken:
            return report
        report.store = write_store(
            out, (kept.read(video) for video in done), manifest=manifest, dtype=dtype, overwrite=overwrite
        )
        kept.remove()
    return report


def video_features(path: Path, extractor: Extractor, *, fps: float, stride: int, batch: int = 32) -> StoredVideo:
    """Extract one video, keeping nothing on disk: for `infer`.

    Raises:
        DataError: it cannot be read.
    """
    grid = SnippetGrid(fps, stride, tuple(extractor.offsets))
    work = _Work(grid, extractor, torch.device("cpu"), batch, None, Report())
    for _ in work.video(probe(path)):
        pass
    features, decoded = work.result
    return StoredVideo(path.stem, features, decoded.seconds, fps, decoded.frames, str(path))


class _Work:
    """Videos -> features, a step a snippet, so that progress moves within long videos."""

    def __init__(
        self,
        grid: SnippetGrid,
        extractor: Extractor,
        device: torch.device,
        batch: int,
        parts: _Parts | None,
        report: Report,
    ) -> None:
        self.grid, self.extractor, self.device, self.batch = grid, extractor, device, batch
        self.parts, self.report = parts, report
        self.result: tuple[np.ndarray, Decoded]

    def snippets(self, videos: Sequence[VideoFile]) -> Iterator[None]:
        for video in videos:
            if self.parts.has(video):
                self.report.reused += 1
                yield from (None for _ in range(max(1, round(video.seconds * self.grid.fps / self.grid.stride))))
                continue
            try:
                yield from self.video(video)
            except DataError as error:
                self.report.failed[video.id] = str(error)
                continue
            features, decoded = self.result
            self.parts.write(video, features, decoded)
            self.report.seconds += decoded.seconds
            if decoded.damaged:
                self.report.notes.append(f"{video.path}: {decoded.damaged} damaged packets were passed over")

    def video(self, video: VideoFile) -> Iterator[None]:
        reader = FrameReader(video.path, self.grid.fps, self.extractor.size, self.extractor.crop, self.grid.wants)
        found: list[np.ndarray] = []
        for pictures in self._ahead(_batches(read_snippets(reader, self.grid), self.batch)):
            rows = self._features(torch.from_numpy(pictures))
            if rows.shape != (len(pictures), self.extractor.width) or not np.isfinite(rows).all():
                raise ConfigError(
                    f"{type(self.extractor).__name__} gave features of shape {rows.shape} for {len(pictures)} "
                    f"snippets of {video.path}; it declares {self.extractor.width} finite columns."
                )
            found.append(rows)
            yield from (None for _ in rows)
        self.result = np.concatenate(found), reader.decoded

    def _features(self, pictures: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return self.extractor(pictures.to(self.device)).float().cpu().numpy()

    def _ahead(self, batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Decode the next batch in a thread while this one is computed; count the time computing has to wait."""
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(next, batches, None)
            while True:
                since = time.monotonic()
                pictures = coming.result()
                self.report.waited += time.monotonic() - since
                if pictures is None:
                    return
                coming = pool.submit(next, batches, None)
                yield pictures


def _batches(snippets: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    held: list[np.ndarray] = []
    for snippet in snippets:
        held.append(snippet)
        if len(held) == size:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)


class _Parts:
    """What is done of an extraction, a file a video, until the store is written."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.rate = folder, manifest["fps"]
        settings = folder / "settings.json"
        wanted = digest(manifest)
        if settings.is_file() and _read_json(settings) != {"settings": wanted}:
            # made with another extractor, rate or stride: nothing of it can be used
            shutil.rmtree(folder)
        if not settings.is_file():
            write_json(settings, {"settings": wanted})

    def has(self, video: VideoFile) -> bool:
        """Whether the features of that file, unchanged since, are there."""
        said = _read_json(self._path(video, ".json"))
        return isinstance(said, dict) and said.get("file") == _state(video.path) and self._path(video, ".npy").is_file()

    def write(self, video: VideoFile, features: np.ndarray, decoded: Decoded) -> None:
        with atomic_write(self._path(video, ".npy"), "wb") as stream:
            np.save(stream, features)
        write_json(self._path(video, ".json"), {"file": _state(video.path), **asdict(decoded)})

    def read(self, video: VideoFile) -> StoredVideo:
        said = _read_json(self._path(video, ".json"))
        features = np.load(self._path(video, ".npy"), allow_pickle=False)
        return StoredVideo(video.id, features, said["seconds"], self.rate, said["frames"], str(video.path))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, video: VideoFile, suffix: str) -> Path:
        return self.folder / f"{digest(video.id)[:40]}{suffix}"


def _read_json(path: Path) -> Any:
    try:
        return parse_json(path.read_bytes())
    except (OSError, JsonError):
        return None


def _state(path: Path) -> list[Any]:
    """What tells that a file was changed: where it lies, its size, when it was written."""
    state = path.stat()
    return [str(path.resolve()), state.st_size, state.st_mtime_ns]


def _probed(paths: Sequence[Path], report: Report) -> list[VideoFile]:
    videos = []
    for path in paths:
        try:
            videos.append(probe(path))
        except DataError as error:
            report.failed[path.stem] = str(error)
    return videos


def _manifest(name: str, extractor: Extractor, grid: SnippetGrid, dtype: str) -> dict[str, Any]:
    import av

    return {
        "name": name,
        "extractor": extractor.words,
        "fps": grid.fps,
        "stride": grid.stride,
        "window": extractor.window,
        "offsets": list(grid.offsets),
        "streams": {"rgb": [0, extractor.width]},
        "pictures": {"size": extractor.size, "crop": extractor.crop},
        "weights": dict(extractor.weights),
        "generator": f"wtal-bench extract (av {av.__version__}, torch {torch.__version__})",
        "synthetic": False,
        "dtype": dtype,
    }


@contextlib.contextmanager
def _alone(out: Path, parts: Path) -> Iterator[None]:
    """A lock on an extraction: two of them into one folder would undo each other's work."""
    lock = FileLock(f"{parts}.lock")
    try:
        parts.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DataError(f"{out}: another process extracts into it; wait for that, or choose another folder.") from error
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror or error}).") from error
    try:
        yield
    finally:
        lock.release()
        if not parts.is_dir():
            Path(lock.lock_file).unlink(missing_ok=True)


__all__ = ["Report", "extract_features", "video_features"]
