"""The rules of a record's origin: who supplied the code, what was trained on, when, and that its parts agree.

A record says most things twice: once for the tables (`method`, `selection`, `components`), once in the config it was
made by. Only one of the two edited is a broken rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from wtal_bench.errors import listing
from wtal_bench.leaderboard.plain import is_commit, is_count, is_sha256, is_version, short
from wtal_bench.protocol import HELD, OWN, is_own

HARNESS, CORE = "wtal-bench", "core"
"""The distribution every measured record names, and the plugin of what is built in."""

BEGAN = datetime(2026, 11, 21, tzinfo=timezone.utc)
"""No record is older than the harness."""

SKEW = timedelta(days=1)
"""How far the clock of the machine that made a record may be ahead."""

KINDS = ("backbone", "head", "loss", "view", "postprocessor", "layout", "extractor", "hook")
"""What a component may be (`registry.KINDS`)."""

SEEDS = 2**32
"""Seeds are below it, as `runtime.seed` is."""

DEAREST = 1e12
"""No run took as many seconds, steps or parameters."""


def created_problems(record: Mapping[str, Any], now: datetime | None = None) -> Iterator[str]:
    """The time a record was written: UTC, after the harness was begun, not in the future."""
    text = record["created"]
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
        offset = when.utcoffset()
        if offset is None or offset.total_seconds() != 0:
            yield f"created is {text!r}; it must be in UTC, as 2026-12-31T12:00:00+00:00"
        elif when > (now or datetime.now(timezone.utc)) + SKEW:
            yield f"created is {text!r}, which lies in the future. Set the clock of the machine that wrote it"
        elif when < BEGAN:
            yield f"created is {text!r}; the harness was begun on {BEGAN:%Y-%m-%d}. Set the clock of the machine"
    except (ValueError, OverflowError):
        yield f"created is {short(text)}; it must be an ISO 8601 time, as 2026-12-31T12:00:00+00:00"


def cost_problems(record: Mapping[str, Any]) -> Iterator[str]:
    """What a run cost: seconds, parameters, steps."""
    for key, value in record["cost"].items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not 0 <= value <= DEAREST:
            yield f"cost.{key} is {short(value)}; needed: a number from 0 to {DEAREST:g}"
        elif key in ("parameters", "steps") and not is_count(value):
            yield f"cost.{key} is {short(value)}; needed: a whole number"


def code_problems(record: Mapping[str, Any]) -> Iterator[str]:
    """The components, and the distributions that supplied them."""
    measured = record["source"] == "measured"
    if not measured:
        for key in ("components", "distributions", "config"):
            if record[key]:
                yield f"{key} is {short(record[key])}; nothing is known of how an external row was made: leave it empty"
        return
    if not record["components"]:
        yield "components is empty; a measured row names its parts with plugin and version"
    sound = True
    for index, part in enumerate(record["components"]):
        keys = ("kind", "name", "plugin", "version")
        if not isinstance(part, Mapping) or any(not isinstance(part.get(key), str) for key in keys):
            yield f"components[{index}] is {short(part)}; needed: the texts {listing(keys)}"
            sound = False
        elif part["kind"] not in KINDS:
            yield f"components[{index}].kind is {short(part['kind'])}; needed: one of {listing(KINDS, 8)}"
        elif part["plugin"] != (part["name"].partition(".")[0] if "." in part["name"] else CORE):
            yield f"components[{index}].plugin is {short(part['plugin'])}; {short(part['name'])} says another"
    broken = list(distribution_problems(record["distributions"]))
    yield from broken
    if sound and not broken:
        yield from _suppliers(record)


def distribution_problems(rows: list[Any]) -> Iterator[str]:
    """The distributions that supplied the code: whose each was, and which."""
    for index, row in enumerate(rows):
        where = f"distributions[{index}]"
        if not isinstance(row, Mapping) or set(row) != {"name", "version", "plugins", "commit", "dirty", "sources"}:
            yield f"{where} is {short(row)}; needed: name, version, plugins, commit, dirty, sources"
            continue
        if not isinstance(row["name"], str) or not re.fullmatch(r"\w[\w.-]*", row["name"]):
            yield f"{where}.name is {short(row['name'])}; needed: the name of a distribution"
        if not is_version(row["version"]):
            yield f"{where}.version is {short(row['version'])}; needed: its version"
        plugins = row["plugins"]
        if not isinstance(plugins, list) or not all(isinstance(name, str) and name for name in plugins):
            yield f"{where}.plugins is {short(plugins)}; needed: the names of the plugins it supplied"
        if row["commit"] is not None and not is_commit(row["commit"]):
            yield f"{where}.commit is {short(row['commit'])}; needed: the commit's hex hash, or null outside a checkout"
        if not isinstance(row["dirty"], bool):
            yield f"{where}.dirty is {short(row['dirty'])}; needed: true or false"
        if row["commit"] is None and not is_sha256(row["sources"]):
            yield f"{where} has neither a commit nor a SHA-256 over its sources; one of them says which code it was"
        elif row["sources"] is not None and not is_sha256(row["sources"]):
            yield f"{where}.sources is {short(row['sources'])}; needed: a SHA-256 (64 hex digits) or null"


def _suppliers(record: Mapping[str, Any]) -> Iterator[str]:
    """Every component must be named by the config, and its plugin by the distribution that supplied it."""
    rows = record["distributions"]
    names = [row["name"] for row in rows]
    own = next((row for row in rows if row["name"] == HARNESS), None)
    if own is None or CORE not in own["plugins"]:
        yield f"distributions names {listing(names)}; {HARNESS} itself is missing, with plugin {CORE!r}"
    plugins = [(plugin, row["version"]) for row in rows for plugin in row["plugins"]]
    if len({plugin for plugin, _ in plugins}) != len(plugins) or len(set(names)) != len(names):
        yield "distributions names a distribution or a plugin twice; every plugin comes from one"
    for part in record["components"]:
        if (part["plugin"], part["version"]) not in plugins:
            yield (
                f"component {part['name']!r} is of plugin {part['plugin']!r} {part['version']}, which no distribution "
                "supplies; a row says whose code made it"
            )
            break
    named = {part["name"] for part in record["components"]}
    missing = sorted(name for name in _types(record["config"].get("model")) - named if "." in name)
    if missing:
        yield f"config.model uses {listing(missing)}, which components does not name"


def _types(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        own = {value["type"]} if isinstance(value.get("type"), str) else set()
        return own.union(*map(_types, value.values()))
    return set().union(*map(_types, value)) if isinstance(value, list) else set()


def config_problems(record: Mapping[str, Any]) -> Iterator[str]:
    """What a measured record says of itself against what its own config says."""
    if record["source"] != "measured":
        if record["seed"] is not None:
            yield f"seed is {record['seed']}; nothing is known of how an external row was trained: null"
        return
    if record["seed"] is None:
        yield "seed is null; a measured run needs its seed, or it can neither be repeated nor averaged with others"
    elif not 0 <= record["seed"] < SEEDS:
        yield f"seed is {short(record['seed'])}; needed: 0 to 4294967295"
    config = record["config"]
    train, data = (config.get(key) if isinstance(config.get(key), Mapping) else {} for key in ("train", "data"))
    says = {
        "method": config.get("method"),
        "variant": config.get("variant"),
        "selection": train.get("selection"),
        "protocol.name": data.get("protocol"),
    }
    mine = {key: record[key] for key in ("method", "variant", "selection")}
    name = record["protocol"].get("name")
    mine["protocol.name"] = "".join((OWN, *name.partition(HELD)[1:])) if is_own(name) else name
    for key, value in says.items():
        if value != mine[key]:
            yield f"{key} is {short(mine[key])}, its own config says {short(value)}: one of the two was edited"
    if not isinstance(config.get("model"), Mapping) or not config["model"]:
        yield f"config.model is {short(config.get('model'))}; needed: the model's settings"
    for key in ("seed", "profile"):
        if key in config and config[key] != record.get(key):
            yield f"{key} is {short(record.get(key))}, its own config says {short(config[key])}"
    yield from trained_problems(record["trained"], train, bool(config.get("hooks")), record["selection"])


def trained_problems(
    trained: Mapping[str, Any] | None, train: Mapping[str, Any], hooks: bool, selection: str
) -> Iterator[str]:
    """How long the scored weights were trained against how long the config trains."""
    if trained is None:
        return
    unit = "epochs" if train.get("epochs") is not None else "iterations"
    done, whole = trained.get(unit), train.get(unit)
    if set(trained) != {unit} or not is_count(done, 1) or not is_count(whole, 1):
        yield f"trained is {short(trained)}; needed: {{{unit!r}: n}}, of the {short(whole)} its config trains"
    elif done > whole or (done < whole and selection == "last" and not hooks):
        yield f"trained.{unit} is {done}; its config trains {whole} and keeps the {selection} one"


def data_problems(record: Mapping[str, Any]) -> Iterator[str]:
    """What a measured record was trained on and with: hashes of the data, threads and versions."""
    measured = record["source"] == "measured"
    features = record["features"]
    if not isinstance(features.get("synthetic"), bool):
        yield "features.synthetic is missing; needed: true for generated features, false for real ones"
    if not measured and features.get("manifest_hash") is not None:
        yield "features.manifest_hash is given; nothing is known of the features of an external row: null"
    if not isinstance(features.get("extractor"), str):
        yield f"features.extractor is {short(features.get('extractor'))}; needed: text"
    if not measured:
        return
    environment = record["environment"]
    if not is_count(environment.get("threads"), 1):
        yield f"environment.threads is {short(environment.get('threads'))}; needed: torch's threads, 1 or more"
    packages = environment.get("packages")
    sound = isinstance(packages, Mapping) and {"torch", "numpy"} <= set(packages)
    if not sound or not all(map(is_version, packages.values())):
        yield f"environment.packages is {short(packages)}; needed: name -> version, torch and numpy among them"
    for key in ("wtal_bench", "python"):
        if not is_version(environment.get(key)):
            yield f"environment.{key} is {short(environment.get(key))}; needed: its version"
    if not isinstance(environment.get("device"), str) or not environment["device"]:
        yield f"environment.device is {short(environment.get('device'))}; needed: what it ran on"
    parent = record["parent"]
    if parent is not None and not re.fullmatch(r"[\w.+-]{1,200}", parent):
        yield f"parent is {short(parent)}; needed: the id of a record, or null"
