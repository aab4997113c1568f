"""What makes a record the record it is: canonical JSON, the config's hash, the id and the place."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wtal_bench.errors import RecordError

RUN_KEYS = frozenset({"device", "launcher", "load_from", "log_level", "resume", "seed", "work_dir"})
"""Top-level config keys that say where, when and with which seed a run happened, not which experiment it is."""

SEEDED = ("randomness", "runtime", "train")
"""Config sections whose own `seed` is left out of the config hash as well."""

IDENTITY = ("protocol", "method", "variant", "supervision", "config_hash", "seed", "selection", "source")


def canonical(value: Any) -> str:
    """Return the one strict JSON text of `value`: sorted keys, no spaces, no NaN.

    Raises:
        RecordError: `value` holds something JSON cannot, or NaN / Infinity.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise RecordError(
            f"a record holds plain JSON values alone (finite numbers, text, lists, mappings): {error}."
        ) from error


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def hash_config(config: Mapping[str, Any]) -> str:
    """Hash a resolved config without what may differ between the seeds of one experiment (`RUN_KEYS`).

    Runs that differ in their seed alone share the hash, so they share a row of the leaderboard.
    """
    kept = {key: value for key, value in config.items() if key not in RUN_KEYS}
    for section in SEEDED:
        if isinstance(kept.get(section), Mapping):
            kept[section] = {key: value for key, value in kept[section].items() if key != "seed"}
    return digest(kept)


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
    identity["detections"] = (record.get("detections") or {}).get("sha256")
    names = [slug(str(record.get("method", "")))]
    if record.get("variant"):
        names.append(slug(str(record["variant"])))
    names.append("ext" if record.get("source") == "external" else f"s{record.get('seed')}")
    return "-".join([*names, digest(identity)[:8]])


def record_folder(root: str | Path, record: Mapping[str, Any]) -> Path:
    """Return `root/<protocol>/<method>`, where a filed record lies."""
    return Path(root) / record["protocol"]["name"].replace("/", "_") / slug(record["method"])
