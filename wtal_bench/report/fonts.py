"""Letters of any script in a picture: which installed font draws them, and what to write where none does."""

from __future__ import annotations

import bisect
import functools
import itertools
import unicodedata
from collections.abc import Iterable

DEFAULT = "DejaVu Sans"
"""Comes with Matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew, mathematics."""

_FAMILIES: dict[str, frozenset[int]] = {}
"""Fonts in use, the default first -> the letters they draw."""


def families(texts: Iterable[str] = ()) -> list[str]:
    """The fonts that draw these texts, the default first; Matplotlib picks among them letter by letter.

    Args:
        texts: what will be written; a script that the default lacks is looked for in the installed fonts.
    """
    if not _FAMILIES:
        from matplotlib import font_manager

        _FAMILIES[DEFAULT] = _glyphs(font_manager.findfont(DEFAULT))
    for letter in sorted({ord(letter) for text in texts for letter in text}):
        if not any(letter in drawn for drawn in _FAMILIES.values()):
            _add_font(letter)
    return list(_FAMILIES)


def legible(text: str, columns: int | None = None) -> str:
    """The text with what no installed font can draw spelled out, so that a title is never a row of boxes.

    Args:
        text: a name; its `$` stay themselves.
        columns: the room there is, in letters of normal width; what is longer is cut in its middle.
    """
    families([text])
    drawn = frozenset().union(*_FAMILIES.values())
    spelled = "".join(char if char == " " or ord(char) in drawn else f"\\u{ord(char):04x}" for char in text)
    return _cut(spelled, columns).replace("$", r"\$")


def _cut(text: str, columns: int | None) -> str:
    widths = [2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text]
    if columns is None or sum(widths) <= columns:
        return text
    half = (columns - 1) // 2
    head = bisect.bisect_right([*itertools.accumulate(widths)], half)
    tail = bisect.bisect_right([*itertools.accumulate(reversed(widths))], half)
    return f"{text[:head]}\u2026{text[len(text) - tail :]}"


@functools.cache
def _add_font(letter: int) -> None:
    """Take up an installed font that draws a letter: a plain one of normal weight before others."""
    from matplotlib import font_manager

    _look_again()
    # the font of last resort "draws" every letter, as a box
    entries = [entry for entry in font_manager.fontManager.ttflist if "last" not in entry.name.lower()]
    for entry in sorted(entries, key=_oddness):
        if letter in _glyphs(entry.fname):
            _FAMILIES[entry.name] = _glyphs(entry.fname)
            return


def _oddness(entry: object) -> tuple:
    name, weight = entry.name.lower(), entry.weight
    heavy = abs((weight if isinstance(weight, int) else {"bold": 700, "light": 300}.get(weight, 400)) - 400)
    return heavy, entry.style != "normal", "mono" in name, "serif" in name, name


@functools.cache
def _look_again() -> None:
    """Matplotlib remembers its list of fonts from its first start on: add what was installed since."""
    from matplotlib import font_manager

    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for file in sorted(set(font_manager.findSystemFonts()) - known):
        try:
            font_manager.fontManager.addfont(file)
        except (OSError, RuntimeError, ValueError):  # a font that cannot be read, or has no outlines
            continue


@functools.cache
def _glyphs(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
