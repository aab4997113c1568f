"""Annotations that make their protocol (somebody's own data, composed videos): found again from a record, and kept.

A run's folder says in its config where its annotations lie; a leaderboard keeps a copy under their hash, so its rows
can be scored again when the data set has moved, or is not there. Either file counts only if it makes the very protocol
the record names.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from wtal_bench.data.annotations import Annotations, beside, lists_beside
from wtal_bench.errors import DataError, WtalError
from wtal_bench.files import expand, parse_json, write_text
from wtal_bench.protocol import OWN_NAME, Protocol, Split, is_own
from wtal_bench.protocols import (
    COMPOSED,
    composed_named,
    find_composed,
    get_protocol,
    is_composed,
    is_made_by,
    own_named,
)

KEPT = "annotations"
"""The folder of a leaderboard that holds the annotations of its rows."""

_CONFIG = "config.json"

_COMPOSED_NAME = rf"{COMPOSED}/[A-Za-z0-9._-]{{1,80}}/v1(@[a-z0-9_.-]{{1,40}})?"


def recorded_protocol(block: Mapping[str, Any]) -> Protocol:
    """The protocol a record's `protocol` names; one that annotations make is made from what the record holds of it.

    Raises:
        WtalError: as `get_protocol`, or one of those without what makes it.
    """
    name = block.get("name")
    if is_composed(name) and "composition" in block:
        return _recorded_composed(block)
    if not is_own(name):
        return get_protocol(name)
    if not _are_classes(block.get("classes")) or not re.fullmatch(OWN_NAME, name):
        raise WtalError(
            f"{name} is a data set of one's own: protocol.name must say which, and protocol.classes list its class "
            "names. Write the record again with `wtal-bench train` or `test`."
        )
    return own_named(name, block["classes"])


def _are_classes(classes: Any) -> bool:
    named = isinstance(classes, list) and all(isinstance(label, str) for label in classes)
    return bool(named and classes and len(set(classes)) == len(classes))


def _recorded_composed(block: Mapping[str, Any]) -> Protocol:
    name, splits, composition = block["name"], block.get("splits"), block["composition"]
    whole = _are_classes(block.get("classes")) and isinstance(composition, str) and isinstance(splits, Mapping)
    if not (whole and all(map(_is_split, splits.values())) and re.fullmatch(_COMPOSED_NAME, name)):
        raise WtalError(
            f"{name!r:.80} is a data set composed of clips: protocol.classes, splits and composition say which. Write "
            "the record again with `wtal-bench train` or `test`."
        )
    return composed_named(name, block["classes"], {key: Split(*split) for key, split in splits.items()}, composition)


def _is_split(value: Any) -> bool:
    kinds = (int, int, str, str)
    return isinstance(value, list) and len(value) == len(kinds) and all(map(isinstance, value, kinds))


def protocol_block(protocol: Protocol) -> dict[str, Any]:
    """What a record says of its protocol; `recorded_protocol` reads it."""
    more: dict[str, Any] = {"classes": list(protocol.classes)} if protocol.made_by_annotations else {}
    if protocol.composition is not None:
        splits = {name: list(astuple(split)) for name, split in protocol.splits.items()}
        more |= {"splits": splits, "composition": protocol.composition}
    return {"name": protocol.name, "hash": protocol.hash, **more}


def own_annotations(near: Path, protocol: Protocol) -> Path:
    """Return the annotation file that makes a protocol, from where a record of it lies; composed videos' also from
    where data sets are looked for.

    Args:
        near: the record's folder, in a run or on a leaderboard.
        protocol: what the record names.

    Raises:
        DataError: there is none that makes this protocol; the text says where it was looked for.
    """
    looked = []
    for path in _places(near, protocol):
        looked.append(str(path))
        with contextlib.suppress(WtalError):
            if path.is_file() and is_made_by(protocol, Annotations.load(path)):
                return path
    where = f" Looked at {', '.join(looked)}." if looked else ""
    what = "a data set of one's own" if protocol.own else "a data set composed of clips"
    raise DataError(
        f"{protocol.name} is {what}, and no annotation file that makes it was found.{where} Name the file with "
        "--annotations."
    )


def keep_annotations(board: Path, annotations: Annotations) -> Path:
    """Copy an annotation file into a leaderboard of one's own, under its hash.

    Args:
        board: the leaderboard's folder.
        annotations: read from a file.
    """
    path = board / KEPT / f"{annotations.sha256}.json"
    files = {annotations.path: path}
    files |= {file: beside(path, name) for name, file in lists_beside(annotations.path).items()}
    for source, copy in files.items():
        if not copy.is_file():
            write_text(copy, source.read_bytes().decode("utf-8"))
    return path


def _places(near: Path, protocol: Protocol) -> Iterator[Path]:
    near = near.resolve()
    for folder in (near, *near.parents[:3]):
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            data = parse_json((folder / _CONFIG).read_bytes())["data"]
            file = expand(data.get("root") or ".") / data["annotations"]
            # the run knows its data by the folder it was started in, which is mostly one of those it lies in
            yield from (file, *(above / file for above in folder.parents[:4]))
    for folder in near.parents[:4]:
        yield from sorted((folder / KEPT).glob("*.json"))
    if not protocol.own:
        with contextlib.suppress(DataError):
            yield find_composed(protocol.name)
