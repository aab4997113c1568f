"""Saying in three lines what to do when a data set is not there. Nothing falls back to other data silently."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wtal_bench.errors import listing


def missing_data_message(
    name: str, wanted: str, looked: Sequence[str | Path], synthetic_config: str | None = None
) -> str:
    """Return the three lines a user reads when a data set is missing.

    Args:
        name: the data set, e.g. "THUMOS14".
        wanted: what is missing, e.g. "features".
        looked: every place that was tried.
        synthetic_config: a config that runs without any download.
    """
    else_run = f" Without data, run {synthetic_config}." if synthetic_config else ""
    return (
        f"{name}: {wanted} not found.\n"
        f"Looked in: {listing(map(str, looked))}.\n"
        "Point data.root or WTAL_DATA to it, or import yours with `wtal-bench import-features` (annotations from a "
        f"table: `wtal-bench import-annotations`).{else_run}"
    )
