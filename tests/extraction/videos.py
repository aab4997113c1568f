"""Videos that tests write: a grey level a frame, shapes that move, other rates, containers, turns and damages."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs PyAV (the extra 'video')")


def write_video(
    path: Path,
    pictures: Iterable[np.ndarray],
    rate: int = 25,
    times: Sequence[float] | None = None,
    codec: str = "mpeg4",
) -> Path:
    """Write [H,W,3] uint8 pictures, at a constant rate or at the given seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.pix_fmt = "rgb24" if codec == "png" else "yuv420p"
        stream.bit_rate, stream.gop_size = 4_000_000, 12
        stream.codec_context.time_base = Fraction(1, 1000) if times is not None else Fraction(1, rate)
        for at, pixels in enumerate(pictures):
            if at == 0:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = at if times is None else round(times[at] * 1000)
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def greys(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frame k is one grey level that tells k: 8 k mod 240, plus 8."""
    return [np.full((height, width, 3), 8 + 8 * k % 240, dtype=np.uint8) for k in range(count)]


def level(pixels: np.ndarray) -> int:
    """Which of the `greys` a decoded picture is."""
    return round((float(pixels.mean()) - 8) / 8)


def write_audio(path: Path) -> Path:
    """A second of silence without a picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn(path: Path) -> None:
    """Write a turn by 90 degrees clockwise into the track header of an mp4 file, as phones do."""
    content = path.read_bytes()
    at = content.index(b"tkhd")
    matrix = at + 4 + 4 + 20 + 16  # version and flags, times and duration of version 0, layer to reserved
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:matrix] + turned + content[matrix + 36 :])


SHAPES = ("Disc", "Stripes", "Cross")


def moving_shapes(rng: np.random.Generator, seconds: float, actions: Sequence[tuple[str, float, float]], rate: int = 8):
    """Yield pictures: a textured ground, over which during an action (name, start s, end s) its shape moves."""
    size = 96
    y, x = np.mgrid[:size, :size]
    ground = (110 + 30 * np.sin(x / rng.uniform(5, 9) + rng.uniform(0, 6)) + rng.normal(0, 4, (size, size)))[..., None]
    for k in range(int(seconds * rate)):
        picture = np.repeat(ground, 3, axis=2)
        for name, start, end in actions:
            if start <= k / rate < end:
                centre = 48 + 20 * np.sin(k / 3.0), 48 + 20 * np.cos(k / 4.0)
                inside = {
                    "Disc": (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 22**2,
                    "Stripes": (y + x + 2 * k) % 16 < 8,
                    "Cross": (np.abs(y - centre[0]) < 7) | (np.abs(x - centre[1]) < 7),
                }[name]
                colour = {"Disc": (230, 40, 30), "Stripes": (20, 60, 200), "Cross": (240, 230, 40)}[name]
                picture[inside] = colour
        yield picture.clip(0, 255).astype(np.uint8)
