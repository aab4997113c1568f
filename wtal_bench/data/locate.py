"""Where data are looked for: one list of roots and one set of layouts for every verb.

A data set is `<root>/<dataset>/` with a feature store in `features/` and its annotations as `annotations.json` or under
the name its protocol gives them (`thumos14.json`), which may also lie in the root itself. What one verb finds every
verb finds; nothing falls back to other data silently.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from wtal_bench.data.store.remote import is_remote
from wtal_bench.errors import DataError, listing
from wtal_bench.files import expand
from wtal_bench.temporary import restore

FEATURES, ANNOTATIONS = "features", "annotations.json"
"""What a data set's folder holds: a feature store and an annotation file."""


def data_roots() -> list[Path]:
    """The folders data sets lie in: `$WTAL_DATA` where it is set, then `data/` of the working folder."""
    given = os.environ.get("WTAL_DATA")
    return [expand(root) for root in (given, "data") if root]


def find_features(
    dataset: str, name: str = FEATURES, *, folder: str | Path | None = None, synthetic_config: str | None = None
) -> Path | str:
    """Return the folder of a data set's feature store.

    Args:
        dataset: the data set, e.g. "thumos14".
        name: the store's folder in that of the data set, or an address (`s3://...`), which is returned.
        folder: the data set's folder, if it is known; no other is looked at then.
        synthetic_config: a config that runs without any download, for the message.

    Raises:
        DataError: there is none; the text says where it was looked for and how to get it.
    """
    if is_remote(name):
        return name
    folders = [root / dataset for root in data_roots()] if folder is None else [expand(folder)]
    places = [place / name for place in folders]
    return _first(
        places,
        lambda place: restore(Path(place)) and os.path.isdir(place),
        dataset,
        "features (a feature store)",
        synthetic_config,
    )


def find_annotations(
    dataset: str,
    names: Iterable[str | None] = (ANNOTATIONS,),
    *,
    folder: str | Path | None = None,
    synthetic_config: str | None = None,
) -> Path:
    """Return a data set's annotation file.

    Args:
        dataset: the data set, e.g. "thumos14".
        names: names it may have in the data set's folder, the likeliest first; those that are not `annotations.json`
            tell data sets apart, so the root itself may hold them.
        folder: the data set's folder, if it is known; no other is looked at then.
        synthetic_config: a config that runs without any download, for the message.

    Raises:
        DataError: as `find_features`.
    """
    names = list(dict.fromkeys(name for name in names if name))
    if folder is not None:
        places = [expand(folder) / name for name in names]
    else:
        telling = [name for name in names if name != ANNOTATIONS]
        layouts = [*(f"{dataset}/{name}" for name in names), *telling]
        places = [root / layout for root in data_roots() for layout in layouts]
    return _first(places, os.path.isfile, dataset, "annotations", synthetic_config)


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
        "Point WTAL_DATA (or data.root of a config, --annotations of a command) to it, or import yours with "
        f"`wtal-bench import-features` (annotations from a table: `wtal-bench import-annotations`).{else_run}"
    )


def _first(
    places: list[Path], there: Callable[[Path], bool], dataset: str, wanted: str, synthetic_config: str | None
) -> Path:
    found = next(filter(there, places), None)
    if found is None:
        raise DataError(missing_data_message(dataset, wanted, places, synthetic_config))
    return found
