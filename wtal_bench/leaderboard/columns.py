"""The columns of a record: one an evaluator, of which the first ranks and the others may come later.

A record is accepted by its protocol's ranking rule alone. It shows the columns of the evaluators its protocol has
today, each under the hash of the evaluator that scored it: a column whose evaluator changed, or left the protocol, is
not shown, and one that a record lacks prints as `-` until its stored detections are scored again (`filing.complete`,
which `leaderboard build` calls).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wtal_bench.leaderboard.own import recorded_protocol


def held(record: Mapping[str, Any]) -> list[str]:
    """The evaluators whose columns a record holds as its protocol scores today, the one that ranks first."""
    variants = record["metrics"]["variants"]
    presets = recorded_protocol(record["protocol"]).presets
    return [preset.name for preset in presets if variants.get(preset.name, {}).get("hash") == preset.hash]


def lacking(record: Mapping[str, Any]) -> list[str]:
    """The evaluators of its protocol for which a record has no column, or one by another rule of the same name."""
    there = held(record)
    return [name for name in recorded_protocol(record["protocol"]).variants if name not in there]


def shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the columns it shows alone: in its metrics, and in its bootstrap if it has one."""
    return with_columns(record, {}, None)


def with_columns(
    record: Mapping[str, Any], variants: Mapping[str, Any], bootstrap: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The record with the columns it shows, and those of others that it lacks.

    Args:
        record: a valid record.
        variants: evaluator -> column, as `protocol.report` gives them.
        bootstrap: the `bootstrap` block that belongs to them; the record's own replicates stay.
    """
    there = held(record)
    columns = {**variants, **{name: record["metrics"]["variants"][name] for name in there}}
    whole = {**record, "metrics": {**record["metrics"], "variants": columns}}
    block = record.get("bootstrap") or bootstrap
    if block is None:
        return whole
    parts = {}
    for part in ("draw", "values"):
        mine = {name: block[part][name] for name in there if name in block[part]}
        parts[part] = {**(bootstrap or {}).get(part, {}), **mine}
    return {**whole, "bootstrap": {**block, **parts}}
