"""The rules of a record's numbers: what must fit its protocol and itself. Whether they are true is for `rescore`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wtal_bench.errors import did_you_mean, listing
from wtal_bench.evaluation import PRESETS
from wtal_bench.leaderboard.plain import is_count, is_sha256, is_share, short
from wtal_bench.protocols import Protocol

BESIDE_DETECTION = ("classification_mAP", "frame_accuracy")
"""Metrics that need more than detections: video scores and the classes told of snippets, kept in the same file."""

RESAMPLES = 1000
"""Bootstrap replicates stored with a filed record: replicates of any two rows pair up."""

MEAN_TOLERANCE = 1e-9
"""How far a stored mean may lie from the mean of its parts (they are float64 sums in another order at most)."""


def metric_problems(metrics: Mapping[str, Any], protocol: Protocol, found: Any) -> Iterator[str]:
    """Check `metrics` against its protocol.

    Args:
        metrics: of a record.
        protocol: what it was scored by.
        found: the record's `detections.count`.
    """
    extra = metrics.keys() - {"main", "variants", *BESIDE_DETECTION}
    if extra:
        yield f"metrics holds {listing(sorted(extra))}; known: main, variants, {listing(BESIDE_DETECTION)}"
    for name in BESIDE_DETECTION:
        if not is_share(metrics.get(name)):
            yield f"metrics.{name} is {short(metrics[name])}; needed: null or within 0..1"
    variants = metrics.get("variants")
    if not isinstance(variants, Mapping) or protocol.main not in variants:
        given = sorted(variants) if isinstance(variants, Mapping) else []
        yield f"metrics.variants has {listing(given)}; needed: {protocol.main}, by which {protocol.name} is ranked"
        return
    if metrics.get("main") != protocol.main:
        yield f"metrics.main is {short(metrics.get('main'))}; {protocol.name} leads with {protocol.main!r}"
    for name, table in variants.items():
        if name not in PRESETS:
            known = did_you_mean(name, PRESETS) or " Use the version of wtal-bench that scored it."
            yield f"metrics.variants.{name}: there is no such evaluator.{known}"
            continue
        for problem in _table(table, protocol, found):
            yield f"metrics.variants.{name}.{problem}"
    main = protocol.presets[0]
    if isinstance(variants[main.name], Mapping) and variants[main.name].get("hash") != main.hash:
        yield f"metrics.variants.{main.name}.hash is not that of {main.name}, which ranks: score the detections again"


def bootstrap_problems(block: Mapping[str, Any], variants: Iterable[str]) -> Iterator[str]:
    """Check the stored replicates: one column an evaluator, of one length."""
    if block.get("resamples") != RESAMPLES or not isinstance(block["resamples"], int):
        yield f"bootstrap.resamples is {short(block.get('resamples'))}; a filed record has {RESAMPLES}: file it again"
        return
    draw, values = block.get("draw"), block.get("values")
    if not all(isinstance(part, Mapping) and set(part) == set(variants) for part in (draw, values)):
        yield f"bootstrap needs draw and values for each of {listing(variants)}; file the record again"
        return
    for name, column in values.items():
        if not isinstance(draw[name], str) or not isinstance(column, list) or len(column) != RESAMPLES:
            yield f"bootstrap.values.{name} must hold `resamples` values and name its draw; file the record again"
        else:
            yield from _bad_shares(f"bootstrap.values.{name}", column, RESAMPLES)


def _table(table: Any, protocol: Protocol, found: Any) -> Iterator[str]:
    if not isinstance(table, Mapping):
        yield f"is {short(table)}; needed: hash, tious, mAP, ap, averages, counts"
        return
    tious, means, ap = table.get("tious"), table.get("mAP"), table.get("ap")
    if not isinstance(tious, list) or tuple(tious) != tuple(protocol.tious):
        yield f"tious is {short(tious)}; {protocol.name} has {list(protocol.tious)}"
        return
    if not is_sha256(table.get("hash")):
        yield f"hash is {short(table.get('hash'))}; needed: the 64 hex digits that `protocol.score` gives"
    for key in ("videos", "instances", "detections", "ignored"):
        if not is_count(table.get(key)):
            yield f"{key} is {short(table.get(key))}; needed: a whole number (the row says what it was scored on)"
    shares = list(_bad_shares("mAP", means, len(tious)))
    if not isinstance(ap, Mapping) or not ap or not set(ap) <= set(protocol.classes):
        unknown = sorted(set(ap) - set(protocol.classes)) if isinstance(ap, Mapping) else []
        shares.append(f"ap names {listing(unknown)}; needed: one row of AP for each class of {protocol.name}")
    else:
        shares += [problem for name, row in ap.items() for problem in _bad_shares(f"ap[{name!r}]", row, len(tious))]
    yield from shares
    if not shares:
        yield from _bad_means(table, protocol)
        if not (found and table.get("detections")) and any(value for row in (means, *ap.values()) for value in row):
            yield "mAP is above 0 without a single detection; without detections every AP is 0"


def _bad_means(table: Mapping[str, Any], protocol: Protocol) -> Iterator[str]:
    rows = list(table["ap"].values())
    for index, (tiou, value) in enumerate(zip(table["tious"], table["mAP"])):
        column = [row[index] for row in rows]
        # The snippet loops of the authors give mAP 0 as soon as one class has no detection at all (its AP is null).
        if value == 0 and None in column:
            continue
        yield from _not_mean(f"mAP at tIoU {tiou}", value, [part for part in column if part is not None], "class APs")
    averages = table.get("averages")
    if not isinstance(averages, Mapping) or set(averages) != set(protocol.averages):
        yield f"averages is {short(averages)}; {protocol.name} has {listing(protocol.averages)}"
        return
    at = dict(zip(table["tious"], table["mAP"]))
    for name, parts in protocol.averages.items():
        if not is_share(averages[name]):
            yield f"averages[{name!r}] is {short(averages[name])}; needed: a fraction in 0..1, or null where undefined"
            continue
        values = [at[tiou] for tiou in parts]
        yield from _not_mean(
            f"averages[{name!r}]", averages[name], None if None in values else values, "values per tIoU"
        )


def _not_mean(what: str, value: float | None, parts: list[float] | None, of: str) -> Iterator[str]:
    expected = sum(parts) / len(parts) if parts else None
    if (value is None) != (expected is None) or (value is not None and abs(value - expected) > MEAN_TOLERANCE):
        yield f"{what} is {value}; the mean of its {of} is {expected}. Store what `protocol.score` returned, unrounded"


def _bad_shares(name: str, values: Any, size: int) -> Iterator[str]:
    if not isinstance(values, list) or len(values) != size:
        yield f"{name} is {short(values)}; needed: {size} values, one a tIoU"
    elif set(map(type, values)) == {float} and min(values) >= 0 and max(values) <= 1:
        return
    elif bad := [value for value in values if not is_share(value)]:
        yield f"{name} holds {short(bad[0])}; needed: fractions in 0..1 (not percent), or null where undefined"
