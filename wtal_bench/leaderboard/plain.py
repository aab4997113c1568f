"""What any value of a record must be, wherever it stands: plain, finite, short enough to read and print."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

DEEPEST = 40
"""Lists and mappings inside one another; what the harness writes has a dozen."""

LARGEST = 2**53
"""Whole numbers from here on are not the same in every JSON reader."""


def plain_problems(value: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    """Say of every part that is no finite number, encodable text, null, flag, list or mapping where it stands."""
    if isinstance(value, str):
        if not _encodable(value):
            yield f"{path} holds half a character (a lone surrogate), which no file can hold: write it as UTF-8"
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if abs(value) >= LARGEST:
            yield f"{path} is {short(value)}; whole numbers of a record stay below 2^53, which every reader keeps"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"{path} is {value}; a record holds finite numbers, or null where a value is undefined"
    elif depth >= DEEPEST:
        yield f"{path[:60]} is nested more than {DEEPEST} deep; nothing the harness writes is"
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if not _encodable(key):
                yield f"a key of {path or 'the record'} holds half a character (a lone surrogate); write it as UTF-8"
            yield from plain_problems(part, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list | tuple):
        # long columns of numbers in one pass: a sum that is finite had finite parts alone
        if set(map(type, value)) == {float} and math.isfinite(sum(value)):
            return
        for index, part in enumerate(value):
            yield from plain_problems(part, f"{path}[{index}]", depth + 1)
    else:
        yield f"{path} is a {type(value).__name__}; a record holds plain JSON values alone"


def _encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def is_sha256(value: Any) -> bool:
    """Whether it is the hex of a SHA-256."""
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def is_commit(value: Any) -> bool:
    """Whether it is the hex name of a commit."""
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{7,64}", value) is not None


def is_version(value: Any) -> bool:
    """Whether it reads like the version of a package."""
    return isinstance(value, str) and re.fullmatch(r"\d[\w.+!-]{0,60}|unknown", value) is not None


def is_share(value: Any) -> bool:
    """Whether it is a fraction in 0..1, or null."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1)


def is_count(value: Any, least: int = 0) -> bool:
    """Whether it is a whole number from `least` on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def short(value: Any) -> str:
    """A value for an error text."""
    if isinstance(value, int) and abs(value) >= LARGEST:
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return text.encode("utf-8", "backslashreplace").decode()
