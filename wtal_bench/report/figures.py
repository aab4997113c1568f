"""Figures without a screen, written in one step."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "pdf", "svg")
"""What `save_figure` writes: dots, and two that stay sharp in a paper."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, independent of any display and of pyplot's state."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "wtal-bench"  # equal figures, equal files
    matplotlib.rcParams["pdf.fonttype"] = 42  # text of a PDF stays text
    matplotlib.rcParams["font.family"] = list(_fonts())
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a picture atomically, in the format its suffix names; equal figures give equal bytes.

    Raises:
        ConfigError: a suffix of another format.
    """
    kind = check_format(Path(path).suffix.lstrip("."), str(path))
    fixed = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}, "svg": {"Date": None}}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=fixed[kind])
    with atomic_write(path, "wb") as stream:
        stream.write(buffer.getvalue())


def check_format(name: str, where: str) -> str:
    """The format of a picture.

    Raises:
        ConfigError: none of `FORMATS`.
    """
    kind = name.lower()
    if kind not in FORMATS:
        raise ConfigError(f"{where}: pictures are {listing(FORMATS)}, not {name!r}.{did_you_mean(kind, FORMATS)}")
    return kind


def legible(text: str) -> str:
    """The text with what no installed font can draw spelled out, so that a title is never a row of boxes."""
    drawn = frozenset().union(*(_glyphs(path) for path in _fonts().values()))
    spelled = "".join(char if char == " " or ord(char) in drawn else f"\\u{ord(char):04x}" for char in text)
    return spelled.replace("$", r"\$")


_SAMPLES = "\u3042\u4e2d\ud55c\u0905\u0e01\u0627"
"""Letters of kana, han, hangul, Devanagari, Thai and Arabic."""


@functools.cache
def _fonts() -> dict[str, str]:
    """Family -> file: the default font, then an installed one for each script it lacks (chosen glyph by glyph)."""
    from matplotlib import font_manager

    path = font_manager.findfont("DejaVu Sans")
    found, covered = {"DejaVu Sans": path}, _glyphs(path)
    for letter in map(ord, _SAMPLES):
        for entry in font_manager.fontManager.ttflist if letter not in covered else ():
            # the font of last resort "draws" every letter, as a box
            if "last" not in entry.name.lower() and letter in _glyphs(entry.fname):
                found[entry.name] = entry.fname
                covered |= _glyphs(entry.fname)
                break
    return found


@functools.cache
def _glyphs(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
