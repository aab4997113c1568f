"""The manifest of a feature store: what its features are, which shards hold them, and the hash that names them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.files import unplain

ONE_FILE, SHARDED = 1, 2
"""Formats: all features in one file, and in shards that are each a store of one file."""
DTYPES = {"float16": "<f2", "float32": "<f4"}
FEATURES, INDEX, MANIFEST, SHARDS = "features.npy", "index.json", "manifest.json", "shards"
AGAIN = "The store is damaged: copy it again or import the features anew."
_REQUIRED = ("name", "extractor", "stride", "streams", "synthetic")
_COUNTED = ("videos", "rows", "index_sha256")


def manifest_hash(manifest: Mapping[str, Any]) -> str:
    """Return the sha256 of a manifest's canonical JSON (it covers every feature through the index's hash)."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def shard_name(number: int) -> str:
    """The folder of a shard in that of its store."""
    return f"{SHARDS}/{number:05d}"


def width_of(manifest: Mapping[str, Any]) -> int:
    """D, columns of all streams."""
    return max(end for _, end in manifest["streams"].values())


def described(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of the features, without what it says of the files they lie in."""
    return {key: value for key, value in manifest.items() if key not in (*_COUNTED, "format", "shards")}


def check_manifest(manifest: Any, place: str, *, written: bool = True) -> None:
    """Refuse a manifest that no import wrote.

    Args:
        manifest: the content of manifest.json.
        place: where it was found, for error texts.
        written: the files are there, and their counts must be in it.

    Raises:
        DataError: the text names the key and what would be right.
    """
    if not isinstance(manifest, Mapping):
        raise DataError(f"{place}: must be a JSON object.")
    if manifest.get("format") not in (ONE_FILE, SHARDED):
        raise DataError(
            f"{place}: has store format {manifest.get('format')!r}, this version reads {ONE_FILE} and {SHARDED}; "
            "import the features again, or use the version of wtal-bench that wrote them."
        )
    for key in (*_REQUIRED, "dtype") + (_COUNTED if written else ()):
        if key not in manifest:
            raise DataError(f"{place}: the key {key!r} is missing.{did_you_mean(key, manifest)}")
    for key in ("videos", "rows") if written else ():
        if type(manifest[key]) is not int or not 0 < manifest[key] < 2**53:
            raise DataError(f"{place}: {key!r} must be a whole number of at least 1, got {manifest[key]!r}. {AGAIN}")
    for key in ("fps", "window"):
        value = manifest.get(key)
        sound = isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and 0 < value < math.inf
        if value is not None and not sound:
            raise DataError(f"{place}: {key!r} must be a finite number above 0, or null; got {value!r}.")
    if not isinstance(manifest["dtype"], str) or manifest["dtype"] not in DTYPES:
        raise DataError(f"{place}: dtype must be one of {listing(DTYPES)}, got {manifest['dtype']!r}.")
    for key, kind in (("name", str), ("extractor", str), ("synthetic", bool)):
        if not isinstance(manifest[key], kind):
            raise DataError(f"{place}: {key!r} must be a {kind.__name__}, got {manifest[key]!r}.")
    stride = manifest["stride"]
    if stride is not None and (isinstance(stride, bool) or not isinstance(stride, int) or stride < 1):
        raise DataError(
            f"{place}: 'stride' must be the whole number of frames between two snippets, or null for features resized "
            f"to a fixed length; got {stride!r}."
        )
    _check_streams(manifest["streams"], place)
    if written and manifest["format"] == SHARDED:
        _check_shards(manifest, place)
    problem = unplain(manifest)
    if problem:
        raise DataError(f"{place}: must hold nothing but what JSON can: {problem}.")


def _check_streams(streams: Any, place: str) -> None:
    whole = '\'streams\' must give each stream its columns, e.g. {"rgb": [0, 1024], "flow": [1024, 2048]}'
    if not isinstance(streams, Mapping) or not streams:
        raise DataError(f"{place}: {whole}; got {streams!r}.")
    at = 0
    for span in streams.values():
        sound = isinstance(span, (list, tuple)) and len(span) == 2
        if not (sound and all(type(column) is int and 0 <= column < 2**31 for column in span)):
            raise DataError(f"{place}: {whole}; got {streams!r:.200}.")
    for first, end, name in sorted((*span, str(name)) for name, span in streams.items()):
        if first != at or end <= first:
            raise DataError(
                f"{place}: stream {name!r} has columns [{first}, {end}), expected them to start at {at}: "
                f"the streams must cover all columns without gap or overlap."
            )
        at = end


def _check_shards(manifest: Mapping[str, Any], place: str) -> None:
    """Every shard has videos and rows, and together they have those of the store."""
    shards = manifest.get("shards")
    sound = isinstance(shards, list) and all(
        isinstance(shard, list)
        and len(shard) == 3
        and all(type(count) is int and 0 < count < 2**53 for count in shard[:2])
        and isinstance(shard[2], str)
        for shard in shards
    )
    if not sound:
        raise DataError(f"{place}: 'shards' must give each shard [videos, rows, hash of its manifest]. {AGAIN}")
    for column, key in enumerate(("videos", "rows")):
        total = sum(shard[column] for shard in shards)
        if total != manifest[key]:
            raise DataError(f"{place}: its shards hold {total} {key}, {key!r} says {manifest[key]}. {AGAIN}")


__all__ = ["check_manifest", "manifest_hash"]
