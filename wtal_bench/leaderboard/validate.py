"""The rules of a record. Every rule says what is wrong, where in the record, and what would be right.

A record that breaks a rule is refused (`check_record`). Some things are no fault of the record and only keep it out of
the ranking (`unranked_reason`): a checkpoint picked on the test set, and code that nobody else can check out
(uncommitted changes, or no known commit). So do videos that a run left out (`leaderboard.coverage`). Such rows stay
visible, shaded, with the reason beside them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from wtal_bench.errors import RecordError, WtalError, did_you_mean, listing
from wtal_bench.evaluation import PRESETS
from wtal_bench.leaderboard.coverage import data_problems, incomplete_reason
from wtal_bench.leaderboard.identity import hash_config, record_id

SCHEMA = 2
SOURCES = ("measured", "external")
SELECTIONS = ("last", "val_holdout", "best_on_test")
"""How a checkpoint may be picked: a config asks for one, its record says which."""

HONEST, PUBLISHED = "honest", "published"
"""Profiles of a recipe: the default, and the authors' own way of picking the checkpoint, which is never ranked."""

SUPERVISIONS = ("weak", "extra_weak", "point", "full")

BESIDE_DETECTION = ("classification_mAP", "frame_accuracy")
"""Metrics a record may hold that detections alone do not give, so nobody can re-score them."""

MEAN_TOLERANCE = 1e-9
"""How far a stored mean may lie from the mean of its parts (they are float64 sums in another order at most)."""

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "schema": ((int,), f"the integer {SCHEMA}"),
    "id": ((str,), "text"),
    "source": ((str,), "'measured' or 'external'"),
    "protocol": ((dict,), "{name, hash}"),
    "method": ((str,), "the method's name"),
    "variant": ((str,), "text, empty for the method itself"),
    "supervision": ((str,), listing(SUPERVISIONS)),
    "components": ((list,), "a list of {kind, name, plugin, version}"),
    "config": ((dict,), "the resolved config, {} for an external row"),
    "config_hash": ((str,), "64 hex digits"),
    "features": ((dict,), "{manifest_hash, extractor, synthetic}"),
    "annotations": ((dict,), "{sha256}"),
    "seed": ((int, type(None)), "an integer, null for an external row"),
    "selection": ((str,), listing(SELECTIONS)),
    "metrics": ((dict,), "what `protocol.score` returns"),
    "detections": ((dict,), "{sha256, file, videos, count}"),
    "environment": ((dict,), "a mapping"),
    "cost": ((dict,), "a mapping"),
    "git": ((dict,), "{commit, dirty}"),
    "parent": ((str, type(None)), "the id of the record it continues, or null"),
    "created": ((str,), "an ISO 8601 time in UTC"),
}
_OPTIONAL: dict[str, tuple[tuple[type, ...], str]] = {
    "url": ((str,), "an http(s) address"),
    "profile": ((str,), "the profile of the recipe, such as 'published'"),
    "bootstrap": ((dict,), "the replicates made when the record was filed"),
    "data": ((dict,), "{splits, notes}: which videos it saw"),
}


def check_record(record: Mapping[str, Any], where: str, more: Iterable[str] = ()) -> None:
    """Raise one `RecordError` that lists every broken rule (and the problems in `more`), each with its reason."""
    problems = [*record_problems(record), *more]
    if problems:
        raise RecordError(f"{where} is refused:\n" + "\n".join(f"  - {problem}" for problem in problems))


def unranked_reason(record: Mapping[str, Any]) -> str:
    """Return why a valid record is shown but not ranked, or an empty string."""
    if record["selection"] == "best_on_test":
        return "checkpoint picked on the test set"
    if record.get("profile") == PUBLISHED:
        return "the authors' own settings of scoring and picking"
    if record["source"] != "external":
        if record["git"].get("dirty"):
            return "made with uncommitted changes"
        if not record["git"].get("commit"):
            return "made by code of an unknown commit"
    return incomplete_reason(record)


def record_problems(record: Mapping[str, Any]) -> list[str]:
    """Return every rule the record breaks on its own, as sentences; empty when it keeps all."""
    problems = list(_shape(record))
    if problems:
        return problems
    problems += _not_finite(record)
    if problems:
        return problems
    for rule in (_words, _hashes, _provenance, _protocol, data_problems):
        problems += rule(record)
    if not problems and record["id"] != (expected := record_id(record)):
        problems.append(
            f"id is {record['id']!r}, but method, variant, seed and hashes give {expected!r}: the record was edited "
            "after it was written. Write it again with the run, or file its detections as an external row."
        )
    return problems


def filing_problems(record: Mapping[str, Any]) -> list[str]:
    """Return why a valid record may lie in its run's folder but not on the leaderboard."""
    from wtal_bench.protocols import recorded_protocol

    protocol = recorded_protocol(record["protocol"])
    synthetic = record["features"].get("synthetic")
    if protocol.own:
        return []
    if synthetic is True and not protocol.synthetic:
        return [
            f"synthetic features in {protocol.name}, a real benchmark; generated data belong to synthetic protocols"
        ]
    if synthetic is False and protocol.synthetic:
        return [
            f"real features in {protocol.name}, which is scored on generated videos; state features.synthetic = true"
        ]
    return []


def file_problems(record: Mapping[str, Any], path: str | Path) -> list[str]:
    """Return what is wrong between a record's JSON at `path` and the detections file beside it."""
    path, block = Path(path), record.get("detections")
    if not isinstance(block, Mapping) or not isinstance(block.get("file"), str):
        return []
    problems = (
        [] if path.stem == record.get("id") else [f"the file is called {path.name}, its id is {record.get('id')!r}"]
    )
    if Path(block["file"]).name != block["file"]:
        return [*problems, f"detections.file is {block['file']!r}; it must be a plain file name beside the record"]
    stored = path.parent / block["file"]
    if not stored.is_file():
        return [*problems, f"its detections {stored} are missing; without them nobody can score the row again"]
    sha256 = hashlib.sha256(stored.read_bytes()).hexdigest()
    if sha256 != block.get("sha256"):
        problems.append(
            f"{stored} has SHA-256 {sha256[:12]}..., the record says {str(block.get('sha256'))[:12]}...: the file was "
            "changed or damaged. Restore it, or score it and file it as a record of its own."
        )
    return problems


def duplicate_problems(records: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return a sentence for every record that repeats another: same id, same run and seed, or same detections.

    Args:
        records: (where, record) in the order in which the first of two is the one to keep.
    """
    seen: dict[tuple[Any, ...], str] = {}
    problems = []
    for where, record in records:
        for what, key in _fingerprints(record).items():
            first = seen.setdefault((what, *key), where)
            if first != where:
                problems.append(f"{where} repeats {first}: {what}. Keep one (`leaderboard add --replace` swaps them).")
                break
    return problems


def _fingerprints(record: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    block = (record["protocol"]["name"], record["protocol"]["hash"])
    prints = {"the same id": (record["id"],)}
    if record["detections"]["count"]:  # two failed runs may both have found nothing
        prints["the same detections"] = (*block, record["detections"]["sha256"])
    if record["source"] == "measured":
        run = ("method", "variant", "config_hash", "seed", "selection")
        data = (record["features"]["manifest_hash"], record["annotations"]["sha256"])
        prints["the same config and seed"] = (*block, *data, *(record[key] for key in run))
    return prints


def _shape(record: Mapping[str, Any]) -> Iterator[str]:
    for key in record:
        if key not in _TYPES and key not in _OPTIONAL:
            yield f"{key!r} is no key of a record.{did_you_mean(key, [*_TYPES, *_OPTIONAL])}"
    for key, (types, wanted) in {**_TYPES, **_OPTIONAL}.items():
        if key not in record:
            if key in _TYPES:
                yield f"{key} is missing; needed: {wanted}"
        elif not isinstance(record[key], types) or isinstance(record[key], bool):
            yield f"{key} is {_short(record[key])}; needed: {wanted}"


def _not_finite(value: Any, path: str = "") -> list[str]:
    if isinstance(value, Mapping):
        return [
            text for key, part in value.items() for text in _not_finite(part, f"{path}.{key}" if path else str(key))
        ]
    if isinstance(value, list | tuple):
        # long columns of numbers in one pass: a sum that is finite had finite parts alone
        if set(map(type, value)) == {float} and math.isfinite(sum(value)):
            return []
        return [text for index, part in enumerate(value) for text in _not_finite(part, f"{path}[{index}]")]
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{path} is {value}; a record holds finite numbers, or null where a value is undefined"]
    return []


def _words(record: Mapping[str, Any]) -> Iterator[str]:
    if record["schema"] != SCHEMA:
        yield f"schema is {record['schema']}; this harness reads {SCHEMA}. Use the version of wtal-bench that wrote it."
    for key, options in (("source", SOURCES), ("selection", SELECTIONS), ("supervision", SUPERVISIONS)):
        if record[key] not in options:
            yield f"{key} is {record[key]!r}; it must be one of {listing(options)}.{did_you_mean(record[key], options)}"
    for key, needed in (("method", True), ("variant", False)):
        text = record[key]
        if (needed and not text) or len(text) > 120 or not text.isprintable() or not (text[:1].isalnum() or not text):
            yield f"{key} is {_short(text)}; needed: up to 120 printable characters, a letter or digit first"
    if "url" in record and not re.fullmatch(r"https?://[^\s\"'<>]{3,500}", record["url"]):
        yield f"url is {_short(record['url'])}; it must start with http:// or https:// and hold no spaces or quotes"
    try:
        offset = datetime.fromisoformat(record["created"].replace("Z", "+00:00")).utcoffset()
        if offset is None or offset.total_seconds() != 0:
            yield f"created is {record['created']!r}; it must be in UTC, as 2025-01-31T12:00:00+00:00"
    except ValueError:
        yield f"created is {record['created']!r}; it must be an ISO 8601 time, as 2025-01-31T12:00:00+00:00"


def _hashes(record: Mapping[str, Any]) -> Iterator[str]:
    measured = record["source"] == "measured"
    features = record["features"]
    needed = {
        "annotations.sha256": record["annotations"].get("sha256"),
        "detections.sha256": record["detections"].get("sha256"),
        "config_hash": record["config_hash"],
    }
    if measured or features.get("manifest_hash") is not None:
        needed["features.manifest_hash"] = features.get("manifest_hash")
    for key, value in needed.items():
        if not _is_sha256(value):
            yield f"{key} is {_short(value)}; needed: a SHA-256 (64 hex digits); a row says what it was made from"
    if record["config_hash"] != hash_config(record["config"]):
        yield "config_hash is not the hash of config (`identity.hash_config`); leave it to `write_record`"
    if record["detections"].get("file") != f"{record['detections'].get('sha256')}.json.gz":
        yield "detections.file must be '<detections.sha256>.json.gz': detections are stored under their own hash"
    for key in ("videos", "count"):
        if not _is_count(record["detections"].get(key)):
            yield f"detections.{key} is {_short(record['detections'].get(key))}; needed: a whole number"


def _provenance(record: Mapping[str, Any]) -> Iterator[str]:
    commit, dirty = record["git"].get("commit"), record["git"].get("dirty")
    if commit is not None and not (isinstance(commit, str) and re.fullmatch(r"[0-9a-f]{7,64}", commit)):
        yield f"git.commit is {_short(commit)}; needed: the commit's hex hash, or null outside a checkout"
    if dirty is not None and not isinstance(dirty, bool):
        yield f"git.dirty is {_short(dirty)}; needed: true, false, or null outside a checkout"
    if not isinstance(record["features"].get("synthetic"), bool):
        yield "features.synthetic is missing; needed: true for generated features, false for real ones"
    if record["source"] == "external":
        return
    if record["seed"] is None:
        yield "seed is null; a measured run needs its seed, or it can neither be repeated nor averaged with others"
    if not record["components"]:
        yield "components is empty; a measured row names its parts with plugin and version"
    for index, part in enumerate(record["components"]):
        keys = ("kind", "name", "plugin", "version")
        if not isinstance(part, Mapping) or any(not isinstance(part.get(key), str) for key in keys):
            yield f"components[{index}] is {_short(part)}; needed: the texts {listing(keys)}"


def _protocol(record: Mapping[str, Any]) -> Iterator[str]:
    from wtal_bench.protocols import recorded_protocol

    try:
        protocol = recorded_protocol(record["protocol"])
    except WtalError as error:
        yield f"protocol.name: {error}"
        return
    if record["protocol"].get("hash") != protocol.hash:
        yield (
            f"protocol.hash is {_short(record['protocol'].get('hash'))}, {protocol.name} has {protocol.hash!r}: the "
            "row was scored under another rule of the same name. Score its detections again (`evaluate`), or use the "
            "version of wtal-bench that wrote it."
        )
    yield from _metrics(record["metrics"], protocol)
    if "bootstrap" in record:
        yield from _bootstrap(record["bootstrap"], record["metrics"].get("variants") or ())


def _metrics(metrics: Mapping[str, Any], protocol: Any) -> Iterator[str]:
    extra = metrics.keys() - {"main", "variants", *BESIDE_DETECTION}
    if extra:
        yield f"metrics holds {listing(sorted(extra))}; known: main, variants, {listing(BESIDE_DETECTION)}"
    for name in BESIDE_DETECTION:
        if not _is_share(metrics.get(name)):
            yield f"metrics.{name} is {_short(metrics[name])}; needed: null or within 0..1"
    variants = metrics.get("variants")
    if not isinstance(variants, Mapping) or protocol.main not in variants:
        given = sorted(variants) if isinstance(variants, Mapping) else []
        yield f"metrics.variants has {listing(given)}; needed: {protocol.main}, by which {protocol.name} is ranked"
        return
    if metrics.get("main") != protocol.main:
        yield f"metrics.main is {_short(metrics.get('main'))}; {protocol.name} leads with {protocol.main!r}"
    for name, table in variants.items():
        if name not in PRESETS:
            known = did_you_mean(name, PRESETS) or " Use the version of wtal-bench that scored it."
            yield f"metrics.variants.{name}: there is no such evaluator.{known}"
            continue
        for problem in _table(table, protocol):
            yield f"metrics.variants.{name}.{problem}"
    main = protocol.presets[0]
    if isinstance(variants[main.name], Mapping) and variants[main.name].get("hash") != main.hash:
        yield f"metrics.variants.{main.name}.hash is not that of {main.name}, which ranks: score the detections again"


def _bootstrap(block: Mapping[str, Any], variants: Iterable[str]) -> Iterator[str]:
    draw, values = block.get("draw"), block.get("values")
    if not all(isinstance(part, Mapping) and set(part) == set(variants) for part in (draw, values)):
        yield f"bootstrap needs draw and values for each of {listing(variants)}; file the record again"
        return
    for name, column in values.items():
        if not isinstance(draw[name], str) or not isinstance(column, list) or len(column) != block.get("resamples"):
            yield f"bootstrap.values.{name} must hold `resamples` values and name its draw; file the record again"
        else:
            yield from _bad_shares(f"bootstrap.values.{name}", column, len(column))


def _table(table: Any, protocol: Any) -> Iterator[str]:
    if not isinstance(table, Mapping):
        yield f"is {_short(table)}; needed: hash, tious, mAP, ap, averages, counts"
        return
    tious, means, ap = table.get("tious"), table.get("mAP"), table.get("ap")
    if not isinstance(tious, list) or tuple(tious) != tuple(protocol.tious):
        yield f"tious is {_short(tious)}; {protocol.name} has {list(protocol.tious)}"
        return
    if not _is_sha256(table.get("hash")):
        yield f"hash is {_short(table.get('hash'))}; needed: the 64 hex digits that `protocol.score` gives"
    for key in ("videos", "instances", "detections", "ignored"):
        if not _is_count(table.get(key)):
            yield f"{key} is {_short(table.get(key))}; needed: a whole number (the row says what it was scored on)"
    shares = list(_bad_shares("mAP", means, len(tious)))
    if not isinstance(ap, Mapping) or not ap or not set(ap) <= set(protocol.classes):
        unknown = sorted(set(ap) - set(protocol.classes)) if isinstance(ap, Mapping) else []
        shares.append(f"ap names {listing(unknown)}; needed: one row of AP for each class of {protocol.name}")
    else:
        shares += [problem for name, row in ap.items() for problem in _bad_shares(f"ap[{name!r}]", row, len(tious))]
    yield from shares
    if not shares:
        yield from _bad_means(table, protocol)


def _bad_means(table: Mapping[str, Any], protocol: Any) -> Iterator[str]:
    rows = list(table["ap"].values())
    for index, (tiou, value) in enumerate(zip(table["tious"], table["mAP"])):
        column = [row[index] for row in rows]
        # The snippet loops of the authors give mAP 0 as soon as one class has no detection at all (its AP is null).
        if value == 0 and None in column:
            continue
        yield from _not_mean(f"mAP at tIoU {tiou}", value, [part for part in column if part is not None], "class APs")
    averages = table.get("averages")
    if not isinstance(averages, Mapping) or set(averages) != set(protocol.averages):
        yield f"averages is {_short(averages)}; {protocol.name} has {listing(protocol.averages)}"
        return
    at = dict(zip(table["tious"], table["mAP"]))
    for name, parts in protocol.averages.items():
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
        yield f"{name} is {_short(values)}; needed: {size} values, one a tIoU"
    elif set(map(type, values)) == {float} and min(values) >= 0 and max(values) <= 1:
        return
    elif bad := [value for value in values if not _is_share(value)]:
        yield f"{name} holds {_short(bad[0])}; needed: fractions in 0..1 (not percent), or null where undefined"


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _is_share(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
