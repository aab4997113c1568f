"""Annotations of somebody's own data: found again from a record, and kept on a leaderboard of one's own.

A run's folder says in its config where its annotations lie; a leaderboard keeps a copy under their hash, so its rows
can be scored again when the data set has moved. Either file counts only if it makes the very protocol the record names.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wtal_bench.data.annotations import Annotations, beside, lists_beside
from wtal_bench.errors import DataError, WtalError
from wtal_bench.files import expand, parse_json, write_text
from wtal_bench.protocol import OWN_NAME, Protocol, is_own
from wtal_bench.protocols import get_protocol, own_named, own_protocol

KEPT = "annotations"
"""The folder of a leaderboard that holds the annotations of its rows."""

_CONFIG = "config.json"


def recorded_protocol(block: Mapping[str, Any]) -> Protocol:
    """The protocol a record's `protocol` names; one's own is made from the classes the record holds.

    Raises:
        WtalError: as `get_protocol`, or one's own without its classes.
    """
    name = block.get("name")
    if not is_own(name):
        return get_protocol(name)
    classes = block.get("classes")
    named = isinstance(classes, list) and all(isinstance(label, str) for label in classes)
    if not (named and classes and len(set(classes)) == len(classes)) or not re.fullmatch(OWN_NAME, name):
        raise WtalError(
            f"{name} is a data set of one's own: protocol.name must say which, and protocol.classes list its class "
            "names. Write the record again with `wtal-bench train` or `test`."
        )
    return own_named(name, classes)


def protocol_block(protocol: Protocol) -> dict[str, Any]:
    """What a record says of its protocol; `recorded_protocol` reads it."""
    own = {"classes": list(protocol.classes)} if protocol.own else {}
    return {"name": protocol.name, "hash": protocol.hash, **own}


def own_annotations(near: Path, protocol: Protocol) -> Path:
    """Return the annotation file of one's own protocol, from where a record of it lies.

    Args:
        near: the record's folder, in a run or on a leaderboard.
        protocol: what the record names.

    Raises:
        DataError: there is none that makes this protocol; the text says where it was looked for.
    """
    looked = []
    for path in _places(near):
        looked.append(str(path))
        with contextlib.suppress(WtalError):
            if path.is_file() and own_protocol(Annotations.load(path), protocol.name).name == protocol.name:
                return path
    where = f" Looked at {', '.join(looked)}." if looked else ""
    raise DataError(
        f"{protocol.name} is a data set of one's own, and no annotation file that makes it was found.{where} Name the "
        "file with --annotations."
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


def _places(near: Path) -> Iterator[Path]:
    near = near.resolve()
    for folder in (near, *near.parents[:3]):
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            data = parse_json((folder / _CONFIG).read_bytes())["data"]
            file = expand(data.get("root") or ".") / data["annotations"]
            # the run knows its data by the folder it was started in, which is mostly one of those it lies in
            yield from (file, *(above / file for above in folder.parents[:4]))
    for folder in near.parents[:4]:
        yield from sorted((folder / KEPT).glob("*.json"))
