"""What makes a record the record it is: canonical JSON, the config's hash, the id and the place."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.errors import RecordError
from wtal_bench.files import canonical_json
from wtal_bench.structures import Detections

IDENTITY = ("protocol", "method", "variant", "supervision", "config_hash", "seed", "selection", "source")


def canonical(value: Any) -> str:
    """Return the one strict JSON text of `value`: sorted keys, no spaces, no NaN.

    Raises:
        RecordError: `value` holds something JSON cannot, or NaN / Infinity.
    """
    try:
        text = canonical_json(value)
        text.encode()  # a name from a console in another encoding may hold what is no text
        return text
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(
            f"a record holds plain JSON values alone (finite numbers, text, lists, mappings): {error}."
        ) from error


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def hash_config(config: Mapping[str, Any]) -> str:
    """Hash a record's `config`: the settings that make an experiment what it is.

    The section holds neither seed nor machine (`running.provenance.recorded_config`), so runs that differ in those
    alone share the hash, hence a row of the leaderboard; a run's checkpoints carry the same one.
    """
    return digest(config)


def hash_rows(videos: Mapping[str, Detections], classes: Sequence[str]) -> str:
    """Hash what detections say: SHA-256 (hex) of their rows, whatever file, order or scale they were written in.

    Of the scores only the order within a class counts, as for every evaluator; times count to the millisecond.
    """
    parts = [found for found in videos.values() if len(found)]
    if not parts:
        return digest([])
    label = np.concatenate([found.label for found in parts])
    score = np.concatenate([found.score for found in parts])
    rank = np.zeros(len(label), dtype=np.int64)
    for index in np.unique(label):
        rank[label == index] = np.unique(score[label == index], return_inverse=True)[1].ravel()
    sizes = {name: len(found) for name, found in videos.items() if len(found)}
    cuts = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist()))
    content = hashlib.sha256()
    for name in sorted(sizes):
        found, own = videos[name], rank[cuts[name] : cuts[name] + sizes[name]]
        times = [np.rint(np.clip(ends, -1e12, 1e12) * 1e3).astype(np.int64) for ends in (found.start, found.end)]
        rows = np.stack([found.label.astype(np.int64), *times, own], axis=1)
        content.update(canonical([name, [classes[at] for at in np.unique(found.label)], len(rows)]).encode())
        content.update(rows[np.lexsort(rows.T)].astype("<i8").tobytes())
    return content.hexdigest()


def annotation_key(record: Mapping[str, Any]) -> str:
    """What a record was trained and scored on, whatever file said it: records of equal ones may be compared."""
    splits = record["annotations"].get("splits")
    if not splits:
        return record["annotations"]["sha256"]
    plain = isinstance(splits, Mapping) and all(isinstance(value, str) for value in splits.values())
    return _splits_digest(tuple(sorted(splits.items()))) if plain else digest(splits)


@lru_cache(maxsize=64)
def _splits_digest(splits: tuple[tuple[str, str], ...]) -> str:
    """A board's thousands of records share few data sets, and each is asked several times."""
    return digest(dict(splits))


def slug(text: str) -> str:
    """Turn a name into lower-case letters, digits, `_`, `.` and `-` that any file system can hold."""
    return re.sub(r"[^a-z0-9_.]+", "-", text.lower()).strip("-._")[:60] or "unnamed"


def record_id(record: Mapping[str, Any]) -> str:
    """Return the id of a record: method, variant, seed (or `ext`) and a short hash of what makes the run what it is.

    The same run gives the same id everywhere: time, cost and machine do not enter.
    """
    identity = {key: record.get(key) for key in IDENTITY}
    identity["features"] = (record.get("features") or {}).get("manifest_hash")
    identity["annotations"] = (record.get("annotations") or {}).get("sha256")
    found = record.get("detections") or {}
    identity["detections"] = found.get("rows") or found.get("sha256")
    names = [slug(str(record.get("method", "")))]
    if record.get("variant"):
        names.append(slug(str(record["variant"])))
    names.append("ext" if record.get("source") == "external" else f"s{record.get('seed')}")
    return "-".join([*names, digest(identity)[:8]])


def record_folder(root: str | Path, record: Mapping[str, Any]) -> Path:
    """Return `root/<protocol>/<method>`, where a filed record lies."""
    return Path(root) / record["protocol"]["name"].replace("/", "_") / slug(record["method"])
