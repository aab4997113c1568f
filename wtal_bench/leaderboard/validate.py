"""The rules of a record. Every rule says what is wrong, where in the record, and what would be right.

A record that breaks a rule is refused (`check_record`). Some things are no fault of the record and only keep it out of
the ranking (`unranked_reason`): a checkpoint picked on the test set, code that nobody else can check out, weights of
which nobody knows how long they were trained, videos that were left out, and a record of an older schema. Such rows
stay visible, shaded, with the reason beside them. That the numbers follow from the stored detections is no rule of this
file: `rescore` tries it, and a row for which that was not done is not ranked either.

Schema 3, key by key:

    schema, id, created      3; what makes the run what it is, hashed; UTC
    source                   measured: by this harness; external: somebody's detections, scored here
    protocol                 {name, hash}: what was scored, and the hash of its ranking rule
    method, variant, supervision, selection, profile?, parent, url?
    components               [{kind, name, plugin, version}]: what the model was made of
    distributions            [{name, version, plugins, commit, dirty, sources}]: whose code that was. `plugins` it
                             supplied; commit and state of its own checkout (untracked files make it dirty), or the
                             hash of its source files where it lies in none. The harness itself is one of them
    config, config_hash      the settings, resolved; their hash
    features                 {manifest_hash, extractor, synthetic}
    annotations              {sha256, splits, tags?, tags_sha256?}: the file, and by subset the hash of what it says
    seed, trained            {epochs: n} or {iterations: n} that the scored weights were trained, null if unknown
    metrics                  what `protocol.score` returns, and what is scored beside detections
    detections               {file, sha256, rows, videos, count}: the file beside the record, its hash, and the hash of
                             what it says (`identity.hash_rows`)
    bootstrap?               replicates, added when the record is filed
    data?                    {splits, notes}: which videos it saw, of how many (`record`); without it nobody knows
    environment              versions, machine, threads
    cost                     seconds, parameters, steps

Schema 2 had `git` (the harness's checkout alone) for `distributions`, and neither `trained`, `annotations.splits` nor
`detections.rows`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wtal_bench.errors import RecordError, WtalError, did_you_mean, listing
from wtal_bench.leaderboard.coverage import coverage_problems, incomplete_reason
from wtal_bench.leaderboard.identity import hash_config, record_id
from wtal_bench.leaderboard.metric_rules import bootstrap_problems, metric_problems
from wtal_bench.leaderboard.origin_rules import (
    HARNESS,
    code_problems,
    config_problems,
    cost_problems,
    created_problems,
    data_problems,
)
from wtal_bench.leaderboard.plain import is_count, is_sha256, plain_problems, short
from wtal_bench.protocol import HELD

SCHEMA, OLD_SCHEMA = 3, 2
SOURCES = ("measured", "external")
SELECTIONS = ("last", "val_holdout", "best_on_test")
"""How a checkpoint may be picked: a config asks for one, its record says which."""

HONEST, PUBLISHED = "honest", "published"
"""Profiles of a recipe: the default, and the authors' own way of picking the checkpoint, which is never ranked."""

SUPERVISIONS = ("weak", "extra_weak", "point", "full")

_BOTH: dict[str, tuple[tuple[type, ...], str]] = {
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
    "annotations": ((dict,), "{sha256, splits}"),
    "seed": ((int, type(None)), "an integer, null for an external row"),
    "selection": ((str,), listing(SELECTIONS)),
    "metrics": ((dict,), "what `protocol.score` returns"),
    "detections": ((dict,), "{sha256, rows, file, videos, count}"),
    "environment": ((dict,), "a mapping"),
    "cost": ((dict,), "a mapping"),
    "parent": ((str, type(None)), "the id of the record it continues, or null"),
    "created": ((str,), "an ISO 8601 time in UTC"),
}
_TYPES = {
    **_BOTH,
    "distributions": ((list,), "a list of {name, version, plugins, commit, dirty, sources}"),
    "trained": ((dict, type(None)), "{epochs: n} or {iterations: n}, null if unknown"),
}
_OLD_TYPES = {**_BOTH, "git": ((dict,), "{commit, dirty}")}
_OPTIONAL: dict[str, tuple[tuple[type, ...], str]] = {
    "url": ((str,), "an http(s) address"),
    "profile": ((str,), "the profile of the recipe, such as 'published'"),
    "bootstrap": ((dict,), "the replicates made when the record was filed"),
    "data": ((dict,), "{splits, notes}: which videos it saw"),
    "diagnosis": ((dict,), "what its attention, curves, tags and candidates were worth, as the run said"),
}


def check_record(record: Mapping[str, Any], where: str, more: Iterable[str] = ()) -> None:
    """Raise one `RecordError` that lists every broken rule (and the problems in `more`), each with its reason."""
    problems = [*record_problems(record), *more]
    if problems:
        raise RecordError(f"{where} is refused:\n" + "\n".join(f"  - {problem}" for problem in problems))


def unranked_reason(record: Mapping[str, Any]) -> str:
    """Return why a valid record is shown but not ranked, or an empty string."""
    if record["schema"] == OLD_SCHEMA:
        return "old record"
    if record["selection"] == "best_on_test":
        return "checkpoint picked on the test set"
    if HELD in record["protocol"]["name"]:
        return "videos that settings are chosen by"
    if record.get("profile") == PUBLISHED:
        return "the authors' own settings of scoring and picking"
    if record["source"] != "external":
        for row in record["distributions"]:
            if row["commit"] is None:
                return f"{row['name']}: code of no known commit"
            if row["dirty"]:
                return f"{row['name']}: uncommitted changes"
        if not record["trained"]:
            return "weights of unknown training"
    return incomplete_reason(record)


def harness_commit(record: Mapping[str, Any]) -> tuple[str, bool]:
    """The commit of the harness a record was made by ("" where unknown), and whether it had changes."""
    if record.get("schema") == OLD_SCHEMA:
        return record["git"].get("commit") or "", bool(record["git"].get("dirty"))
    own = next((row for row in record.get("distributions", ()) if row["name"] == HARNESS), {})
    return own.get("commit") or "", bool(own.get("dirty"))


def record_problems(record: Mapping[str, Any]) -> list[str]:
    """Return every rule the record breaks on its own, as sentences; empty when it keeps all."""
    problems = list(plain_problems(record)) or list(_shape(record))
    if problems:
        return problems
    rules = [_words, _hashes, _protocol, coverage_problems]
    if record["schema"] != OLD_SCHEMA:
        rules += [created_problems, cost_problems, code_problems, config_problems, data_problems]
    for rule in rules:
        problems += rule(record)
    if not problems and record["id"] != (expected := record_id(record)):
        problems.append(
            f"id is {record['id']!r}, but method, variant, seed and hashes give {expected!r}: the record was edited "
            "after it was written. Write it again with the run, or file its detections as an external row."
        )
    return problems


def filing_problems(record: Mapping[str, Any]) -> list[str]:
    """Return why a valid record may lie in its run's folder but not on the leaderboard."""
    from wtal_bench.leaderboard.own import recorded_protocol

    protocol = recorded_protocol(record["protocol"])
    synthetic = record["features"].get("synthetic")
    if protocol.held_out:
        ranks = protocol.name.partition(HELD)[0]
        return [
            f"its numbers are of {protocol.name}, videos that settings are chosen by; a leaderboard holds those "
            f"of test videos alone. Train the chosen settings on {ranks} and file that run"
        ]
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
    if record.get("schema") == OLD_SCHEMA:
        return []
    return [
        f"its annotations of subset {name!r} are not those of {protocol.name}: numbers on other videos or instances "
        "are not comparable. Train and test on the protocol's own annotation file"
        for name, split in protocol.splits.items()
        if name in (protocol.train_subset, protocol.subset)  # composed videos have a third, to choose settings by
        and record["annotations"]["splits"].get(name) != split.content
    ]


def file_problems(record: Mapping[str, Any], path: str | Path, hashed: Callable[[str], str]) -> list[str]:
    """Return what is wrong between a record's JSON at `path` and the detections file beside it.

    Args:
        record: what the JSON holds.
        path: where it lies.
        hashed: gives the SHA-256 (hex) of a file (`Seen.hash`).
    """
    # paths as texts: a `Path` takes as long to make as a file to look at
    block, (folder, name) = record.get("detections"), os.path.split(path)
    if not isinstance(block, Mapping) or not isinstance(block.get("file"), str):
        return []
    problems = (
        []
        if os.path.splitext(name)[0] == record.get("id")
        else [f"the file is called {name}, its id is {record.get('id')!r}"]
    )
    if os.path.islink(path):
        problems.append("it is a link; a record is a file of its own, with its detections beside it")
    if os.path.basename(block["file"]) != block["file"] or "\\" in block["file"] or not block["file"].isprintable():
        return [*problems, f"detections.file is {short(block['file'])}; it must be a plain file name beside the record"]
    stored = os.path.join(folder, block["file"])
    if os.path.islink(stored):
        return [*problems, f"its detections {stored} are a link, which may lead out of the records; copy the file here"]
    if not os.path.isfile(stored):
        return [*problems, f"its detections {stored} are missing; without them nobody can score the row again"]
    sha256 = hashed(stored)
    if sha256 != block.get("sha256"):
        problems.append(
            f"{stored} has SHA-256 {sha256[:12]}..., the record says {short(block.get('sha256'))[:14]}...: the file "
            "was changed or damaged. Restore it, or score it and file it as a record of its own."
        )
    return problems


OWN_KEYS = ("protocol", "method", "variant", "components", "config", "features", "annotations", "seed", "metrics")
OWN_KEYS += ("detections", "environment", "cost")
"""What the result of a run on a data set of one's own must hold where nothing was scored."""


def shape_problems(record: Mapping[str, Any], needed: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each of some keys that is missing or of another type."""
    for key in needed:
        types, wanted = _TYPES[key]
        if key not in record:
            yield f"{key} is missing; needed: {wanted}"
        elif not isinstance(record[key], types) or isinstance(record[key], bool):
            yield f"{key} is {short(record[key])}; needed: {wanted}"


def _shape(record: Mapping[str, Any]) -> Iterator[str]:
    schema = record.get("schema")
    if schema not in (SCHEMA, OLD_SCHEMA) or isinstance(schema, bool):
        yield f"schema is {short(schema)}; this harness reads {SCHEMA}. Use the version of wtal-bench that wrote it."
        return
    needed = _OLD_TYPES if schema == OLD_SCHEMA else _TYPES
    for key in record:
        if key not in needed and key not in _OPTIONAL:
            yield f"{short(key)} is no key of a record.{did_you_mean(key, [*needed, *_OPTIONAL])}"
    for key, (types, wanted) in {**needed, **_OPTIONAL}.items():
        if key not in record:
            if key in needed:
                yield f"{key} is missing; needed: {wanted}"
        elif not isinstance(record[key], types) or isinstance(record[key], bool):
            yield f"{key} is {short(record[key])}; needed: {wanted}"


def _words(record: Mapping[str, Any]) -> Iterator[str]:
    for key, options in (("source", SOURCES), ("selection", SELECTIONS), ("supervision", SUPERVISIONS)):
        if record[key] not in options:
            yield f"{key} is {record[key]!r}; it must be one of {listing(options)}.{did_you_mean(record[key], options)}"
    for key, needed in (("method", True), ("variant", False)):
        text = record[key]
        if (needed and not text) or len(text) > 120 or not text.isprintable() or not (text[:1].isalnum() or not text):
            yield f"{key} is {short(text)}; needed: up to 120 printable characters, a letter or digit first"
    if "url" in record and not re.fullmatch(r"https?://[^\s\"'<>]{3,500}", record["url"]):
        yield f"url is {short(record['url'])}; it must start with http:// or https:// and hold no spaces or quotes"


def _hashes(record: Mapping[str, Any]) -> Iterator[str]:
    block, new = record["detections"], record["schema"] != OLD_SCHEMA
    needed = {
        "annotations.sha256": record["annotations"].get("sha256"),
        "detections.sha256": block.get("sha256"),
        **({"detections.rows": block.get("rows")} if new else {}),
        "config_hash": record["config_hash"],
    }
    if record["source"] == "measured":
        needed["features.manifest_hash"] = record["features"].get("manifest_hash")
    for key, value in needed.items():
        if not is_sha256(value):
            yield f"{key} is {short(value)}; needed: a SHA-256 (64 hex digits); a row says what it was made from"
    if record["config_hash"] != hash_config(record["config"]):
        yield "config_hash is not the hash of config (`identity.hash_config`); leave it to `write_record`"
    if block.get("file") != f"{block.get('sha256')}.json.gz":
        yield "detections.file must be '<detections.sha256>.json.gz': detections are stored under their own hash"
    for key in ("videos", "count"):
        if not is_count(block.get(key)):
            yield f"detections.{key} is {short(block.get(key))}; needed: a whole number"
    splits = record["annotations"].get("splits")
    if new and not (isinstance(splits, Mapping) and splits and all(map(is_sha256, splits.values()))):
        yield f"annotations.splits is {short(splits)}; needed: by subset, the hash of what the annotations say of it"


def _protocol(record: Mapping[str, Any]) -> Iterator[str]:
    from wtal_bench.leaderboard.own import recorded_protocol

    if not isinstance(record["protocol"].get("name"), str):
        yield f"protocol.name is {short(record['protocol'].get('name'))}; needed: a protocol, such as 'thumos14/v1'"
        return
    try:
        protocol = recorded_protocol(record["protocol"])
    except WtalError as error:
        yield f"protocol.name: {error}"
        return
    sha256 = record["annotations"].get("sha256")
    made_of = protocol.composition or protocol.name.partition(HELD)[0]
    length = 12 if protocol.own else None
    if protocol.made_by_annotations and not (isinstance(sha256, str) and made_of.endswith(sha256[:length])):
        yield f"protocol.name is {protocol.name}, made of other annotations than annotations.sha256 names"
    if record["protocol"].get("hash") != protocol.hash:
        yield (
            f"protocol.hash is {short(record['protocol'].get('hash'))}, {protocol.name} has {protocol.hash!r}: the "
            "row was scored under another rule of the same name. Score its detections again (`evaluate`), or use the "
            "version of wtal-bench that wrote it."
        )
    yield from metric_problems(record["metrics"], protocol, record["detections"].get("count"))
    variants = record["metrics"].get("variants")
    if "bootstrap" in record and isinstance(variants, Mapping):
        yield from bootstrap_problems(record["bootstrap"], variants)
