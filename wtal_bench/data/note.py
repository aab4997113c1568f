"""One note about data."""

from __future__ import annotations

from dataclasses import dataclass

SUMMARY = "summary"
"""Code of the first note: what the data are."""


@dataclass(frozen=True)
class Note:
    """A sentence about data, for a person, with a code for a program (the list of them: `wtal_bench.data.notes`).

    Attributes:
        code, text: what it says.
        level: "fact", "warning", or "error" for what should be mended before anything is trained.
    """

    code: str
    text: str
    level: str = "warning"
