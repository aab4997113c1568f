"""Figures without a screen, written in one step."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.files import atomic_write
from wtal_bench.report.fonts import families

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOG = logging.getLogger("wtal_bench")

FORMATS = ("png", "pdf", "svg")
"""What `save_figure` writes: dots, and two that stay sharp in a paper."""


def new_figure(width: float, height: float, texts: Iterable[str] = ()) -> Figure:
    """An empty figure of that size in inches, independent of any display and of pyplot's state.

    Args:
        width, height: in inches.
        texts: names that will stand in it, of any script.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "wtal-bench"  # equal figures, equal files
    matplotlib.rcParams["pdf.fonttype"] = 42  # text of a PDF stays text
    matplotlib.rcParams["font.family"] = families(texts)
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
    with _missing_glyphs_told(path):
        figure.savefig(buffer, format=kind, metadata=fixed[kind])
    with atomic_write(path, "wb") as stream:
        stream.write(buffer.getvalue())


@contextlib.contextmanager
def _missing_glyphs_told(path: str | Path) -> Iterator[None]:
    """One line for all the letters that no installed font has, where matplotlib warns of each with its own source."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    letters = set()
    for warning in caught:
        glyph = re.match(r"Glyph (\d+) .*missing from", str(warning.message))
        if glyph:
            letters.add(chr(int(glyph[1])))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if letters:
        _LOG.warning(
            "%s: no font that is installed has %s; boxes stand there. Install one of that script (such as Noto Sans "
            "CJK) and draw again.",
            path,
            "".join(sorted(letters)),
        )


def check_format(name: str, where: str) -> str:
    """The format of a picture.

    Raises:
        ConfigError: none of `FORMATS`.
    """
    kind = name.lower()
    if kind not in FORMATS:
        raise ConfigError(f"{where}: pictures are {listing(FORMATS)}, not {name!r}.{did_you_mean(kind, FORMATS)}")
    return kind
