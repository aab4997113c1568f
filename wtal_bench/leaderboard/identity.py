"""What makes a record the record it is: canonical JSON, the config's hash, the id and the place."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wtal_bench.errors import RecordError
from wtal_bench.files import canonical_json

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
