"""Finding a data set on disk, and saying in three lines what to do when it is not there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import ConfigError, DataError, listing


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


def candidates(path: str | Path, root: str | Path | None = None) -> list[Path]:
    """Return where a path of a config may lie: itself if absolute; else below `root`, `$WTAL_DATA`, `./data`, `.`."""
    path = Path(path).expanduser()
    if path.is_absolute():
        return [path]
    bases = [root, os.environ.get("WTAL_DATA"), "data", "."]
    return list(dict.fromkeys(Path(base).expanduser() / path for base in bases if base))


def open_dataset(
    data: Mapping[str, Any], *, name: str, synthetic_config: str | None = None
) -> tuple[FeatureStore, Annotations]:
    """Open the features and annotations a config's `data` section names.

    Args:
        data: `features` (a store's folder) and `annotations` (a file), looked for in the places of `candidates`;
            optional `root` and `resident` (see `FeatureStore.open`). Other keys are not read.
        name: the data set's name, for texts.
        synthetic_config: named when something is missing.

    Raises:
        ConfigError: a key is missing.
        DataError: three lines when nothing is there; else what is wrong with what is there.
    """
    found = {}
    for key, wanted in (("features", "feature store"), ("annotations", "annotation file")):
        if not data.get(key):
            raise ConfigError(f"data.{key} is missing: give the path of the {wanted}.")
        looked = candidates(data[key], data.get("root"))
        found[key] = next((path for path in looked if path.exists()), None)
        if found[key] is None:
            raise DataError(missing_data_message(name, wanted, looked, synthetic_config))
    return FeatureStore.open(found["features"], data.get("resident")), Annotations.load(found["annotations"])
