"""A video file -> frames at a constant rate, by their timestamps, one in memory at a time (PyAV; no torch).

The time of a frame is its timestamp minus the file's start, as a player shows it. Output frame k of rate f stands for
[k/f, (k+1)/f) and is the picture shown at its middle: at the video's own rate every frame comes once, at another one
frames are dropped or repeated, and a variable rate needs no word. Pictures are turned and stretched as their file says.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wtal_bench.errors import DataError, listing

if TYPE_CHECKING:
    import av

SUFFIXES = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
"""Files of a folder that are taken for videos; a file that is named itself may be called anything."""

DAMAGED_SHARE = 0.05
"""Share of packets that may fail to decode before a video is refused; players hide that much, too."""

_TICK = 1e-6
"""Seconds within which a middle falls on a picture's start: at half its own rate, every one does."""

INSTALL = "Reading videos needs PyAV: pip install 'wtal-bench[video]'."


@dataclass(frozen=True)
class VideoFile:
    """What a video file says of itself before it is decoded.

    Attributes:
        path, id: the file; its stem is the video's id.
        seconds: length by its header, 0 where it gives none.
        rate: average frames a second by its header, 0 where it gives none.
    """

    path: Path
    id: str
    seconds: float
    rate: float


@dataclass(frozen=True)
class Decoded:
    """What decoding to the end found.

    Attributes:
        seconds: end of the last frame.
        frames: output frames at the asked rate, at least 1.
        pictures: pictures in the file.
        damaged: packets that could not be decoded.
    """

    seconds: float
    frames: int
    pictures: int
    damaged: int


def find_videos(sources: list[Path]) -> list[Path]:
    """Files and folders (searched to any depth) -> video files, in the order of their names within each folder.

    Raises:
        DataError: nothing there, a folder without videos, or two videos of one name.
    """
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            inside = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            if not inside:
                raise DataError(
                    f"{source}: holds no video ({listing(SUFFIXES)}). Name a file itself to read any other."
                )
            found += inside
        elif source.is_file():
            found.append(source)
        else:
            raise DataError(f"{source}: there is no such video or folder.")
    by_id: dict[str, Path] = {}
    for path in found:
        other = by_id.setdefault(path.stem, path)
        if other != path:
            raise DataError(f"{other} and {path} have the same name; it is the video's id, so rename one.")
    return list(dict.fromkeys(found))


def probe(path: Path) -> VideoFile:
    """Read a video file's header.

    Raises:
        DataError: no video, audio only, cut off before its index; the text names the file.
    """
    with _opened(path) as (_, stream):
        return VideoFile(path, path.stem, _header_seconds(stream), float(stream.average_rate or 0))


class FrameReader:
    """Iterates over a video's output frames: (k, picture or None), one picture in memory at a time.

    Args:
        path: the video.
        fps: output frames a second.
        size: height and width of a picture: its short side is scaled to `size / crop`, its middle is cut out.
        crop: share of the short side that is kept.
        wanted: k -> whether that frame is looked at; others are decoded (they must be) but not converted.

    Attributes:
        decoded: what was found, once the last frame has been given.
    """

    def __init__(self, path: Path, fps: float, size: int, crop: float = 1.0, wanted: Any = lambda k: True) -> None:
        self.path, self.fps, self.size, self.crop, self.wanted = path, fps, size, crop, wanted
        self.decoded: Decoded | None = None
        self._frame: Any = None
        self._converted: np.ndarray | None = None

    def __iter__(self) -> Iterator[tuple[int, np.ndarray | None]]:
        with _opened(self.path) as (container, stream):
            yield from self._frames(container, stream)

    def last(self) -> np.ndarray:
        """[size,size,3] uint8: the picture of the frame given last."""
        if self._converted is None:
            self._converted = picture(self._frame, self.size, self.crop)
        return self._converted

    def _frames(self, container: Any, stream: Any) -> Iterator[tuple[int, np.ndarray | None]]:
        timeline = _Timeline(container, stream)
        k = 0
        for frame, start in timeline:
            while self._frame is not None and (k + 0.5) / self.fps < start - _TICK:
                yield k, self._shown(k)
                k += 1
            self._frame, self._converted = frame, None
        if self._frame is None:
            raise DataError(f"{self.path}: holds no picture that can be decoded; is it a whole video?")
        timeline.check(self.path)
        frames = max(1, math.floor(timeline.end * self.fps + 0.5))
        for at in range(k, frames):
            yield at, self._shown(at)
        self.decoded = Decoded(timeline.end, max(k, frames), timeline.pictures, timeline.damaged)

    def _shown(self, k: int) -> np.ndarray | None:
        return self.last() if self.wanted(k) else None


class _Timeline:
    """Pictures of a stream with the second each begins, never going back."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self._expected = _header_seconds(stream)
        self._step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        self.end = self._start = 0.0
        self.pictures = self.damaged = 0
        self._packets = 0

    def __iter__(self) -> Iterator[tuple[Any, float]]:
        import av

        origin = self._container.start_time
        zero = None if origin is None else origin / av.time_base
        for frame in self._decoded():
            time = frame.time
            if time is None:
                start = self.end
            else:
                zero = time if zero is None or time < zero else zero
                start = max(time - zero, 0.0)
            # some writers repeat or turn back a timestamp: the picture then follows the one before at once
            self._start = start = max(start, self._start)
            self.end = max(self.end, start + self._lasts(frame))
            self.pictures += 1
            yield frame, start

    def _lasts(self, frame: Any) -> float:
        duration = getattr(frame, "duration", 0) or 0
        return float(duration * frame.time_base) if duration and frame.time_base else self._step

    def _decoded(self) -> Iterator[Any]:
        import av

        for packet in self._container.demux(self._stream):
            self._packets += packet.size > 0
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                self.damaged += 1

    def check(self, path: Path) -> None:
        """Refuse a video that ends long before its header says, or of which too much could not be decoded."""
        if self.damaged > DAMAGED_SHARE * self._packets:
            raise DataError(
                f"{path}: {self.damaged} of {self._packets} packets cannot be decoded; copy or download it again."
            )
        if self._expected - self.end > max(1.0, 0.05 * self._expected):
            raise DataError(
                f"{path}: its pictures end at {self.end:.1f} s, its header says {self._expected:.1f} s: it is cut off. "
                "Copy or download it again."
            )


def picture(frame: av.VideoFrame, size: int, crop: float) -> np.ndarray:
    """One decoded frame -> [size,size,3] uint8 RGB: upright, square pixels, short side scaled, middle cut out."""
    height, width = frame.height, frame.width
    aspect = _pixel_aspect(frame)
    short = round(size / crop)
    shown = width * aspect
    scale = short / min(shown, height)
    across, down = max(size, round(shown * scale)), max(size, round(height * scale))
    pixels = frame.reformat(width=across, height=down, format="rgb24", interpolation="BICUBIC").to_ndarray()
    top, left = (down - size) // 2, (across - size) // 2
    pixels = pixels[top : top + size, left : left + size]
    quarter_turns = round((getattr(frame, "rotation", 0) or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns))


def _pixel_aspect(frame: Any) -> float:
    ratio = getattr(frame, "sample_aspect_ratio", None)
    value = float(ratio) if ratio else 1.0
    return value if 0.1 < value < 10 else 1.0


def _header_seconds(stream: Any) -> float:
    """Length of the stream by its header, 0 if unknown."""
    if stream.duration and stream.time_base:
        return max(0.0, float(stream.duration * stream.time_base))
    written = stream.metadata.get("DURATION", "")
    with contextlib.suppress(ValueError):
        hours, minutes, seconds = written.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    container = stream.container
    if container.duration and len(container.streams) == 1:
        return max(0.0, container.duration / 1e6)
    return 0.0


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A container and its video stream; what PyAV raises while it is open becomes a sentence."""
    try:
        import av
    except ImportError as error:
        raise DataError(INSTALL) from error
    if not path.is_file():
        what = "is no plain file" if path.exists() else "there is no such video"
        raise DataError(f"{path}: {what}.")
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            cover = av.stream.Disposition.attached_pic
            stream = next((stream for stream in container.streams.video if not stream.disposition & cover), None)
            if stream is None:
                kinds = sorted({stream.type for stream in container.streams} - {"video"}) or ["nothing"]
                raise DataError(f"{path}: has no moving picture, only {listing(kinds)}; features come from pictures.")
            stream.thread_type = "AUTO"
            yield container, stream
    except av.error.FFmpegError as error:
        raise DataError(
            f"{path}: cannot be read as a video ({error.strerror or error}); it may be cut off or no video at all. "
            "Copy or download it again."
        ) from error


__all__ = ["Decoded", "FrameReader", "VideoFile", "find_videos", "picture", "probe"]
